//! `shoal get` from servers: URLs, Metalinks, web seeds, split files, and all of them at once, with servers that others wrote, in front
//! of which wires are slow, cut, silent or spoil what they carry.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop::content;
use interop::hostile::Hostile;
use interop::place::Place;
use interop::process::{self, PATIENCE, Process};
use interop::relay::Relay;
use interop::shoal::{self, Running};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::split::{DAV, nginx, objects};
use crate::trial;
use crate::web::serve;

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("get/a-url-of-nginx", url),
        trial("get/killed-and-changed", killed),
        trial("get/a-server-without-ranges", without_ranges),
        trial("get/without-a-length", without_length),
        trial("get/a-metalink-with-a-liar", metalink),
        trial("get/a-wrong-digest", wrong_digest),
        trial("get/web-seeds-of-mktorrent", web_seeds),
        trial("get/split-over-four", split),
        trial("get/all-at-once", all_at_once),
        trial("get/hostile-descriptions", hostile),
        trial("get/why-it-is-slow", explain),
        trial("get/slow-disk-and-slow-hashing", slow_here),
    ]
}

const MIB: u64 = 1 << 20;

/// Runs a download to its end; the `complete` object.
fn get(place: &Place, source: &str, more: &[&str]) -> Result<Value> {
    let out = place.sub("out")?;
    let mut running = shoal::get(place, source, &out, more)?;
    let done = running.process.event("complete", 3 * PATIENCE)?;
    ensure!(running.process.finish(PATIENCE)?.success(), "get did not end well");
    Ok(done)
}

/// Bytes by source.
fn sources(done: &Value) -> Vec<(String, u64)> {
    let one = |s: &Value| (s["address"].as_str().unwrap_or_default().to_owned(), s["bytes"].as_u64().unwrap_or(0));
    done["sources"].as_array().map(|all| all.iter().map(one).collect()).unwrap_or_default()
}

fn same(a: &Path, b: &Path) -> Result<()> {
    ensure!(fs::read(a)? == fs::read(b)?, "{} and {} differ", a.display(), b.display());
    Ok(())
}

fn sha256(path: &Path) -> Result<String> {
    let text = process::run(Command::new("sha256sum").arg(path))?;
    text.split(' ').next().map(|h| h.trim_start_matches('\\').to_owned()).context("no digest")
}

fn url() -> Result<()> {
    let place = Place::new("get/url")?;
    let at = format!("{}:8081", place.address(1));
    let (_nginx, www) = nginx(&place, "nginx", &at, "")?;
    content::write(&www.join("a file & more.bin"), 20_000_001, 1)?;
    fs::write(www.join("empty"), "")?;
    let done = get(&place, &format!("http://{at}/a%20file%20&%20more.bin?x=y#z"), &[])?;
    same(&www.join("a file & more.bin"), &place.folder.join("out/a file & more.bin"))?;
    ensure!(done["verified"] == false && done["bytes"] == 20_000_001 && done["wasted"] == 0, "{done}");
    ensure!(done["sources"][0]["kind"] == "http", "{done}");
    get(&place, &format!("http://{at}/empty"), &[])?;
    ensure!(fs::metadata(place.folder.join("out/empty"))?.len() == 0);
    // What is there already is not fetched again; what is not ours is left alone.
    let again = get(&place, &format!("http://{at}/a%20file%20&%20more.bin?x=y"), &[])?;
    ensure!(again["bytes"] == 0, "{again}");
    fs::write(place.folder.join("out/other"), "mine")?;
    fs::write(www.join("other"), "theirs")?;
    let out = place.folder.join("out").display().to_string();
    shoal::fails(&place, &["get", &format!("http://{at}/other"), "-o", &out], &["out/other", "exists"])?;
    ensure!(fs::read(place.folder.join("out/other"))? == b"mine");
    shoal::fails(&place, &["get", &format!("http://{at}/none"), "-o", &out], &["/none", "404"])?;
    shoal::fails(&place, &["get", &format!("http://user:secret@{}:9/x", place.address(1)), "-o", &out], &["refused"])?;
    place.succeeded();
    Ok(())
}

