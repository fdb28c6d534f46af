//! Peers that announced themselves here: what a node keeps for others (BEP 5, BEP 33).
//!
//! Torrents, peers of each and their age are limited. When there are too many torrents, the one that is farthest from our own id
//! goes: those nearby are ours to keep, and whoever floods us would have to aim at our own place. The two families are kept apart,
//! since a peer is told of peers that it can reach. An IP address is one peer of a torrent, on local networks an address with its port.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use base::{InfoHash, Instant, NodeId, Rng, Scope, may_use};
use wire::krpc::Bloom;

/// Torrents that are kept.
pub const TORRENTS_MAX: usize = 2_000;
/// Peers of a torrent that are kept, of each family.
pub const PEERS_MAX: usize = 500;
/// Peers of all torrents that are kept.
pub const PEERS_ALL_MAX: usize = 50_000;
/// A peer that has not announced itself again for so long is gone. Clients do it every 15 to 30 minutes.
pub const PEER_LIFE: Duration = Duration::from_secs(45 * 60);

#[derive(Clone, Copy, Debug)]
struct Peer {
    addr: SocketAddr,
    seed: bool,
    seen: Instant,
}

/// Peers of one torrent.
#[derive(Debug, Default)]
struct Swarm {
    v4: Vec<Peer>,
    v6: Vec<Peer>,
}

impl Swarm {
    fn family(&self, v4: bool) -> &Vec<Peer> {
        if v4 { &self.v4 } else { &self.v6 }
    }

    fn family_mut(&mut self, v4: bool) -> &mut Vec<Peer> {
        if v4 { &mut self.v4 } else { &mut self.v6 }
    }
}

/// Peers of all torrents.
#[derive(Debug, Default)]
pub(crate) struct PeerStore {
    swarms: BTreeMap<InfoHash, Swarm>,
    peers: usize,
}

/// There is no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Full;

impl PeerStore {
    /// Keeps `addr` as a peer of `hash`, for the node at `own`.
    pub(crate) fn insert(
        &mut self,
        now: Instant,
        own: &NodeId,
        hash: InfoHash,
        addr: SocketAddr,
        seed: bool,
    ) -> Result<(), Full> {
        if !self.swarms.contains_key(&hash) && self.swarms.len() >= TORRENTS_MAX {
            self.evict_for(own, hash)?;
        }
        let all = self.peers;
        let peers = self.swarms.entry(hash).or_default().family_mut(addr.is_ipv4());
        let local = Scope::of(addr.ip()).is_some_and(Scope::is_local);
        let same = |p: &Peer| p.addr.ip() == addr.ip() && (!local || p.addr.port() == addr.port());
        let peer = Peer { addr, seed, seen: now };
        if let Some(old) = peers.iter_mut().find(|p| same(p)) {
            *old = peer;
        } else if peers.len() < PEERS_MAX && all < PEERS_ALL_MAX {
            peers.push(peer);
            self.peers += 1;
        } else {
            // Whoever was heard of longest ago makes room; who has just announced himself keeps his place.
            let oldest = peers.iter_mut().min_by_key(|p| p.seen).ok_or(Full)?;
            if now.since(oldest.seen) < PEER_LIFE / 3 {
                return Err(Full);
            }
            *oldest = peer;
        }
        Ok(())
    }

    /// Forgets the torrent that is farthest from `own`, if that is not `hash` itself.
    fn evict_for(&mut self, own: &NodeId, hash: InfoHash) -> Result<(), Full> {
        let distance = |hash: &InfoHash| own.distance(&NodeId::from(*hash));
        let farthest = self.swarms.keys().max_by_key(|h| distance(h)).copied().ok_or(Full)?;
        if distance(&farthest) <= distance(&hash) {
            return Err(Full);
        }
        if let Some(swarm) = self.swarms.remove(&farthest) {
            self.peers -= swarm.v4.len() + swarm.v6.len();
        }
        Ok(())
    }

