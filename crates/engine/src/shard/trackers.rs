//! The trackers of one torrent, or the lack of any.

use super::pace::Pace;
use crate::{Config, TorrentEvent};
use base::{InfoHashes, Instant, Payload, Rng};
use std::time::Duration;
use swarm::Torrent;
use tracker::{Client, Input, Output, State, Stats, Status};

/// Peers asked for in one announce.
const NUMWANT: u32 = 200;
/// With fewer peers than this, a torrent that fetches wants to hear of more.
const PEERS_FEW: u32 = 10;
/// How often it says so; the client knows how often it may really ask.
const NEED_PAUSE: Duration = Duration::from_secs(1);

/// The trackers of one torrent. Without any it costs a few bytes: most of thousands of torrents may have none.
#[derive(Debug, Default)]
pub(crate) struct Trackers {
    client: Option<Box<Client>>,
    started: bool,
    stopping: bool,
    knows_metadata: bool,
    need_at: Instant,
    /// The place in the pace of announces, or of good-byes, that was reserved, while it lies ahead.
    place: Option<Instant>,
}

impl Trackers {
    pub(crate) fn new(config: &Config, hashes: InfoHashes, tiers: Vec<Vec<String>>, rng: Rng) -> Self {
        let any = tiers.iter().any(|t| !t.is_empty());
        let client = any.then(|| Box::new(client(config, hashes, tiers, rng)));
        Trackers { client, ..Trackers::default() }
    }

    /// One more tracker.
    pub(crate) fn add(&mut self, now: Instant, url: String, config: &Config, hashes: InfoHashes, rng: Rng) {
        let first = self.client.is_none();
        let client = self.client.get_or_insert_with(|| Box::new(client(config, hashes, Vec::new(), rng)));
        client.handle(now, Input::AddTracker(url));
        if first && self.started {
            client.handle(now, Input::Start);
        }
    }

    pub(crate) fn handle(&mut self, now: Instant, input: Input) {
        if let Some(client) = &mut self.client {
            client.handle(now, input);
        }
    }

    /// Lets the client do what is due, once its place has come.
    pub(crate) fn tick<P: Payload>(&mut self, now: Instant, torrent: &Torrent<P>, pace: &mut Pace) {
        if self.stopping && self.place.is_some() {
            return self.say_bye(now);
        }
        let due = self.client.as_ref().and_then(|c| c.deadline()).is_some_and(|at| at <= now);
        if due && self.is_next(now, pace) {
            // The figures matter when something is announced.
            self.handle(now, Input::Stats(stats(torrent)));
            self.handle(now, Input::Tick);
        }
    }

    /// May it announce now? If not, it has a place ahead.
    fn is_next(&mut self, now: Instant, pace: &mut Pace) -> bool {
        // What follows a good-bye has little time.
        let place = if self.stopping { now } else { *self.place.get_or_insert_with(|| pace.reserve(now)) };
        if place <= now {
            self.place = None;
        }
        place <= now
    }

    /// Starts announcing once the torrent runs, and keeps the figures fresh.
    pub(crate) fn update<P: Payload>(&mut self, now: Instant, torrent: &Torrent<P>, running: bool, pace: &mut Pace) {
        let start = running && !self.started && !self.stopping;
        if self.client.is_none() {
            self.started |= start;
            return;
        }
        let start = start && self.is_next(now, pace);
        self.started |= start;
        let known = torrent.have().is_some();
        // The tracker must hear soon that a magnet has become a torrent.
        if start || known != self.knows_metadata {
            self.knows_metadata = known;
            self.handle(now, Input::Stats(stats(torrent)));
        }
        if start {
            self.handle(now, Input::Start);
        }
        if self.started && self.need_at <= now && torrent.needs_peers() && torrent.peer_count() < PEERS_FEW {
            self.need_at = now + NEED_PAUSE;
            self.handle(now, Input::Stats(stats(torrent)));
            self.handle(now, Input::NeedPeers);
        }
    }

    /// The download is complete.
    pub(crate) fn completed<P: Payload>(&mut self, now: Instant, torrent: &Torrent<P>) {
        self.handle(now, Input::Stats(stats(torrent)));
        self.handle(now, Input::Completed);
    }

    /// Says good-bye, at once or when its place has come.
    pub(crate) fn stop(&mut self, now: Instant, pace: &mut Pace) {
        if self.started && self.client.is_some() {
            self.stopping = true;
            self.place = Some(pace.reserve_bye(now));
            self.say_bye(now);
        } else if !self.stopping {
            self.place = None;
        }
        self.started = false;
    }

    fn say_bye(&mut self, now: Instant) {
        if self.place.is_some_and(|at| at <= now) {
            self.place = None;
            self.handle(now, Input::Stop);
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        !self.stopping && !self.started
    }

    pub(crate) fn poll(&mut self) -> Option<Output> {
        let output = self.client.as_mut()?.poll()?;
        if output == Output::Stopped {
            self.stopping = false;
        }
        Some(output)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.place.or_else(|| self.client.as_ref().and_then(|c| c.deadline()))
    }
}

fn client(config: &Config, hashes: InfoHashes, tiers: Vec<Vec<String>>, mut rng: Rng) -> Client {
    let config = tracker::Config {
        hashes: hashes.on_wire().collect(),
        tiers,
        peer_id: config.peer_id,
        port_v4: config.port,
        port_v6: config.port_v6.unwrap_or(config.port),
        key: rng.next_u32(),
        numwant: NUMWANT,
    };
    Client::new(config, rng)
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