/// Lets a download run until so much is there, and kills it.
fn kill_at(place: &Place, source: &str, bytes: u64) -> Result<()> {
    let out = place.sub("out")?;
    let mut running = shoal::get(place, source, &out, &[])?;
    loop {
        let progress = running.process.event("progress", PATIENCE)?;
        if progress["bytes"].as_u64().unwrap_or(0) >= bytes {
            break;
        }
    }
    running.process.kill();
    Ok(())
}

fn killed() -> Result<()> {
    let place = Place::new("get/killed")?;
    let at = format!("{}:8081", place.address(1));
    let (_nginx, www) = nginx(&place, "nginx", &at, "")?;
    let (file, size) = (www.join("x.bin"), 24 * MIB);
    content::write(&file, size as usize, 2)?;
    let relay = Relay::start(&format!("{}:8082", place.address(1)), &at, 6 * MIB)?;
    let source = format!("http://{}/x.bin", relay.address);
    kill_at(&place, &source, 8 * MIB)?;
    let done = get(&place, &source, &[])?;
    let rest = done["bytes"].as_u64().unwrap_or(0);
    ensure!(rest <= size - 6 * MIB, "{rest} bytes were fetched after the kill");
    same(&file, &place.folder.join("out/x.bin"))?;
    // What has changed on the server meanwhile is begun anew, and nothing of the old version is left.
    fs::remove_file(place.folder.join("out/x.bin"))?;
    kill_at(&place, &source, 4 * MIB)?;
    content::write(&file, size as usize, 3)?;
    let done = get(&place, &source, &[])?;
    ensure!(done["bytes"] == size, "{done}");
    same(&file, &place.folder.join("out/x.bin"))?;
    place.succeeded();
    Ok(())
}

fn without_ranges() -> Result<()> {
    let place = Place::new("get/no-ranges")?;
    let www = place.sub("www")?;
    content::write(&www.join("x.bin"), 12 << 20, 4)?;
    // This server has no tags, and a time of change counts once it is a while ago.
    process::run(Command::new("touch").args(["-d", "2020-01-01"]).arg(www.join("x.bin")))?;
    let port = "8090";
    let host = place.address(1);
    let mut python = Command::new("python3");
    python.args(["-m", "http.server", port, "--bind", &host, "--directory", &www.display().to_string()]);
    let _server = Process::start("python", &place.folder, &mut python)?;
    crate::web::up(&format!("{host}:{port}"))?;
    let relay = Relay::start(&format!("{host}:8091"), &format!("{host}:{port}"), 4 * MIB)?;
    let source = format!("http://{}/x.bin", relay.address);
    kill_at(&place, &source, 4 * MIB)?;
    let done = get(&place, &source, &[])?;
    same(&www.join("x.bin"), &place.folder.join("out/x.bin"))?;
    // The server knows no parts: what was there is sent again, and left out.
    ensure!(done["bytes"].as_u64() < Some(11 << 20) && done["wasted"].as_u64() > Some(2 << 20), "{done}");
    place.succeeded();
    Ok(())
}

fn without_length() -> Result<()> {
    let place = Place::new("get/endless")?;
    let www = place.sub("www")?;
    fs::write(www.join("x.sh"), "printf 'Content-Type: text/plain\\n\\n'; seq 1 300000")?;
    let at = format!("{}:8080", place.address(1));
    let _serve = serve(&place, &www, &at, &["--cgi", "sh=sh"])?;
    let done = get(&place, &format!("http://{at}/x.sh"), &[])?;
    let text = fs::read_to_string(place.folder.join("out/x.sh"))?;
    ensure!(text.lines().count() == 300_000 && text.ends_with("\n300000\n"), "{} bytes", text.len());
    ensure!(done["verified"] == false && done["bytes"] == text.len(), "{done}");
    ensure!(!place.folder.join("out/x.sh.part").exists());
    place.succeeded();
    Ok(())
}

