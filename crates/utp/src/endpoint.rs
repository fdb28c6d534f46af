//! One socket's worth of connections: who a datagram is for, and whose turn it is to send.
//!
//! A connection is found by the address of its peer and the number in the packet. The table's hash is keyed, since strangers choose
//! both. Whoever opens a connection gets an answer no longer than its question, and no connection, until it has proven that it
//! reads what is sent to its address: its next packet repeats a number that only the answer told ([`half_open`]).

#[cfg(test)]
mod attacks;
mod half_open;
mod key;
#[cfg(test)]
mod tests;

use crate::conn::{Birth, Conn, Happening};
use crate::io::{Cause, Config, Input, Output, Status, Transmit};
use crate::seq::Seq;
use base::{ConnId, ConnMap, Instant, Payload, Rng};
pub use half_open::HALF_OPEN_MAX;
use half_open::HalfOpen;
use hashbrown::HashMap;
use key::{Key, Keyed};
use slab::Slab;
use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use wire::utp::{HEADER_LEN, Header, Kind, Packet, UtpError};

/// Answers to strangers that wait to be sent; further ones are not given.
const REPLIES_MAX: usize = 256;
/// Bytes of a packet without payload, of those that are no probes: what is copied to read the extensions.
const HEAD_MAX: usize = HEADER_LEN + 2 + 255;
/// Numbers that are tried for a new connection.
const NUMBERS_TRIED: usize = 64;
/// Bytes between two packets that are held back as traps for liars, roughly.
const TRAP_BYTES: u64 = 16 << 20;

/// All connections of one socket.
#[derive(Debug)]
pub struct Endpoint<P> {
    config: Config,
    rng: Rng,
    conns: Slab<Conn<P>>,
    by_id: ConnMap<usize>,
    by_key: HashMap<Key, usize, Keyed>,
    half_open: HalfOpen,
    accepted: u64,
    /// Answers to those who have no connection.
    replies: VecDeque<(SocketAddr, [u8; HEADER_LEN])>,
    /// Connections that may have something to send, in turn.
    ready: VecDeque<usize>,
    timers: BTreeSet<(Instant, usize)>,
    outputs: VecDeque<Output<P>>,
    /// Connections that got something in this batch.
    touched: Vec<usize>,
    scratch: Vec<u8>,
}

impl<P: Payload> Endpoint<P> {
    /// One without connections.
    pub fn new(config: Config, mut rng: Rng) -> Self {
        let keyed = Keyed::new(&mut rng);
        Endpoint {
            config,
            conns: Slab::new(),
            by_id: ConnMap::new(),
            by_key: HashMap::with_hasher(keyed.clone()),
            half_open: HalfOpen::new(keyed),
            rng,
            accepted: 0,
            replies: VecDeque::new(),
            ready: VecDeque::new(),
            timers: BTreeSet::new(),
            outputs: VecDeque::new(),
            touched: Vec::new(),
            scratch: Vec::new(),
        }
    }

    /// Takes one input. [`Endpoint::poll`] and [`Endpoint::transmit`] are to be drained afterwards.
    pub fn handle(&mut self, now: Instant, input: Input<P>) {
        match input {
            Input::Datagrams { from, stride, data } => self.datagrams(now, from, stride, data),
            Input::Connect { conn, to } => self.connect(now, conn, to),
            Input::Send { conn, data } => self.with(conn, |c| c.append(data)),
            Input::Credit { conn, bytes } => self.with(conn, |c| c.grant(bytes)),
            Input::Shutdown { conn } => self.with(conn, Conn::shutdown),
            Input::Close { conn } => {
                self.with(conn, |c| c.close(now));
                self.by_id.remove(conn);
            }
            Input::Tick => self.tick(now),
        }
    }

    /// What happened, in order.
    pub fn poll(&mut self) -> Option<Output<P>> {
        base::pop_or_trim(&mut self.outputs)
    }

