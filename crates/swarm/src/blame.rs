//! Who sent a bad block.
//!
//! A piece that fails its hash says that some block is bad, not which. If one supplier sent all of it, that one did it.
//! Otherwise every block is remembered with its sender and a digest, the piece is fetched again, and once it is good
//! whoever sent a block that differs from the good one is found. Until then its senders are suspects, and suspects get
//! whole pieces alone, so that the next bad one has one culprit. Dropping only who completed the piece, as some clients
//! do, lets a liar off and punishes the innocent.
//!
//! Who and digest are the caller's own types: banned is who can't come back under another name (an address), and a
//! digest is whatever its disk makes of a block. Deliberately not here: banning itself, and v2, whose leaf hashes
//! name the bad block at once.

use base::{BlockIndex, PieceIndex};
use std::collections::{BTreeMap, BTreeSet};

/// A block as somebody sent it when its piece failed.
#[derive(Clone, Copy, Debug)]
struct Sent<W, D> {
    block: BlockIndex,
    who: W,
    digest: D,
}

/// What follows from a checked piece.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict<W> {
    /// These sent bad data, for certain.
    pub ban: Vec<W>,
    /// These may have.
    pub suspects: Vec<W>,
    /// These were suspects, and are no longer.
    pub cleared: Vec<W>,
}

impl<W> Default for Verdict<W> {
    fn default() -> Self {
        Verdict { ban: Vec::new(), suspects: Vec::new(), cleared: Vec::new() }
    }
}

/// Failed pieces, who sent what of them, and who is suspected.
#[derive(Clone, Debug)]
pub struct Blame<W, D> {
    /// By piece; in one piece by block, then in the order of the failures.
    failed: BTreeMap<PieceIndex, Vec<Sent<W, D>>>,
    suspects: BTreeSet<W>,
    /// Blocks remembered.
    blocks: usize,
}

impl<W: Copy + Ord, D: Copy + Eq> Default for Blame<W, D> {
    fn default() -> Self {
        Self::new()
    }
}

impl<W: Copy + Ord, D: Copy + Eq> Blame<W, D> {
    /// Most blocks remembered; beyond it the piece that holds the most of them is forgotten, and its senders remain suspects.
    pub const BLOCKS_MAX: usize = 16 * 1024;
    /// Most suspects; beyond it nobody else becomes one.
    pub const SUSPECTS_MAX: usize = 1024;

    /// Nobody did anything.
    pub fn new() -> Self {
        Blame { failed: BTreeMap::new(), suspects: BTreeSet::new(), blocks: 0 }
    }

    /// `piece` is bad. For each block: who sent it (None: nobody known, it was on disk), and its digest.
    pub fn failed(&mut self, piece: PieceIndex, blocks: &[(Option<W>, D)]) -> Verdict<W> {
        let mut verdict = Verdict::default();
        let senders: BTreeSet<W> = blocks.iter().filter_map(|(who, _)| *who).collect();
        if let (Some(only), 1) = (senders.first().copied(), senders.len())
            && blocks.iter().all(|(who, _)| who.is_some())
        {
            self.ban(only, &mut verdict);
            return verdict;
        }
        for (i, (who, digest)) in blocks.iter().enumerate() {
            if let Some(who) = *who {
                let block = BlockIndex(i as u32);
                let records = self.failed.entry(piece).or_default();
                match records.iter().find(|sent| sent.block == block && sent.who == who).map(|sent| sent.digest) {
                    // It sent the same block in two ways: one of them is bad.
                    Some(before) if before != *digest => self.ban(who, &mut verdict),
                    Some(_) => {}
                    None => {
                        records.push(Sent { block, who, digest: *digest });
                        self.blocks += 1;
                    }
                }
            }
        }
        for who in senders {
            if !verdict.ban.contains(&who) && self.suspects.len() < Self::SUSPECTS_MAX && self.suspects.insert(who) {
                verdict.suspects.push(who);
            }
        }
        self.shrink();
        verdict
    }

