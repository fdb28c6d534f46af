//! Tests of the chokers: rules one by one, and small swarms in which peers take what they can.

use super::*;
use std::collections::BTreeSet;

fn peer(slot: u32) -> PeerView {
    PeerView {
        slot: PeerSlot(slot),
        interested: true,
        unchoked: false,
        snubbed: false,
        download_rate: 0,
        upload_rate: 0,
        uploaded_in_turn: 0,
        uploaded: 0,
        changed_at: Instant::ZERO,
        connected_at: Instant::ZERO,
        complete_permille: 0,
    }
}

/// Peers, a choker, and what became of its decisions.
struct House {
    choker: Box<dyn Choker>,
    peers: Vec<PeerView>,
    now: Instant,
    rng: Rng,
}

impl House {
    fn new(choker: impl Choker + 'static, peers: impl IntoIterator<Item = PeerView>) -> Self {
        House {
            choker: Box::new(choker),
            peers: peers.into_iter().collect(),
            now: Instant::from_secs(1000),
            rng: Rng::from_seed(3),
        }
    }

    /// Lets ten seconds pass, and rechokes.
    fn step(&mut self) -> BTreeSet<u32> {
        self.now += RECHOKE;
        self.rechoke()
    }

    fn rechoke(&mut self) -> BTreeSet<u32> {
        let decisions = self.choker.rechoke(self.now, &self.peers, &mut self.rng);
        for peer in &mut self.peers {
            let (on, off) = (decisions.unchoke.contains(&peer.slot), decisions.choke.contains(&peer.slot));
            assert!(!(on && off), "both: {peer:?}");
            assert!(!(on || off) || on != peer.unchoked, "no change: {peer:?}");
            if on || off {
                peer.unchoked = on;
                peer.changed_at = self.now;
                peer.uploaded_in_turn = 0;
            }
        }
        self.unchoked()
    }

    fn unchoked(&self) -> BTreeSet<u32> {
        self.peers.iter().filter(|p| p.unchoked).map(|p| p.slot.0).collect()
    }
}

#[test]
fn the_best_by_rate_keep_their_slots_and_one_is_optimistic() {
    let peers = (0..20).map(|i| PeerView { download_rate: u64::from(i) * 1000, ..peer(i) });
    let mut house = House::new(TitForTat::new(Slots::Fixed(4)), peers);
    let mut optimistic = BTreeSet::new();
    for step in 0..300 {
        let unchoked = house.step();
        assert_eq!(unchoked.len(), 4, "in step {step}");
        assert!(unchoked.is_superset(&BTreeSet::from([17, 18, 19])), "in step {step}: {unchoked:?}");
        optimistic.extend(unchoked.into_iter().filter(|slot| *slot < 17));
    }
    assert_eq!(optimistic.len(), 17, "everybody had a chance");
}

#[test]
fn optimistic_slots_rotate_every_thirty_seconds() {
    let mut house = House::new(TitForTat::new(Slots::Fixed(1)), (0..10).map(peer));
    let mut turns: Vec<(u32, u32)> = Vec::new();
    for _ in 0..60 {
        let slot = *house.step().first().expect("one slot");
        match turns.last_mut() {
            Some((last, steps)) if *last == slot => *steps += 1,
            _ => turns.push((slot, 1)),
        }
    }
    assert_eq!(turns.len(), 20);
    assert!(turns.iter().all(|(_, steps)| *steps == 3), "{turns:?}");
}

#[test]
fn newcomers_are_three_times_as_likely() {
    let mut newcomer = 0;
    for seed in 0..2000 {
        // Nine old ones and one who just came: 3 in 12.
        let came = |i| if i == 0 { Instant::from_secs(990) } else { Instant::ZERO };
        let mut house =
            House::new(TitForTat::new(Slots::Fixed(1)), (0..10).map(|i| PeerView { connected_at: came(i), ..peer(i) }));
        house.rng = Rng::from_seed(seed);
        newcomer += u32::from(house.rechoke().contains(&0));
    }
    assert!((430..570).contains(&newcomer), "{newcomer} of 2000");
}

#[test]
fn snubbed_peers_lose_earned_slots_only() {
    let rated = |i: u32| PeerView { download_rate: 1000 - u64::from(i), snubbed: i == 0, ..peer(i) };
    let mut house = House::new(TitForTat::new(Slots::Fixed(5)), (0..10).map(rated));
    let mut served = 0;
    for _ in 0..300 {
        let unchoked = house.step();
        assert!(unchoked.is_superset(&BTreeSet::from([1, 2, 3, 4])));
        served += u32::from(unchoked.contains(&0));
    }
    assert!((20..100).contains(&served), "optimistic like the others: {served} of 300");
}

