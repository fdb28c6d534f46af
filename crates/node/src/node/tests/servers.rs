//! Files of servers that have their ways, and change, and fail.

use super::site::{Ask, Reply, Site};
use super::*;
use crate::http::{At, Part, Places, Server, Version};
use base::{Checks, Geometry, Layout, Plan, Scope, WholeDigest};
use hash::{Sha1, Sha256};
use std::sync::atomic::{AtomicUsize, Ordering};

fn bytes(n: usize) -> Vec<u8> {
    (0..n as u64).map(|i| (i.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as u8 | 1).collect()
}

/// A file of these bytes, without digests.
fn plan(body: &[u8], piece: u64) -> Plan {
    let geometry = Geometry::new(body.len() as u64, piece, 16 << 10).unwrap();
    Plan::new(geometry, Layout::single("x".into(), body.len() as u64, false), Checks::default())
}

/// The same, checked by its pieces.
fn checked(body: &[u8], piece: u64) -> Plan {
    let sha256 = Some(body.chunks(piece as usize).map(Sha256::digest).collect());
    Plan { checks: Checks { sha256, ..Checks::default() }, ..plan(body, piece) }
}

fn add(plan: Plan, dir: &Path, servers: Vec<Server>) -> Add {
    let target = Target::Get { dir: dir.to_owned(), in_place: false };
    Add { servers, ..Add::new(What::Plain(Plain::new(plan, "")), target) }
}

/// What is left of a download: every second piece.
fn every_second(body: &[u8], piece: usize, path: &Path) {
    let mut some = body.to_vec();
    some.chunks_mut(piece).skip(1).step_by(2).for_each(|piece| piece.fill(0));
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, some).unwrap();
}

#[tokio::test]
async fn parts_of_servers_without_ranges() {
    // What is to be passed is little, or much.
    for piece in [64 << 10, 2 << 20] {
        let yard = Yard::new();
        let body = bytes(8 * piece - 5);
        every_second(&body, piece, &yard.at("to/x.part"));
        // Two servers with two of four parts, none of which has the beginning of all.
        let servers = [[0, 2], [1, 3]].map(|numbers| {
            let all = body.clone();
            let site = Site::open(move |ask| {
                let number: usize = ask.path[1..].parse().unwrap();
                Reply::whole(all.chunks(2 * piece).nth(number).unwrap())
            });
            let part = |n: usize| Part {
                offset: (n * 2 * piece) as u64,
                len: body.chunks(2 * piece).nth(n).unwrap().len() as u64,
                at: At::Url(site.url(&format!("/{n}"))),
            };
            Server { places: Places::Parts(numbers.map(part).into()), ..Server::whole(String::new()) }
        });
        let node = node(&yard.at("n")).await;
        run(&node, add(checked(&body, piece as u64), &yard.at("to"), servers.into())).await.unwrap();
        assert!(std::fs::read(yard.at("to/x")).unwrap() == body);
        node.shutdown().await;
    }
}

#[tokio::test]
async fn a_url_that_leads_to_another_mirror_each_time() {
    let yard = Yard::new();
    let body = bytes(500_000);
    every_second(&body, 1 << 16, &yard.at("to/x.part"));
    let mirrors = ["\"a\"", "\"b\""].map(|tag| {
        let body = body.clone();
        Site::open(move |ask| Reply::ranged(ask, &body, Some(tag)))
    });
    let turn = AtomicUsize::new(0);
    let leads = mirrors.clone();
    let site = Site::open(move |_| {
        let to = &leads[turn.fetch_add(1, Ordering::Relaxed) % 2];
        Reply::status(302).with("Location", &to.url("/x"))
    });
    let node = node(&yard.at("n")).await;
    let server = Server { lanes_max: 1, ..Server::whole(site.url("/x")) };
    run(&node, add(checked(&body, 1 << 16), &yard.at("to"), vec![server])).await.unwrap();
    assert!(std::fs::read(yard.at("to/x")).unwrap() == body);
    let asked: Vec<Ask> = mirrors.iter().flat_map(Site::asked).collect();
    assert!(asked.len() >= 2 && asked.iter().all(|a| a.header("if-range").is_none()), "{asked:?}");
    assert!(mirrors.iter().all(|m| !m.asked().is_empty()), "both were used");
    node.shutdown().await;
}

