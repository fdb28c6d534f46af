//! Connections of a world: dialled, used, closed and lost.

use super::peer::{addr_of, peer_at};
use super::{Role, World};
use crate::net::{CHUNK, ConnKey, End, EndState, Side, window};
use crate::payload::{Block, Payload, Taint};
use crate::queue::{Event, PeerIx};
use base::{ConnId, Instant, Payload as _};
use engine::{ACCEPTED, Input, Segment};
use std::net::SocketAddr;
use std::time::Duration;

/// A dial that nobody answers ends after this time.
const DIAL_TIMEOUT: Duration = Duration::from_secs(15);

impl World {
    fn latency(&self, a: PeerIx, b: PeerIx) -> Duration {
        self.peers[a as usize].spec.link.latency + self.peers[b as usize].spec.link.latency
    }

    /// `from` dials an address.
    pub(super) fn dial(&mut self, from: PeerIx, id: ConnId, addr: SocketAddr) {
        let to = peer_at(addr.ip(), self.peers.len()).filter(|to| *to != from && addr_of(*to) == addr);
        let target = to.unwrap_or(from);
        let block = self.spec.plan.geometry.block_size();
        let (a, b) = (&self.peers[from as usize].spec.link, &self.peers[target as usize].spec.link);
        let windows = [window(a, b, block), window(b, a, block)];
        let key = self.conns.insert(End::new(from, id), End::new(target, ConnId(0)), windows);
        self.peers[from as usize].conns.insert(id, (key, Side::Dialler));
        let latency = self.latency(from, target);
        let up = to.is_some_and(|to| self.peers[to as usize].engine.is_some());
        let cut = to.is_some_and(|to| self.cut_until(from, to).is_some());
        let reachable = to.is_some_and(|to| self.peers[to as usize].spec.reachable);
        if up && reachable && !cut {
            self.queue.push(self.now + latency, Event::Arrive(key));
        } else {
            let wait = if reachable && !cut { 2 * latency } else { DIAL_TIMEOUT };
            self.queue.push(self.now + wait, Event::Refused(key));
        }
    }

    pub(super) fn arrive(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let (from, to) = (conn.end(Side::Dialler).peer, conn.end(Side::Dialled).peer);
        let latency = self.peers[from as usize].spec.link.latency + self.peers[to as usize].spec.link.latency;
        let peer = &mut self.peers[to as usize];
        if peer.engine.is_none() {
            self.queue.push(self.now + latency, Event::Refused(key));
            return;
        }
        let id = ConnId(ACCEPTED + peer.accepted);
        peer.accepted += 1;
        peer.conns.insert(id, (key, Side::Dialled));
        peer.conns_in_life += 1;
        let end = conn.end_mut(Side::Dialled);
        end.id = id;
        end.state = EndState::Open;
        self.queue.push(self.now + latency, Event::Connected(key));
        let mut addr = addr_of(from);
        addr.set_port(32_768 + (key.made % 28_000) as u16);
        if let Some(watch) = &mut self.watch {
            watch.open(key, [from, to]);
        }
        self.feed(to, Input::Accepted { conn: id, from: addr });
    }

    pub(super) fn connected(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let end = conn.end_mut(Side::Dialler);
        if end.state != EndState::Pending {
            return;
        }
        end.state = EndState::Open;
        let (peer, id) = (end.peer, end.id);
        if let Some(mean) = self.spec.conn_life {
            // Exponential: a line does not grow old.
            let life = mean.mul_f64(-(1.0 - self.peers[peer as usize].rng.unit()).ln());
            self.queue.push(self.now + life, Event::Lost(key));
        }
        self.peers[peer as usize].conns_in_life += 1;
        self.feed(peer, Input::Connected { conn: id });
    }

    pub(super) fn refused(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get(key) else { return };
        let end = conn.end(Side::Dialler);
        let (peer, id, pending) = (end.peer, end.id, end.state == EndState::Pending);
        self.forget(key);
        self.peers[peer as usize].conns.remove(id);
        if pending {
            self.tell_closed(peer, id);
        }
    }

