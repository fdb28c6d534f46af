//! The mouths of a torrent: what it is told, and what it says.

use crate::disk::{DiskDone, DiskJob};
use crate::http::{HttpSource, StreamError};
use base::{Bitfield, ConnId, PeerId, PieceIndex, Plan};
use std::net::SocketAddr;
use std::sync::Arc;
use wire::handshake::Reserved;

/// Who told us of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// The user.
    User,
    /// The peer itself, by connecting.
    Incoming,
    /// A tracker.
    Tracker,
    /// The saved state of an earlier run.
    Resume,
    /// Another peer, the DHT or the local network.
    Exchange,
}

/// What is on disk already when a torrent is opened.
#[derive(Clone, Debug, Default)]
pub struct Resume {
    /// Pieces known to be good. None: none are.
    pub have: Option<Bitfield>,
    /// Blocks written of pieces that are not complete.
    pub partial: Vec<(PieceIndex, Bitfield)>,
    /// Pieces that may be on disk and must be hashed first. None: none.
    pub check: Option<Bitfield>,
}

/// A peer whose handshake is done.
#[derive(Clone, Debug)]
pub struct NewPeer {
    /// The connection.
    pub conn: ConnId,
    /// Where it comes from or was dialled.
    pub addr: SocketAddr,
    /// Its id.
    pub peer_id: PeerId,
    /// What it can do.
    pub reserved: Reserved,
    /// We dialled it.
    pub outgoing: bool,
    /// Bytes of ours that must be sent first: the handshake, as far as it has not left.
    pub unsent: Vec<u8>,
}

/// What a torrent is told.
#[derive(Debug)]
pub enum Input<P> {
    /// The deadline has come.
    Tick,
    /// A connection that belongs to this torrent.
    Peer(NewPeer),
    /// Bytes of a connection, in order.
    Received {
        /// The connection.
        conn: ConnId,
        /// The bytes.
        data: P,
    },
    /// A connection is gone. Not told of those that the torrent closed itself.
    Closed {
        /// The connection.
        conn: ConnId,
    },
    /// A dial failed, or the handshake on it did.
    DialFailed {
        /// The address that was dialled.
        addr: SocketAddr,
        /// It was not even tried: there was no room for another connection.
        postponed: bool,
    },
    /// Addresses of peers.
    Candidates {
        /// Who told us.
        source: Source,
        /// The addresses.
        addrs: Vec<SocketAddr>,
    },
    /// The disk has answered.
    Disk(DiskDone),
    /// The plan is known and the files are open: begin.
    Open {
        /// What is fetched.
        plan: Arc<Plan>,
        /// What is there already.
        resume: Resume,
        /// Priority of each file; empty: all normal.
        priorities: Vec<FilePriority>,
    },
    /// A server to fetch from.
    Server(HttpSource),
    /// This server is not to be used any more.
    DropServer {
        /// Its number.
        id: u32,
        /// Why not, in words for people.
        why: String,
    },
    /// Bytes of a stream, in order. Those of a stream that has ended are ignored.
    Streamed {
        /// The number from [`Output::Stream`].
        stream: u64,
        /// The bytes.
        data: P,
    },
    /// Bytes that a server sent before those that it was asked for.
    Skipped {
        /// From [`Output::Stream`].
        stream: u64,
        /// How many.
        bytes: u64,
    },
    /// A stream has ended. Not told of those that the torrent ended itself.
    StreamEnded {
        /// The number from [`Output::Stream`].
        stream: u64,
        /// All of it came, or what went wrong.
        end: Result<(), StreamError>,
    },
    /// New priorities, one a file.
    Priorities(Vec<FilePriority>),
    /// Pieces in order rather than rarest first.
    Sequential(bool),
    /// These pieces before all others, in place of those that were named so before: somebody waits for them. At most
    /// [`FIRST_MAX`].
    First(Vec<PieceIndex>),
    /// No transfers, no connections.
    Pause,
    /// Go on.
    Resume,
}

/// Pieces that are wanted before all others at once; further ones are not.
pub const FIRST_MAX: usize = 1024;

