//! Announcing one torrent to its trackers: who is asked when, and what is made of the answers.
//!
//! BEP 3 (HTTP), 7 (IPv6), 12 (tiers), 15 (UDP), 21 (partial seeds), 24 (external address), 31 (retry in), 48 (scrape).
//!
//! **Tiers.** Each tier is shuffled once; its first tracker that works moves to the front and is the one announced to; when
//! it fails the next takes over at once. BEP 12 read strictly would leave all later tiers alone as long as the
//! first works. Here every tier is announced to, one tracker of each, as qBittorrent does by default: people add
//! a tier to find more peers, and a swarm split between trackers stays split otherwise.
//!
//! **Legs.** A tracker is announced to by each hash of the torrent and over each address family that its host has,
//! since trackers keep the families apart (BEP 7). Each such leg has its own state: IPv6 may be broken where
//! IPv4 works. A tracker has failed once all its legs have.
//!
//! **UDP.** BEP 15 would wait up to 3,840 s for an answer. A tier would stand still meanwhile, so an attempt ends after two
//! datagrams (15 s, then 30 s), and the growing wait between failures, up to an hour, takes the place of the rest.
//!
//! **Strangers.** Datagrams count only from the address asked, with the transaction that was drawn for it. Trackers
//! inside the network are asked over HTTP only if they look like trackers, redirects never lead from outside to
//! inside, and peers inside are believed only to trackers inside (`base::may_use`).
//!
//! It deliberately keeps no list of peers, chooses none, and knows of no other torrents: who runs many spreads their announces,
//! and may answer a request for a connection id with one that another torrent was given.

mod announce;
mod http;
mod scrape;
mod tracker;
mod types;
mod udp;

#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use base::{Instant, JobId, Rng, Scope};
use wire::tracker::AnnounceEvent;

pub use tracker::{ADDRESSES_MAX, RETRY_MAX, RETRY_MIN};
pub use types::{Config, HttpReply, Input, Output, State, Stats, Status};

pub(crate) use tracker::canonical;
use tracker::{Lookup, Tracker, backoff};
use udp::Connections;

/// Trackers of one torrent; what is listed beyond is not used.
pub const TRACKERS_MAX: usize = 100;
/// Hashes of one torrent: v1 and v2.
pub const HASHES_MAX: usize = 2;
/// Time for a look-up.
pub const RESOLVE_LIMIT: Duration = Duration::from_secs(30);
/// Time that the addresses of a host are used without another look-up.
pub const ADDRESSES_LIFE: Duration = Duration::from_secs(30 * 60);
/// Time for all good-byes together.
pub const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Shortest time between two announces to a tracker on the Internet, whatever it says itself.
pub const INTERVAL_MIN: Duration = Duration::from_secs(60);
/// The same for trackers inside the network, which can bear more and whose users wait in front of them.
pub const INTERVAL_MIN_LOCAL: Duration = Duration::from_secs(5);
/// Longest interval taken from a tracker.
pub const INTERVAL_MAX: Duration = Duration::from_secs(6 * 3600);

/// The announcing of one torrent.
#[derive(Debug)]
pub struct Client {
    config: Config,
    rng: Rng,
    stats: Stats,
    mode: Mode,
    trackers: Vec<Tracker>,
    tiers: Vec<Tier>,
    connections: Connections,
    outputs: VecDeque<Output>,
    jobs: u64,
}

#[derive(Debug, PartialEq, Eq)]
enum Mode {
    Idle,
    Running,
    Stopping { until: Instant },
}

#[derive(Debug)]
struct Tier {
    /// Indices of trackers, the best first.
    order: Vec<usize>,
    active: Option<usize>,
}

