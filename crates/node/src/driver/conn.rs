//! One connection of a peer, as the loop keeps it.

use crate::disk::gather::Gather;
use base::ConnId;
use engine::CREDIT;
use mio::net::TcpStream;

/// A connection. What it costs while it is silent is this and the kernel's own.
#[derive(Debug)]
pub(crate) struct Conn {
    /// Its id.
    pub(crate) id: ConnId,
    /// Its socket.
    pub(crate) stream: TcpStream,
    /// Bytes that may be read.
    pub(crate) credit: u64,
    /// What is being sent. None while there is nothing.
    pub(crate) out: Option<Box<Gather>>,
    /// What the socket and the engine said lately.
    pub(crate) flags: Flags,
}

/// What is known of a connection.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Flags {
    /// A dial that is not answered yet.
    pub(crate) connecting: bool,
    /// The socket may have bytes.
    pub(crate) readable: bool,
    /// The socket may have room.
    pub(crate) writable: bool,
    /// The other end has closed: read until the end is seen, since no more news of the socket will come.
    pub(crate) hung_up: bool,
    /// The engine has something to send.
    pub(crate) wants: bool,
    /// The disk reads what is to be sent.
    pub(crate) reading: bool,
    /// It is in the queue of those to read from.
    pub(crate) read_queued: bool,
    /// It is in the queue of those to write to.
    pub(crate) write_queued: bool,
}

impl Conn {
    pub(crate) fn new(id: ConnId, stream: TcpStream, connecting: bool) -> Self {
        Conn {
            id,
            stream,
            credit: CREDIT,
            out: None,
            flags: Flags { connecting, writable: !connecting, ..Flags::default() },
        }
    }

    /// There is something to read, and it may be read.
    pub(crate) fn can_read(&self) -> bool {
        self.flags.readable && !self.flags.connecting && self.credit > 0
    }

    /// There is something to write, and it can be written.
    pub(crate) fn can_write(&self) -> bool {
        let waiting = self.out.as_ref().is_some_and(|out| !out.is_sent());
        self.flags.writable && !self.flags.connecting && !self.flags.reading && (self.flags.wants || waiting)
    }
}
