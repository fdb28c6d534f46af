//! Reading by credit: what may still be read from each connection, within the download limit and the disk's pace.

use super::lease::Lease;
use crate::{CREDIT, is_stream};
use base::{ConnId, ConnMap, TorrentId};
use std::collections::BTreeSet;

/// Bytes that one connection may be ahead of what was read, without limits.
const WINDOW: u64 = 1 << 20;
/// The same within a limit: smaller, so that connections share it.
const WINDOW_LIMITED_MIN: u64 = 4 << 10;

/// A connection of this shard.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    torrent: TorrentId,
    left: u64,
    /// Bytes that were granted in all.
    lent: u64,
}

/// The connections of a shard, and what may be read from each.
#[derive(Debug)]
pub(crate) struct Credits {
    limit: Option<u64>,
    lease: Lease,
    lines: ConnMap<Line>,
    /// How many of them are streams.
    streams: usize,
    /// Have less than half a window.
    waiting: BTreeSet<ConnId>,
    /// Who was served last: those behind it come first.
    last: ConnId,
    backlog: u64,
    backlog_max: u64,
}

impl Credits {
    pub(crate) fn new(limit: Option<u64>, backlog_max: u64) -> Self {
        let waiting = BTreeSet::new();
        Credits {
            limit,
            lease: Lease::new(limit),
            lines: ConnMap::new(),
            streams: 0,
            waiting,
            last: ConnId(0),
            backlog: 0,
            backlog_max,
        }
    }

    fn window(&self) -> u64 {
        match self.limit {
            None => WINDOW,
            Some(rate) => (rate / 4 / self.lines.len().max(1) as u64).clamp(WINDOW_LIMITED_MIN, WINDOW),
        }
    }

    /// A connection, of which `left` bytes may be read already.
    pub(crate) fn open(&mut self, conn: ConnId, torrent: TorrentId, left: u64) {
        self.lines.insert(conn, Line { torrent, left, lent: 0 });
        self.used(conn, 0);
    }

    /// A stream, which we open ourselves; and how much of it may be read at once. Within a limit there may be many short
    /// ones: each waits its turn.
    pub(crate) fn begin(&mut self, conn: ConnId, torrent: TorrentId) -> u64 {
        let left = if self.limit.is_some() { 0 } else { CREDIT };
        self.open(conn, torrent, left);
        self.streams += 1;
        left
    }

    /// The torrent of a connection.
    pub(crate) fn owner(&self, conn: ConnId) -> Option<TorrentId> {
        self.lines.get(conn).map(|line| line.torrent)
    }

    /// Connections that are no streams.
    pub(crate) fn connections(&self) -> usize {
        self.lines.len() - self.streams
    }

    /// True if there was such a connection. What was not read of it may be read from others.
    pub(crate) fn close(&mut self, conn: ConnId) -> bool {
        self.waiting.remove(&conn);
        let line = self.lines.remove(conn);
        self.streams -= usize::from(line.is_some() && is_stream(conn));
        self.lease.give_back(line.map_or(0, |line| line.left.min(line.lent)));
        line.is_some()
    }

    /// Bytes were read.
    pub(crate) fn used(&mut self, conn: ConnId, bytes: u64) {
        let half = self.window() / 2;
        if let Some(line) = self.lines.get_mut(conn) {
            line.left = line.left.saturating_sub(bytes);
            if line.left <= half {
                self.waiting.insert(conn);
            }
        }
    }

    /// Bytes that came after their connection was closed, whose credit others have got already.
    pub(crate) fn late(&mut self, bytes: u64) {
        self.lease.take(bytes);
    }

    /// What waits for the disk in one torrent has changed.
    pub(crate) fn backlog(&mut self, before: u64, after: u64) {
        self.backlog = (self.backlog + after).saturating_sub(before);
    }

    /// More may be read within the limit.
    pub(crate) fn lend(&mut self, bytes: u64) {
        self.lease.lend(bytes);
    }