fn metalink() -> Result<()> {
    let place = Place::new("get/metalink")?;
    let size = 16 * MIB;
    let path = place.folder.join("image.iso");
    content::write(&path, size as usize, 5)?;
    let mut relays = Vec::new();
    let mut servers = Vec::new();
    for host in 1..=3 {
        let at = format!("{}:8081", place.address(host));
        let (process, www) = nginx(&place, &format!("nginx{host}"), &at, "")?;
        fs::copy(&path, www.join("image.iso"))?;
        relays.push(Relay::start(&format!("{}:8082", place.address(host)), &at, 4 * MIB)?);
        servers.push(process);
    }
    relays[1].spoil();
    let body = fs::read(&path)?;
    let piece = 1 << 18;
    let pieces: Vec<String> = body
        .chunks(piece)
        .map(|chunk| {
            let file = place.folder.join("piece");
            fs::write(&file, chunk)?;
            Ok(format!("<hash>{}</hash>", sha256(&file)?))
        })
        .collect::<Result<_>>()?;
    let urls: String =
        relays.iter().map(|r| format!("<url priority=\"1\">http://{}/image.iso</url>", r.address)).collect();
    let whole = sha256(&path)?;
    let text = format!(
        "<?xml version=\"1.0\"?><metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"image.iso\"><size>{size}</size>\
         <hash type=\"sha-256\">{whole}</hash><pieces length=\"{piece}\" type=\"sha-256\">{}</pieces>{urls}\
         <url>ftp://example.org/image.iso</url></file></metalink>",
        pieces.concat()
    );
    let file = place.folder.join("image.meta4");
    fs::write(&file, text)?;
    let out = place.sub("out")?;
    let mut running = shoal::get(&place, &file.display().to_string(), &out, &[])?;
    let banned = running.process.event("banned", PATIENCE)?;
    ensure!(banned["peer"].as_str() == Some(&format!("http://{}/image.iso", relays[1].address)), "{banned}");
    let done = shoal::complete(&mut running, 2 * PATIENCE)?;
    same(&path, &out.join("image.iso"))?;
    let by: Vec<(String, u64)> = sources(&done);
    ensure!(by.len() == 2 && by.iter().all(|(_, bytes)| *bytes > size / 4), "{done}");
    place.succeeded();
    Ok(())
}

fn wrong_digest() -> Result<()> {
    let place = Place::new("get/wrong-digest")?;
    let at = format!("{}:8081", place.address(1));
    let (_nginx, www) = nginx(&place, "nginx", &at, "")?;
    content::write(&www.join("x.bin"), 3_000_000, 6)?;
    let right = sha256(&www.join("x.bin"))?;
    let write = |hash: &str| {
        let text = format!(
            "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"x.bin\"><hash type=\"sha-256\">{hash}</hash>\
             <url>http://{at}/x.bin</url></file></metalink>"
        );
        fs::write(place.folder.join("x.meta4"), text)
    };
    write(&"0".repeat(64))?;
    let (file, out) = (place.folder.join("x.meta4").display().to_string(), place.sub("out")?);
    let shown = out.display().to_string();
    shoal::fails(&place, &["get", &file, "-o", &shown], &["digest", "x.bin.wrong"])?;
    ensure!(!out.join("x.bin").exists() && out.join("x.bin.wrong").is_file());
    write(&right)?;
    let done = get(&place, &file, &[])?;
    ensure!(done["verified"] == true, "{done}");
    same(&www.join("x.bin"), &out.join("x.bin"))?;
    // A file that is there already, and of which nothing is known, is compared by the digest.
    fs::copy(www.join("x.bin"), place.sub("out2")?.join("x.bin"))?;
    let mut running = shoal::get(&place, &file, &place.folder.join("out2"), &[])?;
    let done = shoal::complete(&mut running, PATIENCE)?;
    ensure!(done["bytes"] == 0, "{done}");
    place.succeeded();
    Ok(())
}

