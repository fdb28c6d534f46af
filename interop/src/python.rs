//! A Python process with libtorrent and torf in it (`lt_node.py`), driven by lines of JSON.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use crate::place;
use crate::process::Process;

/// How long one answer may take.
const ANSWER: Duration = Duration::from_secs(30);

/// The running process.
pub struct Python {
    process: Process,
}

impl Python {
    /// Only reads and makes files, without a session.
    ///
    /// # Errors
    /// When it does not start.
    pub fn offline(folder: &Path) -> Result<Self> {
        Self::start(folder, &["offline"])
    }

    /// Starts it with these arguments.
    ///
    /// # Errors
    /// When it does not start.
    pub fn start(folder: &Path, args: &[&str]) -> Result<Self> {
        let mut command = Command::new(place::python()?);
        command.args(["-W", "ignore"]).arg(place::source("lt_node.py")).args(args);
        let mut process = Process::talk("libtorrent", folder, &mut command)?;
        let hello = process.hear(ANSWER)?;
        ensure!(hello["ready"] == true, "lt_node.py began with {hello}");
        Ok(Self { process })
    }

    /// Sends a command with its arguments (an object), and gives the answer.
    ///
    /// # Errors
    /// When the answer is an error.
    pub fn ask(&mut self, command: &str, arguments: &Value) -> Result<Value> {
        let mut line = arguments.clone();
        line["command"] = json!(command);
        self.process.say(&line)?;
        let answer = self.process.hear(ANSWER)?;
        ensure!(answer["ok"] == true, "libtorrent, asked to {command}: {}", answer["error"]);
        Ok(answer)
    }
}
