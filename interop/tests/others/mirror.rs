//! Replicas: an origin, mirrors of it, and those who download from all of them; what changes, lies, dies and comes back.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

use anyhow::{Context, Result, ensure};
use interop::content;
use interop::place::Place;
use interop::process::{self, PATIENCE, Process, until};
use interop::relay::Relay;
use interop::rpc::{self, Reply};
use interop::shoal::{self, Running};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::browser::{Driver, drive};
use crate::trial;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("mirror/two-follow-an-origin", two_follow),
        trial("mirror/goes-on-without-the-origin", without_origin),
        trial("mirror/altered-and-lying", altered_and_lying),
        trial("mirror/downloads-from-all", downloads_from_all),
        trial("mirror/redirects", redirects),
        trial("mirror/makes-room", makes_room),
        trial("mirror/gives-while-it-pulls", gives_while_it_pulls),
        trial("mirror/page-names-who-comes", page_names_who_comes),
        trial("mirror/one-folder-one-mirror", one_folder_one_mirror),
        trial("mirror/who-may", who_may),
    ]
}

const BYTES: usize = 3_000_000;

/// A folder that is served and shared.
struct Origin {
    place: Place,
    www: PathBuf,
    at: String,
    running: Option<Running>,
}

impl Origin {
    fn new(name: &str, files: &[(&str, usize)], more: &[&str]) -> Result<Self> {
        let place = Place::new(&format!("mirror/{name}"))?;
        let www = place.sub("www")?;
        for (i, (name, bytes)) in files.iter().enumerate() {
            content::write(&www.join(name), *bytes, 100 + i as u64)?;
        }
        let at = format!("{}:8080", place.address(1));
        let mut origin = Self { place, www, at, running: None };
        origin.start(more)?;
        Ok(origin)
    }

    fn start(&mut self, more: &[&str]) -> Result<()> {
        let www = self.www.display().to_string();
        let peers = format!("{}:0", self.place.address(1));
        let args = [&["serve", &www, "--listen", &self.at, "--share", "--peer-listen", &peers], more].concat();
        self.running = Some(Running::start(&self.place, "origin", &args)?);
        Ok(())
    }

    fn url(&self) -> String {
        format!("http://{}", self.at)
    }

    fn link(&self, name: &str) -> String {
        format!("{}/f/{name}", self.url())
    }

    fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        fs::read(self.www.join(name)).with_context(|| format!("cannot read {name}"))
    }

    /// Waits until the origin tells others that these have something.
    fn lists(&self, name: &str, wanted: usize) -> Result<()> {
        until(PATIENCE, &format!("{wanted} mirrors of {name}"), || {
            let reply = rpc::curl(&["-I", &format!("{}?here", self.link(name))])?;
            Ok(reply.header("link").unwrap_or_default().matches("rel=duplicate").count() == wanted)
        })
    }
}

/// A mirror.
struct Edge {
    process: Process,
    at: String,
    cache: PathBuf,
}

impl Edge {
    fn start(origin: &Origin, host: u8, more: &[&str]) -> Result<Self> {
        Self::of(origin, &origin.url(), host, more)
    }

    /// One that reaches the origin at another address.
    fn of(origin: &Origin, url: &str, host: u8, more: &[&str]) -> Result<Self> {
        let name = format!("mirror{host}");
        let cache = origin.place.sub(&format!("cache{host}"))?;
        let (at, folder) = (format!("{}:8080", origin.place.address(host)), cache.display().to_string());
        let args = [&["mirror", url, "--cache", &folder, "--listen", &at], more].concat();
        let running = Running::start(&origin.place, &name, &args)?;
        Ok(Self { process: running.process, at, cache })
    }

    fn link(&self, name: &str) -> String {
        format!("http://{}/f/{name}", self.at)
    }

    /// Waits until these have come, in any order.
    fn has(&mut self, names: &[&str]) -> Result<()> {
        let mut left = names.to_vec();
        while !left.is_empty() {
            let event = self.process.event("mirrored", PATIENCE)?;
            left.retain(|name| event["name"] != **name);
        }
        Ok(())
    }

