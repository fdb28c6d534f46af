//! A torrent that fetches from servers, which send at their rates in virtual time, and fail in every way that servers know.

use super::super::*;
use crate::disk::DiskDone;
use crate::{HttpSource, HttpState, NewPeer, Resume, StreamError};
use base::{BLOCK_SIZE, Checks, ConnId, Geometry, Layout, PeerId};
use std::collections::BTreeMap;
use std::time::Duration;
use wire::handshake::Reserved;
use wire::message::{Message, block_header};

const PIECE: u64 = 16 * BLOCK_SIZE as u64;
const MIB: u64 = 1 << 20;
const STEP: Duration = Duration::from_millis(10);

#[derive(Clone, Default)]
struct Server {
    /// Bytes a second in all, and for each connection.
    rate: u64,
    lane_rate: u64,
    parts: Vec<(u64, u64)>,
    no_ranges: bool,
    liar: bool,
    /// Refuses connections from then on, and breaks those that it has.
    dies_at: Option<f64>,
    /// Sends nothing from then on.
    hangs_at: Option<f64>,
    lives_again_at: Option<f64>,
    answer: Option<StreamError>,
    /// The first byte of a file that it has not.
    lacks: Option<u64>,
    sent: u64,
    streams: u32,
    most_lanes: usize,
}

struct Flow {
    server: u32,
    at: u64,
    end: u64,
    /// Bytes that it may send, in fractions.
    due: f64,
}

/// A torrent, its servers, and a disk that answers at once.
struct World {
    torrent: Torrent<Vec<u8>>,
    now: Instant,
    started: Instant,
    servers: Vec<Server>,
    flows: BTreeMap<u64, Flow>,
    ended: Vec<(u64, Result<(), StreamError>)>,
    disk: BTreeMap<(PieceIndex, u32), bool>,
    done: Vec<DiskDone>,
    events: Vec<Event>,
    total: u64,
    plan: Arc<Plan>,
}

const BLOCK: u64 = BLOCK_SIZE as u64;

/// Where a server without ranges can begin.
fn units(parts: &[(u64, u64)], plan: &Plan) -> Vec<u64> {
    match parts {
        [] => plan.layout.files().iter().map(|f| f.offset).collect(),
        parts => parts.iter().map(|p| p.0).collect(),
    }
}

fn server(rate: u64) -> Server {
    Server { rate, lane_rate: u64::MAX, ..Server::default() }
}

impl World {
    fn new(total: u64, servers: Vec<Server>) -> Self {
        let birth =
            Birth { settings: Arc::default(), hashes: InfoHashes::default(), info: None, private: false, choker: None };
        let now = Instant::from_secs(1000);
        let geometry = Geometry::new(total, PIECE, BLOCK_SIZE).unwrap();
        let layout = Layout::single("t".into(), total, false);
        let plan = Arc::new(Plan::new(geometry, layout, Checks::default()));
        let mut world = World {
            torrent: Torrent::new(now, birth, Rng::from_seed(3)),
            now,
            started: now,
            servers,
            flows: BTreeMap::new(),
            ended: Vec::new(),
            disk: BTreeMap::new(),
            done: Vec::new(),
            events: Vec::new(),
            total,
            plan,
        };
        for (id, server) in world.servers.clone().into_iter().enumerate() {
            let source = HttpSource { parts: server.parts, ..HttpSource::new(id as u32, format!("http://{id}/")) };
            world.handle(Input::Server(source));
        }
        world
    }

    fn opened(total: u64, servers: Vec<Server>) -> Self {
        let mut world = World::new(total, servers);
        world.open(Resume::default());
        world
    }

    fn open(&mut self, resume: Resume) {
        self.handle(Input::Open { plan: self.plan.clone(), resume, priorities: Vec::new() });
    }

    fn secs(&self) -> f64 {
        self.now.since(self.started).as_secs_f64()
    }

    fn handle(&mut self, input: Input<Vec<u8>>) {
        self.torrent.handle(self.now, input);
        while let Some(output) = self.torrent.poll() {
            match output {
                Output::Stream { stream, source, offset, len } => self.begin(stream, source, offset, len),
                Output::EndStream { stream } => drop(self.flows.remove(&stream)),
                Output::Event(event) => self.events.push(event),
                Output::Disk(job) => self.disk_job(job),
                Output::Close { .. } | Output::Dial { .. } | Output::Wake { .. } => {}
            }
        }
        self.torrent.check_invariants().unwrap();
    }

