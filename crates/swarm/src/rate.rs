//! Bytes a second, smoothed over about eight seconds, in integers: the same on every machine.
//!
//! Time is cut into ticks of one second. A finished tick enters an exponential average with a weight of one eighth; the
//! first eight ticks enter a plain average instead, so that a new connection is not taken for a slow one.
//! Deliberately no history: 24 bytes, since each session has two.

use base::Instant;

/// A measured rate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rate {
    /// Average over finished ticks, in bytes a second times 16.
    average: u64,
    /// Bytes in the tick that is running.
    pending: u64,
    /// The tick that is running, in seconds since zero, plus one; zero: nothing was ever counted.
    tick: u32,
    /// Finished ticks, as far as they matter.
    age: u8,
}

/// Ticks that the average looks back on.
const TICKS: u64 = 8;
const TICK_MICROS: u64 = 1_000_000;

impl Rate {
    /// Counts `bytes` that passed.
    pub fn add(&mut self, now: Instant, bytes: u64) {
        self.advance(now);
        self.pending = self.pending.saturating_add(bytes);
    }

    /// Bytes a second by now.
    pub fn per_second(&self, now: Instant) -> u64 {
        let mut at = *self;
        at.advance(now);
        if at.age == 0 { at.pending } else { at.average / 16 }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        *self = Rate::default();
    }

    /// Takes note of the time that has passed, so that a rate that is asked for again and again is not computed from the last
    /// byte on each time. Nothing else changes.
    pub fn advance(&mut self, now: Instant) {
        let tick = u32::try_from(now.as_micros() / TICK_MICROS + 1).unwrap_or(u32::MAX);
        if self.tick == 0 {
            self.tick = tick;
        }
        while self.tick < tick {
            self.tick += 1;
            let weight = u64::from(self.age) + 1;
            let bytes = std::mem::take(&mut self.pending).saturating_mul(16);
            self.average = (self.average.saturating_mul(weight - 1).saturating_add(bytes)) / weight;
            self.age = (weight as u8).min(TICKS as u8 - 1);
            if self.average == 0 && weight == TICKS {
                // Silence: further ticks change nothing.
                self.tick = tick;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steady_flow_is_measured_exactly_and_silence_decays() {
        let mut rate = Rate::default();
        for ms in (0..20_000).step_by(100) {
            rate.add(Instant::from_millis(3_000_000 + ms), 1_000);
        }
        let end = Instant::from_secs(3_020);
        assert_eq!(rate.per_second(end), 10_000);
        let after = |s: u64| rate.per_second(end + std::time::Duration::from_secs(s));
        assert!((2_500..4_500).contains(&after(8)), "{}", after(8));
        assert!(after(40) < 100);
        assert_eq!(after(1_000_000), 0);
    }

    #[test]
    fn a_new_connection_is_not_taken_for_a_slow_one() {
        let mut rate = Rate::default();
        rate.add(Instant::from_millis(5_500), 8_000);
        assert_eq!(rate.per_second(Instant::from_millis(5_900)), 8_000);
        assert_eq!(rate.per_second(Instant::from_millis(6_500)), 8_000);
        assert_eq!(rate.per_second(Instant::from_millis(8_500)), 8_000 / 3);
    }

    #[test]
    fn extremes_saturate() {
        let mut rate = Rate::default();
        rate.add(Instant::ZERO, u64::MAX);
        rate.add(Instant::ZERO, u64::MAX);
        assert!(rate.per_second(Instant::from_secs(10)) > 0);
        assert_eq!(rate.per_second(Instant::NEVER), 0);
        assert_eq!(size_of::<Rate>(), 24);
    }
}
