//! A lane: one stream of a server, and the blocks that it has claimed.

use super::Server;
use crate::picker::{Claimant, Rival, Stretch};
use crate::rate::Rate;
use crate::torrent::Open;
use base::{BlockIndex, Geometry, Instant, Payload, PieceIndex};
use std::collections::VecDeque;

/// A lane claims what comes within this time at its rate.
const CLAIM_AHEAD_MS: u64 = 500;
/// But no less than this, in bytes, and no less than two blocks.
pub(super) const CLAIM_MIN: u64 = 128 << 10;
/// Nor more.
const CLAIM_MAX: u64 = 64 << 20;

/// A stream under way.
pub(super) struct Lane<P> {
    pub(super) server: usize,
    pub(super) stream: u64,
    /// Where it began in the content, where `buf` begins, and where what was asked for ends.
    pub(super) from: u64,
    pub(super) at: u64,
    pub(super) end: u64,
    /// What came of the next block.
    pub(super) buf: P,
    /// What is asked for, in the order in which it will come.
    pub(super) claims: VecDeque<Claim>,
    /// Where the claims end.
    pub(super) claimed: u64,
    /// Its claims are copies of what others were asked for.
    pub(super) copies: bool,
    /// It begins where a file or part begins, and passes what is not wanted.
    pub(super) from_start: bool,
    pub(super) down: Rate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) piece: PieceIndex,
    pub(super) block: BlockIndex,
    /// Nobody else was faster so far.
    pub(super) wanted: bool,
}

impl<P> Lane<P> {
    /// The wish for this block is gone, if there was one.
    pub(super) fn let_go(&mut self, piece: PieceIndex, block: BlockIndex) -> bool {
        let claim = self.claims.iter_mut().find(|c| c.wanted && c.piece == piece && c.block == block);
        claim.map(|c| c.wanted = false).is_some()
    }

    pub(super) fn has_wanted(&self) -> bool {
        self.claims.iter().any(|c| c.wanted)
    }
}

impl<P: Payload> Lane<P> {
    /// Where this stream will want to go on.
    pub(super) fn rival(&self, g: &Geometry, now: Instant) -> Option<Rival> {
        let (piece, block) = g.block_at(self.claimed).filter(|_| self.claimed < self.end)?;
        Some(Rival { piece, block, rate: self.down.per_second(now) })
    }

    /// Claims what will come soon.
    pub(super) fn claim_more(&mut self, server: &Server, open: &mut Open, now: Instant) {
        let g = open.plan.geometry;
        let ahead = self.down.per_second(now).saturating_mul(CLAIM_AHEAD_MS) / 1000;
        let ahead = ahead.clamp(CLAIM_MIN.max(2 * u64::from(g.block_size())), CLAIM_MAX);
        let until = self.at.saturating_add(ahead).min(self.end);
        // In batches: half of it has come before more is claimed.
        if self.claimed > self.at + ahead / 2 && !self.claims.is_empty() {
            return;
        }
        let us = Claimant { slot: server.slot, alone: open.blame.is_suspect(server.slot) };
        let mut found = Vec::new();
        while self.claimed < until {
            let Some((piece, block)) = g.block_at(self.claimed) else { break };
            let n = (until - self.claimed).div_ceil(u64::from(g.block_size())) as usize;
            found.clear();
            match self.copies {
                true => open.picker.claim_asked(server.slot, (piece, block), n, &mut found),
                false => open.picker.claim(us, (piece, block), n, &mut found),
            }
            for (piece, block) in &found {
                self.claims.push_back(Claim { piece: *piece, block: *block, wanted: true });
                self.claimed = behind(&g, *piece, *block);
            }
            match (found.is_empty(), self.from_start) {
                (false, _) => {}
                (true, false) => break,
                // It passes what is not wanted.
                (true, true) => self.claimed += u64::from(g.block_len(piece, block)),
            }
        }
    }
}

/// Blocks that a stream had claimed are free again.
pub(super) fn give_back<P>(open: &mut Option<Box<Open>>, server: &Server, lane: &Lane<P>) {
    let Some(open) = open else { return };
    for claim in lane.claims.iter().filter(|c| c.wanted) {
        open.picker.abandoned(claim.piece, claim.block, server.slot);
    }
}

/// The end of the block that ends here or after.
pub(super) fn block_end(g: &Geometry, byte: u64) -> u64 {
    let Some((piece, block)) = byte.checked_sub(1).and_then(|last| g.block_at(last)) else { return byte };
    behind(g, piece, block)
}

/// Up to where something is wanted of what lies between two bytes. None: nothing is.
pub(super) fn wanted_until(open: &Open, from: u64, end: u64) -> Option<u64> {
    let g = &open.plan.geometry;
    let (first, last) = (g.piece_at(from)?, g.piece_at(end.checked_sub(1)?)?);
    let last = (first.0..=last.0).rev().map(PieceIndex).find(|piece| open.picker.is_wanted(*piece))?;
    Some(end.min(g.piece_offset(last) + u64::from(g.piece_len(last))))
}

/// The first byte behind a block.
fn behind(g: &Geometry, piece: PieceIndex, block: BlockIndex) -> u64 {
    g.block_offset(piece, block) + u64::from(g.block_len(piece, block))
}

/// The first byte of a stretch, and the one behind it.
pub(super) fn bounds(g: &Geometry, stretch: Stretch) -> (u64, u64) {
    let from = g.block_offset(stretch.piece, stretch.block);
    let here = u64::from(g.block_count(stretch.piece) - stretch.block.0);
    if stretch.blocks <= here {
        let last = BlockIndex(stretch.block.0 + stretch.blocks as u32 - 1);
        return (from, behind(g, stretch.piece, last));
    }
    let rest = stretch.blocks - here;
    let per_piece = u64::from(g.block_count(PieceIndex(0)));
    let piece = PieceIndex(stretch.piece.0 + 1 + ((rest - 1) / per_piece) as u32);
    let last = BlockIndex(((rest - 1) % per_piece) as u32);
    (from, behind(g, piece, last))
}