fn web_seeds() -> Result<()> {
    let place = Place::new("get/web-seeds")?;
    let at = format!("{}:8081", place.address(1));
    let (_nginx, www) = nginx(&place, "nginx", &at, "")?;
    content::write(&www.join("one.bin"), 5_000_000, 7)?;
    for (name, bytes) in [("a b.bin", 700_000), ("sub/\u{e9}.bin", 1_300_000), ("sub/tiny", 3), ("z.bin", 2_000_000)] {
        content::write(&www.join("tree").join(name), bytes, bytes as u64)?;
    }
    let make = |what: &str, seed: &str, out: &str| {
        let mut command = Command::new("mktorrent");
        command.args(["-l", "18", "-w", seed, "-o", out, what]).current_dir(&www);
        process::run(&mut command)
    };
    let (one, tree) = (place.folder.join("one.torrent"), place.folder.join("tree.torrent"));
    make("one.bin", &format!("http://{at}/one.bin"), &one.display().to_string())?;
    make("tree", &format!("http://{at}/"), &tree.display().to_string())?;
    for (torrent, bytes) in [(&one, 5_000_000u64), (&tree, 4_000_003)] {
        let done = get(&place, &torrent.display().to_string(), &[])?;
        ensure!(done["verified"] == true && sources(&done) == [(seed_of(&done), bytes)], "{done}");
    }
    same(&www.join("one.bin"), &place.folder.join("out/one.bin"))?;
    content::compare(&www.join("tree"), &place.folder.join("out/tree"), content::Empty::Present)?;
    // A file that the server lacks leaves the others to come; nothing is complete, and nothing is wrong.
    fs::remove_file(www.join("tree/z.bin"))?;
    let out = place.sub("lacking")?;
    let mut running = shoal::get(&place, &tree.display().to_string(), &out, &["--explain"])?;
    let mut said = String::new();
    process::until(PATIENCE, "the reason", || {
        said = running.process.event("explain", PATIENCE)?["text"].as_str().unwrap_or_default().to_owned();
        Ok(said.contains("404"))
    })?;
    running.process.signal("INT")?;
    place.succeeded();
    Ok(())
}

fn seed_of(done: &Value) -> String {
    sources(done).first().map(|(name, _)| name.clone()).unwrap_or_default()
}

fn split() -> Result<()> {
    let place = Place::new("get/split")?;
    let path = place.folder.join("disk.img");
    let size = 48 * MIB;
    content::write(&path, size as usize, 8)?;
    let (mut servers, mut relays, mut across) = (Vec::new(), Vec::new(), Vec::new());
    for host in 1..=4 {
        let at = format!("{}:8081", place.address(host));
        servers.push(nginx(&place, &format!("nginx{host}"), &at, DAV)?);
        let relay = Relay::start(&format!("{}:8082", place.address(host)), &at, 4 * MIB)?;
        across.push(format!("http://{}/parts/", relay.address));
        relays.push(relay);
    }
    let shown = path.display().to_string();
    let mut args = vec!["split", &shown, "-o", "m.json", "--replicas", "2", "--across"];
    args.extend(across.iter().map(String::as_str));
    let (said, ok) = objects(&place, &args)?;
    ensure!(ok, "{said:?}");
    let manifest = place.folder.join("m.json").display().to_string();
    let done = get(&place, &manifest, &[])?;
    ensure!(done["verified"] == true && sources(&done).len() == 4, "{done}");
    ensure!(done["wasted"].as_u64() < Some(2 * MIB), "{done}");
    same(&path, &place.folder.join("out/disk.img"))?;
    // One lies, one dies half way, and two are left, which have everything between them or not: parts are on two of four.
    let out = place.sub("out2")?;
    let mut running = shoal::get(&place, &manifest, &out, &[])?;
    loop {
        let progress = running.process.event("progress", PATIENCE)?;
        if progress["bytes"].as_u64() > Some(12 * MIB) {
            break;
        }
    }
    relays[2].cut();
    let done = shoal::complete(&mut running, 3 * PATIENCE)?;
    same(&path, &out.join("disk.img"))?;
    ensure!(sources(&done).len() == 4, "{done}");
    // A server that lies is found out by the digests of pieces; the other replicas of its parts are enough.
    let out = place.sub("out3")?;
    relays[0].spoil();
    let relay = Relay::start(&format!("{}:8083", place.address(3)), &format!("{}:8081", place.address(3)), 0)?;
    let text = fs::read_to_string(&manifest)?.replace(&relays[2].address, &relay.address);
    fs::write(&manifest, text)?;
    let mut running = shoal::get(&place, &manifest, &out, &[])?;
    let banned = running.process.event("banned", PATIENCE)?;
    ensure!(banned["peer"].as_str().is_some_and(|p| p.contains(&relays[0].address)), "{banned}");
    shoal::complete(&mut running, 3 * PATIENCE)?;
    same(&path, &out.join("disk.img"))?;
    place.succeeded();
    Ok(())
}

