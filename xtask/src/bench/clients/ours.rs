//! Our binary with its default flags: `seed` and `get`. It is a command, no daemon, so that a torrent is handed over by
//! starting it; its start is part of every figure.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::super::process::Process;
use super::{Client, Progress, Role, Seat, Work};

/// One process, once it has something to do.
pub(super) struct Ours {
    binary: PathBuf,
    seat: Seat,
    flags: Vec<String>,
    running: Option<Process>,
    started: Option<Instant>,
    listening: Option<Instant>,
    /// What it says when one torrent is done: a leecher says `complete`, and `seeding` afterwards.
    event: &'static str,
    expected: usize,
    done: usize,
    bytes: u64,
    last: Option<Instant>,
}

impl Ours {
    /// Nothing runs yet.
    pub(super) fn new(binary: &Path, seat: Seat, flags: &[&str]) -> Self {
        let binary = binary.to_owned();
        let flags = flags.iter().map(|&flag| flag.to_owned()).collect();
        Self {
            binary,
            seat,
            flags,
            running: None,
            started: None,
            listening: None,
            event: "",
            expected: 0,
            done: 0,
            bytes: 0,
            last: None,
        }
    }

    /// Several torrents are seeded as a folder of them: theirs, if it holds nothing else.
    fn folder_of(&self, torrents: &[PathBuf]) -> Result<PathBuf> {
        let parent = torrents.first().and_then(|t| t.parent()).context("nothing to seed")?;
        if fs::read_dir(parent)?.count() == torrents.len() {
            return Ok(parent.to_owned());
        }
        let folder = self.seat.folder.join("torrents");
        fs::create_dir_all(&folder)?;
        for torrent in torrents {
            fs::copy(torrent, folder.join(torrent.file_name().context("a torrent without a name")?))?;
        }
        Ok(folder)
    }
}

impl Client for Ours {
    fn pid(&self) -> Option<u32> {
        self.running.as_ref().map(Process::id)
    }

    fn add(&mut self, work: &Work<'_>) -> Result<()> {
        let mut command = Command::new(&self.binary);
        command.arg("--json").arg("--data-dir").arg(self.seat.folder.join("state"));
        match work.role {
            Role::Seed => match (work.torrents, work.files) {
                ([torrent], [file]) => command.arg("seed").arg(torrent).arg(work.folder.join(file)),
                (many, _) => command.arg("seed").arg(self.folder_of(many)?).arg(work.folder),
            },
            Role::Leech => command.arg("get").args(work.torrents).arg("-o").arg(work.folder).arg("--seed"),
        };
        self.event = if work.role == Role::Seed { "seeding" } else { "complete" };
        self.expected = work.torrents.len();
        command.args(&self.flags).arg("--listen").arg(format!("0.0.0.0:{}", self.seat.port));
        self.started = Some(Instant::now());
        self.running = Some(Process::start(&self.seat.name, &self.seat.folder, &mut command)?);
        Ok(())
    }

    fn peers_at(&self) -> SocketAddr {
        self.seat.peers_at()
    }

    fn start_time(&self) -> Option<Duration> {
        Some(self.listening?.duration_since(self.started?))
    }

    fn progress(&mut self) -> Result<Progress> {
        let Some(process) = &mut self.running else { return Ok(Progress::default()) };
        while let Some((at, line)) = process.heard()? {
            match line["event"].as_str() {
                Some(event) if event == self.event => {
                    self.done += 1;
                    self.last = Some(at);
                }
                Some("listening") => self.listening = Some(at),
                Some("progress") => self.bytes = line["bytes"].as_u64().unwrap_or(0),
                Some("error") => bail!("{}: {line}", self.seat.name),
                _ => {}
            }
        }
        ensure!(self.done <= self.expected, "{} completed {} of {}", self.seat.name, self.done, self.expected);
        let complete = self.last.filter(|_| self.done == self.expected);
        Ok(Progress { bytes: self.bytes, complete })
    }
}
