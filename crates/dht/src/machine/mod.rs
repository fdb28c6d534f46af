//! The machine: one node in both families.
//!
//! What belongs together is in one file each: what is answered (`serve`), what answers do (`replies`), what is looked for on
//! somebody's behalf (`jobs`), and what keeps the table alive (`upkeep`).

mod jobs;
mod replies;
mod serve;
#[cfg(test)]
mod tests;
mod upkeep;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;

use base::{Instant, JobId, NodeId, Rng, Scope, pop_or_trim};
use wire::krpc::{Ask, Body, Message, Query, Want};

use crate::io::{Config, Counts, FamilyStats, Input, Output, Stats};
use crate::items::ItemStore;
use crate::limiter::Limiter;
use crate::peers::PeerStore;
use crate::queries::{Overdue, Queries};
use crate::secure;
use crate::snapshot::{Known, SNAPSHOT_NODES_MAX, Snapshot};
use crate::table::{K, Table};
use crate::tokens::Tokens;
use crate::votes::Votes;
use jobs::{Job, Running};
use serve::Held;
use upkeep::{BUSY_TICK, Joining, TICK};

/// Nodes of which somebody spoke and that will be asked; further ones are not remembered.
pub(crate) const GREETINGS_MAX: usize = 64;
/// Addresses of nodes to begin with.
pub(crate) const BOOTSTRAP_MAX: usize = 64;

/// One node of the DHT, in one family of addresses or in both.
#[derive(Debug)]
pub struct Dht {
    config: Config,
    rng: Rng,
    v4: Option<Family>,
    v6: Option<Family>,
    queries: Queries<Purpose>,
    lookups: BTreeMap<u32, Running>,
    lookup_ids: u32,
    jobs: BTreeMap<JobId, Job>,
    /// When jobs are to run (again).
    due: BTreeSet<(Instant, JobId)>,
    tokens: Tokens,
    peers: PeerStore,
    items: ItemStore,
    limiter: Limiter,
    /// Answers that wait until the asker has proven that he receives at his address.
    held: usize,
    bootstrap: Vec<SocketAddr>,
    out: VecDeque<Output>,
    counts: Counts,
    tick_at: Instant,
    /// When anything was last heard.
    heard_at: Option<Instant>,
    closed: bool,
}

/// What belongs to one family of addresses.
#[derive(Debug)]
struct Family {
    table: Table,
    votes: Votes,
    joining: Joining,
    /// Nodes of which somebody spoke, and for which there is a place: to be asked.
    greetings: VecDeque<(NodeId, SocketAddr)>,
}

impl Family {
    fn new(id: NodeId, wide: bool) -> Self {
        Family {
            table: Table::new(id, wide),
            votes: Votes::default(),
            joining: Joining::default(),
            greetings: VecDeque::new(),
        }
    }

    /// Somebody spoke of a node: it will be asked, if there is a place for it.
    fn hear_of(&mut self, id: NodeId, addr: SocketAddr) {
        let told = self.greetings.iter().any(|(_, other)| *other == addr);
        if self.greetings.len() < GREETINGS_MAX && !told && self.table.wants(&id, addr) {
            self.greetings.push_back((id, addr));
        }
    }
}

/// What a question is for.
#[derive(Debug)]
enum Purpose {
    /// Is the node there?
    Ping,
    /// A step of a lookup.
    Step(u32),
    /// To store what a lookup found the place for.
    Store(u32),
    /// The asker of something long has to show that he receives at his address.
    Prove(Box<Held>),
}

