//! One seed and one leecher: `pair`, `pieces256`, `disk`, `small`, and `two` torrents at once.

use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};

use super::clients::{self, Client, Kind, Peak, Programs, Role, Work};
use super::data::{self, Set};
use super::place;
use super::proc::{self, Cpu};
use super::process::{PATIENCE, until};
use super::record::Figures;
use super::tracker::Tracker;

/// The longest that a transfer may take.
const LIMIT: Duration = Duration::from_secs(200);
/// What is warmed besides the size of what is written: buffers, and copies in the page cache.
const SLACK: u64 = 256 << 20;

/// Less than this takes too little time for rates and for time on the cores.
const COUNTED: u64 = 64 << 20;

/// What is transferred, from whom to whom, and where to.
#[derive(Clone, Debug)]
pub(super) struct Transfer {
    /// Who has it.
    pub(super) seed: Kind,
    /// Who fetches it.
    pub(super) leecher: Kind,
    /// What.
    pub(super) sets: Vec<Set>,
    /// The folder that the leecher writes to.
    pub(super) out: PathBuf,
}

impl Transfer {
    /// Runs it once.
    pub(super) fn run(&self, programs: &Programs) -> Result<Figures> {
        let place = &programs.place;
        let total: u64 = self.sets.iter().map(|s| s.bytes).sum();
        place::fresh(&self.out)?;
        let torrents: Vec<PathBuf> = self.sets.iter().map(|s| place.torrent(s.torrent)).collect();
        let files: Vec<&str> = self.sets.iter().map(|s| s.file).collect();
        let tracker = Tracker::start()?;
        let source = place.seed();
        let work = Work { torrents: &torrents, files: &files, folder: &source, role: Role::Seed };
        let mut seed = start_seed(self.seed, programs, &work, &tracker, total)?;
        let mut leecher = self.leecher.start(programs, 13)?;
        // What the last run left to be written to disk is not this run's.
        if !self.out.starts_with(place.memory("")) {
            rustix::fs::sync();
        }
        data::warm(place, total + SLACK)?;
        let seed_before = used(&*seed)?;
        let leecher_before = leecher.pid().map_or(Ok(Cpu::default()), proc::cpu)?;
        let mut peak = Peak::default();
        let began = std::time::Instant::now();
        leecher.add(&Work { folder: &self.out, role: Role::Leech, ..work })?;
        let ended = clients::complete(&mut *leecher, total, LIMIT, &mut peak)?;
        let wall = ended.duration_since(began).as_secs_f64();
        for set in &self.sets {
            data::compare(&set.path(place), &self.out.join(set.file))?;
        }
        // Closing and telling the tracker is part of the work.
        thread::sleep(Duration::from_millis(500));
        let gib: f64 = self.sets.iter().map(Set::gib).sum();
        let seed_cpu = used(&*seed)?.since(seed_before);
        let leecher_cpu = used(&*leecher)?.since(leecher_before);
        let mut figures = Figures::from([("wall_s".to_owned(), wall)]);
        if let Some(start) = leecher.start_time() {
            figures.insert("of_it_start_s".into(), start.as_secs_f64());
        }
        if total >= COUNTED {
            figures.insert("mib_s".into(), gib * 1024.0 / wall);
        }
        if self.sets.len() > 1 {
            figures.insert("leecher_cores".into(), leecher_cpu.total() / wall);
            figures.insert("seed_cores".into(), seed_cpu.total() / wall);
        }
        // The kernel counts in hundredths of a second: nothing to divide by a MiB.
        let per_gib = [("seed", seed_cpu.per(gib)), ("leecher", leecher_cpu.per(gib))];
        for (who, cpu) in per_gib.into_iter().filter(|_| total >= COUNTED) {
            figures.insert(format!("{who}_cpu_s_gib"), cpu.total());
            figures.insert(format!("{who}_user_s_gib"), cpu.user);
            figures.insert(format!("{who}_system_s_gib"), cpu.system);
        }
        for (who, client) in [("seed", &mut seed), ("leecher", &mut leecher)] {
            let memory = proc::memory(client.pid().context("a client without a process")?)?;
            figures.insert(format!("{who}_peak_mib"), mib(memory.peak));
        }
        figures.insert("leecher_peak_anonymous_mib".into(), mib(peak.anonymous));
        drop((leecher, seed));
        place::remove(&self.out)?;
        Ok(figures)
    }
}

/// Starts a seed, waits until it has checked its data and until the tracker knows it.
pub(super) fn start_seed(
    kind: Kind,
    programs: &Programs,
    work: &Work<'_>,
    tracker: &Tracker,
    total: u64,
) -> Result<Box<dyn Client>> {
    start_seed_with(kind, programs, work, tracker, total, &[])
}

/// The same with flags of its own.
pub(super) fn start_seed_with(
    kind: Kind,
    programs: &Programs,
    work: &Work<'_>,
    tracker: &Tracker,
    total: u64,
    flags: &[&str],
) -> Result<Box<dyn Client>> {
    let mut seed = kind.start_with(programs, 12, flags)?;
    seed.add(work)?;
    clients::complete(&mut *seed, total, LIMIT, &mut Peak::default()).context("the seed")?;
    until(PATIENCE, "the seed to announce itself", || Ok(tracker.peers() >= work.torrents.len()))?;
    thread::sleep(Duration::from_millis(300));
    Ok(seed)
}

/// The time that a client has used so far.
pub(super) fn used(client: &dyn Client) -> Result<Cpu> {
    proc::cpu(client.pid().context("a client without a process")?)
}

/// KiB as MiB.
pub(super) fn mib(kib: u64) -> f64 {
    kib as f64 / 1024.0
}
