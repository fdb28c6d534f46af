//! What is looked for on somebody's behalf, and the lookups that do it: one in each family.
//!
//! A job runs when it comes; an announce again every 15 minutes, a stored item every hour, sooner where nobody stored it. Lookups
//! for upkeep belong to no job.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use base::{InfoHash, Instant, JobId, NodeId, Scope, may_use};
use wire::krpc::{Ask, Bloom, Mutable, Reply, code};

use super::{Dht, Purpose};
use crate::io::{Announce, Input, Name, Output, Summary};
use crate::items::{Item, Signed, immutable_target, mutable_target};
use crate::lookup::Lookup;
use crate::peers::{PEERS_MAX, Wanted};
use crate::table::K;

/// Jobs; one more is refused.
pub(crate) const JOBS_MAX: usize = 20_000;
/// Lookups at once; further jobs wait.
pub(super) const LOOKUPS_MAX: usize = 32;
/// Peers that one run of a job tells of.
pub(crate) const FOUND_MAX: usize = 2_000;
/// An announce is repeated after so long.
pub(crate) const ANNOUNCE_EVERY: Duration = Duration::from_secs(15 * 60);
/// A stored item is put again after so long.
pub(crate) const PUT_EVERY: Duration = Duration::from_secs(60 * 60);
/// What nobody stored is tried again after so long, doubling.
const RETRY: Duration = Duration::from_secs(15);
/// A job that knows nobody to ask waits so long for somebody ...
const PATIENCE: Duration = Duration::from_secs(30);
/// ... and looks around that often.
const LOOK_AROUND: Duration = Duration::from_secs(2);

/// What somebody wants.
#[derive(Clone, Debug)]
enum Task {
    Peers { info_hash: InfoHash, announce: Option<Announce>, scrape: bool },
    Node(NodeId),
    Get(Name),
    Put { item: Item, cas: Option<i64> },
}

impl Task {
    fn target(&self) -> NodeId {
        match self {
            Task::Peers { info_hash, .. } => (*info_hash).into(),
            Task::Node(target) => *target,
            Task::Get(name) => name.target(),
            Task::Put { item, .. } => item.target(),
        }
    }

    /// It is repeated after so long.
    fn every(&self) -> Option<Duration> {
        match self {
            Task::Peers { announce: Some(_), .. } => Some(ANNOUNCE_EVERY),
            Task::Put { .. } => Some(PUT_EVERY),
            _ => None,
        }
    }
}

impl Name {
    /// What it is called in the key space.
    pub fn target(&self) -> NodeId {
        match self {
            Name::Immutable(target) => *target,
            Name::Mutable { key, salt } => mutable_target(key, salt),
        }
    }
}

/// What somebody wants, and how far it is.
#[derive(Debug)]
pub(super) struct Job {
    task: Task,
    /// Lookups of this run.
    running: usize,
    summary: Summary,
    found: BTreeSet<SocketAddr>,
    best: Option<Item>,
    blooms: Option<(Bloom, Bloom)>,
    /// Runs in a row after which nothing was stored.
    fruitless: u32,
    /// Since when it has known nobody to ask.
    starving: Option<Instant>,
}

/// What one lookup asks.
#[derive(Clone, Copy, Debug)]
pub(super) enum Goal {
    /// Nodes.
    Nodes,
    /// Nodes, to join the network.
    Join,
    /// Peers.
    Peers { info_hash: InfoHash, scrape: bool },
    /// An item.
    Item,
}

/// A lookup under way.
#[derive(Debug)]
pub(super) struct Running {
    job: Option<JobId>,
    v4: bool,
    goal: Goal,
    pub(super) lookup: Lookup,
    started: Instant,
    queries: u32,
    pub(super) answers: u32,
    /// Where something was sent to be stored and no answer came yet; None while the lookup goes on.
    storing: Option<BTreeSet<SocketAddr>>,
    blooms: Option<(Bloom, Bloom)>,
}

