//! libtorrent with each other client, without us: where such a pair fails, a failing cell is not our fault.

use anyhow::Result;
use interop::client::{Client, Kind};
use interop::clients::libtorrent::Libtorrent;
use interop::content::{self, PIECE_LENGTH, Shape};
use interop::place::Place;
use interop::process::{self, PATIENCE};
use interop::python::Python;
use libtest_mimic::Trial;
use serde_json::json;

/// The address of the seed.
const HOST_SEED: u8 = 3;

/// Where every driver has its client listen.
const PORT: u16 = 50_000;

pub(crate) fn trials() -> Vec<Trial> {
    Kind::ALL.map(|kind| crate::trial(&format!("pairs/libtorrent-to-{}", kind.name()), move || pair(kind))).into()
}

fn pair(kind: Kind) -> Result<()> {
    let place = Place::new(&format!("pairs/{}", kind.name()))?;
    let content = Shape::Tree.write(&place.sub("seed")?, 7)?;
    let torrent = place.folder.join("it.torrent");
    // Nobody listens there; rtorrent takes no torrent without a tracker, and the peers are named anyway.
    let trackers = ["http://10.77.0.1:9/announce"];
    let make =
        json!({"path": content, "out": torrent, "version": "v1", "piece_length": PIECE_LENGTH, "trackers": trackers});
    Python::offline(&place.folder)?.ask("make", &make)?;
    let mut seed = Libtorrent::with_settings(&place, HOST_SEED, &[])?;
    seed.add(&torrent, &place.folder.join("seed"))?;
    process::until(PATIENCE, "the seed to have checked its data", || seed.complete())?;
    let out = place.sub("out")?;
    let mut client = kind.start(&place)?;
    client.add(&torrent, &out)?;
    process::until(PATIENCE, "the client to have all of it", || {
        seed.connect(&place.address(interop::client::HOST_CLIENT), PORT)?;
        client.complete()
    })?;
    process::until(PATIENCE, "equal content", || {
        Ok(content::compare(&content, &out.join(Shape::Tree.name()), kind.makes_empty_files()).is_ok())
    })?;
    place.succeeded();
    Ok(())
}
