//! Each target for a moment, in every run of the tests; `cargo xtask fuzz` goes on where this stops.

use fuzz::{Fuzzer, TARGETS};

/// Damaged inputs a target.
const EXECUTIONS: u64 = 3_000;

#[test]
fn no_target_breaks() {
    for target in TARGETS {
        let mut fuzzer = Fuzzer::new(target, 20_261_123);
        fuzzer.run(EXECUTIONS);
        assert_eq!(fuzzer.executions(), EXECUTIONS, "{}", target.name);
    }
}

#[test]
fn one_seed_is_one_run() {
    let run = || {
        let mut fuzzer = Fuzzer::new(&TARGETS[0], 5);
        fuzzer.run(500);
        (fuzzer.examples(), fuzzer.longest())
    };
    assert_eq!(run(), run());
}
