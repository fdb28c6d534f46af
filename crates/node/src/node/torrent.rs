//! The record of one torrent, and what a user says to add one.

use super::Inner;
use super::event::{Event, Status};
use crate::disk::check::Meter;
use crate::disk::{Place, Progress, Storage};
use base::{InfoHashes, Layout, Magnet, Metainfo, TorrentId};
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

/// The record of one torrent.
pub(super) struct Torrent {
    pub(super) id: TorrentId,
    hashes: InfoHashes,
    pub(super) target: Target,
    pub(super) select: Option<Select>,
    pub(super) hashed: bool,
    /// How far the check of what is there has come, and how far it has to go; 0 while there is none.
    pub(super) meter: Meter,
    pub(super) to_check: AtomicU64,
    state: Mutex<State>,
}

/// What changes of it.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) name: String,
    pub(super) metainfo: Option<Arc<Metainfo>>,
    pub(super) open: Option<Open>,
    pub(super) complete: bool,
    pub(super) error: Option<String>,
}

/// A torrent whose files are in use.
#[derive(Clone, Debug)]
pub(super) struct Open {
    pub(super) storage: Arc<Storage>,
    pub(super) progress: Progress,
    /// Where the content shall lie in the end.
    pub(super) end: Place,
    /// What is good has reached the medium.
    pub(super) synced: bool,
    /// The version of the progress that was saved last.
    pub(super) saved: u64,
    /// The .torrent as it is saved.
    pub(super) bytes: Arc<[u8]>,
}

impl Torrent {
    pub(super) fn new(id: TorrentId, add: &Add) -> Self {
        let (hashes, name) = match &add.what {
            What::Torrent(m) => (m.info.hashes, m.info.layout.name().to_owned()),
            What::Magnet(m) => (m.hashes, m.name.clone().unwrap_or_default()),
        };
        let state = State {
            name,
            metainfo: if let What::Torrent(m) = &add.what { Some(Arc::new((**m).clone())) } else { None },
            ..State::default()
        };
        Torrent {
            id,
            hashes,
            target: add.target.clone(),
            select: add.select.clone(),
            hashed: add.hashed,
            meter: Meter::default(),
            to_check: AtomicU64::new(0),
            state: Mutex::new(state),
        }
    }

    pub(super) fn hashes(&self) -> InfoHashes {
        self.hashes
    }

    pub(super) fn name(&self) -> String {
        self.state().name.clone()
    }

    pub(super) fn metainfo(&self) -> Option<Arc<Metainfo>> {
        self.state().metainfo.clone()
    }

    /// Where it shall lie in the end, once that is known.
    pub(super) fn final_path(&self) -> Option<PathBuf> {
        self.state().open.as_ref().map(|o| o.end.path())
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes and tells what has stopped it.
    pub(super) fn fail(&self, inner: &Inner, error: String) {
        self.state().error = Some(error.clone());
        inner.event(self.id, Event::Failed { error });
    }

    pub(super) fn status(&self, torrent: TorrentStatus) -> Status {
        let to_check = self.to_check.load(Ordering::Relaxed);
        let checking = (to_check > 0).then(|| (self.meter.bytes.load(Ordering::Relaxed).min(to_check), to_check));
        let state = self.state();
        Status { torrent, checking, complete: state.complete, error: state.error.clone() }
    }
}

impl std::fmt::Debug for Torrent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Torrent").field("id", &self.id).field("hashes", &self.hashes).finish_non_exhaustive()
    }
}
