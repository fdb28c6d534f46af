//! Commands that run to an end: making a torrent of 2 GiB, checking data against one, and experiments of the lab.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};
use serde_json::Value;

use super::clients::{self, Kind, Peak, Programs, Role, Work};
use super::data::BIG;
use super::proc::{self, Cpu};
use super::record::Figures;
use super::transfer;
use crate::run;

/// Who hashes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tool {
    /// mktorrent with so many threads.
    Mktorrent(u32),
    /// `shoal torrent create --format v1` or `verify` with so many threads.
    Ours(u32),
    /// `shoal torrent create --format hybrid` with so many threads.
    OursHybrid(u32),
    /// libtorrent's `set_piece_hashes`, or its check of data that is there with so many hashing threads.
    Libtorrent(u32),
    /// libtorrent's hybrid.
    LibtorrentHybrid,
}

impl Tool {
    /// Its name in a table.
    pub(super) fn name(self) -> String {
        match self {
            Self::Mktorrent(n) => format!("mktorrent-{n}"),
            Self::Ours(n) => format!("ours-{n}"),
            Self::OursHybrid(n) => format!("ours-hybrid-{n}"),
            Self::Libtorrent(n) => format!("libtorrent-{n}"),
            Self::LibtorrentHybrid => "libtorrent-hybrid".to_owned(),
        }
    }
}

/// Those that make torrents.
pub(super) const CREATE: &[Tool] = &[
    Tool::Ours(1),
    Tool::Mktorrent(1),
    Tool::Ours(2),
    Tool::Mktorrent(2),
    Tool::Libtorrent(1),
    Tool::OursHybrid(1),
    Tool::OursHybrid(2),
    Tool::LibtorrentHybrid,
];

/// Those that check data; mktorrent, which cannot, shows how fast reading and hashing is.
pub(super) const VERIFY: &[Tool] =
    &[Tool::Ours(1), Tool::Mktorrent(1), Tool::Ours(2), Tool::Mktorrent(2), Tool::Libtorrent(1), Tool::Libtorrent(2)];

const LIBTORRENT: &str = "import libtorrent as lt, os, sys
fs = lt.file_storage(); lt.add_files(fs, sys.argv[1])
t = lt.create_torrent(fs, 1 << 20, lt.create_torrent.v1_only if sys.argv[3] == 'v1' else 0)
lt.set_piece_hashes(t, os.path.dirname(sys.argv[1])); open(sys.argv[2], 'wb').write(lt.bencode(t.generate()))";

const HASHES: &str = "import libtorrent as lt, sys
h = lt.torrent_info(sys.argv[1]).info_hashes(); print(h.v1, h.v2 if h.has_v2() else '-')";

/// Makes a torrent once; its info-hashes have to be those that libtorrent or mktorrent gave.
pub(super) fn create(tool: Tool, programs: &Programs) -> Result<Figures> {
    let place = &programs.place;
    let (data, out) = (BIG.path(place), place.memory("made.torrent"));
    drop(std::fs::remove_file(&out));
    let figures = ended(&mut create_command(tool, programs, &data, &out))?;
    let hybrid = matches!(tool, Tool::OursHybrid(_) | Tool::LibtorrentHybrid);
    let expected = if hybrid { reference(programs, &data)? } else { place.torrent(BIG.torrent) };
    let (made, expected) = (hashes(programs, &out)?, hashes(programs, &expected)?);
    ensure!(made == expected, "{} made a torrent of {made}, which should be {expected}", tool.name());
    Ok(figures)
}

fn create_command(tool: Tool, programs: &Programs, data: &Path, out: &Path) -> Command {
    let (url, piece) = ("http://x/announce", (1 << BIG.piece_bits).to_string());
    let mut command;
    match tool {
        Tool::Mktorrent(threads) => {
            command = Command::new("mktorrent");
            command.args(["-d", "-l", "20", "-a", url, "-t", &threads.to_string(), "-o"]).arg(out).arg(data);
        }
        Tool::Ours(threads) | Tool::OursHybrid(threads) => {
            let format = if matches!(tool, Tool::Ours(_)) { "v1" } else { "hybrid" };
            command = Command::new(&programs.ours);
            command.args(["--json", "torrent", "create", "--format", format, "--piece-length", &piece]);
            command.args(["--tracker", url, "--threads", &threads.to_string(), "-o"]).arg(out).arg(data);
        }
        Tool::Libtorrent(_) | Tool::LibtorrentHybrid => {
            let format = if matches!(tool, Tool::Libtorrent(_)) { "v1" } else { "hybrid" };
            command = Command::new(&programs.python);
            command.args(["-W", "ignore", "-c", LIBTORRENT]).arg(data).arg(out).arg(format);
        }
    }
    command
}

/// A hybrid that libtorrent made, once.
fn reference(programs: &Programs, data: &Path) -> Result<PathBuf> {
    let path = programs.place.torrent("f2g-hybrid");
    if !path.is_file() {
        run::output(&mut create_command(Tool::LibtorrentHybrid, programs, data, &path))?;
    }
    Ok(path)
}

