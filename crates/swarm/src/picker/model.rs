//! The picker against a naive one that looks at everything every time.

use super::*;
use crate::pieces::PeerSlot;
use base::{BlockIndex, Rng};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const PEERS: u32 = 5;

/// What one block is, in the plainest terms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct NaiveBlock {
    asked: BTreeSet<PeerSlot>,
    from: Option<Option<PeerSlot>>,
}

struct Model {
    picker: Picker,
    rng: Rng,
    have: BTreeSet<u32>,
    priority: Vec<Priority>,
    peers: BTreeMap<PeerSlot, Pieces>,
    blocks: BTreeMap<(u32, u32), NaiveBlock>,
    /// Pieces in which a suspect was asked for something: others may leave them alone.
    solo: BTreeSet<u32>,
}

#[derive(Clone, Debug)]
enum Op {
    Join(u32, u64),
    Leave(u32),
    Have(u32, u32),
    Lost(u32, u32),
    Pick(u32, usize, u8, bool),
    Only(u32, usize, u32),
    Deliver(u32, usize),
    Stray(u32, u32, u32),
    Abandon(u32, usize),
    Choke(u32),
    Check(usize, bool),
    Rot(u32),
    Priority(u32, u8),
    Restore(u32, u64),
    Order(u8),
    Unwrite(u32, u32),
}

fn op() -> impl Strategy<Value = Op> {
    let peer = 0..PEERS;
    let piece = any::<u32>();
    prop_oneof![
        2 => (peer.clone(), any::<u64>()).prop_map(|(p, bits)| Op::Join(p, bits)),
        1 => peer.clone().prop_map(Op::Leave),
        3 => (peer.clone(), piece).prop_map(|(p, i)| Op::Have(p, i)),
        1 => (peer.clone(), piece).prop_map(|(p, i)| Op::Lost(p, i)),
        8 => (peer.clone(), 0usize..9, 0u8..8, any::<bool>()).prop_map(|(p, n, a, last)| Op::Pick(p, n, a, last)),
        1 => (peer.clone(), 1usize..4, piece).prop_map(|(p, n, i)| Op::Only(p, n, i)),
        12 => (peer.clone(), any::<usize>()).prop_map(|(p, n)| Op::Deliver(p, n)),
        1 => (peer.clone(), piece, 0u32..5).prop_map(|(p, i, b)| Op::Stray(p, i, b)),
        2 => (peer.clone(), any::<usize>()).prop_map(|(p, n)| Op::Abandon(p, n)),
        1 => peer.prop_map(Op::Choke),
        4 => (any::<usize>(), prop::bool::weighted(0.7)).prop_map(|(n, ok)| Op::Check(n, ok)),
        1 => piece.prop_map(Op::Rot),
        1 => (piece, 0u8..4).prop_map(|(i, p)| Op::Priority(i, p)),
        1 => (piece, any::<u64>()).prop_map(|(i, bits)| Op::Restore(i, bits)),
        1 => (0u8..6).prop_map(Op::Order),
        1 => (piece, 0u32..5).prop_map(|(i, b)| Op::Unwrite(i, b)),
    ]
}

impl Op {
    /// The same, about a piece that exists.
    fn within(self, count: u32) -> Op {
        match self {
            Op::Have(p, i) => Op::Have(p, i % count),
            Op::Lost(p, i) => Op::Lost(p, i % count),
            Op::Only(p, n, i) => Op::Only(p, n, i % count),
            Op::Stray(p, i, b) => Op::Stray(p, i % count, b),
            Op::Rot(i) => Op::Rot(i % count),
            Op::Priority(i, p) => Op::Priority(i % count, p),
            Op::Restore(i, bits) => Op::Restore(i % count, bits),
            Op::Unwrite(i, b) => Op::Unwrite(i % count, b),
            op => op,
        }
    }
}

