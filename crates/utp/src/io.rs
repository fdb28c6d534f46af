//! The mouths of the endpoint: what it is told, and what it says.

use base::ConnId;
use std::net::SocketAddr;
use std::time::Duration;

/// What never changes while an endpoint lives.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Number of the first connection that somebody else opens; those that follow count up from it.
    pub accepted_first: u64,
    /// Bytes that may be received on a new connection before more credit is given.
    pub credit: u64,
    /// Connections at most, those in their last seconds too. Others are refused.
    pub connections_max: usize,
    /// Largest datagram that the caller can receive, which is told to nobody: it bounds what is sent, for our buffers are as
    /// large as theirs where both run this.
    pub datagram_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config { accepted_first: 1 << 63, credit: 1 << 20, connections_max: 4_096, datagram_max: 65_000 }
    }
}

/// What an endpoint is told.
#[derive(Debug)]
pub enum Input<P> {
    /// Datagrams of one sender, one behind the other, as the kernel joins them: each has `stride` bytes but the last, which may
    /// have fewer.
    Datagrams {
        /// Who sent them.
        from: SocketAddr,
        /// Bytes of each.
        stride: usize,
        /// All of them.
        data: P,
    },
    /// Open a connection.
    Connect {
        /// Its number, never used before.
        conn: ConnId,
        /// To whom.
        to: SocketAddr,
    },
    /// Bytes to send, in order. All are taken; [`crate::Endpoint::room`] says how many are welcome.
    Send {
        /// The connection.
        conn: ConnId,
        /// The bytes.
        data: P,
    },
    /// So many more bytes may be received. It is told to the peer as the window.
    Credit {
        /// The connection.
        conn: ConnId,
        /// How many.
        bytes: u64,
    },
    /// Nothing will be sent after what was; receiving goes on.
    Shutdown {
        /// The connection.
        conn: ConnId,
    },
    /// The connection is of no interest any more: what was given is still sent, what comes is dropped, and nothing is said of it.
    Close {
        /// The connection.
        conn: ConnId,
    },
    /// The deadline has come.
    Tick,
}

/// What an endpoint says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output<P> {
    /// Somebody has opened a connection, and proven that it reads what is sent to its address.
    Accepted {
        /// Its number.
        conn: ConnId,
        /// Who.
        from: SocketAddr,
    },
    /// A connection that was asked for is open.
    Connected {
        /// The connection.
        conn: ConnId,
    },
    /// Bytes, in order. They count against the credit.
    Received {
        /// The connection.
        conn: ConnId,
        /// The bytes.
        data: P,
    },
    /// More bytes to send are welcome again; said after there was no room.
    Room {
        /// The connection.
        conn: ConnId,
    },
    /// The peer will send nothing more.
    Finished {
        /// The connection.
        conn: ConnId,
    },
    /// The connection is gone.
    Closed {
        /// The connection.
        conn: ConnId,
        /// Why.
        why: Cause,
    },
}

/// Why a connection is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Cause {
    /// Both sides have said that they are done, and all of it has arrived.
    #[error("the connection has ended")]
    Finished,
    /// The peer knows nothing of it, or does not want it any more.
    #[error("the peer has reset the connection")]
    Reset,
    /// Nothing was heard though something was asked, again and again.
    #[error("the peer does not answer")]
    TimedOut,
    /// There is no room for another connection.
    #[error("there are too many uTP connections")]
    Full,
    /// The peer has acknowledged what was not sent.
    #[error("the peer has acknowledged what was never sent")]
    Lied,
}

/// Datagrams to send, which were laid into the caller's buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// To whom.
    pub to: SocketAddr,
    /// Bytes in all.
    pub len: usize,
    /// Bytes of each but the last, which may have fewer.
    pub stride: usize,
}

/// How a connection does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// Bytes that may be on the way.
    pub window: usize,
    /// Bytes that the peer has room for.
    pub peer_window: u32,
    /// Bytes that are on the way.
    pub in_flight: usize,
    /// Round-trip time, if it was measured.
    pub rtt: Option<Duration>,
    /// How long our packets wait in queues.
    pub queueing: Duration,
    /// Bytes of a full datagram.
    pub datagram: usize,
    /// Datagrams sent, and of those the ones that were sent again.
    pub sent: u64,
    /// Datagrams sent again.
    pub resent: u64,
}