    /// The copies in the cache, of whatever version.
    fn copies(&self) -> Result<usize> {
        Ok(fs::read_dir(self.cache.join("items"))?.count())
    }

    /// The one file of this size in the cache.
    fn file(&self, bytes: usize) -> Result<PathBuf> {
        let mut folders = vec![self.cache.join("items")];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder)?.flatten() {
                let metadata = entry.metadata()?;
                match metadata.is_dir() {
                    true => folders.push(entry.path()),
                    false if metadata.len() == bytes as u64 => return Ok(entry.path()),
                    false => {}
                }
            }
        }
        anyhow::bail!("no file of {bytes} bytes in {}", self.cache.display())
    }
}

fn get(url: &str, more: &[&str]) -> Result<Reply> {
    rpc::curl(&[more, &[url]].concat())
}

fn gives(edge: &Edge, name: &str, wanted: &[u8]) -> Result<()> {
    let reply = get(&edge.link(name), &[])?;
    ensure!(reply.status == 200 && reply.body == wanted, "{name} of {}: {}", edge.at, reply.head);
    Ok(())
}

fn two_follow() -> Result<()> {
    let files = [("a.bin", BYTES), ("b c.bin", 70_001), ("tree/x/one.bin", 200_000), ("tree/two.bin", 100_000)];
    let origin = Origin::new("two", &files, &[])?;
    let mut edges = [Edge::start(&origin, 2, &[])?, Edge::start(&origin, 3, &[])?];
    for edge in &mut edges {
        edge.has(&["a.bin", "b c.bin", "tree"])?;
    }
    for name in ["a.bin", "b%20c.bin", "tree", "tree/x/one.bin", "tree/two.bin", "a.bin.torrent"] {
        let original = get(&origin.link(name), &[])?;
        for edge in &edges {
            let copy = get(&edge.link(name), &[])?;
            ensure!(copy.status == 200 && copy.body == original.body, "{name}: {}", copy.head);
            for header in ["etag", "digest", "repr-digest", "content-type", "content-disposition"] {
                ensure!(copy.header(header) == original.header(header), "{header} of {name}: {}", copy.head);
            }
            let part = get(&edge.link(name), &["-r", "100-299"])?;
            ensure!(part.status == 206 && part.body == original.body[100..300], "{name}: {}", part.head);
        }
    }
    let modified = |url: &str| Ok::<_, anyhow::Error>(get(url, &["-I"])?.header("last-modified").map(str::to_owned));
    ensure!(modified(&origin.link("a.bin"))? == modified(&edges[0].link("a.bin"))?, "times differ");
    origin.lists("a.bin", 2)?;
    let page = get(&origin.link("a.bin"), &["-H", "Accept: text/html"])?.text();
    let metalink = get(&origin.link("a.bin.meta4"), &[])?.text();
    for edge in &edges {
        ensure!(page.contains(&edge.link("a.bin")), "the page does not name {}", edge.at);
        ensure!(metalink.contains(&edge.link("a.bin")), "the Metalink does not name {}", edge.at);
    }
    // What changes, comes and goes at the origin does so at the mirrors.
    content::write(&origin.www.join("a.bin"), BYTES, 999)?;
    content::write(&origin.www.join("new.bin"), 5_000, 998)?;
    get(&origin.link("new.bin"), &["-I"])?;
    fs::remove_file(origin.www.join("b c.bin"))?;
    for edge in &mut edges {
        edge.has(&["a.bin", "new.bin"])?;
        gives(edge, "a.bin", &origin.bytes("a.bin")?)?;
        gives(edge, "new.bin", &origin.bytes("new.bin")?)?;
        until(PATIENCE, "the removed one to be gone", || Ok(get(&edge.link("b%20c.bin"), &[])?.status == 404))?;
        // Of what was before, nothing is left on disk: a.bin, new.bin and the folder.
        until(PATIENCE, "the old copies to be deleted", || Ok(edge.copies()? == 3))?;
    }
    origin.place.succeeded();
    Ok(())
}

