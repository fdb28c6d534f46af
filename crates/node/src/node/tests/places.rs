//! Several downloads and one name.

use super::site::{Reply, Site};
use super::*;
use crate::http::Server;
use base::{Checks, Geometry, Layout, Plan};

/// A file of a server, of which nothing is known but its length.
fn plain(name: &str, len: usize, version: &str) -> What {
    let geometry = Geometry::new(len as u64, 64 << 10, 16 << 10).unwrap();
    let plan = Plan::new(geometry, Layout::single(name.into(), len as u64, false), Checks::default());
    What::Plain(Plain::new(plan, version))
}

#[tokio::test]
async fn two_downloads_of_one_name_do_not_mix() {
    let yard = Yard::new();
    let m = content(&yard.at("from"), Format::V1, 64 << 10);
    let node = node(&yard.at("n")).await;
    let body: Vec<u8> = (0..300_000u32).map(|i| ((i * 31) >> 3) as u8).collect();
    let site = {
        let body = body.clone();
        Site::open(move |ask| Reply::ranged(ask, &body, Some("\"1\"")).slowly(5))
    };
    let from = |name: &str, dir: &str, version: &str| {
        let target = Target::Get { dir: yard.at(dir), in_place: false };
        let servers = vec![Server::whole(site.url("/x"))];
        Add { servers, ..Add::new(plain(name, 300_000, version), target) }
    };
    let mut events = node.events();
    let first = node.add(from("tree", "to", "1")).await.unwrap();
    // Another version of the same URL; a torrent; and what would lie in its folder, or be written beside it.
    for add in [
        from("tree", "to", "2"),
        get(&m, &yard.at("to"), &[]),
        from("b", "to/tree/sub", "3"),
        from("tree.part", "to", "4"),
    ] {
        let error = run(&node, add).await.unwrap_err();
        assert!(error.contains("to/tree") && error.contains("the place of tree"), "{error}");
    }
    assert!(run(&node, from("other", "to", "5")).await.is_ok());
    assert_eq!(end(&mut events, first).await.unwrap(), yard.at("to/tree"));
    assert!(std::fs::read(yard.at("to/tree")).unwrap() == body);
    // Once it is gone, its name is free; and who failed keeps nothing.
    assert!(node.claim(&yard.at("to/tree"), false, "me").is_err());
    node.remove(first).await;
    drop(node.claim(&yard.at("to/tree"), false, "me").unwrap());
    node.shutdown().await;
}
