//! `cargo xtask bench`: ours beside the best programs of others, on this machine, within one run.
//!
//! Figures of different machines, and of one machine at different hours, cannot be compared; so everything that is compared runs
//! in turn (A B A B), and what counts is the median. Every file that was transferred is compared with its source byte for byte;
//! a difference fails the comparison. All of it happens in a network namespace of its own, with one small tracker in the
//! harness, TCP and no encryption. Programs that run as daemons are started first and then handed the torrent; ours is a
//! command, and its start counts.

mod clients;
mod command;
mod data;
mod http;
mod idle;
mod inside;
mod machine;
mod many;
mod options;
mod place;
mod plan;
mod proc;
mod process;
mod record;
mod report;
mod swarm;
mod tracker;
mod transfer;
mod web;

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use self::clients::Programs;
use self::options::Options;
use self::place::Place;
use self::record::{Book, Record, Row};
use crate::{run, setup};

const USAGE: &str = "cargo xtask bench setup          installs the others, makes the data
cargo xtask bench [NAME...]      compares; without a name, everything
cargo xtask bench show FILE...   medians of what was kept
cargo xtask bench report FILE... writes docs/BENCHMARKS.md and docs/BENCHMARKS-WEB.md, of what was run

  --runs N             how often each case runs [5]
  --json FILE          keeps every run there, and goes on from what is there
  --report             writes those pages at the end; needs --json
  --filter TEXT        only cases with this in their name; may be repeated
  --case SEED:LEECHER  this pair instead of the usual ones; may be repeated
  --shoal BINARY       this build of ours, instead of building one
  --before BINARY      another build of ours, as the client `before`";

/// Our package for others: version, and flags of the build.
const RQBIT: &[&str] = &["rqbit", "--version", "9.1.0", "--no-default-features", "--features", "rust-tls"];

/// Does what the command line says.
pub(crate) fn bench(args: &[&str]) -> Result<()> {
    match args {
        ["setup"] => set_up(),
        ["help" | "--help" | "-h"] => {
            println!("{USAGE}\n");
            plan::BENCHES.iter().for_each(|(name, about)| println!("  {name:<20} {about}"));
            Ok(())
        }
        ["show", files @ ..] => show(files),
        ["report", files @ ..] => report::write(&read(files)?),
        _ => compare(args),
    }
}

fn compare(args: &[&str]) -> Result<()> {
    let options = Options::parse(args)?;
    let programs = programs(&options)?;
    let about = machine::about(&programs)?;
    if !inside::inside() {
        // Everything that needs the world outside comes first.
        let mut again: Vec<String> = args.iter().map(|&a| a.to_owned()).collect();
        if options.ours.is_none() {
            again.extend(["--shoal".to_owned(), programs.ours.to_string_lossy().into_owned()]);
        }
        return inside::enter(&again);
    }
    let mut book = Book::open(options.json.as_deref(), about)?;
    let all = || plan::BENCHES.iter().map(|(name, _)| (*name).to_owned()).collect();
    let names: Vec<String> = if options.names.is_empty() { all() } else { options.names.clone() };
    let mut failed = Vec::new();
    for name in &names {
        failed.extend(turns(name, &options, &programs, &mut book)?);
    }
    if options.report {
        report::write(&book.record)?;
    }
    ensure!(failed.is_empty(), "what failed:\n{}", failed.join("\n"));
    Ok(())
}

/// All cases of a comparison in turn, as often as they are still to be run. One that fails is not run again, and the others go
/// on: what takes an hour should not end with the first surprise. Gives what failed.
fn turns(bench: &str, options: &Options, programs: &Programs, book: &mut Book) -> Result<Vec<String>> {
    let cases = plan::cases(bench, options, programs)?;
    ensure!(!cases.is_empty(), "no case of {bench} has that in its name");
    for set in cases.iter().flat_map(|case| &case.sets) {
        set.make(&programs.place)?;
    }
    let mut failed: BTreeMap<&str, String> = BTreeMap::new();
    for turn in 1..=options.runs {
        for case in &cases {
            if book.record.runs(bench, &case.name) >= turn || failed.contains_key(case.name.as_str()) {
                continue;
            }
            match case.run(programs) {
                Ok(figures) => {
                    let row = Row { bench: bench.to_owned(), case: case.name.clone(), figures };
                    println!("{}", record::row_json(&row));
                    book.add(row)?;
                }
                Err(error) => {
                    let text = format!("{bench} {}, run {turn}: {error:#}", case.name);
                    eprintln!("{text}");
                    failed.insert(&case.name, text);
                }
            }
        }
    }
    for case in &cases {
        println!("median {bench:<10} {:<36} {}", case.name, medians(&book.record, bench, &case.name));
    }
    Ok(failed.into_values().collect())
}

fn medians(record: &Record, bench: &str, case: &str) -> String {
    let figures = record.figures(bench, case);
    let text: Vec<String> = figures.iter().map(|(name, all)| format!("{name} {:.3}", record::median(all))).collect();
    text.join("  ")
}

/// Prints the medians of all that some files hold.
fn show(files: &[&str]) -> Result<()> {
    let record = read(files)?;
    for (bench, _) in plan::BENCHES {
        for case in record.cases(bench) {
            println!("{bench:<10} {case:<36} {}", medians(&record, bench, case));
        }
    }
    Ok(())
}

fn read(files: &[&str]) -> Result<Record> {
    Record::merge(files.iter().map(|file| Record::read(file.as_ref())).collect::<Result<_>>()?)
}

/// Installs what is compared, beside what tests need.
fn set_up() -> Result<()> {
    setup::setup()?;
    setup::install(&[("wrk", "wrk"), ("tc", "iproute2")])?;
    let place = Place::new();
    if std::env::var_os("SHOAL_BENCH_RQBIT").is_none() && !rqbit(&place).is_file() {
        println!("building rqbit; that takes some minutes");
        let root = place.installed().to_string_lossy().into_owned();
        let mut install = run::cargo(&["install", "--quiet", "--locked", "--root", &root]);
        run::run(install.args(RQBIT).env_remove("CARGO_TARGET_DIR"))?;
    }
    for set in [data::BIG, data::BIG_256K, data::MIDDLE, data::SMALL] {
        set.make(&place)?;
    }
    Ok(())
}

fn rqbit(place: &Place) -> PathBuf {
    std::env::var_os("SHOAL_BENCH_RQBIT").map_or_else(|| place.installed().join("bin/rqbit"), PathBuf::from)
}

/// Where everybody is; ours is built first, as it ships.
fn programs(options: &Options) -> Result<Programs> {
    let place = Place::new();
    let ours = match &options.ours {
        Some(binary) => binary.clone(),
        None => {
            run::run(&mut run::cargo(&["build", "--locked", "--release", "--package", "shoal"]))?;
            place::target().join("release/shoal")
        }
    };
    let absolute = |path: PathBuf| path.canonicalize().with_context(|| format!("cannot find {}", path.display()));
    let before = options.before.clone().map(absolute).transpose()?;
    let rqbit = rqbit(&place);
    Ok(Programs { ours: absolute(ours)?, before, python: setup::venv().join("bin/python"), rqbit, place })
}
