//! A few engines with real bytes, joined by an instant network and disks in memory. Everything that takes time, fails or
//! lies is tried in the lab; here, that the parts fit.

mod servers;

use super::*;
use base::{
    BLOCK_SIZE, Bitfield, Checks, ConnId, Geometry, InfoHash, InfoHashes, Instant, Layout, PeerId, PieceHasher,
    PieceIndex, Plan, Rng, TorrentId,
};
use sha1::{Digest, Sha1};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use swarm::disk::{DiskDone, DiskJob};
use swarm::{Event, Phase, Resume};

const T: TorrentId = TorrentId(1);
type Bytes = Vec<u8>;

struct Node {
    engine: Engine<Bytes>,
    addr: SocketAddr,
    plan: Option<Arc<Plan>>,
    disk: Bytes,
    /// Connections: ours to (node, theirs).
    links: BTreeMap<ConnId, (usize, ConnId)>,
    accepted: u64,
    rot: Option<u64>,
    events: Vec<TorrentEvent>,
    finished: bool,
}

struct World {
    now: Instant,
    nodes: Vec<Node>,
}

fn content(len: usize) -> Bytes {
    (0..len).map(|i| (i * 31 + i / 251) as u8).collect()
}

fn plan(data: &[u8], piece: usize) -> Arc<Plan> {
    let geometry = Geometry::new(data.len() as u64, piece as u64, BLOCK_SIZE).expect("valid");
    let sha1 = data.chunks(piece).map(|c| Sha1::digest(c).into()).collect();
    let checks = Checks { sha1: Some(sha1), ..Checks::default() };
    Arc::new(Plan::new(geometry, Layout::single("t".into(), data.len() as u64, false), checks))
}

impl World {
    fn new(n: usize, tweak: impl Fn(usize, &mut Config)) -> Self {
        Self::with_lag(n, Duration::ZERO, tweak)
    }

    fn with_lag(n: usize, lag: Duration, tweak: impl Fn(usize, &mut Config)) -> Self {
        let now = Instant::from_secs(100);
        let nodes = (0..n).map(|i| {
            let mut id = *b"-SH0010-000000000000";
            id[19] = b'0' + i as u8;
            let mut config = Config { peer_id: PeerId(id), port: 7000 + i as u16, ..Config::default() };
            tweak(i, &mut config);
            Node {
                engine: Engine::with_lag(now, config, Rng::from_seed(i as u64), lag),
                addr: SocketAddr::from(([127, 0, 0, 1], 7000 + i as u16)),
                plan: None,
                disk: Vec::new(),
                links: BTreeMap::new(),
                accepted: 0,
                rot: None,
                events: Vec::new(),
                finished: false,
            }
        });
        World { now, nodes: nodes.collect() }
    }

    fn add(&mut self, i: usize, info: &[u8], plan: Option<&Arc<Plan>>, data: Option<&[u8]>, peers: &[usize]) {
        let hashes = InfoHashes { v1: Some(InfoHash(Sha1::digest(info).into())), v2: None };
        let peers = peers.iter().map(|p| self.nodes[*p].addr).collect();
        let info = plan.map(|_| info.into());
        self.handle(i, Input::Add(T, Box::new(AddTorrent { hashes, info, peers, ..Default::default() })));
        if let Some(plan) = plan {
            self.open(i, plan, data, Resume::default());
        }
    }

    fn open(&mut self, i: usize, plan: &Arc<Plan>, data: Option<&[u8]>, mut resume: Resume) {
        let node = &mut self.nodes[i];
        node.plan = Some(plan.clone());
        node.disk = data.map_or_else(|| vec![0; plan.geometry.total() as usize], <[u8]>::to_vec);
        if data.is_some() {
            resume.check = Some(Bitfield::full(plan.geometry.piece_count()));
        }
        self.handle(i, Input::Command(T, Command::Open { plan: plan.clone(), resume, priorities: Vec::new() }));
    }

