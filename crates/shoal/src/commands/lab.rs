//! `shoal lab`: experiments in virtual time.

use crate::args::LabRunArgs;
use crate::failure::Failure;
use crate::say::{Voice, printable};
use crate::units;
use serde::Serialize;
use std::time::Duration;

#[derive(Serialize)]
struct Listed {
    scenario: &'static str,
    about: &'static str,
}

/// Prints the scenarios.
pub fn list(voice: Voice) -> Result<(), Failure> {
    for (scenario, about) in all() {
        voice.object(&Listed { scenario, about });
        voice.result(&format!("{scenario:<16}{about}"));
    }
    Ok(())
}

/// Names of all scenarios, and what happens in them.
fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    let swarms = lab::SCENARIOS.iter().map(|s| (s.name, s.about));
    swarms.chain(lab::dht_world::DHT_SCENARIOS.iter().map(|s| (s.name, s.about)))
}

/// Runs one scenario.
pub fn run(args: &LabRunArgs, voice: Voice) -> Result<(), Failure> {
    if let Some(scenario) = lab::dht_world::dht_scenario(&args.scenario) {
        return run_dht(scenario, args, voice);
    }
    let Some(scenario) = lab::scenario(&args.scenario) else {
        let names: Vec<_> = all().map(|(name, _)| name).collect();
        return Err(Failure::usage(format!("no scenario is called {}; there are {}", args.scenario, names.join(", "))));
    };
    let mut params = scenario.params();
    for (name, value) in &args.parameters.0 {
        params.set(name, value).map_err(|e| Failure::usage(format!("--{name} {value}: {e}")))?;
    }
    let before = cpu_time();
    let report = scenario.run(args.seed.unwrap_or(1), &params).map_err(failed)?;
    let cpu = before.zip(cpu_time()).map(|(before, after)| after.saturating_sub(before));
    voice.object(&Ran { report: &report, cpu_seconds: cpu.map(|cpu| cpu.as_secs_f64()) });
    print(&report, voice);
    if let Some(cpu) = cpu {
        voice.result(&format!("{:<26}{:.2} s for {} events", "CPU", cpu.as_secs_f64(), report.results.events));
    }
    Ok(())
}

fn run_dht(scenario: &lab::dht_world::DhtScenario, args: &LabRunArgs, voice: Voice) -> Result<(), Failure> {
    let mut params = scenario.params();
    for (name, value) in &args.parameters.0 {
        params.set(name, value).map_err(|e| Failure::usage(format!("--{name} {value}: {e}")))?;
    }
    let before = cpu_time();
    let report = scenario.run(args.seed.unwrap_or(1), &params).map_err(failed)?;
    let cpu = before.zip(cpu_time()).map(|(before, after)| after.saturating_sub(before));
    voice.object(&Ran { report: &report, cpu_seconds: cpu.map(|cpu| cpu.as_secs_f64()) });
    print_dht(&report, voice);
    if let Some(cpu) = cpu {
        voice.result(&format!("{:<26}{:.2} s for {} datagrams", "CPU", cpu.as_secs_f64(), report.results.datagrams));
    }
    Ok(())
}

/// What the lab says of a run that did not show what it should.
fn failed(error: lab::Failure) -> Failure {
    if let lab::Failure::Param(error) = error {
        return Failure::usage(error.to_string());
    }
    // The way to see it again is worth a line of its own.
    crate::say::fail(&error.to_string().lines().map(printable).collect::<Vec<_>>().join("\n"));
    Failure::Said
}

fn print_dht(report: &lab::dht_world::DhtReport, voice: Voice) {
    let (r, bounds) = (&report.results, &report.bounds);
    let line = |name: &str, value: String| voice.result(&format!("{name:<26}{value}"));
    let beside = |found: f64, bound: Option<f64>| match bound {
        Some(bound) => format!("{found:.2} (theory, tables of 8 and 3 at once: {bound:.2})"),
        None => format!("{found:.2}"),
    };
    line("scenario", format!("{}, seed {}, {} nodes", report.scenario, report.seed, report.parameters.nodes));
    line("lookups", r.lookups.to_string());
    line("rounds to the closest", beside(r.rounds, bounds.rounds));
    line("questions", beside(r.queries, bounds.queries));
    line("  answered", format!("{:.2}", r.answers));
    line("median, 95 %, longest", format!("{:.3} s, {:.3} s, {:.3} s", r.seconds_median, r.seconds_p95, r.seconds_max));
    line("found the closest", format!("{:.1} %", 100.0 * r.found_closest));
    line("found of the closest 8", format!("{:.1} %", 100.0 * r.found_eight));
    line("trace", report.trace_hash.clone());
}

/// A report, and what it cost.
#[derive(Serialize)]
struct Ran<'a, R: Serialize> {
    #[serde(flatten)]
    report: &'a R,
    /// Seconds of a real core; null where the system does not say.
    cpu_seconds: Option<f64>,
}

/// Time that this thread has had on a core, as Linux counts it.
fn cpu_time() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(text.split_ascii_whitespace().next()?.parse().ok()?))
}

fn print(report: &lab::Report, voice: Voice) {
    let (r, bounds) = (&report.results, &report.bounds);
    let line = |name: &str, value: String| voice.result(&format!("{name:<26}{value}"));
    let seconds = |s: f64| {
        if s.is_finite() {
            units::time(Duration::try_from_secs_f64(s).unwrap_or(Duration::MAX))
        } else {
            "never".into()
        }
    };
    let maybe = |s: Option<f64>| s.map_or("-".into(), seconds);
    line("scenario", format!("{}, seed {}", report.scenario, report.seed));
    line("completed", format!("{} of {}", r.completed, r.leechers));
    line("first", maybe(r.seconds_min));
    line("median", maybe(r.seconds_median));
    line("95 %", maybe(r.seconds_p95));
    line("last", maybe(r.seconds_last));
    line("bound: from seeds alone", seconds(bounds.client_server));
    line("bound: peer to peer", seconds(bounds.peer_to_peer));
    line("bound: best schedule", seconds(bounds.schedule));
    line("bytes", units::bytes(r.bytes));
    line("  from seeds", units::bytes(r.bytes_from_seeds));
    line("  from each other", units::bytes(r.bytes_from_peers));
    line("  wasted", units::bytes(r.bytes_wasted));
    line("bad pieces, bans", format!("{}, {}", r.pieces_bad, r.banned));
    line("trace", report.trace_hash.clone());
}
