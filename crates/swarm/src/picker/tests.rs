//! Tests of the picker, one rule each; [`super::model`] has random ones.

use super::*;
use crate::pieces::PeerSlot;
use base::{BlockIndex, Rng};

const A: PeerSlot = PeerSlot(1);
const B: PeerSlot = PeerSlot(2);
const C: PeerSlot = PeerSlot(3);

/// A picker over `pieces` pieces of `blocks` blocks, and its chance.
struct Desk {
    picker: Picker,
    rng: Rng,
}

impl Desk {
    fn new(pieces: u32, blocks: u32) -> Self {
        let geometry = Geometry::new(u64::from(pieces * blocks) * 10, u64::from(blocks) * 10, 10).expect("valid");
        Desk { picker: Picker::new(geometry, None), rng: Rng::from_seed(1) }
    }

    /// The same, with the first pieces there already, so that rarest first has begun.
    fn begun(pieces: u32, blocks: u32) -> Self {
        let mut desk = Desk::new(pieces, blocks);
        (0..Picker::RANDOM_FIRST).for_each(|i| drop(desk.picker.piece_good(PieceIndex(i))));
        desk
    }

    fn pick(&mut self, peer: PeerSlot, pieces: &Pieces, n: usize, opts: PickOpts<'_>) -> Vec<(u32, u32)> {
        let mut out = Vec::new();
        self.picker.pick(peer, pieces, n, opts, &mut self.rng, &mut out);
        self.picker.check_invariants().expect("sound");
        out.into_iter().map(|(piece, block)| (piece.0, block.0)).collect()
    }

    fn pick_as(&mut self, peer: PeerSlot, n: usize, affinity: Affinity) -> Vec<(u32, u32)> {
        self.pick(peer, &Pieces::All, n, PickOpts { affinity, ..PickOpts::default() })
    }

    fn receive(&mut self, (piece, block): (u32, u32), peer: PeerSlot) -> Received {
        let received = self.picker.received(PieceIndex(piece), BlockIndex(block), peer);
        self.picker.check_invariants().expect("sound");
        received
    }

    fn abandon(&mut self, (piece, block): (u32, u32), peer: PeerSlot) -> bool {
        let asked = self.picker.abandoned(PieceIndex(piece), BlockIndex(block), peer);
        self.picker.check_invariants().expect("sound");
        asked
    }
}

fn some(count: u32, pieces: &[u32]) -> Pieces {
    let mut bits = Bitfield::new(count);
    pieces.iter().for_each(|i| assert!(bits.set(*i)));
    Pieces::from_bitfield(bits)
}

fn new(piece_complete: bool, cancel: &[PeerSlot]) -> Received {
    Received::New { piece_complete, cancel: cancel.to_vec() }
}

#[test]
fn a_fast_peer_gets_whole_pieces_in_order() {
    let mut desk = Desk::new(10, 4);
    desk.picker.add_seed();
    let (a, b) = (desk.pick_as(A, 6, Affinity::Whole), desk.pick_as(B, 3, Affinity::Whole));
    assert_eq!(a.iter().map(|p| p.1).collect::<Vec<_>>(), [0, 1, 2, 3, 0, 1]);
    assert_eq!(b.iter().map(|p| p.1).collect::<Vec<_>>(), [0, 1, 2]);
    assert!(b.iter().all(|(piece, _)| a.iter().all(|(other, _)| piece != other)));
    let more = desk.pick(A, &Pieces::All, 2, PickOpts { last: Some(PieceIndex(a[5].0)), ..PickOpts::default() });
    assert_eq!(more, [(a[5].0, 2), (a[5].0, 3)]);
}

#[test]
fn slow_peers_share_a_piece() {
    let mut desk = Desk::new(10, 4);
    desk.picker.add_seed();
    let a = desk.pick_as(A, 2, Affinity::Share);
    let b = desk.pick_as(B, 2, Affinity::Share);
    assert_eq!(b, [(a[0].0, 2), (a[0].0, 3)]);
}

