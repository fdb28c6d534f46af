//! Thousands of small torrents in one process: ready the first time, and from what was kept the second time; what each of them
//! takes of memory, and what all of them take of a core while nothing happens.

use std::fs;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use sha1::{Digest, Sha1};

use super::clients::{self, Client, Kind, Peak, Programs, Role, Work};
use super::data::Stream;
use super::place::Place;
use super::proc;
use super::record::Figures;
use super::transfer;

/// How many.
const TORRENTS: usize = 5_000;
/// The length of the one file and the one piece of each.
const BYTES: usize = 16 << 10;
/// The longest that it may take to be ready.
const LIMIT: Duration = Duration::from_secs(120);
/// Before it counts as idle, and how long that is watched.
const CALM: Duration = Duration::from_secs(3);
const WATCHED: Duration = Duration::from_secs(10);

/// Runs it once: with one torrent, for comparison; with all, new; with all, from what was kept.
pub(super) fn run(kind: Kind, programs: &Programs) -> Result<Figures> {
    let place = &programs.place;
    let torrents = make(place)?;
    let names: Vec<String> = (0..TORRENTS).map(name).collect();
    let files: Vec<&str> = names.iter().map(String::as_str).collect();
    let source = place.memory("many");
    let work = Work { torrents: &torrents, files: &files, folder: &source, role: Role::Seed };
    let total = (TORRENTS * BYTES) as u64;

    let mut client = kind.start(programs, 12)?;
    client.add(&Work { torrents: &torrents[..1], files: &files[..1], ..work })?;
    clients::complete(&mut *client, total, LIMIT, &mut Peak::default())?;
    thread::sleep(CALM);
    let alone = resident(&*client)?;
    drop(client);

    let began = Instant::now();
    let mut client = kind.start(programs, 12)?;
    client.add(&work)?;
    let first = clients::complete(&mut *client, total, LIMIT, &mut Peak::default())?.duration_since(began);
    let first_cpu = transfer::used(&*client)?.total();
    thread::sleep(CALM);
    let first_resident = resident(&*client)?;
    let each = |kib: f64| (kib - alone) / (TORRENTS - 1) as f64;
    let mut figures = Figures::from([
        ("first_ready_s".to_owned(), first.as_secs_f64()),
        ("first_cpu_s".to_owned(), first_cpu),
        ("first_kib_each".to_owned(), each(first_resident)),
        ("one_torrent_mib".to_owned(), alone / 1024.0),
    ]);
    if client.lasts() {
        client.save()?;
        drop(client);
        let began = Instant::now();
        client = kind.restart(programs, 12)?;
        client.resume(&work)?;
        let again = clients::complete(&mut *client, total, LIMIT, &mut Peak::default())?.duration_since(began);
        figures.insert("saved_ready_s".into(), again.as_secs_f64());
        figures.insert("saved_cpu_s".into(), transfer::used(&*client)?.total());
        thread::sleep(CALM);
        figures.insert("saved_kib_each".into(), each(resident(&*client)?));
    }
    let before = transfer::used(&*client)?;
    thread::sleep(WATCHED);
    let idle = transfer::used(&*client)?.since(before).total() / WATCHED.as_secs_f64();
    figures.insert("idle_cores".into(), idle);
    Ok(figures)
}

fn resident(client: &dyn Client) -> Result<f64> {
    Ok(proc::memory(client.pid().context("a client without a process")?)?.resident as f64)
}

fn name(i: usize) -> String {
    format!("f{i:05}.bin")
}

/// Makes files and torrents, unless they are there; they name no tracker.
fn make(place: &Place) -> Result<Vec<PathBuf>> {
    let (data, folder) = (place.memory("many"), place.memory("many-torrents"));
    let paths: Vec<PathBuf> = (0..TORRENTS).map(|i| folder.join(format!("{i:05}.torrent"))).collect();
    if paths.last().is_some_and(|last| last.is_file()) {
        return Ok(paths);
    }
    for folder in [&data, &folder] {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    for (i, path) in paths.iter().enumerate() {
        let name = name(i);
        let mut stream = Stream::new(&name);
        let bytes: Vec<u8> = (0..BYTES / 8).flat_map(|_| stream.next().to_le_bytes()).collect();
        fs::write(data.join(&name), &bytes).with_context(|| format!("cannot write {name}"))?;
        fs::write(path, torrent(&name, &bytes)).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(paths)
}

/// A torrent of one file of one piece.
fn torrent(name: &str, bytes: &[u8]) -> Vec<u8> {
    let n = bytes.len();
    let head = format!("d4:infod6:lengthi{n}e4:name{}:{name}12:piece lengthi{n}e6:pieces20:", name.len());
    [head.as_bytes(), &Sha1::digest(bytes), b"ee"].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torrent_of_one_piece() {
        let made = torrent("f", b"abc");
        assert!(made.starts_with(b"d4:infod6:lengthi3e4:name1:f12:piece lengthi3e6:pieces20:\xa9\x99\x3e\x36"));
        assert!(made.ends_with(b"\xd0\xd8\x9dee"));
    }
}