impl Dht {
    /// A node. `known` is what an earlier run knew; the clock is the one of all further calls.
    pub fn new(now: Instant, config: Config, known: &Snapshot, mut rng: Rng) -> Self {
        let mut family = |on: bool, known: &Known| {
            on.then(|| {
                let id = known.id.unwrap_or_else(|| NodeId::random(&mut rng));
                let mut family = Family::new(id, config.wide);
                known.nodes.iter().for_each(|(id, addr)| family.table.suppose(now, *id, *addr, None));
                family
            })
        };
        let (v4, v6) = (family(config.v4, &known.v4), family(config.v6, &known.v6));
        Dht {
            v4,
            v6,
            queries: Queries::new(),
            lookups: BTreeMap::new(),
            lookup_ids: 0,
            jobs: BTreeMap::new(),
            due: BTreeSet::new(),
            tokens: Tokens::new(&mut rng),
            peers: PeerStore::default(),
            items: ItemStore::default(),
            limiter: Limiter::new(config.answer_bytes_per_s, &mut rng),
            held: 0,
            bootstrap: Vec::new(),
            out: VecDeque::new(),
            counts: Counts::default(),
            tick_at: now + TICK,
            heard_at: None,
            closed: false,
            config,
            rng,
        }
    }

    /// Takes one thing that happened. Drain [`Dht::poll`] afterwards.
    pub fn handle(&mut self, now: Instant, input: Input) {
        if self.closed {
            return;
        }
        match input {
            Input::Datagram { from, data } => self.datagram(now, from, &data),
            Input::Tick => {}
            Input::Bootstrap(addrs) => self.learn_bootstrap(now, addrs),
            Input::Nodes(addrs) => self.learn_nodes(addrs),
            Input::External(ip) => self.settle_external(now, ip),
            Input::Shutdown => return self.shut_down(),
            Input::Stop { job } => self.stop(job),
            job => self.take_job(now, job),
        }
        let heard = [&self.v4, &self.v6].into_iter().flatten().any(|f| !f.greetings.is_empty());
        if heard {
            self.tick_at = self.tick_at.min(now + BUSY_TICK);
        }
        self.advance(now);
    }

    /// The next thing to do or to know; None until something happens.
    pub fn poll(&mut self) -> Option<Output> {
        pop_or_trim(&mut self.out)
    }