#[test]
fn a_fast_peer_adopts_what_others_left() {
    let mut desk = Desk::new(10, 4);
    (0..3).for_each(|_| desk.picker.add_seed());
    let a = desk.pick_as(A, 3, Affinity::Whole);
    assert_eq!(desk.receive(a[0], A), new(false, &[]));
    assert!(desk.abandon(a[1], A) && desk.abandon(a[2], A));
    assert!(!desk.abandon(a[2], A));
    let b = desk.pick_as(B, 3, Affinity::Whole);
    assert_eq!(b, [(a[0].0, 1), (a[0].0, 2), (a[0].0, 3)]);
}

#[test]
fn an_untouched_piece_is_fresh_again() {
    let mut desk = Desk::new(10, 4);
    desk.picker.add_seed();
    let a = desk.pick_as(A, 1, Affinity::Share);
    assert_eq!(desk.picker.open_pieces().count(), 1);
    assert!(!desk.abandon(a[0], B));
    assert!(desk.abandon(a[0], A));
    assert_eq!(desk.picker.open_pieces().count(), 0);
    // It comes after all: welcome.
    assert_eq!(desk.receive(a[0], A), new(false, &[]));
    assert_eq!(desk.receive(a[0], A), Received::Duplicate);
}

#[test]
fn suspects_work_alone() {
    let mut desk = Desk::new(3, 4);
    (0..3).for_each(|_| desk.picker.add_seed());
    let shared = desk.pick_as(A, 1, Affinity::Share)[0].0;
    let b = desk.pick_as(B, 2, Affinity::Suspect);
    assert!(b.iter().all(|(piece, _)| *piece != shared));
    // Others fill their own pieces, and leave the suspect's alone while there is another.
    let c = desk.pick_as(C, 4, Affinity::Share);
    assert!(c.iter().all(|(piece, _)| *piece != b[0].0), "{c:?} {b:?}");
    // The suspect joins nobody, and helps nobody.
    let more = desk.pick_as(B, 20, Affinity::Suspect);
    assert!(more.iter().all(|(piece, _)| *piece != shared), "{more:?}");
}

#[test]
fn a_suspect_takes_over_what_only_it_can_finish() {
    let mut desk = Desk::new(1, 4);
    desk.picker.add_seed();
    let a = desk.pick_as(A, 2, Affinity::Whole);
    desk.receive(a[0], A);
    assert_eq!(desk.pick_as(B, 4, Affinity::Suspect), []);
    desk.abandon(a[1], A);
    assert_eq!(desk.pick_as(B, 4, Affinity::Suspect), [(0, 1), (0, 2), (0, 3)]);
}

#[test]
fn who_has_no_other_work_helps_from_the_end() {
    let mut desk = Desk::new(1, 8);
    (0..2).for_each(|_| desk.picker.add_seed());
    assert_eq!(desk.pick_as(A, 2, Affinity::Whole), [(0, 0), (0, 1)]);
    assert_eq!(desk.pick_as(B, 3, Affinity::Whole), [(0, 7), (0, 6), (0, 5)]);
}

#[test]
fn the_rarest_come_first_and_priorities_before() {
    let mut desk = Desk::begun(10, 1);
    let has = [some(10, &[4, 5, 6, 7, 8, 9]), some(10, &[4, 5, 6]), some(10, &[4, 5])];
    has.iter().for_each(|pieces| desk.picker.add_peer(pieces));
    desk.picker.set_priority(PieceIndex(5), Priority::High);
    desk.picker.set_priority(PieceIndex(8), Priority::Low);
    desk.picker.set_priority(PieceIndex(9), Priority::Skip);
    let order: Vec<u32> = desk.pick_as(A, 10, Affinity::Whole).iter().map(|(piece, _)| *piece).collect();
    assert_eq!(order.len(), 5);
    assert_eq!((order[0], order[1], order[2], order[3], order[4]), (5, 7, 6, 4, 8));
}

