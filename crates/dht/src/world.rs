//! A small network for tests: hundreds of nodes in virtual time, with delay, loss, dead nodes, and nodes that are read-only.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::net::SocketAddr;
use std::time::Duration;

use base::{Instant, JobId, Rng};

use crate::{Config, Dht, Input, Output, Snapshot, Summary};

/// One node: its machine and what it said.
pub(crate) struct Node {
    pub(crate) dht: Dht,
    pub(crate) addrs: Vec<SocketAddr>,
    pub(crate) alive: bool,
    pub(crate) said: Vec<(Instant, Output)>,
    latency: Duration,
    wake: Instant,
}

enum Event {
    Deliver { from: SocketAddr, to: SocketAddr, data: Vec<u8> },
    Tick(usize),
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) nodes: Vec<Node>,
    pub(crate) rng: Rng,
    /// One in so many datagrams is lost; 0: none.
    pub(crate) loss_one_in: u64,
    /// Datagrams delivered, and a hash over all of them.
    pub(crate) delivered: u64,
    pub(crate) trace: u64,
    by_addr: BTreeMap<SocketAddr, usize>,
    heap: BinaryHeap<Reverse<(Instant, u64)>>,
    events: BTreeMap<u64, Event>,
    made: u64,
}

/// The address of node `i` on the Internet: each in a network of its own.
pub(crate) fn public(i: usize) -> SocketAddr {
    SocketAddr::from(([20 + (i >> 16) as u8, (i >> 8) as u8, i as u8, 7], 6881))
}

/// The same over IPv6.
pub(crate) fn public6(i: usize) -> SocketAddr {
    SocketAddr::from((std::net::Ipv6Addr::new(0x2001, 0xdb8, i as u16, 0, 0, 0, 0, 7), 6881))
}

/// The address of node `i` where all are on one machine.
pub(crate) fn local(i: usize) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 10_000 + i as u16))
}

impl World {
    pub(crate) fn new(seed: u64) -> Self {
        World {
            now: Instant::from_secs(1_000),
            nodes: Vec::new(),
            rng: Rng::from_seed(seed),
            loss_one_in: 0,
            delivered: 0,
            trace: 0,
            by_addr: BTreeMap::new(),
            heap: BinaryHeap::new(),
            events: BTreeMap::new(),
            made: 0,
        }
    }

    pub(crate) fn add(&mut self, addrs: &[SocketAddr], config: Config, known: &Snapshot) -> usize {
        let has = |v4: bool| addrs.iter().any(|a| a.is_ipv4() == v4);
        let config = Config { v4: has(true), v6: has(false), ..config };
        let i = self.nodes.len();
        let dht = Dht::new(self.now, config, known, self.rng.fork(i as u64));
        let latency = Duration::from_millis(5 + self.rng.below(60));
        let node = Node { dht, addrs: addrs.to_vec(), alive: true, said: Vec::new(), latency, wake: Instant::NEVER };
        self.by_addr.extend(addrs.iter().map(|addr| (*addr, i)));
        self.nodes.push(node);
        i
    }

    /// A node that joins by way of another.
    pub(crate) fn join(&mut self, addrs: &[SocketAddr], config: Config, via: Option<usize>) -> usize {
        let i = self.add(addrs, config, &Snapshot::default());
        let via = via.map(|via| self.nodes[via].addrs.clone()).unwrap_or_default();
        self.tell(i, Input::Bootstrap(via));
        i
    }

    /// So many nodes that have joined, one a second, by way of random others.
    pub(crate) fn network(seed: u64, count: usize, addr: fn(usize) -> SocketAddr) -> World {
        let mut world = World::new(seed);
        for i in 0..count {
            let via = (i > 0).then(|| world.rng.index(i));
            world.join(&[addr(i)], Config::default(), via);
            world.run_secs(1);
        }
        world.run_secs(60);
        world
    }

    pub(crate) fn tell(&mut self, i: usize, input: Input) {
        self.nodes[i].dht.handle(self.now, input);
        self.drain(i);
    }

    fn push(&mut self, at: Instant, event: Event) {
        self.made += 1;
        self.heap.push(Reverse((at, self.made)));
        self.events.insert(self.made, event);
    }

    fn drain(&mut self, i: usize) {
        while let Some(output) = self.nodes[i].dht.poll() {
            let Output::Datagram { to, data } = output else {
                self.nodes[i].said.push((self.now, output));
                continue;
            };
            let node = &self.nodes[i];
            let from = node.addrs.iter().find(|a| a.is_ipv4() == to.is_ipv4()).copied();
            let from = from.expect("a node has a socket for whom it writes to");
            let latency = node.latency + Duration::from_micros(self.rng.below(5_000));
            if self.loss_one_in == 0 || !self.rng.one_in(self.loss_one_in) {
                self.push(self.now + latency, Event::Deliver { from, to, data });
            }
        }
        if let Some(at) = self.nodes[i].dht.deadline().filter(|at| *at < self.nodes[i].wake) {
            self.nodes[i].wake = at;
            self.push(at, Event::Tick(i));
        }
    }

    /// Lets time pass.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        while let Some(Reverse((at, made))) = self.heap.peek().copied().filter(|Reverse((at, _))| *at <= end) {
            self.heap.pop();
            self.now = self.now.max(at);
            match self.events.remove(&made).expect("each entry of the heap has its event") {
                Event::Tick(i) => {
                    self.nodes[i].wake = Instant::NEVER;
                    if self.nodes[i].alive {
                        self.tell(i, Input::Tick);
                        let after = self.nodes[i].dht.deadline();
                        assert!(after.is_none_or(|t| t > self.now), "the deadline {after:?} stays in the past");
                    }
                }
                Event::Deliver { from, to, data } => {
                    let Some(i) = self.by_addr.get(&to).copied().filter(|i| self.nodes[*i].alive) else { continue };
                    self.delivered += 1;
                    let sum = data.iter().fold(self.now.as_micros(), |h, b| h.rotate_left(5) ^ u64::from(*b));
                    self.trace = (self.trace.rotate_left(7) ^ sum).wrapping_mul(0x517c_c1b7_2722_0a95);
                    self.tell(i, Input::Datagram { from, data });
                }
            }
        }
        self.now = end;
    }

    pub(crate) fn run_secs(&mut self, s: u64) {
        self.run(Duration::from_secs(s));
    }

    pub(crate) fn kill(&mut self, i: usize) {
        self.nodes[i].alive = false;
    }

    /// What node `i` said of a job when it was over, the last time.
    pub(crate) fn done(&self, i: usize, job: u64) -> Option<&Summary> {
        self.nodes[i].said.iter().rev().find_map(|(_, output)| match output {
            Output::Done { job: JobId(other), summary } if *other == job => Some(summary),
            _ => None,
        })
    }

    /// All peers that node `i` told of, for a job.
    pub(crate) fn found(&self, i: usize, job: u64) -> Vec<SocketAddr> {
        let addrs = self.nodes[i].said.iter().filter_map(|(_, output)| match output {
            Output::Peers { job: JobId(other), addrs, .. } if *other == job => Some(addrs.clone()),
            _ => None,
        });
        let mut all: Vec<_> = addrs.flatten().collect();
        all.sort();
        all
    }
}
