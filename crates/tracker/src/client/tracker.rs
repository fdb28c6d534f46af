//! One tracker as the client sees it: a look-up, and a leg for each pair of address family and info-hash.

use std::net::SocketAddr;
use std::time::Duration;

use base::{Instant, JobId, Scope};
use wire::tracker::AnnounceEvent;

use super::types::{State, Status};
use crate::url::{Scheme, Url};

/// Addresses of one host that are kept in each family; the rest is forgotten.
pub const ADDRESSES_MAX: usize = 4;
/// Shortest wait after a failure, as libtorrent waits.
pub const RETRY_MIN: Duration = Duration::from_secs(5);
/// Longest wait after a failure.
pub const RETRY_MAX: Duration = Duration::from_secs(3600);

/// A tracker of a tier.
#[derive(Debug)]
pub(super) struct Tracker {
    pub(super) text: String,
    /// None if the URL can't be used.
    pub(super) url: Option<Url>,
    pub(super) tier: usize,
    pub(super) lookup: Lookup,
    pub(super) addresses: Vec<SocketAddr>,
    pub(super) legs: Vec<Leg>,
    pub(super) fails: u32,
    pub(super) retry_at: Instant,
    pub(super) state: State,
    pub(super) message: Option<String>,
    pub(super) seeders: Option<u32>,
    pub(super) leechers: Option<u32>,
    /// Said by the tracker, to be repeated to it (BEP 3).
    pub(super) tracker_id: Option<Vec<u8>>,
    pub(super) scrapes: Vec<Scrape>,
}

/// What is known of a tracker's addresses.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lookup {
    Unknown,
    Asked { job: JobId, give_up: Instant },
    Known { at: Instant },
    Failed { why: String, refused: bool },
}

/// The announcing of one hash to one tracker over one address family.
#[derive(Debug)]
pub(super) struct Leg {
    pub(super) hash: usize,
    pub(super) to: SocketAddr,
    /// An announce went out since Start: the tracker may know us, and is told when we stop.
    pub(super) sent: bool,
    /// An announce was answered since Start: `started` is not said again.
    pub(super) started: bool,
    pub(super) completed_due: bool,
    pub(super) fails: u32,
    pub(super) next: Instant,
    pub(super) last: Instant,
    /// Shortest time between two announces, as the tracker wants it.
    pub(super) interval_min: Duration,
    /// The tracker's word not to ask before (BEP 31).
    pub(super) not_before: Instant,
    pub(super) flight: Option<Flight>,
}

/// An announce that waits for its answer.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) event: AnnounceEvent,
    /// When it is sent again or given up.
    pub(super) deadline: Instant,
    pub(super) over: Over,
}

/// How an announce or a scrape travels.
#[derive(Debug)]
pub(super) enum Over {
    Http {
        job: JobId,
        url: Url,
        redirects: u8,
    },
    /// A redirect led to another name, which is being looked up.
    Redirect {
        job: JobId,
        url: Url,
        redirects: u8,
    },
    Udp {
        transaction: u32,
        connecting: bool,
        tries: u32,
    },
}

/// A scrape that waits for its answer.
#[derive(Debug)]
pub(super) struct Scrape {
    pub(super) to: SocketAddr,
    pub(super) deadline: Instant,
    pub(super) over: Over,
}

impl Tracker {
    pub(super) fn new(text: String, tier: usize) -> Self {
        let (url, state, message) = match Url::parse(&text) {
            Ok(url) => (Some(url), State::Idle, None),
            Err(e) => (None, State::Refused, Some(e.to_string())),
        };
        Tracker {
            text,
            url,
            tier,
            lookup: Lookup::Unknown,
            addresses: Vec::new(),
            legs: Vec::new(),
            fails: 0,
            retry_at: Instant::ZERO,
            state,
            message,
            seeders: None,
            leechers: None,
            tracker_id: None,
            scrapes: Vec::new(),
        }
    }

    /// Takes what a look-up found: both families where there are both, and only addresses that this URL may lead to.
    pub(super) fn resolved(&mut self, now: Instant, found: &[SocketAddr], hashes: usize) {
        let Some(url) = &self.url else { return };
        let local_ok = url.scheme == Scheme::Udp || url.may_be_local();
        let mut refused = false;
        self.addresses.clear();
        for addr in found.iter().map(|a| canonical(*a)) {
            match Scope::of(addr.ip()) {
                Some(scope) if local_ok || !scope.is_local() => {
                    let same = self.addresses.iter().filter(|a| a.is_ipv4() == addr.is_ipv4()).count();
                    if same < ADDRESSES_MAX && addr.port() != 0 && !self.addresses.contains(&addr) {
                        self.addresses.push(addr);
                    }
                }
                _ => refused = true,
            }
        }
        if self.addresses.is_empty() {
            let why = match refused {
                true => "its address is inside this network, and its path does not end in /announce".to_owned(),
                false => "its host has no address".to_owned(),
            };
            self.lookup = Lookup::Failed { why, refused };
            return;
        }
        self.lookup = Lookup::Known { at: now };
        self.make_legs(now, hashes);
    }