    fn handle(&mut self, i: usize, input: Input<Bytes>) {
        let mut todo = std::collections::VecDeque::from([(i, input)]);
        while let Some((i, input)) = todo.pop_front() {
            let now = self.now;
            self.nodes[i].engine.handle(now, input);
            self.nodes[i]
                .engine
                .check_invariants()
                .or_else(|e| if e.contains("nobody was told") { Ok(()) } else { Err(e) })
                .unwrap();
            while let Some(output) = self.nodes[i].engine.poll() {
                self.act(i, output, &mut todo);
            }
            self.nodes[i].engine.check_invariants().unwrap();
        }
    }

    fn act(&mut self, i: usize, output: Output<Bytes>, todo: &mut std::collections::VecDeque<(usize, Input<Bytes>)>) {
        match output {
            Output::Dial { conn, to } => match self.nodes.iter().position(|n| n.addr == to) {
                Some(j) => {
                    let theirs = ConnId(ACCEPTED + self.nodes[j].accepted);
                    self.nodes[j].accepted += 1;
                    self.nodes[i].links.insert(conn, (j, theirs));
                    self.nodes[j].links.insert(theirs, (i, conn));
                    let from = SocketAddr::from(([127, 0, 0, 1], 40_000 + conn.0 as u16));
                    todo.push_back((j, Input::Accepted { conn: theirs, from }));
                    todo.push_back((i, Input::Connected { conn }));
                }
                None => todo.push_back((i, Input::Closed { conn })),
            },
            Output::Close { conn } => {
                if let Some((j, theirs)) = self.nodes[i].links.remove(&conn) {
                    self.nodes[j].links.remove(&theirs);
                    todo.push_back((j, Input::Closed { conn: theirs }));
                }
            }
            Output::Wake { conn } => self.transmit(i, conn, todo),
            Output::Disk { torrent, job } => {
                if let Some(done) = self.nodes[i].disk(job) {
                    todo.push_back((i, Input::Disk(vec![(torrent, done)])));
                }
            }
            Output::Event(_, event) => self.nodes[i].events.push(event),
            Output::Finished => self.nodes[i].finished = true,
            Output::Letter(letter) => panic!("{letter:?} was let out"),
            Output::Stream { .. } => panic!("there are no servers"),
            Output::Fetch { .. } | Output::Resolve { .. } | Output::Datagram { .. } | Output::Credit { .. } => {}
        }
    }

    fn transmit(&mut self, i: usize, conn: ConnId, todo: &mut std::collections::VecDeque<(usize, Input<Bytes>)>) {
        loop {
            let mut out = Transmit::default();
            let node = &mut self.nodes[i];
            node.engine.poll_transmit(self.now, conn, 40_000, &mut out);
            if out.is_empty() {
                return;
            }
            let mut data = Vec::new();
            for segment in out.segments {
                match segment {
                    Segment::Bytes(b) => data.extend(b),
                    Segment::Block { piece, begin, len } => data.extend(node.read(piece, begin, len)),
                }
            }
            if let Some((j, theirs)) = node.links.get(&conn) {
                todo.push_back((*j, Input::Received { conn: *theirs, data }));
            }
        }
    }

    /// Lets time pass, one deadline after the other.
    fn run(&mut self, time: Duration, until: impl Fn(&World) -> bool) -> bool {
        let end = self.now + time;
        while !until(self) {
            let next = self.nodes.iter().enumerate().filter_map(|(i, n)| n.engine.deadline().map(|at| (at, i))).min();
            let Some((at, i)) = next.filter(|(at, _)| *at <= end) else { return until(self) };
            self.now = self.now.max(at);
            self.handle(i, Input::Tick);
        }
        true
    }

    fn phase(&self, i: usize) -> Phase {
        self.nodes[i].engine.status(self.now, T).expect("there").phase
    }
}