    /// True if the gate has to be asked for a lease now.
    pub(crate) fn must_ask(&mut self) -> bool {
        self.lease.must_ask()
    }

    /// More would be read now, but for the limit.
    pub(crate) fn waits_for_limit(&self) -> bool {
        !self.waiting.is_empty() && self.lease.is_wanting()
    }

    /// What is granted now: in turn, as far as limit and disk allow.
    pub(crate) fn grant(&mut self) -> Vec<(ConnId, u64)> {
        let mut granted = Vec::new();
        if self.waiting.is_empty() || self.backlog >= self.backlog_max {
            return granted;
        }
        let window = self.window();
        let behind = self.waiting.range((std::ops::Bound::Excluded(self.last), std::ops::Bound::Unbounded));
        let order: Vec<ConnId> = behind.chain(self.waiting.range(..=self.last)).copied().collect();
        for conn in order {
            let Some(line) = self.lines.get_mut(conn) else { continue };
            let want = window.saturating_sub(line.left);
            if self.lease.left() < want.min(WINDOW_LIMITED_MIN) {
                self.lease.wish();
                break;
            }
            let bytes = want.min(self.lease.left());
            self.lease.take(bytes);
            line.left += bytes;
            line.lent += bytes;
            if line.left > window / 2 {
                self.waiting.remove(&conn);
            }
            self.last = conn;
            if bytes > 0 {
                granted.push((conn, bytes));
            }
        }
        granted
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
    use crate::STREAMS;

    const T: TorrentId = TorrentId(1);

    #[test]
    fn the_disk_holds_back_and_lets_go() {
        let mut c = Credits::new(None, 1000);
        c.open(ConnId(1), T, 100);
        c.backlog(0, 1000);
        assert!(c.grant().is_empty());
        c.backlog(1000, 999);
        assert_eq!(c.grant(), [(ConnId(1), WINDOW - 100)]);
        assert!(c.grant().is_empty(), "nobody waits");
        c.used(ConnId(1), WINDOW / 2);
        assert_eq!(c.grant(), [(ConnId(1), WINDOW / 2)]);
        assert!(!c.must_ask());
    }

    #[test]
    fn a_limit_is_shared_and_kept() {
        let rate = 100_000;
        let mut c = Credits::new(Some(rate), 1000);
        for i in 0..4 {
            c.open(ConnId(i), T, 0);
        }
        let (mut sums, mut lent) = ([0; 4], 0);
        for _ in 0..250 {
            assert!(c.grant().is_empty() && c.must_ask() && !c.must_ask(), "asked for once");
            assert!(c.waits_for_limit());
            c.lend(4096);
            assert!(!c.waits_for_limit());
            lent += 4096;
            for (conn, bytes) in c.grant() {
                sums[conn.index()] += bytes;
                c.used(conn, bytes);
            }
        }
        assert_eq!(sums.iter().sum::<u64>(), lent);
        assert!(sums.iter().all(|s| (200_000..320_000).contains(s)), "{sums:?}");
    }

    #[test]
    fn a_limit_is_kept_however_many_come_and_go() {
        let mut c = Credits::new(Some(100_000), 1000);
        let (mut read, mut lent) = (0, 0);
        for i in 0..1_000 {
            let conn = ConnId(STREAMS + i);
            let mut may = c.begin(conn, T);
            may += c.grant().iter().map(|(_, bytes)| bytes).sum::<u64>();
            if c.must_ask() {
                c.lend(4096);
                lent += 4096;
                may += c.grant().iter().map(|(_, bytes)| bytes).sum::<u64>();
            }
            // Some are read as far as may be, of others next to nothing.
            let bytes = if i % 3 == 0 { may } else { 10 };
            c.used(conn, bytes);
            read += bytes;
            assert!(c.close(conn) && bytes <= may);
        }
        assert!((read..=read + 8192).contains(&lent), "{read} were read, and {lent} lent");
    }
}
