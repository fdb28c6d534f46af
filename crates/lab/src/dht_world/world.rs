//! The network: one heap of datagrams and deadlines, nodes that are made when they are needed, and the truth about who is closest.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use base::{Instant, JobId, NodeId, Rng};
use dht::{Config, Dht, Input, K, Known, Output, Snapshot};

use super::RTT;
use crate::params::DhtParams;

/// Nodes that are kept; beyond that all are forgotten and made again, just as they were.
const KEPT_MAX: usize = 4_096;
/// Time between the beginnings of two lookups.
const EVERY: Duration = Duration::from_millis(50);
/// Nobody waits longer for a lookup.
const PATIENCE: Duration = Duration::from_secs(60);
/// When the world begins.
const START: Instant = Instant::from_secs(1);

/// How one lookup went.
#[derive(Debug)]
pub(super) struct Lookup {
    pub(super) rounds: u32,
    pub(super) queries: u32,
    pub(super) answers: u32,
    pub(super) time: Duration,
    /// The closest that is alive was found.
    pub(super) closest: bool,
    /// Share of the eight closest that are alive.
    pub(super) share: f64,
}

/// How all went.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) lookups: Vec<Lookup>,
    pub(super) datagrams: u64,
    pub(super) nodes_made: u64,
    pub(super) trace: u64,
}

/// Who is there, in the order of ids.
struct Census {
    seed: u64,
    nodes: Vec<(NodeId, SocketAddr, bool)>,
    by_addr: BTreeMap<SocketAddr, u32>,
}

/// What will happen.
enum Event {
    Deliver { from: SocketAddr, to: SocketAddr, data: Vec<u8> },
    Begin(usize),
    Tick(usize),
}

/// Somebody who looks something up.
struct Asker {
    dht: Dht,
    addr: SocketAddr,
    target: NodeId,
    wake: Instant,
}

struct World<'a> {
    params: &'a DhtParams,
    census: Census,
    rng: Rng,
    now: Instant,
    heap: BinaryHeap<Reverse<(Instant, u64)>>,
    events: BTreeMap<u64, Event>,
    made: u64,
    /// Nodes that were reached, by their place in the census.
    awake: BTreeMap<u32, Dht>,
    askers: BTreeMap<usize, Asker>,
    outcome: Outcome,
}

/// Runs one network to the end of its last lookup.
pub(super) fn run(seed: u64, params: &DhtParams) -> Outcome {
    let mut rng = Rng::from_seed(seed);
    let census = Census::draw(seed, params, &mut rng);
    let mut world = World {
        params,
        census,
        rng,
        now: START,
        heap: BinaryHeap::new(),
        events: BTreeMap::new(),
        made: 0,
        awake: BTreeMap::new(),
        askers: BTreeMap::new(),
        outcome: Outcome::default(),
    };
    for i in 0..params.lookups as usize {
        world.push(START + EVERY * i as u32, Event::Begin(i));
    }
    world.run();
    world.outcome
}

/// An address in a network of its own, with the last byte drawn by chance.
fn address(i: u64, rng: &mut Rng) -> SocketAddr {
    let i = i + (11 << 16); // 11.0.0.0 and up: nothing there is local
    SocketAddr::from(([(i >> 16) as u8, (i >> 8) as u8, i as u8, 1 + rng.below(254) as u8], 6881))
}

impl Census {
    fn draw(seed: u64, params: &DhtParams, rng: &mut Rng) -> Census {
        let mut nodes: Vec<_> = (0..params.nodes)
            .map(|i| {
                let addr = address(i, rng);
                (dht::id_for(addr.ip(), rng), addr, rng.below(100) >= params.dead)
            })
            .collect();
        nodes.sort();
        let by_addr = nodes.iter().enumerate().map(|(i, (_, addr, _))| (*addr, i as u32)).collect();
        Census { seed, nodes, by_addr }
    }

    /// The nodes that share the first `bits` with `id`, and then differ.
    fn sharing(&self, id: &NodeId, bits: usize) -> &[(NodeId, SocketAddr, bool)] {
        // The first and the last id that could be there: the next bit turned around, and then zeros or ones.
        let (mut first, mut last) = (id.0, id.0);
        let (byte, mask) = (bits / 8, 0x80u8 >> (bits % 8));
        let head = id.0[byte] & !(mask | (mask - 1)) | (!id.0[byte] & mask);
        (first[byte], last[byte]) = (head, head | (mask - 1));
        first[byte + 1..].fill(0);
        last[byte + 1..].fill(0xff);
        let from = self.nodes.partition_point(|(other, ..)| other.0 < first);
        let to = self.nodes.partition_point(|(other, ..)| other.0 <= last);
        &self.nodes[from..to]
    }

