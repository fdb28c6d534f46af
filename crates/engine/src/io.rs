//! The mouths of the engine: everything that one whole peer is told, and everything it says.
//!
//! The contract: call [`crate::Engine::handle`] once for each thing that happened, then drain [`crate::Engine::poll`]
//! until it answers None, then sleep until the next thing or [`crate::Engine::deadline`], whichever is first (at a
//! deadline, handle [`Input::Tick`]). [`Output::Wake`] means that [`crate::Engine::poll_transmit`] has bytes for a
//! connection; it is not repeated until the connection was drained (answered None).

use crate::letter::Letter;
use base::{ConnId, InfoHashes, JobId, TorrentId};
use std::net::SocketAddr;
use std::sync::Arc;
use swarm::disk::{DiskDone, DiskJob};
use swarm::{FilePriority, HttpSource, Resume, Source, StreamError};

/// Connections that the hands accept have ids from here on, ascending; those that the engine dials lie below.
pub const ACCEPTED: u64 = 1 << 63;

/// Streams of HTTP servers have ids from here on, below [`ACCEPTED`].
pub const STREAMS: u64 = 1 << 62;

/// True for the id of a stream.
pub(crate) fn is_stream(conn: ConnId) -> bool {
    (STREAMS..ACCEPTED).contains(&conn.0)
}

/// A torrent to add.
#[derive(Debug, Default)]
pub struct AddTorrent {
    /// What it is called.
    pub hashes: InfoHashes,
    /// The raw info dictionary if it is known; it is served to peers that ask for it (BEP 9).
    pub info: Option<Arc<[u8]>>,
    /// Only trackers may name peers (BEP 27).
    pub private: bool,
    /// Announce URLs in tiers (BEP 12).
    pub trackers: Vec<Vec<String>>,
    /// Peers to begin with, from the user.
    pub peers: Vec<SocketAddr>,
    /// Decides whom to upload to. None: tit-for-tat while leeching, and the seeding choker after.
    pub choker: Option<Box<dyn swarm::choker::Choker + Send>>,
}

/// What the user wants of a torrent.
#[derive(Debug)]
pub enum Command {
    /// The files are open: begin. Needs the info dictionary, from [`AddTorrent::info`] or [`swarm::Event::Metadata`].
    Open {
        /// What is fetched.
        plan: Arc<base::Plan>,
        /// What is there already.
        resume: Resume,
        /// Priority of each file; empty: all normal.
        priorities: Vec<FilePriority>,
    },
    /// New priorities, one a file.
    Priorities(Vec<FilePriority>),
    /// Pieces in order rather than rarest first.
    Sequential(bool),
    /// These pieces before all others, in place of those that were named so before.
    First(Vec<base::PieceIndex>),
    /// No transfers, no connections.
    Pause,
    /// Go on.
    Resume,
    /// More peers.
    Peers {
        /// Who told of them.
        source: Source,
        /// Where they are.
        addrs: Vec<SocketAddr>,
    },
    /// One more tracker.
    Tracker(String),
    /// A server to fetch from. Where it is, the hands know by its number.
    Server(HttpSource),
    /// This server is not to be used any more.
    DropServer {
        /// Its number.
        id: u32,
        /// Why not, in words for people.
        why: String,
    },
    /// Tell the trackers, close the connections, forget it. [`TorrentEvent::Removed`] follows.
    Remove,
}

