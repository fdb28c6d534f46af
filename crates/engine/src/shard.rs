//! A shard: some of the torrents, their trackers, and their share of the rates.
//!
//! Connections come from the gate, with their handshake done. Reading is granted here, in windows: not while the disk has
//! too much to write, nor beyond the download limit. Sending is allowed here, block by block, within the upload limit.
//! The shard itself fetches nothing: that is [`swarm::Torrent`].

mod credit;
mod trackers;

use crate::{AddTorrent, Command, Config, Output, TorrentEvent};
use base::{ConnId, Instant, JobId, Payload, Rng, TorrentId};
use credit::Credits;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use swarm::bucket::Bucket;
use swarm::disk::DiskDone;
use swarm::{Birth, Event, Input, NewPeer, Phase, Settings, Source, Torrent, Transmit};
use trackers::Trackers;

/// Smallest burst of a limited upload, in bytes.
const BURST_MIN: u64 = 16 * 1024;

/// What a shard says.
#[derive(Debug)]
pub(crate) enum ShardOutput<P> {
    /// To the hands.
    Out(Output<P>),
    /// A torrent wants a connection.
    Dial { torrent: TorrentId, addr: SocketAddr },
    /// A torrent has closed a connection.
    Closed { conn: ConnId },
    /// A torrent wants no connections any more.
    Shut { torrent: TorrentId },
    /// A torrent wants connections again.
    Reopen { torrent: TorrentId },
}

#[derive(Debug)]
struct Entry<P> {
    torrent: Torrent<P>,
    trackers: Trackers,
    /// Bytes of it that wait for the disk, as the credits count them.
    backlog: u64,
    timer: Option<Instant>,
    removing: bool,
    /// Something was missing when it was opened: its completion is news to the trackers.
    was_incomplete: bool,
}

#[derive(Debug)]
pub(crate) struct Shard<P> {
    config: Arc<Config>,
    settings: Arc<Settings>,
    rng: Rng,
    entries: BTreeMap<TorrentId, Box<Entry<P>>>,
    timers: BTreeSet<(Instant, TorrentId)>,
    credits: Credits,
    up: Bucket,
    /// Bytes sent beyond what the bucket held.
    up_debt: u64,
    throttled: BTreeSet<TorrentId>,
    unthrottle_at: Option<Instant>,
    jobs: BTreeMap<JobId, (TorrentId, JobId)>,
    next_job: u64,
    job_step: u64,
    stopping: bool,
    pub(crate) out: VecDeque<ShardOutput<P>>,
}

impl<P: Payload> Shard<P> {
    /// Shard number `index` of `config.shards`: the number keeps the job ids of shards apart.
    pub(crate) fn new(now: Instant, config: Arc<Config>, settings: Arc<Settings>, rng: Rng, index: usize) -> Self {
        let up = bucket(now, config.limit_up);
        let credits = Credits::new(now, config.limit_down, config.disk_backlog_max);
        Shard {
            settings,
            rng,
            entries: BTreeMap::new(),
            timers: BTreeSet::new(),
            credits,
            up,
            up_debt: 0,
            throttled: BTreeSet::new(),
            unthrottle_at: None,
            jobs: BTreeMap::new(),
            next_job: index as u64,
            job_step: config.shards.max(1) as u64,
            stopping: false,
            out: VecDeque::new(),
            config,
        }
    }

    pub(crate) fn add(&mut self, now: Instant, id: TorrentId, add: AddTorrent) {
        let birth = Birth {
            settings: self.settings.clone(),
            hashes: add.hashes,
            info: add.info,
            private: add.private,
            choker: add.choker,
        };
        let rng = self.rng.fork(u64::from(id.0));
        let trackers = Trackers::new(&self.config, add.hashes, add.trackers, self.rng.fork(u64::from(id.0)));
        let torrent = Torrent::new(now, birth, rng);
        let entry = Entry { torrent, trackers, backlog: 0, timer: None, removing: false, was_incomplete: false };
        self.entries.insert(id, Box::new(entry));
        self.feed(now, id, Input::Candidates { source: Source::User, addrs: add.peers });
    }

