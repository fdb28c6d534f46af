//! Reading by credit: what may still be read from each connection, within the download limit and the disk's pace.

use base::{ConnId, Instant};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use swarm::bucket::Bucket;

/// Bytes that one connection may be ahead of what was read, without limits.
const WINDOW: u64 = 1 << 20;
/// The same within a limit: smaller, so that connections share it.
const WINDOW_LIMITED_MIN: u64 = 4 << 10;

#[derive(Debug)]
pub(crate) struct Credits {
    down: Bucket,
    left: BTreeMap<ConnId, u64>,
    /// Have less than half a window.
    waiting: BTreeSet<ConnId>,
    /// Who was served last: those behind it come first.
    last: ConnId,
    backlog: u64,
    backlog_max: u64,
    retry_at: Option<Instant>,
}

impl Credits {
    pub(crate) fn new(now: Instant, limit: Option<u64>, backlog_max: u64) -> Self {
        let down = super::bucket(now, limit);
        let (left, waiting) = Default::default();
        Credits { down, left, waiting, last: ConnId(0), backlog: 0, backlog_max, retry_at: None }
    }

    fn window(&self) -> u64 {
        match self.down.rate() {
            None => WINDOW,
            Some(rate) => (rate / 4 / self.left.len().max(1) as u64).clamp(WINDOW_LIMITED_MIN, WINDOW),
        }
    }

    pub(crate) fn open(&mut self, conn: ConnId, left: u64) {
        self.left.insert(conn, left);
        self.used(conn, 0);
    }

    pub(crate) fn close(&mut self, conn: ConnId) {
        self.left.remove(&conn);
        self.waiting.remove(&conn);
    }

    /// Bytes were read.
    pub(crate) fn used(&mut self, conn: ConnId, bytes: u64) {
        let half = self.window() / 2;
        if let Some(left) = self.left.get_mut(&conn) {
            *left = left.saturating_sub(bytes);
            if *left <= half {
                self.waiting.insert(conn);
            }
        }
    }

    /// What waits for the disk in one torrent has changed.
    pub(crate) fn backlog(&mut self, before: u64, after: u64) {
        self.backlog = (self.backlog + after).saturating_sub(before);
    }

    /// What is granted now: in turn, as far as limit and disk allow.
    pub(crate) fn grant(&mut self, now: Instant) -> Vec<(ConnId, u64)> {
        self.retry_at = None;
        let mut granted = Vec::new();
        if self.waiting.is_empty() || self.backlog >= self.backlog_max {
            return granted;
        }
        let window = self.window();
        let behind = self.waiting.range((std::ops::Bound::Excluded(self.last), std::ops::Bound::Unbounded));
        let order: Vec<ConnId> = behind.chain(self.waiting.range(..=self.last)).copied().collect();
        for conn in order {
            let Some(left) = self.left.get_mut(&conn) else { continue };
            let want = window.saturating_sub(*left);
            if want > 0 && self.down.available(now) < want.min(WINDOW_LIMITED_MIN) {
                let ready = self.down.ready_at(now, want.min(WINDOW_LIMITED_MIN));
                self.retry_at = Some(ready.max(now + Duration::from_millis(5)));
                break;
            }
            let bytes = self.down.take(now, want);
            *left += bytes;
            if *left > window / 2 {
                self.waiting.remove(&conn);
            }
            self.last = conn;
            if bytes > 0 {
                granted.push((conn, bytes));
            }
        }
        granted
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.retry_at
    }

    pub(crate) fn check_invariants(&self, backlog: u64) -> Result<(), String> {
        if backlog != self.backlog {
            return Err(format!("{backlog} bytes wait for the disk, counted {}", self.backlog));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_disk_holds_back_and_lets_go() {
        let mut c = Credits::new(Instant::ZERO, None, 1000);
        c.open(ConnId(1), 100);
        c.backlog(0, 1000);
        assert!(c.grant(Instant::ZERO).is_empty());
        c.backlog(1000, 999);
        assert_eq!(c.grant(Instant::ZERO), [(ConnId(1), WINDOW - 100)]);
        assert!(c.grant(Instant::ZERO).is_empty(), "nobody waits");
        c.used(ConnId(1), WINDOW / 2);
        assert_eq!(c.grant(Instant::ZERO), [(ConnId(1), WINDOW / 2)]);
    }

    #[test]
    fn a_limit_is_shared_and_kept() {
        let rate = 100_000;
        let mut c = Credits::new(Instant::ZERO, Some(rate), 1000);
        for i in 0..4 {
            c.open(ConnId(i), 0);
        }
        let mut sums = [0; 4];
        for ms in (0..10_000).step_by(20) {
            for (conn, bytes) in c.grant(Instant::from_millis(ms)) {
                sums[conn.index()] += bytes;
                c.used(conn, bytes);
            }
        }
        let total: u64 = sums.iter().sum();
        assert!((950_000..=1_100_000).contains(&total), "{total}");
        assert!(sums.iter().all(|s| (200_000..320_000).contains(s)), "{sums:?}");
    }
}
