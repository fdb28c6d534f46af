//! Addresses of peers that a torrent may dial, and what is known of them.
//!
//! Bounded: when full, the least promising address makes room. An address that fails is tried again later and later.
//! Whether an address may be used at all (scopes) was judged by who let it in.

use crate::Source;
use base::{Instant, Rng};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

/// Most addresses remembered for one torrent.
pub(crate) const CANDIDATES_MAX: usize = 2_000;
/// Failures after which an address that the user did not name is forgotten.
const FAILS_MAX: u8 = 5;
/// First pause after a failure; it doubles.
const PAUSE_FIRST: Duration = Duration::from_secs(5);
/// Longest pause for an address that the user named.
const PAUSE_USER_MAX: Duration = Duration::from_secs(60);

/// Until those whom other peers named are thought of again, while there is no room for them.
const FRIENDS_PAUSE: Duration = Duration::from_secs(10);

#[derive(Debug, Clone, Copy)]
struct Candidate {
    source: Source,
    fails: u8,
    next: Instant,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Idle,
    Dialling,
    Connected,
    Seed,
    Banned,
}

/// The addresses.
#[derive(Debug, Default)]
pub(crate) struct Candidates {
    known: BTreeMap<SocketAddr, Candidate>,
    /// No candidate is due before this: keeps idle ticks from walking the map.
    due: Option<Instant>,
}

impl Candidates {
    /// Adds an address. False if it was known, or there is no room.
    pub(crate) fn add(&mut self, now: Instant, addr: SocketAddr, source: Source) -> bool {
        if addr.port() == 0 || addr.ip().is_unspecified() || addr.ip().is_multicast() {
            return false;
        }
        if let Some(c) = self.known.get_mut(&addr) {
            if source == Source::User {
                c.source = Source::User;
                if c.state == State::Idle {
                    c.next = now;
                    self.due = Some(now);
                }
            }
            return false;
        }
        if self.known.len() >= CANDIDATES_MAX && !self.make_room() {
            return false;
        }
        self.known.insert(addr, Candidate { source, fails: 0, next: now, state: State::Idle });
        self.due = Some(now);
        true
    }

    /// Adds the listening address of a peer that is connected to us already: not to be dialled soon.
    pub(crate) fn add_connected(&mut self, addr: SocketAddr, source: Source) {
        if !self.known.contains_key(&addr) && self.add(Instant::ZERO, addr, source) {
            self.connected(addr);
        }
    }

    /// Forgets the idle address that failed most. False if there is none that failed.
    fn make_room(&mut self) -> bool {
        let worst =
            self.known.iter().filter(|(_, c)| c.state == State::Idle && c.fails > 0).max_by_key(|(_, c)| c.fails);
        match worst.map(|(a, _)| *a) {
            Some(addr) => self.known.remove(&addr).is_some(),
            None => false,
        }
    }

    /// Addresses that are not connected, dialled, banned or seeds.
    pub(crate) fn idle(&self) -> usize {
        self.known.values().filter(|c| c.state == State::Idle).count()
    }

