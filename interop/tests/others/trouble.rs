//! What goes wrong in the middle: a killed process, a peer that lies, data that rots.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use interop::client::HOST_CLIENT;
use interop::clients::libtorrent::Libtorrent;
use interop::content::{self, Empty};
use interop::hostile::Hostile;
use interop::place::Place;
use interop::process::{PATIENCE, Process};
use interop::shoal::{self, Running};
use libtest_mimic::Trial;
use serde_json::Value;

/// Where the driver of libtorrent listens.
const PORT: u16 = 50_000;

/// What is shared here, and its pieces: large ones, so that a killed download leaves unfinished ones.
const BYTES: usize = 24 << 20;
const PIECE_LENGTH: usize = 1 << 20;

/// What may be in flight or not yet in the state when a process is killed, and is fetched again.
const LOST_BYTES_MAX: u64 = 4 << 20;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        crate::trial("trouble/killed-and-resumed", killed_and_resumed),
        crate::trial("trouble/a-liar-is-banned", a_liar_is_banned),
        crate::trial("trouble/rot-is-mended", rot_is_mended),
        crate::trial("trouble/interrupted-in-order", interrupted_in_order),
    ]
}

/// Content, its .torrent, and libtorrent as a seed that takes its time.
struct Scene {
    place: Place,
    content: PathBuf,
    torrent: PathBuf,
    seed: String,
    _libtorrent: Libtorrent,
}

impl Scene {
    fn new(name: &str, rate: u32) -> Result<Self> {
        let place = Place::new(name)?;
        let content = place.sub("seed")?.join("large.bin");
        content::write(&content, BYTES, rate.into())?;
        let torrent = place.folder.join("it.torrent");
        let (path, out, piece) = (content.to_string_lossy(), torrent.to_string_lossy(), PIECE_LENGTH.to_string());
        shoal::ask(&place, &["torrent", "create", &path, "-o", &out, "--format", "v1", "--piece-length", &piece])?;
        let mut libtorrent = Libtorrent::start(&place)?;
        libtorrent.seed_slowly(&torrent, &place.folder.join("seed"), rate)?;
        let seed = format!("{}:{PORT}", place.address(HOST_CLIENT));
        Ok(Self { place, content, torrent, seed, _libtorrent: libtorrent })
    }

    fn get(&self, more: &[&str]) -> Result<Running> {
        let out = self.place.sub("out")?;
        shoal::get(&self.place, &self.torrent.to_string_lossy(), &out, &[&["--peer", &self.seed], more].concat())
    }

    fn came(&self) -> Result<()> {
        content::compare(&self.content, &self.place.folder.join("out/large.bin"), Empty::Present)
    }
}

/// Waits until so many bytes are there; gives how many really were.
fn progressed(process: &mut Process, bytes: u64) -> Result<u64> {
    loop {
        let done = process.event("progress", PATIENCE)?["bytes"].as_u64().context("progress without bytes")?;
        if done >= bytes {
            return Ok(done);
        }
    }
}

fn killed_and_resumed() -> Result<()> {
    let scene = Scene::new("trouble/killed", 6 << 20)?;
    let mut had = 0;
    for round in 1..=2 {
        let mut get = scene.get(&[])?;
        had = progressed(&mut get.process, round * (BYTES as u64 / 4))?;
        get.process.kill();
        ensure!(!scene.place.folder.join("out/large.bin").exists(), "what is not complete has its final name");
    }
    let mut get = scene.get(&[])?;
    let done = shoal::complete(&mut get, PATIENCE)?;
    let fetched = done["bytes"].as_u64().context("complete without bytes")?;
    let missing = BYTES as u64 - had;
    ensure!(fetched <= missing + LOST_BYTES_MAX, "{had} bytes were there, and yet {fetched} were fetched again");
    scene.came()?;
    scene.place.succeeded();
    Ok(())
}

fn a_liar_is_banned() -> Result<()> {
    let scene = Scene::new("trouble/liar", 8 << 20)?;
    let address = scene.place.address(HOST_CLIENT + 1);
    let liar = Hostile::start(&address, fs::read(&scene.content).context("cannot read the content")?, PIECE_LENGTH)?;
    let named = format!("{address}:{}", liar.port);
    let mut get = scene.get(&["--peer", &named])?;
    let banned = get.process.event("banned", PATIENCE)?;
    ensure!(
        banned["peer"].as_str().is_some_and(|p| p.starts_with(&address)),
        "banned was {banned}, the liar is {named}"
    );
    ensure!(banned["why"].as_str().is_some_and(|why| !why.is_empty()), "banned without a reason");
    let done = shoal::complete(&mut get, PATIENCE)?;
    ensure!(liar.sent() > 0, "the liar was never asked");
    ensure!(done["wasted"].as_u64() > Some(0), "bad blocks came and nothing was wasted: {done}");
    let sources = done["sources"].as_array().context("no sources")?;
    let counted = |source: &Value| source["bytes"].as_u64() > Some(0) && source["address"].as_str() == Some(&named);
    ensure!(!sources.iter().any(counted), "bad bytes count as supplied: {done}");
    scene.came()?;
    scene.place.succeeded();
    Ok(())
}

/// A second `get` of what is there ends at once; after a flipped bit it fetches a piece and no more.
fn rot_is_mended() -> Result<()> {
    let scene = Scene::new("trouble/rot", 64 << 20)?;
    shoal::complete(&mut scene.get(&[])?, PATIENCE)?;
    let again = shoal::complete(&mut scene.get(&[])?, PATIENCE)?;
    ensure!(again["bytes"] == 0, "all was there: {again}");
    let path = scene.place.folder.join("out/large.bin");
    let mut bytes = fs::read(&path).context("cannot read what came")?;
    bytes[BYTES / 2] ^= 1;
    fs::write(&path, bytes).context("cannot write")?;
    let mended = shoal::complete(&mut scene.get(&["--in-place"])?, PATIENCE)?;
    let fetched = mended["bytes"].as_u64().context("complete without bytes")?;
    ensure!(fetched > 0 && fetched <= PIECE_LENGTH as u64, "one piece was bad: {mended}");
    scene.came()?;
    scene.place.succeeded();
    Ok(())
}

/// Ctrl-C ends with 130, and what was fetched counts the next time.
fn interrupted_in_order() -> Result<()> {
    let scene = Scene::new("trouble/interrupted", 7 << 20)?;
    let mut get = scene.get(&[])?;
    let had = progressed(&mut get.process, BYTES as u64 / 4)?;
    get.process.signal("INT")?;
    let status = get.process.finish(PATIENCE)?;
    ensure!(status.code() == Some(130), "interrupted, it ended with {status}");
    let done = shoal::complete(&mut scene.get(&[])?, PATIENCE)?;
    let fetched = done["bytes"].as_u64().context("complete without bytes")?;
    ensure!(fetched <= BYTES as u64 - had, "{had} bytes were there, and yet {fetched} were fetched again");
    scene.came()?;
    scene.place.succeeded();
    Ok(())
}
