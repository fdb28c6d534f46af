//! The mind: one whole peer as a state machine.
//!
//! A gate (handshakes, trackers, connection limits, rates) and shards (torrents). No sockets, no files, no clock:
//! `node` runs it on real ones, `lab` in virtual time.

mod config;
mod io;

pub use config::{Config, CREDIT};
pub use io::{ACCEPTED, AddTorrent, Command, Input, Output, TorrentEvent};
pub use swarm::{Segment, Transmit};

use base::{ConnId, Instant, Payload, Rng, TorrentId};
use swarm::{PeerStatus, SourceStatus, TorrentStatus};

/// One whole peer. `P` is how the hands hold payload.
#[derive(Debug)]
pub struct Engine<P> {
    config: Config,
    rng: Rng,
    out: std::collections::VecDeque<Output<P>>,
}

impl<P: Payload> Engine<P> {
    /// An engine without torrents. `rng` is its only source of chance.
    pub fn new(config: Config, rng: Rng) -> Self {
        Engine { config, rng, out: Default::default() }
    }

    /// Takes in one thing that happened.
    pub fn handle(&mut self, _now: Instant, _input: Input<P>) {
        let _ = (&self.config, &mut self.rng);
    }

    /// The next thing to do for the hands.
    pub fn poll(&mut self) -> Option<Output<P>> {
        self.out.pop_front()
    }

    /// When to handle [`Input::Tick`], if nothing else happens before.
    pub fn deadline(&self) -> Option<Instant> {
        None
    }

    /// What `conn` has to send, about `room` bytes of it (a message more at most). Nothing: it is drained, and a
    /// [`Output::Wake`] comes when there is more. Blocks belong to the torrent of [`Engine::torrent_of`].
    pub fn poll_transmit(&mut self, _now: Instant, _conn: ConnId, _room: usize, _out: &mut Transmit) {}

    /// The torrent that a connection belongs to, once its handshake is done.
    pub fn torrent_of(&self, _conn: ConnId) -> Option<TorrentId> {
        None
    }

    /// How a torrent is doing.
    pub fn status(&self, _now: Instant, _torrent: TorrentId) -> Option<TorrentStatus> {
        None
    }

    /// The peers of a torrent.
    pub fn peers(&self, _now: Instant, _torrent: TorrentId) -> Vec<PeerStatus> {
        Vec::new()
    }

    /// Who gave how much in this run.
    pub fn sources(&self, _torrent: TorrentId) -> Vec<SourceStatus> {
        Vec::new()
    }

    /// Checks what must always hold. For the lab, after every step: it is slow.
    pub fn check_invariants(&self) {}
}