/// How much a file is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum FilePriority {
    /// Not at all.
    Skip,
    /// After the others.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Before the others.
    High,
}

/// Why a connection was closed by us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CloseReason {
    /// It broke the protocol.
    Protocol,
    /// It was silent for too long.
    Timeout,
    /// It sent rotten data.
    Banned,
    /// Both sides have everything.
    BothSeeds,
    /// We are connected to the same peer already.
    Duplicate,
    /// Too many connections.
    Limit,
    /// The torrent was paused or removed.
    Stopped,
    /// The torrent turned out to be private, and a stranger had named this peer (BEP 27).
    Private,
}

/// What a torrent says.
#[derive(Debug)]
pub enum Output<P> {
    /// Please connect to this address.
    Dial {
        /// Where.
        addr: SocketAddr,
    },
    /// Drop this connection.
    Close {
        /// The connection.
        conn: ConnId,
        /// Why.
        reason: CloseReason,
    },
    /// This connection has something to say: ask [`crate::Torrent::poll_transmit`] while its socket has room.
    Wake {
        /// The connection.
        conn: ConnId,
    },
    /// Please get these bytes of the content from a server, as one stream.
    Stream {
        /// The number of the stream, never used before.
        stream: u64,
        /// The server ([`HttpSource::id`]).
        source: u32,
        /// Where they begin in the content.
        offset: u64,
        /// How many they are.
        len: u64,
    },
    /// End this stream; what has come of it is not needed. Said also of streams that have just ended.
    EndStream {
        /// Its number.
        stream: u64,
    },
    /// A job for the disk.
    Disk(DiskJob<P>),
    /// News.
    Event(Event),
}

/// News of one torrent.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// The info dictionary arrived from peers, and its hash is right. Answer with [`Input::Open`].
    Metadata(Arc<[u8]>),
    /// What [`Resume::check`] asked for was hashed; this many pieces are good now.
    CheckedAll {
        /// Good pieces.
        good: u32,
    },
    /// A piece was fetched and is good.
    PieceGood(PieceIndex),
    /// A piece was fetched and is bad.
    PieceBad(PieceIndex),
    /// Everything that is wanted is here.
    Complete,
    /// A peer was banned.
    Banned {
        /// Where it was.
        addr: SocketAddr,
        /// What it did.
        why: String,
    },
    /// A server is not used any more.
    ServerDropped {
        /// What people call it.
        name: String,
        /// What it did.
        why: String,
    },
    /// The torrent has stopped: the disk failed, or no server is left that has what peers can't have.
    Stopped {
        /// What failed.
        error: String,
    },
}

/// Something to send, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The bytes of a good piece, which the hands have.
    Block {
        /// The piece.
        piece: PieceIndex,
        /// Where they start within the piece.
        begin: u32,
        /// How many.
        len: u32,
    },
}

/// What is to be sent on one connection.
#[derive(Clone, Debug, Default)]
pub struct Transmit {
    /// In this order.
    pub segments: Vec<Segment>,
    /// Bytes in all.
    pub bytes: usize,
}

impl Transmit {
    /// Adds bytes, to the last segment if that is bytes too.
    pub fn bytes(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.bytes += bytes.len();
        match self.segments.last_mut() {
            Some(Segment::Bytes(b)) => b.extend_from_slice(bytes),
            _ => self.segments.push(Segment::Bytes(bytes.to_vec())),
        }
    }

    /// Adds bytes that nobody else needs: copied only where they join others.
    pub fn owned_bytes(&mut self, bytes: Vec<u8>) {
        if bytes.is_empty() {
            return;
        }
        match self.segments.last_mut() {
            Some(Segment::Bytes(_)) => self.bytes(&bytes),
            _ => {
                self.bytes += bytes.len();
                self.segments.push(Segment::Bytes(bytes));
            }
        }
    }

    /// Adds a block.
    pub fn block(&mut self, piece: PieceIndex, begin: u32, len: u32) {
        self.bytes += len as usize;
        self.segments.push(Segment::Block { piece, begin, len });
    }

    /// True if there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.segments.is_empty()
    }
}