    /// When the next one may be dialled.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Up to `n` addresses to dial now; they count as being dialled from here on. `seeds` too, or only others. At most `friends` of them
    /// are such that other peers have named.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        n: usize,
        friends: usize,
        seeds: bool,
        rng: &mut Rng,
    ) -> Vec<SocketAddr> {
        if n == 0 || self.due.is_none_or(|t| t > now) {
            return Vec::new();
        }
        let eligible = |c: &Candidate| c.state == State::Idle || (seeds && c.state == State::Seed);
        let ready = self.known.iter().filter(|(_, c)| eligible(c) && c.next <= now);
        let mut ready: Vec<_> = ready.map(|(a, c)| (c.source == Source::Exchange, c.fails, *a)).collect();
        // Those that never failed first, the rest in random order, so that a swarm does not dial the same few.
        rng.shuffle(&mut ready);
        ready.sort_by_key(|(friend, fails, _)| (*friend, *fails));
        let strangers = ready.iter().take_while(|(friend, ..)| !friend).count();
        let most = n.min(strangers + friends);
        let (more, held) = (ready.len() > most && most == n, ready.len() > most && most < n);
        ready.truncate(most);
        let ready: Vec<(u8, SocketAddr)> = ready.into_iter().map(|(_, fails, addr)| (fails, addr)).collect();
        for (_, addr) in &ready {
            if let Some(c) = self.known.get_mut(addr) {
                c.state = State::Dialling;
            }
        }
        self.due = match (more, held) {
            (true, _) => Some(now),
            // There is room for others, and not for them.
            (_, true) => Some(now + FRIENDS_PAUSE),
            _ => self.known.values().filter(|c| eligible(c)).map(|c| c.next).min(),
        };
        ready.into_iter().map(|(_, a)| a).collect()
    }

    /// The dial was not even tried: there was no room for it.
    pub(crate) fn postponed(&mut self, now: Instant, addr: SocketAddr) {
        self.back(now, addr, false);
    }

    /// A dial, or the handshake on it, failed.
    pub(crate) fn failed(&mut self, now: Instant, addr: SocketAddr) {
        self.back(now, addr, true);
    }

    fn back(&mut self, now: Instant, addr: SocketAddr, failed: bool) {
        let Some(c) = self.known.get_mut(&addr) else { return };
        if c.state == State::Banned {
            return;
        }
        c.state = State::Idle;
        if failed {
            c.fails = c.fails.saturating_add(1);
        }
        let pause = PAUSE_FIRST * 2u32.pow(u32::from(c.fails.saturating_sub(1).min(8)));
        let user = c.source == Source::User;
        c.next = now + if user { pause.min(PAUSE_USER_MAX) } else { pause };
        if c.fails > FAILS_MAX && !user {
            self.known.remove(&addr);
        } else {
            let next = c.next;
            self.due = Some(self.due.map_or(next, |d| d.min(next)));
        }
    }

    /// A session began on a connection that we dialled to `addr`.
    pub(crate) fn connected(&mut self, addr: SocketAddr) {
        if let Some(c) = self.known.get_mut(&addr) {
            c.state = State::Connected;
            c.fails = 0;
        }
    }

    /// That session ended. `seed`: it has everything, so it is of no use once we have, too.
    pub(crate) fn disconnected(&mut self, now: Instant, addr: SocketAddr, seed: bool, failed: bool) {
        self.back(now, addr, failed);
        if let Some(c) = self.known.get_mut(&addr)
            && c.state == State::Idle
            && seed
        {
            c.state = State::Seed;
        }
    }

    /// Addresses that other peers named, and that are not connected to us.
    pub(crate) fn friends(&self) -> usize {
        self.known.values().filter(|c| c.source == Source::Exchange && c.state == State::Idle).count()
    }

    /// Somebody says that it has everything: of no use once we have, too.
    pub(crate) fn is_seed(&mut self, addr: SocketAddr) {
        if let Some(c) = self.known.get_mut(&addr).filter(|c| c.state == State::Idle && c.source == Source::Exchange) {
            c.state = State::Seed;
        }
    }

    /// Forgets all that came from there, whether they are met or not; says which.
    pub(crate) fn forget(&mut self, source: Source) -> Vec<SocketAddr> {
        let all = self.known.iter().filter(|(_, c)| c.source == source && c.state != State::Banned);
        let all: Vec<SocketAddr> = all.map(|(addr, _)| *addr).collect();
        for addr in &all {
            self.known.remove(addr);
        }
        all
    }

    /// Never again.
    pub(crate) fn ban(&mut self, addr: SocketAddr) {
        let banned = Candidate { source: Source::Incoming, fails: 0, next: Instant::NEVER, state: State::Banned };
        self.known.insert(addr, banned);
    }

    /// True if `addr` was banned; outside of local networks the port does not matter.
    pub(crate) fn is_banned(&self, addr: SocketAddr) -> bool {
        let global = base::Scope::of(addr.ip()) == Some(base::Scope::Global);
        let range = if global {
            (addr.ip(), 0)..=(addr.ip(), u16::MAX)
        } else {
            (addr.ip(), addr.port())..=(addr.ip(), addr.port())
        };
        let (from, to) = range.into_inner();
        self.known.range(SocketAddr::from(from)..=SocketAddr::from(to)).any(|(_, c)| c.state == State::Banned)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 6881))
    }

    #[test]
    fn failures_wait_longer_and_end() {
        let (mut c, mut rng) = (Candidates::default(), Rng::from_seed(1));
        let mut now = Instant::from_secs(1);
        assert!(c.add(now, addr(1), Source::Tracker));
        assert!(!c.add(now, addr(1), Source::Tracker));
        let mut waits = Vec::new();
        while let Some(due) = c.due() {
            waits.push((due - now).as_secs());
            now = due;
            assert_eq!(c.take(now, 5, 5, false, &mut rng), [addr(1)]);
            assert!(c.take(now, 5, 5, false, &mut rng).is_empty(), "being dialled already");
            c.failed(now, addr(1));
            if c.idle() == 0 {
                break;
            }
        }
        assert_eq!(waits, [0, 5, 10, 20, 40, 80]);
    }

    #[test]
    fn friends_of_friends_come_last_and_only_as_many_as_there_is_room_for() {
        let (mut c, mut rng, now) = (Candidates::default(), Rng::from_seed(1), Instant::from_secs(1));
        for n in 1..=10 {
            assert!(c.add(now, addr(n), if n > 3 { Source::Exchange } else { Source::Tracker }));
        }
        let mut first = c.take(now, 5, 1, false, &mut rng);
        first.truncate(3);
        first.sort();
        assert_eq!(first, [addr(1), addr(2), addr(3)]);
        assert_eq!((c.idle(), c.due()), (6, Some(now + FRIENDS_PAUSE)));
        let now = now + FRIENDS_PAUSE;
        assert_eq!(c.take(now, 5, 0, false, &mut rng), []);
        let now = now + FRIENDS_PAUSE;
        assert_eq!(c.take(now, 5, 9, false, &mut rng).len(), 5);
        assert_eq!(c.due(), Some(now), "there is more");
    }

    #[test]
    fn bans_hold_and_the_map_is_bounded() {
        let mut c = Candidates::default();
        for i in 0..CANDIDATES_MAX as u32 + 10 {
            c.add(Instant::ZERO, SocketAddr::from((std::net::Ipv4Addr::from(0x0a00_0000 + i), 1)), Source::Tracker);
        }
        assert_eq!(c.idle(), CANDIDATES_MAX);
        c.ban(addr(9));
        assert!(c.is_banned(addr(9)));
        assert!(!c.is_banned(SocketAddr::from(([10, 0, 0, 9], 1))), "local networks share addresses");
        c.ban("1.2.3.4:5".parse().expect("valid"));
        assert!(c.is_banned("1.2.3.4:99".parse().expect("valid")));
    }
}
