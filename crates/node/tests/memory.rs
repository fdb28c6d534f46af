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

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const TORRENTS: usize = 1_000;
/// Bytes that one of them may hold, in the node and in its engine.
const BYTES_MAX: usize = 2_800;

fn add((metainfo, path): &(Vec<u8>, PathBuf)) -> Add {
    let metainfo = Metainfo::parse(metainfo).expect("as made");
    Add::new(What::Torrent(Box::new(metainfo)), Target::Seed { path: path.clone() })
}

/// Bytes that a node has on its heap when all these are seeded and nothing happens.
async fn idle(data: &Path, torrents: &[(Vec<u8>, PathBuf)]) -> usize {
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
    let change = region.change();
    node.shutdown().await;
    usize::try_from(change.bytes_allocated as i64 - change.bytes_deallocated as i64).unwrap_or(0)
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
    let costs = [1, TORRENTS, 1, TORRENTS].map(|n| {
        let data = dir.path().join(format!("state-{n}"));
        runtime.block_on(idle(&data, &torrents[..n]))
    });
    let each = |i: usize| costs[i + 1].saturating_sub(costs[i]) / (TORRENTS - 1);
    println!("bytes each: {} when new, {} from the saved state", each(0), each(2));
    assert!(each(0) <= BYTES_MAX && each(2) <= BYTES_MAX, "{costs:?}");
}
