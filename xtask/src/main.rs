//! All automation of this repository, as `cargo xtask TASK`.
//!
//! One small module a task. Everything that a person or a machine does to the sources besides building them is here, in
//! Rust, so that it works wherever the project builds; there are no scripts beside it but `.ci/run`, which calls it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a tool for the terminal")]

mod bench;
mod ci;
mod http;
mod layers;
mod lengths;
mod licences;
mod metadata;
mod pages;
mod run;
mod setup;
mod tests;

use anyhow::{Result, bail};

const USAGE: &str = "cargo xtask TASK

  setup                       install what tests need beyond Rust (the only task that uses the network)
  test                        setup, then all tests, the ones against other programs too
  ci                          formatting, lints, docs, licences, layers, file lengths, then test
  docs                        write docs/HTTP.md: what the RFCs ask, and which test shows it
  fuzz [TARGET] [--seconds N] long mutation loops over what strangers send; without TARGET all of them in turn
  bench [NAME...]             ours beside the programs of others; `bench setup` first, `bench help` says more";

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args.as_slice() {
        ["setup"] => setup::setup(),
        ["test", rest @ ..] => tests::test(rest),
        ["ci"] => ci::ci(),
        ["docs"] => http::write(),
        ["fuzz", rest @ ..] => tests::fuzz(rest),
        ["bench", rest @ ..] => bench::bench(rest),
        ["soak", ..] => bail!("this task is not built yet"),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        other => bail!("unknown task {:?}; known are setup, test, ci, docs, fuzz, bench", other.join(" ")),
    }
}
