//! The main job: `shoal share` on one side; on the other our own `get` by link, browsers' and curl's HTTP, and every client by .torrent.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use interop::client::Client;
use interop::client::Kind;
use interop::clients::libtorrent::Libtorrent;
use interop::content::{self, Empty, Shape};
use interop::place::Place;
use interop::process::{self, PATIENCE};
use interop::rpc;
use interop::shoal::{self, Running};
use libtest_mimic::Trial;

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials =
        vec![crate::trial("share/by-http", by_http), crate::trial("share/magnet-to-libtorrent", by_magnet)];
    for shape in [Shape::File, Shape::Tree] {
        trials.push(crate::trial(&format!("share/by-link/{shape:?}"), move || by_link(shape)));
    }
    for kind in Kind::ALL {
        trials.push(crate::trial(&format!("share/to-{}", kind.name()), move || by_torrent(kind)));
    }
    trials
}

/// Something shared, on an address of its own.
struct Shared {
    place: Place,
    content: PathBuf,
    link: String,
    magnet: String,
    torrent: PathBuf,
    _running: Running,
}

impl Shared {
    fn new(name: &str, shape: Shape, more: &[&str]) -> Result<Self> {
        let place = Place::new(&format!("share/{name}"))?;
        let content = shape.write(&place.sub("seed")?, 41)?;
        let (path, http, listen) =
            (content.to_string_lossy(), format!("{}:0", place.address(1)), format!("{}:0", place.address(1)));
        let args = [&["share", &path, "--http", &http, "--listen", &listen], more].concat();
        let mut running = Running::start(&place, "share", &args)?;
        let shared = running.process.event("shared", PATIENCE)?;
        let field =
            |name: &str| shared[name].as_str().map(str::to_owned).with_context(|| format!("no {name} in {shared}"));
        let (link, magnet, torrent) = (field("link")?, field("magnet")?, field("torrent")?);
        let torrent = place.folder.join(torrent);
        running.process.event("seeding", PATIENCE)?;
        Ok(Self { place, content, link, magnet, torrent, _running: running })
    }
}

fn by_link(shape: Shape) -> Result<()> {
    let shared = Shared::new(&format!("link-{shape:?}"), shape, &[])?;
    let out = shared.place.sub("out")?;
    let mut get = shoal::get(&shared.place, &shared.link, &out, &[])?;
    shoal::complete(&mut get, PATIENCE)?;
    content::compare(&shared.content, &out.join(shape.name()), Empty::Present)?;
    shared.place.succeeded();
    Ok(())
}

fn by_torrent(kind: Kind) -> Result<()> {
    let format = if kind.reads_hybrids() { "hybrid" } else { "v1" };
    let shared = Shared::new(kind.name(), Shape::Tree, &["--format", format])?;
    let out = shared.place.sub("out")?;
    let mut client = kind.start(&shared.place)?;
    client.add(&shared.torrent, &out)?;
    process::until(PATIENCE, "the client to have all of it", || client.complete())?;
    process::until(PATIENCE, "equal content", || {
        Ok(content::compare(&shared.content, &out.join(Shape::Tree.name()), kind.makes_empty_files()).is_ok())
    })?;
    shared.place.succeeded();
    Ok(())
}

fn by_magnet() -> Result<()> {
    let shared = Shared::new("magnet", Shape::File, &[])?;
    let out = shared.place.sub("out")?;
    let mut client = Libtorrent::start(&shared.place)?;
    client.add_magnet(&shared.magnet, &out)?;
    process::until(PATIENCE, "libtorrent to have all of it", || client.complete())?;
    process::until(PATIENCE, "equal content", || {
        Ok(content::compare(&shared.content, &out.join(Shape::File.name()), Empty::Present).is_ok())
    })?;
    shared.place.succeeded();
    Ok(())
}

/// What needs no client at all: the page, the bytes, a range of them, the .torrent, and aria2 as a plain downloader.
fn by_http() -> Result<()> {
    let shared = Shared::new("http", Shape::File, &[])?;
    let expected = fs::read(&shared.content).context("cannot read what is shared")?;
    let page = rpc::curl(&["-H", "Accept: text/html", &shared.link])?;
    ensure!(
        page.status == 200 && page.header("content-type").is_some_and(|t| t.starts_with("text/html")),
        "{}",
        page.head
    );
    ensure!(page.text().contains("magnet:?"), "the page names no magnet");
    let bytes = rpc::curl(&[&shared.link])?;
    ensure!(bytes.status == 200 && bytes.body == expected, "the bytes differ: {}", bytes.head);
    let range = rpc::curl(&["-r", "1000-1999", &shared.link])?;
    ensure!(range.status == 206 && range.body == expected[1000..2000], "the range differs: {}", range.head);
    let torrent = rpc::curl(&[&format!("{}.torrent", shared.link)])?;
    let own = fs::read(&shared.torrent).context("cannot read the .torrent")?;
    ensure!(torrent.status == 200 && torrent.body == own, "the .torrent differs: {}", torrent.head);
    let out = shared.place.sub("out")?;
    process::run(
        Command::new("aria2c").args(["--no-conf", "-q", "-x", "4", "-k", "1M", "-d"]).arg(&out).arg(&shared.link),
    )?;
    content::compare(&shared.content, &out.join(Shape::File.name()), Empty::Present)?;
    shared.place.succeeded();
    Ok(())
}
