//! The programs that are compared, behind one face: start, take torrents, say how far they are.

mod aria2;
mod libtorrent;
mod ours;
mod rqbit;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::place::{self, Place};
use super::proc;

/// Everything that a client needs to know of the machine.
#[derive(Clone, Debug)]
pub(super) struct Programs {
    /// Folders.
    pub(super) place: Place,
    /// Our binary.
    pub(super) ours: PathBuf,
    /// Another build of ours to compare with.
    pub(super) before: Option<PathBuf>,
    /// The Python that has libtorrent.
    pub(super) python: PathBuf,
    /// rqbit.
    pub(super) rqbit: PathBuf,
}

/// Who.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// The shipped binary with its default flags.
    Ours,
    /// Another build of it.
    Before,
    /// libtorrent with its defaults.
    Libtorrent,
    /// libtorrent with two threads that hash and two for the disk, and deeper queues.
    LibtorrentTuned,
    /// rqbit with its defaults.
    Rqbit,
    /// rqbit on one thread: on two cores twice as fast as its default.
    Rqbit1,
    /// aria2.
    Aria2,
}

impl Kind {
    /// All of them.
    pub(super) const ALL: [Self; 7] =
        [Self::Ours, Self::Before, Self::Libtorrent, Self::LibtorrentTuned, Self::Rqbit, Self::Rqbit1, Self::Aria2];

    /// As tables call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Ours => "ours",
            Self::Before => "before",
            Self::Libtorrent => "libtorrent",
            Self::LibtorrentTuned => "libtorrent-tuned",
            Self::Rqbit => "rqbit",
            Self::Rqbit1 => "rqbit-1",
            Self::Aria2 => "aria2",
        }
    }

    /// By its name.
    pub(super) fn of(name: &str) -> Result<Self> {
        let known = || Self::ALL.map(Self::name).join(", ");
        Self::ALL
            .into_iter()
            .find(|k| k.name() == name)
            .with_context(|| format!("no client {name:?}: known are {}", known()))
    }

    /// Starts it as number `n` of a run: that decides its address and its ports.
    pub(super) fn start(self, programs: &Programs, n: u16) -> Result<Box<dyn Client>> {
        self.start_with(programs, n, &[])
    }

    /// Starts it with flags, or settings, of its own besides.
    pub(super) fn start_with(self, programs: &Programs, n: u16, flags: &[&str]) -> Result<Box<dyn Client>> {
        self.open(programs, Seat::new(&programs.place, self, n, true)?, flags)
    }

    /// Starts it with what it kept.
    pub(super) fn restart(self, programs: &Programs, n: u16) -> Result<Box<dyn Client>> {
        self.open(programs, Seat::new(&programs.place, self, n, false)?, &[])
    }

    fn open(self, programs: &Programs, seat: Seat, flags: &[&str]) -> Result<Box<dyn Client>> {
        Ok(match self {
            Self::Ours => Box::new(ours::Ours::new(&programs.ours, seat, flags)),
            Self::Before => {
                let binary = programs.before.as_ref().context("`before` needs --before BINARY")?;
                Box::new(ours::Ours::new(binary, seat, flags))
            }
            Self::Libtorrent => Box::new(libtorrent::Libtorrent::start(&programs.python, seat, flags)?),
            Self::LibtorrentTuned => {
                let all = [libtorrent::TUNED, flags].concat();
                Box::new(libtorrent::Libtorrent::start(&programs.python, seat, &all)?)
            }
            Self::Rqbit => Box::new(rqbit::Rqbit::start(&programs.rqbit, seat, flags)?),
            Self::Rqbit1 => {
                let all = [&["-s"], flags].concat();
                Box::new(rqbit::Rqbit::start(&programs.rqbit, seat, &all)?)
            }
            Self::Aria2 => Box::new(aria2::Aria2::start(seat, flags)?),
        })
    }
}

/// What a client is to do with a torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Its data is there.
    Seed,
    /// It is to be fetched, and seeded afterwards: that is what clients do that stay.
    Leech,
}