/// What the engine is told.
#[derive(Debug)]
pub enum Input<P> {
    /// The deadline has come.
    Tick,
    /// A connection was accepted. `conn` is [`ACCEPTED`] or above, never used before.
    Accepted {
        /// Its id, chosen by the hands.
        conn: ConnId,
        /// The other end.
        from: SocketAddr,
    },
    /// A dial succeeded.
    Connected {
        /// The id from [`Output::Dial`].
        conn: ConnId,
    },
    /// Bytes of a connection, in order.
    Received {
        /// The connection.
        conn: ConnId,
        /// The bytes.
        data: P,
    },
    /// Bytes of a stream that were read within its credit and thrown away: the server sent more than it was asked for.
    Skipped {
        /// The id from [`Output::Stream`].
        conn: ConnId,
        /// How many.
        bytes: u64,
    },
    /// A connection is gone, or a dial failed. Not told of connections that the engine closed.
    Closed {
        /// The connection.
        conn: ConnId,
    },
    /// A stream of a server has ended: all of it was told as [`Input::Received`], or something went wrong. Not told of streams
    /// that the engine closed.
    StreamEnded {
        /// The id from [`Output::Stream`].
        conn: ConnId,
        /// What went wrong, if something did.
        end: Result<(), StreamError>,
    },
    /// The disk has done these, in order.
    Disk(Vec<(TorrentId, DiskDone)>),
    /// An HTTP GET has ended: the reply, or what failed.
    Fetched {
        /// The job.
        job: JobId,
        /// The reply, whatever its status; its body is cut off at `wire::tracker::http::RESPONSE_BYTES_MAX`.
        result: Result<tracker::HttpReply, String>,
    },
    /// A name was looked up.
    Resolved {
        /// The job.
        job: JobId,
        /// The addresses with the port that was asked for, best first.
        result: Result<Vec<SocketAddr>, String>,
    },
    /// A datagram came in on the UDP socket.
    Datagram {
        /// Its sender.
        from: SocketAddr,
        /// What it holds.
        data: Vec<u8>,
    },
    /// Another part of the engine writes to this one.
    Letter(Letter<P>),
    /// A torrent to add, with an id never used before.
    Add(TorrentId, Box<AddTorrent>),
    /// A command for one torrent.
    Command(TorrentId, Command),
    /// Tell all trackers and close all connections. [`Output::Finished`] follows, soon also if trackers don't answer.
    Shutdown,
}

/// What the engine says.
#[derive(Debug)]
pub enum Output<P> {
    /// Connect to this address; answer with `Connected` or `Closed`.
    Dial {
        /// The new connection.
        conn: ConnId,
        /// Where to.
        to: SocketAddr,
    },
    /// Drop this connection; what it was given to send may be lost.
    Close {
        /// The connection.
        conn: ConnId,
    },
    /// This connection has something to send.
    Wake {
        /// The connection.
        conn: ConnId,
    },
    /// The hands may read this many more bytes from the connection. A new connection begins with [`crate::CREDIT`], a stream
    /// with what [`Output::Stream`] says.
    Credit {
        /// The connection.
        conn: ConnId,
        /// Bytes more.
        bytes: u64,
    },
    /// Get these bytes of a torrent's content from a server. They are told as [`Input::Received`], within its credit, and their
    /// end as [`Input::StreamEnded`]; [`Output::Close`] ends it early.
    Stream {
        /// The id of the stream, which is like that of a connection; [`STREAMS`] or above, never used before.
        conn: ConnId,
        /// The torrent.
        torrent: TorrentId,
        /// The server's number within it.
        source: u32,
        /// Where the bytes begin in the content, padding included.
        offset: u64,
        /// How many they are.
        len: u64,
        /// How many may be read at once.
        credit: u64,
    },
    /// A job for the disk. Jobs of one torrent are given, and begun, in order.
    Disk {
        /// The torrent.
        torrent: TorrentId,
        /// The job.
        job: DiskJob<P>,
    },
    /// An HTTP GET to a tracker. The connection goes to `to` and nowhere else, with the host of the URL as `Host` and TLS
    /// name; redirects are answered, not followed: what may be contacted was judged here.
    Fetch {
        /// The job.
        job: JobId,
        /// What to fetch, from the torrent: a stranger's text.
        url: String,
        /// Where to connect to.
        to: SocketAddr,
    },
    /// A name to look up.
    Resolve {
        /// The job.
        job: JobId,
        /// The name, or an address.
        host: String,
        /// The port to put in the answer.
        port: u16,
    },
    /// A datagram to send.
    Datagram {
        /// Where to.
        to: SocketAddr,
        /// What.
        data: Vec<u8>,
    },
    /// For another part of the engine, whose number is [`Letter::to`]. If a connection goes along ([`Letter::conn`]), its socket
    /// goes, too, with what was read and what was to be sent.
    Letter(Letter<P>),
    /// News of a torrent.
    Event(TorrentId, TorrentEvent),
    /// Shutdown is done.
    Finished,
}

/// News of one torrent.
#[derive(Clone, Debug, PartialEq)]
pub enum TorrentEvent {
    /// From the swarm.
    Swarm(swarm::Event),
    /// What a tracker said or failed to say.
    Tracker {
        /// Which.
        url: String,
        /// What went wrong, if something did.
        error: Option<String>,
        /// What it wants people to know.
        warning: Option<String>,
        /// Its last announce was answered.
        working: bool,
        /// Seeds it knows of.
        seeders: Option<u32>,
        /// Leechers it knows of.
        leechers: Option<u32>,
    },
    /// It is gone.
    Removed,
}