impl Client {
    /// A client that does nothing before Start.
    pub fn new(mut config: Config, rng: Rng) -> Self {
        config.hashes.truncate(HASHES_MAX);
        let tiers = std::mem::take(&mut config.tiers);
        let mut client = Client {
            config,
            rng,
            stats: Stats { wants_peers: true, ..Stats::default() },
            mode: Mode::Idle,
            trackers: Vec::new(),
            tiers: Vec::new(),
            connections: Connections::default(),
            outputs: VecDeque::new(),
            jobs: 0,
        };
        for urls in tiers {
            client.add_tier(urls);
        }
        client
    }

    /// Takes one thing that happened. Drain [`Client::poll`] afterwards.
    pub fn handle(&mut self, now: Instant, input: Input) {
        match input {
            Input::Start => self.start(now),
            Input::Stop => self.stop(now),
            Input::Completed => self.legs_mut(|leg| {
                if leg.sent {
                    leg.completed_due = true;
                    leg.next = now;
                }
            }),
            Input::Stats(stats) => self.stats = stats,
            Input::Ports { v4, v6 } => (self.config.port_v4, self.config.port_v6) = (v4, v6),
            Input::NeedPeers => self.need_peers(now),
            Input::Scrape => self.scrape(now),
            Input::AddTracker(url) => self.add_tier(vec![url]),
            Input::AddHash(hash) => {
                if self.config.hashes.len() < HASHES_MAX && !self.config.hashes.contains(&hash) {
                    self.config.hashes.push(hash);
                    for tracker in &mut self.trackers {
                        tracker.make_legs(now, self.config.hashes.len());
                    }
                }
            }
            Input::Fetched { job, result } => self.on_fetched(now, job, result),
            Input::Resolved { job, result } => self.on_resolved(now, job, result),
            Input::Datagram { from, data } => self.on_datagram(now, canonical(from), &data),
            Input::Tick => {}
        }
        self.advance(now);
    }

    /// The next thing to do or to know.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When [`Input::Tick`] is due.
    pub fn deadline(&self) -> Option<Instant> {
        let at = match self.mode {
            Mode::Idle => Instant::NEVER,
            Mode::Running => self.tiers.iter().map(|tier| self.tier_deadline(tier)).fold(Instant::NEVER, Instant::min),
            Mode::Stopping { until } => self.flights().fold(until, |at, (_, _, deadline)| at.min(deadline)),
        };
        (at != Instant::NEVER).then_some(at)
    }

    /// True if this datagram answers something that this client asked.
    pub fn owns(&self, from: SocketAddr, data: &[u8]) -> bool {
        self.find_transaction(canonical(from), data).is_some()
    }

