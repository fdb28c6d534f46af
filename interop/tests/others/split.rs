//! Files in parts on nginx with WebDAV's PUT, on our own server and in folders: placed, damaged, dropped, repaired.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use interop::place::Place;
use interop::process::{PATIENCE, Process};
use interop::shoal::{self, Running};
use libtest_mimic::Trial;
use serde_json::Value;

use crate::web::{curl, serve, up};
use crate::{doors, trial};

pub(crate) fn trials() -> Vec<Trial> {
    vec![
        trial("split/nginx-shoal-and-a-folder", three_kinds),
        trial("split/what-nginx-refuses", refusals),
        trial("split/get-from-dead-slow-and-lying-servers", trouble),
        trial("split/get-from-folders-and-by-url", places),
        trial("split/passwords-from-netrc", passwords),
        trial("split/manifests-from-elsewhere", elsewhere),
    ]
}

/// Bytes of the file that is split: 8 parts for each of three targets.
const BYTES: usize = 6_000_000;

/// Writes a file that no other test has.
fn file(place: &Place) -> Result<(PathBuf, Vec<u8>)> {
    let mut state = 88_172_645_463_325_252_u64;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    let body: Vec<u8> = (0..BYTES).map(|_| byte()).collect();
    let path = place.folder.join("disk image.iso");
    fs::write(&path, &body)?;
    Ok((path, body))
}

/// nginx with what is configured here for its one folder.
pub(crate) fn nginx(place: &Place, name: &str, address: &str, location: &str) -> Result<(Process, PathBuf)> {
    let folder = place.sub(name)?;
    let www = place.sub(&format!("{name}/www"))?;
    let (dir, root) = (folder.display(), www.display());
    let text = format!(
        "daemon off; master_process off; pid {dir}/pid; error_log {dir}/error.log;\nevents {{}}\n\
         http {{ access_log off; client_body_temp_path {dir}/t1; proxy_temp_path {dir}/t2; fastcgi_temp_path {dir}/t3;\n\
         uwsgi_temp_path {dir}/t4; scgi_temp_path {dir}/t5; server {{ listen {address}; root {root}; {location} }} }}\n"
    );
    let config = folder.join("nginx.conf");
    fs::write(&config, text)?;
    let (config, prefix) = (config.display().to_string(), dir.to_string());
    let process = Process::start(name, &place.folder, Command::new("nginx").args(["-c", &config, "-p", &prefix]))?;
    up(address)?;
    Ok((process, www))
}

pub(crate) const DAV: &str = "dav_methods PUT; create_full_put_path on; client_max_body_size 1g;";

/// What a command says, object by object, and whether it ended well.
pub(crate) fn objects(place: &Place, args: &[&str]) -> Result<(Vec<Value>, bool)> {
    let mut process = Process::talk("split", &place.folder, shoal::command(place, "state-split")?.args(args))?;
    let mut said = Vec::new();
    while let Ok(object) = process.hear(PATIENCE) {
        said.push(object);
    }
    let status = process.finish(PATIENCE)?;
    Ok((said, status.success()))
}

/// The last object of `split repair`.
fn repair(place: &Place, args: &[&str]) -> Result<(Value, bool)> {
    let (said, ok) = objects(place, &[&["split", "repair", "m.json"], args].concat())?;
    Ok((said.last().context("repair said nothing")?.clone(), ok))
}

fn counts(done: &Value) -> [u64; 5] {
    ["good", "missing", "altered", "unreachable", "restored"].map(|name| done[name].as_u64().unwrap_or(u64::MAX))
}

/// The parts in a folder, sorted.
fn parts(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut all: Vec<PathBuf> = fs::read_dir(folder)?.filter_map(|e| Some(e.ok()?.path())).collect();
    all.sort();
    Ok(all)
}

/// A replica of a part that none was taken of before: which is where depends on addresses.
fn unhurt(folder: &Path, hurt: &mut Vec<String>) -> Result<PathBuf> {
    let number = |path: &PathBuf| path.extension().map(|e| e.to_string_lossy().into_owned()).unwrap_or_default();
    let found = parts(folder)?.into_iter().find(|path| !hurt.contains(&number(path)));
    let path = found.with_context(|| format!("too few parts in {}", folder.display()))?;
    hurt.push(number(&path));
    Ok(path)
}

