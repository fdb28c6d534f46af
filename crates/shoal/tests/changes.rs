//! What is shared and then changes; and folders that are served and shared.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod common;

use common::{Place, ask, status};
use serde_json::Value;
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SHARE: &[&str] = &["share", "--http", "127.0.0.1:0", "--listen", "127.0.0.1:0", "--data-dir", "d-share"];
const SERVE: &[&str] =
    &["serve", "tree", "--share", "--listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--data-dir", "d-serve"];

fn http(listening: &Value) -> String {
    listening["http"].as_str().unwrap().to_owned()
}

/// An announce for a torrent, with nothing left to fetch.
fn announce(addr: &str, info_hash: &Value) -> String {
    let hash = info_hash.as_str().unwrap().as_bytes();
    let hash: String = hash.chunks(2).map(|pair| format!("%{}", std::str::from_utf8(pair).unwrap())).collect();
    let path = format!("/announce?info_hash={hash}&peer_id=-XX0000-123456789012&port=9&uploaded=0&downloaded=0&left=0");
    String::from_utf8_lossy(&ask(addr, &path).1).into_owned()
}

#[test]
fn a_changed_file_gets_a_new_torrent_under_the_old_link() {
    let place = Place::new();
    fs::write(place.path("a.txt"), "first").unwrap();
    let mut share = place.start(&[SHARE, &["a.txt"]].concat());
    let addr = http(&share.event("listening"));
    let first = share.event("shared");
    share.event("seeding");
    let (head, body) = ask(&addr, "/f/a.txt");
    assert!(head.contains("digest: sha-256=") && body == b"first", "{head}");
    assert!(!announce(&addr, &first["info_hash_v1"]).contains("failure reason"));

    fs::write(place.path("a.txt"), "second").unwrap();
    let (head, body) = ask(&addr, "/f/a.txt");
    // Either nobody has hashed it yet, or it is known as what it is.
    assert_eq!((status(&head), &body[..]), (200, &b"second"[..]));
    let second = share.event("shared");
    assert_eq!(first["link"], second["link"]);
    assert_ne!(first["magnet"], second["magnet"]);
    assert_eq!(share.event("seeding")["name"], "a.txt");
    let (head, body) = ask(&addr, "/f/a.txt");
    assert!(head.contains("digest: sha-256=") && body == b"second", "{head}");
    assert!(
        announce(&addr, &first["info_hash_v1"]).contains("failure reason"),
        "the tracker has forgotten the old one"
    );
    assert!(!announce(&addr, &second["info_hash_v1"]).contains("failure reason"));
    let get = ["get", second["link"].as_str().unwrap(), "-o", "out", "--listen", "127.0.0.1:0", "--data-dir", "d-get"];
    assert_eq!(place.json(&get)["verified"], true);
    assert_eq!(fs::read(place.path("out/a.txt")).unwrap(), b"second");

    // Nobody asks, and it is noticed all the same; so is a file that comes to a folder.
    fs::write(place.path("a.txt"), "third").unwrap();
    assert_ne!(share.event("shared")["magnet"], second["magnet"]);
    share.signal("TERM");
    assert_eq!(share.end(), Some(0));
}

#[test]
fn a_folder_that_grows_and_one_that_goes() {
    let place = Place::new();
    place.tree("tree");
    fs::write(place.path("a.txt"), "a").unwrap();
    let mut share = place.start(&[SHARE, &["tree", "a.txt"]].concat());
    let addr = http(&share.event("listening"));
    assert_eq!((&share.event("shared")["name"], &share.event("shared")["name"]), (&"tree".into(), &"a.txt".into()));
    fs::write(place.path("tree/sub/new"), "new").unwrap();
    let grown = share.event("shared");
    assert_eq!((&grown["name"], &grown["bytes"]), (&"tree".into(), &100_006.into()));
    assert_eq!(ask(&addr, "/f/tree/sub/new").1, b"new");
    fs::remove_dir_all(place.path("tree")).unwrap();
    while status(&ask(&addr, "/f/tree.torrent").0) != 404 {}
    assert_eq!(ask(&addr, "/f/a.txt").1, b"a", "the other one is still shared");
    fs::remove_file(place.path("a.txt")).unwrap();
    assert_eq!(share.end(), Some(1), "nothing is left to share");
}

#[test]
fn the_same_content_twice_outlives_one_of_both() {
    let place = Place::new();
    place.tree("x/tree");
    place.tree("y/tree");
    let mut share = place.start(&[SHARE, &["x/tree", "y/tree"]].concat());
    share.event("listening");
    let (one, two) = (share.event("shared"), share.event("shared"));
    assert_eq!(one["info_hash_v1"], two["info_hash_v1"]);
    share.event("seeding");
    fs::write(place.path("x/tree/a.bin"), "other").unwrap();
    assert_eq!(share.event("shared")["name"], "tree");
    let get = ["get", two["link"].as_str().unwrap(), "-o", "out", "--listen", "127.0.0.1:0", "--data-dir", "d-get"];
    assert_eq!(place.json(&get)["verified"], true);
    assert_eq!(fs::read(place.path("out/tree/a.bin")).unwrap(), fs::read(place.path("y/tree/a.bin")).unwrap());
}

