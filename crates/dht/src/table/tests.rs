//! Each rule of the table, and a property over sequences of operations.

use super::*;
use base::Rng;
use proptest::prelude::{any, prop_assert, proptest};

const OWN: NodeId = NodeId([0; 20]);
const T0: Instant = Instant::from_secs(100_000);

/// An address in a network of its own.
fn public(i: u32) -> SocketAddr {
    SocketAddr::from(([9, (i >> 8) as u8, i as u8, 1], 6881))
}

/// An id that shares `shared` bits with ours.
fn id(shared: usize, i: u32) -> NodeId {
    OWN.random_at(shared, &mut Rng::from_seed((shared as u64) << 32 | u64::from(i)))
}

fn secs(s: u64) -> Duration {
    Duration::from_secs(s)
}

#[test]
fn buckets_split_where_we_are() {
    let mut table = Table::new(OWN, false);
    for i in 0..2_000 {
        table.answered(T0, NodeId::random(&mut Rng::from_seed(i)), public(i as u32));
        table.check_invariants();
    }
    // Some log2(2000 / 8) of them are full.
    assert!((7..=11).contains(&table.depth()), "{}", table.depth());
    assert!(table.len() >= 7 * K && table.spares() > 0);
}

#[test]
fn a_wide_table_holds_more_near_the_top() {
    let mut table = Table::new(OWN, true);
    (0..4_000).for_each(|i| {
        table.answered(T0, NodeId::random(&mut Rng::from_seed(i)), public(i as u32));
    });
    table.check_invariants();
    let sizes: Vec<usize> = table.buckets.iter().map(|b| b.nodes.len()).collect();
    assert_eq!(sizes[..5], [128, 64, 32, 16, 8]);
}

#[test]
fn the_silent_are_asked_before_they_are_replaced() {
    let mut table = Table::new(OWN, false);
    (0..8).for_each(|i| assert_eq!(table.answered(T0 + secs(i.into()), id(0, i), public(i)), None));
    table.answered(T0, id(5, 0), public(100)); // so that the far bucket is not the last
    // All are good: who comes waits, and nobody is asked.
    assert_eq!(table.answered(T0 + secs(20), id(0, 8), public(8)), None);
    assert_eq!((table.buckets[0].nodes.len(), table.spares()), (8, 1));
    // A quarter of an hour later the eldest are questionable: one after the other is asked.
    let late = T0 + FRESH + secs(10);
    assert_eq!(table.answered(late, id(0, 9), public(9)), Some(public(0)));
    assert_eq!(table.answered(late, id(0, 10), public(10)), Some(public(1)));
    // The first one answers and stays, the other one fails twice and goes; who was heard of last takes the place.
    table.answered(late, id(0, 0), public(0));
    table.failed(public(1));
    assert!(table.nodes().any(|n| n.addr == public(1)), "one lost datagram is no death");
    table.failed(public(1));
    let here = |i| table.nodes().any(|n| n.addr == public(i));
    assert!(here(0) && !here(1) && here(10));
    table.check_invariants();
}

#[test]
fn the_bad_are_replaced_at_once_and_forgotten_late() {
    let mut table = Table::new(OWN, false);
    (0..8).for_each(|i| {
        table.answered(T0, id(0, i), public(i));
    });
    table.answered(T0, id(5, 0), public(100));
    (0..2).for_each(|_| table.failed(public(3)));
    assert_eq!(table.len(), 9, "nobody waits for its place");
    assert!(table.closest(&id(0, 3), 20).iter().all(|(_, addr)| *addr != public(3)));
    assert!(table.wants(&id(0, 20), public(20)));
    table.answered(T0, id(0, 20), public(20));
    assert!(table.len() == 9 && table.nodes().all(|n| n.addr != public(3)));
    (0..FAILS_MAX).for_each(|_| table.failed(public(4)));
    assert_eq!(table.len(), 8);
    // An answer makes good again.
    table.failed(public(5));
    assert_eq!(table.good(T0), 7);
    table.answered(T0, id(0, 5), public(5));
    assert_eq!(table.good(T0), 8);
}

#[test]
fn one_node_an_address_and_a_network() {
    let mut table = Table::new(OWN, false);
    let at = |ip: [u8; 4], port: u16| SocketAddr::from((ip, port));
    table.answered(T0, id(1, 1), at([9, 9, 9, 1], 1));
    table.answered(T0, id(2, 2), at([9, 9, 9, 2], 1));
    table.answered(T0, id(3, 3), at([9, 9, 9, 1], 2));
    assert_eq!(table.len(), 1, "the first of a /24");
    assert!(!table.wants(&id(2, 2), at([9, 9, 9, 7], 1)));
    table.answered(T0, id(4, 4), at([9, 9, 9, 1], 1));
    assert_eq!(table.closest(&OWN, 9), [(id(4, 4), at([9, 9, 9, 1], 1))], "a node that began anew");
    // On a local network all may be others.
    (0..5).for_each(|i| {
        table.answered(T0, id(5, u32::from(i)), at([127, 0, 0, 1], 1000 + i));
    });
    assert_eq!(table.len(), 6);
    // The same id elsewhere does not move a node that is well.
    table.answered(T0, id(4, 4), at([8, 8, 8, 8], 1));
    assert!(table.nodes().all(|n| n.addr.ip() != at([8, 8, 8, 8], 1).ip()));
    table.answered(T0, OWN, at([7, 7, 7, 7], 1));
    assert_eq!(table.len(), 6, "we are not in it");
    table.check_invariants();
}

