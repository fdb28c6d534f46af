//! One seed, eight leechers that begin together and give to one another.

use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::clients::{Client, Kind, Programs, Role, Work};
use super::data::{self, Set};
use super::place;
use super::proc::{self, Cpu};
use super::record::{Figures, median};
use super::tracker::Tracker;
use super::transfer;

/// How many fetch.
pub(super) const LEECHERS: u16 = 8;
/// The longest that it may take.
const LIMIT: Duration = Duration::from_secs(180);

/// Runs it once.
pub(super) fn run(kind: Kind, set: &Set, programs: &Programs) -> Result<Figures> {
    let place = &programs.place;
    let base = place.memory("swarm");
    place::fresh(&base)?;
    let torrents = [place.torrent(set.torrent)];
    let files = [set.file];
    let tracker = Tracker::start()?;
    let source = place.seed();
    let work = Work { torrents: &torrents, files: &files, folder: &source, role: Role::Seed };
    let seed = transfer::start_seed(kind, programs, &work, &tracker, set.bytes)?;
    let folders: Vec<PathBuf> = (0..LEECHERS).map(|i| base.join(i.to_string())).collect();
    let mut leechers: Vec<Box<dyn Client>> = Vec::new();
    for (i, folder) in (0..LEECHERS).zip(&folders) {
        place::fresh(folder)?;
        leechers.push(kind.start(programs, 20 + i)?);
    }
    data::warm(place, u64::from(LEECHERS) * set.bytes)?;
    let before = total(&*seed, &leechers)?;
    let began = Instant::now();
    for (leecher, folder) in leechers.iter_mut().zip(&folders) {
        leecher.add(&Work { folder, role: Role::Leech, ..work })?;
    }
    let mut done: Vec<Option<f64>> = vec![None; leechers.len()];
    while done.contains(&None) {
        for (leecher, done) in leechers.iter_mut().zip(&mut done).filter(|(_, d)| d.is_none()) {
            *done = leecher.progress()?.complete.map(|at| at.duration_since(began).as_secs_f64());
        }
        ensure!(began.elapsed() < LIMIT, "after {LIMIT:?}: {done:?}");
        thread::sleep(Duration::from_millis(20));
    }
    // The files are compared only when everybody is done, and before anybody is asked for the time it used: so that those
    // who write late have written.
    for folder in &folders {
        data::compare(&set.path(place), &folder.join(set.file))?;
    }
    let cpu = total(&*seed, &leechers)?.since(before);
    let times: Vec<f64> = done.into_iter().flatten().collect();
    let mut peak = 0;
    for leecher in &leechers {
        peak = peak.max(proc::memory(leecher.pid().context("a client without a process")?)?.peak);
    }
    drop((leechers, seed));
    place::remove(&base)?;
    Ok(Figures::from([
        ("wall_s".to_owned(), times.iter().copied().fold(0.0, f64::max)),
        ("median_s".to_owned(), median(&times)),
        ("cpu_s".to_owned(), cpu.total()),
        ("user_s".to_owned(), cpu.user),
        ("system_s".to_owned(), cpu.system),
        ("leecher_peak_mib".to_owned(), transfer::mib(peak)),
    ]))
}

fn total(seed: &dyn Client, leechers: &[Box<dyn Client>]) -> Result<Cpu> {
    let mut sum = transfer::used(seed)?;
    for pid in leechers.iter().filter_map(|l| l.pid()) {
        let cpu = proc::cpu(pid)?;
        sum = Cpu { user: sum.user + cpu.user, system: sum.system + cpu.system };
    }
    Ok(sum)
}
