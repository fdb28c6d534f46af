//! Runs fuzz targets for long: `fuzz [TARGET] [--seconds N] [--seed N]`.
#![allow(clippy::print_stdout, reason = "a tool for the terminal")]

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use fuzz::{Fuzzer, TARGETS, Target};

/// Executions between two looks at the clock.
const BATCH: u64 = 1_000;

fn main() -> Result<()> {
    let (mut name, mut seconds, mut seed) = (None, 60, 1);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let text = arguments.next().with_context(|| format!("{argument} needs a number"))?;
            text.parse::<u64>().with_context(|| format!("{argument} needs a number, not {text:?}"))
        };
        match argument.as_str() {
            "--seconds" => seconds = number()?,
            "--seed" => seed = number()?,
            other => name = Some(other.to_owned()),
        }
    }
    let chosen: Vec<&Target> = TARGETS.iter().filter(|t| name.as_deref().is_none_or(|n| n == t.name)).collect();
    if chosen.is_empty() {
        let known: Vec<&str> = TARGETS.iter().map(|t| t.name).collect();
        bail!("no such target; known are {}", known.join(", "));
    }
    for target in chosen {
        run(target, Duration::from_secs(seconds), seed);
    }
    Ok(())
}

fn run(target: &'static Target, limit: Duration, seed: u64) {
    let mut fuzzer = Fuzzer::new(target, seed);
    let began = Instant::now();
    while began.elapsed() < limit {
        fuzzer.run(BATCH);
    }
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{:16} {:>12} executions in {seconds:.0} s ({:.0} a second), {} examples, longest {} bytes, seed {seed}",
        target.name,
        fuzzer.executions(),
        fuzzer.executions() as f64 / seconds,
        fuzzer.examples(),
        fuzzer.longest(),
    );
}
