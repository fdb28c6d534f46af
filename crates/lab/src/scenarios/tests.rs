//! Every scenario with a few seeds, and the proof that a seed replays.

use super::*;

fn run(name: &str, seed: u64) -> Report {
    let scenario = scenario(name).unwrap();
    match scenario.run(seed, &scenario.params()) {
        Ok(report) => report,
        Err(failure) => panic!("{failure}"),
    }
}

fn run_seeds(name: &str, seeds: std::ops::Range<u64>) {
    seeds.for_each(|seed| {
        run(name, seed);
    });
}

#[test]
fn swarm_comes_near_the_bound() {
    let swarm = scenario("swarm").unwrap();
    let params = Params { draw: 0, ..swarm.params() };
    let report = swarm.run(1, &params).unwrap_or_else(|failure| panic!("{failure}"));
    assert_eq!(report.results.completed, 100);
    assert!(report.results.bytes_from_peers > 9 * report.results.bytes_from_seeds);
}

#[test]
fn swarms() {
    run_seeds("swarm", 1..4);
}

#[test]
fn liars_are_banned() {
    run_seeds("liars", 1..5);
}

#[test]
fn stallers_stop_nobody() {
    run_seeds("stallers", 1..5);
}

#[test]
fn the_origin_may_leave() {
    run_seeds("origin-leaves", 1..5);
}

#[test]
fn crashes() {
    run_seeds("crash", 1..5);
}

#[test]
fn disks() {
    run_seeds("disks", 1..4);
}

#[test]
fn slots_of_one_source_go_round() {
    run_seeds("one-source", 1..3);
}

#[test]
fn weather() {
    run_seeds("weather", 1..5);
}

#[test]
fn shards_that_hear_late_of_each_other() {
    run_seeds("shards", 1..7);
}

#[test]
fn large_scaled_down() {
    let large = scenario("large").unwrap();
    let params = Params { leechers: 100, pieces: 100, ..large.params() };
    let report = large.run(1, &params).unwrap_or_else(|failure| panic!("{failure}"));
    // What a run costs, counted instead of timed: 17.2 events for each piece that somebody fetched when this was written,
    // connections included, and two deadlines for each peer in three seconds.
    let (r, fetched) = (&report.results, params.leechers * params.pieces);
    assert!(r.events <= 19 * fetched, "{} events for {fetched} pieces fetched", r.events);
    let peer_seconds = (params.leechers + params.seeds) as f64 * r.seconds_run;
    assert!(r.ticks as f64 <= 0.8 * peer_seconds, "{} deadlines in {peer_seconds:.0} s of all peers", r.ticks);
}

#[test]
fn a_seed_replays_to_the_last_event() {
    for name in ["swarm", "crash", "weather", "shards"] {
        let scenario = scenario(name).unwrap();
        let params = Params { leechers: 20, ..scenario.params() };
        let run = |seed| scenario.run(seed, &params).unwrap_or_else(|failure| panic!("{failure}"));
        let (a, b) = (run(5), run(5));
        assert_eq!(a, b, "{name}");
        assert_ne!(a.trace_hash, run(6).trace_hash, "{name}");
    }
}

#[test]
fn names_are_unique_and_failures_say_how_to_replay() {
    for (i, s) in SCENARIOS.iter().enumerate() {
        assert!(SCENARIOS[..i].iter().all(|t| t.name != s.name) && !s.about.is_empty());
    }
    let swarm = scenario("swarm").unwrap();
    let params = Params { limit: 1, leechers: 3, ..swarm.params() };
    let failure = swarm.run(9, &params).unwrap_err().to_string();
    assert!(failure.ends_with("replay it with: shoal lab run swarm --seed 9 --leechers 3 --limit 1"), "{failure}");
}
