//! The door: the command line of Shoal.
//!
//! `main` reads the command line and hands over to one of [`commands`]; how it ends is told by [`failure`].

#![allow(unreachable_pub, reason = "nothing of a binary is reachable from outside; pub says that other modules use it")]

mod args;
mod commands;
mod config;
mod failure;
mod progress;
mod say;
mod signals;
mod source;
mod units;

use args::Cli;
use clap::{CommandFactory, FromArgMatches};
use failure::Failure;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().collect();
    let cli = config::layer(Cli::command(), &args).map_err(|e| Failure::Usage(format!("{e:#}"))).and_then(|command| {
        let matches = command.try_get_matches_from(args).and_then(|m| Cli::from_arg_matches(&m));
        matches.map_err(|e| {
            if !e.use_stderr() || e.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
                e.exit();
            }
            Failure::Usage(failure::usage_line(e))
        })
    });
    match cli.and_then(commands::run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if let Some(line) = failure.line() {
                say::fail(&line);
            }
            failure.code()
        }
    }
}
