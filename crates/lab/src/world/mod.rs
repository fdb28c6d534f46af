//! A world: peers with their engines, links and disks, a tracker, a script of what befalls them, and one clock.
//!
//! The engines are the production ones; only hands are played here. Everything that happens comes off one heap, time is
//! an integer, and each peer has random streams of its own derived from the seed and its number, so a seed replays to
//! the microsecond; [`World::trace_hash`] is a running hash of all that happened, to prove it.

mod outputs;
mod peer;
mod script;
mod spec;
mod tracker_side;
mod traffic;

pub use peer::{PeerStats, Role};
pub use script::Action;
pub use spec::{Discovery, Have, MakeChoker, PeerSpec, WorldSpec};

use crate::net::Conns;
use crate::payload::Payload;
use crate::queue::{Event, PeerIx, Queue};
use crate::trace::{Sink, Trace};
use crate::watch::Watch;
use base::{Instant, Rng, TorrentId};
use engine::{Input, Transmit};
use outputs::Post;
use peer::Peer;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The one torrent of a world, in each of its engines.
pub const TORRENT: TorrentId = TorrentId(1);
/// Inputs at one instant after which an engine counts as stuck.
const INPUTS_AT_ONE_INSTANT_MAX: u32 = 1_000_000;

/// What went wrong in a world, and when.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("at {at:?}, peer {peer}: {what}")]
pub struct Violation {
    /// The time.
    pub at: Instant,
    /// The peer that did it, or to which it happened.
    pub peer: usize,
    /// What it is.
    pub what: String,
}

/// Peers, links, disks and a clock.
pub struct World {
    spec: WorldSpec,
    now: Instant,
    queue: Queue,
    conns: Conns,
    peers: Vec<Peer>,
    script: Vec<Action>,
    posts: BTreeMap<u32, Post>,
    posts_made: u32,
    tracker: Option<tracker_side::TrackerSide>,
    watch: Option<Watch>,
    trace: Trace,
    /// How many peers that are up have each piece, roles that leave when it suffices excepted.
    copies: Vec<u32>,
    covered: u32,
    /// Peers that have to finish and have not.
    waiting: usize,
    cut: Option<script::Cut>,
    violation: Option<Violation>,
    steps: u64,
    ticks: u64,
    inputs_at_now: u32,
    transmit: Transmit,
}

impl World {
    /// A world in which nobody is up yet: each peer comes at its time.
    pub fn new(spec: WorldSpec, peers: Vec<PeerSpec>) -> Self {
        let pieces = spec.plan.geometry.piece_count();
        let mut world = World {
            now: Instant::ZERO,
            queue: Queue::default(),
            conns: Conns::default(),
            peers: Vec::with_capacity(peers.len()),
            script: Vec::new(),
            posts: BTreeMap::new(),
            posts_made: 0,
            tracker: None,
            watch: spec.watch.then(|| Watch::new(Arc::clone(&spec.plan))),
            trace: Trace::default(),
            copies: vec![0; pieces as usize],
            covered: 0,
            waiting: 0,
            cut: None,
            violation: None,
            steps: 0,
            ticks: 0,
            inputs_at_now: 0,
            transmit: Transmit::default(),
            spec,
        };
        if world.spec.discovery == Discovery::Tracker {
            world.tracker = Some(tracker_side::TrackerSide::new(stream(world.spec.seed, u32::MAX, 0), &world.spec));
        }
        for (ix, spec) in peers.into_iter().enumerate() {
            let start = spec.start;
            if spec.must_finish {
                world.waiting += 1;
            }
            let peer = Peer::new(ix as PeerIx, spec, &world.spec);
            world.peers.push(peer);
            world.at(start, Action::Start(ix));
        }
        world
    }

    /// Puts a line into the script.
    pub fn at(&mut self, at: Instant, action: Action) {
        self.script.push(action);
        self.queue.push(at, Event::Script(self.script.len() as u32 - 1));
    }

    /// Runs until everybody who has to finish has, or to the end of `until`, or to the first violation.
    pub fn run(&mut self, until: Instant) -> Result<(), Violation> {
        while self.waiting > 0 {
            if !self.step(until) {
                let late = self.peers.iter().position(|p| p.spec.must_finish && p.stats.complete_at.is_none());
                let good = |ix: usize| self.peers[ix].disk.good().count();
                let pieces = self.spec.plan.geometry.piece_count();
                self.violate(
                    late.unwrap_or(0) as PeerIx,
                    format!(
                        "{} peers have not finished in time; this one has {} of {pieces} pieces",
                        self.waiting,
                        late.map_or(0, good),
                    ),
                );
            }
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
        }
        self.balance()
    }

    /// Runs to the end of `until`, whoever has finished.
    pub fn run_to(&mut self, until: Instant) -> Result<(), Violation> {
        while self.step(until) {
            if let Some(violation) = self.violation.take() {
                return Err(violation);
            }
        }
        self.now = self.now.max(until);
        self.balance()
    }

    /// Everything but the peers.
    pub fn spec(&self) -> &WorldSpec {
        &self.spec
    }

    /// The clock.
    pub fn now(&self) -> Instant {
        self.now
    }

    /// Things that have happened.
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// Deadlines of engines among them.
    pub fn ticks(&self) -> u64 {
        self.ticks
    }

    /// A hash of all that has happened: equal for equal seeds.
    pub fn trace_hash(&self) -> u64 {
        self.trace.hash()
    }