fn without_origin() -> Result<()> {
    let mut origin = Origin::new("without", &[("a.bin", BYTES), ("tree/x.bin", 50_000)], &[])?;
    let mut edge = Edge::start(&origin, 2, &[])?;
    edge.has(&["a.bin", "tree"])?;
    origin.running = None;
    let (whole, part) = (origin.bytes("a.bin")?, origin.bytes("tree/x.bin")?);
    gives(&edge, "a.bin", &whole)?;
    // A restart, in no order at all.
    edge.process.kill();
    let mut edge = Edge::start(&origin, 2, &[])?;
    // Whoever asks first hears at worst that it takes a moment.
    until(PATIENCE, "the copies", || {
        let status = get(&edge.link("a.bin"), &["-I"])?.status;
        ensure!(matches!(status, 200 | 503), "{status} for what is in the cache");
        Ok(status == 200)
    })?;
    let unknown = get(&edge.link("other.bin"), &[])?;
    ensure!(unknown.status == 503 && unknown.header("retry-after").is_some(), "{}", unknown.head);
    // Its page names nobody who is not there.
    let page = get(&edge.link("a.bin"), &["-H", "Accept: text/html"])?;
    ensure!(page.status == 200 && !page.text().contains(&origin.link("a.bin")), "the page names the origin");
    gives(&edge, "a.bin", &whole)?;
    until(PATIENCE, "the copy of the folder", || Ok(get(&edge.link("tree/x.bin"), &["-I"])?.status == 200))?;
    gives(&edge, "tree/x.bin", &part)?;
    // A folder and one file of it by the mirror's link: its torrent names the origin alone.
    for (link, path) in [("tree", "tree/x.bin"), ("tree/x.bin", "x.bin")] {
        let out = origin.place.sub(&format!("out-{}", link.len()))?;
        let mut running = shoal::get(&origin.place, &edge.link(link), &out, &[])?;
        let done = shoal::complete(&mut running, PATIENCE)?;
        ensure!(done["verified"] == true && fs::read(out.join(path))? == part, "{done}");
    }
    // A bit flips while it runs: the file is not given any more, nor after the next restart.
    let file = edge.file(BYTES)?;
    flip(&file)?;
    let reply = get(&edge.link("a.bin"), &[])?;
    ensure!(reply.status == 503 && reply.body != whole, "{}", reply.head);
    edge.process.kill();
    let edge = Edge::start(&origin, 2, &[])?;
    let reply = get(&edge.link("a.bin"), &[])?;
    ensure!(reply.status == 503, "{}", reply.head);
    until(PATIENCE, "the copy of the folder", || Ok(get(&edge.link("tree/x.bin"), &["-I"])?.status == 200))?;
    gives(&edge, "tree/x.bin", &part)?;
    // The origin is back: the bad piece comes again.
    origin.start(&[])?;
    until(PATIENCE, "the mended copy", || Ok(get(&edge.link("a.bin"), &[])?.body == whole))?;
    origin.place.succeeded();
    Ok(())
}

/// Flips a bit in the middle.
fn flip(path: &Path) -> Result<()> {
    let file = fs::File::options().read(true).write(true).open(path)?;
    let mut byte = [0];
    let at = file.metadata()?.len() / 2;
    file.read_exact_at(&mut byte, at)?;
    file.write_all_at(&[byte[0] ^ 1], at)?;
    Ok(())
}

