//! The record of one torrent, and what a user says to add one.

use super::Inner;
use super::claims::Claim;
use super::event::{Event, Status};
use crate::disk::check::Meter;
use crate::disk::{Facts, Place, Progress, Storage};
use crate::http::{Places, Remote, Server};
use base::{Bitfield, FileIndex, InfoHashes, Layout, Magnet, Metainfo, Plan, Scope, TorrentId, WholeDigest};
use engine::AddTorrent;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use swarm::{FilePriority, SERVERS_MAX, TorrentStatus};

/// Chooses a priority for each file of a layout, once that is known.
pub type Select = Arc<dyn Fn(&Layout) -> Vec<FilePriority> + Send + Sync>;

/// What a torrent is known by.
#[derive(Clone, Debug)]
pub enum What {
    /// Its .torrent.
    Torrent(Box<Metainfo>),
    /// Its magnet; the rest comes from peers.
    Magnet(Magnet),
    /// No torrent: a file of servers.
    Plain(Plain),
}

/// Content without an info dictionary: what a URL, a Metalink or a split manifest names. Peers know nothing of it.
#[derive(Clone, Debug)]
pub struct Plain {
    /// What it is.
    pub plan: Arc<Plan>,
    /// Tells it from everything else, another version of the same file included: a digest of all that is known of it. The
    /// saved state knows it by this.
    pub id: [u8; 32],
}

impl Plain {
    /// Content that is told from other versions by its digests, and where it has none by `version`.
    pub fn new(plan: Plan, version: &str) -> Self {
        let mut hasher = hash::Sha256::new();
        let mut feed = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        feed(b"content without a torrent");
        feed(plan.layout.name().as_bytes());
        feed(&plan.geometry.total().to_le_bytes());
        feed(&plan.geometry.piece_length().to_le_bytes());
        match plan.whole {
            Some(WholeDigest::Sha256(digest)) => feed(&digest),
            Some(WholeDigest::Sha1(digest)) => feed(&digest),
            None => {}
        }
        plan.checks.sha1.iter().flatten().for_each(|h| feed(h));
        plan.checks.sha256.iter().flatten().for_each(|h| feed(h));
        if plan.whole.is_none() && !plan.checks_pieces() {
            feed(version.as_bytes());
        }
        Plain { plan: Arc::new(plan), id: hasher.finish() }
    }

    fn hashes(&self) -> InfoHashes {
        InfoHashes { v1: None, v2: Some(self.id) }
    }
}

/// What to do with a torrent.
#[derive(Clone, Debug)]
pub enum Target {
    /// Fetch it into this folder: to `NAME.part`, which is renamed at the end, or in place.
    Get {
        /// The folder that the content will be in.
        dir: PathBuf,
        /// Write to the final name at once.
        in_place: bool,
    },
    /// Seed what is at this path: the content itself, file or folder. It is never written to.
    Seed {
        /// The file or folder.
        path: PathBuf,
    },
}

/// A torrent to add.
#[derive(Clone)]
pub struct Add {
    /// What it is.
    pub what: What,
    /// What to do with it.
    pub target: Target,
    /// How near whoever named it is: so near may the servers be that it names. What the user has in a file is on this machine.
    pub told_by: Scope,
    /// HTTP servers that have it, beside those that the torrent names.
    pub servers: Vec<Server>,
    /// Peers to begin with, from the user.
    pub peers: Vec<SocketAddr>,
    /// Trackers beside its own.
    pub trackers: Vec<String>,
    /// Which files are wanted. None: all.
    pub select: Option<Select>,
    /// Fetch the pieces in order.
    pub sequential: bool,
    /// Whoever adds it to seed it has hashed the content just now, to make the torrent: it is not hashed once more.
    pub hashed: bool,
}

impl Add {
    /// Adds `what`, all of it, in whatever order is best.
    pub fn new(what: What, target: Target) -> Self {
        Add {
            what,
            target,
            told_by: Scope::Loopback,
            servers: Vec::new(),
            peers: Vec::new(),
            trackers: Vec::new(),
            select: None,
            sequential: false,
            hashed: false,
        }
    }

