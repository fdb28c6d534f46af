//! A small world for tests: clients and trackers in virtual time, without delays. Trackers over HTTP are asked by query
//! strings, over UDP by datagrams; whatever can't be reached fails at once over HTTP and is silent over UDP.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base::{InfoHash, Instant, PeerId, Rng};

use crate::client::{Client, Config, HttpReply, Input, Output, State};
use crate::server::{self, Server};
use crate::url::Url;

pub(crate) const HASH: InfoHash = InfoHash([7; 20]);
pub(crate) const HASH_V2: InfoHash = InfoHash([8; 20]);

/// One peer: its client, its addresses, and all that its client said to it.
pub(crate) struct Peer {
    pub(crate) client: Client,
    ips: Vec<IpAddr>,
    pub(crate) said: Vec<(Instant, Output)>,
}

#[derive(Default)]
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) servers: BTreeMap<SocketAddr, Server>,
    pub(crate) peers: Vec<Peer>,
    pub(crate) names: BTreeMap<String, Vec<SocketAddr>>,
    /// What an address answers over HTTP in place of a tracker.
    pub(crate) pages: BTreeMap<SocketAddr, HttpReply>,
    /// Addresses that don't answer at all.
    pub(crate) mute: BTreeSet<SocketAddr>,
}

pub(crate) fn addr(text: &str) -> SocketAddr {
    text.parse().expect("an address")
}

pub(crate) fn config(tiers: &[&[&str]]) -> Config {
    let tiers = tiers.iter().map(|tier| tier.iter().map(|url| (*url).to_owned()).collect()).collect();
    Config {
        hashes: vec![HASH],
        tiers,
        peer_id: PeerId([b'p'; 20]),
        port_v4: 6881,
        port_v6: 6881,
        key: 1,
        numwant: 200,
    }
}

impl World {
    pub(crate) fn server(&mut self, at: &str, config: server::Config) -> &mut Server {
        let seed = self.servers.len() as u64;
        self.servers.entry(addr(at)).or_insert_with(|| Server::new(config, Rng::from_seed(seed)))
    }

    /// A peer that has begun to announce.
    pub(crate) fn peer(&mut self, ips: &[&str], config: Config, left: u64) -> usize {
        let client = Client::new(config, Rng::from_seed(100 + self.peers.len() as u64));
        let ips = ips.iter().map(|ip| ip.parse().expect("an address")).collect();
        self.peers.push(Peer { client, ips, said: Vec::new() });
        let i = self.peers.len() - 1;
        let stats = crate::Stats { left, wants_peers: true, ..Default::default() };
        self.peers[i].client.handle(self.now, Input::Stats(stats));
        self.tell(i, Input::Start);
        i
    }

    pub(crate) fn tell(&mut self, i: usize, input: Input) {
        self.peers[i].client.handle(self.now, input);
        while let Some(output) = self.peers[i].client.poll() {
            let now = self.now;
            self.peers[i].said.push((now, output.clone()));
            if let Some(answer) = self.answer(i, output) {
                self.peers[i].client.handle(now, answer);
            }
        }
    }

    /// Lets time pass, stopping wherever something is due.
    pub(crate) fn run(&mut self, time: Duration) {
        let end = self.now + time;
        for _ in 0..100_000 {
            let clients = self.peers.iter().filter_map(|p| p.client.deadline());
            let next = clients.chain(self.servers.values().filter_map(Server::deadline)).min();
            let Some(next) = next.filter(|t| *t <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            for i in 0..self.peers.len() {
                if self.peers[i].client.deadline().is_some_and(|t| t <= self.now) {
                    self.tell(i, Input::Tick);
                    let after = self.peers[i].client.deadline();
                    assert!(after.is_none_or(|t| t > self.now), "the deadline {after:?} stays in the past");
                }
            }
            self.servers.values_mut().for_each(|s| s.tick(self.now));
        }
        panic!("time stands still");
    }

    pub(crate) fn run_secs(&mut self, s: u64) {
        self.run(Duration::from_secs(s));
    }

    fn source(&self, i: usize, to: SocketAddr) -> Option<IpAddr> {
        self.peers[i].ips.iter().find(|ip| ip.is_ipv4() == to.is_ipv4()).copied()
    }

    fn answer(&mut self, i: usize, output: Output) -> Option<Input> {
        match output {
            Output::Resolve { job, host, port } => {
                let found = self.names.get(&host).cloned().ok_or("no such host".to_owned());
                let found = found.map(|list| list.into_iter().map(|a| SocketAddr::new(a.ip(), port)).collect());
                Some(Input::Resolved { job, result: found })
            }
            Output::Fetch { job, .. } if self.mute.contains(&fetch_to(&output)) => {
                let _ = job;
                None
            }
            Output::Fetch { job, url, to } => {
                let url = Url::parse(&url).expect("a URL that can be fetched");
                let query = url.query().unwrap_or_default();
                let now = self.now;
                let result = match (self.source(i, to), self.pages.get(&to), self.servers.get_mut(&to)) {
                    (Some(_), Some(page), _) => Ok(page.clone()),
                    (Some(from), _, Some(server)) => {
                        let body = match url.path().ends_with("/scrape") {
                            true => server.scrape_http(query, from),
                            false => server.announce_http(now, query, from),
                        };
                        Ok(HttpReply { status: 200, location: None, body })
                    }
                    _ => Err("connection refused".to_owned()),
                };
                Some(Input::Fetched { job, result })
            }
            Output::Datagram { to, data } if !self.mute.contains(&to) => {
                let from = SocketAddr::new(self.source(i, to)?, 6881);
                let mut reply = Vec::new();
                let answered = self.servers.get_mut(&to)?.udp(self.now, from, &data, &mut reply);
                answered.then_some(Input::Datagram { from: to, data: reply })
            }
            _ => None,
        }
    }

    /// All peers that `i` was told of since it was asked last.
    pub(crate) fn told(&mut self, i: usize) -> BTreeSet<SocketAddr> {
        let mut told = BTreeSet::new();
        for (_, output) in std::mem::take(&mut self.peers[i].said) {
            if let Output::Peers { addrs, .. } = output {
                told.extend(addrs);
            }
        }
        told
    }

    /// When `i` fetched or sent something, and to where.
    pub(crate) fn asked(&self, i: usize) -> Vec<(u64, SocketAddr)> {
        let to = |o: &Output| match o {
            Output::Fetch { to, .. } | Output::Datagram { to, .. } => Some(*to),
            _ => None,
        };
        self.peers[i].said.iter().filter_map(|(at, o)| Some((at.as_micros() / 1_000_000, to(o)?))).collect()
    }

    /// The states of the trackers of `i`.
    pub(crate) fn states(&self, i: usize) -> Vec<(String, State, String)> {
        self.peers[i].client.statuses().map(|s| (s.url, s.state, s.message.unwrap_or_default())).collect()
    }
}

fn fetch_to(output: &Output) -> SocketAddr {
    match output {
        Output::Fetch { to, .. } => *to,
        _ => unreachable!("only fetches"),
    }
}