/// A server that says it is a mirror, and answers with the origin's headers and bytes of its own.
fn liar(listener: TcpListener, tag: String, bytes: usize) {
    for stream in listener.incoming().flatten() {
        let mut stream = stream;
        let mut head = [0; 4096];
        let n = stream.read(&mut head).unwrap_or(0);
        let text = String::from_utf8_lossy(&head[..n]).to_lowercase();
        let range = text.split("range: bytes=").nth(1).and_then(|r| r.split("\r\n").next()).unwrap_or("0-0");
        let (first, last) = range.split_once('-').unwrap_or(("0", "0"));
        let (first, last): (usize, usize) = (first.parse().unwrap_or(0), last.parse().unwrap_or(0));
        let len = last.saturating_sub(first) + 1;
        let answer = format!(
            "HTTP/1.1 206 Partial Content\r\nETag: {tag}\r\nContent-Range: bytes {first}-{last}/{bytes}\r\n\
             Content-Length: {len}\r\nConnection: close\r\n\r\n"
        );
        drop(stream.write_all(answer.as_bytes()).and_then(|()| stream.write_all(&vec![0x5a; len])));
    }
}

fn register(origin: &Origin, url: &str, items: &Value) -> Result<Reply> {
    let body = serde_json::json!({ "url": url, "items": items }).to_string();
    get(&format!("{}/~/mirrors", origin.url()), &["-X", "POST", "--data-binary", &body])
}

fn altered_and_lying() -> Result<()> {
    let origin = Origin::new("altered", &[("a.bin", 60_000)], &[])?;
    let mut edge = Edge::start(&origin, 2, &[])?;
    edge.has(&["a.bin"])?;
    origin.lists("a.bin", 1)?;
    let head = get(&origin.link("a.bin"), &["-I"])?;
    let tag = head.header("etag").context("no tag")?.to_owned();
    let listener = TcpListener::bind((origin.place.address(9), 0))?;
    let lying = format!("http://{}", listener.local_addr()?);
    let given = tag.clone();
    thread::spawn(move || liar(listener, given, 60_000));
    let items = serde_json::json!({ "a.bin": tag.trim_matches('"') });
    until(PATIENCE, "the liar to be found out", || {
        let reply = register(&origin, &lying, &items)?;
        ensure!(reply.status == 200, "{}: {}", reply.head, reply.text());
        let answer: Value = serde_json::from_slice(&reply.body)?;
        ensure!(answer["listed"] == false, "others are told of a liar");
        Ok(answer["why"].as_str().is_some_and(|why| why.contains("other bytes of a.bin")))
    })?;
    let link = get(&origin.link("a.bin"), &["-I"])?;
    ensure!(!link.head.contains(&lying), "{}", link.head);
    ensure!(link.head.contains(&edge.at), "{}", link.head);
    // A copy that was altered on disk is not given; it is checked, and the bad piece comes again.
    let whole = origin.bytes("a.bin")?;
    flip(&edge.file(60_000)?)?;
    let reply = get(&edge.link("a.bin"), &[])?;
    ensure!(reply.status == 302 || reply.body == whole, "{}", reply.head);
    edge.has(&["a.bin"])?;
    gives(&edge, "a.bin", &whole)?;
    // One that stops is dropped.
    edge.process.kill();
    origin.lists("a.bin", 0)?;
    origin.place.succeeded();
    Ok(())
}

