//! A server: what of the plan it has, and whether it may be asked.

use super::trial::Trial;
use crate::http::HttpSource;
use crate::pieces::{PeerSlot, Pieces};
use crate::rate::Rate;
use base::{Bitfield, Geometry, Instant, PieceIndex};
use std::time::Duration;

/// The first wait after a failure, and the longest.
const WAIT_MIN: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(60);
/// So many things in a row may be missing; after each one more, the server is left alone for this time. It stays short: behind a
/// thousand that a server lacks may be those that nobody else has.
const MISSES_FREE: u32 = 2;
const MISS_WAIT: Duration = Duration::from_secs(1);
/// A server that has never answered is tried so often, which takes a quarter of a minute, before nothing is hoped of it any more. It is
/// still tried while others go on.
const UNREACHED_MAX: u32 = 5;

pub(super) struct Server {
    pub(super) source: HttpSource,
    /// All of its lanes, for picker and blame.
    pub(super) slot: PeerSlot,
    /// What of the plan it has; none before that is known.
    pub(super) has: Pieces,
    pub(super) lanes_wanted: u8,
    pub(super) trial: Trial,
    /// Not to be asked before.
    pub(super) wait: Instant,
    pub(super) failures: u32,
    /// How often it could not be reached, in a row.
    pub(super) unreached: u32,
    /// What it did not have, in a row.
    pub(super) misses: u32,
    pub(super) why: Option<String>,
    pub(super) dropped: bool,
    pub(super) down: Rate,
    pub(super) given: i64,
}

impl Server {
    pub(super) fn new(source: HttpSource, slot: PeerSlot, has: Pieces) -> Self {
        Server {
            source,
            slot,
            has,
            lanes_wanted: 1,
            trial: Trial::RESTED,
            wait: Instant::ZERO,
            failures: 0,
            unreached: 0,
            misses: 0,
            why: None,
            dropped: false,
            down: Rate::default(),
            given: 0,
        }
    }

    pub(super) fn may_be_asked(&self, now: Instant) -> bool {
        !self.dropped && self.wait <= now && !self.has.is_none()
    }

    /// Something went wrong: it is left alone for a while.
    pub(super) fn fail(&mut self, now: Instant, at_least: Duration, why: String) {
        let mut wait = at_least;
        // What breaks several lanes at once is one failure.
        if self.wait <= now {
            wait = wait.max(WAIT_MIN.saturating_mul(1 << self.failures.min(6)).min(WAIT_MAX));
            self.failures += 1;
        }
        self.wait = self.wait.max(now + wait);
        self.why = Some(why);
    }

    /// It could not be reached, or the connection broke.
    pub(super) fn broke(&mut self, now: Instant, why: String) {
        self.unreached += u32::from(self.wait <= now);
        self.fail(now, Duration::ZERO, why);
    }

    /// Nothing has ever come from it in this run, and it was tried often enough.
    pub(super) fn is_hopeless(&self) -> bool {
        self.given == 0 && self.unreached >= UNREACHED_MAX
    }

    /// It does not have what it was asked for, perhaps after it has `brought` something else.
    pub(super) fn miss(&mut self, now: Instant, brought: bool, why: String) {
        self.misses = if brought { 1 } else { self.misses + 1 };
        if self.misses > MISSES_FREE {
            self.wait = self.wait.max(now + MISS_WAIT);
        }
        self.why = Some(why);
    }

    /// It does not have what lies at `byte`: the part of the server's, or the file. Says how many pieces are left.
    pub(super) fn lose(&mut self, plan: &base::Plan, byte: u64) -> u32 {
        let g = &plan.geometry;
        let (from, end) = self.source.unit(plan, byte);
        let last = end.max(from + 1).min(g.total()).saturating_sub(1);
        let (Some(first), Some(last)) = (g.piece_at(from), g.piece_at(last)) else { return 0 };
        for piece in first.0..=last.0 {
            self.has.clear(PieceIndex(piece), g.piece_count());
        }
        self.has.count(g.piece_count())
    }
}

impl HttpSource {
    /// What is got with one request: the part in which this byte lies, where the server has parts; else the file. Where it begins,
    /// and where it ends.
    pub(super) fn unit(&self, plan: &base::Plan, byte: u64) -> (u64, u64) {
        let part =
            self.parts.iter().copied().find(|(offset, len)| (*offset..offset.saturating_add(*len)).contains(&byte));
        let file = || plan.layout.spans(byte, 1).next().map(|s| &plan.layout.files()[s.file.index()]);
        let (from, len) = part.or_else(|| file().map(|f| (f.offset, f.len))).unwrap_or((0, u64::MAX));
        (from, from.saturating_add(len).min(plan.geometry.total()))
    }
}

/// The pieces that lie whole in what a server has.
pub(super) fn pieces_of(source: &HttpSource, g: &Geometry) -> Pieces {
    if source.parts.is_empty() {
        return Pieces::All;
    }
    let mut parts = source.parts.clone();
    parts.sort_unstable();
    // Parts that follow each other are one.
    let mut joined: Vec<(u64, u64)> = Vec::new();
    for (offset, len) in parts {
        let end = offset.saturating_add(len);
        match joined.last_mut().filter(|(_, last)| *last >= offset) {
            Some((_, last)) => *last = (*last).max(end),
            None => joined.push((offset, end)),
        }
    }
    let mut bits = Bitfield::new(g.piece_count());
    let length = u64::from(g.piece_length());
    for (from, to) in joined {
        let first = from.div_ceil(length);
        let last = if to >= g.total() { u64::from(g.piece_count()) } else { to / length };
        for piece in first..last.min(u64::from(g.piece_count())) {
            bits.set(piece as u32);
        }
    }
    Pieces::from_bitfield(bits)
}
