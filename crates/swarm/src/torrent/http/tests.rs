//! A torrent that fetches from servers, which send at their rates in virtual time, and fail in every way that servers know.

mod world;

use super::super::*;
use crate::{HttpState, NewPeer, Resume, StreamError};
use base::{BLOCK_SIZE, ConnId, PeerId};
use std::collections::VecDeque;
use wire::handshake::Reserved;
use wire::message::{Message, block_header};
use world::{MIB, PIECE, Server, World, folder, server};

#[test]
fn one_server_sends_everything_once_in_one_stream() {
    // The end is no whole piece and no whole block.
    let mut world = World::opened(8 * MIB + 100_001, vec![server(8 * MIB)]);
    let secs = world.run(2.0);
    assert!(secs < 1.1, "{secs}");
    assert_eq!((world.servers[0].streams, world.sent()), (1, world.total));
    let status = world.torrent.status(world.now);
    assert_eq!((status.downloaded, status.wasted), (world.total, 0));
    let sources = world.torrent.sources();
    assert_eq!(sources.iter().map(|s| s.bytes).collect::<Vec<_>>(), [world.total]);
}

#[test]
fn four_servers_are_all_in_use_until_the_end() {
    let mut world = World::opened(64 * MIB, vec![server(4 * MIB); 4]);
    let secs = world.run(10.0);
    let rate = 64.0 / secs / 4.0;
    assert!(rate >= 3.8, "{rate} times one of them");
    assert!(world.sent() < world.total + world.total / 50, "{} sent for {}", world.sent(), world.total);
    assert!(world.servers.iter().all(|s| s.most_lanes <= 4 && s.sent > 14 * MIB));
}

#[test]
fn one_of_four_dies_half_way() {
    let mut servers = vec![server(4 * MIB); 4];
    servers[1].dies_at = Some(2.0);
    let mut world = World::opened(64 * MIB, servers);
    let rate = 64.0 / world.run(10.0) / 4.0;
    assert!(rate >= 3.1, "{rate} times one of them");
    // One that hangs is found out later, and holds up nothing but what it has claimed.
    let mut servers = vec![server(4 * MIB); 4];
    servers[1].hangs_at = Some(2.0);
    let mut world = World::opened(64 * MIB, servers);
    let rate = 64.0 / world.run(10.0) / 4.0;
    assert!(rate >= 3.1, "{rate} times one of them");
}

#[test]
fn a_split_file_with_two_replicas_of_each_part_outlives_a_server() {
    // Sixteen parts of 4 MiB, each on two of four servers.
    let part = |i: u64| (i * 4 * MIB, 4 * MIB);
    let parts = |s: u64| (0..16).filter(|i| i % 4 == s || (i + 1 + i / 4 % 3) % 4 == s).map(part).collect::<Vec<_>>();
    let servers: Vec<Server> = (0..4).map(|s| Server { parts: parts(s), ..server(4 * MIB) }).collect();
    let mut world = World::opened(64 * MIB, servers.clone());
    let rate = 64.0 / world.run(10.0) / 4.0;
    assert!(rate >= 3.7, "{rate} times one of them");
    let mut broken = servers;
    broken[2].dies_at = Some(2.0);
    let mut world = World::opened(64 * MIB, broken);
    let rate = 64.0 / world.run(10.0) / 4.0;
    assert!(rate >= 2.9, "{rate} times one of them");
}

#[test]
fn a_slow_server_holds_up_nobody() {
    let mut world = World::opened(32 * MIB, vec![server(8 * MIB), server(MIB / 16)]);
    let secs = world.run(6.0);
    assert!(secs < 4.3, "{secs}");
}

#[test]
fn a_liar_is_found_out_and_all_it_sent_is_fetched_again() {
    let mut servers = vec![server(4 * MIB); 3];
    servers[1].liar = true;
    let mut world = World::opened(24 * MIB, servers);
    world.run(10.0);
    assert_eq!(world.dropped(), ["http://1/"]);
    let status = &world.torrent.servers(world.now)[1];
    assert!(matches!(&status.state, HttpState::Dropped { why } if why.contains("bad data")), "{status:?}");
    assert_eq!(status.bytes, 0);
}

