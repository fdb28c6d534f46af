//! What a node tells of its torrents.

use crate::disk::Labour;
use base::{PieceIndex, TorrentId};
use std::net::SocketAddr;
use std::path::PathBuf;
use swarm::TorrentStatus;

/// News of one torrent.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeEvent {
    /// The torrent.
    pub torrent: TorrentId,
    /// What happened.
    pub event: Event,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The info dictionary came from peers: name, files and sizes are known now.
    Metadata,
    /// What was there already was looked at; fetching and seeding begin.
    Opened {
        /// Pieces that are good.
        good: u32,
        /// Pieces in all.
        pieces: u32,
        /// Where the content lies for now.
        path: PathBuf,
    },
    /// All that is wanted is there, under its final name.
    Complete {
        /// Where.
        path: PathBuf,
    },
    /// A piece came and was bad; it is fetched again.
    PieceBad(PieceIndex),
    /// A peer sent rotten data and is not spoken to any more.
    Banned {
        /// Where it was.
        addr: SocketAddr,
        /// What it did.
        why: String,
    },
    /// An HTTP server is not used any more.
    ServerDropped {
        /// What people call it.
        name: String,
        /// What it did.
        why: String,
    },
    /// A tracker has answered, or failed to.
    Tracker {
        /// Which.
        url: String,
        /// What went wrong, if something did.
        error: Option<String>,
        /// What it wants people to know.
        warning: Option<String>,
        /// It answers.
        working: bool,
        /// Seeds it knows of.
        seeders: Option<u32>,
        /// Leechers it knows of.
        leechers: Option<u32>,
    },
    /// The torrent has stopped.
    Failed {
        /// What failed, in words for people.
        error: String,
    },
}

/// A torrent at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// What the engine knows.
    pub torrent: TorrentStatus,
    /// Bytes hashed of those that were there already, and how many they are, while that lasts.
    pub checking: Option<(u64, u64)>,
    /// Everything wanted is there, under its final name.
    pub complete: bool,
    /// What has stopped it.
    pub error: Option<String>,
    /// How long the disk's thread has worked for it.
    pub labour: Labour,
}

/// All torrents together at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Peers connected.
    pub peers: u32,
    /// Bytes a second received.
    pub rate_down: u64,
    /// More would be received now, but for the limit.
    pub limited: bool,
    /// Bytes a second sent.
    pub rate_up: u64,
    /// Bytes sent in this run.
    pub uploaded: u64,
}
