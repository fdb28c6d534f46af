//! What each command does.

use crate::args::{Cli, Command};
use crate::failure::Failure;
use crate::say::Voice;
use anyhow::Context as _;
use clap::CommandFactory as _;
use std::io;
use std::path::Path;

/// Does what the command line says.
pub fn run(cli: Cli) -> Result<(), Failure> {
    if let Some(name) = cli.command.unbuilt() {
        return Err(Failure::unbuilt(&format!("`shoal {name}`")));
    }
    let _voice = Voice { json: cli.global.json, quiet: cli.global.quiet };
    match cli.command {
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut Cli::command(), "shoal", &mut io::stdout().lock());
            Ok(())
        }
        Command::Man { dir } => Ok(man(&dir)?),
        _ => Err(Failure::unbuilt("this command")),
    }
}

/// Writes the manual pages, one a command.
fn man(dir: &Path) -> anyhow::Result<()> {
    std::fs::create_dir_all(dir)
        .and_then(|()| clap_mangen::generate_to(Cli::command(), dir))
        .with_context(|| format!("can't write manual pages to {}; name a folder that can be written", dir.display()))
}
