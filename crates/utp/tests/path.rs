//! Two endpoints over a path with faults: every byte arrives, in order, once, at any seed.

mod sim;

use sim::{Link, World};
use std::time::Duration;
use utp::Cause;

/// Both directions done, and nothing left behind.
fn ended(world: &World) -> bool {
    let over = |node: usize| world.nodes[node].streams.values().all(|s| s.closed == Some(Cause::Finished));
    over(0) && over(1) && !world.nodes[1].streams.is_empty()
}

fn transfer(seed: u64, link: Link, bytes: u64, echo: u64) -> World {
    let mut world = World::new(seed, vec![link.clone(), link], &[0, 1]);
    world.nodes[1].echo = echo;
    world.connect(0, 1, bytes);
    assert!(world.run(600.0, ended), "seed {seed}: {:?} {:?}", world.nodes[0].streams, world.nodes[1].streams);
    for (node, got) in [(0, echo), (1, bytes)] {
        let stream = world.stream(node);
        assert_eq!((stream.got, stream.finished), (got, true), "seed {seed}");
    }
    // The connections linger, and then are gone.
    world.run(10.0, |_| false);
    assert!(world.nodes.iter().all(|n| n.endpoint.is_empty() && n.endpoint.deadline().is_none()), "seed {seed}");
    world
}

#[test]
fn megabytes_arrive_over_a_clean_path() {
    let world = transfer(1, Link::new(0, 0, 5), 20_000_000, 1_000_000);
    assert_eq!(world.links[0].dropped, 0);
}

#[test]
fn megabytes_arrive_over_a_bad_path_at_any_seed() {
    for seed in 0..20 {
        let link = Link::new(2_000_000, 60_000, 5 + seed % 30).faulty(50, 40, 30);
        transfer(seed, link, 1_000_000, 300_000);
    }
}

#[test]
fn a_terrible_path_loses_time_and_no_bytes() {
    for seed in 100..106 {
        transfer(seed, Link::new(500_000, 20_000, 20).faulty(6, 5, 4), 100_000, 20_000);
    }
}

#[test]
fn a_path_that_carries_little_is_found_out() {
    for mtu in [560, 1_000, 1_400, 1_472] {
        let mut link = Link::new(5_000_000, 200_000, 10);
        link.mtu = mtu;
        let mut world = World::new(7, vec![link.clone(), link], &[0, 1]);
        let conn = world.connect(0, 1, u64::MAX);
        world.run(5.0, |_| false);
        let size = world.nodes[0].endpoint.status(conn).unwrap().datagram;
        assert!(size <= mtu && size + 16 > mtu.min(1_472), "{size} where {mtu} are carried");
        assert!(world.stream(1).got > 10_000_000, "{mtu}: {}", world.stream(1).got);
    }
}

/// Bytes a second, from the third second on.
fn rate(world: &mut World, seconds: f64) -> f64 {
    world.run(3.0, |_| false);
    let before = world.stream(1).got;
    world.run(seconds, |_| false);
    (world.stream(1).got - before) as f64 / seconds
}

#[test]
fn a_clean_path_is_used_to_nine_tenths() {
    // 100 Mbit/s and 20 ms, with queues from shallow to deep.
    for queue in [100_000, 400_000, 1_500_000, 4_000_000] {
        let mut world =
            World::new(3, vec![Link::new(12_500_000, queue, 10), Link::new(12_500_000, queue, 10)], &[0, 1]);
        world.connect(0, 1, u64::MAX);
        let part = rate(&mut world, 20.0) / 12_500_000.0;
        assert!(part > 0.9, "{part:.3} with a queue of {queue}");
    }
}

#[test]
fn the_queue_is_kept_near_the_target_for_as_long_as_it_takes() {
    let mut world = World::new(4, vec![Link::new(12_500_000, 20_000_000, 10), Link::new(0, 0, 10)], &[0, 1]);
    world.connect(0, 1, u64::MAX);
    world.run(10.0, |_| false);
    // Longer than delays are remembered: the queue must not be taken for the path.
    let before = world.stream(1).got;
    world.links[0].waited = Duration::ZERO;
    let mut waits = Vec::new();
    for _ in 0..170 {
        world.run(1.0, |_| false);
        waits.push(world.links[0].wait(world.now));
    }
    waits.sort_unstable();
    let (median, most) = (waits[85].as_millis(), world.links[0].waited.as_millis());
    assert!((60..=110).contains(&median), "median {median} ms");
    assert!(most < 200, "{most} ms");
    let part = (world.stream(1).got - before) as f64 / (170.0 * 12_500_000.0);
    assert!(part > 0.95, "{part:.3}");
}

#[test]
fn it_makes_room_for_a_flow_that_knows_only_losses() {
    // Queues of 25 to 300 ms, all of which the other flow fills: longer and shorter ones than the target.
    for queue in [312_500, 625_000, 1_250_000, 3_750_000] {
        let mut world = World::new(5, vec![Link::new(12_500_000, queue, 10), Link::new(0, 0, 10)], &[0, 1]);
        world.connect(0, 1, u64::MAX);
        world.run(10.0, |_| false);
        world.reno = Some(sim::Reno::new(0, Duration::from_millis(10)));
        world.run(20.0, |_| false);
        let (ours, theirs) = (world.stream(1).got, world.reno.as_ref().unwrap().arrived);
        world.run(30.0, |_| false);
        let (ours, theirs) = (world.stream(1).got - ours, world.reno.as_ref().unwrap().arrived - theirs);
        let part = ours as f64 / (ours + theirs) as f64;
        assert!(part < 0.1, "{part:.3} of a path with a queue of {queue}");
        // And takes it all again when the other has gone.
        world.reno.as_mut().unwrap().stopped = true;
        world.run(15.0, |_| false);
        let before = world.stream(1).got;
        world.run(5.0, |_| false);
        let part = (world.stream(1).got - before) as f64 / 62_500_000.0;
        assert!(part > 0.9, "{part:.3} of a path with a queue of {queue}");
    }
}

#[test]
fn one_seed_is_one_run() {
    let run = |seed| {
        let world = transfer(seed, Link::new(1_000_000, 30_000, 10).faulty(20, 20, 20), 300_000, 100_000);
        (world.now, world.links[0].dropped)
    };
    assert_eq!(run(9), run(9));
    assert_ne!(run(9).0, run(10).0);
}