impl Node {
    fn read(&self, piece: PieceIndex, begin: u32, len: u32) -> Bytes {
        let at = self.plan.as_ref().expect("open").geometry.piece_offset(piece) + u64::from(begin);
        let mut bytes = self.disk[at as usize..][..len as usize].to_vec();
        if self.rot.is_some_and(|rot| (at..at + u64::from(len)).contains(&rot)) {
            bytes[0] ^= 1;
        }
        bytes
    }

    fn disk(&mut self, job: DiskJob<Bytes>) -> Option<DiskDone> {
        let plan = self.plan.clone().expect("open");
        let at = |piece| plan.geometry.piece_offset(piece) as usize;
        match job {
            DiskJob::Write { piece, begin, data } => {
                self.disk[at(piece) + begin as usize..][..data.len()].copy_from_slice(&data);
                Some(DiskDone::Written { piece, begin, len: data.len() as u32 })
            }
            DiskJob::Check { piece, digests } => {
                let bytes = &self.disk[at(piece)..][..plan.geometry.piece_len(piece) as usize];
                let mut hasher = PieceHasher::new(&plan, piece);
                hasher.update(bytes);
                let ok = hasher.finish(&plan, piece);
                let digest = |b: &[u8]| *Sha1::digest(b).first_chunk::<8>().expect("20 bytes");
                let digests =
                    if digests || !ok { bytes.chunks(BLOCK_SIZE as usize).map(digest).collect() } else { Vec::new() };
                Some(DiskDone::Checked { piece, ok, digests })
            }
            DiskJob::Forget { .. } => None,
        }
    }
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_file_goes_from_one_to_the_other() {
    let data = content(1_000_000);
    let plan = plan(&data, 65_536);
    let mut w = World::new(2, |_, _| {});
    w.add(0, b"info", Some(&plan), Some(&data), &[]);
    assert_eq!(w.phase(0), Phase::Seeding);
    w.add(1, b"info", Some(&plan), None, &[0]);
    assert!(w.run(5 * SECOND, |w| w.phase(1) == Phase::Seeding), "{:?}", w.nodes[1].engine);
    assert!(w.nodes[1].disk == data);
    let status = w.nodes[1].engine.status(w.now, T).expect("there");
    assert_eq!((status.downloaded, status.wasted, status.wanted, status.done), (1_000_000, 0, 1_000_000, 1_000_000));
    assert_eq!(w.nodes[1].engine.sources(T)[0].bytes, 1_000_000);
    assert_eq!(w.nodes[0].engine.status(w.now, T).expect("there").uploaded, 1_000_000);
    assert!(w.nodes.iter().all(|n| n.links.is_empty()), "two seeds part");
}

#[test]
fn a_magnet_becomes_a_torrent_and_a_third_gets_it_from_both() {
    let data = content(300_000);
    let plan = plan(&data, 32_768);
    let mut w = World::new(3, |_, _| {});
    let info = content(40_000);
    w.add(0, &info, Some(&plan), Some(&data), &[]);
    w.add(1, &info, None, None, &[0]);
    assert!(w.run(5 * SECOND, |w| !w.nodes[1].events.is_empty()));
    assert_eq!(w.nodes[1].events, [TorrentEvent::Swarm(Event::Metadata(info.clone().into()))]);
    assert_eq!(w.phase(1), Phase::Ready);
    w.open(1, &plan, None, Resume::default());
    w.add(2, &info, Some(&plan), None, &[1, 0]);
    assert!(w.run(20 * SECOND, |w| w.phase(1) == Phase::Seeding && w.phase(2) == Phase::Seeding));
    assert!(w.nodes[1].disk == data && w.nodes[2].disk == data);
}

#[test]
fn who_sends_bad_data_is_banned_and_the_rest_comes_from_others() {
    let data = content(600_000);
    let plan = plan(&data, 65_536);
    let mut w = World::new(3, |_, _| {});
    w.add(0, b"info", Some(&plan), Some(&data), &[]);
    w.add(1, b"info", Some(&plan), Some(&data), &[]);
    w.nodes[1].rot = Some(400_000);
    w.add(2, b"info", Some(&plan), None, &[1, 0]);
    assert!(w.run(300 * SECOND, |w| w.phase(2) == Phase::Seeding), "{:?}", w.nodes[2].engine);
    assert!(w.nodes[2].disk == data);
    let banned: Vec<_> =
        w.nodes[2].events.iter().filter(|e| matches!(e, TorrentEvent::Swarm(Event::Banned { .. }))).collect();
    assert!(banned.len() <= 1);
    let bad = w.nodes[2].events.iter().any(|e| matches!(e, TorrentEvent::Swarm(Event::PieceBad(_))));
    assert_eq!(bad, banned.len() == 1, "{:?}", w.nodes[2].events);
}

#[test]
fn limits_hold_both_ways() {
    for (up, down) in [(Some(100_000), None), (None, Some(100_000))] {
        let data = content(1_000_000);
        let plan = plan(&data, 65_536);
        let mut w = World::new(2, |i, c| if i == 0 { c.limit_up = up } else { c.limit_down = down });
        w.add(0, b"info", Some(&plan), Some(&data), &[]);
        w.add(1, b"info", Some(&plan), None, &[0]);
        // Reading by credit is the hands' part: this world has no sockets that could be left unread.
        if up.is_some() {
            let start = w.now;
            assert!(w.run(60 * SECOND, |w| w.phase(1) == Phase::Seeding), "{:?}", w.nodes[1].engine);
            let took = (w.now - start).as_secs_f64();
            assert!((9.0..11.5).contains(&took), "{took}");
        } else {
            w.run(60 * SECOND, |w| w.phase(1) == Phase::Seeding);
        }
    }
}

#[test]
fn shutdown_ends() {
    let data = content(100_000);
    let plan = plan(&data, 65_536);
    let mut w = World::new(2, |_, c| c.limit_up = Some(1000));
    w.add(0, b"info", Some(&plan), Some(&data), &[]);
    w.add(1, b"info", Some(&plan), None, &[0]);
    w.run(3 * SECOND, |_| false);
    assert_eq!(w.nodes[0].links.len(), 1);
    w.handle(1, Input::Shutdown);
    assert!(w.nodes[1].finished);
    assert!(w.nodes.iter().all(|n| n.links.is_empty()));
    assert!(w.nodes[1].engine.status(w.now, T).is_none());
}

#[test]
fn shards_do_the_same_whatever_time_their_letters_take() {
    let data = content(600_000);
    let plan = plan(&data, 65_536);
    for (shards, lag_ms) in [(2, 0), (3, 0), (2, 1), (3, 7), (3, 100)] {
        let mut w = World::with_lag(4, Duration::from_millis(lag_ms), |i, c| {
            c.shards = shards;
            if i == 2 {
                c.limit_up = Some(1_000_000);
            }
        });
        let info = content(40_000);
        for i in 0..2 {
            w.add(i, &info, Some(&plan), Some(&data), &[]);
        }
        w.nodes[1].rot = Some(400_000);
        w.run(SECOND, |w| w.phase(0) == Phase::Seeding);
        w.add(2, &info, Some(&plan), None, &[1, 0]);
        w.add(3, &info, Some(&plan), None, &[2]);
        let done = |w: &World| w.phase(2) == Phase::Seeding && w.phase(3) == Phase::Seeding;
        assert!(w.run(300 * SECOND, done), "{shards} shards, {lag_ms} ms: {:?}", w.nodes[2].engine);
        assert!(w.nodes[2].disk == data && w.nodes[3].disk == data);
        // In the midst of things: what crosses on the way hurts nobody.
        for _ in 0..5 {
            w.handle(0, Input::Command(T, Command::Pause));
            w.handle(0, Input::Command(T, Command::Resume));
            let peers = Command::Peers { source: swarm::Source::User, addrs: vec![w.nodes[2].addr, w.nodes[3].addr] };
            w.handle(0, Input::Command(T, peers));
            w.run(Duration::from_millis(3 + lag_ms / 2), |_| false);
        }
        for i in 0..4 {
            w.handle(i, Input::Shutdown);
        }
        w.run(SECOND, |_| false);
        assert!(w.nodes.iter().all(|n| n.finished && n.links.is_empty()), "{shards} shards, {lag_ms} ms");
    }
}

/// An engine with one v1 torrent, and nobody else.
fn alone() -> Engine<Bytes> {
    let now = Instant::from_secs(100);
    let mut engine = Engine::new(now, Config::default(), Rng::from_seed(1));
    let hashes = InfoHashes { v1: Some(InfoHash([7; 20])), v2: None };
    engine
        .handle(now, Input::Add(T, Box::new(AddTorrent { hashes, info: Some(Arc::from([1])), ..Default::default() })));
    engine
}

fn closed(engine: &mut Engine<Bytes>) -> Vec<ConnId> {
    std::iter::from_fn(|| engine.poll())
        .filter_map(|o| if let Output::Close { conn } = o { Some(conn) } else { None })
        .collect()
}

#[test]
fn floods_of_connections_are_cut_off_and_slow_handshakes_end() {
    let mut engine = alone();
    let now = Instant::from_secs(100);
    let from = SocketAddr::from(([10, 0, 0, 1], 1));
    for i in 0..300 {
        engine.handle(now, Input::Accepted { conn: ConnId(ACCEPTED + i), from });
    }
    assert_eq!(closed(&mut engine).len(), 300 - 128);
    // A byte now and then keeps nobody.
    let at = now + Duration::from_secs(9);
    engine.handle(at, Input::Received { conn: ConnId(ACCEPTED), data: vec![0x13] });
    let end = engine.deadline().expect("handshakes have one");
    assert_eq!(end, now + Duration::from_secs(10));
    engine.handle(end, Input::Tick);
    assert_eq!(closed(&mut engine).len(), 128);
    engine.handle(end, Input::Accepted { conn: ConnId(ACCEPTED + 300), from });
    assert_eq!(closed(&mut engine), []);
}

#[test]
fn handshakes_for_nobody_from_ourselves_or_of_others_protocols_end() {
    let hello = |info_hash, peer_id| {
        wire::handshake::Handshake { reserved: swarm::OURS.with_v2(), info_hash, peer_id }.encode().to_vec()
    };
    let us = Config::default().peer_id;
    for (i, (data, fine)) in [
        (hello(InfoHash([7; 20]), PeerId([2; 20])), true),
        (hello(InfoHash([8; 20]), PeerId([2; 20])), false),
        (hello(InfoHash([7; 20]), us), false),
        (b"GET / HTTP/1.1\r\n".to_vec(), false),
    ]
    .into_iter()
    .enumerate()
    {
        let (mut engine, conn, now) = (alone(), ConnId(ACCEPTED), Instant::from_secs(100));
        engine.handle(now, Input::Accepted { conn, from: SocketAddr::from(([10, 0, 0, 1], 1)) });
        engine.handle(now, Input::Received { conn, data });
        assert_eq!(closed(&mut engine).is_empty(), fine, "{i}");
        assert_eq!(engine.torrent_of(conn), fine.then_some(T));
        if fine {
            // It offered v2 for a torrent that has none: our answer does not.
            let mut out = Transmit::default();
            engine.poll_transmit(now, conn, 1000, &mut out);
            let Segment::Bytes(bytes) = &out.segments[0] else { panic!("{out:?}") };
            let answer = wire::handshake::Handshake::parse(bytes).expect("valid").expect("whole");
            assert!(!answer.reserved.v2() && answer.info_hash == InfoHash([7; 20]));
        }
    }
}

#[test]
fn who_offers_v2_for_a_hybrid_is_answered_by_its_v2_name() {
    let (v1, v2) = (InfoHash([7; 20]), InfoHash([9; 20]));
    for (said, offers, answer) in [(v1, true, v2), (v1, false, v1), (v2, true, v2)] {
        let (now, conn) = (Instant::from_secs(100), ConnId(ACCEPTED));
        let mut engine: Engine<Bytes> = Engine::new(now, Config::default(), Rng::from_seed(1));
        let hashes = InfoHashes { v1: Some(v1), v2: Some([9; 32]) };
        engine.handle(now, Input::Add(T, Box::new(AddTorrent { hashes, ..Default::default() })));
        engine.handle(now, Input::Accepted { conn, from: SocketAddr::from(([10, 0, 0, 1], 1)) });
        let reserved = if offers { swarm::OURS.with_v2() } else { swarm::OURS };
        let hello = wire::handshake::Handshake { reserved, info_hash: said, peer_id: PeerId([2; 20]) };
        engine.handle(now, Input::Received { conn, data: hello.encode().to_vec() });
        let mut out = Transmit::default();
        engine.poll_transmit(now, conn, 1000, &mut out);
        let Segment::Bytes(bytes) = &out.segments[0] else { panic!("{out:?}") };
        let heard = wire::handshake::Handshake::parse(bytes).expect("valid").expect("whole");
        assert_eq!((heard.info_hash, heard.reserved.v2()), (answer, answer == v2));
        assert_eq!(engine.torrent_of(conn), Some(T));
    }
}

#[test]
fn many_torrents_announce_in_turn_and_share_a_connection_id() {
    use wire::tracker::udp::{Request, connect_reply};
    let (start, tracker) = (Instant::from_secs(100), SocketAddr::from(([192, 0, 2, 1], 6969)));
    let mut engine: Engine<Bytes> = Engine::new(start, Config::default(), Rng::from_seed(1));
    let (mut now, mut connects, mut announced, mut at_once) = (start, 0, BTreeMap::new(), 0);
    let count = 300u32;
    for i in 0..count {
        let mut name = [0; 20];
        name[..4].copy_from_slice(&i.to_be_bytes());
        let hashes = InfoHashes { v1: Some(InfoHash(name)), v2: None };
        let trackers = vec![vec![format!("udp://{tracker}/announce")]];
        engine.handle(now, Input::Add(TorrentId(i), Box::new(AddTorrent { hashes, trackers, ..Default::default() })));
    }
    while now < start + Duration::from_secs(10) {
        while let Some(output) = engine.poll() {
            let Output::Datagram { to, data } = output else { continue };
            assert_eq!(to, tracker);
            match Request::parse(&data).expect("valid") {
                Request::Connect { transaction } => {
                    connects += 1;
                    let data = connect_reply(transaction, 7).to_vec();
                    engine.handle(now, Input::Datagram { from: tracker, data });
                }
                Request::Announce { connection, transaction, announce, .. } => {
                    assert_eq!(connection, 7);
                    assert!(announced.insert(announce.info_hash, now).is_none(), "nobody announces twice");
                    at_once += u32::from(now == start);
                    let mut data = Vec::new();
                    wire::tracker::udp::write_announce_reply(transaction, Duration::from_secs(1800), 0, 1, &mut data);
                    engine.handle(now, Input::Datagram { from: tracker, data });
                }
                other => panic!("{other:?}"),
            }
        }
        let Some(at) = engine.deadline() else { break };
        now = at.max(now);
        engine.handle(now, Input::Tick);
    }
    assert_eq!((announced.len() as u32, connects), (count, 1));
    assert!(at_once < count / 2, "{at_once} at once");
    let span = announced.values().max().expect("some").since(start);
    assert!(span > Duration::from_secs(2) && span < Duration::from_secs(8), "{span:?}");
}
