//! Where passwords for servers come from.

use anyhow::Context as _;
use clap::Args;
use node::http::netrc::Netrc;
use std::path::PathBuf;

/// The flags of `get`, `split` and `split repair` for servers that ask for a password.
#[derive(Args, Clone, Debug, Default)]
pub struct LoginArgs {
    /// Take names and passwords for servers from ~/.netrc, as curl and wget do
    #[arg(long)]
    pub netrc: bool,
    /// Take them from this file: lines like `machine HOST login NAME password SECRET`
    #[arg(long, value_name = "FILE")]
    pub netrc_file: Option<PathBuf>,
}

impl LoginArgs {
    /// Reads what they name.
    pub fn read(&self) -> anyhow::Result<Netrc> {
        let path = match (&self.netrc_file, self.netrc) {
            (Some(path), _) => path.clone(),
            (None, true) => {
                let home = std::env::home_dir().filter(|home| !home.as_os_str().is_empty());
                home.context("--netrc: no home folder is known; name the file with --netrc-file")?.join(".netrc")
            }
            (None, false) => return Ok(Netrc::default()),
        };
        Ok(Netrc::read(&path)?)
    }
}
