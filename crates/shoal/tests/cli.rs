//! The binary as users and programs call it: objects, errors, exit codes.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod common;

use common::Place;
use serde_json::{Value, json};
use std::fs;

#[test]
fn a_torrent_is_made_shown_checked_and_named() {
    let place = Place::new();
    place.tree("tree");
    let made = place.json(&[
        "torrent",
        "create",
        "tree",
        "-o",
        "t.torrent",
        "--piece-length",
        "16KiB",
        "--format",
        "hybrid",
        "--comment",
        "for all",
        "--tracker",
        "http://127.0.0.1:1/announce",
        "--tracker",
        "udp://127.0.0.1:1",
        "--private",
    ]);
    let keys: Vec<&String> = made.as_object().unwrap().keys().collect();
    let mut wanted = vec![
        "torrent",
        "name",
        "info_hash_v1",
        "info_hash_v2",
        "magnet",
        "bytes",
        "pieces",
        "piece_length",
        "file_count",
    ];
    wanted.sort_unstable();
    let mut sorted: Vec<&str> = keys.iter().map(|k| k.as_str()).collect();
    sorted.sort_unstable();
    assert_eq!(sorted, wanted);
    assert_eq!(made["torrent"], "t.torrent");
    assert_eq!(made["name"], "tree");
    assert_eq!(
        (&made["bytes"], &made["piece_length"], &made["file_count"]),
        (&json!(100_003), &json!(16384), &json!(3))
    );
    assert_eq!(made["info_hash_v1"].as_str().unwrap().len(), 40);
    assert_eq!(made["info_hash_v2"].as_str().unwrap().len(), 64);
    assert!(made["magnet"].as_str().unwrap().starts_with("magnet:?xt=urn:btih:"));

    let shown = place.json(&["torrent", "show", "t.torrent"]);
    for key in wanted {
        assert_eq!(shown[key], made[key], "{key}");
    }
    let files = json!([
        {"path": "tree/a.bin", "bytes": 100_000}, {"path": "tree/empty", "bytes": 0}, {"path": "tree/sub/b.txt", "bytes": 3}
    ]);
    assert_eq!(shown["files"], files);
    assert_eq!(shown["trackers"], json!(["http://127.0.0.1:1/announce", "udp://127.0.0.1:1"]));
    assert_eq!(
        (&shown["private"], &shown["comment"], &shown["web_seeds"]),
        (&json!(true), &json!("for all"), &json!([]))
    );
    assert!(shown["created"].as_u64().unwrap() > 1_700_000_000);
    let magnet = place.json(&["torrent", "magnet", "t.torrent"])["magnet"].clone();
    assert_eq!(magnet, made["magnet"]);
    let by_magnet = place.json(&["torrent", "show", magnet.as_str().unwrap()]);
    assert_eq!((&by_magnet["info_hash_v1"], &by_magnet["files"]), (&made["info_hash_v1"], &Value::Null));

    let pieces = made["pieces"].clone();
    assert_eq!(
        place.json(&["torrent", "verify", "t.torrent", "tree"]),
        json!({"pieces": pieces, "good": pieces, "bad": []})
    );
    let mut bytes = fs::read(place.path("tree/a.bin")).unwrap();
    bytes[20_000] ^= 1;
    fs::write(place.path("tree/a.bin"), bytes).unwrap();
    let out = place.run(&["--json", "torrent", "verify", "t.torrent", "tree"]);
    assert_eq!(out.status.code(), Some(1));
    let verified: Value = serde_json::from_slice(&out.stdout).unwrap();
    assert_eq!(verified["bad"], json!([1]));
}

#[test]
fn the_same_content_makes_the_same_torrent_everywhere() {
    let (one, two) = (Place::new(), Place::new());
    one.tree("tree");
    two.tree("tree");
    let hash = |place: &Place, threads: &str| {
        place.json(&["torrent", "create", "tree", "--threads", threads])["info_hash_v1"].clone()
    };
    assert_eq!(hash(&one, "1"), hash(&two, "4"));
}