impl Model {
    fn new(pieces: u32, blocks: u32, short: u32, seed: u64) -> Self {
        let total = u64::from(pieces * blocks) * 10 - u64::from(short);
        let geometry = Geometry::new(total, u64::from(blocks) * 10, 10).expect("valid");
        let keys = geometry.pieces().flat_map(|p| (0..geometry.block_count(p)).map(move |b| (p.0, b)));
        Model {
            picker: Picker::new(geometry, None),
            rng: Rng::from_seed(seed),
            have: BTreeSet::new(),
            priority: vec![Priority::Normal; geometry.piece_count() as usize],
            peers: BTreeMap::new(),
            blocks: keys.map(|key| (key, NaiveBlock::default())).collect(),
            solo: BTreeSet::new(),
        }
    }

    fn count(&self) -> u32 {
        self.priority.len() as u32
    }

    fn wanted(&self, piece: u32) -> bool {
        !self.have.contains(&piece) && self.priority[piece as usize] != Priority::Skip
    }

    fn available(&self, piece: u32) -> usize {
        self.peers.values().filter(|pieces| pieces.has(PieceIndex(piece))).count()
    }

    fn of_piece(&self, piece: u32) -> impl Iterator<Item = (&(u32, u32), &NaiveBlock)> {
        self.blocks.range((piece, 0)..(piece + 1, 0))
    }

    fn touched(&self, piece: u32) -> bool {
        self.of_piece(piece).any(|(_, b)| b.from.is_some() || !b.asked.is_empty())
    }

    fn is_open(&self, key: &(u32, u32)) -> bool {
        let block = &self.blocks[key];
        block.from.is_none() && block.asked.is_empty()
    }

    /// Open blocks of wanted pieces that pass.
    fn open_blocks(&self, f: impl Fn(u32) -> bool) -> usize {
        self.blocks.keys().filter(|key| self.wanted(key.0) && f(key.0) && self.is_open(key)).count()
    }

    fn asked_of(&self, peer: PeerSlot) -> Vec<(u32, u32)> {
        self.blocks.iter().filter(|(_, b)| b.asked.contains(&peer)).map(|(key, _)| *key).collect()
    }

    fn reset(&mut self, piece: u32) {
        self.solo.remove(&piece);
        for (_, block) in self.blocks.range_mut((piece, 0)..(piece + 1, 0)) {
            *block = NaiveBlock::default();
        }
    }

    fn abandon(&mut self, key: (u32, u32), peer: PeerSlot) {
        let asked = self.blocks.get_mut(&key).expect("a block").asked.remove(&peer);
        assert_eq!(self.picker.abandoned(PieceIndex(key.0), BlockIndex(key.1), peer), asked);
        if !self.touched(key.0) {
            self.solo.remove(&key.0);
        }
    }

    fn pick(&mut self, peer: PeerSlot, n: usize, opts: PickOpts<'_>) -> usize {
        let Some(pieces) = self.peers.get(&peer).cloned() else { return 0 };
        let mut out = vec![(PieceIndex(u32::MAX), BlockIndex(0))];
        self.picker.pick(peer, &pieces, n, opts, &mut self.rng, &mut out);
        assert!(out.len() <= n + 1);
        out.remove(0);
        let mut first_wait = true;
        for (piece, block) in &out {
            let key = (piece.0, block.0);
            assert!(self.wanted(key.0), "{key:?} is not wanted");
            assert!(pieces.has(*piece), "{peer:?} hasn't {key:?}");
            assert!(opts.only.is_none_or(|only| only.contains(piece)));
            assert!(self.blocks[&key].from.is_none(), "{key:?} is here");
            if !self.blocks[&key].asked.is_empty() {
                assert_eq!(self.open_blocks(|p| self.available(p) > 0), 0, "{key:?} asked twice before the end game");
                assert!(self.blocks[&key].asked.len() < Picker::END_GAME_COPIES_MAX);
                assert!(opts.affinity != Affinity::Suspect);
            } else if !self.touched(key.0) && opts.only.is_none() {
                self.is_best_fresh(key.0, &pieces, first_wait && opts.last.is_none());
                if opts.affinity == Affinity::Suspect {
                    self.solo.insert(key.0);
                }
            }
            first_wait = false;
            assert!(self.blocks.get_mut(&key).expect("a block").asked.insert(peer), "{key:?} asked twice of {peer:?}");
        }
        let left = self.open_blocks(|p| pieces.has(PieceIndex(p)) && !self.solo.contains(&p));
        if out.len() < n && opts.only.is_none() && opts.affinity != Affinity::Suspect {
            assert_eq!(left, 0, "{peer:?} could do more than {out:?}");
        }
        out.len()
    }

