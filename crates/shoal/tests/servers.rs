//! `get` from servers that have their ways.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod common;
#[path = "../../node/tests/site/mod.rs"]
mod site;

use common::Place;
use serde_json::{Value, json};
use site::{Reply, Site};
use std::fs;
use std::io::Write as _;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

const GET: &[&str] = &["get", "--listen", "127.0.0.1:0", "--data-dir", "d", "-o", "out"];
const LATER: &str = "Sun, 06 Nov 1994 10:00:00 GMT";

fn bytes(n: usize) -> Vec<u8> {
    (0..n as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8 | 1).collect()
}

/// What a command says that fails with exit code 1: the text on standard error.
fn fails(place: &Place, args: &[&str]) -> String {
    let out = place.run(args);
    let said = String::from_utf8_lossy(&out.stderr).into_owned();
    assert_eq!(out.status.code(), Some(1), "{args:?}: {said}");
    said
}

#[test]
fn only_what_is_known_to_be_the_same_is_gone_on_with() {
    let body = bytes(2 << 20);
    let then = |tag: &'static str| Some(tag);
    for (known, tag) in [
        (true, then("\"1\"")),
        (true, then("Sun, 06 Nov 1994 09:58:00 GMT")),
        // Changed in the minute in which it was asked for, or at a time that nobody tells.
        (false, then("Sun, 06 Nov 1994 09:59:30 GMT")),
        (false, None),
    ] {
        let body = body.clone();
        let site = Site::open(move |ask| Reply::ranged(ask, &body, tag).with("Date", LATER).slowly(20));
        let place = Place::new();
        let mut first = place.start(&[GET, &[&site.url("/x")]].concat());
        while first.event("progress")["bytes"].as_u64() < Some(200_000) {}
        // A kill.
        drop(first);
        let done = place.json(&[GET, &[&site.url("/x")]].concat());
        assert_eq!(done["bytes"].as_u64() < Some(2 << 20), known, "{tag:?}: {done}");
        assert!(fs::read(place.path("out/x")).unwrap() == bytes(2 << 20));
    }
}

#[test]
fn a_description_that_is_of_no_use_is_left_out() {
    let metalink = |inner: &str| {
        format!("<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"x\">{inner}</file></metalink>")
    };
    for (kind, target, description) in [
        ("application/metalink4+xml", "/d", metalink("<url>ftp://h/x</url>")),
        ("application/metalink4+xml", "/d", metalink("<size>7</size><url>http://h/x</url>")),
        ("application/metalink4+xml", "/d", "nonsense".into()),
        // What a server says presses no buttons inside.
        ("application/metalink4+xml", "/d?press", metalink("<url>/x</url>")),
        ("application/x-bittorrent", "/d?press", "d4:infode".into()),
    ] {
        let site = Site::open(move |ask| match ask.path.starts_with("/d") {
            true => Reply::whole(description.as_bytes()),
            false => Reply::ranged(ask, &bytes(100_000), None)
                .with("Link", &format!("<{target}>; rel=describedby; type=\"{kind}\"")),
        });
        let place = Place::new();
        let out = place.run(&[GET, &["--json", &site.url("/x")]].concat());
        let said = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.success() && said.contains("can't use the "), "{target}: {said}");
        assert!(fs::read(place.path("out/x")).unwrap() == bytes(100_000));
        assert!(site.asked().iter().all(|a| !a.path.contains("press")), "{target}");
    }
}

#[test]
fn when_no_server_is_left_it_ends_and_names_them() {
    let asked = AtomicUsize::new(0);
    let site = Site::open(move |ask| match asked.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::ranged(ask, &bytes(100_000), None),
        _ => Reply::status(410),
    });
    let place = Place::new();
    let said = fails(&place, &[GET, &[&site.url("/x")]].concat());
    assert!(
        said.contains("error: no server is left") && said.contains(&site.url("/x")) && said.contains("410"),
        "{said}"
    );
}