#[test]
fn ties_are_broken_at_random() {
    let mut firsts = std::collections::BTreeSet::new();
    for seed in 0..64 {
        let mut desk = Desk::begun(20, 1);
        desk.picker.add_seed();
        desk.rng = Rng::from_seed(seed);
        firsts.extend(desk.pick_as(A, 1, Affinity::Share));
    }
    assert!(firsts.len() > 10, "{firsts:?}");
}

#[test]
fn the_first_pieces_are_random_even_if_rare_ones_exist() {
    let mut picked = std::collections::BTreeSet::new();
    for seed in 0..32 {
        let mut desk = Desk::new(20, 1);
        desk.picker.add_peer(&some(20, &(1..20).collect::<Vec<_>>()));
        desk.picker.add_seed();
        desk.rng = Rng::from_seed(seed);
        picked.extend(desk.pick_as(A, 1, Affinity::Share));
    }
    assert!(picked.len() > 8, "rarest first would take piece 0 alone: {picked:?}");
}

#[test]
fn in_order_if_told_so() {
    let mut desk = Desk::begun(70, 1);
    desk.picker.add_seed();
    desk.picker.set_order(Order::Sequential);
    assert_eq!(desk.pick_as(A, 3, Affinity::Whole), [(4, 0), (5, 0), (6, 0)]);
    desk.picker.set_priority(PieceIndex(69), Priority::High);
    let others = some(70, &[5, 66, 67, 68, 69]);
    assert_eq!(desk.pick(B, &others, 3, PickOpts::default()), [(69, 0), (66, 0), (67, 0)]);
    desk.picker.lost_piece(PieceIndex(2));
    assert_eq!(desk.pick_as(A, 1, Affinity::Whole), [(2, 0)]);
}

#[test]
fn the_end_game_doubles_up_when_everything_was_asked_for() {
    let mut desk = Desk::new(2, 4);
    (0..3).for_each(|_| desk.picker.add_seed());
    let a = desk.pick_as(A, 7, Affinity::Share);
    assert!(!desk.picker.is_end_game());
    let b = desk.pick_as(B, 3, Affinity::Share);
    assert!(desk.picker.is_end_game());
    assert_eq!(b.len(), 1, "who was just asked for the last one is asked for no copy");
    assert!(!a.contains(&b[0]));
    let busy = PickOpts { outstanding: Picker::END_GAME_OUTSTANDING_MAX, ..PickOpts::default() };
    assert_eq!(desk.pick(C, &Pieces::All, 8, busy), []);
    let c = desk.pick_as(C, 8, Affinity::Share);
    assert_eq!(c.len(), Picker::END_GAME_OUTSTANDING_MAX as usize);
    // Those first that only one was asked for.
    let d = desk.pick_as(PeerSlot(9), 8, Affinity::Share);
    assert!(d.len() == 1 && d != c, "{c:?} {d:?}");
    let owner = |block| if a.contains(block) { A } else { B };
    assert_eq!(desk.receive(c[0], C), new(false, &[owner(&c[0])]));
    assert_eq!(desk.receive(c[0], owner(&c[0])), Received::Duplicate);
    // Who let go of a copy leaves the others as they were.
    assert!(desk.abandon(d[0], owner(&d[0])));
    assert!(desk.picker.is_requested(PieceIndex(d[0].0), BlockIndex(d[0].1), PeerSlot(9)));
    assert!(!desk.picker.is_requested(PieceIndex(d[0].0), BlockIndex(d[0].1), owner(&d[0])));
    assert_eq!(desk.pick_as(A, 8, Affinity::Suspect), []);
}