#[test]
fn a_server_that_knows_no_ranges_is_read_from_the_beginning() {
    let mut world = World::new(8 * MIB, vec![Server { no_ranges: true, ..server(4 * MIB) }]);
    // A quarter of it is there already.
    let mut have = Bitfield::new(32);
    for i in 0..8 {
        have.set(i);
    }
    world.open(Resume { have: Some(have), ..Resume::default() });
    world.run(4.0);
    assert_eq!((world.servers[0].streams, world.sent()), (2, 8 * MIB));
    assert_eq!(world.torrent.status(world.now).wasted, 2 * MIB);
    // Another one that knows them makes it shorter.
    let mut world = World::opened(8 * MIB, vec![Server { no_ranges: true, ..server(4 * MIB) }, server(4 * MIB)]);
    let secs = world.run(4.0);
    assert!(secs < 1.2, "{secs}");
}

#[test]
fn a_server_without_ranges_is_read_from_the_beginning_of_each_part_or_file() {
    // Every second part is there already, and another server has the rest, slowly.
    let parts: Vec<(u64, u64)> = (1..8).map(|i| (i * MIB, MIB)).collect();
    let simple = Server { no_ranges: true, parts, ..server(4 * MIB) };
    let mut world = World::opened(8 * MIB, vec![simple.clone(), server(MIB)]);
    let secs = world.run(4.0);
    assert!(secs < 2.5 && world.dropped().is_empty(), "{secs}");
    assert!(world.servers[0].sent > 5 * MIB && world.sent() < 10 * MIB, "{}", world.servers[0].sent);
    // Files that begin within a block.
    let mut world = World::new(8 * MIB, vec![Server { parts: Vec::new(), ..simple }]);
    world.plan = folder(&world.plan, &[MIB + 5, 3, 4 * MIB - 8, 7, 3 * MIB - 7]);
    let mut have = Bitfield::full(32);
    for i in [2, 3, 4, 15, 31] {
        have.clear(i);
    }
    world.open(Resume { have: Some(have), ..Resume::default() });
    world.run(4.0);
    assert!(world.dropped().is_empty() && world.sent() < 8 * MIB, "{}", world.sent());
}

#[test]
fn who_sends_what_was_not_asked_for_or_lacks_it_again_is_left() {
    let world = |faulty: Server| {
        let mut world = World::new(4 * PIECE, vec![faulty, server(MIB / 8)]);
        world.plan = folder(&world.plan, &[PIECE + 5, PIECE - 5, 2 * PIECE]);
        world.open(Resume::default());
        world.run(12.0);
        assert!(world.servers[0].streams <= 4, "asked {} times", world.servers[0].streams);
        world
    };
    let never = world(Server { answer: Some(StreamError::NoRanges), ..server(MIB) });
    assert_eq!(never.dropped(), ["http://0/"]);
    // What lacks a file has the others, even if it begins at the beginning of each.
    let lacks = world(Server { no_ranges: true, lacks: Some(PIECE + 5), ..server(MIB) });
    assert!(lacks.dropped().is_empty() && lacks.servers[0].sent >= 3 * PIECE, "{}", lacks.servers[0].sent);
    let other = world(Server { no_ranges: true, lacks: Some(0), ..server(MIB) });
    assert!(other.servers[0].sent >= 2 * PIECE, "{}", other.servers[0].sent);
}

#[test]
fn who_lacks_one_file_after_the_other_is_asked_slowly() {
    let gone = Server { lacks_all: true, ..server(MIB) };
    let mut world = World::new(1000 * PIECE, vec![gone, server(50 * MIB)]);
    world.plan = folder(&world.plan, &[PIECE; 1000]);
    world.open(Resume::default());
    let secs = world.run(10.0);
    assert!(world.servers[0].streams <= 3 + secs as u32, "asked {} times in {secs}", world.servers[0].streams);
    // What it has behind those is still asked for.
    let mut have = Bitfield::full(1000);
    for piece in [0, 10, 20, 30, 40] {
        have.clear(piece);
    }
    let mut world = World::new(1000 * PIECE, vec![Server { lacks_all: true, ..server(MIB) }]);
    world.plan = folder(&world.plan, &[PIECE; 1000]);
    world.open(Resume { have: Some(have), ..Resume::default() });
    while world.servers[0].streams < 4 {
        world.step();
    }
    world.servers[0].lacks_all = false;
    while world.torrent.have().unwrap().count() < 996 {
        world.step();
        assert!(world.secs() < 5.0, "{:?}", world.torrent.servers(world.now));
    }
}

