//! What a stream of an HTTP server fetches: blocks that follow each other, since one request brings many of them in order.
//!
//! A stream begins where the longest stretch is that nobody was asked for (as BEP 19 advises), and claims blocks as it comes
//! near them, so that what it has not claimed stays free for others. Where another stream is about to enter a stretch, a new one
//! begins so far behind it that both end together.

use super::cell::State;
use super::partial::{Owner, Partial};
use super::{Order, Picker, Priority};
use crate::picker::BlockState;
use crate::pieces::{PeerSlot, Pieces, ones_common};
use base::{BlockIndex, PieceIndex};
use std::cmp::Reverse;

/// Blocks that follow each other in the content, over the bounds of pieces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// The piece of the first.
    pub piece: PieceIndex,
    /// The first.
    pub block: BlockIndex,
    /// How many.
    pub blocks: u64,
}

/// For whom blocks are claimed.
#[derive(Clone, Copy, Debug)]
pub struct Claimant {
    /// As the picker knows it.
    pub slot: PeerSlot,
    /// It had a part in a bad piece: it works on pieces by itself, so that the next bad one has one culprit.
    pub alone: bool,
}

impl Claimant {
    /// May it have a part in this open piece?
    fn may_join(self, partial: &Partial) -> bool {
        match partial.owner {
            Owner::Solo(owner) => owner == self.slot,
            _ => !self.alone || partial.requested() == 0,
        }
    }
}

/// A stream that will go on with this block, if nobody else is asked for it before.
#[derive(Clone, Copy, Debug)]
pub struct Rival {
    /// The piece of the block.
    pub piece: PieceIndex,
    /// The block.
    pub block: BlockIndex,
    /// Bytes a second.
    pub rate: u64,
}

impl Picker {
    /// The best stretch of blocks that nobody was asked for, among `pieces`, for a stream of `rate` bytes a second: the longest of
    /// those that are wanted most and that the fewest others have, or, in order, the first. `holders` says how many others that
    /// are as good have a piece.
    pub fn find_stretch(
        &self,
        us: Claimant,
        pieces: &Pieces,
        holders: impl Fn(PieceIndex) -> u32,
        rivals: &[Rival],
        rate: u64,
    ) -> Option<Stretch> {
        let mut best: Option<((Priority, Reverse<u32>), u64, Stretch)> = None;
        let in_order = self.order == Order::Sequential;
        let is_free = |at: usize, state| state == BlockState::Open && us.may_join(&self.open[at]);
        let class = |piece| (self.priority(piece), Reverse(if in_order { 0 } else { holders(piece) }));
        self.stretches(
            pieces,
            class,
            true,
            |at, _, state| is_free(at, state),
            |stretch, class| {
                let rival = rivals.iter().find(|r| (r.piece, r.block) == (stretch.piece, stretch.block));
                let stretch = match rival {
                    Some(rival) => self.share(stretch, rival.rate, rate)?,
                    None => stretch,
                };
                let better = match &best {
                    None => true,
                    Some((best, ..)) if in_order => class.0 > best.0,
                    Some((best, blocks, _)) => (class, stretch.blocks) > (*best, *blocks),
                };
                if better {
                    best = Some((class, stretch.blocks, stretch));
                }
                Some(())
            },
        );
        best.map(|(.., stretch)| stretch)
    }

    /// A stretch of blocks that one other was asked for, and `peer` was not, for the end game: of the longest one the second half, which its
    /// stream will reach last.
    pub fn find_asked(&self, pieces: &Pieces, peer: PeerSlot) -> Option<Stretch> {
        let mut best: Option<Stretch> = None;
        let is_asked = |at: usize, block: BlockIndex, state| match state {
            BlockState::Requested(_) if matches!(self.open[at].owner, Owner::Solo(_)) => false,
            BlockState::Requested(first) => first != peer && self.open[at].copies.iter().all(|(b, _)| *b != block),
            _ => false,
        };
        self.stretches(
            pieces,
            |_| (),
            false,
            is_asked,
            |stretch, ()| {
                if best.is_none_or(|best| stretch.blocks > best.blocks) {
                    best = Some(stretch);
                }
                Some(())
            },
        );
        best.map(|stretch| self.skip(stretch, stretch.blocks / 2))
    }