impl Running {
    /// Takes from an answer what needs no judgement.
    pub(super) fn found(&mut self, reply: &Reply<'_>) {
        if let (Some(seeds), Some(peers)) = (reply.seeds, reply.peers) {
            let blooms = self.blooms.get_or_insert_default();
            blooms.0.join(&Bloom(*seeds));
            blooms.1.join(&Bloom(*peers));
        }
    }
}

impl Dht {
    pub(super) fn take_job(&mut self, now: Instant, input: Input) {
        let (job, task) = match input {
            Input::Lookup { job, info_hash, announce, scrape } => (job, Task::Peers { info_hash, announce, scrape }),
            Input::FindNode { job, target } => (job, Task::Node(target)),
            Input::Get { job, item } => (job, Task::Get(item)),
            Input::Put { job, item, cas } => (job, Task::Put { item, cas }),
            _ => return,
        };
        self.stop(job);
        if self.jobs.len() >= JOBS_MAX {
            let refused = Some((code::SERVER, format!("more than {JOBS_MAX} jobs at once")));
            self.out.push_back(Output::Done { job, summary: Summary { refused, ..Summary::default() } });
            return;
        }
        let new = Job {
            task,
            running: 0,
            summary: Summary::default(),
            found: BTreeSet::new(),
            best: None,
            blooms: None,
            fruitless: 0,
            starving: None,
        };
        self.jobs.insert(job, new);
        self.due.insert((now, job));
    }

    pub(super) fn stop(&mut self, job: JobId) {
        if self.jobs.remove(&job).is_some() {
            self.due.retain(|(_, other)| *other != job);
            self.lookups.retain(|_, running| running.job != Some(job));
        }
    }

    pub(super) fn has_room_for_lookup(&self) -> bool {
        self.lookups.len() < LOOKUPS_MAX
    }

    pub(super) fn start_due_jobs(&mut self, now: Instant) {
        while self.has_room_for_lookup()
            && let Some((at, job)) = self.due.first().copied().filter(|(at, _)| *at <= now)
        {
            self.due.remove(&(at, job));
            self.run_job(now, job);
        }
    }

    /// Jobs that knew nobody to ask look around again.
    pub(super) fn wake_starving(&mut self, now: Instant) {
        let starving: Vec<_> = self.jobs.iter().filter(|(_, j)| j.starving.is_some()).map(|(id, _)| *id).collect();
        self.due.retain(|(_, job)| !starving.contains(job));
        self.due.extend(starving.into_iter().map(|job| (now, job)));
    }

    fn run_job(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let starving = job.starving.take();
        // What was told while there was nobody to ask is not told again.
        if starving.is_none() {
            (job.summary, job.blooms, job.best) = (Summary::default(), None, None);
            job.found.clear();
        }
        let task = job.task.clone();
        self.look_at_home(now, id, &task);
        if !self.jobs.contains_key(&id) {
            return;
        }
        let goal = match task {
            Task::Peers { info_hash, scrape, .. } => Goal::Peers { info_hash, scrape },
            Task::Node(_) => Goal::Nodes,
            Task::Get(_) | Task::Put { .. } => Goal::Item,
        };
        let families = [true, false].into_iter();
        let begun: Vec<u32> =
            families.filter_map(|v4| self.begin(now, Some(id), v4, goal, task.target(), true)).collect();
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.running = begun.len();
        if begun.is_empty() {
            let since = starving.unwrap_or(now);
            if now.since(since) < PATIENCE {
                job.starving = Some(since);
                self.due.insert((now + LOOK_AROUND, id));
            } else {
                self.finish(now, id);
            }
            return;
        }
        begun.into_iter().for_each(|lookup| self.drive(now, lookup));
    }