    /// When to say [`Input::Tick`].
    pub fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    /// Lays datagrams to one peer into `buf`: `most` at most, all of one size but the last, which may be shorter. To be asked
    /// until it answers None, or the socket has no room: whose turn comes later waits. `buf` has room for
    /// [`Config::datagram_max`] bytes at least.
    pub fn transmit(&mut self, now: Instant, buf: &mut [u8], most: usize) -> Option<Transmit> {
        if let Some((to, packet)) = self.replies.pop_front() {
            buf[..HEADER_LEN].copy_from_slice(&packet);
            return Some(Transmit { to, len: HEADER_LEN, stride: HEADER_LEN });
        }
        while let Some(slot) = self.ready.pop_front() {
            let Some(conn) = self.conns.get_mut(slot) else { continue };
            conn.queued = false;
            let sent = conn.transmit(now, buf, most, &mut self.scratch);
            let to = conn.remote;
            if sent.is_none() {
                self.watch(slot);
                continue;
            }
            self.flush(slot);
            return sent.map(|(len, stride)| Transmit { to, len, stride });
        }
        None
    }

    /// Bytes to send that are welcome on a connection now; none for one that does not exist.
    pub fn room(&self, conn: ConnId) -> usize {
        self.get(conn).map_or(0, Conn::room)
    }

    /// How a connection does.
    pub fn status(&self, conn: ConnId) -> Option<Status> {
        self.get(conn).map(Conn::status)
    }

    /// Connections, those in their last seconds too.
    pub fn len(&self) -> usize {
        self.conns.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.conns.is_empty()
    }

    fn get(&self, conn: ConnId) -> Option<&Conn<P>> {
        self.by_id.get(conn).and_then(|slot| self.conns.get(slot))
    }

    fn with(&mut self, conn: ConnId, change: impl FnOnce(&mut Conn<P>)) {
        let Some(slot) = self.by_id.get(conn) else { return };
        if let Some(conn) = self.conns.get_mut(slot) {
            change(conn);
            if conn.is_abandoned() {
                return self.remove(slot);
            }
            self.flush(slot);
        }
    }

    fn connect(&mut self, now: Instant, id: ConnId, to: SocketAddr) {
        let number = (0..NUMBERS_TRIED).find_map(|_| {
            let recv_id = self.rng.next_u32() as u16;
            (!self.by_key.contains_key(&Key::new(to, recv_id))).then_some(recv_id)
        });
        let number = number.filter(|_| self.conns.len() < self.config.connections_max);
        let Some(recv_id) = number else {
            return self.outputs.push_back(Output::Closed { conn: id, why: Cause::Full });
        };
        let first = Seq(self.rng.next_u32() as u16);
        let birth = self.birth(id, to, recv_id, recv_id.wrapping_add(1), first);
        let slot = self.insert(Conn::open(now, birth));
        self.flush(slot);
    }

    fn birth(&mut self, id: ConnId, remote: SocketAddr, recv_id: u16, send_id: u16, first: Seq) -> Birth {
        let Config { credit, datagram_max, .. } = self.config;
        let trap_every = (TRAP_BYTES / 2 + self.rng.below(TRAP_BYTES)) as usize;
        Birth { id, remote, recv_id, send_id, first, credit, datagram_max, trap_every }
    }

    fn insert(&mut self, conn: Conn<P>) -> usize {
        let (id, key) = (conn.id, Key::new(conn.remote, conn.recv_id));
        let slot = self.conns.insert(conn);
        self.by_id.insert(id, slot);
        self.by_key.insert(key, slot);
        slot
    }

    fn datagrams(&mut self, now: Instant, from: SocketAddr, stride: usize, mut data: P) {
        // Most datagrams of a batch belong to one connection.
        let mut last = None;
        while !data.is_empty() {
            let len = stride.clamp(1, data.len());
            let one = if len == data.len() { std::mem::take(&mut data) } else { data.split_to(len) };
            self.datagram(now, from, one, &mut last);
        }
        let mut touched = std::mem::take(&mut self.touched);
        touched.drain(..).for_each(|slot| self.flush(slot));
        self.touched = touched;
    }