/// Torrents for a client.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work<'a> {
    /// The .torrents, each of one file.
    pub(super) torrents: &'a [PathBuf],
    /// The names of the files.
    pub(super) files: &'a [&'a str],
    /// The folder that holds the files, or shall.
    pub(super) folder: &'a Path,
    /// What to do.
    pub(super) role: Role,
}

/// How far a client is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Bytes that it has, as far as it says so.
    pub(super) bytes: u64,
    /// Since when it has everything.
    pub(super) complete: Option<Instant>,
}

/// One running client.
pub(super) trait Client {
    /// Its process.
    fn pid(&self) -> Option<u32>;

    /// Hands over what it is to do.
    fn add(&mut self, work: &Work<'_>) -> Result<()>;

    /// Where peers reach it.
    fn peers_at(&self) -> SocketAddr;

    /// Does it keep thousands of torrents from one run to the next?
    fn lasts(&self) -> bool {
        true
    }

    /// Writes down what it knows, if it does not do so by itself.
    fn save(&mut self) -> Result<()> {
        Ok(())
    }

    /// Goes on with what it kept; a command is given the same work again.
    fn resume(&mut self, work: &Work<'_>) -> Result<()> {
        self.add(work)
    }

    /// How long it took from its start to taking connections, where the start is part of the transfer.
    fn start_time(&self) -> Option<Duration> {
        None
    }

    /// Asks how far it is with all that it was given.
    fn progress(&mut self) -> Result<Progress>;
}

/// Waits until a client has everything; gives the moment. It is asked seldom until it is nearly done, so that asking
/// costs it nothing, and then often, so that the moment is exact.
pub(super) fn complete(client: &mut dyn Client, total: u64, limit: Duration, peak: &mut Peak) -> Result<Instant> {
    let end = Instant::now() + limit;
    loop {
        let progress = client.progress()?;
        if let Some(at) = progress.complete {
            return Ok(at);
        }
        ensure!(Instant::now() < end, "not complete after {limit:?}: {} of {total} bytes", progress.bytes);
        if let Some(pid) = client.pid() {
            peak.see(pid);
        }
        std::thread::sleep(pause(progress.bytes, total));
    }
}

fn pause(bytes: u64, total: u64) -> Duration {
    Duration::from_millis(match total {
        0..0x400_0000 => 2,
        _ if bytes >= total / 10 * 9 => 5,
        _ => 50,
    })
}

/// The most memory of its own that a process was seen with; the kernel keeps that only for all kinds together.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Peak {
    /// In KiB.
    pub(super) anonymous: u64,
}

impl Peak {
    fn see(&mut self, pid: u32) {
        if let Ok(memory) = proc::memory(pid) {
            self.anonymous = self.anonymous.max(memory.anonymous);
        }
    }
}

/// Where one client sits: its address, its ports, its folder.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    name: String,
    address: Ipv4Addr,
    port: u16,
    control: u16,
    folder: PathBuf,
}

impl Seat {
    fn new(place: &Place, kind: Kind, n: u16, fresh: bool) -> Result<Self> {
        let name = format!("{}-{n}", kind.name());
        let folder = place.disk("work").join(&name);
        if fresh {
            place::fresh(&folder)?;
        }
        let last = u8::try_from(n).with_context(|| format!("no address for client {n}"))?;
        Ok(Self { name, address: Ipv4Addr::new(10, 77, 0, last), port: 50_000 + n, control: 51_000 + n, folder })
    }
}

impl Seat {
    /// Where peers reach who sits here.
    fn peers_at(&self) -> SocketAddr {
        SocketAddr::new(self.address.into(), self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for kind in Kind::ALL {
            assert_eq!(Kind::of(kind.name()).unwrap(), kind);
        }
        assert!(Kind::of("other").is_err());
    }

    #[test]
    fn who_is_nearly_done_is_asked_often() {
        assert_eq!(pause(0, 1 << 20).as_millis(), 2);
        assert_eq!(pause(0, 1 << 31).as_millis(), 50);
        assert_eq!(pause((1 << 31) - 1, 1 << 31).as_millis(), 5);
    }
}
