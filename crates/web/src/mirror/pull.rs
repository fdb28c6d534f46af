//! Pulls items: the torrent first, then the content by the one engine, which checks every piece and goes on where it ended.
//!
//! Only the site and its mirrors are asked, over HTTP; the torrent's trackers and peers are for downloaders.

use super::store::{Store, Torrent};
use crate::catalogue::Facts;
use crate::item::Item;
use crate::mirrors;
use crate::site::Coming;
use base::TorrentId;
use node::http::client::{NamedBy, Web};
use node::http::probe::read_all;
use node::http::{Places, Server};
use node::{Add, Event, Node, NodeEvent, Target, What};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

/// Bytes of a torrent.
const TORRENT_MAX: u64 = 64 << 20;
/// Time without progress after which a pull is given up, to be tried again.
const SILENCE: Duration = Duration::from_secs(30);

/// What is being pulled.
#[derive(Debug)]
pub(super) struct Pulls {
    with: Arc<With>,
    running: JoinSet<(Facts, Result<Item, String>)>,
    names: BTreeMap<String, Pull>,
}

/// One that runs.
#[derive(Debug)]
struct Pull {
    facts: Facts,
    stop: Arc<Notify>,
    stopped: bool,
    coming: Arc<Coming>,
}

/// One that has ended.
#[derive(Debug)]
pub(super) struct Pulled {
    pub(super) facts: Facts,
    pub(super) result: Result<Item, String>,
    /// Nobody wanted it any more.
    pub(super) stopped: bool,
}

#[derive(Debug)]
struct With {
    node: Arc<Node>,
    web: Arc<Web>,
    store: Arc<Store>,
    origin: String,
}

impl Pulls {
    pub(super) fn new(node: Arc<Node>, web: Arc<Web>, store: Arc<Store>, origin: String) -> Self {
        let with = Arc::new(With { node, web, store, origin });
        Pulls { with, running: JoinSet::new(), names: BTreeMap::new() }
    }

    /// How many run, those included that were stopped and have not ended yet.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> u64 {
        self.names.values().fold(0, |sum, pull| sum.saturating_add(pull.facts.bytes))
    }

    pub(super) fn start(&mut self, facts: Facts) {
        let (with, stop, coming) = (self.with.clone(), Arc::new(Notify::new()), Arc::new(Coming::new(facts.clone())));
        let pull = Pull { facts: facts.clone(), stop: stop.clone(), stopped: false, coming: coming.clone() };
        self.names.insert(facts.name.clone(), pull);
        self.running.spawn(async move {
            let result = with.pull(&facts, &stop, &coming).await;
            if result.is_err() {
                coming.fail();
            }
            (facts, result)
        });
    }

    /// What has come of one, for who wants to read it.
    pub(super) fn coming(&self, name: &str) -> Option<Arc<Coming>> {
        self.names.get(name).map(|pull| pull.coming.clone())
    }

    /// Ends a pull. What it has brought is there the next time.
    pub(super) fn stop(&mut self, name: &str) {
        if let Some(pull) = self.names.get_mut(name) {
            pull.stopped = true;
            pull.stop.notify_one();
        }
    }

    /// The next that ends. None: there is none.
    pub(super) async fn next(&mut self) -> Option<Pulled> {
        let ended = self.running.join_next().await?;
        match ended {
            Ok((facts, result)) => {
                let stopped = self.names.remove(&facts.name).is_some_and(|pull| pull.stopped);
                Some(Pulled { facts, result, stopped })
            }
            Err(error) => {
                // None of them panics, and none is aborted.
                tracing::error!("a pull ended: {error}");
                std::mem::take(&mut self.names).values().for_each(|pull| pull.coming.fail());
                None
            }
        }
    }
}

impl With {
    async fn pull(&self, facts: &Facts, stop: &Notify, coming: &Coming) -> Result<Item, String> {
        let torrent = match self.store.torrent(facts).await {
            Some(torrent) => {
                if let Some(item) = self.store.recall(&self.node, facts, &torrent).await {
                    return Ok(item);
                }
                torrent
            }
            None => self.torrent(facts).await?,
        };
        let mut metainfo = torrent.metainfo.clone();
        let layout = &metainfo.info.layout;
        let seed = mirrors::web_seed(&self.origin, &facts.name, layout);
        let places = if layout.is_single() { Places::Whole(seed) } else { Places::WebSeed(seed) };
        // What is there under its final name was whole once: it is mended.
        let in_place = self.store.content(facts, &metainfo).symlink_metadata().is_ok();
        (metainfo.trackers, metainfo.web_seeds) = (Vec::new(), Vec::new());
        let server = Server { places, ..Server::whole(String::new()) };
        let target = Target::Get { dir: self.store.data(facts), in_place };
        let add = Add { servers: vec![server], ..Add::new(What::Torrent(Box::new(metainfo)), target) };
        let mut events = self.node.events();
        let id = self.node.add(add).await.map_err(|e| e.to_string())?;
        let result = tokio::select! {
            result = wait(id, &mut events, || coming.open(&self.node, id), || self.how_far(id)) => result,
            () = stop.notified() => Err("it is not wanted any more".into()),
        };
        self.node.remove(id).await;
        result?;
        self.store.finish(&self.node, facts, torrent).await
    }

