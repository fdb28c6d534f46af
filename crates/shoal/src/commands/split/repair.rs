//! `shoal split repair`: looks at every replica, and restores what is lost.

use super::{TargetLine, by_target, counted};
use crate::args::RepairArgs;
use crate::failure::Failure;
use crate::progress::{self, Far};
use crate::say::{Voice, printable};
use crate::signals;
use base::Manifest;
use find::Found;
use node::split::{self, Content, Event, Options, Placed, Placing, State, Targets};
use serde::Serialize;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

mod find;

/// A replica that is not as it should be.
#[derive(Serialize)]
#[serde(tag = "event", rename = "replica")]
struct ReplicaLine<'a> {
    part: usize,
    place: String,
    state: &'a str,
    why: Option<&'a str>,
}

/// One that was written, or could not be.
#[derive(Serialize)]
#[serde(tag = "event", rename = "restored")]
struct RestoredLine {
    part: usize,
    place: String,
    ok: bool,
    why: Option<String>,
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "complete")]
struct Done {
    manifest: String,
    parts: usize,
    good: usize,
    missing: usize,
    altered: usize,
    unreachable: usize,
    restored: usize,
    /// Parts with fewer replicas than there should be.
    short: usize,
    /// Files of parts that are good nowhere.
    lost: Vec<String>,
    targets: Vec<TargetLine>,
}

/// How far it is, for the bar.
struct Meters {
    restoring: AtomicBool,
    looked: AtomicU64,
    moved: Arc<AtomicU64>,
    total: AtomicU64,
    /// Folders where nobody answered: people are told once.
    dead: RefCell<BTreeSet<String>>,
}

/// Does what the command line says.
pub async fn run(args: &RepairArgs, voice: Voice) -> Result<(), Failure> {
    let logins = args.logins.read()?;
    let Found { manifest, output, home, across, told_by } = find::find(args, &logins, voice).await?;
    let known = Targets::new(&home, &across)?.told_by(told_by).with_logins(logins);
    let content = Arc::new(Content::new(manifest.clone(), known, args.from.as_deref())?);
    let options = Options { deep: args.deep, replicas: args.replicas.map(Into::into), across };
    let all = manifest.parts.iter().map(|part| part.bytes * part.places.len() as u64).sum();
    let meters = Meters {
        restoring: AtomicBool::new(false),
        looked: AtomicU64::new(0),
        moved: Arc::default(),
        total: AtomicU64::new(all),
        dead: RefCell::default(),
    };
    let far = || {
        let (what, bytes) = match meters.restoring.load(Ordering::Relaxed) {
            true => ("restoring", &*meters.moved),
            false => ("looking", &meters.looked),
        };
        Far { what, bytes: bytes.load(Ordering::Relaxed), total: meters.total.load(Ordering::Relaxed) }
    };
    let told = |event: Event<'_>| tell(event, &manifest, &meters, voice);
    let work = split::repair(&content, &options, &meters.moved, signals::stop(), told);
    let repaired = progress::followed(voice, far, work).await.map_err(super::failure)?;
    // What is there may be older than what was read.
    if super::read(&output).ok().as_ref() != Some(&repaired.manifest) {
        split::save(&repaired.manifest, &output)?;
    }
    let count = |word| repaired.found.iter().flatten().filter(|(_, state)| words(state).0 == word).count();
    let done = Done {
        manifest: output.to_string_lossy().into_owned(),
        parts: manifest.parts.len(),
        good: count("good"),
        missing: count("missing"),
        altered: count("altered"),
        unreachable: count("unreachable"),
        restored: repaired.restored,
        short: repaired.short,
        lost: repaired.lost.iter().map(|lost| lost.name.clone()).collect(),
        targets: by_target(&repaired.manifest),
    };
    voice.object(&done);
    sum_up(&done, voice);
    end(&done, &manifest)
}

fn tell(event: Event<'_>, manifest: &Manifest, meters: &Meters, voice: Voice) {
    match event {
        Event::Looked { part, place, state } => {
            meters.looked.fetch_add(manifest.parts[part].bytes, Ordering::Relaxed);
            if let (word, why) = words(state)
                && word != "good"
            {
                voice.object(&ReplicaLine { part, place: place.to_string(), state: word, why });
                let why = why.map(|why| format!(": {why}")).unwrap_or_default();
                if !matches!(state, State::Unreachable(_)) {
                    voice.note(&format!("part {part} is {word} at {place}{why}"));
                } else if meters.dead.borrow_mut().insert(place.folder().to_owned()) {
                    voice.note(&format!("parts are {word} at {}{why}", place.folder()));
                }
            }
        }
        Event::Restoring(total) => {
            meters.total.store(total, Ordering::Relaxed);
            meters.restoring.store(true, Ordering::Relaxed);
        }
        Event::Stored(Placed { placing: Placing { part, place, .. }, result }) => {
            let why = result.as_ref().err().map(ToString::to_string);
            if let Some(why) = &why {
                voice.warn(&format!("part {part} can't be restored at {place}: {why}"));
            }
            voice.object(&RestoredLine { part: *part, place: place.to_string(), ok: why.is_none(), why });
        }
    }
}

/// A state in a word, and why.
fn words(state: &State) -> (&'static str, Option<&str>) {
    match state {
        State::Good => ("good", None),
        State::Missing => ("missing", None),
        State::Altered(why) => ("altered", Some(why)),
        State::Unreachable(why) => ("unreachable", Some(why)),
    }
}

fn sum_up(done: &Done, voice: Voice) {
    let counts = [
        ("good", done.good),
        ("missing", done.missing),
        ("altered", done.altered),
        ("unreachable", done.unreachable),
        ("restored", done.restored),
    ];
    let counts: BTreeMap<&str, usize> = counts.into_iter().filter(|(_, n)| *n > 0).collect();
    voice.result(&format!("{} parts; replicas: {}", done.parts, counted(&counts)));
    for TargetLine { target, parts, .. } in &done.targets {
        voice.result(&format!("  {parts} parts on {}", printable(target)));
    }
}

/// All is well only if every part is where it should be, as often as it should.
fn end(done: &Done, manifest: &Manifest) -> Result<(), Failure> {
    const NAMED: usize = 5;
    if !done.lost.is_empty() {
        let named = done.lost.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
        let more =
            if done.lost.len() > NAMED { format!(" and {} more", done.lost.len() - NAMED) } else { String::new() };
        let name = &manifest.name;
        return Err(anyhow::anyhow!(
            "no good replica is left of {named}{more}; if you have {name} itself, name it with --from"
        )
        .into());
    }
    if done.short > 0 {
        return Err(anyhow::anyhow!(
            "{} parts are on fewer targets than they should be; name more targets with --across",
            done.short
        )
        .into());
    }
    Ok(())
}