    pub(crate) fn command(&mut self, now: Instant, id: TorrentId, command: Command) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match command {
            Command::Open { plan, resume, priorities } => {
                self.feed(now, id, Input::Open { plan, resume, priorities });
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.was_incomplete = entry.torrent.left() != Some(0);
                }
            }
            Command::Priorities(p) => self.feed(now, id, Input::Priorities(p)),
            Command::Sequential(on) => self.feed(now, id, Input::Sequential(on)),
            Command::Peers { source, addrs } => self.feed(now, id, Input::Candidates { source, addrs }),
            Command::Tracker(url) => {
                entry.trackers.add(now, url);
                self.settle(now, id);
            }
            Command::Pause => {
                entry.trackers.stop(now);
                self.out.push_back(ShardOutput::Shut { torrent: id });
                self.feed(now, id, Input::Pause);
            }
            Command::Resume => {
                self.out.push_back(ShardOutput::Reopen { torrent: id });
                self.feed(now, id, Input::Resume);
            }
            Command::Remove => {
                entry.removing = true;
                entry.trackers.stop(now);
                self.out.push_back(ShardOutput::Shut { torrent: id });
                self.feed(now, id, Input::Pause);
            }
        }
    }

    /// A connection whose handshake is done.
    pub(crate) fn adopt(&mut self, now: Instant, id: TorrentId, peer: NewPeer, data: P, credit: u64) {
        let conn = peer.conn;
        if !self.entries.contains_key(&id) {
            self.out.push_back(ShardOutput::Closed { conn });
            self.out.push_back(ShardOutput::Out(Output::Close { conn }));
            return;
        }
        self.credits.open(conn, credit);
        self.feed(now, id, Input::Peer(peer));
        if !data.is_empty() {
            self.feed(now, id, Input::Received { conn, data });
        }
        self.grant(now);
    }

    pub(crate) fn received(&mut self, now: Instant, id: TorrentId, conn: ConnId, data: P) {
        self.credits.used(conn, data.len() as u64);
        self.feed(now, id, Input::Received { conn, data });
        self.grant(now);
    }

    pub(crate) fn closed(&mut self, now: Instant, id: TorrentId, conn: ConnId) {
        self.credits.close(conn);
        self.feed(now, id, Input::Closed { conn });
    }

    pub(crate) fn dial_failed(&mut self, now: Instant, id: TorrentId, addr: SocketAddr, postponed: bool) {
        self.feed(now, id, Input::DialFailed { addr, postponed });
    }

    pub(crate) fn disk(&mut self, now: Instant, id: TorrentId, done: DiskDone) {
        self.feed(now, id, Input::Disk(done));
    }

    /// Takes an answer for a tracker client. False if the job is not of this shard.
    pub(crate) fn answered(&mut self, now: Instant, job: JobId, input: impl FnOnce(JobId) -> tracker::Input) -> bool {
        let Some((id, inner)) = self.jobs.remove(&job) else { return false };
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.trackers.handle(now, input(inner));
            self.settle(now, id);
        }
        true
    }

    /// Takes a datagram if one of the tracker clients waits for it.
    pub(crate) fn datagram(&mut self, now: Instant, from: SocketAddr, data: &[u8]) -> bool {
        let Some(id) = self.entries.iter().find(|(_, e)| e.trackers.owns(from, data)).map(|(id, _)| *id) else {
            return false;
        };
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.trackers.handle(now, tracker::Input::Datagram { from, data: data.to_vec() });
            self.settle(now, id);
        }
        true
    }

    /// Everything ends: trackers are told, connections closed.
    pub(crate) fn shutdown(&mut self, now: Instant) {
        self.stopping = true;
        let ids: Vec<_> = self.entries.keys().copied().collect();
        for id in ids {
            self.command(now, id, Command::Remove);
        }
    }

    /// True once all torrents are gone after [`Shard::shutdown`].
    pub(crate) fn is_finished(&self) -> bool {
        self.stopping && self.entries.is_empty()
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let timer = self.timers.first().map(|(at, _)| *at);
        [timer, self.credits.deadline(), self.unthrottle_at].into_iter().flatten().min()
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.timer = None;
                entry.trackers.tick(now);
                self.feed(now, id, Input::Tick);
            }
        }
        if self.unthrottle_at.is_some_and(|at| at <= now) {
            self.unthrottle_at = None;
            for id in std::mem::take(&mut self.throttled) {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.torrent.unthrottle();
                    self.settle(now, id);
                }
            }
        }
        self.grant(now);
    }

    pub(crate) fn poll_transmit(&mut self, now: Instant, id: TorrentId, conn: ConnId, room: usize, out: &mut Transmit) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let pay = self.up_debt.min(self.up.available(now));
        self.up_debt -= self.up.take(now, pay);
        let allowance = if self.up_debt > 0 { 0 } else { self.up.available(now) };
        let used = entry.torrent.poll_transmit(now, conn, room, allowance, out);
        self.up_debt += used - self.up.take(now, used);
        if self.up.rate().is_some() && entry.torrent.is_throttled() {
            self.throttled.insert(id);
            let need = (self.up_debt + BURST_MIN).min(self.config.limit_up.map_or(u64::MAX, burst));
            // Never at once: a bucket that is just full enough would be asked again and again.
            let ready = self.up.ready_at(now, need).max(now + std::time::Duration::from_millis(5));
            self.unthrottle_at = Some(self.unthrottle_at.map_or(ready, |at| at.min(ready)));
        }
    }

    /// One input for one torrent, and what follows.
    fn feed(&mut self, now: Instant, id: TorrentId, input: Input<P>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.torrent.handle(now, input);
        self.settle(now, id);
    }

    /// Passes on what a torrent and its trackers have to say, and sets its timer.
    fn settle(&mut self, now: Instant, id: TorrentId) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        loop {
            while let Some(output) = entry.torrent.poll() {
                let out = match output {
                    swarm::Output::Dial { addr } => ShardOutput::Dial { torrent: id, addr },
                    swarm::Output::Wake { conn } => ShardOutput::Out(Output::Wake { conn }),
                    swarm::Output::Disk(job) => ShardOutput::Out(Output::Disk { torrent: id, job }),
                    swarm::Output::Close { conn, .. } => {
                        self.credits.close(conn);
                        self.out.push_back(ShardOutput::Closed { conn });
                        ShardOutput::Out(Output::Close { conn })
                    }
                    swarm::Output::Event(event) => {
                        if event == Event::Complete && entry.was_incomplete {
                            entry.was_incomplete = false;
                            entry.trackers.completed(now, &entry.torrent);
                        }
                        ShardOutput::Out(Output::Event(id, TorrentEvent::Swarm(event)))
                    }
                };
                self.out.push_back(out);
            }
            let running =
                !matches!(entry.torrent.phase(), Phase::Ready | Phase::Checking | Phase::Paused | Phase::Failed);
            entry.trackers.update(now, &entry.torrent, running && !entry.removing);
            let Some(output) = entry.trackers.poll() else { break };
            let mut job = |inner| {
                self.next_job += self.job_step;
                let job = JobId(self.next_job);
                self.jobs.insert(job, (id, inner));
                job
            };
            let out = match output {
                tracker::Output::Fetch { job: inner, url, to } => Output::Fetch { job: job(inner), url, to },
                tracker::Output::Resolve { job: inner, host, port } => Output::Resolve { job: job(inner), host, port },
                tracker::Output::Datagram { to, data } => Output::Datagram { to, data },
                tracker::Output::Peers { addrs, .. } => {
                    entry.torrent.handle(now, Input::Candidates { source: Source::Tracker, addrs });
                    continue;
                }
                tracker::Output::Status(s) => Output::Event(id, trackers::event(s)),
                tracker::Output::Stopped | tracker::Output::ExternalIp { .. } | tracker::Output::Scraped { .. } => {
                    continue;
                }
            };
            self.out.push_back(ShardOutput::Out(out));
        }
        let backlog = entry.torrent.backlog();
        self.credits.backlog(entry.backlog, backlog);
        entry.backlog = backlog;
        if entry.removing && entry.trackers.is_stopped() {
            if let Some(at) = entry.timer {
                self.timers.remove(&(at, id));
            }
            self.credits.backlog(backlog, 0);
            self.entries.remove(&id);
            self.jobs.retain(|_, (t, _)| *t != id);
            self.throttled.remove(&id);
            self.out.push_back(ShardOutput::Out(Output::Event(id, TorrentEvent::Removed)));
            return;
        }
        let at = [entry.torrent.deadline(), entry.trackers.deadline()].into_iter().flatten().min();
        if at != entry.timer {
            if let Some(old) = entry.timer {
                self.timers.remove(&(old, id));
            }
            if let Some(at) = at {
                self.timers.insert((at, id));
            }
            entry.timer = at;
        }
    }

    /// Grants reading to connections that wait for it.
    pub(crate) fn grant(&mut self, now: Instant) {
        for (conn, bytes) in self.credits.grant(now) {
            self.out.push_back(ShardOutput::Out(Output::Credit { conn, bytes }));
        }
    }

    pub(crate) fn torrent(&self, id: TorrentId) -> Option<&Torrent<P>> {
        self.entries.get(&id).map(|e| &e.torrent)
    }

    /// What is wrong, if anything.
    pub(crate) fn check_invariants(&self) -> Result<(), String> {
        for (id, e) in &self.entries {
            e.torrent.check_invariants().map_err(|e| format!("torrent {id}: {e}"))?;
        }
        let backlog: u64 = self.entries.values().map(|e| e.backlog).sum();
        self.credits.check_invariants(backlog)
    }
}

fn burst(rate: u64) -> u64 {
    (rate / 4).max(BURST_MIN)
}

pub(crate) fn bucket(now: Instant, limit: Option<u64>) -> Bucket {
    limit.map_or(Bucket::UNLIMITED, |rate| Bucket::new(now, rate, burst(rate)))
}
