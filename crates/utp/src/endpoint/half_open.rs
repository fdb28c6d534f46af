//! Those who want to open a connection and have not proven their address.
//!
//! Each costs a small entry of a table with a limit; who is pushed out has to ask again. Nothing is sent to them but one answer
//! for each question: who asks in somebody else's name makes us send no more than it has sent itself.

use super::key::{Key, Keyed};
use crate::seq::Seq;
use base::{Instant, Rng};
use hashbrown::HashMap;
use std::collections::VecDeque;
use std::time::Duration;
use wire::utp::{Header, Kind};

/// Strangers that are remembered; for another one the oldest is forgotten.
pub const HALF_OPEN_MAX: usize = 4_096;
/// How long they are remembered.
const AGE_MAX: Duration = Duration::from_secs(30);

/// The table.
#[derive(Debug)]
pub(super) struct HalfOpen {
    /// The number that we told, and that of the SYN.
    entries: HashMap<Key, (Seq, Seq), Keyed>,
    order: VecDeque<(Instant, Key)>,
}

impl HalfOpen {
    pub(super) fn new(keyed: Keyed) -> Self {
        HalfOpen { entries: HashMap::with_hasher(keyed), order: VecDeque::new() }
    }

    /// Somebody asks; answers the number to tell it. Who asks again is told the same.
    pub(super) fn greet(&mut self, now: Instant, key: Key, theirs: Seq, rng: &mut Rng) -> Seq {
        if let Some((ours, known)) = self.entries.get(&key)
            && *known == theirs
        {
            return *ours;
        }
        while self.order.len() >= HALF_OPEN_MAX || self.order.front().is_some_and(|(at, _)| now.since(*at) > AGE_MAX) {
            if let Some((_, oldest)) = self.order.pop_front() {
                self.entries.remove(&oldest);
            }
        }
        let ours = Seq(rng.next_u32() as u16);
        self.entries.insert(key, (ours, theirs));
        self.order.push_back((now, key));
        ours
    }

    /// The two numbers, if `header` shows that its sender was told ours. They are forgotten then.
    pub(super) fn prove(&mut self, key: Key, header: &Header) -> Option<(Seq, Seq)> {
        let (ours, theirs) = *self.entries.get(&key)?;
        let told = header.kind != Kind::Reset && Seq(header.ack) == ours.minus(1);
        if told {
            self.entries.remove(&key);
        }
        told.then_some((ours, theirs))
    }

    /// Somebody does not want it any more.
    pub(super) fn forget(&mut self, key: Key) {
        self.entries.remove(&key);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }
}