    /// Among the fresh pieces of this peer none is wanted more, and none equally wanted is rarer.
    fn is_best_fresh(&self, piece: u32, pieces: &Pieces, in_order: bool) {
        let others = (0..self.count())
            .filter(|p| *p != piece && self.wanted(*p) && pieces.has(PieceIndex(*p)) && !self.touched(*p));
        for other in others {
            let (priority, its) = (self.priority[piece as usize], self.priority[other as usize]);
            assert!(its <= priority, "{other} is wanted more than {piece}");
            if its == priority {
                match self.picker.order() {
                    Order::Sequential => assert!(other > piece || !in_order, "{other} comes before {piece}"),
                    Order::RarestFirst if self.have.len() >= Picker::RANDOM_FIRST as usize => {
                        assert!(self.available(other) >= self.available(piece), "{other} is rarer than {piece}");
                    }
                    _ => {}
                }
            }
        }
    }

    fn receive(&mut self, key: (u32, u32), peer: PeerSlot) {
        let received = self.picker.received(PieceIndex(key.0), BlockIndex(key.1), peer);
        let (wanted, touched) = (self.wanted(key.0), self.touched(key.0));
        match self.blocks.get_mut(&key) {
            Some(block) if (wanted || touched) && !self.have.contains(&key.0) => match block.from {
                Some(_) => assert_eq!(received, Received::Duplicate),
                None => {
                    let Received::New { piece_complete, mut cancel } = received else {
                        panic!("{key:?} is new, not {received:?}");
                    };
                    block.from = Some(Some(peer));
                    let mut asked = std::mem::take(&mut block.asked);
                    asked.remove(&peer);
                    cancel.sort_unstable();
                    assert_eq!(cancel, asked.into_iter().collect::<Vec<_>>());
                    assert_eq!(piece_complete, self.of_piece(key.0).all(|(_, b)| b.from.is_some()));
                }
            },
            _ => assert_eq!(received, Received::NotWanted),
        }
    }

    fn check(&mut self, piece: u32, ok: bool) {
        if ok {
            let asked = self.of_piece(piece).flat_map(|(key, b)| b.asked.iter().map(|p| (BlockIndex(key.1), *p)));
            let asked: BTreeSet<_> = asked.collect();
            assert_eq!(self.picker.piece_good(PieceIndex(piece)).into_iter().collect::<BTreeSet<_>>(), asked);
            self.have.insert(piece);
        } else {
            let senders: Vec<_> = match self.touched(piece) {
                true => self.of_piece(piece).map(|(_, b)| b.from.flatten()).collect(),
                false => Vec::new(),
            };
            assert_eq!(self.picker.piece_bad(PieceIndex(piece)), senders);
        }
        self.reset(piece);
    }

