//! .torrent files: ours read by others, theirs read by us.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use interop::cell::{self, Format};
use interop::content::Shape;
use interop::place::Place;
use interop::python::Python;
use interop::{process, shoal};
use libtest_mimic::Trial;
use serde_json::{Value, json};

const TRACKER: &str = "http://10.77.0.1:9/announce";

/// Who makes a .torrent, in which formats.
const MAKERS: &[(&str, &[&str])] = &[
    ("libtorrent", &["v1", "hybrid", "v2"]),
    ("torf", &["v1"]),
    ("mktorrent", &["v1"]),
    ("transmission-create", &["v1"]),
];

pub(crate) fn trials() -> Vec<Trial> {
    let mut trials = vec![crate::trial("files/what-we-say-in-them-is-read", what_we_say_is_read)];
    for shape in [Shape::File, Shape::Tree] {
        for format in [Format::V1, Format::Hybrid, Format::V2] {
            let name = format!("files/ours/{}/{shape:?}", format.name());
            trials.push(crate::trial(&name, move || ours_are_read(format, shape)));
        }
        for (maker, formats) in MAKERS {
            for format in *formats {
                let name = format!("files/{maker}/{format}/{shape:?}");
                trials.push(crate::trial(&name, move || theirs_are_read(maker, format, shape)));
            }
        }
    }
    trials
}

fn ours_are_read(format: Format, shape: Shape) -> Result<()> {
    let place = Place::new(&format!("files/ours/{}/{shape:?}", format.name()))?;
    let content = shape.write(&place.sub("seed")?, 11)?;
    let torrent = place.folder.join("it.torrent");
    let created = cell::create(&place, &content, &torrent, format, TRACKER)?;
    let mut python = Python::offline(&place.folder)?;

    let theirs = python.ask("show", &json!({"torrent": torrent}))?;
    for field in ["name", "info_hash_v1", "info_hash_v2", "piece_length", "pieces"] {
        ensure!(
            theirs[field] == created[field],
            "libtorrent reads {field} as {}, we wrote {}",
            theirs[field],
            created[field]
        );
    }
    let bytes: u64 = files(&theirs)?.iter().map(|(_, bytes)| bytes).sum();
    ensure!(created["bytes"] == bytes, "libtorrent reads {bytes} bytes, we wrote {}", created["bytes"]);
    let ours = shoal::ask(&place, &["torrent", "show", &torrent.to_string_lossy()])?;
    ensure!(files(&ours)? == files(&theirs)?, "files: we read {:?}, libtorrent {:?}", files(&ours)?, files(&theirs)?);

    if format != Format::V2 {
        let theirs = python.ask("torf_show", &json!({"torrent": torrent}))?;
        for field in ["name", "info_hash_v1", "piece_length"] {
            ensure!(
                theirs[field] == created[field],
                "torf reads {field} as {}, we wrote {}",
                theirs[field],
                created[field]
            );
        }
    }
    if format == Format::V1 {
        let said = process::run(Command::new("transmission-show").arg(&torrent))?;
        let hash = created["info_hash_v1"].as_str().context("no v1 hash")?;
        ensure!(said.contains(&format!("Hash: {hash}")), "transmission-show does not find {hash}: {said}");
        ensure!(said.contains(TRACKER), "transmission-show does not find the tracker: {said}");
    }
    place.succeeded();
    Ok(())
}