    fn datagram(&mut self, now: Instant, from: SocketAddr, mut data: P, last: &mut Option<(u16, usize)>) {
        let mut head = [0; HEAD_MAX];
        let plain = data.len().min(HEADER_LEN);
        data.copy_prefix(&mut head[..plain]);
        if !wire::utp::is_packet(&head[..plain]) {
            return;
        }
        let mut known = HEADER_LEN;
        if head[1] != 0 {
            known = data.len().min(HEAD_MAX);
            data.copy_prefix(&mut head[..known]);
        }
        let mut long = Vec::new();
        let mut parsed = Packet::parse(&head[..known]);
        if matches!(parsed, Err(UtpError::Short(_))) && known < data.len() {
            // A probe of the path's size.
            long.resize(data.len(), 0);
            data.copy_prefix(&mut long);
            parsed = Packet::parse(&long);
        }
        let Ok(packet) = parsed else { return };
        data.advance(packet.payload_at);
        let Header { connection, kind, .. } = packet.header;
        let slot = match (*last, kind) {
            // A SYN has the number of the other direction.
            (_, Kind::Syn) => self.find(from, connection.wrapping_add(1)),
            (_, Kind::Reset) => self.find_reset(from, connection),
            (Some((number, slot)), _) if number == connection && self.conns.contains(slot) => Some(slot),
            _ => self.find(from, connection).or_else(|| self.prove(now, from, &packet.header)),
        };
        let Some(slot) = slot else { return self.stray(now, from, &packet.header) };
        *last = Some((connection, slot));
        let Some(conn) = self.conns.get_mut(slot) else { return };
        match conn.packet(now, &packet, data) {
            Ok(()) if self.touched.last() == Some(&slot) => {}
            Ok(()) => self.touched.push(slot),
            Err(why) => {
                *last = None;
                if why == Cause::Lied {
                    self.reset(now, from, &packet.header);
                }
                self.end(slot, why);
            }
        }
    }

    fn find(&self, from: SocketAddr, number: u16) -> Option<usize> {
        self.by_key.get(&Key::new(from, number)).copied()
    }

    /// Who knows nothing of a connection can only repeat the number that we sent.
    fn find_reset(&self, from: SocketAddr, number: u16) -> Option<usize> {
        let sends = |slot: &usize| self.conns.get(*slot).is_some_and(|conn| conn.send_id == number);
        let beside = [number.wrapping_add(1), number.wrapping_sub(1)];
        self.find(from, number).or_else(|| beside.into_iter().find_map(|n| self.find(from, n).filter(sends)))
    }

    /// A packet without a connection: perhaps the one that proves the address of whoever wants to open one.
    fn prove(&mut self, now: Instant, from: SocketAddr, header: &Header) -> Option<usize> {
        let key = Key::new(from, header.connection);
        let (ours, theirs) = self.half_open.prove(key, header)?;
        if self.conns.len() >= self.config.connections_max {
            return None;
        }
        let id = ConnId(self.config.accepted_first.wrapping_add(self.accepted));
        self.accepted += 1;
        let birth = self.birth(id, from, header.connection, header.connection.wrapping_sub(1), ours);
        let slot = self.insert(Conn::accept(now, birth, theirs));
        self.outputs.push_back(Output::Accepted { conn: id, from });
        Some(slot)
    }

    /// A packet that belongs to nobody. Its sender gets no more than it sent.
    fn stray(&mut self, now: Instant, from: SocketAddr, header: &Header) {
        match header.kind {
            Kind::Reset => self.half_open.forget(Key::new(from, header.connection)),
            Kind::Syn => {
                let key = Key::new(from, header.connection.wrapping_add(1));
                let theirs = Seq(header.seq);
                let ours = self.half_open.greet(now, key, theirs, &mut self.rng);
                let window = u32::try_from(self.config.credit).unwrap_or(u32::MAX);
                self.reply(now, from, header, Header { kind: Kind::State, seq: ours.0, window, ..*header });
            }
            Kind::Data | Kind::Fin | Kind::State => self.reset(now, from, header),
        }
    }