    fn begin(&mut self, stream: u64, id: u32, offset: u64, len: u64) {
        assert!(len > 0 && offset + len <= self.total, "{offset} + {len}");
        let secs = self.secs();
        let server = &mut self.servers[id as usize];
        server.streams += 1;
        let has = |byte: u64| server.parts.iter().any(|(from, n)| (*from..from + n).contains(&byte));
        let all = (offset..offset + len).step_by(BLOCK_SIZE as usize).all(has);
        assert!(server.parts.is_empty() || all, "asked for what it has not: {offset} + {len}");
        let back = server.lives_again_at.is_some_and(|at| at <= secs);
        if server.dies_at.is_some_and(|at| at <= secs) && !back {
            self.ended.push((stream, Err(StreamError::Broken { why: "refused".into() })));
        } else if let Some(error) = server.answer.clone() {
            self.ended.push((stream, Err(error)));
        } else if server.no_ranges
            && !units(&server.parts, &self.plan).iter().any(|at| (*at..at + BLOCK).contains(&offset))
        {
            self.ended.push((stream, Err(StreamError::NoRanges)));
        } else {
            let end = server.lacks.filter(|lacks| (offset..offset + len).contains(lacks)).unwrap_or(offset + len);
            self.flows.insert(stream, Flow { server: id, at: offset, end, due: 0.0 });
        }
        let lanes = self.flows.values().filter(|f| f.server == id).count();
        let server = &mut self.servers[id as usize];
        server.most_lanes = server.most_lanes.max(lanes);
    }

    fn disk_job(&mut self, job: DiskJob<Vec<u8>>) {
        match job {
            DiskJob::Write { piece, begin, data } => {
                self.done.push(DiskDone::Written { piece, begin, len: data.len() as u32 });
                self.disk.insert((piece, begin), data.iter().all(|b| *b == 5));
            }
            DiskJob::Check { piece, .. } => {
                let g = self.plan.geometry;
                let blocks = (0..g.block_count(piece)).map(|b| g.block_begin(BlockIndex(b)));
                let good: Vec<bool> = blocks.map(|b| self.disk.get(&(piece, b)) == Some(&true)).collect();
                let digests = good.iter().map(|good| [u8::from(*good); 8]).collect();
                self.done.push(DiskDone::Checked { piece, ok: good.iter().all(|g| *g), digests });
            }
            DiskJob::Forget { piece } => self.disk.retain(|(p, _), _| *p != piece),
        }
    }

    fn step(&mut self) {
        self.now += STEP;
        let secs = self.secs();
        for (stream, end) in std::mem::take(&mut self.ended) {
            self.handle(Input::StreamEnded { stream, end });
        }
        let ids: Vec<u64> = self.flows.keys().copied().collect();
        for stream in ids {
            let Some(flow) = self.flows.get(&stream) else { continue };
            let lanes = self.flows.values().filter(|f| f.server == flow.server).count() as u64;
            let server = &mut self.servers[flow.server as usize];
            let back = server.lives_again_at.is_some_and(|at| at <= secs);
            if server.dies_at.is_some_and(|at| at <= secs) && !back {
                self.flows.remove(&stream);
                self.handle(Input::StreamEnded { stream, end: Err(StreamError::Broken { why: "reset".into() }) });
                continue;
            }
            if server.hangs_at.is_some_and(|at| at <= secs) {
                continue;
            }
            let rate = (server.rate / lanes).min(server.lane_rate);
            let flow = self.flows.get_mut(&stream).unwrap();
            flow.due += rate as f64 * STEP.as_secs_f64();
            let n = (flow.due as u64).min(flow.end - flow.at);
            flow.due -= n as f64;
            flow.at += n;
            server.sent += n;
            let (end, byte) = (flow.at == flow.end, if server.liar { 6 } else { 5 });
            let lacks = server.lacks.filter(|at| *at == flow.end);
            if end {
                self.flows.remove(&stream);
            }
            self.handle(Input::Streamed { stream, data: vec![byte; n as usize] });
            if end {
                let missing = |at| StreamError::Missing { at, why: "404".into() };
                self.handle(Input::StreamEnded { stream, end: lacks.map(missing).map_or(Ok(()), Err) });
            }
        }
        while !self.done.is_empty() {
            for done in std::mem::take(&mut self.done) {
                self.handle(Input::Disk(done));
            }
        }
        if self.torrent.deadline().is_some_and(|at| at <= self.now) {
            self.handle(Input::Tick);
        }
    }

    /// Seconds until all is there; at most `limit`.
    fn run(&mut self, limit: f64) -> f64 {
        while !self.events.contains(&Event::Complete) {
            assert!(self.secs() < limit, "not complete after {limit} s: {:?}", self.torrent.servers(self.now));
            self.step();
        }
        assert!(self.flows.is_empty(), "streams go on");
        assert!(self.disk.values().all(|good| *good));
        self.secs()
    }

    fn sent(&self) -> u64 {
        self.servers.iter().map(|s| s.sent).sum()
    }

    fn dropped(&self) -> Vec<&str> {
        let name = |e: &'_ Event| matches!(e, Event::ServerDropped { .. });
        self.events
            .iter()
            .filter(|e| name(e))
            .map(|e| if let Event::ServerDropped { name, .. } = e { name.as_str() } else { "" })
            .collect()
    }
}

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

/// The files of a folder, by their lengths.
fn folder(plan: &Plan, lens: &[u64]) -> Arc<Plan> {
    let files = lens.iter().enumerate().map(|(i, len)| base::FileEntry {
        path: format!("t/{i}"),
        offset: 0,
        len: *len,
        kind: base::FileKind::Content,
        executable: false,
    });
    Arc::new(Plan { layout: Layout::folder("t".into(), files.collect()).unwrap(), ..plan.clone() })
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
    world.handle(Input::DropServer { id: 0, why: "stale".into() });
    assert!(stopped(&world).is_some());
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
