//! How long packets wait in queues: what the one-way delay is above the least of the last two minutes (LEDBAT, RFC 6817).
//!
//! Clocks of two machines differ by anything, and run at different speeds. So only differences of samples mean something, all
//! arithmetic is modulo 2^32, and the least delay is forgotten after a while.

use base::Instant;
use std::time::Duration;

/// One minimum is kept for each stretch of this length.
const SLOT: Duration = Duration::from_secs(30);
/// Stretches that count: the base delay is the least of two minutes.
const SLOTS: usize = 4;
/// Of so many last samples the least counts: one packet that waited says little.
const RECENT: usize = 3;

/// Delays in one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Delays {
    slots: [u32; SLOTS],
    used: usize,
    at: usize,
    until: Instant,
    recent: [u32; RECENT],
    next: usize,
}

/// True if `a` is less than `b`, where both are modulo 2^32.
fn less(a: u32, b: u32) -> bool {
    (a.wrapping_sub(b) as i32) < 0
}

fn least(of: &[u32]) -> u32 {
    of.iter().copied().reduce(|a, b| if less(b, a) { b } else { a }).unwrap_or(0)
}

impl Delays {
    /// One more sample: a difference of two clocks. Answers by how much the base would rise if what is about to be forgotten
    /// were forgotten now: the caller may want to empty the queue before.
    pub(crate) fn add(&mut self, now: Instant, sample: u32) -> Duration {
        if self.used == 0 {
            *self =
                Delays { slots: [sample; SLOTS], used: 1, at: 0, until: now + SLOT, recent: [sample; RECENT], next: 0 };
            return Duration::ZERO;
        }
        let mut rise = Duration::ZERO;
        if now >= self.until {
            let base = self.base();
            self.at = (self.at + 1) % SLOTS;
            self.used = (self.used + 1).min(SLOTS);
            self.slots[self.at] = sample;
            self.until = now + SLOT;
            rise = Duration::from_micros(self.base().wrapping_sub(base).into());
        } else if less(sample, self.slots[self.at]) {
            self.slots[self.at] = sample;
        }
        self.recent[self.next] = sample;
        self.next = (self.next + 1) % RECENT;
        rise
    }

    /// The least difference of clocks of the last two minutes.
    pub(crate) fn base(&self) -> u32 {
        // The slots in use are the last `used` ones, which begin with the first where it never went around.
        least(&self.slots[..self.used])
    }

    /// How long packets wait now.
    pub(crate) fn queueing(&self) -> Duration {
        let wait = least(&self.recent).wrapping_sub(self.base());
        Duration::from_micros(if (wait as i32) < 0 { 0 } else { wait.into() })
    }

    /// Raises all that is remembered: the other clock was seen to run slower.
    pub(crate) fn shift(&mut self, us: u32) {
        self.slots.iter_mut().for_each(|slot| *slot = slot.wrapping_add(us));
    }

    /// True if there was a sample.
    pub(crate) fn is_known(&self) -> bool {
        self.used > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    #[test]
    fn only_differences_count_wherever_the_clocks_stand() {
        for zero in [0u32, 5, u32::MAX - 10_000, 1 << 31, (1 << 31) - 10_000] {
            let mut delays = Delays::default();
            assert!(!delays.is_known());
            for sample in [50_000, 20_000, 20_000, 95_000, 95_000, 95_000] {
                delays.add(Instant::ZERO, zero.wrapping_add(sample));
            }
            assert_eq!(delays.queueing(), ms(75));
            delays.add(Instant::ZERO, zero.wrapping_add(21_000));
            assert_eq!(delays.queueing(), ms(1), "one packet that came through proves that the way is free");
            delays.add(Instant::ZERO, zero);
            assert_eq!((delays.base(), delays.queueing()), (zero, ms(0)));
        }
    }

    #[test]
    fn the_base_is_forgotten_after_two_minutes_and_says_so() {
        let mut delays = Delays::default();
        delays.add(Instant::ZERO, 1_000);
        for s in 1..120 {
            assert_eq!(delays.add(Instant::from_secs(s), 61_000), ms(0));
            assert_eq!(delays.base(), 1_000);
        }
        assert_eq!(delays.add(Instant::from_secs(120), 61_000), ms(60));
        assert_eq!((delays.base(), delays.queueing()), (61_000, ms(0)));
    }

    #[test]
    fn a_shift_moves_the_base_alone() {
        let mut delays = Delays::default();
        (0..3).for_each(|_| _ = delays.add(Instant::ZERO, 1_000));
        (0..3).for_each(|_| _ = delays.add(Instant::ZERO, 9_000));
        delays.shift(3_000);
        assert_eq!(delays.queueing(), ms(5));
    }
}
