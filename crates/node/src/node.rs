//! One node: what the command line, the pages and the tests hold in their hands.
//!
//! It starts the loop's thread and the disk's, keeps a record of each torrent, opens and finishes their files, and saves
//! their state. What to do is decided by [`engine::Engine`]; where content lies and what of it is believed, in
//! `open`.

mod claims;
mod event;
mod look;
mod open;
mod reading;
mod save;
mod torrent;

pub use claims::Claim;
pub use event::{Event, NodeEvent, Status, Totals};
pub use reading::Reading;
pub use torrent::{Add, Plain, Select, Target, What};

use crate::clock::Clock;
use crate::disk::FileCache;
use crate::disk::worker::Work;
use crate::driver::{Msg, NEWS_MAX, News};
use crate::loops::Loops;
use crate::net::{Listen, Sockets};
use crate::state::{DataDir, Remembered, StateError, Store};
use crate::{entropy, fetch, http};
use base::{InfoHash, Instant, TorrentId};
use engine::{Command, Input, Part, TorrentEvent};
use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use swarm::{PeerStatus, SourceStatus};
use tokio::sync::{Semaphore, broadcast, mpsc, oneshot, watch};
use torrent::Torrent;

/// Events that a slow listener may be behind; older ones are lost to it.
const EVENTS_MAX: usize = 4096;
/// How long many events together wait for slow listeners.
const EVENTS_PATIENCE_MS: u32 = 200;
/// Fetches and look-ups at once; more wait.
const ERRANDS_MAX: usize = 32;
/// Open files, all torrents together.
const OPEN_FILES_MAX: usize = 256;
/// Descriptors for everything but connections, content and the loops: the state, trackers, pages.
const FILES_BESIDE: usize = 256;
/// Torrents hashed at once, also where there are fewer cores: a large one must not hold up all the others.
const CHECKS_MIN: usize = 4;
/// Time that an orderly end may take.
const SHUTDOWN_LIMIT: std::time::Duration = std::time::Duration::from_secs(8);

/// How a node is set up.
#[derive(Clone, Debug)]
pub struct NodeConfig {
    /// The folder of its state; None: the platform's.
    pub data_dir: Option<PathBuf>,
    /// Where peers reach it.
    pub listen: Listen,
    /// The engine's settings; id and port are set by the node. Each shard has a thread of its own, once it has a torrent.
    pub engine: engine::Config,
    /// Threads that hash what is there already.
    pub threads: usize,
    /// Passwords for servers that content is fetched from.
    pub logins: http::netrc::Netrc,
}

impl Default for NodeConfig {
    fn default() -> Self {
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        let engine = engine::Config { shards: threads, ..engine::Config::default() };
        NodeConfig { data_dir: None, listen: Listen::default(), engine, threads, logins: http::netrc::Netrc::default() }
    }
}

