//! A part of an engine: one shard, and in the first part the gate.
//!
//! Whoever runs an engine runs its parts, in one thread ([`crate::Engine`]) or in a thread each, and carries the letters
//! between them: [`Output::Letter`] of one is [`Input::Letter`] of the part that [`Letter::to`] names. Letters within a part
//! are not seen outside.
//!
//! What is told to which part: connections and datagrams go to the first, until a letter takes a connection elsewhere;
//! answers to jobs go to the part that asked; torrents are added to any part, and all that concerns them goes there; the end
//! is told to the first.

use crate::gate::Gate;
use crate::letter::Letter;
use crate::shard::Shard;
use crate::{Config, Input, Output};
use base::{ConnId, Instant, Payload, Rng, ShardIndex, TorrentId};
use std::collections::VecDeque;
use std::sync::Arc;
use swarm::{HttpStatus, PeerStatus, Settings, SourceStatus, Torrent, TorrentStatus, Transmit};

/// One shard, perhaps with the gate. `P` is how the hands hold payload.
#[derive(Debug)]
pub struct Part<P> {
    gate: Door<P>,
    shard: Shard<P>,
    out: VecDeque<Output<P>>,
}

impl<P: Payload> Part<P> {
    /// The parts of an engine without torrents, as many as `config` says. `rng` is their only source of chance.
    pub fn all(now: Instant, config: Config, mut rng: Rng) -> Vec<Part<P>> {
        let settings = Arc::new(Settings {
            peer_id: config.peer_id,
            client: config.client.clone(),
            port: config.port,
            connections_max: config.torrent_connections_max,
            unchoke_slots: config.unchoke_slots,
            requests_max: config.requests_max,
            pex: config.pex,
            #[cfg(feature = "flaws")]
            flaw: config.flaw,
        });
        let config = Arc::new(Config { shards: config.shards.clamp(1, Config::SHARDS_MAX), ..config });
        let part = |i: u16| Part {
            gate: Door::new((i == 0).then(|| Box::new(Gate::new(now, config.clone())))),
            shard: Shard::new(config.clone(), settings.clone(), rng.fork(i.into()), ShardIndex(i)),
            out: VecDeque::new(),
        };
        (0..config.shards as u16).map(part).collect()
    }

    /// Takes in one thing that happened.
    pub fn handle(&mut self, now: Instant, input: Input<P>) {
        match input {
            Input::Received { conn, data } => {
                if let Some(data) = self.in_handshake(conn, data) {
                    self.shard.received(now, conn, data);
                }
            }
            Input::Skipped { conn, bytes } => self.shard.skipped(now, conn, bytes),
            Input::Disk(done) => {
                for (id, done) in done {
                    self.shard.disk(now, id, done);
                }
                self.shard.grant();
            }
            Input::Tick => {
                base::trim(&mut self.out);
                if let Some(gate) = self.gate.open() {
                    gate.tick(now);
                }
                self.shard.tick(now);
            }
            Input::Letter(letter) => self.deliver(now, letter),
            Input::Accepted { conn, from } => match self.gate.open() {
                Some(gate) => gate.accepted(now, conn, from),
                // Nobody here knows what to say to a stranger.
                None => self.out.push_back(Output::Close { conn }),
            },
            Input::Connected { conn } => {
                if let Some(gate) = self.gate.open() {
                    gate.connected(now, conn);
                }
            }
            Input::Closed { conn } => {
                if self.shard.owner(conn).is_some() {
                    self.shard.closed(now, conn);
                } else if let Some(gate) = self.gate.open() {
                    gate.closed(conn);
                }
            }
            Input::StreamEnded { conn, end } => self.shard.stream_ended(now, conn, end),
            Input::Fetched { job, result } => {
                self.shard.answered(now, job, |job| tracker::Input::Fetched { job, result });
            }
            Input::Resolved { job, result } => {
                self.shard.answered(now, job, |job| tracker::Input::Resolved { job, result });
            }
            Input::Datagram { from, data } => {
                if let Some(gate) = self.gate.open() {
                    gate.datagram(from, &data);
                }
            }
            Input::Add(id, add) => self.shard.add(now, id, *add),
            Input::Command(id, command) => self.shard.command(now, id, command),
            Input::Shutdown => {
                if let Some(gate) = self.gate.open() {
                    gate.shutdown();
                }
            }
        }
        self.settle(now);
    }

    /// Gives the gate what belongs to a connection in handshake, and what does not back.
    fn in_handshake(&mut self, conn: ConnId, data: P) -> Option<P> {
        if self.shard.owner(conn).is_some() {
            return Some(data);
        }
        match self.gate.open() {
            Some(gate) => gate.received(conn, data),
            None => Some(data),
        }
    }

    /// Carries what gate and shard say to each other and to the outside, until they are silent.
    fn settle(&mut self, now: Instant) {
        loop {
            match self.gate.poll().or_else(|| self.shard.poll()) {
                Some(Output::Letter(letter)) if self.is_for_us(&letter) => self.deliver(now, letter),
                Some(output) => self.out.push_back(output),
                None => break,
            }
        }
    }

