//! Ten thousand peers in one process: what their engines, and all of the world around them, hold before they exchange
//! anything. "Held" is what the allocator has given and not got back.
//!
//! The allocator counts for the whole process, so this file holds one test and nothing else.

use base::Instant;
use lab::{LinkSpec, PeerSpec, World, WorldSpec};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::time::Duration;

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const PEERS: usize = 10_000;
const BYTES_MAX: usize = 400 << 20;

/// Leechers without a seed: they connect, and have nothing to exchange.
fn world() -> World {
    let mut spec = WorldSpec::new(1, 400, 256 << 10, 256 << 10).expect("valid");
    spec.watch = false;
    spec.invariants_every = 0;
    let link = LinkSpec { up: 150_000, down: 400_000, latency: Duration::from_millis(20) };
    World::new(spec, (0..PEERS).map(|_| PeerSpec::leecher(link)).collect())
}

fn held(region: &Region<'_, System>) -> usize {
    let change = region.change();
    change.bytes_allocated - change.bytes_deallocated
}

#[test]
fn ten_thousand_engines_fit_into_400_mib() {
    let region = Region::new(ALLOCATOR);
    let mut world = world();
    world.run_to(Instant::ZERO).unwrap_or_else(|violation| panic!("{violation}"));
    let alone = held(&region);
    world.run_to(Instant::from_secs(10)).unwrap_or_else(|violation| panic!("{violation}"));
    let met = held(&region);
    let connections: usize = (0..PEERS).map(|ix| world.connections(ix)).sum();
    println!(
        "{PEERS} peers hold {} KiB each; {} KiB each with {:.1} connections each, after {} events",
        alone / PEERS >> 10,
        met / PEERS >> 10,
        connections as f64 / PEERS as f64,
        world.steps(),
    );
    assert!(world.stats().all(|(_, peer)| peer.started_at.is_some() && peer.received == 0));
    assert!(connections >= 40 * PEERS, "{connections} connections");
    assert!(met <= BYTES_MAX, "{} MiB", met >> 20);
}
