//! Passwords: typed where nobody sees them, piped in, and asked for by the web server.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod common;

use common::Place;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use serde_json::Value;
use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::process::{Output, Stdio};

/// `shoal passwd NAME` at a terminal where these keys are pressed; with what the terminal has shown.
fn at_a_terminal(place: &Place, name: &str, keys: &str) -> (Output, String) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let path = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let open = || File::options().read(true).write(true).open(&path).unwrap();
    let before = rustix::termios::tcgetattr(open()).unwrap();
    let mut command = place.command(&["passwd", name]);
    command.stdin(open()).stderr(open()).stdout(Stdio::piped());
    let child = command.spawn().unwrap();
    drop(command);
    let mut terminal = File::from(terminal);
    let (mut shown, mut some) = (String::new(), [0; 1000]);
    // What is typed before the program asks is shown, and thrown away.
    while !shown.contains("password: ") {
        let n = terminal.read(&mut some).unwrap();
        shown += &String::from_utf8_lossy(&some[..n]);
    }
    let kept = open();
    terminal.write_all(keys.as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    let after = rustix::termios::tcgetattr(&kept).unwrap();
    assert_eq!(after.local_modes, before.local_modes, "the terminal is as it was");
    rustix::io::ioctl_fionbio(&terminal, true).unwrap();
    while let Ok(n) = terminal.read(&mut some)
        && n > 0
    {
        shown += &String::from_utf8_lossy(&some[..n]);
    }
    (out, shown)
}

#[test]
fn a_password_is_typed_twice_and_never_shown() {
    let place = Place::new();
    let (out, shown) = at_a_terminal(&place, "ada", "sesame\nsesame\n");
    let line = String::from_utf8(out.stdout).unwrap();
    assert!(out.status.success() && line.starts_with("ada:$argon2id$v=19$") && line.ends_with('\n'), "{line}{shown}");
    assert!(!shown.contains("sesame") && !line.contains("sesame"), "{shown}");
    let (out, shown) = at_a_terminal(&place, "ada", "sesame\nother\n");
    assert!(out.status.code() == Some(1) && out.stdout.is_empty() && shown.contains("different"), "{shown}");
    let (out, _) = at_a_terminal(&place, "ada", "ses\u{3}");
    assert_eq!((out.status.code(), out.stdout.len()), (Some(130), 0));
}

fn piped(place: &Place, args: &[&str], input: &str) -> Output {
    let mut command = place.command(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn piped_passwords_and_files_that_can_not_be_used() {
    let place = Place::new();
    let out = piped(&place, &["--json", "passwd", "ada"], "sesame\n");
    let made: Value = serde_json::from_slice(&out.stdout).unwrap();
    let line = made["line"].as_str().unwrap().to_owned();
    assert!(made["name"] == "ada" && line.starts_with("ada:$argon2id$"));
    for (name, input, words) in
        [("a:b", "x\n", "colon"), ("ada", "\n", "at least one character"), ("", "x\n", "no name")]
    {
        let out = piped(&place, &["passwd", name], input);
        let errors = String::from_utf8_lossy(&out.stderr).into_owned();
        assert!(out.status.code() == Some(1) && errors.contains(words), "{name:?}: {errors}");
    }
    fs::create_dir(place.path("www")).unwrap();
    let serve = |file: &str| ["serve", "www", "--listen", "127.0.0.1:0", "--auth", file].map(ToOwned::to_owned);
    fs::write(place.path("wrong"), format!("{line}\nbob:sesame\n")).unwrap();
    fs::write(place.path("nobody"), "# nobody yet\n").unwrap();
    fs::write(place.path("www/users"), &line).unwrap();
    for (file, words) in [
        ("missing", &["missing"][..]),
        ("wrong", &["wrong", "line 2", "shoal passwd NAME"]),
        ("nobody", &["nobody", "shoal passwd NAME"]),
        ("www/users", &["www/users", "lies in the folder that is served"]),
    ] {
        let args = serve(file);
        place.fails(1, &args.each_ref().map(String::as_str), words);
    }
    fs::write(place.path("www/.users"), &line).unwrap();
    let args = serve("www/.users");
    let mut running = place.start(&args.each_ref().map(String::as_str));
    running.event("listening");
    running.signal("INT");
    assert_eq!(running.end(), Some(0));
}
