//! Looking at all replicas of a split file, and restoring what is lost on the targets that are left.

use super::reach::reach;
use super::store::{Placed, Placing, place};
use super::{Content, SplitError, State, Target, at_once};
use base::manifest::{Manifest, Part, Place};
use base::placement;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// How to repair.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Hash every piece of every replica, rather than one of each by chance.
    pub deep: bool,
    /// Replicas that each part should have; None: as many as the part that is named at most places.
    pub replicas: Option<usize>,
    /// Targets beside those of the manifest.
    pub across: Vec<Target>,
}

/// What was seen, and what was done about it.
#[derive(Debug)]
pub struct Repaired {
    /// The manifest as it is now.
    pub manifest: Manifest,
    /// Replicas as they were found, by part.
    pub found: Vec<Vec<(Place, State)>>,
    /// Replicas written.
    pub restored: usize,
    /// Parts that no good replica is left of.
    pub lost: Vec<Lost>,
    /// Parts with fewer replicas than they should have; those that are lost are not among them.
    pub short: usize,
}

/// A part that is good nowhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lost {
    /// Its number.
    pub part: usize,
    /// What its file is called.
    pub name: String,
}

/// What is told on the way.
#[derive(Debug)]
pub enum Event<'a> {
    /// A replica was looked at.
    Looked {
        /// The number of the part.
        part: usize,
        /// The replica.
        place: &'a Place,
        /// How it is.
        state: &'a State,
    },
    /// All were looked at, and so many bytes will be written.
    Restoring(u64),
    /// A replica was written, or could not be.
    Stored(&'a Placed),
}