/// Everything that `torrent create` can be told, in one torrent.
fn what_we_say_is_read() -> Result<()> {
    let place = Place::new("files/said")?;
    let content = Shape::File.write(&place.sub("seed")?, 12)?;
    let torrent = place.folder.join("it.torrent");
    let (path, out) = (content.to_string_lossy(), torrent.to_string_lossy());
    let (second, web) = ("udp://10.77.0.1:9/announce", "http://10.77.0.1:9/it");
    let said = ["--format", "v1", "--private", "--comment", "a comment", "--name", "another name", "--web-seed", web];
    let args = ["torrent", "create", &path, "-o", &out, "--tracker", TRACKER, "--tracker", second];
    shoal::ask(&place, &[&args[..], &said].concat())?;

    let mut python = Python::offline(&place.folder)?;
    let ours = shoal::ask(&place, &["torrent", "show", &out])?;
    ensure!(ours["comment"] == "a comment", "we read the comment as {}", ours["comment"]);
    for tool in ["show", "torf_show"] {
        let theirs = python.ask(tool, &json!({"torrent": torrent}))?;
        ensure!(theirs["private"] == true && ours["private"] == true, "{tool}: private is {}", theirs["private"]);
        ensure!(
            theirs["name"] == "another name" && ours["name"] == "another name",
            "{tool}: the name is {}",
            theirs["name"]
        );
        ensure!(theirs["web_seeds"] == json!([web]), "{tool}: the web seeds are {}", theirs["web_seeds"]);
        ensure!(theirs["trackers"] == json!([TRACKER, second]), "{tool}: the trackers are {}", theirs["trackers"]);
    }
    let said = process::run(Command::new("transmission-show").arg(&torrent))?;
    ensure!(said.contains("Private torrent") && said.contains("a comment"), "transmission-show: {said}");
    place.succeeded();
    Ok(())
}

fn theirs_are_read(maker: &str, format: &str, shape: Shape) -> Result<()> {
    let place = Place::new(&format!("files/{maker}/{format}/{shape:?}"))?;
    let content = shape.write(&place.sub("seed")?, 13)?;
    let torrent = place.folder.join("it.torrent");
    let mut python = Python::offline(&place.folder)?;
    make(&mut python, maker, format, &content, &torrent)?;

    let theirs = python.ask("show", &json!({"torrent": torrent}))?;
    let out = torrent.to_string_lossy();
    let ours = shoal::ask(&place, &["torrent", "show", &out])?;
    for field in ["name", "info_hash_v1", "info_hash_v2", "piece_length", "pieces"] {
        ensure!(ours[field] == theirs[field], "{field}: we read {}, libtorrent {}", ours[field], theirs[field]);
    }
    ensure!(files(&ours)? == files(&theirs)?, "files: we read {:?}, libtorrent {:?}", files(&ours)?, files(&theirs)?);
    let verified = shoal::ask(&place, &["torrent", "verify", &out, &content.to_string_lossy()])?;
    ensure!(verified["good"] == theirs["pieces"] && verified["bad"] == json!([]), "verified: {verified}");
    place.succeeded();
    Ok(())
}

fn make(python: &mut Python, maker: &str, format: &str, content: &Path, torrent: &Path) -> Result<()> {
    let piece_length = interop::content::PIECE_LENGTH;
    let make = json!({"path": content, "out": torrent, "piece_length": piece_length, "trackers": [TRACKER]});
    match maker {
        "libtorrent" => {
            let mut make = make;
            make["version"] = json!(format);
            python.ask("make", &make)?;
        }
        "torf" => drop(python.ask("torf_make", &make)?),
        "mktorrent" => {
            process::run(Command::new("mktorrent").args(["-l", "15", "-a", TRACKER, "-o"]).arg(torrent).arg(content))?;
        }
        _ => {
            let mut command = Command::new("transmission-create");
            process::run(command.args(["-s", "32", "-t", TRACKER, "-o"]).arg(torrent).arg(content))?;
        }
    }
    Ok(())
}

/// Paths below the torrent's name, with lengths, sorted and without pad files.
fn files(shown: &Value) -> Result<Vec<(String, u64)>> {
    let name = shown["name"].as_str().context("no name")?;
    let mut files = Vec::new();
    for file in shown["files"].as_array().context("no list of files")? {
        let path = file["path"].as_str().context("a file without path")?;
        let path = path.strip_prefix(name).and_then(|p| p.strip_prefix('/')).unwrap_or(path);
        let bytes = file["bytes"].as_u64().context("a file without length")?;
        if file["pad"] != true {
            files.push((path.to_owned(), bytes));
        }
    }
    files.sort();
    Ok(files)
}
