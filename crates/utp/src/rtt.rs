//! How long an answer takes, and when to stop waiting for it (BEP 29, as RFC 6298 has it).

use std::time::Duration;

/// Timeout before anything was measured: that of the first SYN.
pub(crate) const RTO_FIRST: Duration = Duration::from_secs(1);
/// Shortest timeout.
pub(crate) const RTO_MIN: Duration = Duration::from_millis(500);
/// Longest timeout, however often it was doubled.
pub(crate) const RTO_MAX: Duration = Duration::from_secs(60);

/// Smoothed round-trip time, in microseconds.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rtt {
    mean_us: u32,
    var_us: u32,
}

impl Rtt {
    /// One more measurement.
    pub(crate) fn add(&mut self, sample: Duration) {
        let sample = u32::try_from(sample.as_micros()).unwrap_or(u32::MAX).clamp(1, 1 << 30);
        if self.mean_us == 0 {
            (self.mean_us, self.var_us) = (sample, sample / 2);
            return;
        }
        let off = self.mean_us.abs_diff(sample);
        self.var_us = self.var_us - self.var_us / 4 + off / 4;
        self.mean_us = (self.mean_us - self.mean_us / 8 + sample / 8).max(1);
    }

    /// The mean, if anything was measured.
    pub(crate) fn mean(&self) -> Option<Duration> {
        (self.mean_us > 0).then(|| Duration::from_micros(self.mean_us.into()))
    }

    /// How long to wait for an acknowledgement after `doublings` that did not come.
    pub(crate) fn timeout(&self, doublings: u32) -> Duration {
        let once = match self.mean_us {
            0 => RTO_FIRST,
            mean => Duration::from_micros(u64::from(mean) + 4 * u64::from(self.var_us)).max(RTO_MIN),
        };
        (once * (1 << doublings.min(10))).min(RTO_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_timeout_follows_what_was_measured() {
        let mut rtt = Rtt::default();
        assert_eq!((rtt.timeout(0), rtt.timeout(2), rtt.mean()), (RTO_FIRST, RTO_FIRST * 4, None));
        rtt.add(Duration::from_millis(20));
        assert_eq!(rtt.timeout(0), RTO_MIN);
        assert_eq!(rtt.timeout(1), RTO_MIN * 2);
        (0..50).for_each(|_| rtt.add(Duration::from_millis(800)));
        let mean = rtt.mean().unwrap();
        assert!(mean > Duration::from_millis(790) && mean <= Duration::from_millis(800), "{mean:?}");
        assert!(rtt.timeout(0) >= mean);
        assert_eq!(rtt.timeout(40), RTO_MAX);
        rtt.add(Duration::from_secs(1 << 40));
    }
}