fn hashes(programs: &Programs, torrent: &Path) -> Result<String> {
    let mut command = Command::new(&programs.python);
    Ok(run::output(command.args(["-W", "ignore", "-c", HASHES]).arg(torrent))?.trim().to_owned())
}

/// Checks data once.
pub(super) fn verify(tool: Tool, programs: &Programs) -> Result<Figures> {
    let place = &programs.place;
    let (torrent, data) = (place.torrent(BIG.torrent), BIG.path(place));
    match tool {
        Tool::Libtorrent(threads) => recheck(threads, programs),
        Tool::Ours(threads) => {
            let mut command = Command::new(&programs.ours);
            command.args(["--json", "torrent", "verify"]).arg(torrent).arg(data);
            if knows_threads(programs) {
                command.args(["--threads", &threads.to_string()]);
            } else if threads == 1 {
                let plain = std::mem::replace(&mut command, Command::new("taskset"));
                command.args(["-c", "0"]).arg(plain.get_program()).args(plain.get_args());
            }
            ended(&mut command)
        }
        _ => create(tool, programs),
    }
}

/// Has `verify` a flag for its threads? Without one it takes a thread a core, and one core stands for one thread.
fn knows_threads(programs: &Programs) -> bool {
    let mut help = Command::new(&programs.ours);
    run::output(help.args(["torrent", "verify", "--help"])).is_ok_and(|text| text.contains("--threads"))
}

/// libtorrent checks what it is told to seed.
fn recheck(threads: u32, programs: &Programs) -> Result<Figures> {
    let place = &programs.place;
    let mut client = Kind::Libtorrent.start_with(programs, 12, &[&format!("hashing_threads={threads}")])?;
    let before = transfer::used(&*client)?;
    let began = Instant::now();
    let (torrents, source) = ([place.torrent(BIG.torrent)], place.seed());
    client.add(&Work { torrents: &torrents, files: &[BIG.file], folder: &source, role: Role::Seed })?;
    let at = clients::complete(&mut *client, BIG.bytes, Duration::from_secs(60), &mut Peak::default())?;
    let cpu = transfer::used(&*client)?.since(before);
    let peak = proc::memory(client.pid().context("no process")?)?.peak;
    Ok(figures(at.duration_since(began), cpu, peak))
}

/// Runs an experiment of the lab; one that was given too little virtual time ends with exit code 1.
pub(super) fn lab(args: &[&str], programs: &Programs) -> Result<Figures> {
    let mut command = Command::new(&programs.ours);
    let code = i32::from(args.contains(&"--limit"));
    let (wall, cpu, peak) = timed(command.arg("--json").arg("lab").args(args), code)?;
    Ok(Figures::from([
        ("wall_s".to_owned(), wall.as_secs_f64()),
        ("cpu_s".to_owned(), cpu.total()),
        ("peak_mib".to_owned(), transfer::mib(peak)),
    ]))
}

/// Runs a command that hashes to its end.
fn ended(command: &mut Command) -> Result<Figures> {
    let (wall, cpu, peak) = timed(command, 0)?;
    Ok(figures(wall, cpu, peak))
}

/// Runs a command until it ends with this code; gives wall, time on the cores and the most memory in KiB.
fn timed(command: &mut Command, code: i32) -> Result<(Duration, Cpu, u64)> {
    let began = Instant::now();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().with_context(|| format!("cannot start {command:?}"))?;
    let id = child.id();
    let over = AtomicBool::new(false);
    let pid = i32::try_from(id).ok().and_then(Pid::from_raw).context("a process without an id")?;
    let (waited, wall, peak) = thread::scope(|scope| {
        let sampler = scope.spawn(|| {
            let mut peak = 0;
            while !over.load(Ordering::Relaxed) {
                peak = proc::memory(id).map_or(peak, |m| m.peak);
                thread::sleep(Duration::from_millis(20));
            }
            peak
        });
        // It stays a zombie, so that the kernel still knows the time it used.
        let waited = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOWAIT);
        let wall = began.elapsed();
        over.store(true, Ordering::Relaxed);
        (waited, wall, sampler.join().unwrap_or(0))
    });
    waited.context("cannot wait")?;
    let cpu = proc::cpu(id)?;
    let out = child.wait_with_output().context("cannot wait")?;
    let said = String::from_utf8_lossy(&out.stdout);
    ensure!(
        out.status.code() == Some(code),
        "{command:?} ended with {}: {}",
        out.status,
        String::from_utf8_lossy(&out.stderr)
    );
    if let Some(bad) = said.lines().last().and_then(|l| serde_json::from_str::<Value>(l).ok()?.get("bad").cloned()) {
        ensure!(bad.as_array().is_some_and(Vec::is_empty), "good data was called bad: {said}");
    }
    Ok((wall, cpu, peak))
}

fn figures(wall: Duration, cpu: Cpu, peak_kib: u64) -> Figures {
    let (wall, gib) = (wall.as_secs_f64(), BIG.gib());
    Figures::from([
        ("wall_s".to_owned(), wall),
        ("gib_s".to_owned(), gib / wall),
        ("cpu_s_gib".to_owned(), cpu.total() / gib),
        ("peak_mib".to_owned(), transfer::mib(peak_kib)),
    ])
}