/// Looks at every replica of a file, and writes those that are missing or altered anew: where they were, or, if nobody answers
/// there, on other targets, evenly. `moved` counts bytes written.
///
/// # Errors
/// If a target that the user has named does not answer, or `stop` is done first. Everything else is in what it returns.
pub async fn repair(
    content: &Arc<Content>,
    options: &Options,
    moved: &Arc<AtomicU64>,
    stop: impl Future<Output = ()>,
    mut told: impl FnMut(Event<'_>),
) -> Result<Repaired, SplitError> {
    tokio::pin!(stop);
    let manifest = &content.manifest;
    for target in &options.across {
        reach(&content.targets, target, &manifest.part_name(0)).await?;
    }
    let looked = |part, place: &Place, state: &State| told(Event::Looked { part, place, state });
    let found = tokio::select! {
        found = look_at_all(content, options.deep, looked) => found,
        () = &mut stop => return Err(SplitError::Stopped),
    };
    let answered = found.iter().flatten().filter(|(_, state)| !unreachable(state));
    let mut live: Vec<String> = answered.map(|(place, _)| place.folder().to_owned()).collect();
    live.extend(options.across.iter().map(|target| target.folder.clone()));
    live.sort_unstable();
    live.dedup();
    let most = manifest.parts.iter().map(|part| part.places.len()).max().unwrap_or(0);
    let wanted = options.replicas.unwrap_or(most).min(Manifest::REPLICAS_MAX);
    // Which of thousands of parts goes where takes a while.
    let planned = {
        let content = content.clone();
        tokio::task::spawn_blocking(move || (jobs(&content, &found, &live, wanted), found))
    };
    let (jobs, found) = planned.await.map_err(|e| SplitError::Died(e.to_string()))?;
    told(Event::Restoring(jobs.iter().map(|job| manifest.parts[job.part].bytes).sum()));
    let mut restored: BTreeMap<usize, Vec<Place>> = BTreeMap::new();
    place(content, jobs, moved, stop, |placed| {
        told(Event::Stored(placed));
        if placed.result.is_ok() {
            restored.entry(placed.placing.part).or_default().push(placed.placing.place.clone());
        }
        true
    })
    .await?;
    Ok(sum_up(manifest, found, &restored, wanted))
}

fn unreachable(state: &State) -> bool {
    matches!(state, State::Unreachable(_))
}

/// Every replica, those in one folder one after the other. Where nobody has answered yet, one that can't be reached stands for all.
async fn look_at_all(
    content: &Arc<Content>,
    deep: bool,
    mut told: impl FnMut(usize, &Place, &State),
) -> Vec<Vec<(Place, State)>> {
    let turns = Arc::new(Semaphore::new(at_once(content.manifest.geometry.piece_length())));
    let mut tasks = JoinSet::new();
    for places in content.manifest.by_folder().into_values() {
        let places: Vec<(usize, Place)> = places.into_iter().map(|(part, place)| (part, place.clone())).collect();
        let (content, turns) = (content.clone(), turns.clone());
        tasks.spawn(async move {
            let mut states: Vec<(usize, Place, State)> = Vec::with_capacity(places.len());
            for (part, place) in places {
                let _turn = turns.acquire().await;
                let dead = states.first().map(|(.., state)| state).filter(|state| unreachable(state));
                let state = match dead.filter(|_| states.iter().all(|(.., state)| unreachable(state))) {
                    Some(dead) => dead.clone(),
                    None => content.look(&content.manifest.parts[part], &content.targets.locate(&place), deep).await,
                };
                states.push((part, place, state));
            }
            states
        });
    }
    let mut all: Vec<BTreeMap<Place, State>> = vec![BTreeMap::new(); content.manifest.parts.len()];
    while let Some(states) = tasks.join_next().await {
        for (part, place, state) in states.unwrap_or_default() {
            told(part, &place, &state);
            all[part].insert(place, state);
        }
    }
    // In the order of the manifest. Each place was looked at, unless its task has died.
    let died = || State::Unreachable("it could not be looked at".into());
    let ordered = |(part, mut states): (&Part, BTreeMap<Place, State>)| {
        part.places.iter().map(|place| (place.clone(), states.remove(place).unwrap_or_else(died))).collect()
    };
    content.manifest.parts.iter().zip(all).map(ordered).collect()
}

/// What has to be written. `live`: the folders that parts can be written to.
fn jobs(content: &Content, found: &[Vec<(Place, State)>], live: &[String], wanted: usize) -> Vec<Placing> {
    let manifest = &content.manifest;
    let folders = |replicas: &Vec<(Place, State)>| {
        let index = |place: &Place| live.iter().position(|folder| folder == place.folder());
        let mut at: Vec<usize> = replicas.iter().filter_map(|(place, _)| index(place)).collect();
        at.sort_unstable();
        at.dedup();
        at
    };
    let kept: Vec<Vec<usize>> = found.iter().map(folders).collect();
    let names: Vec<&str> = live.iter().map(String::as_str).collect();
    let ours = |part: usize, place: &Place| Target::at(place.folder()).place(&manifest.part_name(part)) == *place;
    let good = |(part, replicas): (usize, &'_ Vec<(Place, State)>)| {
        let good = replicas.iter().filter(move |(place, state)| *state == State::Good && ours(part, place));
        good.map(|(place, _)| place.folder().to_owned()).collect::<Vec<_>>()
    };
    let vouched: BTreeSet<String> = found.iter().enumerate().flat_map(good).collect();
    let mut jobs = Vec::new();
    for (part, targets) in placement::place(&manifest.name, &names, wanted, &kept).into_iter().enumerate() {
        let with = |is: fn(&State) -> bool| found[part].iter().filter(move |(_, s)| is(s)).map(|(p, _)| p.clone());
        // An altered replica may have those pieces that another has not.
        let from: Vec<Place> = with(|s| *s == State::Good).chain(with(|s| matches!(s, State::Altered(_)))).collect();
        if from.is_empty() && !content.has_file() {
            continue;
        }
        for folder in targets.into_iter().filter_map(|target| names.get(target)) {
            let here: Vec<&State> = found[part].iter().filter(|(p, _)| p.folder() == *folder).map(|(_, s)| s).collect();
            if !here.contains(&&State::Good) {
                // A name of ours, whatever the manifest says: it is not for manifests to say which files are overwritten.
                let place = Target::at(folder).place(&manifest.part_name(part));
                let (from, anew, vouched) = (from.clone(), !here.is_empty(), vouched.contains(*folder));
                jobs.push(Placing { part, place, from, anew, vouched });
            }
        }
    }
    jobs
}

fn sum_up(
    manifest: &Manifest,
    found: Vec<Vec<(Place, State)>>,
    restored: &BTreeMap<usize, Vec<Place>>,
    wanted: usize,
) -> Repaired {
    let (mut now, mut lost, mut short) = (manifest.clone(), Vec::new(), 0);
    for (number, replicas) in found.iter().enumerate() {
        let new = restored.get(&number).map_or(&[][..], Vec::as_slice);
        let is_good = |(place, state): &&(Place, State)| *state == State::Good || new.contains(place);
        // In the order that they had, so that a manifest changes only where something did.
        let mut places: Vec<Place> = replicas.iter().filter(is_good).map(|(place, _)| place.clone()).collect();
        let elsewhere: Vec<Place> = new.iter().filter(|place| !places.contains(place)).cloned().collect();
        places.extend(elsewhere);
        if places.is_empty() {
            // Its places stay in the manifest: what can't be reached may come back.
            lost.push(Lost { part: number, name: manifest.part_name(number) });
            continue;
        }
        if places.len() < wanted {
            short += 1;
            places.extend(replicas.iter().filter(|(_, state)| unreachable(state)).map(|(place, _)| place.clone()));
        }
        now.parts[number].places = places;
    }
    Repaired { manifest: now, found, restored: restored.values().map(Vec::len).sum(), lost, short }
}