#[test]
fn who_sends_nothing_keeps_no_slot_while_others_wait() {
    let mut house = House::new(TitForTat::default(), (0..40).map(peer));
    let mut served = BTreeSet::new();
    for _ in 0..36 {
        let unchoked = house.step();
        assert_eq!(unchoked.len(), 8, "no slot is idle");
        served.extend(unchoked);
    }
    assert!(served.len() > 30, "{served:?}");
    // Where nobody waits, everybody is served.
    house.peers.truncate(6);
    assert_eq!(house.step().len(), 6);
    house.peers.iter_mut().for_each(|p| p.interested = false);
    assert_eq!(house.step().len(), 0);
}

#[test]
fn few_slots_and_none() {
    for slots in 0..3 {
        let mut house = House::new(TitForTat::new(Slots::Fixed(slots)), (0..5).map(peer));
        assert_eq!(house.step().len(), slots);
        let mut house = House::new(Seeding::new(SeedMode::default(), Slots::Fixed(slots), 1), (0..5).map(peer));
        assert_eq!(house.step().len(), slots);
    }
}

#[test]
fn slots_grow_with_what_the_uplink_feeds() {
    let slots = Slots::ByRate { first: 1000, step: 1000, min: 2 };
    let at = |rates: &[u64]| {
        let peers: Vec<PeerView> =
            (0..).zip(rates).map(|(i, rate)| PeerView { unchoked: true, upload_rate: *rate, ..peer(i) }).collect();
        slots.count(&peers)
    };
    assert_eq!(at(&[]), 2);
    assert_eq!(at(&[5000, 5000]), 3);
    assert_eq!(at(&[5000, 1500, 5000]), 3);
    assert_eq!(at(&[5000; 10]), 6);
}

/// A seed with `uplink` bytes a second, whose unchoked peers share it up to what each can take. Says the share of the
/// uplink that was used, and when each peer was first served.
fn seed(mode: SeedMode, uplink: u64, takes: &[u64], minutes: u64) -> (f64, Vec<Option<u64>>) {
    let piece_length = 256 * 1024;
    let mut house = House::new(Seeding::new(mode, Slots::Fixed(8), piece_length), (0..takes.len() as u32).map(peer));
    let start = house.now;
    let mut first = vec![None; takes.len()];
    let mut used = 0;
    for _ in 0..minutes * 6 {
        for slot in house.step() {
            first[slot as usize].get_or_insert(house.now.since(start).as_secs());
        }
        // Equal shares, and what one can't take goes to the others.
        let mut order: Vec<usize> = (0..takes.len()).filter(|i| house.peers[*i].unchoked).collect();
        order.sort_by_key(|i| takes[*i]);
        let (mut left, mut sharing) = (uplink, order.len() as u64);
        house.peers.iter_mut().for_each(|p| p.upload_rate = 0);
        for i in order {
            let rate = takes[i].min(left / sharing);
            left -= rate;
            sharing -= 1;
            let peer = &mut house.peers[i];
            peer.upload_rate = rate;
            peer.uploaded_in_turn += rate * RECHOKE.as_secs();
            peer.uploaded += rate * RECHOKE.as_secs();
        }
        used += uplink - left;
    }
    (used as f64 / (uplink * minutes * 6) as f64, first)
}

#[test]
fn a_seed_fills_its_uplink_and_starves_nobody() {
    // libtorrent#1171: many slow peers and a few fast ones.
    let takes: Vec<u64> = (0..40).map(|i| if i % 8 == 0 { 300_000 } else { 5_000 }).collect();
    let (balanced, first) = seed(SeedMode::Balanced, 1_000_000, &takes, 60);
    // The rest is the time until the turns have found the fast ones.
    assert!(balanced > 0.9, "{balanced} of the uplink");
    let last = first.iter().map(|at| at.expect("everybody is served")).max();
    assert!(last < Some(40 / 4 * TURN_MAX.as_secs()), "{last:?}");
    let (turns, first) = seed(SeedMode::RoundRobin, 1_000_000, &takes, 60);
    assert!(turns < 0.6, "turns alone leave the uplink idle: {turns}");
    assert!(first.iter().all(|at| at.is_some()));
}

#[test]
fn fast_takers_do_not_keep_a_seed_to_themselves() {
    let takes: Vec<u64> = (0..60).map(|i| if i < 30 { 10_000_000 } else { 10_000 }).collect();
    let (balanced, first) = seed(SeedMode::Balanced, 1_000_000, &takes, 60);
    assert!(balanced > 0.95 && first.iter().all(|at| at.is_some()), "{balanced} {first:?}");
    let (_, first) = seed(SeedMode::Fastest, 1_000_000, &takes, 60);
    assert!(first.iter().flatten().count() < 20, "that mode does: {first:?}");
}

#[test]
fn anti_leech_prefers_both_ends() {
    let peers = (0..11).map(|i| PeerView { complete_permille: i as u16 * 100, ..peer(i) });
    let mut house = House::new(Seeding::new(SeedMode::AntiLeech, Slots::Fixed(4), 1), peers);
    assert_eq!(house.step(), BTreeSet::from([0, 1, 9, 10]));
}
