//! The tests: first what needs nothing but Rust, then the programs that others wrote.

use anyhow::Result;

use crate::{run, setup};

/// Sets up, then runs everything. What is given is passed on to the test binaries (a filter, `--nocapture`).
pub(crate) fn test(rest: &[&str]) -> Result<()> {
    run::step("setup", setup::setup)?;
    run::step("unit tests", || cargo_test(&["--workspace", "--exclude", "interop"], rest))?;
    // Built by itself, as users build it: in the build above, tests of other rooms may have turned features on.
    run::step("the binary", || run::run(&mut run::cargo(&["build", "--locked", "--package", "shoal"])))?;
    run::step("interop tests", || cargo_test(&["--package", "interop"], rest))
}

fn cargo_test(which: &[&str], rest: &[&str]) -> Result<()> {
    let mut command = run::cargo(&["test", "--locked", "--no-fail-fast"]);
    command.args(which);
    if !rest.is_empty() {
        command.arg("--").args(rest);
    }
    run::run(&mut command)
}

/// Runs the fuzz targets for long, optimised.
pub(crate) fn fuzz(rest: &[&str]) -> Result<()> {
    let mut command = run::cargo(&["run", "--locked", "--release", "--package", "fuzz", "--"]);
    run::run(command.args(rest))
}
