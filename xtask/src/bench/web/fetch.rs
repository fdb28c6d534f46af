//! Downloads: from one fast server beside curl, and from four slow ones.

use std::fs;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use super::super::clients::Programs;
use super::super::data::{self, Set, TWO};
use super::super::place;
use super::super::process::Process;
use super::super::record::Figures;
use super::load::timed;
use super::server::{Extras, Kind, Server};
use super::wire::Wire;

const MIB: u64 = 1 << 20;
/// What one fast server sends in a second, and each of four slow ones.
const FAST: u64 = 500 * MIB;
const SLOW: u64 = 4 * MIB;
/// The longest that a download may take.
const LIMIT: Duration = Duration::from_secs(120);
/// From the four: the first so many bytes of a file that is there.
const FROM_FOUR: u64 = 128 * MIB;

/// From where, and by whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in super::super) enum Fetch {
    /// One fast server, by `shoal get`.
    Ours,
    /// By another build of it.
    Before,
    /// By curl.
    Curl,
    /// Four slow mirrors.
    Four,
    /// Of which one ends half way.
    FourLessOne,
    /// A file that is split over four slow servers.
    Split,
    /// Four slow mirrors, by aria2.
    FourAria2,
}

/// From one.
pub(in super::super) const ONE: &[Fetch] = &[Fetch::Ours, Fetch::Curl];
/// From four.
pub(in super::super) const FOUR: &[Fetch] = &[Fetch::Four, Fetch::FourLessOne, Fetch::Split, Fetch::FourAria2];

impl Fetch {
    pub(super) fn name(self) -> &'static str {
        match self {
            Fetch::Ours => "ours",
            Fetch::Before => "before",
            Fetch::Curl => "curl",
            Fetch::Four => "mirrors",
            Fetch::FourLessOne => "mirrors-one-dies",
            Fetch::Split => "split",
            Fetch::FourAria2 => "aria2",
        }
    }
}

/// Runs it once.
pub(super) fn run(fetch: Fetch, programs: &Programs) -> Result<Figures> {
    match fetch {
        Fetch::Ours | Fetch::Before | Fetch::Curl => one(fetch, programs),
        _ => four(fetch, programs),
    }
}

fn get(programs: &Programs, fetch: Fetch, what: &str) -> Result<Command> {
    let binary = match fetch {
        Fetch::Before => programs.before.as_ref().context("`before` needs --before BINARY")?,
        _ => &programs.ours,
    };
    let state = programs.place.disk("work").join("get/state");
    let mut command = Command::new(binary);
    command.arg("--quiet").arg("--data-dir").arg(state).args(["get", what, "-o"]).arg(programs.place.memory("leech"));
    Ok(command)
}

fn one(fetch: Fetch, programs: &Programs) -> Result<Figures> {
    let (place, set) = (&programs.place, TWO[0]);
    let wire = Wire::new(1, FAST)?;
    let server =
        Server::start(Kind::Nginx, programs, &place.seed(), Extras { wire: Some(&wire), ..Extras::default() })?;
    let out = place.memory("leech");
    place::fresh(&out)?;
    let url = format!("{}/{}", server.url, set.file);
    let mut command = match fetch {
        Fetch::Curl => {
            let mut curl = Command::new("curl");
            curl.args(["-sSf", "-o"]).arg(out.join(set.file)).arg(&url);
            curl
        }
        _ => get(programs, fetch, &url)?,
    };
    data::warm(place, set.bytes + (256 << 20))?;
    let wall = timed(fetch.name(), &place.disk("work").join("get"), &mut command, LIMIT)?;
    data::compare(&set.path(place), &out.join(set.file))?;
    place::remove(&out)?;
    Ok(Figures::from([("wall_s".to_owned(), wall), ("mib_s".to_owned(), set.gib() * 1024.0 / wall)]))
}

