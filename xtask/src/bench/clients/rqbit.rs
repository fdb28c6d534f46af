//! rqbit, by its HTTP API.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result};

use super::super::http;
use super::super::process::{PATIENCE, Process, until};
use super::{Client, Progress, Seat, Work};

/// One process.
pub(super) struct Rqbit {
    process: Process,
    control: u16,
    ids: Vec<u64>,
}

impl Rqbit {
    /// Starts it with these flags besides.
    pub(super) fn start(binary: &Path, seat: &Seat, flags: &[&str]) -> Result<Self> {
        let (port, control) = (seat.port.to_string(), format!("127.0.0.1:{}", seat.control));
        let mut command = Command::new(binary);
        command.args(["-v", "error", "--http-api-listen-addr", &control, "--disable-dht", "--disable-lsd"]);
        command.args(["--disable-upnp-port-forward", "--listen-ip", "0.0.0.0", "--listen-port", &port]);
        command.args(["--announce-port", &port, "--ipv4-only"]).args(flags);
        command.args(["server", "start", "--disable-persistence"]).arg(&seat.folder);
        let mut process = Process::start(&seat.name, &seat.folder, &mut command)?;
        until(PATIENCE, "rqbit to answer", || {
            process.alive()?;
            Ok(http::ask(seat.control, "/", None).is_ok())
        })?;
        Ok(Self { process, control: seat.control, ids: Vec::new() })
    }
}

impl Client for Rqbit {
    fn pid(&self) -> Option<u32> {
        Some(self.process.id())
    }

    fn add(&mut self, work: &Work<'_>) -> Result<()> {
        let path = format!("/torrents?overwrite=true&output_folder={}", work.folder.display());
        for torrent in work.torrents {
            let bytes = std::fs::read(torrent).with_context(|| format!("cannot read {}", torrent.display()))?;
            let answer = http::ask_json(self.control, &path, Some(&bytes))?;
            self.ids.push(answer["id"].as_u64().with_context(|| format!("rqbit gives no id: {answer}"))?);
        }
        Ok(())
    }

    fn progress(&mut self) -> Result<Progress> {
        self.process.alive()?;
        let mut progress = Progress { bytes: 0, complete: Some(Instant::now()) };
        for id in &self.ids {
            let answer = http::ask_json(self.control, &format!("/torrents/{id}/stats/v1"), None)?;
            progress.bytes += answer["progress_bytes"].as_u64().unwrap_or(0);
            let done = answer["finished"] == true && answer["state"] == "live";
            progress.complete = progress.complete.filter(|_| done).map(|_| Instant::now());
        }
        Ok(progress)
    }
}