    /// Does the torrent take no more peers (BEP 33: no token is given then)?
    pub(crate) fn is_full(&self, now: Instant, hash: InfoHash, v4: bool) -> bool {
        let Some(swarm) = self.swarms.get(&hash) else { return false };
        let peers = swarm.family(v4);
        peers.len() >= PEERS_MAX && peers.iter().all(|p| now.since(p.seen) < PEER_LIFE / 3)
    }

    /// Up to `max` peers that an asker in `scope` may use, drawn by chance; those that still download first, where seeds are not
    /// wanted. None if the torrent is unknown.
    pub(crate) fn pick(&self, now: Instant, rng: &mut Rng, hash: InfoHash, wanted: Wanted) -> Option<Vec<SocketAddr>> {
        let peers = self.swarms.get(&hash)?.family(wanted.v4);
        let fresh = |p: &&Peer| now.since(p.seen) < PEER_LIFE && may_use(p.addr, wanted.scope);
        let mut found: Vec<&Peer> = peers.iter().filter(fresh).collect();
        rng.shuffle(&mut found);
        if wanted.noseed {
            found.sort_by_key(|p| p.seed);
        }
        found.truncate(wanted.max);
        (!found.is_empty()).then(|| found.iter().map(|p| p.addr).collect())
    }

    /// The filters of seeds and of other peers (BEP 33); None if the torrent is unknown.
    pub(crate) fn blooms(&self, now: Instant, hash: InfoHash, v4: bool) -> Option<(Bloom, Bloom)> {
        let peers = self.swarms.get(&hash)?.family(v4);
        let mut blooms = (Bloom::default(), Bloom::default());
        for peer in peers.iter().filter(|p| now.since(p.seen) < PEER_LIFE) {
            let bloom = if peer.seed { &mut blooms.0 } else { &mut blooms.1 };
            bloom.insert(peer.addr.ip());
        }
        Some(blooms)
    }

    /// Up to `max` info-hashes, drawn by chance (BEP 51).
    pub(crate) fn sample(&self, rng: &mut Rng, max: usize) -> Vec<[u8; 20]> {
        let mut all: Vec<[u8; 20]> = self.swarms.keys().map(|h| h.0).collect();
        rng.shuffle(&mut all);
        all.truncate(max);
        all
    }

    /// Forgets who has not announced himself again.
    pub(crate) fn expire(&mut self, now: Instant) {
        let mut peers = 0;
        self.swarms.retain(|_, swarm| {
            for family in [&mut swarm.v4, &mut swarm.v6] {
                family.retain(|p| now.since(p.seen) < PEER_LIFE);
                peers += family.len();
            }
            !swarm.v4.is_empty() || !swarm.v6.is_empty()
        });
        self.peers = peers;
    }

    /// Torrents that are kept.
    pub(crate) fn torrents(&self) -> usize {
        self.swarms.len()
    }

    /// Peers that are kept.
    pub(crate) fn peers(&self) -> usize {
        self.peers
    }

    /// True if a peer with this address is kept for the torrent.
    #[cfg(test)]
    pub(crate) fn has(&self, hash: InfoHash, ip: std::net::IpAddr) -> bool {
        self.swarms.get(&hash).is_some_and(|s| s.v4.iter().chain(&s.v6).any(|p| p.addr.ip() == ip))
    }
}