#[test]
fn who_complies_comes_before_who_does_not() {
    let mut table = Table::new(OWN, false);
    let mut rng = Rng::from_seed(1);
    // Ids of one half of the key space that fit no address of theirs, until the half is full.
    (0..8).for_each(|i| {
        table.answered(T0, id(0, i), public(i));
    });
    table.answered(T0, id(5, 0), public(99));
    let complying: Vec<_> = (200..2_000)
        .map(|i| (secure::id_for(public(i).ip(), &mut rng), public(i)))
        .filter(|(id, _)| table.bucket_of(id) == 0)
        .take(8)
        .collect();
    for (id, addr) in &complying {
        table.answered(T0, *id, *addr);
    }
    let fitting = table.buckets[0].nodes.iter().filter(|n| n.fits).count();
    assert_eq!((table.buckets[0].nodes.len(), fitting), (8, complying.len()));
    // And not the other way round.
    table.answered(T0, id(0, 50), public(50));
    assert!(table.buckets[0].nodes.iter().all(|n| n.addr != public(50)));
}

#[test]
fn only_good_nodes_are_named_to_others() {
    let mut table = Table::new(OWN, false);
    table.answered(T0, id(1, 1), public(1));
    table.suppose(T0, id(1, 2), public(2), None);
    table.answered(T0, id(1, 3), "10.0.0.1:1".parse().unwrap());
    table.answered(T0, id(1, 4), public(4));
    table.failed(public(4));
    let named = |now, scope| table.closest_good(now, &OWN, 8, scope).len();
    assert_eq!(named(T0, Scope::Global), 1, "neither by hearsay, nor failing, nor inside");
    assert_eq!(named(T0, Scope::Private), 2);
    assert_eq!(named(T0 + FRESH, Scope::Private), 0, "not for ever");
    assert_eq!(table.closest(&OWN, 8).len(), 4, "our own lookups try them all");
    assert!(table.is_proven(T0, public(1)) && !table.is_proven(T0, public(2)));
}

#[test]
fn nodes_of_an_earlier_run_are_tried_and_forgotten() {
    let mut table = Table::new(OWN, false);
    (0..4).for_each(|i| table.suppose(T0, id(1, i), public(i), None));
    let asked: Vec<_> = std::iter::from_fn(|| table.due_ping(T0)).collect();
    assert_eq!(asked.len(), 4, "each is asked once");
    table.answered(T0, id(1, 0), public(0));
    (0..2).for_each(|_| table.failed(public(1)));
    assert_eq!((table.len(), table.good(T0)), (3, 1));
    assert!(table.due_ping(T0 + RETRY).is_some());
}

#[test]
fn what_nobody_spoke_of_is_looked_for() {
    let (mut table, mut rng) = (Table::new(OWN, false), Rng::from_seed(1));
    (0..500).for_each(|i| {
        table.answered(T0, NodeId::random(&mut Rng::from_seed(i)), public(i as u32));
    });
    assert_eq!(table.due_refresh(T0 + secs(899), &mut rng), None);
    let now = T0 + FRESH;
    let targets: Vec<_> = std::iter::from_fn(|| table.due_refresh(now, &mut rng)).collect();
    let mut buckets: Vec<_> = targets.iter().map(|t| table.bucket_of(t)).collect();
    buckets.sort();
    assert_eq!(buckets, (0..table.depth()).collect::<Vec<_>>(), "each bucket once");
    let full = table.buckets.iter().filter(|b| b.nodes.len() == K).count();
    let gaps: Vec<_> = table.gaps(&mut rng).iter().map(|t| table.bucket_of(t)).collect();
    assert_eq!(gaps.len(), table.depth() - full, "one lookup for each bucket of eight that has room");
    assert!(gaps.iter().all(|at| table.buckets[*at].nodes.len() < K));
}

#[test]
fn another_id_keeps_whom_it_can() {
    let mut table = Table::new(OWN, true);
    (0..300).for_each(|i| {
        table.answered(T0, NodeId::random(&mut Rng::from_seed(i)), public(i as u32));
    });
    let before = table.len();
    table.rebase(T0, NodeId([0x5a; 20]));
    table.check_invariants();
    assert!(table.len() > before / 2 && table.own() == NodeId([0x5a; 20]));
}

proptest! {
    #[test]
    fn any_sequence_keeps_the_rules(
        steps in proptest::collection::vec((0..5u8, 0..6usize, 0..40u32, 0..30u32, 0..2_000u64), 1..300),
        wide in any::<bool>(),
    ) {
        let (mut table, mut now, mut rng) = (Table::new(OWN, wide), T0, Rng::from_seed(1));
        for (what, shared, n, host, wait) in steps {
            now += secs(wait / 10);
            match what {
                0 | 1 => drop(table.answered(now, id(shared, n), public(host))),
                2 => table.failed(public(host)),
                3 => table.suppose(now, id(shared, n), public(host), None),
                _ if n == 0 => table.rebase(now, NodeId::random(&mut rng)),
                _ => drop(table.due_ping(now)),
            }
            table.check_invariants();
        }
        let closest = table.closest(&id(3, 1), 8);
        prop_assert!(closest.windows(2).all(|w| id(3, 1).distance(&w[0].0) < id(3, 1).distance(&w[1].0)));
    }
}
