//! A mirror: copies of what another site shares, checked piece by piece, given under the same paths with the same tags.
//!
//! It follows the site's events ([`follow`]), pulls what is new ([`pull`]), smallest first and what somebody asked for before that,
//! and says every half minute what it has ([`register`]). What is not here it pulls, too, and gives each piece of it as it comes; who would
//! wait too long is sent on to the site. Copies lie in the cache ([`store`]), and are given from there while the site is down, also after a restart.

mod follow;
mod list;
mod pull;
mod register;
mod room;
mod store;
mod work;

use crate::catalogue::Facts;
use crate::live::Live;
use crate::site::{Edge, Site};
use node::Node;
use node::http::client::Web;
use register::Turn;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use work::Work;

/// Events that wait to be read, and are read before anything else is done.
const TOLD_MAX: usize = 256;
/// Time between two looks at what is left to do, if nothing happens.
const LOOK_TIME: Duration = Duration::from_secs(5);

/// What a mirror is told to be.
#[derive(Clone, Debug)]
pub struct MirrorOptions {
    /// The site: scheme, host and port, without a slash at the end.
    pub origin: String,
    /// The beginning of the mirror's own links.
    pub base: String,
    /// Bytes of copies at most.
    pub size_max: Option<u64>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MirrorNews {
    /// The site answers, or does not any more, or not any more for another reason.
    Origin {
        /// It does.
        answers: bool,
        /// What went wrong, if something did.
        why: Option<String>,
        /// How long it did not, if it does again.
        away: Option<Duration>,
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

/// The folder of a mirror's copies, which is its own while this lives.
#[derive(Debug)]
pub struct MirrorCache(Arc<Store>);

impl MirrorCache {
    /// Takes a folder, which is made if it is not there. Blocking.
    ///
    /// # Errors
    /// If it can't be used, or another mirror does.
    pub fn open(folder: &Path) -> std::io::Result<Self> {
        Ok(MirrorCache(Arc::new(Store::open(folder)?)))
    }
}

/// A mirror.
#[derive(Debug)]
pub struct Mirroring {
    site: Arc<Site>,
    edge: Arc<Edge>,
    node: Arc<Node>,
    store: Arc<Store>,
    /// What was in the cache at the beginning.
    found: Vec<Facts>,
    options: MirrorOptions,
}

impl Mirroring {
    /// A mirror that pulls with `node`. From now on it answers for what is in the cache, though it gives that only once it has looked at
    /// it. Blocking.
    pub fn new(options: MirrorOptions, cache: MirrorCache, node: Arc<Node>, live: Arc<dyn Live>) -> Self {
        let edge = Arc::new(Edge::new(options.origin.clone()));
        let site = Arc::new(Site::new(live, options.base.clone()).with_edge(edge.clone()));
        let MirrorCache(store) = cache;
        edge.recall(store.asked());
        let found = store.list();
        found.iter().for_each(|facts| site.lose(store.unmade(facts)));
        Mirroring { site, edge, node, store, found, options }
    }

    /// What it gives.
    pub fn site(&self) -> Arc<Site> {
        self.site.clone()
    }

    /// Mirrors until it is dropped, and tells what happens.
    pub async fn run(&self, tell: impl Fn(MirrorNews)) {
        let web = Arc::new(Web::default());
        let mut work = Work::new(self, web.clone(), tell);
        work.restore().await;
        let (told, mut hear) = mpsc::channel(TOLD_MAX);
        // It ends with this.
        let mut following = JoinSet::new();
        following.spawn(follow::run(web, self.options.origin.clone(), told));
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
                Some(told) = hear.recv() => {
                    work.hear(told).await;
                    for _ in 1..TOLD_MAX {
                        let Ok(told) = hear.try_recv() else { break };
                        work.hear(told).await;
                    }
                }
                Some(pulled) = work.pulls.next() => work.pulled(pulled).await,
                () = self.site.work() => work.altered(),
                () = self.edge.wanted() => {}
                turn = work.register.turn() => match turn {
                    Turn::Tell => work.register(),
                    Turn::Told { wrong, news } => work.registered(wrong, news).await,
                },
                _ = looks.tick() => work.note_requests().await,
            }
        }
    }
}