    /// What we keep for others may be just what is wanted.
    fn look_at_home(&mut self, now: Instant, id: JobId, task: &Task) {
        match task {
            Task::Peers { info_hash, .. } => {
                for v4 in [true, false] {
                    let wanted = Wanted { v4, scope: Scope::Loopback, noseed: false, max: PEERS_MAX };
                    let peers = self.peers.pick(now, &mut self.rng, *info_hash, wanted).unwrap_or_default();
                    // Each of them announced its own address, and so is its own teller.
                    for addr in peers {
                        self.tell_peers(id, *info_hash, vec![addr], Scope::of(addr.ip()).unwrap_or(Scope::Global));
                    }
                }
            }
            Task::Get(name) => {
                if let Some(item) = self.items.find(now, &name.target()).cloned() {
                    self.take_item(now, id, item);
                }
            }
            Task::Node(_) | Task::Put { .. } => {}
        }
    }

    /// Begins a lookup; None if there is nobody to ask. [`Dht::drive`] sends its first questions.
    pub(super) fn begin(
        &mut self,
        now: Instant,
        job: Option<JobId>,
        v4: bool,
        goal: Goal,
        target: NodeId,
        may_bootstrap: bool,
    ) -> Option<u32> {
        let family = if v4 { self.v4.as_ref() } else { self.v6.as_ref() }?;
        let known = family.table.closest(&target, 2 * K);
        let poor = family.table.good(now) < K;
        let mut lookup = Lookup::new(target, K, self.config.alpha, self.config.enforce_ids);
        if may_bootstrap && poor {
            self.bootstrap.iter().filter(|addr| addr.is_ipv4() == v4).for_each(|addr| lookup.add_seed(*addr));
        }
        known.into_iter().for_each(|(id, addr)| lookup.add(id, addr, 0));
        if lookup.is_done() {
            return None;
        }
        self.lookup_ids = self.lookup_ids.wrapping_add(1);
        let (queries, answers, storing, blooms) = (0, 0, None, None);
        let running = Running { job, v4, goal, lookup, started: now, queries, answers, storing, blooms };
        self.lookups.insert(self.lookup_ids, running);
        Some(self.lookup_ids)
    }

    /// Asks whom a lookup wants to ask, and ends it when it is done.
    pub(super) fn drive(&mut self, now: Instant, id: u32) {
        loop {
            let Some(running) = self.lookups.get_mut(&id).filter(|r| r.storing.is_none()) else { return };
            if running.lookup.is_done() {
                return self.closest_known(now, id);
            }
            let Some((to, node)) = running.lookup.next() else { return };
            running.queries += 1;
            let target = running.lookup.target();
            let ask = match running.goal {
                Goal::Nodes | Goal::Join => Ask::FindNode { target },
                Goal::Peers { info_hash, scrape } => Ask::GetPeers { info_hash, noseed: false, scrape },
                Goal::Item => Ask::Get { target, seq: None },
            };
            if !self.ask(now, to, node, ask, Purpose::Step(id)) {
                // The next answer or timeout goes on.
                if let Some(running) = self.lookups.get_mut(&id) {
                    running.lookup.put_back(to);
                    running.queries -= 1;
                }
                return;
            }
        }
    }

    /// What an answer to a step of a job brought.
    pub(super) fn take_findings(
        &mut self,
        now: Instant,
        lookup: u32,
        from: SocketAddr,
        told_by: Scope,
        reply: &Reply<'_>,
    ) {
        let Some(id) = self.lookups.get(&lookup).and_then(|r| r.job) else { return };
        let Some(job) = self.jobs.get(&id) else { return };
        match (&job.task, &reply.values, reply.value) {
            (Task::Peers { info_hash, .. }, Some(values), _) => {
                let same = |addr: &&SocketAddr| addr.is_ipv4() == from.is_ipv4();
                let (usable, refused): (Vec<_>, Vec<_>) =
                    values.iter().filter(same).partition(|addr| may_use(**addr, told_by));
                self.counts.refused_addrs += refused.len() as u64;
                self.tell_peers(id, *info_hash, usable, told_by);
            }
            (Task::Get(name), _, Some(value)) => {
                let item = match name {
                    Name::Immutable(target) if immutable_target(value) == *target => {
                        Item { value: value.into(), mutable: None }
                    }
                    Name::Mutable { key, salt } => {
                        let (Some(seq), Some(signature)) = (reply.seq, reply.signature) else { return };
                        let signed = Signed { key: *key, salt: salt.clone(), seq, signature };
                        Item { value: value.into(), mutable: Some(signed) }
                    }
                    Name::Immutable(_) => return,
                };
                self.take_item(now, id, item);
            }
            _ => {}
        }
    }

