//! The main job over loopback: one command shares, others fetch.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod common;

use common::Place;
use serde_json::json;
use std::fs;

const SHARE: &[&str] = &["share", "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--data-dir", "d-share"];
const GET: &[&str] = &["get", "--listen", "127.0.0.1:0", "--data-dir", "d-get"];

fn same(place: &Place, a: &str, b: &str) {
    for file in ["a.bin", "empty", "sub/b.txt"] {
        let read = |top: &str| fs::read(place.path(top).join(file)).unwrap();
        assert!(read(a) == read(b), "{file} differs");
    }
}

#[test]
fn a_folder_by_link_by_torrent_and_by_magnet() {
    let place = Place::new();
    place.tree("tree");
    let mut share = place.start(&[SHARE, &["tree"]].concat());
    let listening = share.event("listening");
    let http = listening["http"].as_str().unwrap().to_owned();
    let shared = share.event("shared");
    assert_eq!(share.event("seeding"), json!({"event": "seeding", "name": "tree"}));
    assert_eq!((&shared["name"], &shared["bytes"]), (&json!("tree"), &json!(100_003)));
    let text = |key: &str| shared[key].as_str().unwrap().to_owned();
    let (link, magnet, torrent) = (text("link"), text("magnet"), text("torrent"));
    assert_eq!(link, format!("http://{http}/f/tree"));
    assert!(place.path(&torrent).is_file());
    for (n, source) in [link, magnet, torrent].iter().enumerate() {
        let (out, data) = (format!("out{n}"), format!("d{n}"));
        let done = place.json(&["get", source, "-o", &out, "--data-dir", &data, "--listen", "127.0.0.1:0"]);
        assert_eq!((&done["event"], &done["verified"]), (&json!("complete"), &json!(true)), "{done}");
        assert_eq!(done["path"], place.path(&out).join("tree").to_str().unwrap());
        // Peer and web seed are both asked for the end of so little.
        assert!(done["bytes"].as_u64().unwrap() >= 100_003 && done["wasted"].as_u64().unwrap() <= 100_003, "{done}");
        assert!(["peer", "http"].contains(&done["sources"][0]["kind"].as_str().unwrap()), "{done}");
        same(&place, "tree", &format!("{out}/tree"));
        // Again: all is there, and nothing is asked of anybody.
        let again = place.json(&["get", source, "-o", &out, "--data-dir", &data, "--listen", "127.0.0.1:0"]);
        assert_eq!((&again["bytes"], &again["sources"]), (&json!(0), &json!([])), "{again}");
    }
    share.signal("TERM");
    assert_eq!(share.end(), Some(0));
}

#[test]
fn two_paths_of_one_name_have_two_links() {
    let place = Place::new();
    place.tree("x/tree");
    place.tree("y/tree");
    fs::write(place.path("y/tree/sub/b.txt"), "other").unwrap();
    let mut share = place.start(&[SHARE, &["x/tree", "y/tree"]].concat());
    let (one, two) = (share.event("shared"), share.event("shared"));
    assert_ne!(one["link"], two["link"]);
    assert_ne!(one["torrent"], two["torrent"]);
    let link = two["link"].as_str().unwrap();
    assert!(link.ends_with("/f/tree-2"), "{link}");
    place.json(&[GET, &[link, "-o", "out"]].concat());
    same(&place, "y/tree", "out/tree");
}

#[test]
fn one_file_of_a_folder_from_a_seed() {
    let place = Place::new();
    place.tree("tree");
    place.json(&["torrent", "create", "tree", "-o", "t.torrent", "--format", "v1", "--piece-length", "16K"]);
    let mut seed = place.start(&["seed", "t.torrent", "tree", "--listen", "127.0.0.1:0", "--data-dir", "d-seed"]);
    let peer = seed.event("listening")["peer"].as_str().unwrap().to_owned();
    seed.event("seeding");
    let args = [GET, &["t.torrent", "--peer", &peer, "-o", "out", "--select", "*.txt"]].concat();
    let done = place.json(&args);
    assert!(done["bytes"].as_u64().unwrap() < 100_000, "{done}");
    assert_eq!(fs::read_to_string(place.path("out/tree/sub/b.txt")).unwrap(), "hi\n");
    seed.signal("INT");
    assert_eq!(seed.end(), Some(0));
}

