//! What clients and trackers say to each other: over HTTP (BEP 3, 7, 21, 23, 24, 31, 48) and UDP (BEP 15, 41).
//!
//! Both ways carry the same announce, so both read into and write from one [`Announce`]. Here are the bytes of both
//! sides; when to announce, whom to list and whose connection ids are genuine is decided in the room `tracker`.

pub mod http;
pub mod udp;

use base::{InfoHash, PeerId};

/// Most peers that are read from one reply, of each family. Trackers send 200 at most.
pub const PEERS_MAX: usize = 1_000;
/// Most characters that are kept of a message that a tracker wants to be shown.
pub const MESSAGE_CHARS_MAX: usize = 500;
/// What is announced, or assumed, as left while nobody knows it: a lot, so that nobody is taken for a seed.
pub const LEFT_UNKNOWN: u64 = i64::MAX as u64;

/// One announce of one torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Announce {
    /// The torrent.
    pub info_hash: InfoHash,
    /// The peer.
    pub peer_id: PeerId,
    /// The port on which it accepts connections.
    pub port: u16,
    /// Bytes sent since it started.
    pub uploaded: u64,
    /// Bytes received since it started.
    pub downloaded: u64,
    /// Bytes that it lacks; [`LEFT_UNKNOWN`] where that is not known.
    pub left: u64,
    /// Why it announces.
    pub event: AnnounceEvent,
    /// A random number that proves its identity when its address changes (BEP 7).
    pub key: u32,
    /// Peers it asks for; None leaves that to the tracker.
    pub numwant: Option<u32>,
}

/// Why a peer announces.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AnnounceEvent {
    /// It is time to.
    #[default]
    None,
    /// The download was just completed.
    Completed,
    /// It has just come.
    Started,
    /// It is about to go.
    Stopped,
    /// It lacks something, and won't download it (BEP 21).
    Paused,
}

/// How big a swarm is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Peers that have everything.
    pub seeders: u32,
    /// Peers that don't.
    pub leechers: u32,
    /// Downloads that were completed, ever.
    pub downloads: u32,
}