fn three_kinds() -> Result<()> {
    let place = Place::new("split/kinds")?;
    let (path, body) = file(&place)?;
    let (theirs, ours) = (format!("{}:8081", place.address(1)), format!("{}:8080", place.address(2)));
    let (_nginx, www) = nginx(&place, "nginx", &theirs, DAV)?;
    let (own, users, here) = (place.sub("own")?, place.folder.join("users"), place.sub("here")?);
    fs::write(&users, doors::line(&place, "ada", "se:same \u{e9}")?)?;
    let users = users.display().to_string();
    let mut server = serve(&place, &own, &ours, &["--write", "--auth", &users])?;
    let (path, login) = (path.display().to_string(), format!("http://ada:se%3Asame%20%C3%A9@{ours}/p"));
    let (nginx_url, here_name) = (format!("http://{theirs}/a/b/"), here.display().to_string());
    let across = ["--across", &nginx_url, &login, &here_name];
    let (said, ok) = objects(&place, &[&["split", &path, "-o", "m.json", "--replicas", "2"][..], &across].concat())?;
    let done = said.last().context("split said nothing")?;
    ensure!(ok && done["event"] == "complete" && done["parts"] == 24, "{done}");
    ensure!(said.iter().filter(|o| o["event"] == "placed").count() == 48, "not every replica was told");
    let manifest = fs::read_to_string(place.folder.join("m.json"))?;
    ensure!(!manifest.contains("same") && !format!("{said:?}").contains("same"), "the password is in what was written");
    // Each target has its third, and curl finds there what the manifest says.
    let json: Value = serde_json::from_str(&manifest)?;
    for part in json["parts"].as_array().context("no parts")? {
        let (offset, bytes) =
            (part["offset"].as_u64().unwrap_or(0) as usize, part["bytes"].as_u64().unwrap_or(0) as usize);
        for at in part["places"].as_array().context("no places")?.iter().filter_map(Value::as_str) {
            let got = match at.strip_prefix("http://").and_then(|rest| rest.split_once('/')) {
                Some((host, path)) => curl(host, &format!("/{path}"), &["-u", "ada:se:same \u{e9}"])?.body,
                None => fs::read(place.folder.join(at))?,
            };
            ensure!(got == body[offset..offset + bytes], "{at} is not bytes {offset} to {}", offset + bytes);
        }
    }
    for folder in [&www.join("a/b"), &own.join("p"), &here] {
        ensure!(parts(folder)?.len() == 16, "{} parts in {}", parts(folder)?.len(), folder.display());
    }
    // The same again places nothing.
    let (again, ok) = objects(&place, &[&["split", &path, "-o", "m.json", "--replicas", "2"][..], &across].concat())?;
    ensure!(ok && again.iter().all(|o| o["event"] != "placed" || o["found"] == true), "parts were placed twice");

    // Dropped, altered, cut short.
    let mut hurt = Vec::new();
    fs::remove_file(unhurt(&www.join("a/b"), &mut hurt)?)?;
    let altered = unhurt(&www.join("a/b"), &mut hurt)?;
    let mut bytes = fs::read(&altered)?;
    bytes[100] ^= 1;
    fs::write(&altered, bytes)?;
    fs::write(unhurt(&own.join("p"), &mut hurt)?, "short")?;
    fs::remove_file(unhurt(&here, &mut hurt)?)?;
    let (done, ok) = repair(&place, &["--deep", "--across", &login])?;
    ensure!(ok && counts(&done) == [44, 2, 2, 0, 4], "{done}");
    ensure!(
        fs::read_to_string(place.folder.join("m.json"))? == manifest,
        "what was restored in place changed the manifest"
    );
    // Without the password nobody can tell: no part is on two targets for sure, and nothing is forgotten.
    let (done, ok) = repair(&place, &[])?;
    ensure!(ok && counts(&done) == [32, 0, 0, 16, 16], "{done}");
    fs::write(place.folder.join("m.json"), &manifest)?;

    // Our server dies; a folder takes its place.
    server.process.kill();
    let spare = place.sub("spare")?.display().to_string();
    let (done, ok) = repair(&place, &["--across", &spare])?;
    ensure!(ok && counts(&done) == [32, 0, 0, 16, 16], "{done}");
    let now = fs::read_to_string(place.folder.join("m.json"))?;
    ensure!(!now.contains(&ours) && now.contains("spare/disk image.iso."), "{now}");
    let (done, ok) = repair(&place, &["--deep"])?;
    ensure!(ok && done["good"] == 48 && done["short"] == 0, "{done}");

    // A part that is nowhere has a name, and comes back from the file.
    for folder in [www.join("a/b"), here, place.folder.join("spare")] {
        parts(&folder)?.iter().filter(|p| p.to_string_lossy().ends_with(".011")).try_for_each(fs::remove_file)?;
    }
    shoal::fails(
        &place,
        &["split", "repair", "m.json"],
        &["no good replica is left of disk image.iso.", ".011", "--from"],
    )?;
    let (done, ok) = repair(&place, &["--from", &path])?;
    ensure!(ok && done["restored"] == 2 && done["lost"].as_array().is_some_and(Vec::is_empty), "{done}");
    place.succeeded();
    Ok(())
}

