//! A torrent, its servers, and a disk, in virtual time.

use crate::disk::{DiskDone, DiskJob};
use crate::torrent::Torrent;
use crate::{Birth, Event, HttpSource, Input, Output, Resume, StreamError};
use base::{BLOCK_SIZE, BlockIndex, Checks, Geometry, InfoHashes, Instant, Layout, PieceIndex, Plan, Rng};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

pub(super) const PIECE: u64 = 16 * BLOCK_SIZE as u64;
pub(super) const MIB: u64 = 1 << 20;
const STEP: Duration = Duration::from_millis(10);

#[derive(Clone, Default)]
pub(super) struct Server {
    /// Bytes a second in all, and for each connection.
    pub(super) rate: u64,
    pub(super) lane_rate: u64,
    pub(super) parts: Vec<(u64, u64)>,
    pub(super) no_ranges: bool,
    pub(super) liar: bool,
    /// Refuses connections from then on, and breaks those that it has.
    pub(super) dies_at: Option<f64>,
    /// Sends nothing from then on.
    pub(super) hangs_at: Option<f64>,
    pub(super) lives_again_at: Option<f64>,
    pub(super) answer: Option<StreamError>,
    /// The first byte of a file that it has not.
    pub(super) lacks: Option<u64>,
    /// It has nothing of what it is asked for.
    pub(super) lacks_all: bool,
    pub(super) sent: u64,
    pub(super) streams: u32,
    pub(super) most_lanes: usize,
}

pub(super) struct Flow {
    pub(super) server: u32,
    pub(super) at: u64,
    pub(super) end: u64,
    /// Bytes that it may send, in fractions.
    pub(super) due: f64,
}

/// A torrent, its servers, and a disk that answers at once.
pub(super) struct World {
    pub(super) torrent: Torrent<Vec<u8>>,
    pub(super) now: Instant,
    pub(super) started: Instant,
    pub(super) servers: Vec<Server>,
    pub(super) flows: BTreeMap<u64, Flow>,
    pub(super) ended: Vec<(u64, Result<(), StreamError>)>,
    pub(super) disk: BTreeMap<(PieceIndex, u32), bool>,
    pub(super) done: Vec<DiskDone>,
    pub(super) events: Vec<Event>,
    pub(super) total: u64,
    pub(super) plan: Arc<Plan>,
}

const BLOCK: u64 = BLOCK_SIZE as u64;

/// Where a server without ranges can begin.
fn units(parts: &[(u64, u64)], plan: &Plan) -> Vec<u64> {
    match parts {
        [] => plan.layout.files().iter().map(|f| f.offset).collect(),
        parts => parts.iter().map(|p| p.0).collect(),
    }
}

pub(super) fn server(rate: u64) -> Server {
    Server { rate, lane_rate: u64::MAX, ..Server::default() }
}

impl World {
    pub(super) fn new(total: u64, servers: Vec<Server>) -> Self {
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

    pub(super) fn opened(total: u64, servers: Vec<Server>) -> Self {
        let mut world = World::new(total, servers);
        world.open(Resume::default());
        world
    }

    pub(super) fn open(&mut self, resume: Resume) {
        self.handle(Input::Open { plan: self.plan.clone(), resume, priorities: Vec::new() });
    }

    pub(super) fn secs(&self) -> f64 {
        self.now.since(self.started).as_secs_f64()
    }

    pub(super) fn handle(&mut self, input: Input<Vec<u8>>) {
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
        } else if server.lacks_all {
            self.ended.push((stream, Err(StreamError::Missing { at: offset, why: "404".into() })));
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

    pub(super) fn step(&mut self) {
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
            if server.hangs_at.is_some_and(|at| at <= secs) && !back {
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
    pub(super) fn run(&mut self, limit: f64) -> f64 {
        while !self.events.contains(&Event::Complete) {
            assert!(self.secs() < limit, "not complete after {limit} s: {:?}", self.torrent.servers(self.now));
            self.step();
        }
        assert!(self.flows.is_empty(), "streams go on");
        assert!(self.disk.values().all(|good| *good));
        self.secs()
    }

    pub(super) fn sent(&self) -> u64 {
        self.servers.iter().map(|s| s.sent).sum()
    }

    pub(super) fn dropped(&self) -> Vec<&str> {
        let name = |e: &'_ Event| matches!(e, Event::ServerDropped { .. });
        self.events
            .iter()
            .filter(|e| name(e))
            .map(|e| if let Event::ServerDropped { name, .. } = e { name.as_str() } else { "" })
            .collect()
    }
}

/// The files of a folder, by their lengths.
pub(super) fn folder(plan: &Plan, lens: &[u64]) -> Arc<Plan> {
    let files = lens.iter().enumerate().map(|(i, len)| base::FileEntry {
        path: format!("t/{i}"),
        offset: 0,
        len: *len,
        kind: base::FileKind::Content,
        executable: false,
    });
    Arc::new(Plan { layout: Layout::folder("t".into(), files.collect()).unwrap(), ..plan.clone() })
}
