//! The record of one torrent, and what a user says to add one.

use super::Inner;
use super::event::{Event, Status};
use crate::disk::check::Meter;
use crate::disk::{Facts, Place, Progress, Storage};
use base::{Bitfield, InfoHashes, Layout, Magnet, Metainfo, TorrentId};
use engine::AddTorrent;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use swarm::{FilePriority, TorrentStatus};

/// Chooses a priority for each file of a layout, once that is known.
pub type Select = Arc<dyn Fn(&Layout) -> Vec<FilePriority> + Send + Sync>;

/// What a torrent is known by.
#[derive(Clone, Debug)]
pub enum What {
    /// Its .torrent.
    Torrent(Box<Metainfo>),
    /// Its magnet; the rest comes from peers.
    Magnet(Magnet),
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
        Add { what, target, peers: Vec::new(), trackers: Vec::new(), select: None, sequential: false, hashed: false }
    }

    /// What the engine is told of it.
    pub(super) fn for_engine(&self) -> AddTorrent {
        let (hashes, info, private, mut trackers) = match &self.what {
            What::Torrent(m) => (m.info.hashes, Some(m.info.raw.clone()), m.info.private, m.trackers.clone()),
            What::Magnet(m) => (m.hashes, None, false, m.trackers.iter().map(|t| vec![t.clone()]).collect()),
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
}

/// What changes of it.
#[derive(Debug, Default)]
pub(super) struct State {
    /// What the user wants of it. None once it is open.
    pub(super) wish: Option<Arc<Wish>>,
    /// Its .torrent, until that is saved.
    pub(super) metainfo: Option<Arc<Metainfo>>,
    pub(super) open: Option<Open>,
    pub(super) complete: bool,
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
        };
        let wish = Wish { name, target: add.target.clone(), select: add.select.clone(), hashed: add.hashed };
        let state = State { wish: Some(Arc::new(wish)), ..State::default() };
        Torrent { id, hashes, meter: Meter::default(), to_check: AtomicU64::new(0), state: Mutex::new(state) }
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
        Status { torrent, checking, complete: state.complete, error: state.error.clone() }
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
