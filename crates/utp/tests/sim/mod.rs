//! A network in virtual time: endpoints, links with a rate, a queue and faults, and a flow that knows only losses.

#![allow(dead_code, reason = "each test uses a part of it")]

mod link;
mod payload;
mod reno;

use base::{ConnId, Instant, Rng};
pub(crate) use link::Link;
pub(crate) use payload::{Slices, pattern};
pub(crate) use reno::Reno;
use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use utp::{Cause, Config, Endpoint, Input, Output};

/// What a node wants, and what came of it.
#[derive(Debug, Default)]
pub(crate) struct Stream {
    /// Bytes to send in all, and how many were given to the endpoint.
    pub(crate) wants: u64,
    pub(crate) given: u64,
    /// Bytes that came, all of which were right.
    pub(crate) got: u64,
    pub(crate) finished: bool,
    pub(crate) closed: Option<Cause>,
}

pub(crate) struct Node {
    pub(crate) endpoint: Endpoint<Slices>,
    pub(crate) addr: SocketAddr,
    pub(crate) streams: BTreeMap<ConnId, Stream>,
    /// The link that everything it sends goes through.
    pub(crate) link: usize,
    /// What accepted streams send back.
    pub(crate) echo: u64,
    /// It gives credit for what came.
    pub(crate) reads: bool,
    /// It ends its half when it has sent everything.
    pub(crate) ends: bool,
}

/// Looks at a datagram of a node, and lets it pass or not.
pub(crate) type Tap = Box<dyn FnMut(Instant, usize, &mut Vec<u8>) -> bool>;

enum Event {
    Datagram { from: usize, to: usize, data: Vec<u8> },
    Reno(reno::News),
}

pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) rng: Rng,
    pub(crate) nodes: Vec<Node>,
    pub(crate) links: Vec<Link>,
    pub(crate) reno: Option<Reno>,
    /// Every datagram may be looked at, changed or swallowed on its way.
    pub(crate) tap: Option<Tap>,
    events: BTreeMap<(Instant, u64), Event>,
    count: u64,
}

pub(crate) fn addr(node: usize) -> SocketAddr {
    (Ipv4Addr::new(192, 0, 2, node as u8 + 1), 6881).into()
}

impl World {
    /// Node n sends through `links[routes[n]]`.
    pub(crate) fn new(seed: u64, links: Vec<Link>, routes: &[usize]) -> World {
        World::with(seed, links, routes, Config { connections_max: 64, credit: 8 << 20, ..Config::default() })
    }

    pub(crate) fn with(seed: u64, links: Vec<Link>, routes: &[usize], config: Config) -> World {
        let mut rng = Rng::from_seed(seed);
        let mut node = |(i, link): (usize, &usize)| Node {
            endpoint: Endpoint::new(config, rng.fork(i as u64)),
            addr: addr(i),
            streams: BTreeMap::new(),
            link: *link,
            echo: 0,
            reads: true,
            ends: true,
        };
        let nodes = routes.iter().enumerate().map(&mut node).collect();
        // Clocks that wrap around soon.
        let now = Instant::from_micros((1 << 32) - 700_000);
        World { now, rng, nodes, links, reno: None, tap: None, events: BTreeMap::new(), count: 0 }
    }

    /// Node `from` opens a connection to node `to`, and sends `bytes`.
    pub(crate) fn connect(&mut self, from: usize, to: usize, bytes: u64) -> ConnId {
        let conn = ConnId(self.count + 1);
        self.count += 1;
        let (now, to) = (self.now, addr(to));
        self.nodes[from].streams.insert(conn, Stream { wants: bytes, ..Stream::default() });
        self.tell(from, now, Input::Connect { conn, to });
        conn
    }

    pub(crate) fn tell(&mut self, node: usize, now: Instant, input: Input<Slices>) {
        self.nodes[node].endpoint.handle(now, input);
        self.serve(node);
    }

    /// The only stream of a node.
    pub(crate) fn stream(&self, node: usize) -> &Stream {
        self.nodes[node].streams.values().next().expect("a stream")
    }