fn four(fetch: Fetch, programs: &Programs) -> Result<Figures> {
    let place = &programs.place;
    let source = Source::make(programs)?;
    let wires = (1..=4).map(|n| Wire::new(n, SLOW)).collect::<Result<Vec<_>>>()?;
    let mut servers = Vec::new();
    for wire in &wires {
        let root = match fetch {
            Fetch::Split => source.folder.join(format!("part{}", wire.number)),
            _ => source.folder.clone(),
        };
        fs::create_dir_all(&root)?;
        servers.push(Server::start(Kind::Nginx, programs, &root, Extras { wire: Some(wire), ..Extras::default() })?);
    }
    let out = place.memory("leech");
    place::fresh(&out)?;
    let list = match fetch {
        Fetch::Split => source.split(programs, &servers)?,
        _ => source.metalink(&servers)?,
    };
    let mut command = match fetch {
        Fetch::FourAria2 => {
            let mut aria2 = Command::new("aria2c");
            aria2.args(["--no-conf", "-q", "--split=4", "--max-connection-per-server=1", "--min-split-size=1M", "-d"]);
            aria2.arg(&out).arg(list);
            aria2
        }
        _ => get(programs, fetch, &list)?,
    };
    let folder = place.disk("work").join("get");
    let wall = match fetch {
        Fetch::FourLessOne => {
            let began = Instant::now();
            let mut process = Process::start(fetch.name(), &folder, &mut command)?;
            // Half way for all four.
            thread::sleep(Duration::from_secs_f64(FROM_FOUR as f64 / (4 * SLOW) as f64 / 2.0));
            servers[1].stop();
            process.ended(LIMIT)?.duration_since(began).as_secs_f64()
        }
        _ => timed(fetch.name(), &folder, &mut command, LIMIT)?,
    };
    data::compare(&source.file, &out.join(Source::NAME))?;
    place::remove(&out)?;
    place::remove(&source.folder)?;
    Ok(Figures::from([
        ("wall_s".to_owned(), wall),
        ("of_one_server".to_owned(), FROM_FOUR as f64 / SLOW as f64 / wall),
    ]))
}

/// What the four have.
struct Source {
    folder: std::path::PathBuf,
    file: std::path::PathBuf,
}

impl Source {
    const NAME: &'static str = "image.bin";

    fn make(programs: &Programs) -> Result<Self> {
        let folder = programs.place.memory("web");
        place::fresh(&folder)?;
        let file = folder.join(Self::NAME);
        let set: Set = data::MIDDLE;
        fs::copy(set.path(&programs.place), &file)?;
        fs::File::options().write(true).open(&file)?.set_len(FROM_FOUR)?;
        Ok(Self { folder, file })
    }

    /// A Metalink without hashes: all that is compared is how fast the bytes come.
    fn metalink(&self, servers: &[Server]) -> Result<String> {
        let urls: String = servers.iter().map(|s| format!("<url>{}/{}</url>", s.url, Self::NAME)).collect();
        let text = format!(
            "<?xml version=\"1.0\"?><metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"{}\"><size>{FROM_FOUR}</size>{urls}</file></metalink>",
            Self::NAME
        );
        let path = self.folder.join("image.meta4");
        fs::write(&path, text)?;
        Ok(path.to_string_lossy().into_owned())
    }

    /// Splits it over the folders of the servers, and gives the manifest with their addresses.
    fn split(&self, programs: &Programs, servers: &[Server]) -> Result<String> {
        let manifest = self.folder.join("image.split.json");
        let mut command = Command::new(&programs.ours);
        command.arg("--quiet").arg("--data-dir").arg(programs.place.disk("work").join("get/state"));
        command.arg("split").arg(&self.file).args(["--replicas", "1", "--output"]).arg(&manifest).arg("--across");
        for number in 1..=servers.len() {
            command.arg(format!("part{number}"));
        }
        crate::run::output(command.current_dir(&self.folder))?;
        let mut text = fs::read_to_string(&manifest)?;
        for (number, server) in (1..).zip(servers) {
            text = text.replace(&format!("\"part{number}/"), &format!("\"{}/", server.url));
        }
        fs::write(&manifest, text)?;
        Ok(manifest.to_string_lossy().into_owned())
    }
}
