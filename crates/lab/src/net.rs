//! Links and connections in virtual time.
//!
//! TCP is abstracted to what an application sees of it: bytes in order, a window, connections that open after a round
//! trip and close or get lost. Each peer has one uplink and one downlink. An uplink sends a chunk of one connection
//! after the other, in turns, so connections share it fairly; a downlink takes chunks in the order of their arrival. A
//! chunk is under way for the time that its bytes take through the slower of the two, plus the latency of both ends.
//! The window keeps a connection from queueing more at a busy downlink than it needs to keep the line full.
//! Loss and reordering of packets are not shown: they would be seen as lower rates.

use crate::payload::Payload;
use crate::queue::PeerIx;
use base::{ConnId, Instant};
use std::collections::VecDeque;
use std::time::Duration;

/// Bytes asked of an engine at a time; a block of the peer protocol and its header.
pub(crate) const CHUNK: usize = 16 * 1024 + 13;
/// How far ahead of time an uplink may be filled with small messages before it waits for its turn.
const SLACK: Duration = Duration::from_millis(10);

/// The access link of a peer. Rates are bytes a second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSpec {
    /// Uplink.
    pub up: u64,
    /// Downlink.
    pub down: u64,
    /// Time that a bit takes between this peer and the middle of the network.
    pub latency: Duration,
}

/// Which end of a connection: the one that dialled, or the one that was dialled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Side {
    #[default]
    Dialler,
    Dialled,
}

impl Side {
    pub(crate) fn other(self) -> Side {
        match self {
            Side::Dialler => Side::Dialled,
            Side::Dialled => Side::Dialler,
        }
    }
}

/// A name for a connection that no later one has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct ConnKey {
    pub(crate) index: u32,
    pub(crate) made: u32,
}

/// What an engine knows of its end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EndState {
    /// Not connected yet.
    Pending,
    /// Connected.
    Open,
    /// Closed by it, or it was told that the connection is gone.
    Closed,
}

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) peer: PeerIx,
    /// What the engine there calls it.
    pub(crate) id: ConnId,
    pub(crate) state: EndState,
    /// The engine said that it has something to send.
    pub(crate) awake: bool,
    /// It waits for its turn on the uplink.
    pub(crate) queued: bool,
    /// Nothing leaves here any more, though the connection stays: the peer stalls.
    pub(crate) frozen: bool,
    /// On its way from here, with when it arrives.
    pub(crate) flight: VecDeque<(Instant, Payload)>,
    /// Arrived at the other end, but not read there for want of credit. Rare.
    pub(crate) unread: Option<Box<Payload>>,
    /// Bytes of both.
    pub(crate) outstanding: usize,
    /// When the last chunk arrives at the other end.
    pub(crate) last_arrival: Instant,
    /// Bytes that this end may still read.
    pub(crate) credit: u64,
}