    /// True if nobody is suspected of anything: [`Blame::passed`] has nothing to do, for any piece.
    pub fn is_quiet(&self) -> bool {
        self.failed.is_empty() && self.suspects.is_empty()
    }

    /// True if `piece` failed before: digests are needed when it passes.
    pub fn wants_digests(&self, piece: PieceIndex) -> bool {
        self.failed.contains_key(&piece)
    }

    /// `piece` is good. `blocks` are as for [`Blame::failed`], with the digests of the good blocks; the digests matter only if
    /// [`Blame::wants_digests`] said so.
    pub fn passed(&mut self, piece: PieceIndex, blocks: &[(Option<W>, D)]) -> Verdict<W> {
        let mut verdict = Verdict::default();
        if self.is_quiet() {
            return verdict;
        }
        let records = self.failed.remove(&piece).unwrap_or_default();
        self.blocks -= records.len();
        for sent in &records {
            if blocks.get(sent.block.index()).is_some_and(|(_, good)| *good != sent.digest) {
                self.ban(sent.who, &mut verdict);
            }
        }
        // Who stood in this record and was right, or sent a whole good piece alone, is clear unless another record is open.
        let mut cleared: BTreeSet<W> = records.iter().map(|sent| sent.who).collect();
        if let Some((Some(first), _)) = blocks.first()
            && blocks.iter().all(|(who, _)| *who == Some(*first))
        {
            cleared.insert(*first);
        }
        for who in cleared {
            let open = self.failed.values().flatten().any(|sent| sent.who == who);
            if !open && self.suspects.remove(&who) {
                verdict.cleared.push(who);
            }
        }
        verdict
    }

    /// True if `who` had a part in a bad piece and was not cleared.
    pub fn is_suspect(&self, who: W) -> bool {
        self.suspects.contains(&who)
    }

    /// Forgets `who`: it was banned for another reason.
    pub fn forget(&mut self, who: W) {
        self.suspects.remove(&who);
        for records in self.failed.values_mut() {
            records.retain(|sent| sent.who != who);
        }
        self.failed.retain(|_, records| !records.is_empty());
        self.blocks = self.failed.values().map(Vec::len).sum();
    }

    /// Forgets `piece`: it is skipped, or no longer fetched.
    pub fn forget_piece(&mut self, piece: PieceIndex) {
        self.blocks -= self.failed.remove(&piece).map_or(0, |records| records.len());
    }

    fn ban(&mut self, who: W, verdict: &mut Verdict<W>) {
        if !verdict.ban.contains(&who) {
            verdict.ban.push(who);
        }
        self.forget(who);
    }

    fn shrink(&mut self) {
        while self.blocks > Self::BLOCKS_MAX {
            let Some(largest) = self.failed.iter().max_by_key(|(_, records)| records.len()).map(|(piece, _)| *piece)
            else {
                return;
            };
            self.forget_piece(largest);
        }
    }