#[tokio::test]
async fn a_file_that_changes_is_not_spliced_and_the_last_server_ends_it() {
    let body = bytes(300_000);
    // The connection breaks half way, and then it is another file of the same length.
    let broken = {
        let (body, turn) = (body.clone(), AtomicUsize::new(0));
        Site::open(move |ask| match turn.fetch_add(1, Ordering::Relaxed) {
            0 => Reply { endless: true, ..Reply::whole(&body[..150_000]) }.with("Last-Modified", "then"),
            _ => Reply::ranged(ask, &body, Some("now")),
        })
    };
    // It changed before the first byte came.
    let stale = {
        let body = body.clone();
        Site::open(move |ask| Reply::ranged(ask, &body, Some("\"2\"")))
    };
    let (url, tag) = (stale.url("/x"), Some("\"1\"".to_owned()));
    let seen = Some(Box::new((url.parse().unwrap(), Version { tag, ..Version::default() })));
    for server in [Server::whole(broken.url("/x")), Server { seen, ..Server::whole(url) }] {
        let yard = Yard::new();
        let node = node(&yard.at("n")).await;
        let Places::Whole(url) = server.places.clone() else { unreachable!() };
        let error = run(&node, add(plan(&body, 1 << 16), &yard.at("to"), vec![server])).await.unwrap_err();
        assert!(error.contains(&url) && error.contains("has changed"), "{error}");
        assert!(!yard.at("to/x").exists());
        node.shutdown().await;
    }
    let ranges: Vec<_> = broken.asked().iter().map(|a| a.range().is_some()).collect();
    assert_eq!(ranges, [false, true]);
}

#[tokio::test]
async fn who_was_too_slow_for_a_server_asks_again() {
    let yard = Yard::new();
    let (body, turn) = (bytes(100_000), AtomicUsize::new(0));
    let site = {
        let body = body.clone();
        Site::open(move |ask| match turn.fetch_add(1, Ordering::Relaxed) {
            0 => Reply::status(408),
            _ => Reply::ranged(ask, &body, None),
        })
    };
    let node = node(&yard.at("n")).await;
    run(&node, add(plan(&body, 1 << 16), &yard.at("to"), vec![Server::whole(site.url("/x"))])).await.unwrap();
    node.shutdown().await;
}

#[tokio::test]
async fn pieces_of_sha1_are_not_enough_where_there_is_a_digest_of_all() {
    let yard = Yard::new();
    let body = bytes(300_000);
    let site = {
        let body = body.clone();
        Site::open(move |ask| Reply::ranged(ask, &body, None))
    };
    let sha1 = Some(body.chunks(1 << 16).map(Sha1::digest).collect());
    let weak = |whole| Plan {
        checks: Checks { sha1: sha1.clone(), ..Checks::default() },
        whole: Some(WholeDigest::Sha256(whole)),
        ..plan(&body, 1 << 16)
    };
    let node = node(&yard.at("n")).await;
    let get = |whole| add(weak(whole), &yard.at("to"), vec![Server::whole(site.url("/x"))]);
    // What is put aside is never put over what was put aside before.
    for name in ["x.wrong", "x.wrong.2"] {
        let error = run(&node, get([7; 32])).await.unwrap_err();
        assert!(error.contains("digest") && error.ends_with(name), "{error}");
        assert!(yard.at("to").join(name).is_file() && !yard.at("to/x").exists());
        node.remove(*node.torrents().last().unwrap()).await;
    }
    // What lies there already is compared, too.
    std::fs::write(yard.at("to/x"), &body).unwrap();
    let error = run(&node, get([7; 32])).await.unwrap_err();
    assert!(error.contains("exists and is something else"), "{error}");
    assert!(run(&node, get(Sha256::digest(&body))).await.is_ok());
    node.shutdown().await;
}

