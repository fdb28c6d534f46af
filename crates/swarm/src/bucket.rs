//! A token bucket: how many bytes may pass now, under a limit of bytes a second.
//!
//! Refilled by time alone, in integers, with the fraction of a byte kept: no rate is lost to rounding, however often it
//! is asked. Who shares a limit among many, and how, is not decided here.

use base::Instant;
use std::time::Duration;

/// Bytes that may pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Bytes a second; None: no limit.
    rate: Option<u64>,
    /// Most bytes that are saved up.
    burst: u64,
    /// Bytes that may pass now, in millionths.
    micros: u128,
    /// When they were counted.
    at: Instant,
}

const MICROS: u128 = 1_000_000;

impl Bucket {
    /// No limit.
    pub const UNLIMITED: Bucket = Bucket { rate: None, burst: u64::MAX, micros: 0, at: Instant::ZERO };

    /// `rate` bytes a second, of which up to `burst` are saved up. It begins full.
    pub fn new(now: Instant, rate: u64, burst: u64) -> Self {
        Bucket { rate: Some(rate), burst, micros: u128::from(burst) * MICROS, at: now }
    }

    /// Bytes a second; None: no limit.
    pub fn rate(&self) -> Option<u64> {
        self.rate
    }

    /// Changes the limit. What is saved up stays, up to the new burst.
    pub fn set_rate(&mut self, now: Instant, rate: Option<u64>, burst: u64) {
        self.refill(now);
        *self = Bucket { rate, burst, micros: self.micros.min(u128::from(burst) * MICROS), at: now };
    }

    /// Bytes that may pass now.
    pub fn available(&mut self, now: Instant) -> u64 {
        self.refill(now);
        match self.rate {
            None => u64::MAX,
            Some(_) => (self.micros / MICROS) as u64,
        }
    }

    /// Takes up to `n` bytes; says how many may pass.
    pub fn take(&mut self, now: Instant, n: u64) -> u64 {
        let granted = self.available(now).min(n);
        if self.rate.is_some() {
            self.micros -= u128::from(granted) * MICROS;
        }
        granted
    }

    /// Gives back bytes that were taken and didn't pass.
    pub fn give_back(&mut self, n: u64) {
        let full = u128::from(self.burst) * MICROS;
        self.micros = (self.micros + u128::from(n) * MICROS).min(full);
    }

    /// When `n` bytes (at most the burst) may pass, if none are taken before.
    pub fn ready_at(&mut self, now: Instant, n: u64) -> Instant {
        self.refill(now);
        let missing = (u128::from(n.min(self.burst)) * MICROS).saturating_sub(self.micros);
        match self.rate {
            None => now,
            _ if missing == 0 => now,
            Some(0) => Instant::NEVER,
            Some(rate) => {
                let micros = missing.div_ceil(u128::from(rate));
                now + Duration::from_micros(u64::try_from(micros).unwrap_or(u64::MAX))
            }
        }
    }

    fn refill(&mut self, now: Instant) {
        if let Some(rate) = self.rate {
            let elapsed = now.since(self.at).as_micros();
            let full = u128::from(self.burst) * MICROS;
            self.micros = (self.micros + elapsed * u128::from(rate)).min(full);
        }
        self.at = self.at.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_limit_holds_over_time() {
        let mut bucket = Bucket::new(Instant::ZERO, 1_000, 500);
        assert_eq!(bucket.take(Instant::ZERO, 2_000), 500);
        assert_eq!(bucket.take(Instant::ZERO, 2_000), 0);
        assert_eq!(bucket.ready_at(Instant::ZERO, 100), Instant::from_millis(100));
        assert_eq!(bucket.take(Instant::from_millis(100), 2_000), 100);
        assert_eq!(bucket.available(Instant::from_secs(100)), 500);
        bucket.set_rate(Instant::from_secs(100), Some(0), 500);
        assert_eq!(bucket.take(Instant::from_secs(200), 501), 500);
        assert_eq!(bucket.ready_at(Instant::from_secs(200), 1), Instant::NEVER);
        bucket.give_back(7);
        assert_eq!(bucket.available(Instant::NEVER), 7);
        let mut open = Bucket::UNLIMITED;
        assert_eq!(open.take(Instant::ZERO, u64::MAX), u64::MAX);
        assert_eq!(open.ready_at(Instant::ZERO, u64::MAX), Instant::ZERO);
    }

    proptest! {
        #[test]
        fn never_more_than_burst_and_rate(rate in 0u64..5_000_000_000, burst in 0u64..10_000_000,
                                          takes in proptest::collection::vec((0u64..3_000_000, 0u64..1 << 40), 1..50)) {
            let mut bucket = Bucket::new(Instant::ZERO, rate, burst);
            let (mut now, mut total) = (Instant::ZERO, 0u128);
            for (micros, n) in takes {
                now += Duration::from_micros(micros);
                total += u128::from(bucket.take(now, n));
                let bound = u128::from(burst) + u128::from(rate) * u128::from(now.as_micros()) / 1_000_000;
                prop_assert!(total <= bound);
                let ready = bucket.ready_at(now, n);
                if ready != Instant::NEVER {
                    let mut later = bucket;
                    prop_assert!(later.available(ready) >= n.min(burst));
                }
            }
        }
    }
}
