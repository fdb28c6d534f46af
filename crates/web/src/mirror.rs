//! A mirror: copies of what another site shares, checked piece by piece, given under the same paths with the same tags.
//!
//! It follows the site's events ([`follow`]), pulls what is new ([`pull`]), smallest first and what somebody asked for before that,
//! and says every half minute what it has ([`register`]). What is not here it pulls, too, and gives each piece of it as it comes; who would
//! wait too long is sent on to the site. Copies lie in the cache ([`store`]), and are given from there while the site is down, also after a restart.

mod follow;
mod pull;
mod register;
mod room;
mod store;

use crate::catalogue::Facts;
use crate::item::Item;
use crate::live::Live;
use crate::site::{Edge, Site, Unmade};
use follow::Told;
use node::Node;
use node::http::client::Web;
use pull::Pulls;
use register::{Answer, Register, Turn};
use room::Room;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use store::Store;
use tokio::sync::mpsc;

/// Items pulled at once, and those that somebody has asked for.
const PULLS_MAX: usize = 2;
const WANTED_MAX: usize = 8;
/// Items of a site that are known; further ones are not mirrored.
const LISTED_MAX: usize = 100_000;
/// Events that wait to be read.
const TOLD_MAX: usize = 256;
/// Time until what could not be pulled is tried again: the first one, doubled each time up to the last.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Time between two looks at what is left to do, if nothing happens.
const LOOK_TIME: Duration = Duration::from_secs(5);

/// What a mirror is told to be.
#[derive(Clone, Debug)]
pub struct MirrorOptions {
    /// The site: scheme, host and port, without a slash at the end.
    pub origin: String,
    /// The beginning of the mirror's own links.
    pub base: String,
    /// The folder of the copies.
    pub cache: PathBuf,
    /// Bytes of copies at most.
    pub size_max: Option<u64>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorNews {
    /// The site answers, or does not any more.
    Origin {
        /// It does.
        answers: bool,
        /// What went wrong, if something did.
        why: Option<String>,
    },
    /// This is here now, whole and checked.
    Here(Facts),
    /// This is not here any more: it changed, is gone, or made room.
    Gone {
        /// Its name.
        name: String,
        /// Why.
        why: &'static str,
    },
    /// This could not be pulled, and is tried again.
    Failed {
        /// Its name.
        name: String,
        /// What went wrong.
        why: String,
    },
    /// The site tells others of this mirror, or does not.
    Registered {
        /// It does.
        listed: bool,
        /// Why not, where it says so.
        why: Option<String>,
    },
}

/// A mirror.
#[derive(Debug)]
pub struct Mirroring {
    site: Arc<Site>,
    edge: Arc<Edge>,
    node: Arc<Node>,
    options: MirrorOptions,
}

/// A copy that is given.
#[derive(Debug)]
struct Copy {
    facts: Facts,
    item: Arc<Item>,
}

/// What failed.
#[derive(Debug)]
struct Failed {
    again: Instant,
    waited: Duration,
}

/// A mirror at work.
struct Work<'a, F> {
    of: &'a Mirroring,
    web: Arc<Web>,
    store: Arc<Store>,
    tell: F,
    /// What the site shares.
    listed: BTreeMap<String, Facts>,
    /// What it names while it tells the whole list.
    fresh: Option<BTreeMap<String, Facts>>,
    here: BTreeMap<String, Copy>,
    pulls: Pulls,
    failed: BTreeMap<String, Failed>,
    register: Register,
}

impl Mirroring {
    /// A mirror that pulls with `node`.
    pub fn new(options: MirrorOptions, node: Arc<Node>, live: Arc<dyn Live>) -> Self {
        let edge = Arc::new(Edge::new(options.origin.clone()));
        let site = Arc::new(Site::new(live, options.base.clone()).with_edge(edge.clone()));
        Mirroring { site, edge, node, options }
    }

    /// What it gives.
    pub fn site(&self) -> Arc<Site> {
        self.site.clone()
    }

