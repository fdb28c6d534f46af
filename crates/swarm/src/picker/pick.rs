//! What is asked for next.
//!
//! In this order, priority by priority: the piece that this peer works on, an open piece that it may join, a fresh piece,
//! an open piece of somebody else, and in the end game a block that somebody else was asked for.
//!
//! A fast peer gets whole pieces by itself: its requests stay contiguous, a bad piece has one culprit, and pieces are
//! finished early. Slow peers share open pieces, or each would hold one for minutes. A suspect always works alone. Where
//! that would leave a peer without work, it joins anyway, from the other end of the piece.

use super::buckets::Buckets;
use super::cell::{Priority, State};
use super::partial::{Owner, Partial};
use super::{Picker, class_of};
use crate::picker::BlockState;
use crate::pieces::{PeerSlot, Pieces, ones_common};
use base::{BlockIndex, PieceIndex, Rng};
use std::cmp::Reverse;

/// The order in which fresh pieces of one priority are opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Those that the fewest peers have, at random among equals; the first [`Picker::RANDOM_FIRST`] at random.
    #[default]
    RarestFirst,
    /// At random.
    Random,
    /// Ascending.
    Sequential,
}

/// How a peer works on a piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Affinity {
    /// Together with other peers: it is slow, or its rate is not known yet.
    #[default]
    Share,
    /// By itself: it needs under [`Picker::WHOLE_PIECE_SECS_MAX`] seconds for one.
    Whole,
    /// By itself, without help: it had a part in a bad piece.
    Suspect,
}

/// What the session knows that matters to a pick.
#[derive(Clone, Copy, Debug, Default)]
pub struct PickOpts<'a> {
    /// How the peer works on a piece.
    pub affinity: Affinity,
    /// The piece of the block that the peer was asked for last: makes the common case one look-up.
    pub last: Option<PieceIndex>,
    /// Blocks that the peer was asked for and did not send yet. A peer with plenty gets no part in the end game.
    pub outstanding: u32,
    /// Only these pieces: the peer chokes us, and allows them nevertheless (BEP 6).
    pub only: Option<&'a [PieceIndex]>,
}

impl Picker {
    /// So many pieces are picked at random before rarest first begins: a newcomer needs something to give, and a rare
    /// piece comes slowly.
    pub const RANDOM_FIRST: u32 = 4;
    /// A peer that needs less than this for a piece gets whole pieces.
    pub const WHOLE_PIECE_SECS_MAX: u64 = 20;
    /// In the end game so many peers at most are asked for one block.
    pub const END_GAME_COPIES_MAX: usize = 4;
    /// In the end game a peer is asked for another's block only while it has fewer than this outstanding. In the lab, 4 was
    /// slower than 1 and wasted three times as much: copies of blocks that were about to come fill the uplinks.
    pub const END_GAME_OUTSTANDING_MAX: u32 = 1;
    /// With more blocks than this in open pieces, those are finished before others are opened: 64 MiB.
    pub const OPEN_BLOCKS_MAX: u32 = 4096;

    /// Chooses up to `n` blocks to ask of `peer`, which has `pieces`, appends them to `out`, and marks them as asked for.
    pub fn pick(
        &mut self,
        peer: PeerSlot,
        pieces: &Pieces,
        n: usize,
        opts: PickOpts<'_>,
        rng: &mut Rng,
        out: &mut Vec<(PieceIndex, BlockIndex)>,
    ) {
        let goal = out.len() + n;
        let first = out.len();
        if let Some(only) = opts.only {
            self.pick_only(peer, pieces, only, goal, out);
            return;
        }
        if let Some(at) = opts.last.filter(|last| pieces.has(*last)).and_then(|last| self.open_at(last)) {
            let mine = rank(&self.open[at], peer, opts.affinity, false) == Some(0);
            if mine && self.want.has(self.open[at].piece.0) {
                self.open[at].take_front(peer, goal - out.len(), out);
            }
        }
        while out.len() < goal && self.want.count() > 0 {
            match self.next_source(peer, pieces, opts.affinity, rng) {
                Some(Source::Fresh(piece)) => {
                    let owner = match opts.affinity {
                        Affinity::Share => Owner::Shared,
                        Affinity::Whole => Owner::Whole(peer),
                        Affinity::Suspect => Owner::Solo(peer),
                    };
                    let at = self.open_piece(piece, owner);
                    self.open[at].take_front(peer, goal - out.len(), out);
                }
                Some(Source::Join(at)) => {
                    let partial = &mut self.open[at];
                    if partial.requested() == 0 && opts.affinity == Affinity::Whole {
                        partial.owner = Owner::Whole(peer);
                    }
                    partial.take_front(peer, goal - out.len(), out);
                }
                Some(Source::Help(at)) => self.open[at].take_back(peer, goal - out.len(), out),
                None => break,
            }
        }
        let busy = opts.outstanding.saturating_add((out.len() - first) as u32);
        let more = (goal - out.len()).min(Self::END_GAME_OUTSTANDING_MAX.saturating_sub(busy) as usize);
        if more > 0 && opts.affinity != Affinity::Suspect && self.is_end_game() {
            self.pick_copies(peer, pieces, more, rng, out);
        }
    }