    /// Asks for up to `n` blocks from this one on, as far as nobody was asked for them; appends them to `out`. Pieces that are opened
    /// for it are its own.
    pub fn claim(
        &mut self,
        us: Claimant,
        (piece, block): (PieceIndex, BlockIndex),
        n: usize,
        out: &mut Vec<(PieceIndex, BlockIndex)>,
    ) {
        let goal = out.len() + n;
        let (mut piece, mut from) = (piece, block);
        while out.len() < goal && self.want.has(piece.0) {
            let at = match self.open_at(piece) {
                Some(at) if !us.may_join(&self.open[at]) => break,
                Some(at) => at,
                None if from.0 < self.data_blocks(piece) => self.open_piece(piece, Owner::Whole(us.slot)),
                None => break,
            };
            if us.alone {
                self.open[at].owner = Owner::Solo(us.slot);
            }
            if !self.open[at].take_run(us.slot, from, goal - out.len(), out) {
                break;
            }
            (piece, from) = (PieceIndex(piece.0 + 1), BlockIndex(0));
        }
    }

    /// Asks `peer`, too, for up to `n` blocks from this one on, as far as one other was asked for them.
    pub fn claim_asked(
        &mut self,
        peer: PeerSlot,
        (piece, block): (PieceIndex, BlockIndex),
        n: usize,
        out: &mut Vec<(PieceIndex, BlockIndex)>,
    ) {
        let goal = out.len() + n;
        let (mut piece, mut from) = (piece, block);
        while let Some(at) = self.open_at(piece).filter(|_| self.want.has(piece.0)) {
            let partial = &mut self.open[at];
            for at in from.index()..partial.blocks.len() {
                let block = BlockIndex(at as u32);
                let asked = matches!(partial.blocks[at].state(), BlockState::Requested(first) if first != peer);
                if out.len() == goal || !asked || partial.copies.iter().any(|(b, _)| *b == block) {
                    return;
                }
                partial.copies.push((block, peer));
                out.push((piece, block));
            }
            (piece, from) = (PieceIndex(piece.0 + 1), BlockIndex(0));
        }
    }

    /// Visits the stretches of wanted blocks of one class that pass, in order; `fresh` says whether those of pieces that nobody has
    /// touched do.
    fn stretches<C: Copy + PartialEq>(
        &self,
        pieces: &Pieces,
        class: impl Fn(PieceIndex) -> C,
        fresh: bool,
        passes: impl Fn(usize, BlockIndex, BlockState) -> bool,
        mut visit: impl FnMut(Stretch, C) -> Option<()>,
    ) {
        let bits = match pieces {
            Pieces::None => return,
            Pieces::All => None,
            Pieces::Some(bits) => Some(bits),
        };
        // The stretch that goes on, its class, and the piece that it goes on in.
        let mut run: Option<(Stretch, C, u32)> = None;
        for piece in ones_common(&self.want, bits, self.first_wanted).map(PieceIndex) {
            let (cell, class) = (self.cells[piece.index()], class(piece));
            if run.is_some_and(|(_, of, next)| next != piece.0 || of != class)
                && let Some((stretch, class, _)) = run.take()
            {
                visit(stretch, class);
            }
            let take = |block: u32, count: u32, run: &mut Option<(Stretch, C, u32)>| {
                let begins = || Stretch { piece, block: BlockIndex(block), blocks: 0 };
                let (stretch, _, next) = run.get_or_insert_with(|| (begins(), class, piece.0));
                stretch.blocks += u64::from(count);
                *next = piece.0 + 1;
            };
            let whole = self.geometry.block_count(piece);
            match cell.state() {
                State::Fresh if fresh => {
                    let data = self.data_blocks(piece);
                    take(0, data, &mut run);
                    if data < whole
                        && let Some((stretch, class, _)) = run.take()
                    {
                        visit(stretch, class);
                    }
                }
                State::Open => {
                    let at = cell.place() as usize;
                    for block in 0..whole {
                        if passes(at, BlockIndex(block), self.open[at].blocks[block as usize].state()) {
                            take(block, 1, &mut run);
                        } else if let Some((stretch, class, _)) = run.take() {
                            visit(stretch, class);
                        }
                    }
                }
                _ => {}
            }
        }
        if let Some((stretch, class, _)) = run {
            visit(stretch, class);
        }
    }

