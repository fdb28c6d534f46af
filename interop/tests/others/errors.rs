//! Errors of the user, and of the machine: one clear line each, and exit 1.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use interop::cell::{self, Format};
use interop::content::{self, Shape};
use interop::place::Place;
use interop::process::PATIENCE;
use interop::tracker::{Tracker, Via};
use interop::{process, shoal};
use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        crate::trial("errors/no-such-file", no_such_file),
        crate::trial("errors/a-broken-torrent", a_broken_torrent),
        crate::trial("errors/a-port-in-use", a_port_in_use),
        crate::trial("errors/a-read-only-folder", a_read_only_folder),
        crate::trial("errors/a-full-disk", a_full_disk),
        crate::trial("errors/bad-data", bad_data),
        crate::trial("errors/a-tracker-that-refuses", a_tracker_that_refuses),
    ]
}

fn no_such_file() -> Result<()> {
    let place = Place::new("errors/none")?;
    shoal::fails(&place, &["torrent", "create", "/no/such/file"], &["/no/such/file"])?;
    shoal::fails(&place, &["torrent", "show", "/no/such.torrent"], &["/no/such.torrent"])?;
    shoal::fails(&place, &["get", "/no/such.torrent", "-o", &place.folder.to_string_lossy()], &["/no/such.torrent"])?;
    shoal::fails(&place, &["share", "/no/such/file"], &["/no/such/file"])?;
    place.succeeded();
    Ok(())
}

fn a_broken_torrent() -> Result<()> {
    let (place, torrent, _) = torrent("errors/broken", Shape::File)?;
    let mut bytes = fs::read(&torrent).context("cannot read the torrent")?;
    bytes.truncate(bytes.len() / 2);
    fs::write(&torrent, bytes).context("cannot write the torrent")?;
    let (path, out) = (torrent.to_string_lossy(), place.folder.to_string_lossy());
    shoal::fails(&place, &["torrent", "show", &path], &[&path])?;
    shoal::fails(&place, &["get", &path, "-o", &out], &[&path])?;
    place.succeeded();
    Ok(())
}

fn a_port_in_use() -> Result<()> {
    let (place, torrent, content) = torrent("errors/port", Shape::File)?;
    let taken = TcpListener::bind((place.address(1), 0)).context("cannot listen")?;
    let address = taken.local_addr().context("no address")?.to_string();
    let (path, data) = (torrent.to_string_lossy(), content.to_string_lossy());
    shoal::fails(&place, &["seed", &path, &data, "--listen", &address], &[&address])?;
    shoal::fails(&place, &["tracker", "--http", &address], &[&address])?;
    place.succeeded();
    Ok(())
}

fn a_read_only_folder() -> Result<()> {
    let (place, torrent, content) = torrent("errors/read-only", Shape::Tree)?;
    let mount = Mount::new(place.sub("mount")?, "ro,size=1m")?;
    let seed = shoal::seed(&place, &torrent, &content, &[])?;
    let peer = format!("10.77.0.1:{}", seed.port()?);
    let (path, out) = (torrent.to_string_lossy(), mount.0.to_string_lossy());
    shoal::fails(&place, &["get", &path, "-o", &out, "--peer", &peer, "--listen", "0.0.0.0:0"], &[&out])?;
    let made = mount.0.join("new.torrent");
    shoal::fails(&place, &["torrent", "create", &content.to_string_lossy(), "-o", &made.to_string_lossy()], &[&out])?;
    drop(mount);
    place.succeeded();
    Ok(())
}

fn a_full_disk() -> Result<()> {
    let (place, torrent, content) = torrent("errors/full", Shape::File)?;
    let mount = Mount::new(place.sub("mount")?, "size=512k")?;
    let seed = shoal::seed(&place, &torrent, &content, &[])?;
    let peer = format!("10.77.0.1:{}", seed.port()?);
    let (path, out) = (torrent.to_string_lossy(), mount.0.to_string_lossy());
    shoal::fails(&place, &["get", &path, "-o", &out, "--peer", &peer, "--listen", "0.0.0.0:0"], &["one file.bin"])?;
    ensure!(!mount.0.join("one file.bin").exists(), "half of a file has its final name");
    drop(mount);
    place.succeeded();
    Ok(())
}

fn bad_data() -> Result<()> {
    let (place, torrent, content) = torrent("errors/bad", Shape::File)?;
    content::write(&content, 1_500_007, 99)?;
    let status = process::output(
        shoal::command(&place, "shoal-short")?.args(["torrent", "verify"]).arg(&torrent).arg(&content),
    )?;
    ensure!(status.status.code() == Some(1), "all pieces are bad, and verify ended with {}", status.status);
    place.succeeded();
    Ok(())
}

/// Not fatal, since other sources may come; but said, with the tracker and its reason.
fn a_tracker_that_refuses() -> Result<()> {
    let (place, torrent, _) = torrent("errors/refused", Shape::File)?;
    let allowed = place.folder.join("allowed");
    fs::write(&allowed, "1111111111111111111111111111111111111111\n").context("cannot write the list")?;
    let _tracker = Tracker::start_with(&place, &["--allow", &allowed.to_string_lossy()])?;
    let mut get = shoal::get(&place, &torrent.to_string_lossy(), &place.sub("out")?, &[])?;
    let url = Tracker::url(&place, Via::Http);
    process::until(PATIENCE, "word of the refusal", || {
        get.process.alive()?;
        Ok(get.process.log().lines().any(|line| line.contains(&url) && line.contains("not served")))
    })?;
    get.process.signal("INT")?;
    let status = get.process.finish(PATIENCE)?;
    ensure!(status.code() == Some(130), "interrupted, it ended with {status}");
    place.succeeded();
    Ok(())
}

fn torrent(name: &str, shape: Shape) -> Result<(Place, PathBuf, PathBuf)> {
    let place = Place::new(name)?;
    let content = shape.write(&place.sub("seed")?, 31)?;
    let torrent = place.folder.join("it.torrent");
    cell::create(&place, &content, &torrent, Format::V1, &Tracker::url(&place, Via::Http))?;
    Ok((place, torrent, content))
}

/// A small file system in memory, gone when dropped; the run has mounts of its own, so that nobody else sees it.
struct Mount(PathBuf);

impl Mount {
    fn new(folder: PathBuf, options: &str) -> Result<Self> {
        process::run(Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg::<&Path>(&folder))?;
        Ok(Self(folder))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(process::run(Command::new("umount").arg("-l").arg(&self.0)));
    }
}