    /// All HTTP servers that have it. Who seeds needs none.
    fn all_servers(&self) -> Vec<Server> {
        if matches!(self.target, Target::Seed { .. }) {
            return Vec::new();
        }
        let web_seeds = match &self.what {
            What::Torrent(m) => &m.web_seeds[..],
            What::Magnet(m) => &m.web_seeds[..],
            What::Plain(_) => &[],
        };
        let web_seeds = web_seeds.iter().map(|url| Server::web_seed(url.clone(), self.told_by));
        let info = match &self.what {
            What::Torrent(m) if m.info.layout.is_single() => Some(&m.info),
            _ => None,
        };
        // One server may be named as a mirror of the file and as a web seed of its torrent; once is enough.
        let place = |server: &Server| match &server.places {
            Places::WebSeed(base) => info.map(|info| Places::Whole(info.web_seed_url(base, FileIndex(0)))),
            Places::Whole(_) | Places::Parts(_) => None,
        };
        let mut all: Vec<(Places, Server)> = Vec::new();
        for server in self.servers.iter().cloned().chain(web_seeds) {
            let place = place(&server).unwrap_or_else(|| server.places.clone());
            if all.len() < SERVERS_MAX && all.iter().all(|(known, _)| *known != place) {
                all.push((place, server));
            }
        }
        all.into_iter().map(|(_, server)| server).collect()
    }

    /// What the engine is told of it.
    pub(super) fn for_engine(&self) -> AddTorrent {
        let (hashes, info, private, mut trackers) = match &self.what {
            What::Torrent(m) => (m.info.hashes, Some(m.info.raw.clone()), m.info.private, m.trackers.clone()),
            What::Magnet(m) => (m.hashes, None, false, m.trackers.iter().map(|t| vec![t.clone()]).collect()),
            // Nobody else calls it so.
            What::Plain(_) => return AddTorrent::default(),
        };
        trackers.extend(self.trackers.iter().map(|t| vec![t.clone()]));
        let mut peers = self.peers.clone();
        if let What::Magnet(m) = &self.what {
            // Only addresses: a name in a stranger's link is not looked up.
            peers.extend(m.peers.iter().filter_map(|p| p.parse::<SocketAddr>().ok()));
        }
        AddTorrent { hashes, info, private, trackers, peers, choker: None }
    }
}

impl std::fmt::Debug for Add {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Add").field("what", &self.what).field("target", &self.target).finish_non_exhaustive()
    }
}

/// The record of one torrent. Thousands of them seed at once, so what only the opening needs goes away with it.
pub(super) struct Torrent {
    pub(super) id: TorrentId,
    hashes: InfoHashes,
    /// How far the check of what is there has come, and how far it has to go; 0 while there is none.
    pub(super) meter: Meter,
    pub(super) to_check: AtomicU64,
    state: Mutex<State>,
    /// HTTP servers that have it; most have none.
    webs: Mutex<Option<Box<Webs>>>,
}

/// The HTTP servers of a torrent, by their numbers, and the names that web seeds know its files by.
#[derive(Debug, Default)]
struct Webs {
    remotes: Vec<Arc<Remote>>,
    names: Option<Arc<Metainfo>>,
}

/// What changes of it.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What the user wants of it. None once it is open.
    pub(super) wish: Option<Arc<Wish>>,
    /// Its .torrent, until that is saved.
    pub(super) metainfo: Option<Arc<Metainfo>>,
    pub(super) open: Option<Open>,
    /// What is fetched has its place to itself.
    pub(super) claim: Option<Claim>,
    /// All of it is good, and has its final name.
    pub(super) complete: bool,
    /// It is compared with its digest, or renamed.
    pub(super) finishing: bool,
    pub(super) error: Option<String>,
}

/// What a user wants of a torrent.
pub(super) struct Wish {
    pub(super) name: String,
    pub(super) target: Target,
    pub(super) select: Option<Select>,
    pub(super) hashed: bool,
}

/// A torrent whose files are in use.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) storage: Arc<Storage>,
    /// What is known to be on disk. None: all of it.
    pub(super) progress: Option<Progress>,
    /// Where the content shall lie in the end, if not where it is.
    pub(super) end: Option<Box<Place>>,
    /// What is good has reached the medium.
    pub(super) synced: bool,
    /// What the saved state knows of it.
    pub(super) saved: Known,
}

/// What the saved state knows of a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known {
    /// Its progress at this version.
    pub(super) version: u64,
    /// And what the files looked like then.
    pub(super) stamped: bool,
    /// And that it had been brought to the medium.
    pub(super) synced: bool,
}