#[test]
fn what_breaks_all_lanes_is_one_failure() {
    let blip = Server { lane_rate: MIB, dies_at: Some(15.0), lives_again_at: Some(15.5), ..server(100 * MIB) };
    let mut world = World::opened(128 * MIB, vec![blip]);
    while world.secs() < 15.3 {
        world.step();
    }
    assert_eq!((world.servers[0].most_lanes, world.flows.len()), (4, 0));
    while world.secs() < 16.2 {
        world.step();
    }
    assert_eq!(world.flows.len(), 4, "all of them again after a second");
}

#[test]
fn who_is_held_back_is_not_silent() {
    // The disk stands still, or there is no credit.
    let held = Server { hangs_at: Some(1.0), lives_again_at: Some(100.0), ..server(MIB) };
    let mut world = World::opened(4 * MIB, vec![held]);
    world.run(110.0);
    assert_eq!((world.servers[0].streams, world.sent()), (1, 4 * MIB));
    assert_eq!(world.torrent.servers(world.now)[0].trouble, None);
}

#[test]
fn a_stream_from_the_beginning_ends_where_the_last_of_it_is_wanted() {
    let lens = [32 * MIB, MIB];
    let pieces = (33 * MIB / PIECE) as u32;
    let last_of_a = (32 * MIB / PIECE) as u32 - 1;
    let begin = |servers: Vec<Server>, missing: &[u32]| {
        let mut world = World::new(33 * MIB, servers);
        world.plan = folder(&world.plan, &lens);
        let mut have = Bitfield::full(pieces);
        for piece in missing.iter().chain(&[last_of_a + 2]) {
            have.clear(*piece);
        }
        world.open(Resume { have: Some(have), ..Resume::default() });
        world
    };
    let simple = Server { no_ranges: true, ..server(4 * MIB) };
    let mut world = begin(vec![simple.clone()], &[1]);
    world.run(3.0);
    assert!(world.sent() <= 5 * PIECE, "{}", world.sent());
    // Or where somebody else had the rest.
    let tail = Server { parts: vec![(31 * MIB, MIB)], ..server(MIB) };
    let mut world = begin(vec![simple, tail], &[1, last_of_a]);
    world.run(3.0);
    assert!(world.servers[0].sent <= 4 * MIB, "{}", world.servers[0].sent);
}

#[test]
fn without_a_server_it_ends_and_says_why() {
    let wrong = StreamError::Wrong { why: "it has 5 bytes".into() };
    let parts = vec![(0, 4 * MIB)];
    let servers = vec![Server { answer: Some(wrong), ..server(MIB) }, Server { parts, ..server(4 * MIB) }];
    let mut world = World::opened(8 * MIB, servers);
    let stopped = |world: &World| world.events.iter().find(|e| matches!(e, Event::Stopped { .. })).cloned();
    // What one of them has is fetched first.
    while stopped(&world).is_none() {
        world.step();
        assert!(world.secs() < 10.0, "it goes on");
    }
    assert_eq!(world.torrent.have().unwrap().count(), 16);
    let Some(Event::Stopped { error }) = stopped(&world) else { unreachable!() };
    assert!(error.contains("http://0/: it has 5 bytes") && error.contains("and 1 more"), "{error}");
    // One that waits may come back.
    let broken = StreamError::Broken { why: "refused".into() };
    let mut world = World::opened(
        MIB,
        vec![Server { answer: Some(broken), ..server(MIB) }, Server { dies_at: Some(0.1), ..server(MIB) }],
    );
    world.handle(Input::DropServer { id: 1, why: "stale".into() });
    (0..500).for_each(|_| world.step());
    assert_eq!(stopped(&world), None);
    let mut other = World::opened(MIB, vec![Server { dies_at: Some(0.0), ..server(MIB) }]);
    world.handle(Input::DropServer { id: 0, why: "stale".into() });
    assert!(stopped(&world).is_some());
    // One that has never answered does not for ever; one that has is waited for.
    (0..3_000).for_each(|_| other.step());
    let Some(Event::Stopped { error }) = stopped(&other) else { panic!("it waits") };
    assert!(error.contains("http://0/: refused"), "{error}");
    let mut other = World::opened(MIB, vec![Server { dies_at: Some(0.5), ..server(MIB) }]);
    (0..3_000).for_each(|_| other.step());
    assert_eq!(stopped(&other), None);
}