#[test]
fn nobody_is_asked_twice_and_one_block_only_of_so_many() {
    let mut desk = Desk::new(1, 1);
    let peers: Vec<PeerSlot> = (0..10).map(PeerSlot).collect();
    peers.iter().for_each(|_| desk.picker.add_seed());
    let asked = peers.iter().filter(|peer| !desk.pick_as(**peer, 1, Affinity::Share).is_empty()).count();
    assert_eq!(asked, Picker::END_GAME_COPIES_MAX);
    assert!(peers.iter().all(|peer| desk.pick_as(*peer, 1, Affinity::Share).is_empty()));
    let Received::New { piece_complete: true, cancel } = desk.receive((0, 0), PeerSlot(2)) else { panic!("new") };
    assert_eq!(cancel, [PeerSlot(0), PeerSlot(1), PeerSlot(3)]);
}

#[test]
fn a_piece_that_nobody_has_does_not_delay_the_end_game() {
    let mut desk = Desk::new(2, 1);
    desk.picker.add_peer(&some(2, &[1]));
    desk.picker.add_peer(&some(2, &[1]));
    assert_eq!(desk.pick(A, &some(2, &[1]), 5, PickOpts::default()), [(1, 0)]);
    assert!(desk.picker.is_end_game());
    assert_eq!(desk.pick(B, &some(2, &[1]), 5, PickOpts::default()), [(1, 0)]);
    desk.picker.peer_has(PieceIndex(0));
    assert!(!desk.picker.is_end_game());
}

#[test]
fn choked_peers_are_asked_for_allowed_pieces_alone() {
    let mut desk = Desk::new(10, 2);
    desk.picker.add_seed();
    let only = [PieceIndex(7), PieceIndex(3)];
    let opts = PickOpts { only: Some(&only), ..PickOpts::default() };
    assert_eq!(desk.pick(A, &Pieces::All, 3, opts), [(7, 0), (7, 1), (3, 0)]);
    assert_eq!(desk.pick(A, &some(10, &[7]), 3, opts), []);
}

#[test]
fn bad_pieces_name_their_senders_and_begin_again() {
    let mut desk = Desk::new(1, 3);
    desk.picker.add_seed();
    let mut saved = Bitfield::new(3);
    saved.set(1);
    assert!(!desk.picker.restore(PieceIndex(0), &saved));
    assert_eq!(desk.pick_as(A, 1, Affinity::Share), [(0, 0)]);
    assert_eq!(desk.pick_as(B, 1, Affinity::Share), [(0, 2)]);
    desk.receive((0, 0), A);
    assert_eq!(desk.picker.bytes_left(), 10);
    assert_eq!(desk.receive((0, 2), B), new(true, &[]));
    assert_eq!(desk.picker.piece_bad(PieceIndex(0)), [Some(A), None, Some(B)]);
    desk.picker.check_invariants().expect("sound");
    assert_eq!(desk.picker.bytes_left(), 30);
    assert_eq!(desk.pick_as(A, 3, Affinity::Share).len(), 3);
    (0..3).for_each(|i| drop(desk.receive((0, i), A)));
    assert!(desk.picker.piece_good(PieceIndex(0)).is_empty());
    assert!(desk.picker.is_finished() && !desk.picker.is_interesting(&Pieces::All));
    assert_eq!(desk.receive((0, 0), A), Received::NotWanted);
    desk.picker.lost_piece(PieceIndex(0));
    assert!(desk.picker.is_interesting(&Pieces::All));
}

#[test]
fn padding_is_never_asked_for() {
    let mut desk = Desk::new(2, 4);
    desk.picker.add_seed();
    desk.picker.set_padding(PieceIndex(0), 25);
    desk.picker.set_padding(PieceIndex(1), 40);
    let mut picked = desk.pick_as(A, 9, Affinity::Whole);
    picked.sort_unstable();
    assert_eq!(picked, [(0, 0), (0, 1), (1, 0)]);
    assert_eq!(desk.receive((0, 0), A), new(false, &[]));
    assert_eq!(desk.receive((0, 3), A), Received::Duplicate);
    assert_eq!(desk.receive((0, 1), A), new(true, &[]));
    assert_eq!(desk.picker.piece_bad(PieceIndex(0)), [Some(A), Some(A)]);
    assert_eq!(desk.receive((0, 3), A), Received::NotWanted);
    desk.picker.check_invariants().expect("sound");
}