impl Known {
    pub(super) const NOTHING: Known = Known { version: u64::MAX, stamped: false, synced: false };
}

impl Open {
    /// What is on disk.
    pub(super) fn facts(&self) -> Facts {
        let all = || Bitfield::full(self.storage.plan().geometry.piece_count());
        self.progress.as_ref().map_or_else(|| Facts { good: all(), ..Facts::default() }, Progress::facts)
    }

    /// Where the content shall lie in the end.
    pub(super) fn end(&self) -> Place {
        self.end.as_deref().cloned().unwrap_or_else(|| self.storage.place())
    }
}

impl Torrent {
    pub(super) fn new(id: TorrentId, add: &Add) -> Self {
        let (hashes, name) = match &add.what {
            What::Torrent(m) => (m.info.hashes, m.info.layout.name().to_owned()),
            What::Magnet(m) => (m.hashes, m.name.clone().unwrap_or_default()),
            What::Plain(p) => (p.hashes(), p.plan.layout.name().to_owned()),
        };
        let wish = Wish { name, target: add.target.clone(), select: add.select.clone(), hashed: add.hashed };
        let state = State { wish: Some(Arc::new(wish)), ..State::default() };
        let remotes: Vec<_> = add.all_servers().into_iter().map(|s| Arc::new(Remote::new(s))).collect();
        let webs = (!remotes.is_empty()).then(|| Box::new(Webs { remotes, names: None }));
        Torrent {
            id,
            hashes,
            meter: Meter::default(),
            to_check: AtomicU64::new(0),
            state: Mutex::new(state),
            webs: Mutex::new(webs),
        }
    }

    fn webs(&self) -> MutexGuard<'_, Option<Box<Webs>>> {
        self.webs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the engine is told of its servers.
    pub(super) fn sources(&self) -> Vec<swarm::HttpSource> {
        let webs = self.webs();
        let remotes = webs.iter().flat_map(|w| &w.remotes);
        remotes.enumerate().map(|(id, remote)| remote.source(id as u32)).collect()
    }

    /// The names of its files, as web seeds know them.
    pub(super) fn set_names(&self, metainfo: &Arc<Metainfo>) {
        if let Some(webs) = &mut *self.webs() {
            webs.names = Some(metainfo.clone());
        }
    }

    /// The server of this number, and the names of the files.
    pub(super) fn server(&self, id: u32) -> Option<(Arc<Remote>, Option<Arc<Metainfo>>)> {
        let webs = self.webs();
        let webs = webs.as_ref()?;
        Some((webs.remotes.get(id as usize)?.clone(), webs.names.clone()))
    }

    pub(super) fn hashes(&self) -> InfoHashes {
        self.hashes
    }

    pub(super) fn name(&self) -> String {
        let state = self.state();
        match (&state.wish, &state.open) {
            (_, Some(open)) => open.storage.plan().layout.name().to_owned(),
            (Some(wish), None) => wish.name.clone(),
            (None, None) => String::new(),
        }
    }

    /// Where it shall lie in the end, once that is known.
    pub(super) fn final_path(&self) -> Option<PathBuf> {
        self.state().open.as_ref().map(|o| o.end().path())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes and tells what has stopped it.
    pub(super) fn fail(&self, inner: &Inner, error: String) {
        self.state().error = Some(error.clone());
        inner.event(self.id, Event::Failed { error });
    }

    /// Bytes hashed of those that were there already, and how many they are, while that lasts.
    pub(super) fn checking(&self) -> Option<(u64, u64)> {
        let to_check = self.to_check.load(Ordering::Relaxed);
        (to_check > 0).then(|| (self.meter.bytes.load(Ordering::Relaxed).min(to_check), to_check))
    }

    pub(super) fn status(&self, torrent: TorrentStatus) -> Status {
        let checking = self.checking();
        let state = self.state();
        let labour = state.open.as_ref().map(|o| o.storage.labour().sum()).unwrap_or_default();
        Status { torrent, checking, complete: state.complete, error: state.error.clone(), labour }
    }
}

impl std::fmt::Debug for Wish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wish").field("name", &self.name).field("target", &self.target).finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Torrent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Torrent").field("id", &self.id).field("hashes", &self.hashes).finish_non_exhaustive()
    }
}
