//! A shard: some of the torrents, their trackers, and their share of the rates.
//!
//! Connections come from the gate, with their handshake done. Reading is granted here, in windows: not while the disk has
//! too much to write, nor beyond what the gate has lent of the download limit. Sending is allowed here, block by block,
//! within what it has lent of the upload limit. The shard itself fetches nothing: that is [`swarm::Torrent`].

mod credit;
mod desk;
mod lease;
mod pace;
mod trackers;

use crate::letter::{Adopted, Letter, ToGate, ToShard, Way};
use crate::{AddTorrent, Command, Config, Output, STREAMS, TorrentEvent, is_stream};
use base::{ConnId, Instant, JobId, Payload, Rng, ShardIndex, TorrentId};
use credit::Credits;
use desk::{Desk, Sent};
use lease::Lease;
use pace::Pace;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use swarm::disk::DiskDone;
use swarm::{Birth, Event, Input, Phase, Settings, Source, StreamError, Torrent, Transmit};
use trackers::Trackers;

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
    up: Lease,
    /// Torrents that would send more within the next lease.
    throttled: BTreeSet<TorrentId>,
    jobs: BTreeMap<JobId, (TorrentId, JobId)>,
    desk: Desk,
    pace: Pace,
    next_job: u64,
    job_step: u64,
    stopping: bool,
    finished: bool,
    index: ShardIndex,
    out: VecDeque<Output<P>>,
}

impl<P: Payload> Shard<P> {
    /// Shard number `index` of `config.shards`: the number keeps the job ids of shards apart.
    pub(crate) fn new(config: Arc<Config>, settings: Arc<Settings>, rng: Rng, index: ShardIndex) -> Self {
        Shard {
            settings,
            rng,
            entries: BTreeMap::new(),
            timers: BTreeSet::new(),
            credits: Credits::new(config.limit_down, config.disk_backlog_max),
            up: Lease::new(config.limit_up),
            throttled: BTreeSet::new(),
            jobs: BTreeMap::new(),
            desk: Desk::default(),
            pace: Pace::default(),
            next_job: index.0.into(),
            job_step: config.shards.max(1) as u64,
            stopping: false,
            finished: false,
            index,
            out: VecDeque::new(),
            config,
        }
    }

    /// Which one it is.
    pub(crate) fn index(&self) -> ShardIndex {
        self.index
    }

    /// The next thing to do, or letter to pass on.
    pub(crate) fn poll(&mut self) -> Option<Output<P>> {
        base::pop_or_trim(&mut self.out)
    }

    fn write(&mut self, what: ToGate) {
        self.out.push_back(Output::Letter(Letter::ToGate { from: self.index, what }));
    }

    /// The gate writes.
    pub(crate) fn letter(&mut self, now: Instant, what: ToShard<P>) {
        match what {
            ToShard::Adopt(adopted) => self.adopt(now, *adopted),
            ToShard::DialFailed { torrent, addr, postponed } => {
                self.feed(now, torrent, Input::DialFailed { addr, postponed });
            }
            ToShard::Datagram { from, data } => self.datagram(now, from, data),
            ToShard::Lease(Way::Down, bytes) => {
                self.credits.lend(bytes);
                self.grant();
            }
            ToShard::Lease(Way::Up, bytes) => {
                self.up.lend(bytes);
                self.unthrottle(now);
            }
            ToShard::Shutdown => self.shutdown(now),
        }
    }

