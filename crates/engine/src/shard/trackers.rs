//! The trackers of one torrent, or the lack of any.

use crate::{Config, TorrentEvent};
use base::{InfoHashes, Instant, Payload, Rng};
use std::net::SocketAddr;
use std::time::Duration;
use swarm::Torrent;
use tracker::{Client, Input, Output, State, Stats, Status};

/// Peers asked for in one announce.
const NUMWANT: u32 = 200;
/// With fewer peers than this, a torrent that fetches wants to hear of more.
const PEERS_FEW: u32 = 10;
/// How often it says so; the client knows how often it may really ask.
const NEED_PAUSE: Duration = Duration::from_secs(1);

#[derive(Debug)]
pub(crate) struct Trackers {
    client: Option<Box<Client>>,
    config: Option<Box<tracker::Config>>,
    rng: Option<Rng>,
    started: bool,
    stopping: bool,
    knows_metadata: bool,
    need_at: Instant,
}

impl Trackers {
    pub(crate) fn new(config: &Config, hashes: InfoHashes, tiers: Vec<Vec<String>>, mut rng: Rng) -> Self {
        let any = tiers.iter().any(|t| !t.is_empty());
        let config = tracker::Config {
            hashes: hashes.on_wire().collect(),
            tiers,
            peer_id: config.peer_id,
            port_v4: config.port,
            port_v6: config.port_v6.unwrap_or(config.port),
            key: rng.next_u32(),
            numwant: NUMWANT,
        };
        let mut trackers = Trackers {
            client: None,
            config: Some(Box::new(config)),
            rng: Some(rng),
            started: false,
            stopping: false,
            knows_metadata: false,
            need_at: Instant::ZERO,
        };
        if any {
            trackers.make();
        }
        trackers
    }

    fn make(&mut self) -> Option<&mut Client> {
        if let (Some(config), Some(rng)) = (self.config.take(), self.rng.take()) {
            self.client = Some(Box::new(Client::new(*config, rng)));
        }
        self.client.as_deref_mut()
    }

    /// One more tracker.
    pub(crate) fn add(&mut self, now: Instant, url: String) {
        let started = self.started;
        let first = self.client.is_none();
        if let Some(client) = self.make() {
            client.handle(now, Input::AddTracker(url));
            if first && started {
                client.handle(now, Input::Start);
            }
        }
    }

    pub(crate) fn handle(&mut self, now: Instant, input: Input) {
        if let Some(client) = &mut self.client {
            client.handle(now, input);
        }
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        if self.deadline().is_some_and(|at| at <= now) {
            self.handle(now, Input::Tick);
        }
    }

    /// Starts announcing once the torrent runs, and keeps the figures fresh.
    pub(crate) fn update<P: Payload>(&mut self, now: Instant, torrent: &Torrent<P>, running: bool) {
        let start = running && !self.started && !self.stopping;
        self.started |= start;
        if self.client.is_none() {
            return;
        }
        let known = torrent.have().is_some();
        let due = self.deadline().is_some_and(|at| at <= now);
        // The figures matter when something is announced; the tracker must hear soon that a magnet has become a torrent.
        if start || due || known != self.knows_metadata {
            self.knows_metadata = known;
            self.handle(now, Input::Stats(stats(torrent)));
        }
        if start {
            self.handle(now, Input::Start);
        }
        if self.started && self.need_at <= now && torrent.wants_peers() && torrent.peer_count() < PEERS_FEW {
            self.need_at = now + NEED_PAUSE;
            self.handle(now, Input::NeedPeers);
        }
    }

    /// The download is complete.
    pub(crate) fn completed<P: Payload>(&mut self, now: Instant, torrent: &Torrent<P>) {
        self.handle(now, Input::Stats(stats(torrent)));
        self.handle(now, Input::Completed);
    }

    /// Says good-bye.
    pub(crate) fn stop(&mut self, now: Instant) {
        if self.started && self.client.is_some() {
            self.stopping = true;
            self.handle(now, Input::Stop);
        }
        self.started = false;
    }

    pub(crate) fn is_stopped(&self) -> bool {
        !self.stopping && !self.started
    }

    pub(crate) fn owns(&self, from: SocketAddr, data: &[u8]) -> bool {
        self.client.as_ref().is_some_and(|c| c.owns(from, data))
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        let output = self.client.as_mut()?.poll()?;
        if output == Output::Stopped {
            self.stopping = false;
        }
        Some(output)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.client.as_ref().and_then(|c| c.deadline())
    }
}

fn stats<P: Payload>(torrent: &Torrent<P>) -> Stats {
    let (uploaded, downloaded) = torrent.traffic();
    // Whoever left files out is no seed to others, though it wants nothing more (BEP 21).
    let partial_seed = torrent.left() == Some(0) && torrent.have().is_some_and(|h| !h.is_full());
    let left = if partial_seed { torrent.missing() } else { torrent.left() };
    Stats { uploaded, downloaded, left: left.unwrap_or(16 * 1024), partial_seed, wants_peers: torrent.wants_peers() }
}

/// What people are told of a tracker.
pub(super) fn event(s: Status) -> TorrentEvent {
    let failed = matches!(s.state, State::Failed | State::Refused);
    let (error, warning) = if failed { (Some(s.message.unwrap_or_default()), None) } else { (None, s.message) };
    TorrentEvent::Tracker {
        url: s.url,
        error,
        warning,
        working: s.state == State::Working,
        seeders: s.seeders,
        leechers: s.leechers,
    }
}