    fn apply(&mut self, op: Op) {
        let count = self.count();
        match op.within(count) {
            Op::Join(p, bits) => {
                if self.peers.contains_key(&PeerSlot(p)) {
                    return;
                }
                // One in four is a seed, one in four has nothing, one in four has little.
                let pieces = match bits % 4 {
                    0 => Pieces::All,
                    1 => Pieces::None,
                    _ => {
                        let mut field = Bitfield::new(count);
                        let bits =
                            if bits % 4 == 2 { bits } else { bits & bits.rotate_left(17) & bits.rotate_left(31) };
                        (0..count).filter(|i| bits >> (i + 2) & 1 != 0).for_each(|i| assert!(field.set(i)));
                        Pieces::from_bitfield(field)
                    }
                };
                self.picker.add_peer(&pieces);
                self.peers.insert(PeerSlot(p), pieces);
            }
            Op::Leave(p) => {
                if let Some(pieces) = self.peers.remove(&PeerSlot(p)) {
                    self.picker.remove_peer(&pieces);
                    self.apply(Op::Choke(p));
                }
            }
            Op::Have(p, i) => {
                if let Some(true) = self.peers.get_mut(&PeerSlot(p)).map(|pieces| pieces.set(PieceIndex(i), count)) {
                    self.picker.peer_has(PieceIndex(i));
                }
            }
            Op::Lost(p, i) => {
                if let Some(true) = self.peers.get_mut(&PeerSlot(p)).map(|pieces| pieces.clear(PieceIndex(i), count)) {
                    self.picker.peer_lost(PieceIndex(i));
                    let asked = self.asked_of(PeerSlot(p)).into_iter().filter(|key| key.0 == i);
                    asked.collect::<Vec<_>>().into_iter().for_each(|key| self.abandon(key, PeerSlot(p)));
                }
            }
            Op::Pick(p, n, affinity, last) => {
                let affinity = match affinity {
                    0 => Affinity::Suspect,
                    1..4 => Affinity::Whole,
                    _ => Affinity::Share,
                };
                let asked = self.asked_of(PeerSlot(p));
                let last = asked.last().filter(|_| last).map(|key| PieceIndex(key.0));
                let opts = PickOpts { affinity, last, outstanding: asked.len() as u32, only: None };
                self.pick(PeerSlot(p), n, opts);
            }
            Op::Only(p, n, i) => {
                let only = [PieceIndex(i), PieceIndex(i / 2)];
                self.pick(PeerSlot(p), n, PickOpts { only: Some(&only), ..PickOpts::default() });
            }
            Op::Deliver(p, n) => {
                let asked = self.asked_of(PeerSlot(p));
                if !asked.is_empty() {
                    self.receive(asked[n % asked.len()], PeerSlot(p));
                }
            }
            Op::Stray(p, i, b) => self.receive((i, b), PeerSlot(p)),
            Op::Abandon(p, n) => {
                let asked = self.asked_of(PeerSlot(p));
                if !asked.is_empty() {
                    self.abandon(asked[n % asked.len()], PeerSlot(p));
                }
            }
            Op::Choke(p) => self.asked_of(PeerSlot(p)).into_iter().for_each(|key| self.abandon(key, PeerSlot(p))),
            Op::Check(n, ok) => {
                let whole = |i: &u32| self.touched(*i) && self.of_piece(*i).all(|(_, b)| b.from.is_some());
                let complete: Vec<u32> = (0..count).filter(whole).collect();
                if !complete.is_empty() {
                    self.check(complete[n % complete.len()], ok);
                }
            }
            Op::Rot(i) => {
                self.picker.lost_piece(PieceIndex(i));
                self.have.remove(&i);
            }
            Op::Priority(i, p) => {
                let p = [Priority::Skip, Priority::Low, Priority::Normal, Priority::High][usize::from(p)];
                self.picker.set_priority(PieceIndex(i), p);
                self.priority[i as usize] = p;
            }
            Op::Restore(i, bits) => {
                let blocks = self.picker.geometry().block_count(PieceIndex(i));
                let mut field = Bitfield::new(blocks);
                (0..blocks).filter(|b| bits >> b & 1 != 0).for_each(|b| assert!(field.set(b)));
                let new = !self.have.contains(&i) && !self.touched(i) && field.count() > 0;
                assert_eq!(self.picker.restore(PieceIndex(i), &field), new && field.is_full());
                for b in field.ones().filter(|_| new) {
                    self.blocks.get_mut(&(i, b)).expect("a block").from = Some(None);
                }
            }
            Op::Order(o) => {
                let order = [Order::Sequential, Order::Random].get(usize::from(o)).copied();
                self.picker.set_order(order.unwrap_or_default());
            }
            Op::Unwrite(i, b) => {
                let was = self.blocks.get_mut(&(i, b)).and_then(|block| block.from.take()).is_some();
                assert_eq!(self.picker.block_lost(PieceIndex(i), BlockIndex(b)), was);
            }
        }
    }