    /// Mirrors until it is dropped, and tells what happens.
    ///
    /// # Errors
    /// If the cache can't be used.
    pub async fn run(&self, tell: impl Fn(MirrorNews)) -> std::io::Result<()> {
        let store = Arc::new(Store::open(&self.options.cache)?);
        let web = Arc::new(Web::default());
        let mut work = Work {
            of: self,
            web: web.clone(),
            pulls: Pulls::new(self.node.clone(), web.clone(), store.clone(), self.options.origin.clone()),
            store,
            tell,
            listed: BTreeMap::new(),
            fresh: None,
            here: BTreeMap::new(),
            failed: BTreeMap::new(),
            register: Register::new(&self.options),
        };
        self.edge.recall(work.store.asked());
        work.restore().await;
        let (told, mut hear) = mpsc::channel(TOLD_MAX);
        let following = tokio::spawn(follow::run(web, self.options.origin.clone(), told));
        let _end = AbortOnDrop(following);
        let mut looks = tokio::time::interval(LOOK_TIME);
        looks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let wants = self.edge.wants();
            work.next_pulls().await;
            for (name, tell) in wants {
                // Who asked may have gone.
                let _ = tell.send(work.pulls.coming(&name));
            }
            tokio::select! {
                Some(told) = hear.recv() => work.hear(told).await,
                Some((facts, result)) = work.pulls.next() => work.pulled(facts, result),
                () = self.site.work() => work.altered(),
                () = self.edge.wanted() => {}
                turn = work.register.turn() => match turn {
                    Turn::Tell => work.register(),
                    Turn::Told(answer) => answer.into_iter().for_each(|answer| work.registered(answer)),
                },
                _ = looks.tick() => work.note_requests().await,
            }
        }
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl<F: Fn(MirrorNews)> Work<'_, F> {
    /// Takes up what is in the cache from earlier runs.
    async fn restore(&mut self) {
        for facts in self.store.list() {
            if let Some(item) = self.store.recall(&self.of.node, &facts).await {
                self.add(facts.clone(), item);
            } else {
                self.of.site.lose(self.store.unmade(&facts));
            }
            self.listed.insert(facts.name.clone(), facts);
        }
    }

    async fn hear(&mut self, told: Told) {
        match told {
            Told::Connected => {
                self.of.edge.answers(true);
                self.register.soon();
                (self.tell)(MirrorNews::Origin { answers: true, why: None });
            }
            Told::Lost(why) => {
                self.of.edge.answers(false);
                self.fresh = None;
                (self.tell)(MirrorNews::Origin { answers: false, why: Some(why) });
            }
            Told::Begin => self.fresh = Some(BTreeMap::new()),
            Told::Item(facts) => {
                if let Some(fresh) = self.fresh.as_mut().filter(|fresh| fresh.len() < LISTED_MAX) {
                    fresh.insert(facts.name.clone(), facts.clone());
                }
                self.listed(facts);
            }
            // Its bytes are the site's alone until it has a torrent.
            Told::Changed(name) => {
                if let Some(fresh) = &mut self.fresh {
                    fresh.extend(self.listed.get(&name).map(|facts| (name.clone(), facts.clone())));
                }
                self.drop_copy(&name, "it has changed");
                let (root, single) = (self.store.nowhere(), true);
                self.of.site.lose(Unmade { name: name.clone(), root, single, leave_hidden: false });
                self.listed.remove(&name);
            }
            Told::Removed(name) => self.unlist(&name),
            Told::Ready => {
                let Some(fresh) = self.fresh.take() else { return };
                let gone: Vec<_> = self.listed.keys().filter(|name| !fresh.contains_key(*name)).cloned().collect();
                gone.iter().for_each(|name| self.unlist(name));
                let keep: Vec<Facts> = self.listed.values().cloned().collect();
                let store = self.store.clone();
                let _ = tokio::task::spawn_blocking(move || store.keep_only(&keep)).await;
            }
        }
    }

    /// This is what the site shares under a name.
    fn listed(&mut self, facts: Facts) {
        let name = facts.name.clone();
        if self.listed.get(&name) == Some(&facts) || self.listed.len() >= LISTED_MAX {
            return;
        }
        if let Some(old) = self.listed.insert(name.clone(), facts.clone()).filter(|old| old.tag != facts.tag) {
            self.drop_copy(&name, "it has changed");
            self.store.delete(&old);
        }
        self.failed.remove(&name);
        if !self.here.contains_key(&name) {
            self.of.site.lose(self.store.unmade(&facts));
        }
    }

    fn unlist(&mut self, name: &str) {
        self.drop_copy(name, "the site does not share it any more");
        if let Some(facts) = self.listed.remove(name) {
            self.store.delete(&facts);
        }
        self.of.site.remove(name);
        self.of.edge.forget(name);
    }

