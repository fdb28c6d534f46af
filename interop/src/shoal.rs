//! Our own binary, as users and programs call it.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::place::{self, Place};
use crate::process::{self, PATIENCE, Process};

/// How long a process may take to come up.
const UP: Duration = Duration::from_secs(20);

/// A command of the binary with JSON on, and its state in a folder of this place.
///
/// # Errors
/// When the binary is missing.
pub fn command(place: &Place, state: &str) -> Result<Command> {
    let mut command = Command::new(place::shoal()?);
    command.arg("--json").arg("--data-dir").arg(place.sub(state)?);
    command.env("HOME", &place.folder).env("XDG_DATA_HOME", &place.folder);
    Ok(command)
}

/// Runs a command that ends by itself; gives its last object.
///
/// # Errors
/// When it fails or prints none.
pub fn ask(place: &Place, args: &[&str]) -> Result<Value> {
    let text = process::run(command(place, "shoal-short")?.args(args))?;
    let line = text.lines().last().with_context(|| format!("shoal {args:?} printed nothing"))?;
    serde_json::from_str(line).with_context(|| format!("shoal {args:?} printed {line:?}"))
}

/// Runs a command that has to end by itself with exit code 1 and one line on standard error, warnings aside, which names all of
/// `words`.
///
/// # Errors
/// When it ends otherwise, or not at all.
pub fn fails(place: &Place, args: &[&str], words: &[&str]) -> Result<()> {
    let mut process = Process::talk("fails", &place.folder, command(place, "shoal-fails")?.args(args))?;
    let status = process.finish(PATIENCE)?;
    let said = process.log();
    ensure!(status.code() == Some(1), "shoal {args:?} ended with {status}: {said}");
    let errors = said.lines().filter(|line| !line.starts_with("warning:")).count();
    ensure!(errors == 1, "shoal {args:?} said more or less than one line: {said:?}");
    for word in words {
        ensure!(said.contains(word), "shoal {args:?} does not name {word:?}: {said}");
    }
    Ok(())
}

/// A long-running command and what it listens on.
pub struct Running {
    /// The process.
    pub process: Process,
    /// Its first object.
    pub listening: Value,
}

impl Running {
    /// Starts `shoal ARGS` and waits for its `listening`.
    ///
    /// # Errors
    /// When that does not come.
    pub fn start(place: &Place, name: &str, args: &[&str]) -> Result<Self> {
        let mut process = Process::talk(name, &place.folder, command(place, &format!("state-{name}"))?.args(args))?;
        let listening = process.event("listening", UP)?;
        Ok(Self { process, listening })
    }

    /// The port that peers reach it at.
    ///
    /// # Errors
    /// When it named none.
    pub fn port(&self) -> Result<u16> {
        let peer = self.listening["peer"].as_str().context("no peer address in `listening`")?;
        peer.rsplit(':').next().and_then(|p| p.parse().ok()).with_context(|| format!("no port in {peer:?}"))
    }
}

/// Seeds existing data, and waits until it is checked and offered. It listens on all addresses; `port` 0 takes any.
///
/// # Errors
/// When it does not come to that.
pub fn seed(place: &Place, torrent: &Path, data: &Path, more: &[&str]) -> Result<Running> {
    let (torrent, data) = (torrent.to_string_lossy(), data.to_string_lossy());
    let args = [&["seed", &torrent, &data, "--listen", "0.0.0.0:0"], more].concat();
    let mut running = Running::start(place, "seed", &args)?;
    running.process.event("seeding", UP)?;
    Ok(running)
}

/// Starts a download into `out`.
///
/// # Errors
/// When it does not start.
pub fn get(place: &Place, source: &str, out: &Path, more: &[&str]) -> Result<Running> {
    let out = out.to_string_lossy();
    let args = [&["get", source, "-o", &out, "--listen", "0.0.0.0:0"], more].concat();
    Running::start(place, "get", &args)
}

/// Waits for the end of a download, which must be verified and end in order.
///
/// # Errors
/// When it is anything else.
pub fn complete(running: &mut Running, limit: Duration) -> Result<Value> {
    let done = running.process.event("complete", limit)?;
    ensure!(done["verified"] == true, "complete and not verified: {done}");
    let status = running.process.finish(PATIENCE)?;
    ensure!(status.success(), "get completed and ended with {status}");
    Ok(done)
}