#[test]
fn a_repair_leaves_the_manifest_that_it_names() {
    let place = Place::new();
    fs::write(place.path("f"), vec![7; 300_000]).unwrap();
    for (manifest, targets) in [("new", ["a", "b"]), ("old", ["c", "d"])] {
        place.json(&["split", "f", "-o", manifest, "--across", targets[0], targets[1]]);
    }
    // Nothing has to be restored, and what is there is of the same file.
    place.json(&["split", "repair", "new", "-o", "old"]);
    assert_eq!(fs::read(place.path("old")).unwrap(), fs::read(place.path("new")).unwrap());
}

#[test]
fn errors_of_the_user_are_one_line_and_exit_1() {
    let place = Place::new();
    place.tree("tree");
    fs::write(place.path("broken.torrent"), "d4:infod6:lengthi5eee").unwrap();
    fs::write(place.path("text.torrent"), "hello").unwrap();
    fs::write(place.path("file"), "x").unwrap();
    fs::create_dir(place.path("nothing")).unwrap();
    place.json(&["torrent", "create", "tree", "-o", "t.torrent"]);
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    for (args, words) in [
        (&["torrent", "create", "missing"][..], &["missing"][..]),
        (&["torrent", "create", "nothing"], &["nothing"]),
        (
            &["torrent", "create", "tree", "-o", "no/such/folder/x.torrent"],
            &["can't write", "no/such/folder/x.torrent"],
        ),
        (&["torrent", "create", "tree", "--piece-length", "20000", "--format", "v2"], &["piece length", "20000"]),
        (&["torrent", "show", "missing.torrent"], &["missing.torrent"]),
        (&["torrent", "show", "broken.torrent"], &["broken.torrent", "broken torrent"]),
        (&["torrent", "show", "text.torrent"], &["text.torrent", "no .torrent"]),
        (&["torrent", "show", "magnet:?xt=urn:btih:12"], &["magnet"]),
        (&["torrent", "verify", "t.torrent", "missing"], &["missing"]),
        (&["torrent", "verify", "t.torrent", "file"], &["file", "folder"]),
        (&["get", "missing.torrent"], &["missing.torrent"]),
        (&["get", "broken.torrent"], &["broken.torrent"]),
        (&["get", "t.torrent", "-o", "file/under"], &["file/under"]),
        (&["get", "t.torrent", "--select", "*.none"], &["*.none"]),
        (&["get", "ftp://127.0.0.1/x"], &["ftp"]),
        (&["seed", "t.torrent", "missing"], &["missing"]),
        (&["seed", "t.torrent", "nothing", "--listen", "127.0.0.1:0"], &["nothing"]),
        (&["share", "missing"], &["missing"]),
        (&["share", "tree", "--http", &taken, "--listen", "127.0.0.1:0"], &["can't listen", &taken]),
        (&["get", "t.torrent", "--listen", &taken], &["can't listen", &taken]),
        (&["tracker", "--http", &taken], &["can't listen", &taken, "another program uses the port"]),
        (&["serve", "tree", "--listen", "192.0.2.1:0"], &["can't listen", "192.0.2.1", "no address of this machine"]),
        (
            &["get", "t.torrent", "--listen", "192.0.2.1:0"],
            &["can't listen", "192.0.2.1", "no address of this machine"],
        ),
        (&["get", ""], &["SOURCE is empty"]),
        (&["get", "t.torrent", "--select", "*.none"], &["no file of tree matches"]),
        (&["tracker", "--http", "127.0.0.1:0", "--allow", "missing"], &["missing"]),
    ] {
        place.fails(1, args, words);
    }
}