#[test]
fn who_can_not_answer_now_is_asked_again() {
    for (n, busy) in
        [Reply::status(503), Reply::status(502), Reply::status(429).with("Retry-After", "1")].into_iter().enumerate()
    {
        let asked = AtomicUsize::new(0);
        let site = Site::open(move |ask| match asked.fetch_add(1, Ordering::Relaxed) {
            0 => busy.clone(),
            _ => Reply::ranged(ask, &bytes(100_000), None),
        });
        let place = Place::new();
        let done = place.json(&[GET, &[&site.url("/x")]].concat());
        assert!(done["event"] == "complete" && fs::read(place.path("out/x")).unwrap() == bytes(100_000), "{n}: {done}");
    }
    // Who says that it takes longer than anybody would wait is believed.
    let site = Site::open(|_| Reply::status(503).with("Retry-After", "500"));
    let place = Place::new();
    let said = fails(&place, &[GET, &[&site.url("/x")]].concat());
    assert!(said.contains("503") && site.asked().len() == 1, "{said}");
    assert!(!place.path("out").exists(), "a folder was made for nothing");
}

#[test]
fn servers_that_nobody_reaches_end_it_with_their_reasons() {
    let place = Place::new();
    fs::write(place.path("f"), bytes(100_000)).unwrap();
    let gone = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    place.json(&["split", "f", "--across", "parts", "-o", "m"]);
    let manifest = fs::read_to_string(place.path("m")).unwrap();
    fs::write(place.path("m"), manifest.replace("\"parts/", &format!("\"http://{gone}/"))).unwrap();
    let said = fails(&place, &[GET, &["m"]].concat());
    assert!(said.contains("no server is left") && said.contains("refused"), "{said}");
    // Meanwhile people hear what it waits for.
    assert!(said.contains("no server answers") && said.contains("Ctrl-C ends"), "{said}");
    // One that speaks no TLS, and one that asks who it is.
    let plain = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("https://{}/x", plain.local_addr().unwrap());
    std::thread::spawn(move || {
        for mut stream in plain.incoming().flatten() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
        }
    });
    let said = fails(&place, &[GET, &[&url]].concat());
    assert!(said.contains("speaks no TLS") && said.contains("try http://"), "{said}");
    let site = Site::open(|_| Reply::status(401).with("WWW-Authenticate", "Basic realm=x"));
    let said = fails(&place, &[GET, &[&site.url("/x")]].concat());
    assert!(said.contains("401") && said.contains("--netrc"), "{said}");
}

#[test]
fn a_selection_that_no_file_matches_is_told_of_plain_files_too() {
    let site = Site::open(|ask| Reply::ranged(ask, &bytes(100_000), None));
    let place = Place::new();
    let said = fails(&place, &[GET, &[&site.url("/x"), "--select", "*.none"]].concat());
    assert!(said.contains("no file of x matches; it is one file"), "{said}");
}

#[test]
fn nothing_is_written_through_links_and_into_pipes() {
    let site = Site::open(|ask| match &*ask.path {
        "/endless" => Reply { endless: true, ..Reply::whole(b"what comes") },
        _ => Reply::ranged(ask, &bytes(100_000), None),
    });
    let place = Place::new();
    for folder in ["out", "elsewhere"] {
        fs::create_dir(place.path(folder)).unwrap();
    }
    std::os::unix::fs::symlink("../elsewhere", place.path("out/docs")).unwrap();
    let metalink = format!(
        "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"docs/x\"><url>{}</url></file></metalink>",
        site.url("/x")
    );
    fs::write(place.path("d.meta4"), metalink).unwrap();
    let said = fails(&place, &[GET, &["d.meta4"]].concat());
    assert!(said.contains("docs is a link"), "{said}");
    assert!(fs::read_dir(place.path("elsewhere")).unwrap().next().is_none());
    assert!(Command::new("mkfifo").arg(place.path("out/endless")).status().unwrap().success());
    let said = fails(&place, &[GET, &[&site.url("/endless"), "--in-place"]].concat());
    assert!(said.contains("no plain file"), "{said}");
}