    /// True once every block that is wanted, missing and somewhere to be had was asked for.
    pub fn is_end_game(&self) -> bool {
        let fresh = |buckets: &Buckets| buckets.len() > self.unavailable_end(buckets);
        let open = |p: &Partial| {
            p.open > 0 && self.want.has(p.piece.0) && i64::from(p.availability) + i64::from(self.seeds) > 0
        };
        self.want.count() > 0 && !self.fresh.iter().any(fresh) && !self.open.iter().any(open)
    }

    /// Where the fresh pieces end that nobody has.
    fn unavailable_end(&self, buckets: &Buckets) -> u32 {
        if self.seeds > 0 { 0 } else { buckets.end(self.seeds.unsigned_abs()) }
    }

    fn pick_only(
        &mut self,
        peer: PeerSlot,
        pieces: &Pieces,
        only: &[PieceIndex],
        goal: usize,
        out: &mut Vec<(PieceIndex, BlockIndex)>,
    ) {
        for piece in only.iter().copied().filter(|piece| pieces.has(*piece)) {
            if out.len() == goal {
                break;
            }
            if self.want.has(piece.0) {
                let at = self.open_at(piece).unwrap_or_else(|| self.open_piece(piece, Owner::Shared));
                self.open[at].take_front(peer, goal - out.len(), out);
            }
        }
    }

    /// The next piece for `peer`.
    fn next_source(&self, peer: PeerSlot, pieces: &Pieces, affinity: Affinity, rng: &mut Rng) -> Option<Source> {
        let crowded =
            self.open_blocks > Self::OPEN_BLOCKS_MAX || self.open.len() > (self.peers as usize * 3 / 2).max(4);
        let mut join = None;
        let mut help = None;
        for (at, partial) in self.open.iter().enumerate() {
            if partial.open == 0 || !self.want.has(partial.piece.0) || !pieces.has(partial.piece) {
                continue;
            }
            let priority = self.priority(partial.piece);
            // Finish what is nearest to its end; in order if that is what is wanted.
            let nearest = if self.order == Order::Sequential { partial.piece.0 } else { partial.open };
            match rank(partial, peer, affinity, crowded) {
                Some(rank) => {
                    let key = (Reverse(priority), rank, nearest, partial.piece, at);
                    join = Some(join.map_or(key, |best| key.min(best)));
                }
                None => {
                    let key = (Reverse(priority), partial.owner_rank(), Reverse(partial.open), partial.piece, at);
                    help = Some(help.map_or(key, |best| key.min(best)));
                }
            }
        }
        let above = join.map_or(Priority::Skip, |(Reverse(priority), ..)| priority);
        for priority in [Priority::High, Priority::Normal, Priority::Low].into_iter().filter(|p| *p > above) {
            if let Some(piece) = self.find_fresh(priority, pieces, rng) {
                return Some(Source::Fresh(piece));
            }
        }
        if let Some((.., at)) = join {
            return Some(Source::Join(at));
        }
        let (_, _, _, _, at) = help?;
        let partial = &self.open[at];
        match affinity {
            // A suspect must not mix its blocks with those of others, unless the others are gone.
            Affinity::Suspect => (partial.requested() == 0).then_some(Source::Join(at)),
            // A suspect is left alone for as long as there is other work for anybody.
            _ if matches!(partial.owner, Owner::Solo(_))
                && self.fresh.iter().any(|f| f.len() > self.unavailable_end(f)) =>
            {
                None
            }
            _ => Some(Source::Help(at)),
        }
    }

