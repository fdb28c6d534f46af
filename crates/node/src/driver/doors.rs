//! Where strangers come in: listeners and datagrams. They belong to the first loop, whose part of the engine has the gate.

use super::Driver;
use super::conn::Conn;
use crate::net;
use base::{ConnId, Instant};
use engine::{ACCEPTED, Input};
use mio::net::{TcpListener, UdpSocket};
use mio::{Interest, Poll, Token};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// Connections accepted in one turn.
const ACCEPT_TURN: usize = 64;
/// Datagrams taken in one turn.
const DATAGRAM_TURN: usize = 64;
/// Largest datagram; trackers send far less.
const DATAGRAM_MAX: usize = 4096;
/// After an accept that failed (no descriptors left), wait.
const ACCEPT_PAUSE: Duration = Duration::from_millis(500);

const LISTENER: usize = usize::MAX - 16;
const DATAGRAMS: usize = usize::MAX - 32;

/// The sockets that everybody can speak to; none, in all loops but the first.
#[derive(Debug, Default)]
pub(crate) struct Doors {
    listeners: Vec<TcpListener>,
    udp: Vec<UdpSocket>,
    /// Those that had more datagrams than one turn takes.
    udp_again: Vec<usize>,
    accepted: u64,
    accept_again: Option<Instant>,
}

impl Doors {
    /// Watches `sockets`.
    ///
    /// # Errors
    /// If the kernel does not want to.
    pub(crate) fn new(poll: &Poll, sockets: net::Sockets) -> io::Result<Self> {
        let mut listeners: Vec<TcpListener> = sockets.tcp.into_iter().map(TcpListener::from_std).collect();
        for (i, listener) in listeners.iter_mut().enumerate() {
            poll.registry().register(listener, Token(LISTENER + i), Interest::READABLE)?;
        }
        let mut udp: Vec<UdpSocket> = sockets.udp.into_iter().map(UdpSocket::from_std).collect();
        for (i, socket) in udp.iter_mut().enumerate() {
            poll.registry().register(socket, Token(DATAGRAMS + i), Interest::READABLE)?;
        }
        Ok(Doors { listeners, udp, ..Doors::default() })
    }

    /// Somebody may still wait outside.
    pub(super) fn is_busy(&self) -> bool {
        !self.udp_again.is_empty()
    }

    /// When to look again.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.accept_again
    }
}

impl Driver {
    /// True if the kernel means a door.
    pub(super) fn at_the_door(&mut self, now: Instant, token: Token) -> bool {
        let Token(t) = token;
        if t >= DATAGRAMS && t < DATAGRAMS + self.doors.udp.len() {
            self.datagrams(now, t - DATAGRAMS);
        } else if t >= LISTENER && t < LISTENER + self.doors.listeners.len() {
            self.accept(now, t - LISTENER);
        } else {
            return false;
        }
        true
    }

    /// Goes on where a turn ended.
    pub(super) fn doors_again(&mut self, now: Instant) {
        std::mem::take(&mut self.doors.udp_again).into_iter().for_each(|i| self.datagrams(now, i));
        if self.doors.accept_again.is_some_and(|at| at <= now) {
            self.doors.accept_again = None;
            (0..self.doors.listeners.len()).for_each(|i| self.accept(now, i));
        }
    }

    fn accept(&mut self, now: Instant, listener: usize) {
        for _ in 0..ACCEPT_TURN {
            match self.doors.listeners[listener].accept() {
                Ok((stream, from)) => {
                    let conn = ConnId(ACCEPTED + self.doors.accepted);
                    self.doors.accepted += 1;
                    net::tune_accepted(&stream, from.ip());
                    if self.insert(Conn::new(conn, stream, false)).is_ok() {
                        self.handle(now, Input::Accepted { conn, from });
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // The peer has gone already.
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => {
                    self.doors.accept_again = Some(now + ACCEPT_PAUSE);
                    return;
                }
            }
        }
        // The kernel says only once that there are some; the rest gets its turn.
        self.doors.accept_again = Some(now);
    }

    fn datagrams(&mut self, now: Instant, socket: usize) {
        let mut buf = [0; DATAGRAM_MAX];
        for _ in 0..DATAGRAM_TURN {
            match self.doors.udp[socket].recv_from(&mut buf) {
                Ok((n, from)) => self.handle(now, Input::Datagram { from, data: buf[..n].to_vec() }),
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return,
                // An error of an earlier datagram (its port is closed) is no error of this socket.
                Err(_) => {}
            }
        }
        if !self.doors.udp_again.contains(&socket) {
            self.doors.udp_again.push(socket);
        }
    }

    pub(super) fn send_datagram(&mut self, to: SocketAddr, data: &[u8]) {
        let fits = |s: &&UdpSocket| s.local_addr().is_ok_and(|a| a.is_ipv4() == to.is_ipv4());
        if let Some(socket) = self.doors.udp.iter().find(fits) {
            // A datagram may be lost anywhere; whoever sent it sends it again.
            let _ = socket.send_to(data, to);
        }
    }
}
