//! A tracker: it remembers who takes part in which torrent, and tells them of each other.
//!
//! BEP 3 and 23 (HTTP, compact), 7 (IPv6), 15 (UDP), 21 (partial seeds), 48 (scrape).
//!
//! **Families.** A peer is told of peers that it can reach: over IPv4 of those that announced over IPv4, over IPv6 of the
//! others (BEP 7). The counts are those of the asker's family as well. Likewise a peer on a private network is named to askers on
//! private networks only, and one on this machine to others by this machine's address ([`Config::own_v4`]).
//!
//! **Names.** Both hashes of a hybrid can be made one swarm ([`Server::alias`]). A client that announces itself under both is
//! told under each name of the peers that know it, since it greets them by that name and one that knows only the other
//! would hang up; a client that knows one name alone is told of everybody.
//!
//! **Addresses** are always the sender's. Over UDP an announce counts only with a connection id, which proves that its
//! sender receives at that address; what comes without gets at most an answer of its own size, so nobody is flooded
//! through us.
//!
//! **Forgetting.** A peer not heard of for two intervals is gone. Swarms are swept in slices ([`Server::tick`]), and
//! choices leave out who is due. A swarm without peers is forgotten with its count of downloads.
//!
//! It deliberately keeps no peer ids, no statistics of users, no full scrape (a list of all torrents is nobody's business),
//! and nothing across a restart: within one interval everybody has announced again.

mod config;
mod connection;
mod http;
mod peers;
mod swarms;
mod udp;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;

use base::{InfoHash, Instant, Rng, Scope};
use wire::tracker::{Announce, AnnounceEvent, Counts};

pub use config::{ALIASES_MAX, Access, Config};

use connection::ConnectionIds;
use peers::{Ip, Peer, Peers, Role, TableKey, Wanted};
use swarms::{Swarm, Swarms, Via};

/// Time between two slices of a sweep.
const SWEEP_EVERY: Duration = Duration::from_secs(5);
/// Slices of a whole sweep.
const SWEEP_SLICES: usize = 12;

/// A tracker.
#[derive(Debug)]
pub struct Server {
    config: Config,
    rng: Rng,
    key: TableKey,
    swarms: Swarms,
    aliases: BTreeMap<InfoHash, InfoHash>,
    ids: ConnectionIds,
    swept_at: Instant,
    totals: Totals,
}

/// What a tracker has done since its birth, and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Torrents with peers.
    pub swarms: usize,
    /// Peers of all of them.
    pub peers: usize,
    /// Announces answered.
    pub announces: u64,
    /// Scrapes answered.
    pub scrapes: u64,
    /// Requests refused.
    pub refused: u64,
    /// Datagrams left without an answer.
    pub ignored: u64,
}

/// Why an announce or a scrape is refused; its message is what the client shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
enum Refusal {
    #[error("this torrent is not served here")]
    NotServed,
    #[error("port 0 can't be reached: announce the port on which connections are accepted")]
    Port,
    #[error("no peer can be reached at the address this announce came from")]
    Address,
    #[error("this tracker is full")]
    Full,
}

impl Server {
    /// An empty tracker.
    pub fn new(config: Config, mut rng: Rng) -> Self {
        let key = TableKey(rng.next_u64(), rng.next_u64());
        let mut drawn = [0; 16];
        rng.fill(&mut drawn);
        let ids = ConnectionIds::new(config.connection_secret.unwrap_or(drawn));
        Server {
            config,
            rng,
            key,
            swarms: Swarms::new(key),
            aliases: BTreeMap::new(),
            ids,
            swept_at: Instant::ZERO,
            totals: Totals::default(),
        }
    }

    /// Makes `other` a second name of the swarm `main`, as for both hashes of a hybrid. False if there is no room, or `main`
    /// is such a second name itself.
    pub fn alias(&mut self, other: InfoHash, main: InfoHash) -> bool {
        if other == main || self.aliases.contains_key(&main) || self.aliases.len() >= ALIASES_MAX {
            return false;
        }
        self.aliases.insert(other, main);
        true
    }

    /// Takes a second name away.
    pub fn unalias(&mut self, other: InfoHash) {
        self.aliases.remove(&other);
    }

    /// Replaces the lists of what is served. Swarms that fell out of them expire.
    pub fn set_access(&mut self, access: Access) {
        self.config.access = access;
    }

