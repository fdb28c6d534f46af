//! Ten thousand peers in one process: what their engines, with the torrent open, and all of the world around them hold before
//! they exchange anything; and what a peer of a smaller world holds once it is connected to fifty others. "Held" is what the
//! allocator has given and not got back.
//!
//! The allocator counts for the whole process, so this file holds one test and nothing else.

use base::Instant;
use lab::{Discovery, LinkSpec, PeerSpec, TORRENT, World, WorldSpec};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PEERS: usize = 10_000;
const BYTES_MAX: usize = 400 << 20;
const CONNECTED: usize = 300;
/// For each of them, of which the engine has 40 KiB (see `memory.rs`).
const CONNECTED_BYTES_MAX: usize = 64 << 10;

/// Leechers without a seed: they have nothing to exchange.
fn world(peers: usize, discovery: Discovery) -> World {
    let mut spec = WorldSpec::new(1, 400, 256 << 10, 256 << 10).expect("valid");
    spec.watch = false;
    spec.invariants_every = 0;
    spec.discovery = discovery;
    let link = LinkSpec { up: 150_000, down: 400_000, latency: Duration::from_millis(20) };
    World::new(spec, (0..peers).map(|_| PeerSpec::leecher(link)).collect())
}

fn held(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change.bytes_allocated - change.bytes_deallocated
}

#[test]
fn ten_thousand_engines_fit_into_400_mib() {
    let region = Region::new(ALLOCATOR);
    let mut all = world(PEERS, Discovery::Known);
    all.run_to(Instant::from_secs(10)).unwrap_or_else(|violation| panic!("{violation}"));
    let bytes = held(&region);
    println!("{PEERS} peers hold {} MiB, {} bytes each", bytes >> 20, bytes / PEERS);
    let ready = (0..PEERS).filter_map(|ix| all.engine(ix)?.have(TORRENT)).filter(|have| have.len() == 400);
    assert_eq!(ready.count(), PEERS, "all engines are up, and have the torrent open");
    assert!(bytes <= BYTES_MAX, "{} MiB", bytes >> 20);
    drop(all);

    let region = Region::new(ALLOCATOR);
    let mut met = world(CONNECTED, Discovery::Told(50));
    met.run_to(Instant::from_secs(10)).unwrap_or_else(|violation| panic!("{violation}"));
    let bytes = held(&region);
    let connections: usize = (0..CONNECTED).map(|ix| met.connections(ix)).sum();
    println!("{CONNECTED} peers with {connections} ends of connections hold {} bytes each", bytes / CONNECTED);
    assert!(connections >= 45 * CONNECTED, "{connections} ends of connections");
    assert!(bytes <= CONNECTED * CONNECTED_BYTES_MAX, "{} bytes each", bytes / CONNECTED);
}