    fn tell_closed(&mut self, peer: PeerIx, id: ConnId) {
        let p = &mut self.peers[peer as usize];
        if p.spec.config.shards > 1 {
            p.unheard.insert(id);
        }
        self.feed(peer, Input::Closed { conn: id });
    }

    /// The engine of `peer` closes a connection.
    pub(super) fn close(&mut self, peer: PeerIx, id: ConnId) {
        let Some((key, side)) = self.peers[peer as usize].conns.remove(id) else {
            // A shard may close what is gone already while the news of that is still on its way to it; once.
            if !self.peers[peer as usize].unheard.remove(&id) {
                self.violate(peer, format!("closes connection {id}, which it does not have"));
            }
            return;
        };
        self.end(key, side, true);
    }

    /// This end is closed; the other one hears of it if `told`, once all that was sent has arrived.
    pub(super) fn end(&mut self, key: ConnKey, side: Side, told: bool) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.end_mut(side).state = EndState::Closed;
        let last = conn.end(side).last_arrival;
        let other = conn.end(side.other());
        // A dial that has not arrived yet finds nobody.
        let unborn = other.state == EndState::Pending && side == Side::Dialler;
        let (a, b) = (conn.end(side).peer, other.peer);
        if other.state == EndState::Closed || unborn {
            self.forget(key);
        } else if told {
            let at = last.max(self.now + self.latency(a, b));
            self.queue.push(at, Event::Gone(key, side.other()));
        }
    }

    pub(super) fn gone(&mut self, key: ConnKey, side: Side) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let (a, b) = (conn.end(side).peer, conn.end(side.other()).peer);
        if let Some(until) = self.cut_until(a, b) {
            self.queue.push(until, Event::Gone(key, side));
            return;
        }
        let Some(conn) = self.conns.get_mut(key) else { return };
        let other_closed = conn.end(side.other()).state == EndState::Closed;
        let end = conn.end_mut(side);
        if end.state == EndState::Closed {
            return;
        }
        end.state = EndState::Closed;
        let (peer, id) = (end.peer, end.id);
        if other_closed {
            self.forget(key);
        }
        self.peers[peer as usize].conns.remove(id);
        self.tell_closed(peer, id);
    }

    /// The line fails: both ends hear of it, and what is under way is lost.
    pub(super) fn lost(&mut self, key: ConnKey) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        for side in [Side::Dialler, Side::Dialled] {
            let end = conn.end_mut(side);
            end.flight.clear();
            end.unread = None;
            end.frozen = true;
            self.queue.push(self.now, Event::Gone(key, side));
        }
    }

    fn forget(&mut self, key: ConnKey) {
        self.conns.remove(key);
        if let Some(watch) = &mut self.watch {
            watch.close(key);
        }
    }

    /// An engine has something to send on a connection.
    pub(super) fn wake(&mut self, peer: PeerIx, id: ConnId) {
        let Some((key, side)) = self.peers[peer as usize].conns.get(id) else { return };
        let Some(conn) = self.conns.get_mut(key) else { return };
        let room = conn.room(side);
        let end = conn.end_mut(side);
        end.awake = true;
        if !end.queued && room > 0 {
            end.queued = true;
            self.peers[peer as usize].link.ready.push_back((key, side));
        }
    }

    /// The engine of `peer` lets the hands read more.
    pub(super) fn credit(&mut self, peer: PeerIx, id: ConnId, bytes: u64) {
        let Some((key, side)) = self.peers[peer as usize].conns.get(id) else { return };
        let Some(conn) = self.conns.get_mut(key) else { return };
        let end = conn.end_mut(side);
        end.credit = end.credit.saturating_add(bytes);
        if conn.end(side.other()).unread.is_some() {
            self.queue.push(self.now, Event::Read(key, side.other()));
        }
    }

    /// Puts chunks on the uplink while it has a turn to give. True if the engine was asked for some.
    pub(super) fn pump(&mut self, ix: PeerIx) -> bool {
        let mut sent = false;
        let mut transmit = std::mem::take(&mut self.transmit);
        loop {
            let peer = &mut self.peers[ix as usize];
            let Some(engine) = &mut peer.engine else { break };
            if !peer.link.has_turn(self.now) {
                if !peer.link.ready.is_empty() && !peer.link.armed {
                    peer.link.armed = true;
                    self.queue.push(peer.link.up_free(), Event::Uplink(ix));
                }
                break;
            }
            let Some((key, side)) = peer.link.ready.pop_front() else { break };
            let Some(conn) = self.conns.get_mut(key) else { continue };
            let room = conn.room(side);
            let end = conn.end_mut(side);
            end.queued = false;
            if end.state != EndState::Open || end.frozen || !end.awake || room == 0 {
                continue;
            }
            transmit.segments.clear();
            transmit.bytes = 0;
            // As hands do it: ask until the socket is full, or there is nothing more.
            let room = room.min(CHUNK);
            while transmit.bytes < room && end.awake {
                let before = transmit.bytes;
                engine.poll_transmit(self.now, end.id, room, &mut transmit);
                end.awake = transmit.bytes > before;
            }
            sent = true;
            if transmit.is_empty() {
                continue;
            }
            if end.awake {
                end.queued = true;
                peer.link.ready.push_back((key, side));
            }
            self.send(ix, key, side, &mut transmit.segments);
        }
        self.transmit = transmit;
        sent
    }

    /// What an engine gave for one connection goes on its way.
    fn send(&mut self, ix: PeerIx, key: ConnKey, side: Side, segments: &mut Vec<Segment>) {
        let mut data = Payload::default();
        let mut blocks = 0;
        for segment in segments.drain(..) {
            match segment {
                Segment::Bytes(bytes) => data.push_real(bytes.into()),
                Segment::Block { piece, begin, len } => {
                    blocks += u64::from(len);
                    let taint = self.taint(ix, piece, begin, len);
                    data.push_block(Block { piece: piece.0, begin, len, taint });
                }
            }
        }
        if let Some(watch) = &mut self.watch {
            let peer = &self.peers[ix as usize];
            if let Err(what) = watch.said(key, side, &data, peer.disk.good(), peer.rotted) {
                self.violate(ix, what);
            }
        }
        let peer = &mut self.peers[ix as usize];
        peer.stats.sent += blocks;
        let (bytes, stalls) = (data.len(), blocks > 0 && peer.spec.role == Role::Staller);
        let (first, last) = peer.link.send(self.now, bytes);
        let Some(conn) = self.conns.get_mut(key) else { return };
        conn.end_mut(side).outstanding += bytes;
        let to = conn.end(side.other()).peer;
        if stalls {
            conn.end_mut(side).frozen = true;
            return;
        }
        // Latency and queue commute, so the downlink is booked as if the latency came behind it.
        let through = self.peers[to as usize].link.receive(first, last, bytes);
        let arrival = through + self.latency(ix, to);
        let Some(conn) = self.conns.get_mut(key) else { return };
        let end = conn.end_mut(side);
        if end.flight.capacity() == 0 {
            // Most carry one chunk at a time, and there are hundreds of thousands of them.
            end.flight.reserve_exact(1);
        }
        end.flight.push_back((arrival, data));
        end.last_arrival = arrival;
        self.queue.push(arrival, Event::Deliver(key, side));
    }

    /// What bytes that leave a peer are worth.
    fn taint(&mut self, ix: PeerIx, piece: base::PieceIndex, begin: u32, len: u32) -> Taint {
        let peer = &mut self.peers[ix as usize];
        if let Role::Liar { one_in } = peer.spec.role
            && peer.rng.one_in(one_in)
        {
            return Taint::by(ix as usize);
        }
        match peer.disk.read(piece, begin, len) {
            Some(taint) => taint,
            None => {
                self.violate(ix, format!("sends {len} bytes at {begin} of piece {piece}, which it does not have"));
                Taint::NONE
            }
        }
    }

    pub(super) fn deliver(&mut self, key: ConnKey, side: Side) {
        let Some(conn) = self.conns.get(key) else { return };
        let (a, b) = (conn.end(side).peer, conn.end(side.other()).peer);
        if let Some(until) = self.cut_until(a, b) {
            self.queue.push(until, Event::Deliver(key, side));
            return;
        }
        let Some(conn) = self.conns.get_mut(key) else { return };
        let open = conn.end(side.other()).state == EndState::Open;
        let end = conn.end_mut(side);
        // A change of rate leaves events behind that come too early.
        let now = self.now;
        let Some((_, data)) = end.flight.pop_front_if(|(at, _)| *at <= now) else { return };
        if !open {
            return;
        }
        self.read(key, side, data);
    }

    /// The other end reads what has arrived from `side`, `data` last, as far as it may.
    pub(super) fn read(&mut self, key: ConnKey, side: Side, data: Payload) {
        let Some(conn) = self.conns.get_mut(key) else { return };
        let reader = conn.end_mut(side.other());
        if reader.state != EndState::Open {
            return;
        }
        let (to, id) = (reader.peer, reader.id);
        let credit = usize::try_from(reader.credit).unwrap_or(usize::MAX);
        let speaker = conn.end_mut(side);
        let mut data = match speaker.unread.take() {
            Some(mut earlier) => {
                earlier.append(data);
                *earlier
            }
            None => data,
        };
        let n = data.len().min(credit);
        if n < data.len() {
            let head = data.split_to(n);
            speaker.unread = Some(Box::new(std::mem::replace(&mut data, head)));
        }
        if n == 0 {
            return;
        }
        speaker.outstanding -= n;
        let from = speaker.peer;
        let waits = speaker.awake && !speaker.queued && !speaker.frozen && speaker.state == EndState::Open;
        speaker.queued |= waits;
        conn.end_mut(side.other()).credit -= n as u64;
        let blocks = data.block_bytes();
        if blocks > 0 {
            let from_seed = self.peers[from as usize].is_seed();
            let peer = &mut self.peers[to as usize];
            peer.stats.first_block_at.get_or_insert(self.now);
            peer.stats.received += blocks;
            peer.received_in_life += blocks;
            if from_seed {
                peer.stats.received_from_seeds += blocks;
            }
        }
        if let Some(watch) = &mut self.watch {
            watch.heard(key, side, n);
        }
        self.feed(to, Input::Received { conn: id, data });
        if waits {
            self.peers[from as usize].link.ready.push_back((key, side));
            self.settle(from);
        }
    }

    /// The link of a peer is slower by this factor from now on: what is under way on it, too.
    pub(super) fn clog(&mut self, ix: PeerIx, factor: u64) {
        let peer = &mut self.peers[ix as usize];
        let stretch = peer.link.clog(self.now, factor);
        peer.link.armed = true;
        self.queue.push(peer.link.up_free().max(self.now), Event::Uplink(ix));
        for (_, (key, _)) in peer.conns.sorted() {
            let Some(conn) = self.conns.get_mut(key) else { continue };
            for side in [Side::Dialler, Side::Dialled] {
                let end = conn.end_mut(side);
                end.last_arrival = stretch.of(end.last_arrival);
                for (at, _) in &mut end.flight {
                    *at = stretch.of(*at);
                    self.queue.push(*at, Event::Deliver(key, side));
                }
            }
        }
    }

    /// Until when two peers can't hear each other, if they can't now.
    fn cut_until(&self, a: PeerIx, b: PeerIx) -> Option<Instant> {
        let cut = self.cut.as_ref().filter(|cut| cut.until > self.now)?;
        (cut.apart(a) != cut.apart(b)).then_some(cut.until)
    }
}