fn downloads_from_all() -> Result<()> {
    let origin = Origin::new("all", &[("big.bin", 40_000_000)], &[])?;
    let mut edges = [Edge::start(&origin, 2, &[])?, Edge::start(&origin, 3, &[])?];
    for edge in &mut edges {
        edge.has(&["big.bin"])?;
    }
    origin.lists("big.bin", 2)?;
    let out = origin.place.sub("out")?;
    let mut running = shoal::get(&origin.place, &origin.link("big.bin"), &out, &[])?;
    let done = shoal::complete(&mut running, PATIENCE)?;
    let used: Vec<&str> =
        done["sources"].as_array().into_iter().flatten().filter_map(|s| s["address"].as_str()).collect();
    for address in [&origin.at, &edges[0].at, &edges[1].at] {
        ensure!(used.iter().any(|u| u.contains(address.as_str())), "{address} was not used: {done}");
    }
    content::compare(&origin.www.join("big.bin"), &out.join("big.bin"), content::Empty::Present)?;
    // aria2, by the Metalink; one of the mirrors dies in the middle.
    let out = origin.place.sub("aria")?;
    let metalink = origin.place.folder.join("big.meta4");
    // Without its torrent: the servers alone.
    let text = get(&origin.link("big.bin.meta4"), &[])?.text();
    let (before, rest) = text.split_once("<metaurl").context("no torrent in the Metalink")?;
    let (_, after) = rest.split_once("</metaurl>").context("no end of it")?;
    fs::write(&metalink, format!("{before}{after}"))?;
    let mut aria = Process::start(
        "aria2",
        &origin.place.folder,
        Command::new("aria2c")
            .args([
                "--no-conf",
                "--follow-torrent=false",
                "--split=3",
                "--min-split-size=1M",
                "--max-overall-download-limit=8M",
            ])
            .arg("-d")
            .arg(&out)
            .arg("-M")
            .arg(&metalink),
    )?;
    until(PATIENCE, "aria2 to begin", || Ok(fs::metadata(out.join("big.bin")).is_ok_and(|m| m.len() > 0)))?;
    edges[0].process.kill();
    let status = aria.finish(PATIENCE)?;
    ensure!(status.success(), "aria2 ended with {status}");
    content::compare(&origin.www.join("big.bin"), &out.join("big.bin"), content::Empty::Present)?;
    origin.place.succeeded();
    Ok(())
}

fn redirects() -> Result<()> {
    let mut origin = Origin::new("redirects", &[("a.bin", BYTES)], &[])?;
    let (second, third) = (origin.place.address(2), origin.place.address(3));
    let by_network = format!("127.0.7.0/24=http://{third}:8080");
    origin.running = None;
    origin.start(&["--redirect-above", "0", "--redirect", &by_network])?;
    let (mut one, mut two) = (Edge::start(&origin, 2, &[])?, Edge::start(&origin, 3, &[])?);
    one.has(&["a.bin"])?;
    two.has(&["a.bin"])?;
    origin.lists("a.bin", 2)?;
    let link = origin.link("a.bin");
    let whole = origin.bytes("a.bin")?;
    // More than none at once: everybody is sent on, to both in turn.
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..4 {
        let reply = get(&link, &[])?;
        ensure!(reply.status == 302, "{}", reply.head);
        seen.insert(reply.header("location").unwrap_or_default().to_owned());
    }
    let wanted = [&second, &third].map(|host| format!("http://{host}:8080/f/a.bin"));
    ensure!(seen.into_iter().eq(wanted), "they are not sent to both");
    let followed = process::output(Command::new("curl").args(["-sSL", &link]))?;
    ensure!(followed.stdout == whole, "curl follows and gets something else");
    ensure!(get(&format!("{link}?download=here"), &[])?.body == whole, "from here, if that is wanted");
    ensure!(get(&link, &["-H", "Accept: text/html"])?.status == 200, "pages are given here");
    // By network, whoever is less busy.
    for _ in 0..3 {
        let reply = get(&link, &["--interface", "127.0.7.5"])?;
        ensure!(reply.header("location") == Some(&format!("http://{third}:8080/f/a.bin")), "{}", reply.head);
    }
    // Nobody is sent to who is gone.
    one.process.kill();
    two.process.kill();
    until(PATIENCE, "an answer from here", || Ok(get(&link, &[])?.body == whole))?;
    origin.place.succeeded();
    Ok(())
}