#[test]
fn skipped_pieces_keep_what_came() {
    let mut desk = Desk::new(2, 4);
    desk.picker.add_seed();
    let a = desk.pick_as(A, 3, Affinity::Whole);
    desk.receive(a[0], A);
    let piece = PieceIndex(a[0].0);
    desk.picker.set_priority(piece, Priority::Skip);
    desk.picker.check_invariants().expect("sound");
    assert_eq!(desk.receive(a[1], A), new(false, &[]));
    assert!(desk.pick_as(B, 8, Affinity::Share).iter().all(|(other, _)| *other != piece.0));
    assert!(desk.abandon(a[2], A));
    assert_eq!(desk.picker.received_blocks(piece).map(|bits| bits.count()), Some(2));
    desk.picker.set_priority(piece, Priority::Normal);
    assert_eq!(desk.pick_as(C, 2, Affinity::Share), [(piece.0, 2), (piece.0, 3)]);
}

#[test]
fn peers_that_complete_leave_as_seeds() {
    let mut desk = Desk::new(3, 1);
    for round in 0..SEEDS_BELOW_ZERO_MAX * 2 {
        let mut pieces = Pieces::None;
        desk.picker.add_peer(&pieces);
        for piece in [2, 0, 1].map(PieceIndex) {
            assert!(pieces.set(piece, 3));
            desk.picker.peer_has(piece);
        }
        desk.picker.check_availability([&pieces].into_iter()).expect("counted");
        desk.picker.remove_peer(&pieces);
        desk.picker.check_invariants().unwrap_or_else(|wrong| panic!("round {round}: {wrong}"));
        assert_eq!(desk.picker.availability(PieceIndex(1)), 0);
    }
    assert!(desk.picker.seeds >= -SEEDS_BELOW_ZERO_MAX);
    // A seed that lost a piece.
    desk.picker.settle();
    desk.picker.add_seed();
    desk.picker.peer_lost(PieceIndex(1));
    desk.picker.check_availability([&some(3, &[0, 2])].into_iter()).expect("counted");
}

#[test]
fn eight_bytes_a_piece_and_four_at_the_end() {
    let count = 1u32 << 16;
    let geometry = Geometry::new(u64::from(count) * 40, 40, 10).expect("valid");
    let mut picker = Picker::new(geometry, None);
    picker.add_peer(&Pieces::All);
    let (mut rng, mut out) = (Rng::from_seed(1), Vec::new());
    let bits = count as usize / 4;
    assert!(picker.heap_bytes() <= count as usize * 8 + bits + 64, "{}", picker.heap_bytes());
    picker.pick(A, &Pieces::All, 100, PickOpts::default(), &mut rng, &mut out);
    geometry.pieces().for_each(|piece| drop(picker.piece_good(piece)));
    assert!(picker.open.is_empty() && out.len() == 100);
    assert!(picker.heap_bytes() <= count as usize * 4 + bits + 64, "{}", picker.heap_bytes());
}

#[test]
fn the_largest_torrent_fits() {
    let count = Geometry::PIECES_MAX as u32;
    let geometry = Geometry::new(u64::from(count) * 10, 10, 10).expect("valid");
    let mut desk = Desk { picker: Picker::new(geometry, None), rng: Rng::from_seed(1) };
    let last = some(count, &[count - 1]);
    desk.picker.add_peer(&last);
    desk.picker.add_seed();
    assert!(desk.picker.is_interesting(&last));
    assert_eq!(desk.pick(A, &last, 9, PickOpts::default()), [(count - 1, 0)]);
    assert_eq!(desk.pick_as(B, 9, Affinity::Whole).len(), 9);
}