fn all_at_once() -> Result<()> {
    let place = Place::new("get/all")?;
    let path = place.folder.join("data.bin");
    content::write(&path, 24 << 20, 9)?;
    let http = format!("{}:8080", place.address(1));
    let shown = path.display().to_string();
    // The bytes of the link come over a slow wire, those of the peer within its limit.
    let relay = Relay::start(&format!("{}:8082", place.address(1)), &http, 3 * MIB)?;
    let public = format!("http://{}", relay.address);
    let args = ["share", &shown, "--http", &http, "--public", &public, "--listen", "0.0.0.0:0", "--limit-up", "3M"];
    let mut share = Running::start(&place, "share", &args)?;
    let link = share.process.event("shared", PATIENCE)?["link"].as_str().context("no link")?.to_owned();
    share.process.event("seeding", PATIENCE)?;
    ensure!(link.starts_with(&public), "{link}");
    let done = get(&place, &link, &[])?;
    same(&path, &place.folder.join("out/data.bin"))?;
    let by = |kind: &str| -> u64 {
        let all = done["sources"].as_array().map(Vec::as_slice).unwrap_or_default();
        all.iter().filter(|s| s["kind"] == kind).filter_map(|s| s["bytes"].as_u64()).sum()
    };
    ensure!(done["verified"] == true && by("http") > 4 << 20 && by("peer") > 4 << 20, "{done}");

    // With the servers of a split file, too: the manifest is known to be of the same content.
    let at = format!("{}:8083", place.address(1));
    let (_nginx, www) = nginx(&place, "nginx", &at, "")?;
    let parts = www.display().to_string();
    let manifest = place.folder.join("data.bin.split.json").display().to_string();
    let (said, ok) = objects(&place, &["split", &shown, "--output", &manifest, "--across", &parts])?;
    ensure!(ok, "{said:?}");
    let relay = Relay::start(&format!("{}:8084", place.address(1)), &at, 3 * MIB)?;
    let text = fs::read_to_string(&manifest)?.replace("nginx/www/", &format!("http://{}/", relay.address));
    fs::write(&manifest, text)?;
    fs::remove_file(place.folder.join("out/data.bin"))?;
    let done = get(&place, &link, &[&manifest])?;
    same(&path, &place.folder.join("out/data.bin"))?;
    let from = |at: &str| sources(&done).iter().filter(|(name, _)| name.contains(at)).map(|(_, n)| n).sum::<u64>();
    ensure!(from(":8082") > 2 << 20 && from(":8084") > 2 << 20, "{done}");
    let all = sources(&done).iter().map(|(_, n)| n).sum::<u64>();
    ensure!(all - from(":8082") - from(":8084") > 2 << 20, "nothing by the peer: {done}");
    // What can't be had keeps nothing else from coming.
    let out = place.sub("other")?.display().to_string();
    let args =
        ["get", "http://127.0.0.1:1/nobody", &manifest, "-o", &out, "--no-dht", "--no-lsd", "--listen", "127.0.0.1:0"];
    shoal::fails(&place, &args, &["nobody"])?;
    same(&path, &place.folder.join("other/data.bin"))?;
    place.succeeded();
    Ok(())
}