/// Why a node can't start, or a torrent can't be added.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data folder.
    #[error(transparent)]
    State(#[from] StateError),
    /// A socket.
    #[error("can't listen on {0}: {1}")]
    Listen(String, std::io::Error),
    /// The system: threads, entropy.
    #[error("can't start: {0}")]
    System(#[from] std::io::Error),
    /// A path of the user.
    #[error("{0}")]
    Path(String),
    /// The same torrent is there already.
    #[error("{0} is there already: it was named twice, or this node shares it")]
    Twice(String),
}

/// A running node.
#[derive(Debug)]
pub struct Node {
    inner: Arc<Inner>,
    finished: watch::Receiver<bool>,
    data: DataDir,
}

#[derive(Debug)]
pub(crate) struct Inner {
    loops: Loops,
    store: Store,
    events: broadcast::Sender<NodeEvent>,
    torrents: Mutex<Torrents>,
    opening: Mutex<open::Opening>,
    claims: claims::Claims,
    /// Torrents whose content is hashed at once.
    checks: Semaphore,
    files: Arc<FileCache>,
    next: AtomicU32,
    listen: Vec<SocketAddr>,
    threads: usize,
    boot: String,
}

/// The records of all torrents.
#[derive(Debug, Default)]
struct Torrents {
    all: BTreeMap<TorrentId, Arc<Torrent>>,
    /// Those that are open and incomplete: the ones whose progress is saved now and then.
    fetching: BTreeMap<TorrentId, Arc<Torrent>>,
    names: HashMap<InfoHash, TorrentId>,
}

impl Node {
    /// Starts a node on the tokio runtime that this is called on.
    ///
    /// # Errors
    /// If the data folder is in use, the port is taken, or the system refuses.
    pub async fn start(config: NodeConfig) -> Result<Node, NodeError> {
        let data = match &config.data_dir {
            Some(path) => DataDir::open(path)?,
            None => DataDir::open_default()?,
        };
        // It works on a thread of its own while sockets and threads are made.
        let opening = tokio::spawn(Store::open(&data));
        let sockets = Sockets::open(config.listen).map_err(|e| NodeError::Listen(words(config.listen), e))?;
        let listen = sockets.addrs();
        let mut rng = entropy::rng()?;
        let mut engine_config = config.engine;
        engine_config.peer_id = entropy::peer_id(&mut rng);
        let beside = OPEN_FILES_MAX + FILES_BESIDE + 2 * engine_config.shards;
        let files = crate::net::file_limit(engine_config.connections_max + beside);
        let room = files.saturating_sub(beside).max(1);
        if room < engine_config.connections_max {
            tracing::warn!("the system allows {files} open files, so there will be {room} connections at most");
            engine_config.connections_max = room;
        }
        engine_config.port = listen.first().map_or(0, SocketAddr::port);
        let (news_tx, news) = mpsc::channel(NEWS_MAX);
        let loops = Loops::start(Clock::start(), engine_config, rng, sockets, &news_tx)?;
        let store = opening.await.map_err(std::io::Error::other)??;
        let inner = Arc::new(Inner {
            loops,
            store,
            events: broadcast::channel(EVENTS_MAX).0,
            torrents: Mutex::default(),
            opening: Mutex::default(),
            claims: claims::Claims::default(),
            checks: Semaphore::new(config.threads.max(CHECKS_MIN)),
            files: Arc::new(FileCache::new(OPEN_FILES_MAX)),
            next: AtomicU32::new(0),
            listen,
            threads: config.threads.max(1),
            boot: crate::state::boot_id(),
        });
        let (finished_tx, finished) = watch::channel(false);
        tokio::spawn(run_news(inner.clone(), config.logins, news, finished_tx));
        tokio::spawn(save::run(Arc::downgrade(&inner)));
        Ok(Node { inner, finished, data })
    }

    /// What is really bound for peers, IPv4 first.
    pub fn listen_addrs(&self) -> &[SocketAddr] {
        &self.inner.listen
    }

    /// The folder of its state.
    pub fn data_dir(&self) -> &std::path::Path {
        self.data.path()
    }

    /// What is remembered of what was shared at `path`, in this run or an earlier one.
    ///
    /// # Errors
    /// If the saved state can't be read.
    pub async fn recall(&self, path: &std::path::Path) -> Result<Option<Remembered>, NodeError> {
        Ok(self.inner.store.recall(path).await?)
    }

    /// Remembers what is shared at `path`, for later runs.
    ///
    /// # Errors
    /// If it can't be saved.
    pub async fn remember(&self, path: &std::path::Path, what: &Remembered) -> Result<(), NodeError> {
        Ok(self.inner.store.remember(path, what).await?)
    }

    /// News of all torrents from now on. Who lags behind by thousands loses the oldest.
    pub fn events(&self) -> broadcast::Receiver<NodeEvent> {
        self.inner.events.subscribe()
    }

    /// Adds a torrent. Its files are looked at in the background; [`Event::Opened`], [`Event::Complete`] or [`Event::Failed`] follow.
    ///
    /// # Errors
    /// If it is there already.
    pub async fn add(&self, add: Add) -> Result<TorrentId, NodeError> {
        self.add_all(vec![add]).pop().expect("an answer for each that is added")
    }

    /// Adds many at once, on the tokio runtime that this is called on. Each is added as by [`Node::add`]; together they open
    /// in a fraction of the time.
    pub fn add_all(&self, adds: Vec<Add>) -> Vec<Result<TorrentId, NodeError>> {
        let (mut messages, mut to_open) = (Vec::with_capacity(adds.len()), Vec::new());
        let add = |add: Add| {
            let id = TorrentId(self.inner.next.fetch_add(1, Ordering::Relaxed));
            let torrent = Arc::new(Torrent::new(id, &add));
            {
                let torrents = &mut *self.inner.lock();
                if let Some(other) = torrent.hashes().on_wire().find_map(|h| torrents.names.get(&h)) {
                    return Err(NodeError::Twice(torrents.all.get(other).map(|t| t.name()).unwrap_or_default()));
                }
                torrents.names.extend(torrent.hashes().on_wire().map(|h| (h, id)));
                torrents.all.insert(id, torrent.clone());
            }
            let bytes = match &add.what {
                What::Torrent(m) => m.info.layout.total(),
                What::Plain(plain) => plain.plan.layout.total(),
                What::Magnet(_) => 0,
            };
            messages.extend(self.inner.loops.place(id, torrent.hashes(), bytes));
            messages.push(Msg::Input(Input::Add(id, Box::new(add.for_engine()))));
            if add.sequential {
                messages.push(Msg::Input(Input::Command(id, Command::Sequential(true))));
            }
            let server = |source| Msg::Input(Input::Command(id, Command::Server(source)));
            messages.extend(torrent.sources().into_iter().map(server));
            match add.what {
                What::Torrent(metainfo) => {
                    let metainfo: Arc<base::Metainfo> = Arc::from(metainfo);
                    torrent.state().metainfo = Some(metainfo.clone());
                    torrent.set_names(&metainfo);
                    to_open.push((torrent, open::Content::Torrent(metainfo)));
                }
                What::Plain(plain) => to_open.push((torrent, open::Content::Plain(plain.plan))),
                What::Magnet(_) => {}
            }
            Ok(id)
        };
        let ids = adds.into_iter().map(add).collect();
        self.inner.loops.put(&mut messages);
        open::open(&self.inner, to_open);
        ids
    }

    /// Gives a torrent a command of the engine. To remove it, use [`Node::remove`].
    pub fn command(&self, id: TorrentId, command: Command) {
        self.inner.tell(Input::Command(id, command));
    }

    /// Fetches these pieces before all others, in place of those that were named so before.
    pub fn fetch_first(&self, id: TorrentId, pieces: Vec<base::PieceIndex>) {
        self.command(id, Command::First(pieces));
    }

    /// The HTTP servers of a torrent.
    pub async fn servers(&self, id: TorrentId) -> Vec<swarm::HttpStatus> {
        self.ask(id, move |engine, now| engine.servers(now, id)).await.unwrap_or_default()
    }

    /// A piece that is wanted and that nobody has who is here.
    pub async fn missing_piece(&self, id: TorrentId) -> Option<base::PieceIndex> {
        self.ask(id, move |engine, _| engine.missing_piece(id)).await.flatten()
    }

    /// Stops a torrent and forgets it; its files stay.
    pub async fn remove(&self, id: TorrentId) {
        self.inner.tell(Input::Command(id, Command::Remove));
        let torrent = {
            let torrents = &mut *self.inner.lock();
            torrents.fetching.remove(&id);
            let torrent = torrents.all.remove(&id);
            for hash in torrent.iter().flat_map(|t| t.hashes().on_wire()) {
                torrents.names.remove(&hash);
            }
            torrent
        };
        if let Some(torrent) = torrent {
            torrent.meter.stop.store(true, Ordering::Relaxed);
            self.inner.close(&torrent).await;
            self.inner.loops.forget(id);
            if let Some(path) = torrent.final_path() {
                self.inner.saved(self.inner.store.delete(&path).await);
            }
            torrent.state().claim = None;
        }
    }

    /// Claims a path for somebody who writes to it by himself, so that no download of this node does; `who` is told to those.
    ///
    /// # Errors
    /// In words for people, if a download is at it.
    pub fn claim(&self, path: &std::path::Path, in_place: bool, who: &str) -> Result<Claim, NodeError> {
        let path =
            std::path::absolute(path).map_err(|e| NodeError::Path(format!("can't use {}: {e}", path.display())))?;
        self.inner.claims.claim(&path, in_place, who).map_err(NodeError::Path)
    }

    /// How a torrent is doing.
    pub async fn status(&self, id: TorrentId) -> Option<Status> {
        let torrent = self.inner.lock().all.get(&id).cloned()?;
        let engine = self.ask(id, move |engine, now| engine.status(now, id)).await.flatten()?;
        Some(torrent.status(engine))
    }

    /// How all torrents together are doing: one question for each shard, however many they are.
    pub async fn totals(&self) -> Totals {
        let mut totals = Totals::default();
        for ids in self.inner.loops.by_shard(self.torrents()) {
            let sum = move |engine: &Part<crate::Rope>, now, ids: &[TorrentId]| {
                let none = Totals { limited: engine.waits_for_limit(), ..Totals::default() };
                ids.iter().filter_map(|id| engine.status(now, *id)).fold(none, |sum, status| Totals {
                    peers: sum.peers + status.peers,
                    rate_down: sum.rate_down + status.rate_down,
                    rate_up: sum.rate_up + status.rate_up,
                    uploaded: sum.uploaded + status.uploaded,
                    ..sum
                })
            };
            let Some(first) = ids.first().copied() else { continue };
            let part = self.ask(first, move |engine, now| sum(engine, now, &ids)).await.unwrap_or_default();
            totals.peers += part.peers;
            totals.rate_down += part.rate_down;
            totals.limited |= part.limited;
            totals.rate_up += part.rate_up;
            totals.uploaded += part.uploaded;
        }
        totals
    }

    /// Bytes hashed of those that were there already, and how many they are, of all torrents that are being checked.
    pub fn checking(&self) -> Option<(u64, u64)> {
        let torrents = self.inner.lock();
        let sums = torrents.all.values().filter_map(|t| t.checking()).reduce(|a, b| (a.0 + b.0, a.1 + b.1));
        sums.filter(|(_, all)| *all > 0)
    }

    /// What is there of the content of a torrent, for who reads it while the rest comes. None as long as its files are not open.
    pub fn reading(&self, id: TorrentId) -> Option<Reading> {
        let torrent = self.inner.lock().all.get(&id).cloned()?;
        let open = torrent.state().open.clone()?;
        Some(Reading::new(open.storage, open.progress))
    }

    /// The peers of a torrent.
    pub async fn peers(&self, id: TorrentId) -> Vec<PeerStatus> {
        self.ask(id, move |engine, now| engine.peers(now, id)).await.unwrap_or_default()
    }

    /// Who gave how much in this run.
    pub async fn sources(&self, id: TorrentId) -> Vec<SourceStatus> {
        self.ask(id, move |engine, _| engine.sources(id)).await.unwrap_or_default()
    }

    /// What the torrent says, once it is known: read from the saved state, where it is kept.
    pub async fn metainfo(&self, id: TorrentId) -> Option<Arc<base::Metainfo>> {
        let torrent = self.inner.lock().all.get(&id).cloned()?;
        if let Some(metainfo) = torrent.state().metainfo.clone() {
            return Some(metainfo);
        }
        let bytes = self.inner.store.metainfo(&torrent.final_path()?).await.ok()??;
        let metainfo = base::Metainfo::parse(&bytes).ok()?;
        (metainfo.info.hashes == torrent.hashes()).then(|| Arc::new(metainfo))
    }

    /// How it stands with a torrent that has come to an end: [`Event::Complete`] or [`Event::Failed`]. For listeners who
    /// may have missed the event.
    pub fn outcome(&self, id: TorrentId) -> Option<Event> {
        let torrent = self.inner.lock().all.get(&id).cloned()?;
        let error = torrent.state().error.clone();
        if let Some(error) = error {
            return Some(Event::Failed { error });
        }
        let complete = torrent.state().complete;
        torrent.final_path().filter(|_| complete).map(|path| Event::Complete { path })
    }

    /// The torrents, in the order in which they came.
    pub fn torrents(&self) -> Vec<TorrentId> {
        self.inner.lock().all.keys().copied().collect()
    }

    /// Asks the part of the engine that has a torrent.
    async fn ask<T: Send + 'static>(
        &self,
        torrent: TorrentId,
        question: impl FnOnce(&Part<crate::Rope>, Instant) -> T + Send + 'static,
    ) -> Option<T> {
        let (tx, rx) = oneshot::channel();
        // Whoever asked may have gone.
        let answer = move |engine: &Part<crate::Rope>, now| drop(tx.send(question(engine, now)));
        self.inner.loops.put_one(Msg::Ask(torrent, Box::new(answer)));
        rx.await.ok()
    }

    /// Ends in order: trackers are told, what was received is written, the state is saved.
    pub async fn shutdown(&self) {
        for torrent in self.inner.lock().all.values() {
            torrent.meter.stop.store(true, Ordering::Relaxed);
        }
        self.inner.tell(Input::Shutdown);
        let mut finished = self.finished.clone();
        let ended = tokio::time::timeout(SHUTDOWN_LIMIT, finished.wait_for(|f| *f)).await;
        let threads = self.inner.loops.halt();
        if ended.is_ok() {
            // The first has said that it is done, so the others are, too; a panic was reported by itself.
            let join = move || threads.into_iter().for_each(|thread| drop(thread.join()));
            let _ = tokio::task::spawn_blocking(join).await;
        }
        self.inner.save_all().await;
        self.inner.store.close().await;
    }
}

