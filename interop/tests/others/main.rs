//! The one binary of tests against programs that others wrote; see the crate's documentation.
#![allow(clippy::print_stderr, reason = "what is wrong before any test runs has to be said")]

mod browser;
mod course;
mod databases;
mod doors;
mod errors;
mod examples;
mod exchange;
mod files;
mod get;
mod link;
mod magnets;
mod mirror;
mod page;
mod pairs;
mod share;
mod split;
mod trouble;
mod web;

use std::process::ExitCode;

use anyhow::Result;
use interop::cell::Cell;
use interop::sandbox;
use libtest_mimic::{Arguments, Trial};

/// The programs mostly wait for one another, so that more of them fit than there are cores.
const AT_ONCE: usize = 6;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if !sandbox::inside() && !arguments.list {
        return match sandbox::run_inside() {
            Ok(code) => ExitCode::from(u8::try_from(code).unwrap_or(1)),
            Err(error) => {
                eprintln!("{error:#}");
                ExitCode::FAILURE
            }
        };
    }
    arguments.test_threads.get_or_insert(AT_ONCE);
    let mut trials: Vec<Trial> = Cell::all().into_iter().map(|cell| trial(&cell.name(), move || cell.run())).collect();
    for more in [
        page::trials(),
        pairs::trials(),
        files::trials(),
        magnets::trials(),
        trouble::trials(),
        errors::trials(),
        exchange::trials(),
        share::trials(),
        split::trials(),
        link::trials(),
        get::trials(),
        mirror::trials(),
        web::trials(),
        doors::trials(),
        examples::trials(),
        course::trials(),
    ] {
        trials.extend(more);
    }
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(name: &str, body: impl FnOnce() -> Result<()> + Send + 'static) -> Trial {
    Trial::test(name, move || body().map_err(|error| format!("{error:#}").into()))
}
