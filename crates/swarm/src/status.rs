//! What a torrent tells about itself when asked: for progress bars, pages and `--explain`.

use base::ConnId;
use std::net::SocketAddr;

/// A torrent at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct TorrentStatus {
    /// Where it stands.
    pub phase: Phase,
    /// Bytes of wanted pieces, padding left out.
    pub wanted: u64,
    /// Bytes of them that are good.
    pub done: u64,
    /// Bytes received of pieces that are not complete yet.
    pub partial: u64,
    /// Pieces that are good.
    pub pieces_good: u32,
    /// Pieces in all.
    pub pieces: u32,
    /// Payload bytes received in this run, wasted ones included.
    pub downloaded: u64,
    /// Payload bytes sent in this run.
    pub uploaded: u64,
    /// Payload bytes received twice, unasked or rotten.
    pub wasted: u64,
    /// The rotten ones among them.
    pub rotten: u64,
    /// Payload bytes a second, in and out.
    pub rate_down: u64,
    /// Payload bytes a second out.
    pub rate_up: u64,
    /// Peers connected.
    pub peers: u32,
    /// Those of them that have everything.
    pub seeds: u32,
    /// Addresses known and not connected.
    pub candidates: u32,
    /// Streams of HTTP servers under way.
    pub streams: u32,
}

/// What a torrent is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for the info dictionary from peers.
    #[default]
    Metadata,
    /// The info dictionary is here; waiting to be opened.
    Ready,
    /// Hashing what is on disk.
    Checking,
    /// Fetching.
    Downloading,
    /// All that is wanted is here.
    Seeding,
    /// Paused by the user.
    Paused,
    /// Stopped by a failure.
    Failed,
}

/// One peer at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerStatus {
    /// The connection.
    pub conn: ConnId,
    /// The other end.
    pub addr: SocketAddr,
    /// We dialled it.
    pub outgoing: bool,
    /// What it calls itself, or what its id says.
    pub client: String,
    /// Pieces it has.
    pub pieces: u32,
    /// Payload bytes received from it.
    pub downloaded: u64,
    /// Payload bytes sent to it.
    pub uploaded: u64,
    /// Bytes a second from it.
    pub rate_down: u64,
    /// Bytes a second to it.
    pub rate_up: u64,
    /// It doesn't serve us.
    pub peer_choking: bool,
    /// We want something of it.
    pub am_interested: bool,
    /// We don't serve it.
    pub am_choking: bool,
    /// It wants something of us.
    pub peer_interested: bool,
    /// Requests that it has not answered.
    pub requests: u32,
    /// It has not sent what was asked for a long time.
    pub snubbed: bool,
}

/// Who gave something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceKind {
    /// A peer at this address.
    Peer(SocketAddr),
    /// An HTTP server, by what people call it.
    Http(String),
}

/// What came from one source in this run, kept after it is gone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceStatus {
    /// Who.
    pub kind: SourceKind,
    /// Payload bytes of good pieces from it, padding left out.
    pub bytes: u64,
}