    fn is_for_us(&self, letter: &Letter<P>) -> bool {
        match letter {
            Letter::ToGate { .. } => self.gate.is_here(),
            Letter::ToShard { to, .. } => *to == self.index(),
        }
    }

    fn deliver(&mut self, now: Instant, letter: Letter<P>) {
        debug_assert!(self.is_for_us(&letter), "{letter:?} went astray");
        match letter {
            Letter::ToGate { from, what } => {
                if let Some(gate) = self.gate.open() {
                    gate.letter(now, from, what);
                }
            }
            Letter::ToShard { what, .. } => self.shard.letter(now, what),
        }
    }

    /// Which shard it is.
    pub fn index(&self) -> ShardIndex {
        self.shard.index()
    }

    /// The next thing to do for the hands.
    pub fn poll(&mut self) -> Option<Output<P>> {
        base::pop_or_trim(&mut self.out)
    }

    /// When to handle [`Input::Tick`], if nothing else happens before.
    pub fn deadline(&self) -> Option<Instant> {
        [self.gate.deadline, self.shard.deadline()].into_iter().flatten().min()
    }

    /// What `conn` has to send, about `room` bytes of it (a message more at most). Nothing: it is drained, and a
    /// [`Output::Wake`] comes when there is more. Blocks belong to the torrent of [`Part::torrent_of`].
    pub fn poll_transmit(&mut self, now: Instant, conn: ConnId, room: usize, out: &mut Transmit) {
        if self.shard.owner(conn).is_some() {
            self.shard.poll_transmit(now, conn, room, out);
            self.settle(now);
        } else if let Some(bytes) = self.gate.open().and_then(|gate| gate.poll_transmit(conn)) {
            out.bytes(&bytes);
        }
    }

    /// The torrent that a connection belongs to, if it has one and is here.
    pub fn torrent_of(&self, conn: ConnId) -> Option<TorrentId> {
        self.shard.owner(conn)
    }

    /// How a torrent of this part is doing.
    pub fn status(&self, now: Instant, torrent: TorrentId) -> Option<TorrentStatus> {
        self.shard.torrent(torrent).map(|t| t.status(now))
    }

    /// Its peers.
    pub fn peers(&self, now: Instant, torrent: TorrentId) -> Vec<PeerStatus> {
        self.shard.torrent(torrent).map(|t| t.peers(now)).unwrap_or_default()
    }

    /// Who gave it how much in this run.
    pub fn sources(&self, torrent: TorrentId) -> Vec<SourceStatus> {
        self.shard.torrent(torrent).map(|t| t.sources()).unwrap_or_default()
    }

    /// The HTTP servers that it was told of.
    pub fn servers(&self, now: Instant, torrent: TorrentId) -> Vec<HttpStatus> {
        self.shard.torrent(torrent).map(|t| t.servers(now)).unwrap_or_default()
    }

    /// A piece that it wants and that nobody has who is here.
    pub fn missing_piece(&self, torrent: TorrentId) -> Option<base::PieceIndex> {
        self.shard.torrent(torrent).and_then(Torrent::missing_piece)
    }

    /// Its pieces that are good; None while it is not open.
    pub fn have(&self, torrent: TorrentId) -> Option<base::Bitfield> {
        self.shard.torrent(torrent).and_then(|t| t.have().cloned())
    }

    /// More would be read now, but for the download limit.
    pub fn waits_for_limit(&self) -> bool {
        self.shard.waits_for_limit()
    }

    /// Connections: of the shard, and those that the gate thinks all shards have.
    pub(crate) fn connections(&self) -> (usize, usize) {
        (self.shard.connections(), self.gate.gate.as_ref().map_or(0, |gate| gate.handed_over()))
    }

    /// What is wrong, if anything. For the lab, after every step: it is slow.
    pub fn check_invariants(&self) -> Result<(), String> {
        if let Some(gate) = &self.gate.gate {
            gate.check_invariants()?;
            if self.gate.quiet && gate.deadline() != self.gate.deadline {
                return Err(format!("the gate waits for {:?}, noted {:?}", gate.deadline(), self.gate.deadline));
            }
        }
        self.shard.check_invariants()
    }
}

/// The gate, if it is here, and what has to be known of it while nothing concerns it: connections that are handed over are most
/// of all there is, and their messages need not touch it.
#[derive(Debug)]
struct Door<P> {
    gate: Option<Box<Gate<P>>>,
    /// It has said everything.
    quiet: bool,
    /// Its deadline, as of then.
    deadline: Option<Instant>,
}

impl<P: Payload> Door<P> {
    fn new(gate: Option<Box<Gate<P>>>) -> Self {
        Door { quiet: gate.is_none(), gate, deadline: None }
    }

    fn is_here(&self) -> bool {
        self.gate.is_some()
    }

    /// The gate, to be told something. It is to be polled then.
    fn open(&mut self) -> Option<&mut Gate<P>> {
        self.quiet = self.gate.is_none();
        self.gate.as_deref_mut()
    }

    fn poll(&mut self) -> Option<Output<P>> {
        if self.quiet {
            return None;
        }
        let gate = self.gate.as_mut()?;
        let said = gate.poll();
        if said.is_none() {
            self.quiet = true;
            self.deadline = gate.deadline();
        }
        said
    }
}