#[test]
fn servers_that_refuse_wait_or_are_left() {
    let why = || "no".to_owned();
    let answers = [
        StreamError::Missing { at: 0, why: why() },
        StreamError::Wrong { why: why() },
        StreamError::Busy { seconds: 100, why: why() },
        StreamError::Broken { why: why() },
    ];
    let mut servers: Vec<Server> = answers.map(|a| Server { answer: Some(a), ..server(MIB) }).into();
    servers.push(server(MIB));
    let mut world = World::opened(24 * MIB, servers);
    world.run(30.0);
    assert_eq!(world.dropped(), ["http://0/", "http://1/"]);
    let asked: Vec<u32> = world.servers.iter().map(|s| s.streams).collect();
    assert_eq!(asked[..3], [1, 1, 1]);
    // After 1, 2, 4 and 8 seconds.
    assert!((4..7).contains(&asked[3]), "asked {} times", asked[3]);
    let states: Vec<bool> =
        world.torrent.servers(world.now).iter().map(|s| matches!(s.state, HttpState::Waits { .. })).collect();
    assert_eq!(states, [false, false, true, true, false]);
}

#[test]
fn a_server_that_comes_back_is_used_again() {
    let servers = vec![Server { dies_at: Some(0.5), lives_again_at: Some(3.0), ..server(2 * MIB) }];
    let secs = World::opened(4 * MIB, servers).run(10.0);
    assert!((4.0..6.5).contains(&secs), "{secs}");
}

#[test]
fn more_lanes_where_they_help_and_only_there() {
    let mut world = World::opened(64 * MIB, vec![Server { lane_rate: MIB, ..server(100 * MIB) }]);
    let secs = world.run(60.0);
    assert_eq!(world.servers[0].most_lanes, 4);
    assert!(secs < 25.0, "{secs}");
    let mut world = World::opened(64 * MIB, vec![server(2 * MIB)]);
    let secs = world.run(60.0);
    assert!(world.servers[0].most_lanes <= 2 && secs < 33.0, "{} lanes, {secs}", world.servers[0].most_lanes);
    assert!(world.sent() < world.total + MIB);
}

#[test]
fn in_order_means_in_order() {
    let mut world = World::new(16 * MIB, vec![server(4 * MIB); 2]);
    world.open(Resume::default());
    world.handle(Input::Sequential(true));
    let mut ahead = 0;
    while !world.events.contains(&Event::Complete) {
        world.step();
        let have = world.torrent.have().unwrap();
        let first = have.zeros().next().unwrap_or(have.len());
        let last = have.ones().last().map_or(0, |l| l + 1);
        ahead = ahead.max(last.saturating_sub(first));
        assert!(world.secs() < 10.0);
    }
    assert!(u64::from(ahead) * PIECE <= 12 * MIB, "{ahead} pieces ahead");
}

#[test]
fn what_somebody_waits_for_comes_first() {
    let mut world = World::opened(64 * MIB, vec![server(4 * MIB)]);
    (0..20).for_each(|_| world.step());
    let pieces = world.torrent.have().unwrap().len();
    let window = |from: u32| (from..from + 8).map(base::PieceIndex).collect::<Vec<_>>();
    let misses = |world: &World, from: u32| (from..from + 8).any(|piece| !world.torrent.have().unwrap().has(piece));
    for from in [pieces - 20, pieces / 2] {
        let before = (world.secs(), world.torrent.have().unwrap().count());
        world.handle(Input::First(window(from)));
        while misses(&world, from) {
            world.step();
            assert!(world.secs() < before.0 + 4.0, "eight pieces take less than all before them");
        }
        let others = world.torrent.have().unwrap().count() - before.1 - 8;
        assert!(u64::from(others) * PIECE <= 4 * MIB, "{others} others came before");
    }
    // Nonsense does no harm, and nothing is forgotten.
    world.handle(Input::First(vec![base::PieceIndex(u32::MAX); 3000]));
    world.handle(Input::First(Vec::new()));
    world.run(30.0);
}

#[test]
fn pausing_ends_streams_and_stray_bytes_are_ignored() {
    let mut world = World::opened(8 * MIB, vec![server(4 * MIB)]);
    (0..50).for_each(|_| world.step());
    world.handle(Input::Pause);
    assert!(world.flows.is_empty());
    world.handle(Input::Streamed { stream: 0, data: vec![5; 100] });
    world.handle(Input::StreamEnded { stream: 7, end: Ok(()) });
    world.handle(Input::Resume);
    world.run(4.0);
}