fn hostile() -> Result<()> {
    let place = Place::new("get/hostile")?;
    let at = format!("{}:8081", place.address(1));
    let (_nginx, www) = nginx(&place, "nginx", &at, "")?;
    fs::write(www.join("x"), "content")?;
    let out = place.sub("out/in/here")?;
    let shown = out.display().to_string();
    let meta = |name: &str, rest: &str| -> Result<String> {
        let file = place.folder.join("h.meta4");
        let text = format!(
            "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"{name}\">{rest}</file></metalink>"
        );
        fs::write(&file, text)?;
        Ok(file.display().to_string())
    };
    let url = format!("<url>http://{at}/x</url>");
    // Names lead nowhere but into the folder.
    for name in ["../../x", "/etc/x", "a/../../../x", "..", "&#x1b;[2Jx"] {
        let file = meta(name, &url)?;
        let mut running = shoal::get(&place, &file, &out, &[])?;
        let ended = running.process.event("complete", PATIENCE);
        if let Ok(done) = ended {
            let path = done["path"].as_str().unwrap_or_default().to_owned();
            ensure!(path.starts_with(&shown) && !path.contains("..") && !path.contains('\u{1b}'), "{name}: {path}");
        }
        running.process.finish(PATIENCE)?;
    }
    let outside: Vec<_> =
        fs::read_dir(place.folder.join("out"))?.chain(fs::read_dir(place.folder.join("out/in"))?).collect();
    ensure!(outside.len() == 2, "{outside:?}");
    // Sizes that are none, addresses that are not for others to name, kinds that nobody fetches.
    let digest = format!("<hash type=\"sha-256\">{}</hash>", "0".repeat(64));
    for (rest, word) in [
        (format!("<size>99999999999999999999999</size>{url}"), "size"),
        (format!("<size>8</size>{digest}{url}"), "8"),
        ("<url>file:///etc/passwd</url>".to_owned(), "no server"),
        (format!("<size>7</size><url>http://{at}/x?press=the-button</url>"), "strangers"),
        (format!("<size>7</size>{digest}{url}"), "digest"),
    ] {
        let file = meta("y", &rest)?;
        let mut running = Process::talk(
            "hostile",
            &place.folder,
            shoal::command(&place, "hostile")?.args(["get", &file, "-o", &shown, "--explain", "--listen", "0.0.0.0:0"]),
        )?;
        let said = process::until(Duration::from_secs(20), word, || {
            Ok(running.log().contains(word)
                || running.hear(Duration::from_secs(2)).is_ok_and(|o| o.to_string().contains(word)))
        });
        running.kill();
        said.with_context(|| format!("{rest}: nothing of {word:?} was said"))?;
    }
    place.succeeded();
    Ok(())
}

/// Runs a download with `--explain` until it has said this.
fn explained(place: &Place, name: &str, source: &str, more: &[&str], words: &str) -> Result<()> {
    let out = place.sub(&format!("out-{name}"))?;
    let mut running = shoal::get(place, source, &out, &[&["--explain"], more].concat())?;
    let said = says(&mut running, &[words]);
    running.process.kill();
    said.with_context(|| name.to_owned())
}

/// Waits until `--explain` has said all of these words in one line.
fn says(running: &mut Running, words: &[&str]) -> Result<()> {
    let mut said = Vec::new();
    let found = process::until(PATIENCE, &words.join(", "), || {
        let text = running.process.event("explain", PATIENCE)?["text"].as_str().unwrap_or_default().to_owned();
        let found = words.iter().all(|word| text.contains(word));
        said.push(text);
        Ok(found)
    });
    found.with_context(|| format!("{said:?}"))
}

/// What limits us is here: a disk that takes its time for each write, and a core on which too many want to work.
fn slow_here() -> Result<()> {
    let place = Place::new("get/slow-here")?;
    let at = format!("{}:8081", place.address(1));
    let (_nginx, www) = nginx(&place, "nginx", &at, "")?;
    let file = www.join("x.bin");
    content::write(&file, 512 << 20, 10)?;
    let torrent = place.folder.join("x.torrent").display().to_string();
    let relay = Relay::start(&format!("{}:8082", place.address(1)), &at, MIB)?;
    let seed = format!("http://{}/x.bin", relay.address);
    shoal::ask(
        &place,
        &["torrent", "create", &file.display().to_string(), "-o", &torrent, "--format", "hybrid", "--web-seed", &seed],
    )?;
    // Memory is quick, so that only what is made slow is.
    let memory = place.sub("memory")?;
    process::run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=1G", "tmpfs"]).arg(&memory))?;
    let said = slow_parts(&place, &torrent, &relay, &memory);
    process::run(Command::new("umount").arg("-l").arg(&memory))?;
    said?;
    place.succeeded();
    Ok(())
}