    /// The torrent, as the site gives it.
    async fn torrent(&self, facts: &Facts) -> Result<Arc<Torrent>, String> {
        let url = format!("{}{}.torrent?here", self.origin, mirrors::path(&facts.name, None));
        let got = read_all(&self.web, &url, NamedBy::User, TORRENT_MAX).await.map_err(|e| e.to_string())?;
        let torrent = Torrent::parse(got.body).map_err(|e| format!("the site gives a broken torrent: {e}"))?;
        if !torrent.is_of(facts) {
            return Err("it has changed since".into());
        }
        let (store, facts, bytes) = (self.store.clone(), facts.clone(), torrent.bytes.clone());
        let begin = tokio::task::spawn_blocking(move || store.begin(&facts, &bytes));
        begin.await.map_err(|e| e.to_string())?.map_err(|e| format!("can't write to the cache: {e}"))?;
        Ok(Arc::new(torrent))
    }

    async fn how_far(&self, id: TorrentId) -> Option<HowFar> {
        let status = self.node.status(id).await?;
        let now = (status.torrent.downloaded, status.checking, status.torrent.pieces_good);
        Some(if status.complete { HowFar::Complete } else { HowFar::At(now) })
    }
}

/// How far a pull has come: bytes, those that were there already, and pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum HowFar {
    At((u64, Option<(u64, u64)>, u32)),
    Complete,
}

/// Waits until all of it is here. It is given up if nothing has come between two looks, whatever else happens: to it, or to others.
async fn wait<F: Future<Output = Option<HowFar>>>(
    id: TorrentId,
    events: &mut broadcast::Receiver<NodeEvent>,
    opened: impl Fn(),
    how_far: impl Fn() -> F,
) -> Result<(), String> {
    let (mut before, mut look) = (None, Instant::now() + SILENCE);
    loop {
        let due = match timeout_at(look, events.recv()).await {
            Ok(Ok(NodeEvent { torrent, event })) if torrent == id => match event {
                Event::Complete { .. } => return Ok(()),
                Event::Failed { error } => return Err(error),
                Event::ServerDropped { why, .. } => return Err(why),
                Event::Opened { .. } => {
                    opened();
                    continue;
                }
                _ => continue,
            },
            Ok(Ok(_)) => continue,
            Ok(Err(broadcast::error::RecvError::Closed)) => return Err("this mirror ends".into()),
            // What was told meanwhile has to be seen.
            Ok(Err(broadcast::error::RecvError::Lagged(_))) => false,
            Err(_) => true,
        };
        let Some(now) = how_far().await else { return Err("it was removed".into()) };
        if now == HowFar::Complete {
            return Ok(());
        }
        opened();
        if due {
            if before.replace(now) == Some(now) {
                return Err("nothing comes".into());
            }
            look = Instant::now() + SILENCE;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU64, Ordering};

    const OURS: TorrentId = TorrentId(1);
    const OTHER: TorrentId = TorrentId(2);

    /// Tells `each` so often, a second apart, and says after how many seconds the pull ended with what.
    async fn ends(each: TorrentId, how_far: impl AsyncFn() -> Option<HowFar>) -> (u64, Result<(), String>) {
        let (tell, mut events) = broadcast::channel(4);
        let begin = Instant::now();
        let waiting = wait(OURS, &mut events, || {}, || how_far());
        let telling = async {
            loop {
                let _ = tell.send(NodeEvent { torrent: each, event: Event::Metadata });
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
        };
        let result = tokio::select! {
            result = waiting => result,
            () = telling => unreachable!("it never ends"),
        };
        (begin.elapsed().as_secs(), result)
    }

    #[tokio::test(start_paused = true)]
    async fn what_others_do_keeps_no_pull_alive_nor_does_its_own_ado_end_it() {
        let nothing = async || Some(HowFar::At((0, None, 0)));
        let silent = 2 * SILENCE.as_secs();
        let nothing_comes = Err("nothing comes".to_owned());
        assert_eq!(ends(OTHER, nothing).await, (silent, nothing_comes.clone()));
        assert_eq!(ends(OURS, nothing).await, (silent, nothing_comes));
        // A byte between two looks is enough.
        let bytes = AtomicU64::new(0);
        let slow = async || match bytes.fetch_add(1, Ordering::Relaxed) {
            9 => Some(HowFar::Complete),
            n => Some(HowFar::At((n, None, 0))),
        };
        assert_eq!(ends(OURS, slow).await, (10 * SILENCE.as_secs(), Ok(())));
        assert_eq!(ends(OURS, async || None).await.1, Err("it was removed".into()));
    }

    #[tokio::test(start_paused = true)]
    async fn who_has_missed_events_looks() {
        let (tell, mut events) = broadcast::channel(1);
        for _ in 0..9 {
            tell.send(NodeEvent { torrent: OTHER, event: Event::Metadata }).unwrap();
        }
        let begin = Instant::now();
        wait(OURS, &mut events, || {}, || std::future::ready(Some(HowFar::Complete))).await.unwrap();
        assert_eq!(begin.elapsed(), Duration::ZERO);
    }
}
