//! The scenarios with a few seeds, LAB.md's table at small sizes, and that a seed replays.

use super::world::round_trip_us;
use super::*;

fn run(name: &str, seed: u64, change: impl FnOnce(&mut DhtParams)) -> DhtReport {
    let scenario = dht_scenario(name).unwrap();
    let mut params = scenario.params();
    change(&mut params);
    match scenario.run(seed, &params) {
        Ok(report) => report,
        Err(failure) => panic!("{failure}"),
    }
}

#[test]
fn the_table_of_the_paper() {
    for (nodes, seed) in [(1_000, 1), (1_000, 2), (10_000, 1), (100_000, 1)] {
        let report = run("dht-paper", seed, |p| p.nodes = nodes);
        assert!(report.bounds.rounds.is_some() && report.results.found_eight == 1.0);
    }
}

#[test]
fn production_needs_fewer_rounds() {
    for (nodes, theory) in [(1_000, 1.24), (10_000, 1.91), (100_000, 2.50)] {
        let report = run("dht", 1, |p| (p.nodes, p.lookups) = (nodes, 200));
        assert!(report.results.rounds < theory - 0.3, "{nodes} nodes: {:?}", report.results);
    }
}

#[test]
fn one_in_five_dead() {
    for (nodes, seed) in [(1_000, 1), (1_000, 2), (10_000, 1), (100_000, 1)] {
        let report = run("dht-dead", seed, |p| (p.nodes, p.lookups) = (nodes, 300));
        assert!(report.results.queries > report.results.answers + 2.0, "the dead are asked, too");
    }
}

#[test]
fn a_seed_replays() {
    let go = |seed| run("dht-dead", seed, |p| p.lookups = 50);
    assert_eq!(go(5), go(5));
    assert_ne!(go(5).trace_hash, go(6).trace_hash);
}

#[test]
fn failures_say_how_to_replay() {
    let scenario = dht_scenario("dht").unwrap();
    let params = DhtParams { rtt: 1_000, lookups: 30, ..scenario.params() };
    let failure = scenario.run(9, &params).unwrap_err().to_string();
    assert!(failure.starts_with("dht, seed 9: "), "{failure}");
    assert!(failure.ends_with("replay it with: shoal lab run dht --seed 9 --lookups 30 --rtt 1000"), "{failure}");
}

#[test]
fn round_trips_are_as_said() {
    assert_eq!(round_trip_us(500_000, 120), 120_000);
    assert_eq!(round_trip_us(950_000, 120), 322_000);
    assert_eq!(round_trip_us(950_000, 60), 161_000);
    assert_eq!(round_trip_us(0, 120), 20_000);
    assert!(round_trip_us(u64::MAX, 120) < 1_000_000);
    assert!((0..1_000_000).step_by(1_000).map(|p| round_trip_us(p, 120)).is_sorted());
}

#[test]
fn names_are_unique() {
    let all = DHT_SCENARIOS.iter().map(|s| (s.name, s.about)).chain(crate::SCENARIOS.iter().map(|s| (s.name, s.about)));
    let mut names: Vec<_> = all.inspect(|(_, about)| assert!(!about.is_empty())).map(|(name, _)| name).collect();
    let flags = crate::Params::ALL.iter().chain(DhtParams::ALL).map(|(name, ..)| *name);
    for list in [&mut names, &mut flags.collect()] {
        list.sort();
        assert!(list.windows(2).all(|w| w[0] != w[1]), "{list:?}");
    }
}
