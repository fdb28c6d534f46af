//! What a torrent costs that is seeded to nobody: thousands of them must fit into one node.
//!
//! The allocator counts for the whole process, so this file holds one test and nothing else. It does not see what SQLite
//! holds, which does not grow with the torrents.

use base::Metainfo;
use base::metainfo::create::Format;
use node::create::{CreateOptions, create};
use node::disk::check::Meter;
use node::{Add, Event, Listen, Node, NodeConfig, Target, What};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TORRENTS: usize = 1_000;
/// Bytes that one of them may hold, in the node and in its engine.
const BYTES_MAX: usize = 2_800;

fn add((metainfo, path): &(Vec<u8>, PathBuf)) -> Add {
    let metainfo = Metainfo::parse(metainfo).expect("as made");
    Add::new(What::Torrent(Box::new(metainfo)), Target::Seed { path: path.clone() })
}

/// For so long what was needed to open and save them may linger.
const LIMIT: Duration = Duration::from_secs(20);

/// Bytes that a node has on its heap when all these are seeded and nothing happens: as soon as they are no more than `most`.
async fn idle(data: &Path, torrents: &[(Vec<u8>, PathBuf)], most: usize) -> usize {
    let region = Region::new(ALLOCATOR);
    let config = NodeConfig {
        data_dir: Some(data.to_owned()),
        listen: Listen::At("127.0.0.1:0".parse().expect("an address")),
        ..NodeConfig::default()
    };
    let node = Node::start(config).await.expect("it starts");
    let mut events = node.events();
    // A few at a time, so that nobody misses an event.
    for torrents in torrents.chunks(100) {
        assert!(node.add_all(torrents.iter().map(add).collect()).iter().all(Result::is_ok));
        let mut seeding = 0;
        while seeding < torrents.len() {
            match events.recv().await.expect("the node runs").event {
                Event::Complete { .. } => seeding += 1,
                Event::Failed { error } => panic!("{error}"),
                _ => {}
            }
        }
    }
    // The loop has taken all that it was told once it answers.
    assert_eq!(node.totals().await.peers, 0);
    let held = || {
        let change = region.change();
        usize::try_from(change.bytes_allocated as i64 - change.bytes_deallocated as i64).unwrap_or(0)
    };
    let settled = async {
        let mut looks = tokio::time::interval(Duration::from_millis(20));
        while held() > most {
            looks.tick().await;
        }
    };
    // If it does not come down, what is said is what it is then.
    let _ = tokio::time::timeout(LIMIT, settled).await;
    let bytes = held();
    node.shutdown().await;
    bytes
}

#[test]
fn an_idle_seed_is_small() {
    let dir = tempfile::tempdir().expect("a folder");
    let one = |i: usize| {
        let path = dir.path().join(format!("file-{i}"));
        std::fs::write(&path, vec![i as u8; 16 << 10]).expect("written");
        let options = CreateOptions { format: Format::V1, threads: 1, ..Default::default() };
        let made = create(&path, &options, &Meter::default(), |_| {}).expect("made");
        (made.metainfo.encode(), path)
    };
    let torrents: Vec<_> = (0..TORRENTS).map(one).collect();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("it starts");
    let cost = |n: usize, most| {
        let data = dir.path().join(format!("state-{n}"));
        runtime.block_on(idle(&data, &torrents[..n], most))
    };
    for what in ["when new", "from the saved state"] {
        let one = cost(1, usize::MAX);
        let more = cost(TORRENTS, one + BYTES_MAX * (TORRENTS - 1)).saturating_sub(one);
        let each = more / (TORRENTS - 1);
        println!("{each} bytes each {what}");
        assert!(each <= BYTES_MAX, "{each} bytes each {what}");
    }
}
