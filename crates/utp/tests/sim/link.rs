//! A link with a rate, a queue of limited length, a delay, and faults.

use base::{Instant, Rng};
use std::time::Duration;

#[derive(Clone, Debug)]
pub(crate) struct Link {
    /// Bytes a second; 0 is without limit.
    pub(crate) rate: u64,
    /// Bytes that may wait.
    pub(crate) queue: usize,
    pub(crate) delay: Duration,
    /// One in so many is lost, comes twice, or comes later than those behind it; 0: none.
    pub(crate) loss: u64,
    pub(crate) twice: u64,
    pub(crate) late: u64,
    /// Larger datagrams are swallowed.
    pub(crate) mtu: usize,
    busy_until: Instant,
    /// Datagrams that found no room.
    pub(crate) dropped: u64,
    /// The longest that anything waited lately.
    pub(crate) waited: Duration,
}

impl Link {
    pub(crate) fn new(rate: u64, queue: usize, delay_ms: u64) -> Link {
        let delay = Duration::from_millis(delay_ms);
        let (loss, twice, late, mtu) = (0, 0, 0, 1_472);
        let (busy_until, dropped, waited) = (Instant::ZERO, 0, Duration::ZERO);
        Link { rate, queue, delay, loss, twice, late, mtu, busy_until, dropped, waited }
    }

    pub(crate) fn faulty(mut self, loss: u64, twice: u64, late: u64) -> Link {
        (self.loss, self.twice, self.late) = (loss, twice, late);
        self
    }

    /// How long something would wait now.
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        self.busy_until.since(now)
    }

    /// When what is sent now arrives: never, once, or twice.
    pub(crate) fn carry(&mut self, now: Instant, size: usize, rng: &mut Rng) -> Vec<Instant> {
        let mut leaves = now;
        if self.rate > 0 {
            let wait = self.wait(now);
            let waiting = wait.as_micros() as u64 * self.rate / 1_000_000;
            if waiting as usize + size > self.queue {
                self.dropped += 1;
                return Vec::new();
            }
            self.waited = self.waited.max(wait);
            // Headers take time, too.
            leaves = now.max(self.busy_until) + Duration::from_micros((size as u64 + 28) * 1_000_000 / self.rate);
            self.busy_until = leaves;
        }
        let hit = |n: u64, rng: &mut Rng| n > 0 && rng.one_in(n);
        if size > self.mtu || hit(self.loss, rng) {
            return Vec::new();
        }
        let late = if hit(self.late, rng) { Duration::from_micros(rng.below(30_000)) } else { Duration::ZERO };
        let mut arrives = vec![leaves + self.delay + late];
        if hit(self.twice, rng) {
            arrives.push(leaves + self.delay + Duration::from_micros(rng.below(30_000)));
        }
        arrives
    }
}
