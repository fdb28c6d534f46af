//! Magnets, both ways: the metadata comes from the peer, so that each side serves it to the other.

use anyhow::{Context, Result};
use interop::cell::{self, Format};
use interop::client::{Client, HOST_CLIENT};
use interop::clients::libtorrent::Libtorrent;
use interop::content::{self, Empty, Shape};
use interop::place::Place;
use interop::process::{self, PATIENCE};
use interop::shoal;
use interop::tracker::{Tracker, Via};
use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for format in [Format::V1, Format::Hybrid] {
        let name = format.name();
        trials.push(crate::trial(&format!("magnets/{name}/shoal-from-libtorrent"), move || we_fetch(format)));
        trials.push(crate::trial(&format!("magnets/{name}/libtorrent-from-shoal"), move || they_fetch(format)));
    }
    trials
}

fn we_fetch(format: Format) -> Result<()> {
    let place = Place::new(&format!("magnets/we/{}", format.name()))?;
    let content = Shape::Tree.write(&place.sub("seed")?, 21)?;
    let torrent = place.folder.join("it.torrent");
    let created = cell::create(&place, &content, &torrent, format, &Tracker::url(&place, Via::Http))?;
    let mut tracker = Tracker::start(&place)?;
    let mut seed = Libtorrent::start(&place)?;
    seed.add(&torrent, &place.folder.join("seed"))?;
    let hash = format.wire_hash(&created);
    tracker.await_counts(hash, "libtorrent to announce itself as a seed", |c| c.complete == 1)?;
    let out = place.sub("out")?;
    let mut get = shoal::get(&place, created["magnet"].as_str().context("no magnet")?, &out, &[])?;
    shoal::complete(&mut get, PATIENCE)?;
    content::compare(&content, &out.join(Shape::Tree.name()), Empty::Present)?;
    place.succeeded();
    Ok(())
}

fn they_fetch(format: Format) -> Result<()> {
    let place = Place::new(&format!("magnets/they/{}", format.name()))?;
    let content = Shape::Tree.write(&place.sub("seed")?, 22)?;
    let torrent = place.folder.join("it.torrent");
    let created = cell::create(&place, &content, &torrent, format, &Tracker::url(&place, Via::Http))?;
    let seed = shoal::seed(&place, &torrent, &content, &[])?;
    let out = place.sub("out")?;
    let mut client = Libtorrent::start(&place)?;
    client.add_magnet(created["magnet"].as_str().context("no magnet")?, &out)?;
    client.connect(&place.address(HOST_CLIENT + 1), seed.port()?)?;
    process::until(PATIENCE, "libtorrent to have all of it", || client.complete())?;
    process::until(PATIENCE, "equal content", || {
        Ok(content::compare(&content, &out.join(Shape::Tree.name()), Empty::Present).is_ok())
    })?;
    place.succeeded();
    Ok(())
}