    /// A table of a node with this id.
    fn table(&self, id: &NodeId, wide: bool, rng: &mut Rng) -> Vec<(NodeId, SocketAddr)> {
        let mut table = Vec::new();
        let mut inside = self.nodes.len();
        for bits in 0.. {
            if inside == 0 || bits == NodeId::BITS {
                break;
            }
            let all = self.sharing(id, bits);
            inside -= all.len();
            // We are in the table of nobody with our own id, though in the census.
            if inside == 1 && self.nodes.binary_search_by_key(id, |(id, ..)| *id).is_ok() {
                inside = 0;
            }
            let room = dht::bucket_room(bits, wide);
            table.extend(draw(all.len(), room, rng).into_iter().map(|i| (all[i].0, all[i].1)));
        }
        table
    }

    /// The closest nodes that are alive.
    fn closest_alive(&self, target: &NodeId, count: usize) -> Vec<NodeId> {
        let mut found: Vec<NodeId> = Vec::new();
        // All who share the most bits are closer than all who share fewer.
        let at = self.nodes.partition_point(|(id, ..)| id < target);
        let deepest = [at.checked_sub(1), Some(at)].into_iter().flatten().filter_map(|i| self.nodes.get(i));
        let deepest = deepest.map(|(id, ..)| id.shared_bits(target)).max().unwrap_or(0);
        for bits in (0..=deepest).rev() {
            found.extend(self.sharing(target, bits).iter().filter(|(.., alive)| *alive).map(|(id, ..)| *id));
            if found.len() >= count {
                break;
            }
        }
        found.sort_by_key(|id| target.distance(id));
        found.truncate(count);
        found
    }
}

/// `count` different numbers below `of`, or all of them (Floyd).
fn draw(of: usize, count: usize, rng: &mut Rng) -> Vec<usize> {
    if of <= count {
        return (0..of).collect();
    }
    let mut drawn = Vec::with_capacity(count);
    for top in of - count..of {
        let i = rng.index(top + 1);
        drawn.push(if drawn.contains(&i) { top } else { i });
    }
    drawn
}