    /// Runs until `done`, or `seconds` have gone by; false then.
    pub(crate) fn run(&mut self, seconds: f64, mut done: impl FnMut(&World) -> bool) -> bool {
        let end = self.now + Duration::from_secs_f64(seconds);
        if self.reno.is_some() {
            self.reno_sends();
        }
        while !done(self) {
            let event = self.events.first_key_value().map(|(key, _)| key.0);
            let timers = self.nodes.iter().enumerate().filter_map(|(i, n)| n.endpoint.deadline().map(|at| (at, i)));
            let timer = timers.min();
            let next = [event, timer.map(|t| t.0)].into_iter().flatten().min().unwrap_or(Instant::NEVER);
            if next > end {
                self.now = end;
                return false;
            }
            self.now = self.now.max(next);
            match (timer, event) {
                (Some((at, node)), event) if event.is_none_or(|event| at <= event) => {
                    self.tell(node, self.now, Input::Tick);
                }
                _ => self.step(),
            }
        }
        true
    }

    fn step(&mut self) {
        let Some((_, event)) = self.events.pop_first() else { return };
        match event {
            Event::Datagram { from, to, data } => {
                let (now, from, stride) = (self.now, self.nodes[from].addr, data.len());
                self.tell(to, now, Input::Datagrams { from, stride, data: data.into() });
            }
            Event::Reno(news) => {
                if let Some(reno) = &mut self.reno {
                    reno.hear(self.now, news);
                }
                self.reno_sends();
            }
        }
    }

    fn reno_sends(&mut self) {
        let Some(mut reno) = self.reno.take() else { return };
        while let Some(size) = reno.wants(self.now) {
            let link = &mut self.links[reno.link];
            if let Some((at, news)) = reno.sent(self.now, link.carry(self.now, size, &mut self.rng).first().copied()) {
                self.count += 1;
                self.events.insert((at, self.count), Event::Reno(news));
            }
        }
        self.reno = Some(reno);
    }

    fn serve(&mut self, node: usize) {
        let mut buf = vec![0; 65_536];
        loop {
            self.obey(node);
            self.feed(node);
            let Some(out) = self.nodes[node].endpoint.transmit(self.now, &mut buf, 64) else { break };
            let Some(to) = self.nodes.iter().position(|n| n.addr == out.to) else { continue };
            assert!(out.len > 0 && out.stride > 0 && out.len.div_ceil(out.stride) <= 64);
            for datagram in buf[..out.len].chunks(out.stride) {
                self.send(node, to, datagram.to_vec());
            }
        }
    }

    /// Sends a datagram of anybody.
    pub(crate) fn send(&mut self, from: usize, to: usize, mut data: Vec<u8>) {
        if let Some(tap) = &mut self.tap
            && !tap(self.now, from, &mut data)
        {
            return;
        }
        let link = &mut self.links[self.nodes[from].link];
        for at in link.carry(self.now, data.len(), &mut self.rng) {
            self.count += 1;
            self.events.insert((at, self.count), Event::Datagram { from, to, data: data.clone() });
        }
    }

    fn obey(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        while let Some(output) = node.endpoint.poll() {
            match output {
                Output::Accepted { conn, .. } => {
                    node.streams.insert(conn, Stream { wants: node.echo, ..Stream::default() });
                }
                Output::Received { conn, data } => {
                    let stream = node.streams.get_mut(&conn).expect("it was accepted");
                    data.check(stream.got);
                    let bytes = base::Payload::len(&data) as u64;
                    stream.got += bytes;
                    if node.reads {
                        node.endpoint.handle(self.now, Input::Credit { conn, bytes });
                    }
                }
                Output::Finished { conn } => node.streams.get_mut(&conn).expect("known").finished = true,
                Output::Closed { conn, why } => node.streams.get_mut(&conn).expect("known").closed = Some(why),
                Output::Connected { .. } | Output::Room { .. } => {}
            }
        }
    }

    fn feed(&mut self, node: usize) {
        let node = &mut self.nodes[node];
        for (conn, stream) in &mut node.streams {
            let room = node.endpoint.room(*conn) as u64;
            let bytes = room.min(stream.wants - stream.given);
            // Not in crumbs, as a disk would not.
            if bytes > 0 && (bytes >= 16_384 || stream.wants - stream.given <= bytes) {
                node.endpoint
                    .handle(self.now, Input::Send { conn: *conn, data: pattern(stream.given, bytes as usize) });
                stream.given += bytes;
                if stream.given == stream.wants && node.ends {
                    node.endpoint.handle(self.now, Input::Shutdown { conn: *conn });
                }
            }
        }
    }
}