    fn tell_peers(&mut self, id: JobId, info_hash: InfoHash, addrs: Vec<SocketAddr>, told_by: Scope) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let room = FOUND_MAX - job.found.len();
        let new: Vec<_> = addrs.into_iter().filter(|addr| job.found.insert(*addr)).take(room).collect();
        while job.found.len() > FOUND_MAX {
            job.found.pop_last();
        }
        job.summary.found = job.found.len() as u32;
        if !new.is_empty() {
            self.out.push_back(Output::Peers { job: id, info_hash, addrs: new, told_by });
        }
    }

    /// An item that has the right name, of which the signature is still to be checked.
    fn take_item(&mut self, now: Instant, id: JobId, item: Item) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let seq = |item: &Item| item.mutable.as_ref().map(|s| s.seq);
        let newer = job.best.as_ref().is_none_or(|best| seq(&item) > seq(best));
        if !newer || !item.is_genuine() {
            return;
        }
        let immutable = item.mutable.is_none();
        job.best = Some(item);
        // There is only one with this name: no need to look further.
        if immutable {
            let ours: Vec<u32> = self.lookups.iter().filter(|(_, r)| r.job == Some(id)).map(|(l, _)| *l).collect();
            ours.into_iter().for_each(|lookup| self.leave(now, lookup));
            self.finish(now, id);
        }
    }

    /// A lookup has found the closest nodes: something may be stored there now.
    fn closest_known(&mut self, now: Instant, id: u32) {
        let Some(running) = self.lookups.get_mut(&id) else { return };
        let places = running.lookup.storable();
        let job = running.job.and_then(|job| self.jobs.get(&job));
        let task = job.map(|job| job.task.clone());
        let stores = matches!(task, Some(Task::Put { .. } | Task::Peers { announce: Some(_), .. }));
        if !stores || places.is_empty() {
            return self.conclude(now, id);
        }
        running.storing = Some(BTreeSet::new());
        for (to, token) in &places {
            let ask = match &task {
                Some(Task::Peers { info_hash, announce: Some(announce), .. }) => Ask::AnnouncePeer {
                    info_hash: *info_hash,
                    port: announce.port.unwrap_or(1), // some refuse 0, though it does not count
                    implied_port: announce.port.is_none(),
                    seed: announce.seed,
                    token,
                },
                Some(Task::Put { item, cas }) => Ask::Put {
                    token,
                    value: &item.value,
                    mutable: item.mutable.as_ref().map(|s| Mutable {
                        key: s.key,
                        salt: &s.salt,
                        seq: s.seq,
                        signature: s.signature,
                        cas: *cas,
                    }),
                },
                _ => break,
            };
            if self.ask(now, *to, None, ask, Purpose::Store(id))
                && let Some(storing) = self.lookups.get_mut(&id).and_then(|r| r.storing.as_mut())
            {
                storing.insert(*to);
            }
        }
        // The time to the closest is known now; what storing takes is not counted.
        self.note_time(now, id);
        if self.lookups.get(&id).is_some_and(|r| r.storing.as_ref().is_some_and(BTreeSet::is_empty)) {
            self.conclude(now, id);
        }
    }

    fn note_time(&mut self, now: Instant, lookup: u32) {
        let Some(running) = self.lookups.get(&lookup) else { return };
        if let Some(job) = running.job.and_then(|job| self.jobs.get_mut(&job)) {
            job.summary.time = job.summary.time.max(now.since(running.started));
        }
    }

    /// A node has stored what it was given, or refused to.
    pub(super) fn stored(&mut self, now: Instant, lookup: u32, by: SocketAddr, result: Result<(), (i64, String)>) {
        let Some(running) = self.lookups.get(&lookup) else { return };
        if let Some(job) = running.job.and_then(|job| self.jobs.get_mut(&job)) {
            match result {
                Ok(()) => job.summary.stored += 1,
                Err(refused) => job.summary.refused = Some(refused),
            }
        }
        self.store_settled(now, lookup, by);
    }

    /// Nothing more is expected of a node that was to store something.
    pub(super) fn store_settled(&mut self, now: Instant, lookup: u32, by: SocketAddr) {
        let Some(storing) = self.lookups.get_mut(&lookup).and_then(|r| r.storing.as_mut()) else { return };
        storing.remove(&by);
        if storing.is_empty() {
            self.conclude(now, lookup);
        }
    }

    /// A lookup is over.
    fn conclude(&mut self, now: Instant, lookup: u32) {
        let Some((job, goal, v4)) = self.lookups.get(&lookup).map(|r| (r.job, r.goal, r.v4)) else { return };
        self.leave(now, lookup);
        match job {
            Some(job) if self.jobs.get(&job).is_some_and(|j| j.running == 0) => self.finish(now, job),
            Some(_) => {}
            None if matches!(goal, Goal::Join) => self.joined(now, v4),
            None => {}
        }
    }

    /// Takes a lookup out and adds it to what its job says at the end.
    fn leave(&mut self, now: Instant, lookup: u32) {
        if self.lookups.get(&lookup).is_some_and(|r| r.storing.is_none()) {
            self.note_time(now, lookup);
        }
        let Some(running) = self.lookups.remove(&lookup) else { return };
        let Some(job) = running.job.and_then(|job| self.jobs.get_mut(&job)) else { return };
        job.running = job.running.saturating_sub(1);
        let summary = &mut job.summary;
        summary.queries += running.queries;
        summary.answers += running.answers;
        summary.rounds = summary.rounds.max(running.lookup.rounds());
        summary.closest.extend(running.lookup.closest().map(|(id, addr, _)| (id, addr)));
        if let Some((seeds, peers)) = running.blooms {
            let blooms = job.blooms.get_or_insert_default();
            blooms.0.join(&seeds);
            blooms.1.join(&peers);
        }
    }

    /// A run of a job is over.
    fn finish(&mut self, now: Instant, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if let Some((seeds, peers)) = &job.blooms {
            (job.summary.seeds, job.summary.peers) = (Some(seeds.estimate()), Some(peers.estimate()));
        }
        let summary = std::mem::take(&mut job.summary);
        if let Some(item) = job.best.take() {
            self.out.push_back(Output::Item { job: id, item });
        }
        let Some(every) = job.task.every() else {
            self.jobs.remove(&id);
            self.out.push_back(Output::Done { job: id, summary });
            return;
        };
        job.found = BTreeSet::new();
        if let Task::Put { cas, .. } = &mut job.task {
            *cas = None;
        }
        job.fruitless = if summary.stored > 0 { 0 } else { job.fruitless + 1 };
        // Not all jobs of a start at once again.
        let jitter = Duration::from_secs(self.rng.below(every.as_secs() / 10 + 1));
        let wait = match job.fruitless {
            0 => every - jitter,
            n => (RETRY * 2u32.saturating_pow(n.min(10) - 1)).min(every),
        };
        self.due.insert((now + wait, id));
        self.out.push_back(Output::Done { job: id, summary });
    }
}