    /// How each tracker does.
    pub fn statuses(&self) -> impl Iterator<Item = Status> + '_ {
        self.trackers.iter().map(Tracker::status)
    }

    fn add_tier(&mut self, urls: Vec<String>) {
        let mut order = Vec::new();
        for url in urls {
            let url = url.trim();
            let known = self.trackers.iter().any(|t| t.text == url);
            if url.is_empty() || known || self.trackers.len() == TRACKERS_MAX {
                continue;
            }
            order.push(self.trackers.len());
            let tracker = Tracker::new(url.to_owned(), self.tiers.len());
            if tracker.state == State::Refused {
                self.outputs.push_back(Output::Status(tracker.status()));
            }
            self.trackers.push(tracker);
        }
        if !order.is_empty() {
            self.rng.shuffle(&mut order);
            self.tiers.push(Tier { order, active: None });
        }
    }

    fn start(&mut self, now: Instant) {
        if self.mode == Mode::Running {
            return;
        }
        self.legs_mut(|leg| leg.reset());
        for tracker in &mut self.trackers {
            (tracker.fails, tracker.retry_at) = (0, now);
        }
        self.mode = Mode::Running;
    }

    fn stop(&mut self, now: Instant) {
        if self.mode == Mode::Idle {
            self.outputs.push_back(Output::Stopped);
        }
        if self.mode != Mode::Running {
            return;
        }
        self.mode = Mode::Stopping { until: now + STOP_LIMIT };
        for tier in &mut self.tiers {
            tier.active = None;
        }
        for t in 0..self.trackers.len() {
            self.trackers[t].lookup = Lookup::Unknown;
            self.trackers[t].scrapes.clear();
            for l in 0..self.trackers[t].legs.len() {
                self.trackers[t].legs[l].flight = None;
                if self.trackers[t].legs[l].sent {
                    self.send(now, t, l, AnnounceEvent::Stopped);
                }
            }
        }
    }

    /// Everybody who works is asked again as early as manners allow.
    fn need_peers(&mut self, now: Instant) {
        if self.mode != Mode::Running {
            return;
        }
        self.legs_mut(|leg| {
            if leg.flight.is_none() && leg.fails == 0 && leg.started {
                let floor = leg.interval_min.max(interval_min(leg.to));
                leg.next = leg.next.min(now.max(leg.last + floor)).max(leg.not_before);
            }
        });
    }

    /// Does what is due.
    fn advance(&mut self, now: Instant) {
        match self.mode {
            Mode::Idle => {}
            Mode::Running => (0..self.tiers.len()).for_each(|i| self.advance_tier(now, i)),
            Mode::Stopping { until } => {
                let overdue: Vec<_> = self.flights().filter(|(_, _, deadline)| *deadline <= now).collect();
                for (t, l, _) in overdue {
                    self.on_timeout(now, t, l);
                }
                let done = self.trackers.iter().flat_map(|t| &t.legs).all(|leg| leg.flight.is_none());
                if done || now >= until {
                    self.legs_mut(|leg| leg.reset());
                    for tracker in &mut self.trackers {
                        if tracker.state != State::Refused {
                            tracker.state = State::Idle;
                        }
                    }
                    self.mode = Mode::Idle;
                    self.outputs.push_back(Output::Stopped);
                }
            }
        }
    }

    /// What waits for an answer: tracker, leg, and until when.
    fn flights(&self) -> impl Iterator<Item = (usize, usize, Instant)> + '_ {
        let legs = self
            .trackers
            .iter()
            .enumerate()
            .flat_map(|(t, tracker)| tracker.legs.iter().enumerate().map(move |l| (t, l)));
        legs.filter_map(|(t, (l, leg))| Some((t, l, leg.flight.as_ref()?.deadline)))
    }

    fn advance_tier(&mut self, now: Instant, i: usize) {
        // Each turn ends, or retires a tracker that is not chosen again at this instant.
        for _ in 0..=self.tiers[i].order.len() {
            let Some(t) = self.tiers[i].active.or_else(|| self.choose(now, i)) else { return };
            self.tiers[i].active = Some(t);
            self.advance_tracker(now, t);
            if !self.trackers[t].has_failed() {
                return;
            }
            self.retire(now, t);
            self.tiers[i].active = None;
        }
    }

    /// The best tracker of a tier that may be asked now.
    fn choose(&mut self, now: Instant, i: usize) -> Option<usize> {
        let usable = |t: &&usize| self.trackers[**t].url.is_some() && self.trackers[**t].retry_at <= now;
        let t = *self.tiers[i].order.iter().find(usable)?;
        for leg in &mut self.trackers[t].legs {
            leg.next = now.max(leg.not_before);
        }
        Some(t)
    }

    fn advance_tracker(&mut self, now: Instant, t: usize) {
        let tracker = &mut self.trackers[t];
        let due = tracker.legs.is_empty() || tracker.legs.iter().any(|leg| leg.flight.is_none() && leg.next <= now);
        match tracker.lookup {
            Lookup::Asked { give_up, .. } if give_up <= now => {
                let why = "looking up its host took too long".to_owned();
                tracker.lookup = Lookup::Failed { why, refused: false };
            }
            Lookup::Known { at } if due && at + ADDRESSES_LIFE <= now => self.look_up(now, t),
            Lookup::Unknown => self.look_up(now, t),
            _ => {}
        }
        let known = matches!(self.trackers[t].lookup, Lookup::Known { .. });
        for l in 0..self.trackers[t].legs.len() {
            let leg = &self.trackers[t].legs[l];
            match &leg.flight {
                Some(flight) if flight.deadline <= now => self.on_timeout(now, t, l),
                None if known && leg.next <= now => {
                    let event = match () {
                        () if !leg.started => AnnounceEvent::Started,
                        () if leg.completed_due => AnnounceEvent::Completed,
                        () if self.stats.partial_seed => AnnounceEvent::Paused,
                        () => AnnounceEvent::None,
                    };
                    self.send(now, t, l, event);
                }
                _ => {}
            }
        }
        self.advance_scrapes(now, t);
    }

    fn look_up(&mut self, now: Instant, t: usize) {
        let job = self.job();
        let tracker = &mut self.trackers[t];
        let url = tracker.url.as_ref().expect("only usable trackers are chosen");
        if let Some(ip) = url.ip() {
            let addr = SocketAddr::new(ip, url.port);
            tracker.resolved(now, &[addr], self.config.hashes.len());
        } else {
            let (host, port) = (url.host.clone(), url.port);
            tracker.lookup = Lookup::Asked { job, give_up: now + RESOLVE_LIMIT };
            self.outputs.push_back(Output::Resolve { job, host, port });
        }
        if self.trackers[t].state != State::Working {
            self.set_state(t, State::Asking);
        }
    }

    fn on_resolved(&mut self, now: Instant, job: JobId, result: Result<Vec<SocketAddr>, String>) {
        let asked = |t: &&mut Tracker| matches!(t.lookup, Lookup::Asked { job: j, .. } if j == job);
        let Some(tracker) = self.trackers.iter_mut().find(asked) else {
            return self.on_redirect_resolved(now, job, result);
        };
        match result {
            Ok(found) => tracker.resolved(now, &found, self.config.hashes.len()),
            Err(why) => tracker.lookup = Lookup::Failed { why, refused: false },
        }
    }

    /// Gives a tracker up for now.
    fn retire(&mut self, now: Instant, t: usize) {
        let tracker = &mut self.trackers[t];
        tracker.fails = tracker.fails.saturating_add(1);
        let not_before = tracker.legs.iter().map(|leg| leg.not_before).min().unwrap_or(Instant::ZERO);
        tracker.retry_at = (now + backoff(tracker.fails)).max(not_before);
        let mut state = State::Failed;
        if let Lookup::Failed { why, refused } = std::mem::replace(&mut tracker.lookup, Lookup::Unknown) {
            tracker.message = Some(why);
            if refused {
                state = State::Refused;
            }
        }
        tracker.scrapes.clear();
        self.set_state(t, state);
    }

    fn set_state(&mut self, t: usize, state: State) {
        self.trackers[t].state = state;
        self.outputs.push_back(Output::Status(self.trackers[t].status()));
    }

    fn tier_deadline(&self, tier: &Tier) -> Instant {
        match tier.active {
            Some(t) => self.trackers[t].deadline(),
            None => {
                let usable = tier.order.iter().map(|t| &self.trackers[*t]).filter(|t| t.url.is_some());
                usable.map(|t| t.retry_at).min().unwrap_or(Instant::NEVER)
            }
        }
    }

    fn legs_mut(&mut self, f: impl FnMut(&mut tracker::Leg)) {
        self.trackers.iter_mut().flat_map(|t| &mut t.legs).for_each(f);
    }

    fn job(&mut self) -> JobId {
        self.jobs += 1;
        JobId(self.jobs)
    }
}

/// How far the tracker at `to` reaches. Addresses without a scope are never asked.
fn scope(to: SocketAddr) -> Scope {
    Scope::of(to.ip()).unwrap_or(Scope::Global)
}

fn interval_min(to: SocketAddr) -> Duration {
    if scope(to).is_local() { INTERVAL_MIN_LOCAL } else { INTERVAL_MIN }
}
