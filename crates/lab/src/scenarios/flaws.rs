//! The checkers checked: each deliberate mistake of [`swarm::Flaw`] is found by some scenario.

use super::{Failure, scenario};
use crate::params::Params;
use swarm::Flaw;

/// What a scenario says of a swarm whose engines all have `flaw`, over some seeds; None if nothing.
fn found(flaw: Option<Flaw>, name: &str, draw: u64) -> Option<Failure> {
    let scenario = scenario(name).unwrap();
    let params = Params { draw, leechers: 30, ..scenario.params() };
    let run = |seed| scenario.run_with(seed, &params, Box::new(move |peer| peer.config.flaw = flaw), None);
    (1..3).find_map(|seed| run(seed).err())
}

#[test]
fn every_flaw_is_found() {
    let table = [
        (Flaw::AsksWhileChoked, "swarm", 0, "while it is choked"),
        (Flaw::EverybodyInOrder, "origin-leaves", 0, "copies"),
        (Flaw::ForgetsWhatWasAsked, "weather", 1, "count as asked for"),
        (Flaw::NeverCancels, "swarm", 0, "unknown to the picker"),
        (Flaw::ServesTheChoked, "swarm", 0, "breaks an invariant"),
        (Flaw::NeverRotates, "one-source", 0, "for its first block"),
        (Flaw::UnchokesAll, "swarm", 0, "unchoked with"),
        (Flaw::BansNobody, "liars", 0, "nobody was banned"),
        (Flaw::BansTheLast, "liars", 0, "which is honest"),
        (Flaw::TrustsEverybody, "liars", 0, "which is bad"),
        (Flaw::TellsTooEarly, "liars", 0, "says twice that it has"),
    ];
    assert_eq!(table.map(|(flaw, ..)| flaw), Flaw::ALL, "the table has every flaw");
    for (flaw, name, draw, want) in table {
        let Some(failure) = found(Some(flaw), name, draw) else { panic!("nobody found {flaw:?} in {name}") };
        assert!(failure.to_string().contains(want), "{flaw:?} should have been found by {want:?}: {failure}");
    }
}

#[test]
fn without_a_flaw_nothing_is_found() {
    for (name, draw) in
        [("swarm", 0), ("origin-leaves", 0), ("free-riders", 0), ("one-source", 0), ("liars", 0), ("weather", 1)]
    {
        if let Some(failure) = found(None, name, draw) {
            panic!("{failure}");
        }
    }
}
