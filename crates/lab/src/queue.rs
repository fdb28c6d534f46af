//! The one heap of everything that will happen, in the order of time, and of its making where times are equal.

use crate::net::{ConnKey, Side};
use base::Instant;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Index of a peer in its world.
pub(crate) type PeerIx = u32;

/// What will happen. Small: what it is about sits where it belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A dial reaches the other end.
    Arrive(ConnKey),
    /// The dialler hears that it is connected.
    Connected(ConnKey),
    /// The dialler hears that nobody is there.
    Refused(ConnKey),
    /// The first chunk on its way from this side arrives.
    Deliver(ConnKey, Side),
    /// This side may read again what has arrived.
    Read(ConnKey, Side),
    /// This side hears that the connection is gone.
    Gone(ConnKey, Side),
    /// The line fails under a connection.
    Lost(ConnKey),
    /// The uplink is free again.
    Uplink(PeerIx),
    /// The deadline of an engine.
    Tick(PeerIx),
    /// The disk has answers.
    Disk(PeerIx),
    /// A message between a peer and the tracker is at its end, by number.
    Post(u32),
    /// A peer is told of others.
    Tell(PeerIx),
    /// A line of the script, by number.
    Script(u32),
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    at: Instant,
    made: u64,
}

#[derive(Debug)]
struct Entry {
    key: Key,
    event: Event,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

impl Eq for Entry {}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Entry {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key.cmp(&other.key)
    }
}

/// Events by time.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    heap: BinaryHeap<Reverse<Entry>>,
    made: u64,
}

impl Queue {
    /// `event` will happen at `at`.
    pub(crate) fn push(&mut self, at: Instant, event: Event) {
        self.made += 1;
        self.heap.push(Reverse(Entry { key: Key { at, made: self.made }, event }));
    }

    /// The next event.
    pub(crate) fn pop(&mut self) -> Option<(Instant, Event)> {
        self.heap.pop().map(|Reverse(e)| (e.key.at, e.event))
    }

    /// When the next event happens.
    pub(crate) fn next_at(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse(e)| e.key.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_keep_their_order() {
        let mut q = Queue::default();
        let t = Instant::from_secs(1);
        q.push(t, Event::Tick(1));
        q.push(t, Event::Tick(2));
        q.push(Instant::ZERO, Event::Tick(3));
        assert_eq!(q.next_at(), Some(Instant::ZERO));
        let order: Vec<Event> = std::iter::from_fn(|| q.pop().map(|(_, e)| e)).collect();
        assert_eq!(order, [Event::Tick(3), Event::Tick(1), Event::Tick(2)]);
    }
}