    fn agrees(&self) -> Result<(), String> {
        self.picker.check_invariants()?;
        self.picker.check_availability(self.peers.values())?;
        assert_eq!(self.picker.have().ones().collect::<BTreeSet<_>>(), self.have);
        let wanted: Vec<u32> = (0..self.count()).filter(|i| self.wanted(*i)).collect();
        assert_eq!(self.picker.wanted_count() as usize, wanted.len());
        let all_asked = self.open_blocks(|piece| self.available(piece) > 0) == 0;
        assert_eq!(self.picker.is_end_game(), !wanted.is_empty() && all_asked);
        for pieces in self.peers.values() {
            assert_eq!(self.picker.is_interesting(pieces), wanted.iter().any(|i| pieces.has(PieceIndex(*i))));
        }
        let geometry = self.picker.geometry();
        let missing = self.blocks.iter().filter(|(key, b)| self.wanted(key.0) && b.from.is_none());
        let bytes: u64 =
            missing.map(|(key, _)| u64::from(geometry.block_len(PieceIndex(key.0), BlockIndex(key.1)))).sum();
        assert_eq!(self.picker.bytes_left(), bytes);
        for piece in (0..self.count()).map(PieceIndex) {
            let naive: Vec<&NaiveBlock> = self.of_piece(piece.0).map(|(_, block)| block).collect();
            assert_eq!(self.picker.blocks(piece).is_some(), self.touched(piece.0));
            for (block, state) in naive.into_iter().zip(self.picker.blocks(piece).into_iter().flatten()) {
                match state {
                    BlockState::Open => assert_eq!(*block, NaiveBlock::default()),
                    BlockState::Requested(peer) => assert!(block.from.is_none() && block.asked.contains(&peer)),
                    BlockState::Received(from) => assert_eq!(block.from, Some(from)),
                }
            }
        }
        Ok(())
    }

    /// Whatever happened: with one seed that delivers, everything wanted arrives, suspect or not.
    fn finishes(mut self, affinity: Affinity) {
        (0..PEERS).for_each(|p| self.apply(Op::Leave(p)));
        let seed = PeerSlot(PEERS);
        self.apply(Op::Join(seed.0, 0));
        while !self.picker.is_finished() {
            (0..self.count() as usize).for_each(|_| self.apply(Op::Check(0, true)));
            let picked = self.pick(seed, 3, PickOpts { affinity, ..PickOpts::default() });
            assert!(picked > 0 || self.picker.is_finished(), "stuck: {:?}", self.picker);
            self.asked_of(seed).into_iter().for_each(|key| self.receive(key, seed));
        }
        assert!((0..self.count()).all(|i| !self.wanted(i)));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]
    #[test]
    fn agrees_with_the_naive_picker(pieces in prop_oneof![1u32..12, 30u32..60], blocks in 1u32..5, short in 0u32..10, seed in any::<u64>(), had in 0u32..12,
                                    last in 0u8..3, ops in proptest::collection::vec(op(), 0..200)) {
        let mut model = Model::new(pieces, blocks, short, seed);
        (0..had.min(model.count())).for_each(|piece| model.check(piece, true));
        for op in ops {
            model.apply(op.clone());
            model.agrees().unwrap_or_else(|wrong| panic!("after {op:?}: {wrong}"));
        }
        model.finishes([Affinity::Share, Affinity::Whole, Affinity::Suspect][usize::from(last)]);
    }
}