#[test]
fn wrong_usage_is_one_line_and_exits_2() {
    let place = Place::new();
    for (args, words) in [
        (&["get"][..], &["SOURCE"][..]),
        (&["gte"], &["gte"]),
        (&["get", "x", "--limit-down", "fast"], &["--limit-down", "fast"]),
        (&["get", "x", "--limit-down", "20Mb"], &["bits or bytes"]),
        (&["get", "x", "--select", "a["], &["--select", "a["]),
        (&["get", "x", "--peer", "nobody"], &["--peer", "nobody"]),
        (&["get", "x", "--hub", "http://h"], &["--hub", "not built yet"]),
        (&["get", "x", "--encryption", "required"], &["not built yet"]),
        (&["share", "x", "--nick", "me"], &["--nick", "not built yet"]),
        (&["share", "x", "--public", "ftp://x"], &["--public"]),
        (&["torrent", "create", "x", "--tracker", "nonsense"], &["--tracker", "nonsense"]),
        (&["mirror"], &["ORIGIN"]),
        (&["serve", ".", "--listen", "8080"], &["--listen", "127.0.0.1:8080", ":8080"]),
        (&["serve", ".", "--listen", "example.com:80"], &["--listen", "an address of this machine"]),
        (&["serve", ".", "--threads", "0"], &["--threads", "0", "1 or more"]),
        (&["serve", ".", "--max-connections", "0"], &["--max-connections", "1 or more"]),
        (&["serve", ".", "--max-programs", "0"], &["--max-programs", "1 or more"]),
        (&["serve", ".", "--program-timeout", "0s"], &["--program-timeout", "1s or more"]),
        (&["serve", ".", "--share", "--cgi", "php=php-cgi"], &["--share", "--cgi"]),
        (&["serve", ".", "--share", "--auth", "f"], &["--share", "--auth"]),
        (&["serve", ".", "--public", "http://h"], &["--share"]),
        (&["serve", ".", "--share", "--public", "ftp://x"], &["--public"]),
        (&["serve", ".", "--cgi", "php"], &["--cgi", "php"]),
        (&["lab", "compare", "--size", "1G"], &["lab compare", "not built yet"]),
        (&["lab", "run", "nothing"], &["nothing", "swarm"]),
        (&["lab", "run", "swarm", "--leechers", "x"], &["leechers"]),
        (&["--config", "missing.toml", "lab", "list"], &["missing.toml"]),
    ] {
        place.fails(2, args, words);
    }
}

#[test]
fn flags_come_from_the_environment_and_a_file_too() {
    let place = Place::new();
    place.tree("tree");
    fs::write(place.path("c.toml"), "[torrent.create]\nformat = \"v1\"\ncomment = \"from the file\"\n").unwrap();
    let run = |args: &[&str]| {
        let out =
            place.command(args).env("SHOAL_COMMENT", "from the environment").env("SHOAL_JSON", "1").output().unwrap();
        assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    };
    let show = || place.json(&["torrent", "show", "t.torrent"]);
    run(&["torrent", "create", "tree", "-o", "t.torrent", "--config", "c.toml"]);
    assert_eq!((&show()["comment"], &show()["info_hash_v2"]), (&json!("from the environment"), &Value::Null));
    run(&["torrent", "create", "tree", "-o", "t.torrent", "--config", "c.toml", "--comment", "said", "--format", "v2"]);
    assert_eq!((&show()["comment"], &show()["info_hash_v1"]), (&json!("said"), &Value::Null));
    place.json(&["torrent", "create", "tree", "-o", "t.torrent", "--config", "c.toml"]);
    assert_eq!(show()["comment"], "from the file");
}

#[test]
fn names_can_not_command_the_terminal() {
    let place = Place::new();
    fs::create_dir(place.path("d")).unwrap();
    fs::write(place.path("d/a\u{1b}[31mb\nc"), "x").unwrap();
    place.json(&["torrent", "create", "d", "-o", "t.torrent"]);
    let out = place.run(&["torrent", "show", "t.torrent"]);
    assert!(out.status.success());
    assert!(!out.stdout.contains(&0x1b), "{}", String::from_utf8_lossy(&out.stdout));
}

#[test]
fn completions_pages_and_the_lab() {
    let place = Place::new();
    for shell in ["bash", "zsh", "fish"] {
        let out = place.run(&["completions", shell]);
        assert!(out.status.success() && String::from_utf8_lossy(&out.stdout).contains("share"), "{shell}");
    }
    assert!(place.run(&["man", "man"]).status.success());
    assert!(fs::read_to_string(place.path("man/shoal-get.1")).unwrap().contains("limit"));
    let args = ["lab", "run", "swarm", "--leechers", "3", "--pieces", "8", "--seed", "5"];
    let (one, two) = (place.json(&args), place.json(&args));
    assert_eq!(one["trace_hash"], two["trace_hash"]);
    assert_eq!((&one["seed"], &one["results"]["completed"]), (&json!(5), &json!(3)));
    assert!(one["bounds"].is_object() && one["parameters"]["leechers"] == 3);
}
