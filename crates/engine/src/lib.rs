//! The mind: one whole peer as a state machine.
//!
//! A gate (handshakes, connection limits) and shards (torrents, their trackers, rates). No sockets, no files, no clock:
//! `node` runs it on real ones, `lab` in virtual time.

mod config;
mod gate;
mod io;
mod shard;

#[cfg(test)]
mod tests;

pub use config::{CREDIT, Config};
pub use io::{ACCEPTED, AddTorrent, Command, Input, Output, TorrentEvent};
pub use swarm::{Segment, Transmit};

use base::{ConnId, InfoHashes, Instant, Payload, Rng, TorrentId};
use gate::{Gate, GateOutput};
use shard::{Shard, ShardOutput};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use swarm::{PeerStatus, Settings, SourceStatus, TorrentStatus};
use wire::handshake::Reserved;

/// One whole peer. `P` is how the hands hold payload.
#[derive(Debug)]
pub struct Engine<P> {
    gate: Gate<P>,
    shards: Vec<Shard<P>>,
    torrents: BTreeMap<TorrentId, InfoHashes>,
    out: VecDeque<Output<P>>,
    stopping: bool,
}

impl<P: Payload> Engine<P> {
    /// An engine without torrents. `rng` is its only source of chance.
    pub fn new(now: Instant, config: Config, mut rng: Rng) -> Self {
        let settings = Arc::new(Settings {
            client: config.client.clone(),
            port: config.port,
            connections_max: config.torrent_connections_max,
            unchoke_slots: config.unchoke_slots,
            requests_max: config.requests_max,
            #[cfg(feature = "flaws")]
            flaw: config.flaw,
        });
        let config = Arc::new(config);
        let shards = (0..config.shards.max(1))
            .map(|i| Shard::new(now, config.clone(), settings.clone(), rng.fork(i as u64), i))
            .collect();
        Engine { gate: Gate::new(config), shards, torrents: BTreeMap::new(), out: VecDeque::new(), stopping: false }
    }

    /// Takes in one thing that happened.
    pub fn handle(&mut self, now: Instant, input: Input<P>) {
        match input {
            Input::Received { conn, data } => self.received(now, conn, data),
            Input::Disk(done) => {
                for (id, done) in done {
                    self.shard(id).disk(now, id, done);
                }
                self.shards.iter_mut().for_each(|s| s.grant(now));
            }
            Input::Tick => {
                self.gate.tick(now);
                self.shards.iter_mut().for_each(|s| s.tick(now));
            }
            Input::Accepted { conn, from } => self.gate.accepted(now, conn, from),
            Input::Connected { conn } => self.gate.connected(now, conn),
            Input::Closed { conn } => {
                if !self.gate.closed(conn)
                    && let Some(id) = self.gate.owner(conn)
                {
                    self.gate.forget(conn);
                    self.shard(id).closed(now, id, conn);
                }
            }
            Input::Fetched { job, result } => {
                self.answered(now, job, |job| tracker::Input::Fetched { job, result });
            }
            Input::Resolved { job, result } => {
                self.answered(now, job, |job| tracker::Input::Resolved { job, result });
            }
            Input::Datagram { from, data } => {
                for shard in &mut self.shards {
                    if shard.datagram(now, from, &data) {
                        break;
                    }
                }
            }
            Input::Add(id, add) => self.add(now, id, *add),
            Input::Command(id, command) => self.shard(id).command(now, id, command),
            Input::Shutdown => {
                self.stopping = true;
                self.gate.close_all();
                self.shards.iter_mut().for_each(|s| s.shutdown(now));
            }
        }
        self.settle(now);
    }

    fn received(&mut self, now: Instant, conn: ConnId, data: P) {
        match self.gate.owner(conn) {
            Some(id) => self.shard(id).received(now, id, conn, data),
            None => {
                // Bytes of a connection that is closed already are nobody's.
                let _ = self.gate.received(conn, data);
            }
        }
    }

    fn answered(&mut self, now: Instant, job: base::JobId, input: impl FnOnce(base::JobId) -> tracker::Input) {
        let shard = job.index() % self.shards.len();
        self.shards[shard].answered(now, job, input);
    }

    fn add(&mut self, now: Instant, id: TorrentId, add: AddTorrent) {
        if self.stopping || self.torrents.contains_key(&id) {
            return;
        }
        let hashes = add.hashes;
        self.torrents.insert(id, hashes);
        self.open_names(id, hashes);
        self.shard(id).add(now, id, add);
    }

    /// Lets the gate know by which names a torrent is called.
    fn open_names(&mut self, id: TorrentId, hashes: InfoHashes) {
        // A v2 peer speaks to v2 peers alone; a hybrid meets everybody by its v1 name.
        let v2_only = hashes.v1.is_none();
        for hash in hashes.on_wire() {
            let v2 = hashes.v2_on_wire() == Some(hash);
            let reserved: Reserved = if v2_only || v2 { swarm::OURS.with_v2() } else { swarm::OURS };
            self.gate.open(hash, id, reserved);
        }
    }

