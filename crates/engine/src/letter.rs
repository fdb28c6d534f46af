//! What the gate and the shards of one engine say to each other, and nothing else passes between them.
//!
//! Letters from one to another arrive in the order in which they were sent; between letters of different senders there is
//! no order. So both sides must bear that letters cross: a connection may come for a torrent that has just gone, and a
//! dial that fails may be of a torrent that was paused and resumed since. Three promises hold all the same:
//!
//! - each [`ToGate::Dial`] is answered once: with the connection, or with [`ToShard::DialFailed`];
//! - each [`ToShard::Adopt`] is answered once, by [`ToGate::Closed`], when its connection ends;
//! - a shard that has said [`ToGate::Open`] is told of the end by [`ToShard::Shutdown`], and answers [`ToGate::Finished`].

use base::{ConnId, InfoHashes, ShardIndex, TorrentId};
use std::net::SocketAddr;
use swarm::NewPeer;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// From peers.
    Down,
    /// To peers.
    Up,
}

/// To the gate, from a shard.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ToGate {
    /// A torrent welcomes connections. Whoever adds it to a shard may say so ahead of it.
    Open {
        /// Which.
        torrent: TorrentId,
        /// By these names.
        hashes: InfoHashes,
    },
    /// A torrent wants no connections any more.
    Shut {
        /// Which.
        torrent: TorrentId,
        /// By these names.
        hashes: InfoHashes,
    },
    /// A torrent wants a connection.
    Dial {
        /// Which.
        torrent: TorrentId,
        /// What it is called.
        hashes: InfoHashes,
        /// Where to.
        addr: SocketAddr,
    },
    /// A connection that was handed over is gone.
    Closed {
        /// Which.
        conn: ConnId,
    },
    /// A tracker is asked.
    Datagram {
        /// Where it is.
        to: SocketAddr,
        /// What it is asked.
        data: Vec<u8>,
    },
    /// The lease is used up, and there is more to move.
    Want(Way),
    /// All torrents are gone, after [`ToShard::Shutdown`].
    Finished,
}

/// To a shard, from the gate.
#[derive(Debug)]
pub enum ToShard<P> {
    /// A connection whose handshake is done. The hands send its socket along.
    Adopt(Box<Adopted<P>>),
    /// A dial of a torrent led to nothing.
    DialFailed {
        /// Which.
        torrent: TorrentId,
        /// Where to.
        addr: SocketAddr,
        /// It was not even tried: there was no room, or the torrent did not want it any more.
        postponed: bool,
    },
    /// Perhaps the answer of a tracker that the shard asked.
    Datagram {
        /// Its sender.
        from: SocketAddr,
        /// What it holds.
        data: Vec<u8>,
    },
    /// Bytes that may be moved within a limit, in answer to [`ToGate::Want`].
    Lease(Way, u64),
    /// Everything ends.
    Shutdown,
}

/// A connection that goes from the gate to a shard.
#[derive(Debug)]
pub struct Adopted<P> {
    /// The torrent it belongs to.
    pub torrent: TorrentId,
    /// Who is at the other end.
    pub peer: NewPeer,
    /// What came behind the handshake.
    pub data: P,
    /// What is left of the bytes that may be read.
    pub credit: u64,
}

/// A letter, and whom it is for.
#[derive(Debug)]
pub enum Letter<P> {
    /// For the gate.
    ToGate {
        /// Who writes.
        from: ShardIndex,
        /// What.
        what: ToGate,
    },
    /// For a shard.
    ToShard {
        /// Which.
        to: ShardIndex,
        /// What.
        what: ToShard<P>,
    },
}

impl<P> Letter<P> {
    /// The connection that goes along with it.
    pub fn conn(&self) -> Option<ConnId> {
        match self {
            Letter::ToShard { what: ToShard::Adopt(adopted), .. } => Some(adopted.peer.conn),
            _ => None,
        }
    }

    /// The part that it is for: the gate lives with the first shard.
    pub fn to(&self) -> ShardIndex {
        match self {
            Letter::ToGate { .. } => ShardIndex(0),
            Letter::ToShard { to, .. } => *to,
        }
    }
}
