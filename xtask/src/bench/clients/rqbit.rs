//! rqbit, by its HTTP API.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::super::http;
use super::super::process::{PATIENCE, Process, until};
use super::{Client, Progress, Seat, Work};

/// More torrents than this are asked for all together.
const FEW: usize = 10;

/// One process.
pub(super) struct Rqbit {
    process: Process,
    seat: Seat,
    ids: Vec<u64>,
    /// Torrents that it has to have, where they are too many to be asked for one by one.
    expected: usize,
}

impl Rqbit {
    /// Starts it with these flags besides.
    pub(super) fn start(binary: &Path, seat: Seat, flags: &[&str]) -> Result<Self> {
        ensure!(
            binary.is_file(),
            "rqbit is missing: run `cargo xtask bench setup`, or name one with SHOAL_BENCH_RQBIT"
        );
        let (port, control) = (seat.port.to_string(), format!("127.0.0.1:{}", seat.control));
        let mut command = Command::new(binary);
        command.args(["-v", "error", "--http-api-listen-addr", &control, "--disable-dht", "--disable-lsd"]);
        command.args(["--disable-upnp-port-forward", "--listen-ip", "0.0.0.0", "--listen-port", &port]);
        command.args(["--announce-port", &port, "--ipv4-only"]).args(flags);
        command.args(["server", "start", "--disable-persistence"]);
        command.arg(&seat.folder);
        let mut process = Process::start(&seat.name, &seat.folder, &mut command)?;
        until(PATIENCE, "rqbit to answer", || {
            process.alive()?;
            Ok(http::ask(seat.control, "/", None).is_ok())
        })?;
        Ok(Self { process, seat, ids: Vec::new(), expected: 0 })
    }
}

impl Rqbit {
    fn of_many(&self) -> Result<Progress> {
        let answer = http::ask_json(self.seat.control, "/torrents?with_stats=true", None)?;
        let list = answer["torrents"].as_array().context("rqbit lists no torrents")?;
        let done = |t: &&Value| t["stats"]["finished"] == true && t["stats"]["state"] == "live";
        let bytes = list.iter().filter_map(|t| t["stats"]["progress_bytes"].as_u64()).sum();
        let complete = (list.iter().filter(done).count() == self.expected).then(Instant::now);
        Ok(Progress { bytes, complete })
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
            let answer = http::ask_json(self.seat.control, &path, Some(&bytes))?;
            self.ids.push(answer["id"].as_u64().with_context(|| format!("rqbit gives no id: {answer}"))?);
        }
        self.expected = work.torrents.len();
        Ok(())
    }

    fn peers_at(&self) -> SocketAddr {
        self.seat.peers_at()
    }

    /// With its persistence on, it needs minutes to take thousands of torrents.
    fn lasts(&self) -> bool {
        false
    }

    fn progress(&mut self) -> Result<Progress> {
        self.process.alive()?;
        if self.expected != self.ids.len() || self.expected > FEW {
            return self.of_many();
        }
        let mut progress = Progress { bytes: 0, complete: Some(Instant::now()) };
        for id in &self.ids {
            let answer = http::ask_json(self.seat.control, &format!("/torrents/{id}/stats/v1"), None)?;
            progress.bytes += answer["progress_bytes"].as_u64().unwrap_or(0);
            let done = answer["finished"] == true && answer["state"] == "live";
            progress.complete = progress.complete.filter(|_| done).map(|_| Instant::now());
        }
        Ok(progress)
    }
}