fn makes_room() -> Result<()> {
    let files = [("a.bin", 1_000_000), ("b.bin", 1_100_000), ("c.bin", 1_200_000), ("d.bin", 9_000_000)];
    let origin = Origin::new("room", &files, &[])?;
    let mut edge = Edge::start(&origin, 2, &["--max-size", "2500000"])?;
    edge.has(&["a.bin", "b.bin"])?;
    gives(&edge, "a.bin", &origin.bytes("a.bin")?)?;
    gives(&edge, "b.bin", &origin.bytes("b.bin")?)?;
    gives(&edge, "a.bin", &origin.bytes("a.bin")?)?;
    // Too large for ever: it is the origin's.
    let reply = get(&edge.link("d.bin"), &[])?;
    let location = format!("{}?here", origin.link("d.bin"));
    ensure!(reply.status == 302 && reply.header("location") == Some(&location), "{}", reply.head);
    // What somebody asks for comes, and what nobody asked for longest goes. That is known after a restart, too.
    until(PATIENCE, "a note of what was asked for", || {
        Ok(fs::read_to_string(edge.cache.join("asked.json")).is_ok_and(|noted| noted.contains("d.bin")))
    })?;
    edge.process.kill();
    let mut edge = Edge::start(&origin, 2, &["--max-size", "2500000"])?;
    edge.has(&["a.bin", "b.bin"])?;
    until(PATIENCE, "the origin's list", || Ok(get(&edge.link("c.bin"), &["-I"])?.status < 400))?;
    gives(&edge, "c.bin", &origin.bytes("c.bin")?)?;
    edge.has(&["c.bin"])?;
    gives(&edge, "c.bin", &origin.bytes("c.bin")?)?;
    gives(&edge, "a.bin", &origin.bytes("a.bin")?)?;
    let looks = ["-I", "-H", "Cache-Control: only-if-cached"];
    ensure!(get(&edge.link("b.bin"), &looks)?.status == 504, "b.bin has not made room");
    origin.place.succeeded();
    Ok(())
}

/// Who asks for what is not here gets it from here, piece by piece as each was checked; bad bytes reach nobody.
fn gives_while_it_pulls() -> Result<()> {
    const BYTES: usize = 8_000_000;
    let origin = Origin::new("pulls", &[("big.bin", BYTES), ("tree/big.bin", BYTES)], &[])?;
    let place = &origin.place;
    let whole = origin.bytes("big.bin")?;
    let looks = ["-I", "-H", "Cache-Control: only-if-cached"];
    // What has no torrent yet nobody can copy.
    for name in ["big.bin", "tree"] {
        let torrent = format!("{}.torrent", origin.link(name));
        until(PATIENCE, "the torrents", || Ok(get(&torrent, &["-I"])?.status == 200))?;
    }
    let relay = Relay::start(&format!("{}:8082", place.address(1)), &origin.at, 1 << 20)?;
    let mut edge = Edge::of(&origin, &format!("http://{}", relay.address), 2, &[])?;
    until(PATIENCE, "the origin's list", || Ok(get(&edge.link("big.bin"), &["-r", "0-0"])?.status < 400))?;
    // The end first: whoever reads says where.
    let reply = get(&edge.link("big.bin"), &["-r", "7900000-7999999"])?;
    ensure!(reply.status == 206 && reply.body == whole[7_900_000..], "{}", reply.head);
    ensure!(get(&edge.link("big.bin"), &looks)?.status == 504, "all of it was here already");
    let reply = get(&edge.link("tree/big.bin"), &["-r", "4000000-4000099"])?;
    ensure!(reply.status == 206 && reply.body == origin.bytes("tree/big.bin")?[4_000_000..4_000_100], "{}", reply.head);
    // The tag is the one that it will have.
    let reply = get(&edge.link("big.bin"), &[])?;
    let tag = reply.header("etag").context("no tag")?.to_owned();
    ensure!(reply.status == 200 && reply.body == whole, "{}", reply.head);
    edge.has(&["big.bin", "tree"])?;
    ensure!(get(&edge.link("big.bin"), &["-I"])?.header("etag") == Some(&tag), "another tag");
    ensure!(relay.carried() < 2 * BYTES as u64 + (4 << 20), "{} bytes for two files", relay.carried());

    // On the next mirror's way to the origin bytes are flipped, once some have been given.
    let relay = Relay::start(&format!("{}:8083", place.address(1)), &origin.at, 1 << 20)?;
    let edge = Edge::of(&origin, &format!("http://{}", relay.address), 3, &[])?;
    until(PATIENCE, "the origin's list", || Ok(get(&edge.link("big.bin"), &["-r", "0-0"])?.status == 206))?;
    let out = place.folder.join("out");
    let mut reader = Command::new("curl").args(["-s", "-o"]).arg(&out).arg(edge.link("big.bin")).spawn()?;
    until(PATIENCE, "some bytes", || Ok(fs::metadata(&out).is_ok_and(|m| m.len() > 0)))?;
    relay.spoil();
    ensure!(reader.wait()?.code() == Some(18), "curl was not told that bytes are missing");
    let got = fs::read(&out)?;
    ensure!(got.len() < BYTES && whole.starts_with(&got), "{} bytes, not all of them good", got.len());
    origin.place.succeeded();
    Ok(())
}