    /// A fresh piece of `priority` that is among `pieces`.
    fn find_fresh(&self, priority: Priority, pieces: &Pieces, rng: &mut Rng) -> Option<PieceIndex> {
        let class = priority as usize - 1;
        let buckets = &self.fresh[class];
        if buckets.is_empty() || pieces.is_none() {
            return None;
        }
        let order = match self.order {
            Order::RarestFirst if self.have.count() < Self::RANDOM_FIRST => Order::Random,
            order => order,
        };
        let bits = match pieces {
            Pieces::Some(bits) => Some(bits),
            _ => None,
        };
        let is_here = |piece: &u32| {
            let cell = self.cells[*piece as usize];
            cell.state() == State::Fresh && class_of(cell) == class
        };
        if order == Order::Sequential {
            return ones_common(&self.want, bits, self.first_wanted).find(is_here).map(PieceIndex);
        }
        // A peer with few pieces is faster looked up from its side.
        if let Some(bits) = bits.filter(|bits| bits.count() < buckets.len() / 8) {
            let mut best = None;
            let mut ties = 0;
            for piece in ones_common(&self.want, Some(bits), 0).filter(is_here) {
                let rarity = if order == Order::Random { 0 } else { self.own_count(piece) };
                match best {
                    Some((least, _)) if rarity > least => continue,
                    Some((least, _)) if rarity == least => ties += 1,
                    _ => ties = 1,
                }
                if rng.one_in(ties) {
                    best = Some((rarity, piece));
                } else {
                    best = best.map(|(_, piece)| (rarity, piece));
                }
            }
            return best.map(|(_, piece)| PieceIndex(piece));
        }
        // Those that nobody has come first in the order, and can be left out.
        let from = if bits.is_some() { self.unavailable_end(buckets) } else { 0 };
        let mut from = from.min(buckets.len());
        while from < buckets.len() {
            let end = if order == Order::Random { buckets.len() } else { buckets.end(buckets.availability_at(from)) };
            let range = &buckets.order()[from as usize..end as usize];
            if let Some(piece) = find_random(range, |piece| pieces.has(PieceIndex(piece)), rng) {
                return Some(PieceIndex(piece));
            }
            from = end;
        }
        None
    }

    /// Blocks that others were asked for, those first which the fewest were asked for.
    fn pick_copies(
        &mut self,
        peer: PeerSlot,
        pieces: &Pieces,
        n: usize,
        rng: &mut Rng,
        out: &mut Vec<(PieceIndex, BlockIndex)>,
    ) {
        let mut found: Vec<(u8, usize, BlockIndex)> = Vec::new();
        let mut copies = Vec::new();
        let start = rng.index(self.open.len());
        for at in (start..self.open.len()).chain(0..start) {
            let partial = &self.open[at];
            if partial.requested() == 0 || !self.want.has(partial.piece.0) || !pieces.has(partial.piece) {
                continue;
            }
            partial.count_copies(peer, &mut copies);
            found.extend(
                copies
                    .iter()
                    .enumerate()
                    .filter(|(_, c)| (1..Self::END_GAME_COPIES_MAX).contains(&usize::from(**c)))
                    .map(|(block, copies)| (*copies, at, BlockIndex(block as u32))),
            );
            if found.iter().filter(|(copies, ..)| *copies == 1).count() >= n {
                break;
            }
        }
        found.sort_by_key(|(copies, ..)| *copies);
        for (_, at, block) in found.into_iter().take(n) {
            self.open[at].copies.push((block, peer));
            out.push((self.open[at].piece, block));
        }
    }
}

/// Where the next blocks come from.
enum Source {
    Fresh(PieceIndex),
    /// An open piece, from its beginning.
    Join(usize),
    /// An open piece of somebody else, from its end.
    Help(usize),
}

/// How readily `peer` joins an open piece; None: only when there is nothing else.
fn rank(partial: &Partial, peer: PeerSlot, affinity: Affinity, crowded: bool) -> Option<u8> {
    match (affinity, partial.owner) {
        (Affinity::Suspect, Owner::Solo(owner)) if owner == peer => Some(0),
        (Affinity::Suspect, _) => None,
        (_, Owner::Solo(owner) | Owner::Whole(owner)) if owner == peer => Some(0),
        (Affinity::Share, Owner::Shared) => Some(0),
        (Affinity::Whole, Owner::Shared) if partial.requested() == 0 || crowded => Some(1),
        (_, Owner::Whole(_)) if crowded => Some(2),
        _ => None,
    }
}

/// One of `range` that passes, at random: a few tries anywhere, then all in turn from a random one.
fn find_random(range: &[u32], has: impl Fn(u32) -> bool, rng: &mut Rng) -> Option<u32> {
    let start = rng.index(range.len());
    if has(range[start]) {
        return Some(range[start]);
    }
    if range.len() > 8 {
        for _ in 0..3 {
            let piece = range[rng.index(range.len())];
            if has(piece) {
                return Some(piece);
            }
        }
    }
    range[start..].iter().chain(&range[..start]).copied().find(|piece| has(*piece))
}

impl Partial {
    /// Pieces of suspects are helped last.
    fn owner_rank(&self) -> u8 {
        match self.owner {
            Owner::Shared => 0,
            Owner::Whole(_) => 1,
            Owner::Solo(_) => 2,
        }
    }

    /// For each block how many were asked for it; 0 if it isn't under way, or `peer` is one of them.
    fn count_copies(&self, peer: PeerSlot, counts: &mut Vec<u8>) {
        counts.clear();
        counts.extend(self.blocks.iter().map(|block| match block.state() {
            BlockState::Requested(first) if first != peer => 1,
            _ => 0,
        }));
        for (block, other) in &self.copies {
            let count = &mut counts[block.index()];
            *count = if *other == peer || *count == 0 { 0 } else { count.saturating_add(1) };
        }
    }
}