    /// What is wrong, if anything.
    pub fn check_invariants(&self) -> Result<(), String> {
        let blocks: usize = self.failed.values().map(Vec::len).sum();
        if blocks != self.blocks || blocks > Self::BLOCKS_MAX {
            return Err(format!("{blocks} blocks remembered, counted {}", self.blocks));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PIECE: PieceIndex = PieceIndex(7);

    fn verdict(ban: &[u8], suspects: &[u8], cleared: &[u8]) -> Verdict<u8> {
        Verdict { ban: ban.to_vec(), suspects: suspects.to_vec(), cleared: cleared.to_vec() }
    }

    #[test]
    fn the_only_sender_is_banned_at_once() {
        let mut blame = Blame::new();
        assert_eq!(blame.failed(PIECE, &[(Some(1), 10), (Some(1), 11)]), verdict(&[1], &[], &[]));
        assert!(!blame.wants_digests(PIECE) && !blame.is_suspect(1));
        // Unless part of the piece was on disk: the disk may have lied.
        assert_eq!(blame.failed(PIECE, &[(Some(1), 10), (None, 11)]), verdict(&[], &[1], &[]));
    }

    #[test]
    fn who_sent_what_differs_from_the_good_piece_is_banned_and_the_others_cleared() {
        let mut blame = Blame::new();
        let bad = [(Some(1), 10), (Some(2), 66), (Some(3), 12)];
        assert_eq!(blame.failed(PIECE, &bad), verdict(&[], &[1, 2, 3], &[]));
        assert!(blame.wants_digests(PIECE) && blame.is_suspect(2));
        let good = [(Some(3), 10), (Some(3), 11), (Some(1), 12)];
        assert_eq!(blame.passed(PIECE, &good), verdict(&[2], &[], &[1, 3]));
        assert!(!blame.wants_digests(PIECE));
        assert_eq!(blame.check_invariants(), Ok(()));
    }

    #[test]
    fn a_second_failure_adds_to_the_first() {
        let mut blame = Blame::new();
        blame.failed(PIECE, &[(Some(1), 10), (Some(2), 66)]);
        // Another liar, and the first one again, in another way.
        assert_eq!(blame.failed(PIECE, &[(Some(2), 10), (Some(3), 77)]), verdict(&[], &[3], &[]));
        assert_eq!(blame.failed(PIECE, &[(Some(1), 10), (Some(2), 67)]), verdict(&[2], &[], &[]));
        assert_eq!(blame.passed(PIECE, &[(Some(1), 10), (Some(1), 11)]), verdict(&[3], &[], &[1]));
    }

    #[test]
    fn a_suspect_stays_one_while_another_bad_piece_is_open() {
        let mut blame = Blame::new();
        let other = PieceIndex(8);
        blame.failed(PIECE, &[(Some(1), 10), (Some(2), 66)]);
        blame.failed(other, &[(Some(1), 20), (Some(3), 66)]);
        assert_eq!(blame.passed(PIECE, &[(Some(4), 10), (Some(4), 11)]), verdict(&[2], &[], &[]));
        assert!(blame.is_suspect(1));
        assert_eq!(blame.passed(other, &[(Some(4), 20), (Some(4), 21)]), verdict(&[3], &[], &[1]));
    }

    #[test]
    fn a_good_piece_alone_clears_whose_record_was_dropped() {
        let mut blame = Blame::new();
        blame.failed(PIECE, &[(Some(1), 10), (Some(2), 66)]);
        blame.forget_piece(PIECE);
        assert!(blame.is_suspect(1));
        assert_eq!(blame.passed(PieceIndex(9), &[(Some(1), 0), (Some(2), 0)]), verdict(&[], &[], &[]));
        assert_eq!(blame.passed(PieceIndex(9), &[(Some(1), 0), (Some(1), 0)]), verdict(&[], &[], &[1]));
    }

    #[test]
    fn memory_is_bounded() {
        let mut blame = Blame::new();
        for piece in 0..200 {
            let blocks: Vec<(Option<u32>, u64)> = (0..128).map(|i| (Some(piece * 128 + i), 0)).collect();
            blame.failed(PieceIndex(piece), &blocks);
            assert_eq!(blame.check_invariants(), Ok(()));
        }
        assert!(blame.blocks <= Blame::<u32, u64>::BLOCKS_MAX);
        assert_eq!(blame.suspects.len(), Blame::<u32, u64>::SUSPECTS_MAX);
        // Refetching one bad piece again and again from ever new liars stays bounded too.
        for round in 0..2_000 {
            let blocks: Vec<(Option<u32>, u64)> = (0..128).map(|i| (Some(round * 2 + i % 2), 1)).collect();
            blame.failed(PIECE, &blocks);
            assert_eq!(blame.check_invariants(), Ok(()));
        }
    }
}
