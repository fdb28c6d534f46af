//! libtorrent as a process of its own: a Python script of some lines around the library, which does all the work.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::super::process::{PATIENCE, Process};
use super::{Client, Progress, Seat, Work};

/// What made it fastest here.
pub(super) const TUNED: &[&str] = &[
    "hashing_threads=2",
    "aio_threads=2",
    "max_out_request_queue=2000",
    "max_queued_disk_bytes=268435456",
    "send_buffer_watermark=4194304",
    "send_buffer_low_watermark=1048576",
];

const SCRIPT: &str = include_str!("../lt_node.py");

/// One process.
pub(super) struct Libtorrent {
    process: Process,
    seat: Seat,
}

impl Libtorrent {
    /// Starts it with these settings besides the defaults.
    pub(super) fn start(python: &Path, seat: Seat, settings: &[&str]) -> Result<Self> {
        let script = seat.folder.join("lt_node.py");
        std::fs::write(&script, SCRIPT).with_context(|| format!("cannot write {}", script.display()))?;
        let mut command = Command::new(python);
        command.arg(&script).args([seat.address.to_string(), seat.port.to_string()]).args(settings);
        let mut process = Process::start(&seat.name, &seat.folder, &mut command)?;
        let (_, hello) = process.hear(PATIENCE)?;
        ensure!(hello["ready"] == true, "libtorrent does not begin: {hello}");
        Ok(Self { process, seat })
    }

    fn call(&mut self, question: &Value) -> Result<Value> {
        self.process.say(question)?;
        Ok(self.process.hear(PATIENCE)?.1)
    }
}

impl Client for Libtorrent {
    fn pid(&self) -> Option<u32> {
        Some(self.process.id())
    }

    fn add(&mut self, work: &Work<'_>) -> Result<()> {
        let answer = self.call(&json!({"cmd": "add", "torrents": work.torrents, "dir": work.folder}))?;
        ensure!(answer["ok"] == true, "libtorrent refuses a torrent: {answer}");
        Ok(())
    }

    fn peers_at(&self) -> SocketAddr {
        self.seat.peers_at()
    }

    fn save(&mut self) -> Result<()> {
        let path = self.seat.folder.join("resume");
        let answer = self.call(&json!({"cmd": "save", "path": path}))?;
        ensure!(answer["ok"] == true, "libtorrent does not save: {answer}");
        Ok(())
    }

    fn resume(&mut self, _: &Work<'_>) -> Result<()> {
        let path = self.seat.folder.join("resume");
        let answer = self.call(&json!({"cmd": "load", "path": path}))?;
        ensure!(answer["ok"] == true, "libtorrent does not load: {answer}");
        Ok(())
    }

    fn progress(&mut self) -> Result<Progress> {
        let answer = self.call(&json!({"cmd": "status"}))?;
        let complete = (answer["complete"] == true).then(Instant::now);
        Ok(Progress { bytes: answer["done"].as_u64().unwrap_or(0), complete })
    }
}
