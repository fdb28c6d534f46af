//! The one link: its Metalink, headers and web seeds, as programs that others wrote use them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use base::Metainfo;
use interop::client::Kind;
use interop::clients::base64;
use interop::content::{self, Empty, Shape};
use interop::place::Place;
use interop::process::{self, PATIENCE};
use interop::rpc;
use interop::shoal::Running;
use libtest_mimic::Trial;

use crate::browser::{Driver, drive};

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![
        crate::trial("link/aria2-verifies", aria2_verifies),
        crate::trial("link/curl-wget-sha256sum", by_others),
        crate::trial("link/browser", in_a_browser),
    ];
    for shape in [Shape::File, Shape::Tree] {
        trials.push(crate::trial(&format!("link/aria2-metalink/{shape:?}"), move || by_metalink(shape)));
        for (kind, formats) in [
            (Kind::Libtorrent, &["v1", "v2", "hybrid"][..]),
            (Kind::Qbittorrent, &["hybrid"]),
            (Kind::Transmission, &["v1"]),
            (Kind::Aria2, &["v1"]),
        ] {
            for format in formats {
                // libtorrent 2.1.1 joins what it asks for over the ends of files of v2 torrents, and refuses what comes.
                if (shape, *format) == (Shape::Tree, "v2") {
                    continue;
                }
                let name = format!("link/web-seed/{}/{shape:?}/{format}", kind.name());
                trials.push(crate::trial(&name.clone(), move || by_web_seed(&name, kind, shape, format)));
            }
        }
    }
    trials
}

/// Something shared under a link.
struct Link {
    place: Place,
    content: PathBuf,
    url: String,
    running: Running,
}

impl Link {
    fn new(name: &str, shape: Shape, format: &str) -> Result<Self> {
        let place = Place::new(name)?;
        let content = shape.write(&place.sub("seed")?, 43)?;
        let (path, at) = (content.to_string_lossy(), format!("{}:0", place.address(1)));
        let args = ["share", &path, "--http", &at, "--listen", &at, "--format", format];
        let mut running = Running::start(&place, "share", &args)?;
        let shared = running.process.event("shared", PATIENCE)?;
        let url = shared["link"].as_str().context("no link")?.to_owned();
        Ok(Self { place, content, url, running })
    }

    /// What is at the link and `suffix`, in a file.
    fn save(&self, suffix: &str) -> Result<PathBuf> {
        let reply = rpc::curl(&[&format!("{}{suffix}", self.url)])?;
        ensure!(reply.status == 200, "{}", reply.head);
        let path = self.place.folder.join(format!("saved{suffix}"));
        fs::write(&path, &reply.body).context("cannot save it")?;
        Ok(path)
    }
}

fn aria2(out: &Path, args: &[&str]) -> Result<String> {
    let mut command = Command::new("aria2c");
    // Torrents that a Metalink names are used for their digests; there are no peers but the one that shares.
    command.args(["--no-conf", "--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--seed-time=0"]);
    process::run(command.args(["--async-dns=false", "-V", "-d"]).arg(out).args(args))
}

fn by_metalink(shape: Shape) -> Result<()> {
    let link = Link::new(&format!("link/metalink-{shape:?}"), shape, "v1")?;
    let out = link.place.sub("out")?;
    aria2(&out, &[&format!("{}.meta4", link.url)])?;
    mend(&out.join(shape.name()))?;
    content::compare(&link.content, &out.join(shape.name()), Empty::Present)?;
    // The same without the torrent: by addresses and digests alone.
    let text = fs::read_to_string(link.save(".meta4")?).context("cannot read the Metalink")?;
    ensure!(text.contains("<metaurl"), "the Metalink names no torrent: {text}");
    let plain = without(&text, &["<metaurl"]);
    let (path, out) = (link.place.folder.join("plain.meta4"), link.place.sub("plain")?);
    fs::write(&path, plain).context("cannot write the Metalink")?;
    aria2(&out, &["-M", &path.to_string_lossy()])?;
    mend(&out.join(shape.name()))?;
    content::compare(&link.content, &out.join(shape.name()), Empty::Present)?;
    link.place.succeeded();
    Ok(())
}

/// The lines that hold none of these.
fn without(text: &str, words: &[&str]) -> String {
    text.lines().filter(|line| !words.iter().any(|word| line.contains(word))).map(|line| format!("{line}\n")).collect()
}

/// aria2 1.36 takes an escaped ampersand in a name for `&#38;`, however it is escaped; XML knows no way to write one plainly.
fn mend(folder: &Path) -> Result<()> {
    let wrong = folder.join("-dash &#38; ampersand #1 %41.bin");
    match wrong.exists() {
        true => fs::rename(&wrong, folder.join("-dash & ampersand #1 %41.bin")).context("cannot rename it"),
        false => Ok(()),
    }
}