#[test]
fn a_served_folder_is_shared_and_remembered() {
    let place = Place::new();
    place.tree("tree/inner");
    fs::write(place.path("tree/one.txt"), "one").unwrap();
    fs::write(place.path("tree/.secret"), "s").unwrap();
    fs::write(place.path("tree/inner/.secret"), "s").unwrap();
    let mut serve = place.start(SERVE);
    let addr = http(&serve.event("listening"));
    let names = [serve.event("shared"), serve.event("shared")];
    assert_eq!((&names[0]["name"], &names[1]["name"]), (&"inner".into(), &"one.txt".into()));
    let link = names[0]["link"].as_str().unwrap();
    assert_eq!(link, format!("http://{addr}/f/inner"));
    place.json(&["get", link, "-o", "out", "--listen", "127.0.0.1:0", "--data-dir", "d-get"]);
    assert!(place.path("out/inner/sub/b.txt").is_file() && !place.path("out/inner/.secret").exists());
    // As a web server it answers, too, and gives what is hidden under no address.
    assert_eq!(ask(&addr, "/one.txt").1, b"one");
    for path in ["/f/.secret", "/f/inner/.secret", "/f/none", "/f/inner/../one.txt", "/.secret"] {
        assert_eq!(status(&ask(&addr, path).0), 404, "{path}");
    }
    let (head, body) = ask(&addr, "/f/one.txt");
    assert!(head.contains("repr-digest: ") && body == b"one", "{head}");
    serve.signal("TERM");
    assert_eq!(serve.end(), Some(0));

    let created =
        |event: &Value| place.json(&["torrent", "show", event["torrent"].as_str().unwrap()])["created"].clone();
    let before = [created(&names[0]), created(&names[1])];
    // A torrent that is made from now on says so.
    let second = |at: &Value| UNIX_EPOCH + Duration::from_secs(at.as_u64().unwrap() + 1);
    while SystemTime::now() < second(&before[1]) {
        std::thread::sleep(Duration::from_millis(10));
    }
    fs::write(place.path("tree/one.txt"), "two").unwrap();
    let mut serve = place.start(SERVE);
    let again = [serve.event("shared"), serve.event("shared")];
    assert_eq!((created(&again[0]), &again[0]["info_hash_v2"]), (before[0].clone(), &names[0]["info_hash_v2"]));
    assert_ne!(created(&again[1]), before[1], "what changed is hashed again");
    assert_ne!(again[1]["info_hash_v2"], names[1]["info_hash_v2"]);
    // What comes later is found when somebody asks, or by itself.
    fs::write(place.path("tree/late"), "late").unwrap();
    assert_eq!(serve.event("shared")["name"], "late");
}

#[test]
fn what_becomes_a_link_that_leads_out_is_not_given() {
    let place = Place::new();
    fs::create_dir_all(place.path("tree/folder")).unwrap();
    fs::create_dir(place.path("elsewhere")).unwrap();
    for file in ["tree/a.txt", "tree/folder/b.txt"] {
        fs::write(place.path(file), "shared").unwrap();
    }
    for file in ["secret", "elsewhere/b.txt", "elsewhere/c.txt"] {
        fs::write(place.path(file), "secret").unwrap();
    }
    let mut serve = place.start(SERVE);
    let addr = http(&serve.event("listening"));
    for _ in 0..2 {
        serve.event("shared");
    }
    assert_eq!(ask(&addr, "/f/a.txt").1, b"shared");
    fs::remove_file(place.path("tree/a.txt")).unwrap();
    std::os::unix::fs::symlink("../secret", place.path("tree/a.txt")).unwrap();
    fs::rename(place.path("tree/folder"), place.path("tree/other")).unwrap();
    std::os::unix::fs::symlink("../elsewhere", place.path("tree/folder")).unwrap();
    // At once, and until it was looked at again and forgotten.
    let mut forgotten = false;
    for _ in 0..600 {
        for path in ["/f/a.txt", "/f/a.txt?download", "/f/folder/b.txt", "/f/folder/c.txt", "/f/a.txt.torrent"] {
            let (head, body) = ask(&addr, path);
            assert!(matches!(status(&head), 404 | 503) && !body.windows(6).any(|w| w == b"secret"), "{path}: {head}");
        }
        forgotten = status(&ask(&addr, "/f/a.txt").0) == 404;
        if forgotten {
            break;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(forgotten);
    assert_eq!(ask(&addr, "/f/other/b.txt").1, b"shared");
}