/// Which peers are wanted.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) v4: bool,
    pub(crate) scope: Scope,
    pub(crate) noseed: bool,
    pub(crate) max: usize,
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: NodeId = NodeId([0; 20]);
    const HASH: InfoHash = InfoHash([1; 20]);
    const T0: Instant = Instant::from_secs(10_000);

    fn addr(text: &str) -> SocketAddr {
        text.parse().unwrap()
    }

    fn public(i: usize) -> SocketAddr {
        SocketAddr::from(([9, (i >> 16) as u8, (i >> 8) as u8, i as u8], 6881))
    }

    fn wanted(scope: Scope) -> Wanted {
        Wanted { v4: true, scope, noseed: false, max: 100 }
    }

    fn pick(store: &PeerStore, now: Instant, wanted: Wanted) -> Vec<SocketAddr> {
        let mut found = store.pick(now, &mut Rng::from_seed(1), HASH, wanted).unwrap_or_default();
        found.sort();
        found
    }

    #[test]
    fn an_address_is_one_peer() {
        let mut store = PeerStore::default();
        for a in ["9.9.9.9:1", "9.9.9.9:2", "127.0.0.1:1", "127.0.0.1:2", "[2001:db8::1]:1"] {
            store.insert(T0, &OWN, HASH, addr(a), false).unwrap();
        }
        assert_eq!(pick(&store, T0, wanted(Scope::Loopback)), ["9.9.9.9:2", "127.0.0.1:1", "127.0.0.1:2"].map(addr));
        assert_eq!(pick(&store, T0, wanted(Scope::Global)), [addr("9.9.9.9:2")], "nobody outside hears of local peers");
        let six = Wanted { v4: false, ..wanted(Scope::Global) };
        assert_eq!(pick(&store, T0, six), [addr("[2001:db8::1]:1")]);
        assert_eq!((store.torrents(), store.peers()), (1, 4));
    }

    #[test]
    fn peers_expire() {
        let mut store = PeerStore::default();
        store.insert(T0, &OWN, HASH, public(1), false).unwrap();
        store.insert(T0 + PEER_LIFE / 2, &OWN, HASH, public(2), false).unwrap();
        let later = T0 + PEER_LIFE;
        assert_eq!(pick(&store, later, wanted(Scope::Global)), [public(2)]);
        store.expire(later);
        assert_eq!(store.peers(), 1);
        store.expire(later + PEER_LIFE);
        assert_eq!((store.torrents(), store.peers()), (0, 0));
    }

    #[test]
    fn seeds_come_last_where_they_are_not_wanted_and_are_counted_apart() {
        let mut store = PeerStore::default();
        (0..50).for_each(|i| store.insert(T0, &OWN, HASH, public(i), i < 30).unwrap());
        let some = Wanted { noseed: true, max: 20, ..wanted(Scope::Global) };
        assert_eq!(pick(&store, T0, some), (30..50).map(public).collect::<Vec<_>>());
        let (seeds, peers) = store.blooms(T0, HASH, true).unwrap();
        assert!((25.0..35.0).contains(&seeds.estimate()) && (17.0..23.0).contains(&peers.estimate()));
        assert!(store.blooms(T0, InfoHash([2; 20]), true).is_none());
    }

    #[test]
    fn a_torrent_has_so_many_peers() {
        let mut store = PeerStore::default();
        (0..PEERS_MAX).for_each(|i| store.insert(T0, &OWN, HASH, public(i), false).unwrap());
        assert!(store.is_full(T0, HASH, true) && !store.is_full(T0, HASH, false));
        assert_eq!(store.insert(T0, &OWN, HASH, public(PEERS_MAX), false), Err(Full));
        assert!(store.insert(T0, &OWN, HASH, public(5), true).is_ok(), "who is here stays");
        let later = T0 + PEER_LIFE / 2;
        assert!(store.insert(later, &OWN, HASH, public(PEERS_MAX), false).is_ok(), "the oldest make room");
        assert_eq!(store.peers(), PEERS_MAX);
    }

    #[test]
    fn the_farthest_torrents_make_room() {
        let mut store = PeerStore::default();
        let hash = |i: usize| InfoHash([[2; 18].as_slice(), &(i as u16).to_be_bytes()].concat().try_into().unwrap());
        (0..TORRENTS_MAX).for_each(|i| store.insert(T0, &OWN, hash(i), public(i), false).unwrap());
        assert_eq!(store.insert(T0, &OWN, InfoHash([3; 20]), public(1), false), Err(Full), "farther than all");
        assert!(store.insert(T0, &OWN, HASH, public(1), false).is_ok(), "nearer than all");
        assert!(!store.has(hash(TORRENTS_MAX - 1), public(TORRENTS_MAX - 1).ip()));
        assert_eq!((store.torrents(), store.peers()), (TORRENTS_MAX, TORRENTS_MAX));
        assert_eq!(store.sample(&mut Rng::from_seed(1), 20).len(), 20);
    }
}
