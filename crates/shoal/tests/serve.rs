//! The web server as people run it.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod common;

use common::Place;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

/// What a file says, once it does.
fn written(path: &Path) -> String {
    for _ in 0..1_000 {
        match fs::read_to_string(path) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            _ => std::thread::sleep(Duration::from_millis(10)),
        }
    }
    panic!("{} was not written", path.display());
}

#[test]
fn programs_read_json_alone() {
    let place = Place::new();
    place.fails(2, &["--json", "serve", ".", "--access-log", "-"], &["--access-log", "--json"]);
}

#[test]
fn programs_that_can_not_run_are_named() {
    let place = Place::new();
    fs::create_dir(place.path("www")).unwrap();
    fs::write(place.path("www/a.cgi"), "not executable").unwrap();
    fs::write(place.path("www/a.php"), "").unwrap();
    place.fails(
        1,
        &["serve", "www", "--listen", "127.0.0.1:0", "--cgi", "py=no-such-python"],
        &["no-such-python", "PATH"],
    );
    place.fails(1, &["serve", "www", "--listen", "127.0.0.1:0", "--cgi", "py=./none"], &["/none", ".py"]);
    let flags = ["--listen", "127.0.0.1:0", "--cgi", "cgi=", "--fastcgi", "php=./none.sock"];
    let mut serve = place.start(&[&["serve", "www"][..], &flags].concat());
    let addr = serve.event("listening")["http"].as_str().unwrap().to_owned();
    for path in ["/a.cgi", "/a.php"] {
        let (head, body) = common::ask(&addr, path);
        assert_eq!(common::status(&head), 502, "{head}");
        let body = String::from_utf8(body).unwrap();
        assert!(!body.contains("none.sock") && !body.contains("www/"), "strangers learn nothing of it: {body}");
    }
    serve.signal("INT");
    let said = serve.said();
    let warned = said.lines().any(|l| l.starts_with("warning: ") && l.contains("none.sock") && l.contains(".php"));
    assert!(warned, "at the start: {said}");
    assert!(said.lines().any(|l| l.contains("/a.php: ") && l.contains("none.sock")), "{said}");
    assert!(
        said.lines().any(|l| l.contains("/a.cgi: ") && l.contains("www/a.cgi") && l.contains("chmod +x")),
        "{said}"
    );
}

#[test]
fn who_speaks_tls_hears_an_alert_and_is_told_of_once() {
    let place = Place::new();
    fs::create_dir(place.path("www")).unwrap();
    let mut serve = place.start(&["serve", "www", "--listen", "127.0.0.1:0"]);
    let addr = serve.event("listening")["http"].as_str().unwrap().to_owned();
    for _ in 0..3 {
        let mut stream = TcpStream::connect(&addr).unwrap();
        // The beginning of a ClientHello.
        stream.write_all(&[22, 3, 1, 2, 0, 1, 0, 1, 252, 3, 3]).unwrap();
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, [21, 3, 3, 0, 2, 2, 10], "an alert, and the end");
    }
    serve.signal("INT");
    let said = serve.said();
    assert_eq!(
        said.lines().filter(|line| line.contains("speaks TLS") && line.contains("http://")).count(),
        1,
        "{said}"
    );
}

#[test]
fn who_presses_ctrl_c_twice_leaves_no_program_behind() {
    let place = Place::new();
    fs::create_dir(place.path("www")).unwrap();
    fs::write(place.path("www/a.sh"), "sleep 1000 & echo $! > pid.tmp; mv pid.tmp pid; wait").unwrap();
    let mut serve = place.start(&["serve", "www", "--listen", "127.0.0.1:0", "--cgi", "sh=sh"]);
    let addr = serve.event("listening")["http"].as_str().unwrap().to_owned();
    let mut stream = TcpStream::connect(&addr).unwrap();
    stream.write_all(b"GET /a.sh HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let pid = written(&place.path("www/pid"));
    serve.signal("INT");
    // It waits for the answer, and takes no more connections.
    for _ in 0..200 {
        if TcpStream::connect(&addr).is_err() {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    serve.signal("INT");
    assert_eq!(serve.end(), Some(130));
    let alive = || fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "));
    for _ in 0..500 {
        if !alive() {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("the program is still there");
}
