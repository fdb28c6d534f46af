//! Peer exchange (BEP 11), both ways: who is connected to one peer alone hears of the other that this one is connected to.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use interop::cell::{self, Format};
use interop::client::{Client, HOST_CLIENT};
use interop::clients::libtorrent::Libtorrent;
use interop::content::{self, Empty, Shape};
use interop::place::Place;
use interop::process::{self, PATIENCE};
use interop::shoal::{self, Running};
use libtest_mimic::Trial;
use serde_json::Value;

/// The address of libtorrent as a seed.
const HOST_SEED: u8 = 3;
/// Where every driver has its client listen.
const PORT: u16 = 50_000;
/// Nobody listens there.
const NOWHERE: &str = "http://10.77.0.1:9/announce";

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        crate::trial("exchange/shoal-names-libtorrent", || we_name_them(false)),
        crate::trial("exchange/libtorrent-names-shoal", they_name_us),
        crate::trial("exchange/private-names-nobody", || we_name_them(true)),
    ]
}

struct Swarm {
    place: Place,
    content: PathBuf,
    torrent: PathBuf,
}

fn swarm(name: &str, private: bool) -> Result<Swarm> {
    let place = Place::new(&format!("exchange/{name}"))?;
    let content = Shape::File.write(&place.sub("seed")?, 31)?;
    let torrent = place.folder.join("it.torrent");
    if private {
        let (path, out) = (content.display().to_string(), torrent.display().to_string());
        shoal::ask(&place, &["torrent", "create", &path, "-o", &out, "--private", "--tracker", NOWHERE])?;
    } else {
        cell::create(&place, &content, &torrent, Format::V1, NOWHERE)?;
    }
    Ok(Swarm { place, content, torrent })
}

/// A download that knows one peer.
fn get(swarm: &Swarm, name: &str, peer: &str, more: &[&str]) -> Result<(Running, PathBuf)> {
    let out = swarm.place.sub(&format!("out-{name}"))?;
    let (torrent, folder) = (swarm.torrent.display().to_string(), out.display().to_string());
    let args = [&["get", &torrent, "-o", &folder, "--listen", "0.0.0.0:0", "--peer", peer], more].concat();
    Ok((Running::start(&swarm.place, name, &args)?, out))
}

/// What came from this address.
fn from(done: &Value, address: &str) -> u64 {
    let sources = done["sources"].as_array().map(Vec::as_slice).unwrap_or_default();
    let one = sources.iter().find(|s| s["address"] == address);
    one.and_then(|s| s["bytes"].as_u64()).unwrap_or(0)
}

fn we_name_them(private: bool) -> Result<()> {
    let swarm = swarm(if private { "private" } else { "we" }, private)?;
    let place = &swarm.place;
    let mut seed = Libtorrent::with_settings(place, HOST_SEED, &[])?;
    seed.add(&swarm.torrent, &place.folder.join("seed"))?;
    process::until(PATIENCE, "the seed to have checked its data", || seed.complete())?;
    let at = format!("{}:{PORT}", place.address(HOST_SEED));
    // It takes its time, so that it stays connected.
    let (middle, _) = get(&swarm, "middle", &at, &["--limit-down", "20K"])?;
    process::until(PATIENCE, "the one in the middle to be connected", || Ok(seed.status()?["peers"] == 1))?;
    let peer = format!("{}:{}", place.address(HOST_CLIENT), middle.port()?);
    let (mut last, out) = get(&swarm, "last", &peer, &["--limit-down", if private { "20K" } else { "1G" }])?;
    if private {
        // Connected to the one in the middle, it gets what that has, and hears of nobody.
        for _ in 0..5 {
            let progress = last.process.event("progress", PATIENCE)?;
            ensure!(progress["peers"].as_u64() <= Some(1), "{progress}");
        }
        ensure!(seed.status()?["peers"] == 1);
        swarm.place.succeeded();
        return Ok(());
    }
    let done = shoal::complete(&mut last, PATIENCE)?;
    ensure!(from(&done, &at) > done["bytes"].as_u64().context("no bytes")? / 2, "not from whom it heard of: {done}");
    content::compare(&swarm.content, &out.join(Shape::File.name()), Empty::Present)?;
    swarm.place.succeeded();
    Ok(())
}

fn they_name_us() -> Result<()> {
    let swarm = swarm("they", false)?;
    let place = &swarm.place;
    // It takes its time, so that it stays connected.
    let seed = shoal::seed(place, &swarm.torrent, &swarm.content, &["--limit-up", "300K"])?;
    let mut middle = Libtorrent::start(place)?;
    middle.add(&swarm.torrent, &place.sub("middle")?)?;
    process::until(PATIENCE, "the one in the middle to be connected", || {
        middle.connect(&place.address(HOST_SEED), seed.port()?)?;
        Ok(middle.status()?["peers"] == 1)
    })?;
    let peer = format!("{}:{PORT}", place.address(HOST_CLIENT));
    let (mut last, out) = get(&swarm, "last", &peer, &[])?;
    let done = shoal::complete(&mut last, 2 * PATIENCE)?;
    // Either of the two may dial the other, from an address that the system chooses.
    let others = done["sources"].as_array().map_or(0, |all| all.iter().filter(|s| s["address"] != peer).count());
    ensure!(others == 1, "not from whom it heard of: {done}");
    content::compare(&swarm.content, &out.join(Shape::File.name()), Empty::Present)?;
    swarm.place.succeeded();
    Ok(())
}