/// Somebody who looks at a page sees mirrors come and go.
fn page_names_who_comes() -> Result<()> {
    let origin = Origin::new("page", &[("a.bin", 1000)], &[])?;
    until(PATIENCE, "the torrent", || Ok(get(&format!("{}.torrent", origin.link("a.bin")), &["-I"])?.status == 200))?;
    let driver = Driver::start(&origin.place)?;
    drive(async {
        let browser = driver.browser().await?;
        let result = async {
            browser.open(&origin.link("a.bin")).await?;
            browser.shows("h1", |texts| texts == ["a.bin"]).await?;
            ensure!(browser.texts("#servers a").await?.is_empty(), "nobody else has it yet");
            let mut edge = Edge::start(&origin, 2, &[])?;
            browser.shows_text("#servers a", &edge.link("a.bin")).await?;
            edge.process.kill();
            browser.shows("#servers a", <[String]>::is_empty).await.map(drop)
        };
        let result = result.await;
        browser.close().await?;
        result
    })?;
    origin.place.succeeded();
    Ok(())
}

/// One that is started beside another with the same folder ends at once, and the other goes on.
fn one_folder_one_mirror() -> Result<()> {
    let place = Place::new("mirror/folder")?;
    let (cache, nobody) = (place.sub("cache")?.display().to_string(), format!("http://{}:9", place.address(1)));
    let at = [2, 3].map(|host| format!("{}:0", place.address(host)));
    let args = |at| ["mirror", &nobody, "--cache", &cache, "--listen", at];
    let mut running = Running::start(&place, "first", &args(&at[0]))?;
    let event = running.process.event("origin", PATIENCE)?;
    ensure!(event["answers"] == false && event["why"].is_string(), "{event}");
    shoal::fails(&place, &args(&at[1]), &["another mirror keeps its copies there", "--cache"])?;
    let reply = get(&format!("http://{}/f/x", running.listening["http"].as_str().context("no address")?), &[])?;
    ensure!(reply.status == 503 && reply.header("retry-after").is_some(), "{}", reply.head);
    place.succeeded();
    Ok(())
}

fn who_may() -> Result<()> {
    let origin = Origin::new("may", &[("a.bin", 1000)], &["--mirrors", "none"])?;
    let reply = register(&origin, "http://127.0.0.1:1", &serde_json::json!({}))?;
    ensure!(reply.status == 403 && reply.text().contains("--mirrors"), "{}", reply.head);
    let origin_url = origin.url();
    shoal::fails(&origin.place, &["share", "nothing-here", "--mirrors", "near"], &["nothing-here"])?;
    let none = process::output(shoal::command(&origin.place, "usage")?.args(["mirror", &format!("{origin_url}/f/a")]))?;
    ensure!(none.status.code() == Some(2), "a link is no server: {}", String::from_utf8_lossy(&none.stderr));
    let small =
        process::output(shoal::command(&origin.place, "small")?.args(["mirror", &origin_url, "--max-size", "5"]))?;
    let told = String::from_utf8_lossy(&small.stderr);
    ensure!(small.status.code() == Some(2) && told.contains("did you mean 5G?"), "{told}");
    origin.place.succeeded();
    Ok(())
}