/// Errors name the target and what to do about it.
fn refusals() -> Result<()> {
    let place = Place::new("split/refusals")?;
    let (path, _) = file(&place)?;
    let path = path.display().to_string();
    let (closed, small) = (format!("{}:8081", place.address(1)), format!("{}:8082", place.address(1)));
    let (_closed, _) = nginx(&place, "closed", &closed, "")?;
    let (_small, _) = nginx(&place, "small", &small, "dav_methods PUT; client_max_body_size 10k;")?;
    let targets = [
        (format!("http://{closed}/x"), "405 Method Not Allowed"),
        (format!("http://{small}/"), "client_max_body_size"),
        (format!("http://{}:9/", place.address(3)), "can't place parts on"),
        ("none/x".to_owned(), "a target is a folder: make none first"),
    ];
    for (target, said) in &targets {
        shoal::fails(&place, &["split", &path, "--across", target], &[target, said])?;
    }
    ensure!(!place.folder.join("disk image.iso.split.json").exists(), "a manifest of what is not there");
    // A manifest of something else is not written over.
    let folder = place.sub("d")?.display().to_string();
    fs::write(place.folder.join("disk image.iso.split.json"), "{}")?;
    shoal::fails(&place, &["split", &path, "--across", &folder], &["disk image.iso.split.json is there already"])?;
    ensure!(parts(Path::new(&folder))?.is_empty(), "parts were placed before that was seen");
    place.succeeded();
    Ok(())
}

/// Passes connections on to `to`, and what comes back at 16 KiB every 40 ms and connection.
fn slow(listener: TcpListener, to: String) {
    thread::spawn(move || {
        for near in listener.incoming().map_while(Result::ok) {
            let Ok(far) = TcpStream::connect(&to) else { continue };
            let (Ok(mut near_in), Ok(mut far_out)) = (near.try_clone(), far.try_clone()) else { continue };
            thread::spawn(move || {
                let _ = io::copy(&mut near_in, &mut far_out);
                far_out.shutdown(Shutdown::Write)
            });
            thread::spawn(move || {
                let (mut near, mut far, mut buf) = (near, far, vec![0; 16 << 10]);
                while let Ok(n @ 1..) = far.read(&mut buf) {
                    if near.write_all(&buf[..n]).is_err() {
                        break;
                    }
                    thread::sleep(Duration::from_millis(40));
                }
                near.shutdown(Shutdown::Both)
            });
        }
    });
}