/// What aria2 says of a digest in the headers, and of one in a Metalink that is of something else.
fn aria2_verifies() -> Result<()> {
    let link = Link::new("link/aria2-verifies", Shape::File, "hybrid")?;
    let out = link.place.sub("headers")?;
    let said = aria2(&out, &[&link.url])?;
    ensure!(said.contains("Verification finished successfully"), "no digest was taken from the headers: {said}");
    content::compare(&link.content, &out.join(Shape::File.name()), Empty::Present)?;

    let text = fs::read_to_string(link.save(".meta4")?).context("cannot read the Metalink")?;
    let plain = without(&text, &["<metaurl", "<hash>", "pieces"]);
    let (before, rest) = plain.split_once("\"sha-256\">").context("the Metalink has no SHA-256")?;
    let wrong = format!("{before}\"sha-256\">{}{}", "0".repeat(64), &rest[64..]);
    for (name, text, good) in [("right", &plain, true), ("wrong", &wrong, false)] {
        let (path, out) = (link.place.folder.join(format!("{name}.meta4")), link.place.sub(name)?);
        fs::write(&path, text).context("cannot write the Metalink")?;
        let ended = aria2(&out, &["-M", &path.to_string_lossy()]);
        ensure!(ended.is_ok() == good, "with the {name} digest: {ended:?}");
    }
    link.place.succeeded();
    Ok(())
}

/// A client that has the .torrent of the link without its trackers, so that there is nobody but the web seed.
fn by_web_seed(name: &str, kind: Kind, shape: Shape, format: &str) -> Result<()> {
    let link = Link::new(name, shape, format)?;
    let mut torrent = Metainfo::parse(&fs::read(link.save(".torrent")?).context("cannot read the .torrent")?)?;
    ensure!(!torrent.trackers.is_empty() && torrent.web_seeds.len() == 1, "{:?}", torrent.web_seeds);
    torrent.trackers.clear();
    let lonely = link.place.folder.join("lonely.torrent");
    fs::write(&lonely, torrent.encode()).context("cannot write the .torrent")?;
    let out = link.place.sub("out")?;
    let mut client = kind.start(&link.place)?;
    client.add(&lonely, &out)?;
    process::until(PATIENCE, "the client to have all of it", || client.complete())?;
    process::until(PATIENCE, "equal content", || {
        Ok(content::compare(&link.content, &out.join(shape.name()), kind.makes_empty_files()).is_ok())
    })?;
    link.place.succeeded();
    Ok(())
}

fn by_others() -> Result<()> {
    let mut link = Link::new("link/others", Shape::File, "auto")?;
    link.running.process.event("seeding", PATIENCE)?;
    let out = link.place.sub("out")?;
    let file = out.join("wget");
    process::run(Command::new("wget").args(["-q", "--no-config", "-O"]).arg(&file).arg(&link.url))?;
    content::compare(&link.content, &file, Empty::Present)?;
    let file = out.join("curl");
    process::run(Command::new("curl").args(["-sS", "--fail", "-o"]).arg(&file).arg(&link.url))?;
    content::compare(&link.content, &file, Empty::Present)?;
    let sum = process::run(Command::new("sha256sum").arg(&file))?;
    let hex = sum.split(' ').next().context("sha256sum said nothing")?;
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap_or(""), 16);
    let bytes: Vec<u8> = hex.as_bytes().chunks(2).map(byte).collect::<Result<_, _>>().context("no digest")?;
    let text = base64(&bytes);
    for args in [&["-I"][..], &[], &["-r", "5-9"]] {
        let reply = rpc::curl(&[args, &[&link.url]].concat())?;
        ensure!(reply.header("digest") == Some(&format!("SHA-256={text}")), "{}", reply.head);
        ensure!(reply.header("repr-digest") == Some(&format!("sha-256=:{text}:")), "{}", reply.head);
    }
    let metalink = fs::read_to_string(link.save(".meta4")?).context("cannot read the Metalink")?;
    ensure!(metalink.contains(hex), "sha256sum says {hex}: {metalink}");
    link.place.succeeded();
    Ok(())
}

fn in_a_browser() -> Result<()> {
    let link = Link::new("link/browser", Shape::Tree, "auto")?;
    let single = Link::new("link/browser-file", Shape::File, "auto")?;
    let driver = Driver::start(&link.place)?;
    drive(async {
        let browser = driver.browser().await?;
        let result = async {
            browser.open(&link.url).await?;
            ensure!(browser.title().await?.contains(Shape::Tree.name()), "{}", browser.title().await?);
            browser.shows("td a", |texts| texts.iter().any(|t| t == "sub folder/deeper/two pieces.bin")).await?;
            let buttons = browser.texts("a.button").await?;
            ensure!(buttons == ["Download as .tar", "Magnet", ".torrent", "Metalink"], "{buttons:?}");
            browser.open(&single.url).await?;
            let sum = process::run(Command::new("sha256sum").arg(&single.content))?;
            let hex = sum.split(' ').next().unwrap_or("");
            browser.shows("dd", |texts| texts.iter().any(|t| t == hex)).await.map(drop)
        };
        let result = result.await;
        browser.close().await?;
        result
    })?;
    link.place.succeeded();
    single.place.succeeded();
    Ok(())
}