    /// When [`Input::Tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        if self.closed {
            return None;
        }
        let jobs = self.due.first().map(|(at, _)| *at).filter(|_| self.has_room_for_lookup());
        [Some(self.tick_at), self.queries.deadline(), jobs].into_iter().flatten().min()
    }

    /// What should survive a restart.
    pub fn snapshot(&self) -> Snapshot {
        let known = |family: &Option<Family>| {
            family.as_ref().map_or_else(Known::default, |f| {
                let id = f.table.own();
                let mut nodes: Vec<_> = f.table.keepsakes().collect();
                nodes.sort_by_key(|(other, _)| id.distance(other));
                nodes.truncate(SNAPSHOT_NODES_MAX);
                Known { id: Some(id), nodes }
            })
        };
        Snapshot { v4: known(&self.v4), v6: known(&self.v6) }
    }

    /// How the node does.
    pub fn stats(&self, now: Instant) -> Stats {
        let family = |family: &Option<Family>| {
            family.as_ref().map(|f| FamilyStats {
                id: f.table.own(),
                external: f.votes.decided(),
                nodes: f.table.len(),
                good: f.table.good(now),
                spares: f.table.spares(),
                buckets: f.table.depth(),
            })
        };
        Stats {
            v4: family(&self.v4),
            v6: family(&self.v6),
            queries: self.queries.len(),
            lookups: self.lookups.len(),
            jobs: self.jobs.len(),
            stored_torrents: self.peers.torrents(),
            stored_peers: self.peers.peers(),
            stored_items: self.items.len(),
            soft_timeout: self.queries.soft(),
            counts: self.counts,
        }
    }

    /// Takes nodes for good without asking them: for experiments with tables that are given. Nodes of strangers come by
    /// [`Input::Nodes`].
    pub fn assume(&mut self, now: Instant, nodes: impl IntoIterator<Item = (NodeId, SocketAddr)>) {
        for (id, addr) in nodes {
            if let Some(family) = self.family_mut(addr) {
                family.table.suppose(now, id, addr, Some(now));
            }
        }
    }

    fn family(&self, addr: SocketAddr) -> Option<&Family> {
        if addr.is_ipv4() { self.v4.as_ref() } else { self.v6.as_ref() }
    }

    fn family_mut(&mut self, addr: SocketAddr) -> Option<&mut Family> {
        if addr.is_ipv4() { self.v4.as_mut() } else { self.v6.as_mut() }
    }

    fn shut_down(&mut self) {
        self.closed = true;
        self.out.clear();
        self.lookups.clear();
        self.jobs.clear();
        self.due.clear();
    }

    /// Lets time do its work.
    fn advance(&mut self, now: Instant) {
        while let Some(overdue) = self.queries.overdue(now) {
            match overdue {
                Overdue::Slow(tx) => self.slow(now, tx),
                Overdue::Late(tx) => self.late(now, tx),
                Overdue::Lost(pending) => self.lost(now, pending),
            }
        }
        if now >= self.tick_at {
            self.tick(now);
        }
        self.start_due_jobs(now);
    }

    fn datagram(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        self.counts.received += 1;
        self.counts.received_bytes += data.len() as u64;
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        let reachable = from.port() != 0 && Scope::of(from.ip()).is_some();
        if !reachable || self.family(from).is_none() {
            self.counts.nowhere += 1;
            return;
        }
        match Message::parse(data) {
            Ok(Message { body: Body::Query(query), transaction, read_only, .. }) => {
                self.serve(now, from, transaction, query, read_only, data.len());
            }
            Ok(message) => self.answer_came(now, from, &message),
            Err(error) => self.refuse(now, from, &error, data.len()),
        }
    }

    /// Asks somebody something. False if too many questions are out.
    fn ask(&mut self, now: Instant, to: SocketAddr, id: Option<NodeId>, ask: Ask<'_>, purpose: Purpose) -> bool {
        let Some(family) = self.family(to) else { return false };
        let own = family.table.own();
        // While one family is poor, nodes of the other may help (BEP 32).
        let helps = |other: &Option<Family>| other.as_ref().is_some_and(|f| f.table.len() < K);
        let both = helps(if to.is_ipv4() { &self.v6 } else { &self.v4 }) && matches!(ask, Ask::FindNode { .. });
        let Some(transaction) = self.queries.add(now, to, id, purpose, &mut self.rng) else { return false };
        let want = Want { v4: both, v6: both };
        let message = Message {
            transaction: &transaction,
            version: self.config.version,
            read_only: self.config.read_only,
            ip: None,
            body: Body::Query(Query { id: own, want, ask }),
        };
        self.send(to, message.encode());
        true
    }

    fn send(&mut self, to: SocketAddr, data: Vec<u8>) {
        self.counts.sent += 1;
        self.counts.sent_bytes += data.len() as u64;
        self.out.push_back(Output::Datagram { to, data });
    }

    /// The network itself is down if nobody at all is heard of: then silence says nothing about a node.
    fn is_cut_off(&self, now: Instant) -> bool {
        self.heard_at.is_none_or(|at| now.since(at) > crate::queries::HARD_TIMEOUT * 4)
    }

    /// Our address is known: the id follows it, if it does not fit.
    fn settle_external(&mut self, now: Instant, ip: std::net::IpAddr) {
        let ip = ip.to_canonical();
        if Scope::of(ip) != Some(Scope::Global) {
            return;
        }
        let family = if ip.is_ipv4() { self.v4.as_mut() } else { self.v6.as_mut() };
        let Some(family) = family else { return };
        family.votes.decide(ip);
        if !secure::fits(&family.table.own(), ip) {
            family.table.rebase(now, secure::id_for(ip, &mut self.rng));
            family.joining.begin(now);
        }
        self.out.push_back(Output::External { ip });
    }
}