#[test]
fn two_of_one_name_and_files_in_one_folder() {
    let site =
        Site::open(|ask| Reply::ranged(ask, &bytes(if ask.path.starts_with("/a") { 90_000 } else { 80_000 }), None));
    let place = Place::new();
    let said = fails(&place, &[GET, &[&site.url("/a/x"), &site.url("/b/x")]].concat());
    assert!(said.contains("out/x is the place of x"), "{said}");
    assert!(fs::read(place.path("out/x")).unwrap() == bytes(90_000));
    let file = |name: &str| format!("<file name=\"dir/{name}\"><url>{}</url></file>", site.url(&format!("/{name}")));
    let text = format!("<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">{}{}</metalink>", file("a"), file("b"));
    fs::write(place.path("two.meta4"), text).unwrap();
    place.json(&[GET, &["two.meta4"]].concat());
    assert!(fs::read(place.path("out/dir/a")).unwrap() == bytes(90_000));
    assert!(fs::read(place.path("out/dir/b")).unwrap() == bytes(80_000));
}

#[test]
fn what_has_no_length() {
    let endless = |n: usize| Reply { endless: true, ..Reply::whole(&bytes(n)) };
    let place = Place::new();
    let site = Site::open(move |_| endless(300_000).slowly(150));
    let mut running = place.start(&[GET, &[&site.url("/x")]].concat());
    let progress = running.event("progress");
    assert!(progress["bytes"].as_u64() > Some(0) && progress["total"] == Value::Null, "{progress}");
    assert_eq!((&progress["name"], &progress["peers"]), (&json!("x"), &json!(0)));
    // Another one of the name has to wait, and what is stopped leaves nothing.
    assert!(
        fails(&place, &["get", "--listen", "127.0.0.1:0", "--data-dir", "d2", "-o", "out", &site.url("/x")])
            .contains("x.part exists")
    );
    running.signal("INT");
    assert_eq!(running.end(), Some(130));
    assert!(!place.path("out/x.part").exists());
    let done = place.json(&[GET, &[&site.url("/x"), "--limit-down", "1M"]].concat());
    assert_eq!(done["bytes"], 300_000);
    // A limit holds: so many bytes can't come in less.
    let fast = Site::open(move |_| endless(400_000));
    let done = place.json(&[GET, &[&fast.url("/y"), "--limit-down", "400000"]].concat());
    assert!(done["seconds"].as_f64() >= Some(1.0), "{done}");
    // What breaks leaves nothing, either.
    let chunked =
        Site::open(|_| Reply { endless: true, ..Reply::whole(b"5\r\nhello\r\n") }.with("Transfer-Encoding", "chunked"));
    let said = fails(&place, &[GET, &[&chunked.url("/z")]].concat());
    assert!(said.contains(&chunked.url("/z")) && !place.path("out/z.part").exists(), "{said}");
}

#[test]
fn a_pipe_is_no_source_and_a_size_that_nobody_tells_has_reasons() {
    let place = Place::new();
    assert!(Command::new("mkfifo").arg(place.path("pipe")).status().unwrap().success());
    assert!(fails(&place, &[GET, &["pipe"]].concat()).contains("pipe is no plain file"));
    let site = Site::open(|_| Reply::status(418));
    let url = site.url("/x");
    let text = format!(
        "<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\"><file name=\"x\"><url>{url}</url></file></metalink>"
    );
    fs::write(place.path("x.meta4"), text).unwrap();
    let said = fails(&place, &[GET, &["x.meta4"]].concat());
    assert!(said.contains("how long it is") && said.contains(&url) && said.contains("418"), "{said}");
}