    pub(crate) fn add(&mut self, now: Instant, id: TorrentId, add: AddTorrent) {
        if self.stopping || self.entries.contains_key(&id) {
            return;
        }
        self.write(ToGate::Open { torrent: id, hashes: add.hashes });
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
            Command::First(pieces) => self.feed(now, id, Input::First(pieces)),
            Command::Peers { source, addrs } => self.feed(now, id, Input::Candidates { source, addrs }),
            Command::Server(source) => self.feed(now, id, Input::Server(source)),
            Command::DropServer { id: server, why } => self.feed(now, id, Input::DropServer { id: server, why }),
            Command::Tracker(url) => {
                let hashes = entry.torrent.hashes();
                entry.trackers.add(now, url, &self.config, hashes, self.rng.fork(u64::from(id.0)));
                self.settle(now, id);
            }
            Command::Pause => {
                let hashes = entry.torrent.hashes();
                entry.trackers.stop(now, &mut self.pace);
                self.write(ToGate::Shut { torrent: id, hashes });
                self.feed(now, id, Input::Pause);
            }
            Command::Resume => {
                let hashes = entry.torrent.hashes();
                self.write(ToGate::Open { torrent: id, hashes });
                self.feed(now, id, Input::Resume);
            }
            Command::Remove => {
                let hashes = entry.torrent.hashes();
                entry.removing = true;
                entry.trackers.stop(now, &mut self.pace);
                self.write(ToGate::Shut { torrent: id, hashes });
                self.feed(now, id, Input::Pause);
            }
        }
    }

    /// A connection whose handshake is done.
    fn adopt(&mut self, now: Instant, adopted: Adopted<P>) {
        let Adopted { torrent: id, peer, data, credit } = adopted;
        let conn = peer.conn;
        if !self.entries.contains_key(&id) {
            self.write(ToGate::Closed { conn });
            self.out.push_back(Output::Close { conn });
            return;
        }
        self.credits.open(conn, id, credit);
        self.feed(now, id, Input::Peer(peer));
        if !data.is_empty() {
            self.feed(now, id, Input::Received { conn, data });
        }
        self.grant();
    }

    /// The torrent of a connection of this shard.
    pub(crate) fn owner(&self, conn: ConnId) -> Option<TorrentId> {
        self.credits.owner(conn)
    }

    /// Connections.
    pub(crate) fn connections(&self) -> usize {
        self.credits.connections()
    }

    /// More would be read now, but for the limit.
    pub(crate) fn waits_for_limit(&self) -> bool {
        self.credits.waits_for_limit()
    }

    /// Bytes of a connection; those of one that is closed already are nobody's.
    pub(crate) fn received(&mut self, now: Instant, conn: ConnId, data: P) {
        let Some(id) = self.used(conn, data.len() as u64) else { return };
        let input = match stream_of(id, conn) {
            Some(stream) => Input::Streamed { stream, data },
            None => Input::Received { conn, data },
        };
        self.feed(now, id, input);
        self.grant();
    }

    /// Bytes of a stream that the hands have thrown away.
    pub(crate) fn skipped(&mut self, now: Instant, conn: ConnId, bytes: u64) {
        let Some(id) = self.used(conn, bytes) else { return };
        if let Some(stream) = stream_of(id, conn) {
            self.feed(now, id, Input::Skipped { stream, bytes });
        }
        self.grant();
    }

    /// Bytes have come; for whom.
    fn used(&mut self, conn: ConnId, bytes: u64) -> Option<TorrentId> {
        let owner = self.owner(conn);
        match owner {
            Some(_) => self.credits.used(conn, bytes),
            // What was read of a stream may be on its way while the stream is ended.
            None if is_stream(conn) => self.credits.late(bytes),
            None => {}
        }
        owner
    }

    /// A stream of a server has ended.
    pub(crate) fn stream_ended(&mut self, now: Instant, conn: ConnId, end: Result<(), StreamError>) {
        let Some(id) = self.owner(conn) else { return };
        self.credits.close(conn);
        if let Some(stream) = stream_of(id, conn) {
            self.feed(now, id, Input::StreamEnded { stream, end });
        }
    }

    pub(crate) fn closed(&mut self, now: Instant, conn: ConnId) {
        let Some(id) = self.owner(conn) else { return };
        self.credits.close(conn);
        self.write(ToGate::Closed { conn });
        self.feed(now, id, Input::Closed { conn });
    }

    pub(crate) fn disk(&mut self, now: Instant, id: TorrentId, done: DiskDone) {
        self.feed(now, id, Input::Disk(done));
    }

    /// Takes an answer for a tracker client.
    pub(crate) fn answered(&mut self, now: Instant, job: JobId, input: impl FnOnce(JobId) -> tracker::Input) {
        let Some((id, inner)) = self.jobs.remove(&job) else { return };
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.trackers.handle(now, input(inner));
            self.settle(now, id);
        }
    }

    /// Takes a datagram if one of the tracker clients waits for it.
    fn datagram(&mut self, now: Instant, from: SocketAddr, data: Vec<u8>) {
        for (id, data) in self.desk.received(now, from, data) {
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.trackers.handle(now, tracker::Input::Datagram { from, data });
                self.settle(now, id);
            }
        }
    }

    /// Everything ends: trackers are told, connections closed.
    fn shutdown(&mut self, now: Instant) {
        self.stopping = true;
        let ids: Vec<_> = self.entries.keys().copied().collect();
        for id in ids {
            self.command(now, id, Command::Remove);
        }
        self.finish();
    }

    /// Tells the gate once all torrents are gone after [`ToShard::Shutdown`].
    fn finish(&mut self) {
        if self.stopping && self.entries.is_empty() && !std::mem::replace(&mut self.finished, true) {
            self.write(ToGate::Finished);
        }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.timers.first().map(|(at, _)| *at)
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        base::trim(&mut self.out);
        while let Some((at, id)) = self.timers.first().copied().filter(|(at, _)| *at <= now) {
            self.timers.remove(&(at, id));
            if let Some(entry) = self.entries.get_mut(&id) {
                entry.timer = None;
                entry.trackers.tick(now, &entry.torrent, &mut self.pace);
                self.feed(now, id, Input::Tick);
            }
        }
        self.grant();
    }

    pub(crate) fn poll_transmit(&mut self, now: Instant, conn: ConnId, room: usize, out: &mut Transmit) {
        let Some(id) = self.owner(conn) else { return };
        let Some(entry) = self.entries.get_mut(&id) else { return };
        let used = entry.torrent.poll_transmit(now, conn, room, self.up.left(), out);
        self.up.take(used);
        if self.up.is_limited() && entry.torrent.is_throttled() {
            self.throttled.insert(id);
            self.up.wish();
            self.ask();
        }
    }

    /// Lets torrents go on that waited for a lease.
    fn unthrottle(&mut self, now: Instant) {
        self.ask();
        if self.up.left() > 0 {
            for id in std::mem::take(&mut self.throttled) {
                if let Some(entry) = self.entries.get_mut(&id) {
                    entry.torrent.unthrottle();
                    self.settle(now, id);
                }
            }
        }
    }

    /// Asks the gate for leases, if they are needed.
    fn ask(&mut self) {
        if self.credits.must_ask() {
            self.write(ToGate::Want(Way::Down));
        }
        if self.up.must_ask() {
            self.write(ToGate::Want(Way::Up));
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
        let from = self.index;
        let to_gate = |what| Output::Letter(Letter::ToGate { from, what });
        let mut streams = false;
        loop {
            while let Some(output) = entry.torrent.poll() {
                let out = match output {
                    swarm::Output::Dial { addr } => {
                        let hashes = entry.torrent.hashes();
                        to_gate(ToGate::Dial { torrent: id, hashes, addr })
                    }
                    swarm::Output::Wake { conn } => Output::Wake { conn },
                    swarm::Output::Disk(job) => Output::Disk { torrent: id, job },
                    swarm::Output::Close { conn, .. } => {
                        self.credits.close(conn);
                        self.out.push_back(to_gate(ToGate::Closed { conn }));
                        Output::Close { conn }
                    }
                    swarm::Output::Stream { stream, source, offset, len } => {
                        let conn = stream_conn(id, stream);
                        let credit = self.credits.begin(conn, id);
                        streams = true;
                        Output::Stream { conn, torrent: id, source, offset, len, credit }
                    }
                    swarm::Output::EndStream { stream } => {
                        let conn = stream_conn(id, stream);
                        self.credits.close(conn);
                        Output::Close { conn }
                    }
                    swarm::Output::Event(event) => {
                        if event == Event::Complete && entry.was_incomplete {
                            entry.was_incomplete = false;
                            entry.trackers.completed(now, &entry.torrent);
                        }
                        Output::Event(id, TorrentEvent::Swarm(event))
                    }
                };
                self.out.push_back(out);
            }
            let running =
                !matches!(entry.torrent.phase(), Phase::Ready | Phase::Checking | Phase::Paused | Phase::Failed);
            entry.trackers.update(now, &entry.torrent, running && !entry.removing, &mut self.pace);
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
                tracker::Output::Datagram { to, data } => match self.desk.send(now, id, to, data) {
                    Sent::Out(data) => to_gate(ToGate::Datagram { to, data }),
                    Sent::Answer(data) => {
                        entry.trackers.handle(now, tracker::Input::Datagram { from: to, data });
                        continue;
                    }
                    Sent::Held => continue,
                },
                tracker::Output::Peers { addrs, .. } => {
                    entry.torrent.handle(now, Input::Candidates { source: Source::Tracker, addrs });
                    continue;
                }
                tracker::Output::Status(s) => Output::Event(id, trackers::event(s)),
                tracker::Output::Stopped | tracker::Output::ExternalIp { .. } | tracker::Output::Scraped { .. } => {
                    continue;
                }
            };
            self.out.push_back(out);
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
            // Its jobs go when they are answered, which each of them is.
            self.throttled.remove(&id);
            self.out.push_back(Output::Event(id, TorrentEvent::Removed));
            self.finish();
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
        if streams {
            self.grant();
        }
    }

    /// Grants reading to connections that wait for it.
    pub(crate) fn grant(&mut self) {
        for (conn, bytes) in self.credits.grant() {
            self.out.push_back(Output::Credit { conn, bytes });
        }
        self.ask();
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

/// Bits of a stream's id that count the streams of one torrent.
const STREAM_BITS: u32 = 30;

/// The id of a stream.
fn stream_conn(torrent: TorrentId, stream: u64) -> ConnId {
    ConnId(STREAMS | u64::from(torrent.0) << STREAM_BITS | stream & ((1 << STREAM_BITS) - 1))
}

/// Which stream of a torrent this is; None if it is a connection.
fn stream_of(torrent: TorrentId, conn: ConnId) -> Option<u64> {
    let stream = conn.0 & ((1 << STREAM_BITS) - 1);
    (stream_conn(torrent, stream) == conn).then_some(stream)
}