impl World<'_> {
    fn push(&mut self, at: Instant, event: Event) {
        self.made += 1;
        self.heap.push(Reverse((at, self.made)));
        self.events.insert(self.made, event);
    }

    fn config(&self, read_only: bool) -> Config {
        let (alpha, wide) = (self.params.alpha as usize, self.params.wide == 1);
        Config { v4: true, v6: false, read_only, alpha, wide, ..Config::default() }
    }

    fn run(&mut self) {
        while let Some(Reverse((at, made))) = self.heap.pop() {
            self.now = at;
            match self.events.remove(&made) {
                Some(Event::Begin(i)) => self.begin(i),
                Some(Event::Tick(i)) => {
                    if let Some(asker) = self.askers.get_mut(&i) {
                        asker.wake = Instant::NEVER;
                        asker.dht.handle(at, Input::Tick);
                        self.drain(i);
                    }
                }
                Some(Event::Deliver { from, to, data }) => self.deliver(from, to, data),
                None => {}
            }
        }
    }

    fn begin(&mut self, i: usize) {
        let mut rng = self.rng.fork(i as u64);
        let addr = address(self.params.nodes + i as u64, &mut rng);
        let id = dht::id_for(addr.ip(), &mut rng);
        let target = NodeId::random(&mut rng);
        let table = self.census.table(&id, self.params.wide == 1, &mut rng);
        let known = Snapshot { v4: Known { id: Some(id), nodes: Vec::new() }, ..Snapshot::default() };
        let mut dht = Dht::new(self.now, self.config(true), &known, rng);
        dht.assume(self.now, table);
        dht.handle(self.now, Input::FindNode { job: JobId(0), target });
        self.askers.insert(i, Asker { dht, addr, target, wake: Instant::NEVER });
        self.drain(i);
    }

    /// Takes what an asker says.
    fn drain(&mut self, i: usize) {
        let Some(mut asker) = self.askers.remove(&i) else { return };
        while let Some(output) = asker.dht.poll() {
            match output {
                Output::Datagram { to, data } => self.send(asker.addr, to, data),
                Output::Done { summary, .. } => {
                    let truth = self.census.closest_alive(&asker.target, K);
                    let found = |id: &NodeId| summary.closest.iter().any(|(other, _)| other == id);
                    let all = truth.iter().filter(|id| found(id)).count();
                    self.outcome.lookups.push(Lookup {
                        rounds: summary.rounds,
                        queries: summary.queries,
                        answers: summary.answers,
                        time: summary.time,
                        closest: truth.first().is_some_and(found),
                        share: all as f64 / truth.len().max(1) as f64,
                    });
                    return;
                }
                _ => {}
            }
        }
        let end = START + EVERY * i as u32 + PATIENCE;
        if let Some(at) = asker.dht.deadline().filter(|at| *at < asker.wake && *at <= end) {
            asker.wake = at;
            self.push(at, Event::Tick(i));
        }
        self.askers.insert(i, asker);
    }

    fn send(&mut self, from: SocketAddr, to: SocketAddr, data: Vec<u8>) {
        self.outcome.datagrams += 1;
        let lost = self.rng.below(100) < self.params.loss;
        if !lost {
            let at = self.now + self.one_way(from, to);
            self.push(at, Event::Deliver { from, to, data });
        }
    }

    /// Half of what a round trip between the two takes, in either direction.
    fn one_way(&self, a: SocketAddr, b: SocketAddr) -> Duration {
        let number = |addr: SocketAddr| match addr {
            SocketAddr::V4(addr) => u64::from(addr.ip().to_bits()),
            SocketAddr::V6(_) => 0,
        };
        if self.params.spread == 0 {
            return Duration::from_micros(self.params.rtt * 500);
        }
        let (low, high) = (number(a).min(number(b)), number(a).max(number(b)));
        let mut mixed = (low << 32 | high) ^ self.census.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        for _ in 0..3 {
            mixed = (mixed ^ (mixed >> 31)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        }
        let place = (mixed >> 33) % 1_000_000; // of a million, from the fastest to the slowest
        Duration::from_micros(round_trip_us(place, self.params.rtt) / 2)
    }

    fn deliver(&mut self, from: SocketAddr, to: SocketAddr, data: Vec<u8>) {
        let sum = data.iter().fold(self.now.as_micros(), |h, b| h.rotate_left(5) ^ u64::from(*b));
        self.outcome.trace = (self.outcome.trace.rotate_left(7) ^ sum).wrapping_mul(0x517c_c1b7_2722_0a95);
        let Some(i) = self.census.by_addr.get(&to).copied() else {
            let asker = self.askers.iter_mut().find(|(_, asker)| asker.addr == to).map(|(i, asker)| (*i, asker));
            if let Some((i, asker)) = asker {
                asker.dht.handle(self.now, Input::Datagram { from, data });
                self.drain(i);
            }
            return;
        };
        let (id, addr, alive) = self.census.nodes[i as usize];
        if !alive {
            return;
        }
        let mut node = match self.awake.remove(&i) {
            Some(node) => node,
            None => self.wake(i, id),
        };
        node.handle(self.now, Input::Datagram { from, data });
        while let Some(output) = node.poll() {
            if let Output::Datagram { to, data } = output {
                self.send(addr, to, data);
            }
        }
        if self.awake.len() >= KEPT_MAX {
            self.awake.clear();
        }
        self.awake.insert(i, node);
    }

    /// Makes a node. Its table is good from now on, and nobody ticks it: static.
    fn wake(&mut self, i: u32, id: NodeId) -> Dht {
        self.outcome.nodes_made += 1;
        let mut rng = Rng::from_seed(self.census.seed ^ u64::from(i).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let table = self.census.table(&id, self.params.wide == 1, &mut rng);
        let known = Snapshot { v4: Known { id: Some(id), nodes: Vec::new() }, ..Snapshot::default() };
        let mut node = Dht::new(self.now, self.config(false), &known, rng);
        node.assume(self.now, table);
        node
    }
}

/// The round trip of a pair at this place of a million, in microseconds.
pub(super) fn round_trip_us(place: u64, median_ms: u64) -> u64 {
    let mut parts = RTT.windows(2).map(|w| (w[0], w[1]));
    let place = place.min(999_999);
    let found = parts.find(|(_, (percent, _))| place < percent * 10_000);
    let ((from, low), (to, high)) = found.unwrap_or((RTT[0], RTT[RTT.len() - 1]));
    let units = low * 1_000 + (high - low) * 1_000 * (place - from * 10_000) / ((to - from) * 10_000);
    units * median_ms / 120
}