    /// What is left of a stretch that another stream enters now for one that begins behind it. Where that is several pieces, at the
    /// beginning of one, so that few pieces come from two.
    fn share(&self, stretch: Stretch, theirs: u64, ours: u64) -> Option<Stretch> {
        // Whose rate is not known yet is as fast as the other.
        let (theirs, ours) = (theirs.max(1), if ours == 0 { theirs.max(1) } else { ours });
        let skip = u128::from(stretch.blocks) * u128::from(theirs) / (u128::from(theirs) + u128::from(ours));
        let skip = (skip as u64).clamp(1, stretch.blocks);
        let rest = self.skip(stretch, skip);
        let aligned = match rest.block.0 {
            0 => rest,
            at => {
                let to_next = u64::from(self.geometry.block_count(rest.piece) - at);
                if to_next < rest.blocks { self.skip(rest, to_next) } else { rest }
            }
        };
        (aligned.blocks > 0).then_some(aligned)
    }

    /// The stretch without its first `n` blocks.
    fn skip(&self, stretch: Stretch, n: u64) -> Stretch {
        let Stretch { mut piece, mut block, blocks } = stretch;
        let mut left = n.min(blocks);
        loop {
            let here = self.geometry.piece(piece.0).map_or(0, |p| self.geometry.block_count(p)).saturating_sub(block.0);
            if here == 0 || left < u64::from(here) {
                break;
            }
            left -= u64::from(here);
            (piece, block) = (PieceIndex(piece.0 + 1), BlockIndex(0));
        }
        Stretch { piece, block: BlockIndex(block.0 + left as u32), blocks: blocks - n.min(blocks) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Geometry;

    const A: PeerSlot = PeerSlot(1);
    const B: PeerSlot = PeerSlot(2);

    /// Ten pieces of four blocks, the last of two.
    fn picker() -> Picker {
        Picker::new(Geometry::new(38 * 16, 64, 16).expect("valid"), None)
    }

    fn us(slot: PeerSlot) -> Claimant {
        Claimant { slot, alone: false }
    }

    fn at(piece: u32, block: u32) -> (PieceIndex, BlockIndex) {
        (PieceIndex(piece), BlockIndex(block))
    }

    fn stretch(piece: u32, block: u32, blocks: u64) -> Option<Stretch> {
        Some(Stretch { piece: PieceIndex(piece), block: BlockIndex(block), blocks })
    }

    fn claim(
        p: &mut Picker,
        peer: PeerSlot,
        from: (PieceIndex, BlockIndex),
        n: usize,
    ) -> Vec<(PieceIndex, BlockIndex)> {
        let mut out = Vec::new();
        p.claim(us(peer), from, n, &mut out);
        p.check_invariants().expect("whole");
        out
    }

    #[test]
    fn a_stream_claims_as_it_goes_and_another_begins_behind_it() {
        let mut p = picker();
        assert_eq!(p.find_stretch(us(B), &Pieces::All, |_| 0, &[], 0), stretch(0, 0, 38));
        assert_eq!(claim(&mut p, A, at(0, 0), 6), [at(0, 0), at(0, 1), at(0, 2), at(0, 3), at(1, 0), at(1, 1)]);
        let rival = Rival { piece: PieceIndex(1), block: BlockIndex(2), rate: 100 };
        // 32 blocks are left, half of them for each, from the beginning of a piece on.
        assert_eq!(p.find_stretch(us(B), &Pieces::All, |_| 0, &[rival], 0), stretch(6, 0, 14));
        assert_eq!(p.find_stretch(us(B), &Pieces::All, |_| 0, &[rival], 100), stretch(6, 0, 14));
        assert_eq!(p.find_stretch(us(B), &Pieces::All, |_| 0, &[rival], 300), stretch(4, 0, 22));
        assert_eq!(
            p.find_stretch(us(B), &Pieces::All, |_| 0, &[Rival { rate: 0, ..rival }], 100_000),
            stretch(2, 0, 30),
            "it stands still"
        );
        assert_eq!(p.find_stretch(us(B), &Pieces::All, |_| 0, &[], 0), stretch(1, 2, 32), "nobody comes there");
        assert_eq!(claim(&mut p, B, at(6, 0), 4).len(), 4);
        // The first goes on to where the other began.
        assert_eq!(claim(&mut p, A, at(1, 2), 100).len(), 18);
        assert_eq!(claim(&mut p, A, at(6, 0), 100).len(), 0);
        assert_eq!(p.find_stretch(us(B), &Pieces::All, |_| 0, &[], 0), stretch(7, 0, 10));
    }

    #[test]
    fn what_is_had_skipped_or_not_there_ends_a_stretch() {
        let mut p = picker();
        p.piece_good(PieceIndex(3));
        p.set_priority(PieceIndex(7), Priority::Skip);
        p.set_priority(PieceIndex(9), Priority::High);
        assert_eq!(p.find_stretch(us(B), &Pieces::All, |_| 0, &[], 0), stretch(9, 0, 2), "wanted most");
        p.piece_good(PieceIndex(9));
        assert_eq!(p.find_stretch(us(B), &Pieces::All, |_| 0, &[], 0), stretch(0, 0, 12), "the first of the longest");
        p.set_padding(PieceIndex(1), 40);
        assert_eq!(p.find_stretch(us(B), &Pieces::All, |_| 0, &[], 0), stretch(4, 0, 12), "padding is not asked for");
        assert_eq!(claim(&mut p, A, at(0, 2), 100), [at(0, 2), at(0, 3), at(1, 0), at(1, 1)]);
        let mut some = Pieces::None;
        some.set(PieceIndex(5), 10);
        some.set(PieceIndex(8), 10);
        assert_eq!(p.find_stretch(us(B), &some, |_| 0, &[], 0), stretch(5, 0, 4));
        let rare = |piece: PieceIndex| if piece.0 == 8 { 0 } else { 3 };
        assert_eq!(p.find_stretch(us(B), &some, rare, &[], 0), stretch(8, 0, 4), "nobody else has it");
        p.set_order(Order::Sequential);
        assert_eq!(p.find_stretch(us(B), &Pieces::All, |_| 0, &[], 0), stretch(0, 0, 2), "in order");
        assert_eq!(p.find_stretch(us(B), &Pieces::None, |_| 0, &[], 0), None);
    }

    #[test]
    fn the_end_game_takes_the_half_that_comes_last_and_no_third_copy() {
        let mut p = picker();
        claim(&mut p, A, at(0, 0), 38);
        assert_eq!(p.find_stretch(us(B), &Pieces::All, |_| 0, &[], 0), None);
        assert_eq!(p.find_asked(&Pieces::All, A), None, "its own");
        assert_eq!(p.find_asked(&Pieces::All, B), stretch(4, 3, 19));
        let mut out = Vec::new();
        p.claim_asked(B, at(4, 3), 3, &mut out);
        assert_eq!(out, [at(4, 3), at(5, 0), at(5, 1)]);
        out.clear();
        p.claim_asked(PeerSlot(3), at(4, 3), 3, &mut out);
        assert_eq!(out, []);
        p.check_invariants().expect("whole");
        assert_eq!(p.asked(), 41);
    }

    #[test]
    fn a_lone_block_before_a_stream_is_left_to_it() {
        let mut p = picker();
        claim(&mut p, A, at(0, 0), 37);
        let rival = Rival { piece: PieceIndex(9), block: BlockIndex(1), rate: 1 };
        assert_eq!(p.find_stretch(us(B), &Pieces::All, |_| 0, &[rival], 1_000), None);
    }

    #[test]
    fn a_suspect_works_alone() {
        let mut p = picker();
        claim(&mut p, A, at(0, 0), 2);
        let suspect = Claimant { slot: B, alone: true };
        assert_eq!(p.find_stretch(suspect, &Pieces::All, |_| 0, &[], 0), stretch(1, 0, 34), "not beside another");
        let mut out = Vec::new();
        p.claim(suspect, at(1, 0), 2, &mut out);
        assert_eq!(out, [at(1, 0), at(1, 1)]);
        assert_eq!(claim(&mut p, A, at(0, 2), 100), [at(0, 2), at(0, 3)], "nobody else has a part in it");
        assert_eq!(p.find_stretch(us(A), &Pieces::All, |_| 0, &[], 0), stretch(2, 0, 30));
        assert_eq!(p.find_asked(&Pieces::All, A), None);
        out.clear();
        p.claim(suspect, at(1, 2), 100, &mut out);
        assert_eq!(out.len(), 36 - 4);
        p.check_invariants().expect("whole");
    }
}