/// One server dies half way, one is slow, one has changed every part: the file arrives whole all the same.
fn trouble() -> Result<()> {
    let place = Place::new("split/trouble")?;
    let (path, body) = file(&place)?;
    let path = path.display().to_string();
    let (mut servers, mut targets) = (Vec::new(), Vec::new());
    for number in 1..=4u8 {
        let (folder, address) = (place.sub(&format!("server{number}"))?, format!("{}:8080", place.address(number)));
        servers.push(Running::start(
            &place,
            &format!("serve{number}"),
            &["serve", &folder.display().to_string(), "--listen", &address, "--write"],
        )?);
        targets.push(format!("http://{address}/"));
    }
    let listener = TcpListener::bind((place.address(4), 8081))?;
    let dawdler = format!("http://{}/", listener.local_addr()?);
    slow(listener, format!("{}:8080", place.address(4)));
    targets[3].clone_from(&dawdler);
    let across: Vec<&str> = targets.iter().map(String::as_str).collect();
    let split = [&["split", &path, "-o", "m.json", "--replicas", "3", "--across"][..], &across].concat();
    let (said, ok) = objects(&place, &split)?;
    ensure!(ok && said.last().is_some_and(|done| done["parts"] == 32), "{said:?}");
    let manifest = fs::read(place.folder.join("m.json"))?;
    // The third lies.
    for part in parts(&place.folder.join("server3"))? {
        let mut bytes = fs::read(&part)?;
        bytes.iter_mut().step_by(5_000).for_each(|b| *b ^= 1);
        fs::write(&part, bytes)?;
    }
    let out = place.sub("out")?;
    let mut get = shoal::get(&place, "m.json", &out, &["--limit-down", "3M"])?;
    get.process.event("progress", PATIENCE)?;
    servers[0].process.kill();
    let done = shoal::complete(&mut get, PATIENCE)?;
    ensure!(fs::read(out.join("disk image.iso"))? == body, "the file arrived damaged");
    let bytes = |at: &str| {
        let of = |s: &&Value| s["address"].as_str().is_some_and(|a| at.starts_with(a.trim_end_matches('/')));
        let sources = done["sources"].as_array().map(Vec::as_slice).unwrap_or_default();
        sources.iter().filter(of).filter_map(|s| s["bytes"].as_u64()).sum::<u64>()
    };
    ensure!(bytes(&targets[1]) > 0, "nothing from the server that was well: {done}");
    ensure!(bytes(&targets[2]) < bytes(&targets[1]), "the liar was asked as much as others: {done}");
    ensure!(bytes(&dawdler) > 0, "some parts are on the slow one alone: {done}");

    // Repair finds the dead one and the liar; then only good ones are asked.
    // Nothing on the liar is of this file any more: that parts belong there, the user has to say.
    let (done, ok) = repair(&place, &["--deep", "--replicas", "2"])?;
    ensure!(!ok && counts(&done) == [48, 0, 24, 24, 0], "{done}");
    fs::write(place.folder.join("m.json"), &manifest)?;
    let (done, ok) = repair(&place, &["--deep", "--replicas", "2", "--across", &targets[2]])?;
    ensure!(ok && counts(&done) == [48, 0, 24, 24, 24], "{done}");
    servers[1].process.kill();
    let again = place.sub("again")?;
    let done = shoal::complete(&mut shoal::get(&place, "m.json", &again, &[])?, PATIENCE)?;
    ensure!(fs::read(again.join("disk image.iso"))? == body, "the file arrived damaged: {done}");
    place.succeeded();
    Ok(())
}

/// Parts in folders beside the manifest, fetched from there; then the whole folder is served, and they are fetched from the server.
fn places() -> Result<()> {
    let place = Place::new("split/places")?;
    let (path, body) = file(&place)?;
    let path = path.display().to_string();
    let www = place.sub("www")?;
    let (a, b) = (place.sub("www/a")?.display().to_string(), place.sub("www/b #1")?.display().to_string());
    let manifest = www.join("m.json").display().to_string();
    let (said, ok) = objects(&place, &["split", &path, "-o", &manifest, "--across", &a, &b])?;
    ensure!(ok, "{said:?}");
    let out = place.sub("out")?;
    shoal::complete(&mut shoal::get(&place, &manifest, &out, &[])?, PATIENCE)?;
    ensure!(fs::read(out.join("disk image.iso"))? == body, "the file arrived damaged");
    let address = format!("{}:8080", place.address(1));
    let _serve = serve(&place, &www, &address, &[])?;
    let out = place.sub("by url")?;
    let done = shoal::complete(&mut shoal::get(&place, &format!("http://{address}/m.json"), &out, &[])?, PATIENCE)?;
    ensure!(fs::read(out.join("disk image.iso"))? == body, "the file arrived damaged");
    ensure!(done["sources"].as_array().is_some_and(|all| all.len() == 2), "two folders on one server: {done}");
    // A part that is nowhere is told, and named, before anything is waited for.
    fs::remove_file(parts(Path::new(&a))?.first().context("no parts")?)?;
    let (done, ok) = objects(&place, &["split", "repair", &manifest])?;
    ensure!(!ok && done.last().is_some_and(|d| d["lost"].as_array().is_some_and(|l| l.len() == 1)), "{done:?}");
    place.succeeded();
    Ok(())
}