    /// Makes the legs that the known addresses and hashes allow, and drops those that lead nowhere any more.
    pub(super) fn make_legs(&mut self, now: Instant, hashes: usize) {
        let addresses = &self.addresses;
        self.legs.retain(|leg| leg.sent || addresses.iter().any(|a| a.is_ipv4() == leg.to.is_ipv4()));
        for v4 in [true, false] {
            let Some(first) = self.addresses.iter().find(|a| a.is_ipv4() == v4).copied() else { continue };
            for hash in 0..hashes {
                match self.legs.iter_mut().find(|leg| leg.hash == hash && leg.to.is_ipv4() == v4) {
                    Some(leg) if self.addresses.contains(&leg.to) => {}
                    Some(leg) => leg.to = first,
                    None => self.legs.push(Leg::new(hash, first, now)),
                }
            }
        }
    }

    /// True once nothing is under way and nothing of it worked: time for the next of its tier.
    pub(super) fn has_failed(&self) -> bool {
        match self.lookup {
            Lookup::Failed { .. } => true,
            Lookup::Known { .. } => self.legs.iter().all(|leg| leg.flight.is_none() && leg.fails > 0),
            _ => false,
        }
    }

    /// When something of it is due while it is the active one of its tier.
    pub(super) fn deadline(&self) -> Instant {
        let legs = self.legs.iter().filter_map(|leg| match (&leg.flight, &self.lookup) {
            (Some(flight), _) => Some(flight.deadline),
            (None, Lookup::Known { .. }) => Some(leg.next),
            _ => None,
        });
        let lookup = match self.lookup {
            Lookup::Asked { give_up, .. } => give_up,
            _ => Instant::NEVER,
        };
        legs.chain(self.scrapes.iter().map(|s| s.deadline)).fold(lookup, Instant::min)
    }

    pub(super) fn status(&self) -> Status {
        let next = match self.state {
            State::Failed => self.retry_at,
            _ => self.legs.iter().map(|leg| leg.next).min().unwrap_or(Instant::NEVER),
        };
        Status {
            url: self.text.clone(),
            tier: self.tier,
            state: self.state,
            message: self.message.clone(),
            seeders: self.seeders,
            leechers: self.leechers,
            next,
        }
    }

    /// The next address of the family of leg `l`, for when the present one does not answer.
    pub(super) fn rotate(&mut self, l: usize) {
        let to = self.legs[l].to;
        let family: Vec<_> = self.addresses.iter().filter(|a| a.is_ipv4() == to.is_ipv4()).collect();
        let at = family.iter().position(|a| **a == to).map_or(0, |i| i + 1);
        if let Some(next) = family.get(at).or(family.first()) {
            self.legs[l].to = **next;
        }
    }
}

impl Leg {
    fn new(hash: usize, to: SocketAddr, now: Instant) -> Self {
        Leg {
            hash,
            to,
            sent: false,
            started: false,
            completed_due: false,
            fails: 0,
            next: now,
            last: Instant::ZERO,
            interval_min: Duration::ZERO,
            not_before: Instant::ZERO,
            flight: None,
        }
    }

    /// Back to the time before Start.
    pub(super) fn reset(&mut self) {
        (self.sent, self.started, self.completed_due, self.flight) = (false, false, false, None);
        (self.fails, self.next, self.not_before) = (0, Instant::ZERO, Instant::ZERO);
    }
}

impl Over {
    pub(super) fn has_job(&self, wanted: JobId) -> bool {
        matches!(self, Over::Http { job, .. } | Over::Redirect { job, .. } if *job == wanted)
    }

    pub(super) fn transaction(&self) -> Option<u32> {
        match self {
            Over::Udp { transaction, .. } => Some(*transaction),
            _ => None,
        }
    }
}

/// Wait after the `fails`-th failure in a row: 5 + 12.5 x fails^2 seconds, an hour at most.
pub(super) fn backoff(fails: u32) -> Duration {
    let ms = u64::from(fails).pow(2).saturating_mul(12_500);
    (RETRY_MIN + Duration::from_millis(ms)).min(RETRY_MAX)
}

/// IPv4 addresses in IPv6 clothes, as sockets of both families report them, are IPv4 addresses.
pub(crate) fn canonical(addr: SocketAddr) -> SocketAddr {
    SocketAddr::new(addr.ip().to_canonical(), addr.port())
}