    /// The lists of what is served, to be changed.
    pub fn access_mut(&mut self) -> &mut Access {
        &mut self.config.access
    }

    /// Counts of a torrent over both families, by any of its names.
    pub fn counts(&self, hash: InfoHash) -> Counts {
        let main = self.aliases.get(&hash).copied().unwrap_or(hash);
        self.swarms.find(main).map_or(Counts::default(), |swarm| {
            let (v4, v6) = (counts_of(&swarm.v4), counts_of(&swarm.v6));
            Counts { seeders: v4.seeders + v6.seeders, leechers: v4.leechers + v6.leechers, downloads: swarm.downloads }
        })
    }

    /// What was done and what is held.
    pub fn totals(&self) -> Totals {
        Totals { swarms: self.swarms.len(), peers: self.swarms.peers(), ..self.totals }
    }

    /// Forgets a slice of what has expired. Due at [`Server::deadline`]; calling it more often does nothing.
    pub fn tick(&mut self, now: Instant) {
        if now < self.swept_at + SWEEP_EVERY {
            return;
        }
        self.swept_at = now;
        let slice = self.swarms.slots() / SWEEP_SLICES + 1;
        self.swarms.sweep(slice, self.seen_from(now));
    }

    /// When [`Server::tick`] is due; None while there is nothing to forget.
    pub fn deadline(&self) -> Option<Instant> {
        (self.swarms.len() > 0).then(|| self.swept_at + SWEEP_EVERY)
    }

    /// Peers last heard of before this second are gone.
    fn seen_from(&self, now: Instant) -> u32 {
        let life = 2 * self.config.interval + self.config.interval / 4;
        seconds(now).saturating_sub(u32::try_from(life.as_secs()).unwrap_or(u32::MAX))
    }

    /// Interval for one answer, in seconds.
    fn interval(&mut self) -> u32 {
        let s = self.config.interval.as_secs();
        u32::try_from(s + self.rng.below(s / 8 + 1)).unwrap_or(u32::MAX)
    }

    /// The name of the swarm that `hash` belongs to, and which of its names that is.
    fn name(&self, hash: InfoHash) -> Result<(InfoHash, u8), Refusal> {
        let access = &self.config.access;
        let (main, via) = match self.aliases.get(&hash) {
            Some(main) => (*main, Via::ALIAS),
            None => (hash, Via::MAIN),
        };
        let denied = access.deny.contains(&hash) || access.deny.contains(&main);
        let allowed = !denied && (access.permits(main) || access.permits(hash));
        if allowed { Ok((main, via)) } else { Err(Refusal::NotServed) }
    }