    /// The shard of a torrent. Torrents are spread over the shards as they come.
    fn shard(&mut self, id: TorrentId) -> &mut Shard<P> {
        let n = self.shards.len();
        &mut self.shards[id.index() % n]
    }

    /// Carries what gate and shards say to each other and to the hands, until they are silent.
    fn settle(&mut self, now: Instant) {
        loop {
            let mut moved = false;
            while let Some(output) = base::pop_or_trim(&mut self.gate.out) {
                moved = true;
                match output {
                    GateOutput::Dial { conn, to } => self.out.push_back(Output::Dial { conn, to }),
                    GateOutput::Close { conn } => self.out.push_back(Output::Close { conn }),
                    GateOutput::Wake { conn } => self.out.push_back(Output::Wake { conn }),
                    GateOutput::Adopt { torrent, peer, data, credit } => {
                        self.shard(torrent).adopt(now, torrent, peer, data, credit);
                    }
                    GateOutput::DialFailed { torrent, addr, postponed } => {
                        self.shard(torrent).dial_failed(now, torrent, addr, postponed);
                    }
                }
            }
            for i in 0..self.shards.len() {
                while let Some(output) = base::pop_or_trim(&mut self.shards[i].out) {
                    moved = true;
                    self.said(now, output);
                }
            }
            if !moved {
                break;
            }
        }
        if self.stopping && self.shards.iter().all(|s| s.is_finished()) {
            self.stopping = false;
            self.out.push_back(Output::Finished);
        }
    }

    fn said(&mut self, now: Instant, output: ShardOutput<P>) {
        match output {
            ShardOutput::Out(output) => {
                if let Output::Event(id, TorrentEvent::Removed) = &output {
                    self.torrents.remove(id);
                }
                self.out.push_back(output);
            }
            ShardOutput::Dial { torrent, addr } => self.gate.dial(now, torrent, addr),
            ShardOutput::Closed { conn } => self.gate.forget(conn),
            ShardOutput::Shut { torrent } => self.gate.shut(torrent),
            ShardOutput::Reopen { torrent } => {
                if let Some(hashes) = self.torrents.get(&torrent).copied() {
                    self.open_names(torrent, hashes);
                }
            }
        }
    }

    /// The next thing to do for the hands.
    pub fn poll(&mut self) -> Option<Output<P>> {
        base::pop_or_trim(&mut self.out)
    }

    /// When to handle [`Input::Tick`], if nothing else happens before.
    pub fn deadline(&self) -> Option<Instant> {
        self.shards.iter().map(Shard::deadline).chain([self.gate.deadline()]).flatten().min()
    }

    /// What `conn` has to send, about `room` bytes of it (a message more at most). Nothing: it is drained, and a
    /// [`Output::Wake`] comes when there is more. Blocks belong to the torrent of [`Engine::torrent_of`].
    pub fn poll_transmit(&mut self, now: Instant, conn: ConnId, room: usize, out: &mut Transmit) {
        if let Some(bytes) = self.gate.poll_transmit(conn) {
            out.bytes(&bytes);
        } else if let Some(id) = self.gate.owner(conn) {
            self.shard(id).poll_transmit(now, id, conn, room, out);
        }
    }

    /// The torrent that a connection belongs to, once its handshake is done.
    pub fn torrent_of(&self, conn: ConnId) -> Option<TorrentId> {
        self.gate.owner(conn)
    }

    fn torrent(&self, id: TorrentId) -> Option<&swarm::Torrent<P>> {
        self.shards[id.index() % self.shards.len()].torrent(id)
    }

    /// How a torrent is doing.
    pub fn status(&self, now: Instant, torrent: TorrentId) -> Option<TorrentStatus> {
        self.torrent(torrent).map(|t| t.status(now))
    }

    /// The peers of a torrent.
    pub fn peers(&self, now: Instant, torrent: TorrentId) -> Vec<PeerStatus> {
        self.torrent(torrent).map(|t| t.peers(now)).unwrap_or_default()
    }

    /// Who gave how much in this run.
    pub fn sources(&self, torrent: TorrentId) -> Vec<SourceStatus> {
        self.torrent(torrent).map(|t| t.sources()).unwrap_or_default()
    }

    /// The pieces of a torrent that are good; None while it is not open.
    pub fn have(&self, torrent: TorrentId) -> Option<base::Bitfield> {
        self.torrent(torrent).and_then(|t| t.have().cloned())
    }

    /// What is wrong, if anything. For the lab, after every step: it is slow.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.gate.check_invariants()?;
        self.shards.iter().try_for_each(Shard::check_invariants)
    }
}