#[test]
fn a_stream_that_is_too_long_or_too_short_does_no_harm() {
    let mut world = World::opened(MIB, vec![server(MIB)]);
    let stream = *world.flows.keys().next().unwrap();
    world.handle(Input::Streamed { stream, data: vec![5; 3 * MIB as usize] });
    world.handle(Input::StreamEnded { stream, end: Ok(()) });
    world.flows.clear();
    world.run(1.0);
    let mut world = World::opened(MIB, vec![server(MIB)]);
    let stream = *world.flows.keys().next().unwrap();
    world.handle(Input::Streamed { stream, data: vec![5; 100_000] });
    world.flows.clear();
    world.handle(Input::StreamEnded { stream, end: Ok(()) });
    let secs = world.run(4.0);
    assert!(secs > 1.0, "it waited a second before it asked again: {secs}");
}

#[test]
fn a_server_that_is_dropped_by_the_hands_is_not_asked_again() {
    let mut world = World::opened(8 * MIB, vec![server(2 * MIB); 2]);
    (0..20).for_each(|_| world.step());
    world.handle(Input::DropServer { id: 0, why: "stale".into() });
    let sent = world.servers[0].sent;
    world.run(5.0);
    assert_eq!(world.servers[0].sent, sent);
    assert_eq!(world.dropped(), ["http://0/"]);
}

#[test]
fn a_missing_file_of_a_folder_leaves_the_others() {
    let mut world = World::new(4 * PIECE, vec![server(MIB), server(MIB / 8)]);
    world.plan = folder(&world.plan, &[PIECE; 4]);
    world.servers[0].answer = Some(StreamError::Missing { at: PIECE, why: "404".into() });
    world.open(Resume::default());
    world.step();
    world.servers[0].answer = None;
    world.run(10.0);
    assert!(world.dropped().is_empty());
    assert!(world.servers[0].sent >= 2 * PIECE && world.servers[1].sent >= PIECE);
}

#[test]
fn peers_and_servers_share_the_work() {
    let mut world = World::opened(8 * MIB, vec![server(2 * MIB)]);
    let conn = ConnId(9);
    world.handle(Input::Peer(NewPeer {
        conn,
        addr: SocketAddr::from(([10, 0, 0, 9], 6881)),
        peer_id: PeerId([9; 20]),
        reserved: Reserved::NONE,
        outgoing: false,
        unsent: Vec::new(),
    }));
    let hear = |world: &mut World, message: &Message| {
        let mut data = Vec::new();
        wire::message::encode(message, &mut data);
        world.handle(Input::Received { conn, data });
    };
    hear(&mut world, &Message::Bitfield(Bitfield::full(32).as_bytes().into()));
    hear(&mut world, &Message::Unchoke);
    let mut decoder = wire::message::Decoder::new(wire::message::Limits::default());
    let (mut asked, mut gave) = (VecDeque::new(), 0);
    while !world.events.contains(&Event::Complete) {
        world.step();
        let mut out = crate::Transmit::default();
        world.torrent.poll_transmit(world.now, conn, usize::MAX, u64::MAX, &mut out);
        for segment in out.segments {
            if let crate::Segment::Bytes(b) = segment {
                decoder.feed(b);
            }
        }
        while let Some(event) = decoder.poll().unwrap() {
            match event {
                wire::message::Event::Message(Message::Request { piece, begin, len }) => {
                    asked.push_back((piece, begin, len))
                }
                wire::message::Event::Message(Message::Cancel { piece, begin, len }) => {
                    asked.retain(|a| *a != (piece, begin, len));
                }
                _ => {}
            }
        }
        // As fast as the server: a block and a quarter a step.
        gave += 20 * 1024;
        while let Some((piece, begin, len)) = asked.front().copied().filter(|_| gave >= BLOCK_SIZE) {
            asked.pop_front();
            gave -= BLOCK_SIZE;
            let mut data = block_header(piece, begin, len).to_vec();
            data.resize(data.len() + len as usize, 5);
            world.handle(Input::Received { conn, data });
        }
        gave = gave.min(2 * BLOCK_SIZE);
        assert!(world.secs() < 4.0);
    }
    let secs = world.secs();
    assert!(secs < 2.6, "{secs}");
    assert_eq!(world.torrent.sources().len(), 2);
    assert!(world.torrent.sources().iter().all(|s| s.bytes > 2 * MIB), "{:?}", world.torrent.sources());
}