    /// Takes an announce, and appends up to `peers_max` peers in the compact form of the asker's family to `out`.
    fn announce(
        &mut self,
        now: Instant,
        ip: IpAddr,
        ask: &Announce,
        peers_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<Counts, Refusal> {
        let result = self.announce_checked(now, ip, ask, peers_max, out);
        match result {
            Ok(_) => self.totals.announces += 1,
            Err(_) => self.totals.refused += 1,
        }
        result
    }

    fn announce_checked(
        &mut self,
        now: Instant,
        ip: IpAddr,
        ask: &Announce,
        peers_max: usize,
        out: &mut Vec<u8>,
    ) -> Result<Counts, Refusal> {
        let (main, via) = self.name(ask.info_hash)?;
        let ip = ip.to_canonical();
        let scope = Scope::of(ip).ok_or(Refusal::Address)?;
        if ask.port == 0 {
            return Err(Refusal::Port);
        }
        let numwant = ask.numwant.unwrap_or(self.config.numwant_default).min(self.config.numwant_max);
        let (own_v4, own_v6) = (self.config.own_v4.map(|ip| ip.octets()), self.config.own_v6.map(|ip| ip.octets()));
        let asked = Asked { main, via, scope, port: ask.port.to_be_bytes(), count: peers_max.min(numwant as usize) };
        match ip {
            IpAddr::V4(ip) => self.announce_in(now, ask, asked, ip.octets(), own_v4, |s| &mut s.v4, out),
            IpAddr::V6(ip) => self.announce_in(now, ask, asked, ip.octets(), own_v6, |s| &mut s.v6, out),
        }
    }

    /// The same in one family.
    #[expect(clippy::too_many_arguments, reason = "what differs between the families, beside what was asked")]
    fn announce_in<I: Ip>(
        &mut self,
        now: Instant,
        ask: &Announce,
        asked: Asked,
        ip: I,
        own: Option<I>,
        family: fn(&mut Swarm) -> &mut Peers<I>,
        out: &mut Vec<u8>,
    ) -> Result<Counts, Refusal> {
        let key = self.key;
        let seen_from = self.seen_from(now);
        let known = self.swarms.find(asked.main).is_some();
        let stopped = ask.event == AnnounceEvent::Stopped;
        let room = self.swarms.peers() < self.config.peers_max;
        if !known && stopped {
            return Ok(Counts::default());
        }
        if !known && !room {
            return Err(Refusal::Full);
        }
        let role = match ask.event {
            _ if ask.left == 0 => Role::Seed,
            AnnounceEvent::Paused => Role::Paused,
            _ => Role::Leecher,
        };
        let (config, rng) = (&self.config, &mut self.rng);
        let done = self.swarms.with(asked.main, config.swarms_max, |swarm| {
            let peers = family(swarm);
            if stopped {
                peers.remove(key, ip, asked.port);
                return counts(swarm, family);
            }
            let before = peers.find(key, ip, asked.port);
            let local = asked.scope.is_local();
            let peer = Peer { ip, port: asked.port, local, via: asked.via, role, seen: seconds(now) };
            let stored = peers.upsert(key, peer, room && peers.len() < config.swarm_peers_max);
            let via = before.map_or(0, |p| p.via) | asked.via;
            let wanted = Wanted {
                asker: (ip, asked.port),
                only_gives: role != Role::Leecher,
                listed: stored,
                count: asked.count,
                seen_from,
                local_ok: &|ip| seen_as(*ip, own, asked.scope).is_some(),
                via: if via == Via::MAIN | Via::ALIAS { asked.via } else { Via::ANY },
            };
            peers.pick(rng, &wanted, |peer| {
                let ip = if peer.local { seen_as(peer.ip, own, asked.scope).unwrap_or(peer.ip) } else { peer.ip };
                out.extend_from_slice(ip.as_ref());
                out.extend_from_slice(&peer.port);
            });
            let was_seed = before.is_some_and(|p| p.role == Role::Seed);
            if ask.event == AnnounceEvent::Completed && role == Role::Seed && stored && !was_seed {
                swarm.downloads = swarm.downloads.saturating_add(1);
            }
            counts(swarm, family)
        });
        done.ok_or(Refusal::Full)
    }

    /// Counts of a torrent in the family of `from`.
    fn scrape_one(&self, hash: InfoHash, from: IpAddr) -> Option<Counts> {
        let (main, _) = self.name(hash).ok()?;
        let swarm = self.swarms.find(main)?;
        let family = if from.to_canonical().is_ipv4() { counts_of(&swarm.v4) } else { counts_of(&swarm.v6) };
        Some(Counts { downloads: swarm.downloads, ..family })
    }
}

/// What an announce comes to, beside its words.
#[derive(Clone, Copy)]
struct Asked {
    main: InfoHash,
    via: u8,
    scope: Scope,
    port: [u8; 2],
    count: usize,
}

/// The address under which an asker in `scope` can reach a local peer at `ip`, if there is one.
fn seen_as<I: Ip>(ip: I, own: Option<I>, scope: Scope) -> Option<I> {
    let usable = |ip: &I| Scope::of(ip.addr()).is_some_and(|s| scope >= s);
    let here = Scope::of(ip.addr()) == Some(Scope::Loopback) && scope != Scope::Loopback;
    if here { own.filter(usable) } else { Some(ip).filter(usable) }
}

fn counts<I: Ip>(swarm: &mut Swarm, family: fn(&mut Swarm) -> &mut Peers<I>) -> Counts {
    let downloads = swarm.downloads;
    Counts { downloads, ..counts_of(family(swarm)) }
}

fn counts_of<I: Ip>(peers: &Peers<I>) -> Counts {
    Counts { seeders: peers.seeds(), leechers: peers.leechers(), downloads: 0 }
}

/// Whole seconds since zero, as peers are stamped.
fn seconds(now: Instant) -> u32 {
    u32::try_from(now.as_micros() / 1_000_000).unwrap_or(u32::MAX)
}