#[test]
fn a_get_that_waits_ends_in_order_with_130() {
    let place = Place::new();
    place.tree("tree");
    place.json(&["torrent", "create", "tree", "-o", "t.torrent"]);
    let mut get = place.start(&[GET, &["t.torrent", "-o", "out"]].concat());
    get.event("listening");
    let progress = get.event("progress");
    assert_eq!((&progress["bytes"], &progress["peers"]), (&json!(0), &json!(0)));
    get.signal("INT");
    assert_eq!(get.end(), Some(130));
    assert!(!place.path("out/tree").exists(), "nothing partial has the final name");
}

#[test]
fn seeding_on_ends_by_time_and_by_ratio() {
    let place = Place::new();
    place.tree("tree");
    place.json(&["torrent", "create", "tree", "-o", "t.torrent"]);
    let args = |how: &'static [&'static str]| [GET, &["t.torrent", "-o", "."], how].concat();
    assert_eq!(place.json(&args(&["--seed-time", "10ms"]))["event"], "seeding");
    assert_eq!(place.json(&args(&["--seed-ratio", "0"]))["event"], "seeding");
}

#[test]
fn a_tracker_by_itself_brings_seed_and_get_together() {
    let place = Place::new();
    place.tree("tree");
    let mut tracker = place.start(&["tracker", "--http", "127.0.0.1:0"]);
    let listening = tracker.event("listening");
    let (http, udp) = (listening["http"].as_str().unwrap(), listening["udp"].as_str().unwrap());
    for (n, url) in [format!("http://{http}/announce"), format!("udp://{udp}/announce")].iter().enumerate() {
        let (torrent, out) = (format!("{n}.torrent"), format!("out{n}"));
        let (ds, dg) = (format!("ds{n}"), format!("dg{n}"));
        place.json(&["torrent", "create", "tree", "-o", &torrent, "--tracker", url]);
        let mut seed = place.start(&["seed", &torrent, "tree", "--listen", "127.0.0.1:0", "--data-dir", &ds]);
        seed.event("seeding");
        place.json(&["get", &torrent, "-o", &out, "--listen", "127.0.0.1:0", "--data-dir", &dg]);
        same(&place, "tree", &format!("{out}/tree"));
        seed.signal("INT");
        assert_eq!(seed.end(), Some(0));
    }
    tracker.signal("INT");
    assert_eq!(tracker.end(), Some(0));
}

#[test]
fn what_is_there_and_something_else_is_left_alone() {
    let place = Place::new();
    place.tree("tree");
    place.json(&["torrent", "create", "tree", "-o", "t.torrent"]);
    fs::create_dir_all(place.path("out/tree")).unwrap();
    fs::write(place.path("out/tree/a.bin"), "mine").unwrap();
    let args = [GET, &["t.torrent", "-o", "out"]].concat();
    place.fails(1, &args, &["out/tree", "exists"]);
    assert_eq!(fs::read_to_string(place.path("out/tree/a.bin")).unwrap(), "mine");
}

#[test]
fn names_that_are_not_safe_everywhere_are_shared_all_the_same() {
    use std::os::unix::ffi::OsStrExt as _;
    let place = Place::new();
    fs::create_dir_all(place.path("odd/\u{dc}")).unwrap();
    let bytes = std::ffi::OsStr::from_bytes(b"bad\xffbytes");
    fs::write(place.path("odd").join(bytes), "1").unwrap();
    fs::write(place.path("odd/tab\tname"), "2").unwrap();
    fs::write(place.path("odd/\u{dc}/a#b?c%20&<d>.txt"), "3").unwrap();
    let mut share = place.start(&[SHARE, &["odd"]].concat());
    let link = share.event("shared")["link"].as_str().unwrap().to_owned();
    share.event("seeding");
    place.json(&[GET, &[&link, "-o", "out"]].concat());
    for (file, content) in [("bad_bytes", "1"), ("tab_name", "2"), ("\u{dc}/a#b?c%20&<d>.txt", "3")] {
        assert_eq!(fs::read_to_string(place.path("out/odd").join(file)).unwrap(), content, "{file}");
    }
    place.json(&["torrent", "create", "odd", "-o", "t.torrent"]);
    place.json(&["torrent", "verify", "t.torrent", "odd"]);
}