    /// Gives a copy no more. Its files stay.
    fn drop_copy(&mut self, name: &str, why: &'static str) {
        self.pulls.stop(name);
        if let Some(copy) = self.here.remove(name) {
            self.of.site.lose(self.store.unmade(&copy.facts));
            self.register.soon();
            (self.tell)(MirrorNews::Gone { name: name.to_owned(), why });
        }
    }

    fn add(&mut self, facts: Facts, item: Item) {
        let name = facts.name.clone();
        let item = self.of.site.put(item);
        self.here.insert(name, Copy { facts: facts.clone(), item });
        self.register.soon();
        (self.tell)(MirrorNews::Here(facts));
    }

    /// Something in the cache does not look as it did when it was checked.
    fn altered(&mut self) {
        let unmade = self.of.site.unmade();
        let names: Vec<_> = unmade.iter().filter(|u| self.here.contains_key(&u.name)).map(|u| u.name.clone()).collect();
        for name in names {
            self.drop_copy(&name, "its file was altered; it is checked again");
        }
    }

    fn pulled(&mut self, facts: Facts, result: Result<Item, String>) {
        let name = facts.name.clone();
        if self.listed.get(&name).is_none_or(|now| now.tag != facts.tag) {
            self.store.delete(&facts);
            return;
        }
        match result {
            Ok(item) => {
                self.failed.remove(&name);
                self.add(facts, item);
            }
            Err(why) => {
                let waited = self.failed.get(&name).map_or(RETRY_MIN, |f| (f.waited * 2).min(RETRY_MAX));
                self.failed.insert(name.clone(), Failed { again: Instant::now() + waited, waited });
                (self.tell)(MirrorNews::Failed { name, why });
            }
        }
    }

    /// Begins to pull what is due, and makes room for what somebody wants.
    async fn next_pulls(&mut self) {
        while self.pulls.len() < WANTED_MAX {
            let Some((facts, evicted)) = self.choose() else { return };
            if self.pulls.len() >= PULLS_MAX && self.of.edge.last(&facts.name).is_none() {
                return;
            }
            for name in evicted {
                let facts = self.here.get(&name).map(|copy| copy.facts.clone());
                self.drop_copy(&name, "it made room");
                if let Some(facts) = facts {
                    let store = self.store.clone();
                    let _ = tokio::task::spawn_blocking(move || store.delete(&facts)).await;
                }
            }
            self.pulls.start(facts);
        }
    }

    fn choose(&self) -> Option<(Facts, Vec<String>)> {
        let now = Instant::now();
        let due = |name: &str| self.failed.get(name).is_none_or(|failed| failed.again <= now);
        let last = |name: &str| self.of.edge.last(name);
        let lacking = self.listed.values().filter(|f| !self.here.contains_key(&f.name) && !self.pulls.has(&f.name));
        let mut lacking: Vec<&Facts> = lacking.filter(|facts| due(&facts.name)).collect();
        lacking.sort_by_key(|facts| (std::cmp::Reverse(last(&facts.name)), facts.bytes));
        let room = Room {
            max: self.of.options.size_max,
            pulling: self.pulls.bytes(),
            here: self.here.values().map(|c| (c.facts.name.clone(), c.facts.bytes, last(&c.facts.name))).collect(),
        };
        let fits = |facts: &Facts| Some((facts.clone(), room.make(facts.bytes, last(&facts.name))?));
        lacking.into_iter().find_map(fits)
    }

    /// Notes what was asked for when, so that after a restart the right copies make room.
    async fn note_requests(&mut self) {
        if let Some(last) = self.of.edge.to_note() {
            let store = self.store.clone();
            let noted = tokio::task::spawn_blocking(move || store.note_asked(&last)).await;
            if let Ok(Err(error)) = noted {
                tracing::warn!("can't note what was asked for: {error}");
            }
        }
    }

    fn register(&mut self) {
        let items = self.here.iter().map(|(name, copy)| (name.clone(), copy.facts.tag.clone())).collect();
        self.register.tell(&self.web, items, self.of.site.downloads());
    }

    fn registered(&mut self, answer: Answer) {
        match answer {
            Ok((wrong, listed, why)) => {
                // What the site saw wrong of it is checked from the beginning.
                for name in wrong {
                    if let Some(copy) = self.here.get(&name) {
                        self.store.forget(&copy.facts, &copy.item);
                        self.drop_copy(&name, "the site has seen other bytes of it; it is checked again");
                    }
                }
                (self.tell)(MirrorNews::Registered { listed, why });
            }
            Err(why) => (self.tell)(MirrorNews::Registered { listed: false, why: Some(why) }),
        }
    }
}