impl End {
    pub(crate) fn new(peer: PeerIx, id: ConnId) -> Self {
        End {
            peer,
            id,
            state: EndState::Pending,
            awake: false,
            queued: false,
            frozen: false,
            flight: VecDeque::new(),
            unread: None,
            outstanding: 0,
            last_arrival: Instant::ZERO,
            credit: engine::CREDIT,
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(crate) struct Conn {
    made: u32,
    ends: [End; 2],
    /// Bytes that may be under way in each direction.
    pub(crate) window: [usize; 2],
}

impl Conn {
    pub(crate) fn end(&self, side: Side) -> &End {
        &self.ends[side as usize]
    }

    pub(crate) fn end_mut(&mut self, side: Side) -> &mut End {
        &mut self.ends[side as usize]
    }

    /// Bytes that may be sent from `side` now.
    pub(crate) fn room(&self, side: Side) -> usize {
        self.window[side as usize].saturating_sub(self.ends[side as usize].outstanding)
    }
}

/// All connections of a world.
#[derive(Debug, Default)]
pub(crate) struct Conns {
    slots: Vec<Option<Conn>>,
    free: Vec<u32>,
    made: u32,
}

impl Conns {
    pub(crate) fn insert(&mut self, dialler: End, dialled: End, window: [usize; 2]) -> ConnKey {
        self.made += 1;
        let conn = Some(Conn { made: self.made, ends: [dialler, dialled], window });
        let index = match self.free.pop() {
            Some(index) => {
                self.slots[index as usize] = conn;
                index
            }
            None => {
                self.slots.push(conn);
                self.slots.len() as u32 - 1
            }
        };
        ConnKey { index, made: self.made }
    }

    pub(crate) fn get(&self, key: ConnKey) -> Option<&Conn> {
        self.slots.get(key.index as usize)?.as_ref().filter(|c| c.made == key.made)
    }

    pub(crate) fn get_mut(&mut self, key: ConnKey) -> Option<&mut Conn> {
        self.slots.get_mut(key.index as usize)?.as_mut().filter(|c| c.made == key.made)
    }

    pub(crate) fn remove(&mut self, key: ConnKey) {
        if self.get(key).is_some() {
            self.slots[key.index as usize] = None;
            self.free.push(key.index);
        }
    }
}

/// Up- and downlink of one peer at work.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) spec: LinkSpec,
    /// Rates are divided by this: 1, or more while the link is clogged.
    pub(crate) clog: u64,
    up_free: Instant,
    down_free: Instant,
    /// Connections that wait for their turn on the uplink.
    pub(crate) ready: VecDeque<(ConnKey, Side)>,
    /// An event will come when the uplink is free.
    pub(crate) armed: bool,
}

impl Link {
    pub(crate) fn new(spec: LinkSpec) -> Self {
        Link { spec, clog: 1, up_free: Instant::ZERO, down_free: Instant::ZERO, ready: VecDeque::new(), armed: false }
    }

    /// The uplink takes another chunk now.
    pub(crate) fn has_turn(&self, now: Instant) -> bool {
        self.up_free <= now + SLACK
    }

    /// When the uplink is free.
    pub(crate) fn up_free(&self) -> Instant {
        self.up_free
    }

    /// The link is slower by this factor from now on, what is in its queues included. Answers by how much.
    pub(crate) fn clog(&mut self, now: Instant, factor: u64) -> Stretch {
        let stretch = Stretch { now, old: self.clog, new: factor.max(1) };
        self.clog = stretch.new;
        self.up_free = stretch.of(self.up_free);
        self.down_free = stretch.of(self.down_free);
        stretch
    }

    /// Puts `bytes` on the uplink: when the first and the last of them leave it.
    pub(crate) fn send(&mut self, now: Instant, bytes: usize) -> (Instant, Instant) {
        let first = self.up_free.max(now);
        self.up_free = first + transfer_time(bytes, self.spec.up / self.clog);
        (first, self.up_free)
    }

    /// Takes `bytes` whose first and last reach the downlink at these times: when the last is through.
    pub(crate) fn receive(&mut self, first: Instant, last: Instant, bytes: usize) -> Instant {
        self.down_free = self.down_free.max(first) + transfer_time(bytes, self.spec.down / self.clog);
        self.down_free.max(last)
    }
}

/// What a change of rate does to times that were foreseen.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stretch {
    now: Instant,
    old: u64,
    new: u64,
}

impl Stretch {
    /// When something happens now that was to happen at `at`.
    pub(crate) fn of(&self, at: Instant) -> Instant {
        let left = at.since(self.now).as_micros() * u128::from(self.new) / u128::from(self.old);
        if at > self.now { self.now + Duration::from_micros(u64::try_from(left).unwrap_or(u64::MAX)) } else { at }
    }
}

/// How long `bytes` take at `rate` bytes a second, rounded up.
pub(crate) fn transfer_time(bytes: usize, rate: u64) -> Duration {
    Duration::from_micros((bytes as u64 * 1_000_000).div_ceil(rate.max(1)))
}

/// Bytes under way that keep a line full: two chunks at each end, and what fits into a round trip.
pub(crate) fn window(from: &LinkSpec, to: &LinkSpec, block: u32) -> usize {
    let rate = u128::from(from.up.min(to.down));
    let round_trip = (2 * (from.latency + to.latency)).as_micros();
    let full = usize::try_from(rate * round_trip / 1_000_000).unwrap_or(usize::MAX);
    full.saturating_add(4 * CHUNK.max(block as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPEC: LinkSpec = LinkSpec { up: 1000, down: 2000, latency: Duration::from_millis(10) };

    #[test]
    fn the_slower_of_two_links_decides() {
        let (mut a, mut b) = (Link::new(SPEC), Link::new(SPEC));
        let (first, last) = a.send(Instant::ZERO, 1000);
        assert_eq!((first, last), (Instant::ZERO, Instant::from_secs(1)));
        assert_eq!(b.receive(first, last, 1000), Instant::from_secs(1));
        let mut slow = Link::new(LinkSpec { down: 500, ..SPEC });
        assert_eq!(slow.receive(first, last, 1000), Instant::from_secs(2));
    }

    #[test]
    fn many_senders_share_a_downlink_without_losing_time() {
        let mut down = Link::new(SPEC);
        let ends: Vec<Instant> = (0..4).map(|_| down.receive(Instant::ZERO, Instant::from_secs(1), 1000)).collect();
        assert_eq!(ends, [1000, 1000, 1500, 2000].map(Instant::from_millis));
    }

    #[test]
    fn a_clogged_link_stretches_its_queue_and_back() {
        let mut link = Link::new(SPEC);
        link.send(Instant::ZERO, 2000);
        let half = link.clog(Instant::from_secs(1), 10);
        assert_eq!(link.up_free(), Instant::from_secs(11));
        assert_eq!(half.of(Instant::from_millis(500)), Instant::from_millis(500));
        link.clog(Instant::from_secs(6), 1);
        assert_eq!(link.up_free(), Instant::from_millis(6500));
    }

    #[test]
    fn stale_keys_find_nothing() {
        let mut conns = Conns::default();
        let end = || End::new(0, ConnId(0));
        let a = conns.insert(end(), end(), [1; 2]);
        conns.remove(a);
        let b = conns.insert(end(), end(), [1; 2]);
        assert_eq!(a.index, b.index);
        assert!(conns.get(a).is_none() && conns.get(b).is_some());
    }
}
