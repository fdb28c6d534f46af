//! What idle costs. Ten thousand engines must fit into one lab, and five thousand torrents into one node, so a torrent
//! with 50 idle sessions may cost 40 KiB, what several share (plan, info dictionary) not counted. And a node may have thousands
//! of idle connections: each costs less than 1 KiB here, and they ask for next to no attention.
//!
//! The allocator counts for the whole process, so this file holds one test and nothing else.

use base::{ConnId, InfoHash, Instant, PeerId, Rng, TorrentId};
use engine::{ACCEPTED, AddTorrent, Command, Engine, Input, Output};
use lab::{Payload, WorldSpec};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use std::alloc::System;
use std::sync::Arc;
use swarm::Resume;
use wire::{Handshake, Message, Reserved, encode};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const SESSIONS: u64 = 50;
const ENGINES: u64 = 20;
/// Sessions of a node that many are connected to.
const CROWD: u64 = 2_000;
const TORRENT: TorrentId = TorrentId(1);

/// What a peer with half of the pieces says when it comes, and then nothing more.
fn greeting(spec: &WorldSpec, number: u64) -> Vec<u8> {
    let mut peer_id = *b"-XX0001-000000000000";
    peer_id[8..16].copy_from_slice(&number.to_be_bytes());
    let reserved = Reserved::NONE.with_fast().with_extended();
    let info_hash = spec.hashes.v1.unwrap_or(InfoHash([0; 20]));
    let mut bytes = Handshake { reserved, info_hash, peer_id: PeerId(peer_id) }.encode().to_vec();
    let pieces = spec.plan.geometry.piece_count();
    let mut have = base::Bitfield::new(pieces);
    (0..pieces / 2).for_each(|p| {
        have.set(p * 2);
    });
    encode(&Message::Bitfield(have.as_bytes().into()), &mut bytes);
    let hello = b"d1:md11:ut_metadatai2e6:ut_pexi1ee4:reqqi250e1:v10:Example1.0e".to_vec();
    encode(&Message::Extended { id: 0, payload: hello.into() }, &mut bytes);
    bytes
}

/// Does what an engine says, as far as it matters to one that is left alone. Says how many connections it closed.
fn drain(engine: &mut Engine<Payload>, now: Instant) -> u64 {
    let mut closed = 0;
    let mut transmit = engine::Transmit::default();
    while let Some(output) = engine.poll() {
        match output {
            Output::Wake { conn } => loop {
                transmit.segments.clear();
                transmit.bytes = 0;
                engine.poll_transmit(now, conn, 1 << 14, &mut transmit);
                if transmit.is_empty() {
                    break;
                }
            },
            Output::Close { .. } => closed += 1,
            _ => {}
        }
    }
    closed
}

/// A seed with idle sessions, after some minutes, and how often it was looked at.
fn idle(spec: &WorldSpec, sessions: u64) -> (Engine<Payload>, u32) {
    let mut now = Instant::ZERO;
    let mut config = engine::Config::default();
    config.torrent_connections_max = config.torrent_connections_max.max(sessions as usize);
    config.connections_max = config.connections_max.max(sessions as usize);
    let mut engine = Engine::new(now, config, Rng::from_seed(1));
    let add = AddTorrent { hashes: spec.hashes, info: Some(Arc::clone(&spec.info)), ..AddTorrent::default() };
    let have = Some(base::Bitfield::full(spec.plan.geometry.piece_count()));
    let open = Command::Open {
        plan: Arc::clone(&spec.plan),
        resume: Resume { have, ..Resume::default() },
        priorities: Vec::new(),
    };
    engine.handle(now, Input::Add(TORRENT, Box::new(add)));
    drain(&mut engine, now);
    engine.handle(now, Input::Command(TORRENT, open));
    drain(&mut engine, now);
    for number in 0..sessions {
        let conn = ConnId(ACCEPTED + number);
        let from = ([10, 0, (number / 250) as u8, (number % 250) as u8 + 1], 50_000).into();
        engine.handle(now, Input::Accepted { conn, from });
        drain(&mut engine, now);
        engine.handle(now, Input::Received { conn, data: Payload::real(greeting(spec, number)) });
        assert_eq!(drain(&mut engine, now), 0, "nobody is sent away");
    }
    // Until keep-alives have been said, and short of the time at which silence counts as absence.
    let end = Instant::from_secs(150);
    let mut looks = 0;
    while let Some(at) = engine.deadline().filter(|at| *at <= end) {
        now = at;
        looks += 1;
        engine.handle(now, Input::Tick);
        assert_eq!(drain(&mut engine, now), 0, "nobody is sent away at {now:?}");
    }
    assert_eq!(engine.peers(now, TORRENT).len() as u64, sessions);
    (engine, looks)
}

/// Bytes that each of some engines holds when it is left alone with so many sessions.
fn cost(spec: &WorldSpec, engines: u64, sessions: u64) -> u64 {
    let region = Region::new(ALLOCATOR);
    let all: Vec<_> = (0..engines).map(|_| Box::new(idle(spec, sessions))).collect();
    let change = region.change();
    let looks = all.iter().map(|all| all.1).max().unwrap_or_default();
    assert!(looks <= 30, "{looks} deadlines in 150 s with {sessions} idle sessions");
    drop(all);
    (change.bytes_allocated - change.bytes_deallocated) as u64 / engines
}

#[test]
fn an_idle_torrent_with_fifty_sessions_fits_into_forty_kib() {
    let spec = WorldSpec::new(1, 400, 256 << 10, 16 << 10).expect("valid");
    let (alone, busy) = (cost(&spec, ENGINES, 0), cost(&spec, ENGINES, SESSIONS));
    println!(
        "engine and torrent: {alone} bytes; with {SESSIONS} sessions: {busy} bytes, {} each",
        (busy - alone) / SESSIONS
    );
    assert!(busy <= 40 << 10, "{busy} bytes with {SESSIONS} idle sessions, {alone} without");
    let each = (cost(&spec, 1, CROWD) - alone) / CROWD;
    println!("with {CROWD} sessions: {each} bytes each");
    assert!(each <= 1 << 10, "{each} bytes for each of {CROWD} idle sessions");
}