#[tokio::test]
async fn it_is_complete_when_it_has_its_name() {
    let yard = Yard::new();
    let body = vec![7; 64 << 20];
    let site = {
        let body = body.clone();
        Site::open(move |ask| Reply::ranged(ask, &body, Some("\"1\"")))
    };
    let node = node(&yard.at("n")).await;
    let whole = Some(WholeDigest::Sha256(Sha256::digest(&body)));
    let plan = Plan { whole, ..plan(&body, 1 << 20) };
    let id = node.add(add(plan, &yard.at("to"), vec![Server::whole(site.url("/x"))])).await.unwrap();
    let path = loop {
        if let Some(Event::Complete { path }) = node.outcome(id) {
            break path;
        }
        tokio::task::yield_now().await;
    };
    assert!(path.exists() && path == yard.at("to/x"));
    node.shutdown().await;
}

#[tokio::test]
async fn what_was_recorded_before_a_kill_counts_in_place_too() {
    let yard = Yard::new();
    let body = bytes(1_000_000);
    for (name, plan) in [("plain", plan(&body, 1 << 20)), ("checked", checked(&body, 1 << 20))] {
        let site = {
            let body = body.clone();
            // Half of it comes, and then nothing.
            Site::open(move |ask| match ask.range() {
                None => Reply { endless: true, ..Reply::whole(&body[..500_000]) }.with("ETag", "\"1\""),
                Some(_) => Reply::status(503).with("Retry-After", "500"),
            })
        };
        let get = |url: String| {
            let target = Target::Get { dir: yard.at(name), in_place: true };
            let what = What::Plain(Plain::new(plan.clone(), "1"));
            Add { servers: vec![Server::whole(url)], ..Add::new(what, target) }
        };
        let first = node(&yard.at("n")).await;
        first.add(get(site.url("/x"))).await.unwrap();
        let blocks = 500_000 / (16 << 10);
        let recorded = async {
            loop {
                let saved = first.inner.store.load(&[yard.at(name).join("x")]).await.unwrap();
                let count = |s: &crate::state::Saved| s.partial.iter().map(|(_, b)| b.count()).sum::<u32>();
                if saved.values().map(count).sum::<u32>() >= blocks {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(LIMIT, recorded).await.expect("it is recorded");
        drop(first);
        let whole = {
            let body = body.clone();
            Site::open(move |ask| Reply::ranged(ask, &body, Some("\"1\"")))
        };
        let second = node(&yard.at("n")).await;
        run(&second, get(whole.url("/x"))).await.unwrap();
        assert!(std::fs::read(yard.at(name).join("x")).unwrap() == body);
        let status = second.status(second.torrents()[0]).await.unwrap().torrent;
        assert!(status.downloaded <= 1_000_000 - u64::from(blocks) * (16 << 10), "{name}: {status:?}");
        second.shutdown().await;
    }
}

#[test]
fn a_mirror_that_is_a_web_seed_too_is_one_server() {
    let yard = Yard::new();
    std::fs::create_dir_all(yard.at("from")).unwrap();
    std::fs::write(yard.at("from/x y"), bytes(100_000)).unwrap();
    let options = CreateOptions { threads: 1, ..Default::default() };
    let mut m = create(&yard.at("from/x y"), &options, &Meter::default(), |_| {}).unwrap().metainfo;
    m.web_seeds = ["http://h/x%20y", "http://h/", "http://g/"].map(str::to_owned).into();
    let mirrors = ["http://h/x%20y", "http://m/x", "http://m/x"].map(|url| Server::whole(url.to_owned()));
    let add = Add { servers: mirrors.into(), told_by: Scope::Loopback, ..get(&m, &yard.at("to"), &[]) };
    let torrent = super::super::torrent::Torrent::new(TorrentId(0), &add);
    let names: Vec<String> = torrent.sources().into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["http://h/x%20y", "http://m/x", "http://g/"]);
}