/// Dropped without [`Node::shutdown`], a node ends as if it was killed: nothing is said to anybody, nothing is saved.
impl Drop for Node {
    fn drop(&mut self) {
        self.inner.loops.halt();
    }
}

fn words(listen: Listen) -> String {
    match listen {
        Listen::At(addr) => addr.to_string(),
        Listen::Usual | Listen::Any => "any port".into(),
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Torrents> {
        self.torrents.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn tell(&self, input: Input<crate::Rope>) {
        self.loops.put_one(Msg::Input(input));
    }

    fn event(&self, torrent: TorrentId, event: Event) {
        // Nobody has to listen.
        let _ = self.events.send(NodeEvent { torrent, event });
    }

    /// Tells much at once, at the pace of those who listen, as long as they do.
    async fn events(&self, events: Vec<(TorrentId, Event)>) {
        let mut patience = EVENTS_PATIENCE_MS;
        for (torrent, event) in events {
            while self.events.len() >= EVENTS_MAX / 2 && patience > 0 {
                patience -= 1;
                tokio::time::sleep(std::time::Duration::from_millis(1)).await;
            }
            self.event(torrent, event);
        }
    }

    /// A failure of the state is no failure of the transfer: it is told, and what was not saved is hashed again.
    fn saved(&self, result: Result<(), StateError>) {
        if let Err(e) = result {
            tracing::warn!("{e}");
        }
    }

    /// Lets the disk finish what it has of a torrent, and closes its files.
    async fn close(&self, torrent: &Torrent) {
        let (tx, rx) = oneshot::channel();
        self.loops.put_one(Msg::Storage(torrent.id, None));
        self.loops.put_one(Msg::Disk(Work::Close(torrent.id, tx)));
        // If the loop has ended, so has the disk.
        let _ = rx.await;
    }
}

/// Does what the loop leaves to others, until it ends.
async fn run_news(
    inner: Arc<Inner>,
    logins: http::netrc::Netrc,
    mut news: mpsc::Receiver<News>,
    finished: watch::Sender<bool>,
) {
    let errands = Arc::new(Semaphore::new(ERRANDS_MAX));
    let fetcher = Arc::new(fetch::Fetcher::default());
    // Streams have limits of their own: for them it may be us who don't read.
    let web = Arc::new(http::client::Web::patient(logins));
    while let Some(news) = news.recv().await {
        match news {
            News::Event(id, event) => take_event(&inner, id, event),
            News::Fetch { job, url, to } => {
                let (inner, errands, fetcher) = (inner.clone(), errands.clone(), fetcher.clone());
                tokio::spawn(async move {
                    let _permit = errands.acquire().await;
                    let result = fetcher.get(&url, to).await;
                    inner.tell(Input::Fetched { job, result });
                });
            }
            News::Stream { torrent, source, errand } => {
                let torrent = inner.lock().all.get(&torrent).cloned();
                let plan = torrent.as_ref().and_then(|t| t.state().open.as_ref().map(|o| o.storage.plan().clone()));
                let server = torrent.and_then(|t| t.server(source));
                if let (Some(plan), Some((remote, names))) = (plan, server) {
                    tokio::spawn(http::run(web.clone(), remote, plan, names, errand));
                }
            }
            News::Resolve { job, host, port } => {
                let (inner, errands) = (inner.clone(), errands.clone());
                tokio::spawn(async move {
                    let _permit = errands.acquire().await;
                    let result = fetch::resolve(&host, port).await;
                    inner.tell(Input::Resolved { job, result });
                });
            }
            News::Finished => break,
        }
    }
    // The node may be gone.
    let _ = finished.send(true);
}

fn take_event(inner: &Arc<Inner>, id: TorrentId, event: TorrentEvent) {
    let Some(torrent) = inner.lock().all.get(&id).cloned() else { return };
    match event {
        // It was complete when it was opened.
        TorrentEvent::Swarm(swarm::Event::Complete) if torrent.state().complete => {}
        TorrentEvent::Swarm(swarm::Event::Metadata(raw)) => open::metadata(inner, &torrent, &raw),
        TorrentEvent::Swarm(swarm::Event::Complete) => drop(tokio::spawn(open::finish(inner.clone(), torrent))),
        TorrentEvent::Swarm(swarm::Event::Stopped { error }) => torrent.fail(inner, error),
        TorrentEvent::Swarm(swarm::Event::Banned { addr, why }) => inner.event(id, Event::Banned { addr, why }),
        TorrentEvent::Swarm(swarm::Event::ServerDropped { name, why }) => {
            inner.event(id, Event::ServerDropped { name, why });
        }
        TorrentEvent::Swarm(swarm::Event::PieceBad(piece)) => inner.event(id, Event::PieceBad(piece)),
        TorrentEvent::Tracker { url, error, warning, working, seeders, leechers } => {
            inner.event(id, Event::Tracker { url, error, warning, working, seeders, leechers });
        }
        TorrentEvent::Swarm(swarm::Event::PieceGood(_) | swarm::Event::CheckedAll { .. }) | TorrentEvent::Removed => {}
    }
}

#[cfg(test)]
mod tests;
