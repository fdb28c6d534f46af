//! A limit that several shards share: the gate holds the bucket, and lends out what is in it, a lease at a time.
//!
//! A shard asks when its lease is used up and gets about 20 ms worth; those that wait get theirs in turn. So one busy
//! shard gets all of the limit, several get equal parts, an idle one asks for nothing, and no more than a lease for each
//! shard is ever lent and not used.

use base::{Instant, ShardIndex};
use std::collections::VecDeque;
use swarm::bucket::Bucket;

/// A lease is this part of what a second allows.
const LEASES_PER_SECOND: u64 = 50;
/// What is saved up while nobody asks, as a part of what a second allows.
const BURSTS_PER_SECOND: u64 = 4;

/// One limit.
#[derive(Debug)]
pub(crate) struct Leases {
    bucket: Bucket,
    lease: u64,
    waiting: VecDeque<ShardIndex>,
    retry_at: Option<Instant>,
}

impl Leases {
    /// `min`: the least that is worth lending.
    pub(crate) fn new(now: Instant, limit: Option<u64>, min: u64) -> Self {
        let Some(rate) = limit else {
            return Leases { bucket: Bucket::UNLIMITED, lease: u64::MAX, waiting: VecDeque::new(), retry_at: None };
        };
        let lease = (rate / LEASES_PER_SECOND).max(min);
        let burst = (rate / BURSTS_PER_SECOND).max(lease);
        let mut bucket = Bucket::new(now, rate, burst);
        // Nothing is saved up yet: what is over in seconds would run at more than its limit.
        bucket.take(now, burst);
        Leases { bucket, lease, waiting: VecDeque::new(), retry_at: None }
    }

    /// A shard has used up what it had.
    pub(crate) fn want(&mut self, shard: ShardIndex) {
        if !self.waiting.contains(&shard) {
            self.waiting.push_back(shard);
        }
    }

    /// The next one who gets a lease, and how many bytes. To be asked until it says None.
    pub(crate) fn grant(&mut self, now: Instant) -> Option<(ShardIndex, u64)> {
        self.retry_at = None;
        let shard = *self.waiting.front()?;
        if self.bucket.available(now) < self.lease {
            self.retry_at = Some(self.bucket.ready_at(now, self.lease)).filter(|at| *at != Instant::NEVER);
            return None;
        }
        self.waiting.pop_front();
        Some((shard, self.bucket.take(now, self.lease)))
    }

    /// When the next one will, if one waits.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that each shard got in ten seconds, asking as soon as `asks` says.
    fn run(rate: u64, asks: impl Fn(u16, u64) -> bool) -> Vec<u64> {
        let mut leases = Leases::new(Instant::ZERO, Some(rate), 4096);
        let (mut sums, mut has) = (vec![0; 3], [false; 3]);
        for ms in 0..10_000 {
            for i in (0..3).filter(|i| asks(*i, ms)) {
                if !has[usize::from(i)] {
                    leases.want(ShardIndex(i));
                }
            }
            has = [false; 3];
            while let Some((shard, bytes)) = leases.grant(Instant::from_millis(ms)) {
                sums[shard.index()] += bytes;
                has[shard.index()] = true;
            }
        }
        sums
    }

    #[test]
    fn who_asks_gets_all_and_several_get_equal_parts() {
        for rate in [20_000, 1_000_000, 500_000_000] {
            // Who begins to ask later finds a quarter of a second saved up.
            let (most, least) = (rate * 10, rate * 10 - rate / 50 - 4096);
            let alone = run(rate, |i, _| i == 1);
            assert!(alone[0] + alone[2] == 0 && (least..=most).contains(&alone[1]), "{alone:?}");
            let all = run(rate, |_, _| true);
            assert!((least..=most).contains(&all.iter().sum()), "{all:?}");
            assert!(all.iter().all(|s| s.abs_diff(all[0]) <= (rate / 50).max(4096)), "{all:?}");
            let changing = run(rate, |i, ms| u64::from(i) == ms / 4000);
            assert!((least..=most).contains(&changing.iter().sum()), "{changing:?}");
        }
    }

    #[test]
    fn nobody_waits_without_a_limit() {
        let mut leases = Leases::new(Instant::ZERO, None, 4096);
        assert_eq!((leases.grant(Instant::ZERO), leases.deadline()), (None, None));
        leases.want(ShardIndex(0));
        assert_eq!(leases.grant(Instant::ZERO), Some((ShardIndex(0), u64::MAX)));
    }
}
