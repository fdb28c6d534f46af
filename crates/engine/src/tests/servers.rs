//! An engine that fetches from servers within a limit. They send whatever may be read; what was read is under way for a
//! moment, as between threads, so that some of it comes after its stream was ended.

use super::*;
use swarm::HttpSource;

const RATE: u64 = 1 << 20;
const STEP: Duration = Duration::from_millis(5);

struct Flow {
    at: u64,
    end: u64,
    credit: u64,
    server: usize,
    /// Bytes that it sends before those that it was asked for.
    skip: u64,
}

/// A node, its servers, and what they send it.
struct Servers {
    node: Node,
    now: Instant,
    content: Bytes,
    flows: BTreeMap<ConnId, Flow>,
    /// Bytes that each server sends at most in a step.
    speeds: Vec<u64>,
    skip: u64,
    /// Streams in all, bytes read in all, and those of them that came too late.
    streams: u32,
    read: u64,
    late: u64,
}

impl Servers {
    fn new(total: usize, speeds: &[u64], skip: u64) -> Self {
        let content = content(total);
        let plan = plan(&content, 65_536);
        let mut world = World::new(1, |_, config| config.limit_down = Some(RATE));
        world.add(0, b"info", Some(&plan), None, &[]);
        let node = world.nodes.remove(0);
        let (flows, speeds) = (BTreeMap::new(), speeds.to_vec());
        let mut servers = Servers { node, now: world.now, content, flows, speeds, skip, streams: 0, read: 0, late: 0 };
        for id in 0..servers.speeds.len() {
            let source = HttpSource::new(id as u32, format!("http://{id}/"));
            servers.handle(Input::Command(T, Command::Server(source)));
        }
        servers
    }

    fn handle(&mut self, input: Input<Bytes>) {
        self.node.engine.handle(self.now, input);
        while let Some(output) = self.node.engine.poll() {
            match output {
                Output::Stream { conn, source, offset, len, credit, .. } => {
                    self.streams += 1;
                    self.flows.insert(
                        conn,
                        Flow { at: offset, end: offset + len, credit, server: source as usize, skip: self.skip },
                    );
                }
                Output::Credit { conn, bytes } => self.flows.get_mut(&conn).expect("a stream").credit += bytes,
                Output::Close { conn } => drop(self.flows.remove(&conn)),
                Output::Disk { torrent, job } => {
                    if let Some(done) = self.node.disk(job) {
                        self.handle(Input::Disk(vec![(torrent, done)]));
                    }
                }
                Output::Event(_, event) => self.node.events.push(event),
                other => panic!("{other:?}"),
            }
        }
        self.node.engine.check_invariants().unwrap();
    }

    /// Every server sends what it can, and then it is told; perhaps after the user had a `pause` of no time.
    fn step(&mut self, pause: bool) {
        self.now += STEP;
        let mut under_way = Vec::new();
        for (conn, flow) in &mut self.flows {
            let may = flow.credit.min(self.speeds[flow.server]);
            let skipped = flow.skip.min(may);
            let n = (may - skipped).min(flow.end - flow.at);
            let data = self.content[flow.at as usize..][..n as usize].to_vec();
            flow.at += n;
            flow.skip -= skipped;
            flow.credit -= n + skipped;
            under_way.push((*conn, skipped, data, flow.at == flow.end));
        }
        if pause {
            self.handle(Input::Command(T, Command::Pause));
            self.handle(Input::Command(T, Command::Resume));
        }
        for (conn, skipped, data, ended) in under_way {
            let bytes = skipped + data.len() as u64;
            self.read += bytes;
            if !self.flows.contains_key(&conn) {
                self.late += bytes;
            }
            self.handle(Input::Skipped { conn, bytes: skipped });
            self.handle(Input::Received { conn, data });
            if ended && self.flows.remove(&conn).is_some() {
                self.handle(Input::StreamEnded { conn, end: Ok(()) });
            }
        }
        if self.node.engine.deadline().is_some_and(|at| at <= self.now) {
            self.handle(Input::Tick);
        }
    }

    fn is_complete(&self) -> bool {
        self.node.events.contains(&TorrentEvent::Swarm(Event::Complete))
    }
}

#[test]
fn a_limit_holds_for_servers_from_the_first_byte_to_the_last() {
    let total = 4 << 20;
    let (even, uneven) = ([1 << 20; 4], [200, 1 << 20, 40_000, 3000]);
    for (speeds, pauses_every, skip) in
        [(even, u32::MAX, 0), (uneven, u32::MAX, 0), (even, u32::MAX, 100_000), (even, 7, 1000), (uneven, 7, 0)]
    {
        let mut servers = Servers::new(total, &speeds, skip);
        let start = servers.now;
        for step in 1_u32.. {
            servers.step(step % pauses_every == 0);
            let may = (servers.now - start).as_micros() as u64 * RATE / 1_000_000;
            // No more than what one may read at once is ever ahead.
            assert!(servers.read <= may + RATE / 16, "{} read, {may} allowed, {} late", servers.read, servers.late);
            assert!(servers.now - start < 20 * SECOND, "{:?}", servers.node.engine);
            if servers.is_complete() {
                break;
            }
        }
        assert!(servers.node.disk == servers.content);
        let status = servers.node.engine.status(servers.now, T).expect("there");
        assert_eq!(status.downloaded, servers.read - servers.late);
        assert!(status.wasted >= skip);
        if pauses_every == u32::MAX {
            // And all of it is used.
            let secs = (servers.now - start).as_secs_f64();
            assert!(servers.late == 0 && secs * RATE as f64 <= servers.read as f64 * 1.05, "{secs}");
        } else {
            assert!(servers.late > 500_000 && servers.streams > 500, "{} late", servers.late);
        }
    }
}