    /// Hands every line of the trace to `sink` from here on. It is slow.
    pub fn trace_to(&mut self, sink: Sink) {
        self.trace.set_sink(sink);
    }

    /// What each peer did so far.
    pub fn stats(&self) -> impl Iterator<Item = (&PeerSpec, &PeerStats)> {
        self.peers.iter().map(|p| (&p.spec, &p.stats))
    }

    /// Connections of a peer, those that it is making included.
    pub fn connections(&self, peer: usize) -> usize {
        self.peers.get(peer).map_or(0, |p| p.conns.len())
    }

    /// The engine of a peer that is up.
    pub fn engine(&self, peer: usize) -> Option<&engine::Engine<Payload>> {
        self.peers.get(peer)?.engine.as_deref()
    }

    /// One thing happens. False if nothing does up to the end of `until`.
    fn step(&mut self, until: Instant) -> bool {
        if self.queue.next_at().is_none_or(|at| at > until) {
            return false;
        }
        let Some((at, event)) = self.queue.pop() else { return false };
        if at > self.now {
            self.inputs_at_now = 0;
        }
        self.now = at;
        self.steps += 1;
        match event {
            Event::Arrive(key) => self.arrive(key),
            Event::Connected(key) => self.connected(key),
            Event::Refused(key) => self.refused(key),
            Event::Deliver(key, side) => self.deliver(key, side),
            Event::Read(key, side) => self.read(key, side, Payload::default()),
            Event::Gone(key, side) => self.gone(key, side),
            Event::Lost(key) => self.lost(key),
            Event::Uplink(peer) => {
                self.peers[peer as usize].link.armed = false;
                self.settle(peer);
            }
            Event::Tick(peer) => self.tick(peer),
            Event::Disk(peer) => self.disk(peer),
            Event::Tell(peer) => self.tell(peer),
            Event::Post(number) => self.post(number),
            Event::Script(number) => self.act(number),
        }
        true
    }

    fn tick(&mut self, ix: PeerIx) {
        let peer = &mut self.peers[ix as usize];
        if peer.armed != self.now {
            return;
        }
        peer.armed = Instant::NEVER;
        let Some(engine) = &peer.engine else { return };
        match engine.deadline() {
            Some(at) if at <= self.now => {
                self.ticks += 1;
                self.feed(ix, Input::Tick);
                self.count_slots(ix);
            }
            _ => self.arm(ix),
        }
    }

    fn disk(&mut self, ix: PeerIx) {
        let peer = &mut self.peers[ix as usize];
        peer.disk_armed = false;
        let mut done = Vec::new();
        while let Some(d) = peer.disk.poll(self.now) {
            done.push((TORRENT, d));
        }
        if let Some(at) = peer.disk.deadline() {
            peer.disk_armed = true;
            self.queue.push(at, Event::Disk(ix));
        }
        if !done.is_empty() {
            self.feed(ix, Input::Disk(done));
        }
    }

    /// Tells an engine of one thing, and does what it then says.
    fn feed(&mut self, ix: PeerIx, input: Input<Payload>) {
        let peer = &mut self.peers[ix as usize];
        let Some(engine) = &mut peer.engine else { return };
        self.trace.input(self.now, ix, &input);
        engine.handle(self.now, input);
        self.inputs_at_now += 1;
        if self.inputs_at_now > INPUTS_AT_ONE_INSTANT_MAX {
            self.violate(ix, "time stands still: the engines keep each other busy".into());
            return;
        }
        self.settle(ix);
        if self.spec.invariants_every > 0 && self.steps.is_multiple_of(u64::from(self.spec.invariants_every)) {
            let checked = self.peers[ix as usize].engine.as_ref().map(|engine| engine.check_invariants());
            if let Some(Err(what)) = checked {
                self.violate(ix, format!("breaks an invariant: {what}"));
            }
        }
    }

    /// Drains an engine, and sends what its uplink has room for, until it has nothing more to say.
    fn settle(&mut self, ix: PeerIx) {
        loop {
            while let Some(output) = self.peers[ix as usize].engine.as_mut().and_then(|e| e.poll()) {
                self.output(ix, output);
            }
            if let Some(input) = self.peers[ix as usize].inbox.pop_front() {
                if let Some(engine) = &mut self.peers[ix as usize].engine {
                    engine.handle(self.now, input);
                }
            } else if !self.pump(ix) {
                break;
            }
        }
        self.arm(ix);
    }

    /// Makes sure that an event comes at the deadline of an engine.
    fn arm(&mut self, ix: PeerIx) {
        let peer = &mut self.peers[ix as usize];
        if let Some(at) = peer.engine.as_ref().and_then(|e| e.deadline()).map(|at| at.max(self.now))
            && at < peer.armed
        {
            peer.armed = at;
            self.queue.push(at, Event::Tick(ix));
        }
    }

    /// Notes the first violation.
    fn violate(&mut self, peer: PeerIx, what: String) {
        self.violation.get_or_insert(Violation { at: self.now, peer: peer as usize, what });
    }
}

/// The random stream that belongs to a seed, a peer, and what it is for.
fn stream(seed: u64, peer: PeerIx, purpose: u32) -> Rng {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..12].copy_from_slice(&peer.to_le_bytes());
    bytes[12..16].copy_from_slice(&purpose.to_le_bytes());
    bytes[16] = 1;
    Rng::from_entropy(bytes)
}