/// A manifest holds no passwords; whoever fetches and repairs has them in a file.
fn passwords() -> Result<()> {
    let place = Place::new("split/passwords")?;
    let (path, body) = file(&place)?;
    let (folder, users, address) =
        (place.sub("www")?, place.folder.join("users"), format!("{}:8080", place.address(1)));
    fs::write(&users, doors::line(&place, "ada", "lovelace")?)?;
    let _server = serve(&place, &folder, &address, &["--write", "--auth", &users.display().to_string()])?;
    let netrc = place.folder.join("passwords");
    fs::write(&netrc, format!("# mine\nmachine {}\n login ada\n password lovelace\n", place.address(1)))?;
    let (path, target) = (path.display().to_string(), format!("http://{address}/p/"));
    shoal::fails(&place, &["split", &path, "--across", &target], &["401 Unauthorized", "--netrc"])?;
    let (said, ok) =
        objects(&place, &["split", &path, "-o", "m.json", "--across", &target, "--netrc-file", "passwords"])?;
    ensure!(ok && !fs::read_to_string(place.folder.join("m.json"))?.contains("lovelace"), "{said:?}");
    let out = place.sub("out")?;
    shoal::complete(&mut shoal::get(&place, "m.json", &out, &["--netrc-file", "passwords"])?, PATIENCE)?;
    ensure!(fs::read(out.join("disk image.iso"))? == body, "the file arrived damaged");
    // A manifest behind the same door, in the file where everybody looks for passwords.
    fs::copy(place.folder.join("m.json"), folder.join("m.json"))?;
    fs::rename(&netrc, place.folder.join(".netrc"))?;
    let out = place.sub("by url")?;
    let args = ["get", &format!("http://{address}/m.json"), "-o", &out.display().to_string(), "--netrc"];
    let mut command = shoal::command(&place, "state-netrc")?;
    command.args(args).env("HOME", &place.folder);
    let status = Process::talk("netrc", &place.folder, &mut command)?.finish(PATIENCE)?;
    ensure!(status.success() && fs::read(out.join("disk image.iso"))? == body, "the file arrived damaged");
    fs::remove_file(parts(&folder.join("p"))?.first().context("no parts")?)?;
    let (done, ok) = repair(&place, &["--netrc-file", ".netrc", "--from", &path])?;
    ensure!(ok && counts(&done) == [7, 1, 0, 0, 1], "{done}");
    shoal::fails(&place, &["get", "m.json", "--netrc-file", "none"], &["can't read none"])?;
    place.succeeded();
    Ok(())
}

/// A manifest from a server names no folders here, and a repair of it is written where the user is.
fn elsewhere() -> Result<()> {
    let place = Place::new("split/elsewhere")?;
    let (path, _) = file(&place)?;
    let (www, own) = (place.sub("www")?, place.folder.join("own"));
    let (near, far) = (www.join("near").display().to_string(), own.display().to_string());
    let manifest = www.join("m.json").display().to_string();
    let path = path.display().to_string();
    // Folders that are not there yet are made.
    let (said, ok) = objects(&place, &["split", &path, "-o", &manifest, "--replicas", "2", "--across", &near, &far])?;
    ensure!(ok && parts(&own)?.len() == 16, "{said:?}");
    let address = format!("{}:8080", place.address(1));
    let _serve = serve(&place, &www, &address, &["--write"])?;
    let lost = parts(&own)?.first().context("no parts")?.clone();
    fs::remove_file(&lost)?;
    let url = format!("http://{address}/m.json");
    let (said, ok) = objects(&place, &["split", "repair", &url])?;
    let done = said.last().context("repair said nothing")?;
    ensure!(ok && counts(done) == [16, 0, 0, 0, 0] && !lost.exists(), "{said:?}");
    let copy = fs::read_to_string(place.folder.join("disk image.iso.split.json"))?;
    ensure!(copy.contains(&format!("http://{address}/near/")) && !copy.contains(&far), "{copy}");
    // Named by the user, the folder counts.
    let (said, ok) = objects(&place, &["split", "repair", &url, "-o", "mine.json", "--across", &far])?;
    let done = said.last().context("repair said nothing")?;
    ensure!(ok && counts(done) == [31, 1, 0, 0, 1] && lost.exists(), "{said:?}");
    place.succeeded();
    Ok(())
}