    /// Says that there is no such connection.
    fn reset(&mut self, now: Instant, from: SocketAddr, header: &Header) {
        let seq = self.rng.next_u32() as u16;
        self.reply(now, from, header, Header { kind: Kind::Reset, seq, window: 0, ..*header });
    }

    fn reply(&mut self, now: Instant, to: SocketAddr, asked: &Header, reply: Header) {
        if self.replies.len() < REPLIES_MAX {
            let us = now.as_micros() as u32;
            let delay_us = us.wrapping_sub(asked.timestamp_us);
            self.replies.push_back((to, Header { timestamp_us: us, delay_us, ack: asked.seq, ..reply }.encode()));
        }
    }

    fn tick(&mut self, now: Instant) {
        while let Some((at, slot)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, slot));
            let Some(conn) = self.conns.get_mut(slot).filter(|c| c.timer == Some(at)) else { continue };
            conn.timer = None;
            match conn.tick(now) {
                Ok(()) => self.flush(slot),
                Err(why) => self.end(slot, why),
            }
        }
    }

    /// Passes on what a connection has to tell, and sees that it gets its turn.
    fn flush(&mut self, slot: usize) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        let (id, happened, data) = (conn.id, conn.happened(), conn.take());
        if !conn.is_deaf() {
            if happened.contains(&Happening::Connected) {
                self.outputs.push_back(Output::Connected { conn: id });
            }
            if let Some(data) = data {
                self.outputs.push_back(Output::Received { conn: id, data });
            }
            if happened.contains(&Happening::Room) {
                self.outputs.push_back(Output::Room { conn: id });
            }
            if happened.contains(&Happening::Finished) {
                self.outputs.push_back(Output::Finished { conn: id });
            }
        }
        if conn.is_over() && self.by_id.remove(id).is_some() && !conn.is_deaf() {
            self.outputs.push_back(Output::Closed { conn: id, why: Cause::Finished });
        }
        if !conn.queued {
            conn.queued = true;
            self.ready.push_back(slot);
        }
        self.watch(slot);
    }

    /// Sees that the connection is looked at when its time has come. Times that move into the future are found out then.
    fn watch(&mut self, slot: usize) {
        let Some(conn) = self.conns.get_mut(slot) else { return };
        let (deadline, timer) = (conn.deadline(), conn.timer);
        if let Some(at) = deadline.filter(|at| timer.is_none_or(|timer| *at < timer)) {
            if let Some(timer) = timer {
                self.timers.remove(&(timer, slot));
            }
            conn.timer = Some(at);
            self.timers.insert((at, slot));
        }
    }

    /// A connection is over.
    fn end(&mut self, slot: usize, why: Cause) {
        if let Some(conn) = self.conns.get_mut(slot)
            && self.by_id.get(conn.id) == Some(slot)
        {
            let conn_id = conn.id;
            if let Some(data) = conn.take().filter(|_| !conn.is_deaf()) {
                self.outputs.push_back(Output::Received { conn: conn_id, data });
            }
            self.outputs.push_back(Output::Closed { conn: conn_id, why });
        }
        self.remove(slot);
    }

    fn remove(&mut self, slot: usize) {
        if let Some(conn) = self.conns.try_remove(slot) {
            self.by_id.remove(conn.id);
            self.by_key.remove(&Key::new(conn.remote, conn.recv_id));
            if let Some(at) = conn.timer {
                self.timers.remove(&(at, slot));
            }
            // A slot in the queue belongs to nobody, or to whoever gets it next, who has something to send anyway.
        }
    }
}