/// Downloads to memory with a slow disk, and with hashing that gets no processor.
fn slow_parts(place: &Place, torrent: &str, relay: &Relay, memory: &Path) -> Result<()> {
    let begin = |name: &str| {
        relay.pace(MIB);
        let mut running = shoal::get(place, torrent, &memory.join(name), &["--explain"])?;
        running.process.event("progress", PATIENCE)?;
        anyhow::Ok(running)
    };
    let told = |running: &mut Running, words: &str| {
        relay.pace(0);
        says(running, &[words])
    };
    let mut running = begin("disk")?;
    let mut strace = Command::new("strace");
    strace.args([
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-e",
        "trace=pwritev",
        "-e",
        "inject=pwritev:delay_enter=1000000",
        "-p",
    ]);
    let mut strace = Process::start("strace", &place.folder, strace.arg(running.process.id().to_string()))?;
    let said = told(&mut running, "the disk: ");
    running.process.kill();
    strace.kill();
    said?;
    // Whoever hashes runs only while a core has nothing else to do, and it always has; nothing else waits.
    let mut running = begin("hashing")?;
    let threads = fs::read_dir(format!("/proc/{}/task", running.process.id()))?;
    let names = threads
        .filter_map(Result::ok)
        .map(|t| (t.path(), fs::read_to_string(t.path().join("comm")).unwrap_or_default()));
    let hasher = names.into_iter().find(|(_, name)| name.trim() == "disk-write").context("no disk-write")?.0;
    let hasher = hasher.file_name().context("no thread")?.to_string_lossy().into_owned();
    let allowed = process::run(Command::new("taskset").args(["-pc", &hasher]))?;
    let core = allowed.trim().rsplit([',', '-', ' ']).next().unwrap_or("0").to_owned();
    process::run(Command::new("taskset").args(["-pc", &core, &hasher]))?;
    process::run(Command::new("chrt").args(["--idle", "-p", "0", &hasher]))?;
    let mut crowd = Vec::new();
    for n in 0..2 {
        let mut idler = Command::new("taskset");
        idler.args(["-c", &core, "sh", "-c", "while :; do :; done"]);
        crowd.push(Process::start(&format!("idler{n}"), &place.folder, &mut idler)?);
    }
    let said = told(&mut running, "hashing: ");
    crowd.iter_mut().for_each(Process::kill);
    running.process.kill();
    said
}

fn explain() -> Result<()> {
    let place = Place::new("get/explain")?;
    let at = format!("{}:8081", place.address(1));
    let (_nginx, www) = nginx(&place, "nginx", &at, "")?;
    let (file, size) = (www.join("x.bin"), 64 << 20);
    content::write(&file, size, 10)?;
    // An uplink, and one's own limit.
    let relay = Relay::start(&format!("{}:8082", place.address(1)), &at, 2 * MIB)?;
    let slow = format!("http://{}/x.bin", relay.address);
    explained(&place, "uplink", &slow, &[], &format!("the uplink of {slow} gives"))?;
    let fast = format!("http://{at}/x.bin");
    explained(&place, "limit", &fast, &["--limit-down", "1M"], "your own limit")?;
    // A server that has gone.
    relay.hush();
    let gone = Relay::start(&format!("{}:8083", place.address(1)), &at, MIB)?;
    let source = format!("http://{}/x.bin", gone.address);
    let out = place.sub("out-gone")?;
    let mut running = shoal::get(&place, &source, &out, &["--explain"])?;
    running.process.event("progress", PATIENCE)?;
    gone.cut();
    says(&mut running, &["no server answers", &gone.address])?;
    running.process.kill();
    // A peer that has nothing, and one that serves nobody.
    let torrent = place.folder.join("x.torrent");
    let shown = torrent.display().to_string();
    shoal::ask(
        &place,
        &["torrent", "create", &file.display().to_string(), "-o", &shown, "--format", "v1", "--piece-length", "256KiB"],
    )?;
    let (empty, peer) = (place.sub("empty")?.display().to_string(), format!("{}:6901", place.address(2)));
    let _part = Running::start(&place, "part", &["get", &shown, "-o", &empty, "--listen", &peer])?;
    explained(&place, "missing", &shown, &["--peer", &peer], "nobody has what is missing, piece ")?;
    let choking = Hostile::choking(&place.address(3), fs::read(&file)?, 1 << 18)?;
    explained(&place, "choked", &shown, &["--peer", &format!("{}:{}", place.address(3), choking.port)], "choke us")?;
    place.succeeded();
    Ok(())
}
