//! The peers of one swarm in one address family, and the choice of whom to tell an asker about.
//!
//! One vector, those who only give (seeds, and partial seeds that are `paused`) first, then those who still take: a
//! choice among either is a choice of indices. A peer is found by scanning while there are few, and beyond
//! [`SMALL`] by a table of indices, so that the many small swarms of a tracker cost little more than their addresses.
//!
//! A peer is who answers at an address and a port. Peer ids are not kept: they would double the memory, compact
//! answers (BEP 23) hold none, and anybody could claim the one of another.

use std::hash::Hasher;
use std::net::IpAddr;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

use base::Rng;

/// Up to this many peers are found by scanning.
const SMALL: usize = 24;
/// Peers looked at for each one wanted when not all may be told.
const SCAN_FACTOR: usize = 8;

/// The bytes of an IP address.
pub(super) trait Ip: Copy + Eq + AsRef<[u8]> {
    fn addr(self) -> IpAddr;
}

impl Ip for [u8; 4] {
    fn addr(self) -> IpAddr {
        self.into()
    }
}

impl Ip for [u8; 16] {
    fn addr(self) -> IpAddr {
        self.into()
    }
}

/// A peer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Peer<I> {
    pub(super) ip: I,
    /// Big-endian, as it is sent.
    pub(super) port: [u8; 2],
    /// Not reachable from everywhere: loopback, private, link-local.
    pub(super) local: bool,
    /// Under which hashes of the torrent it announced itself: bits of [`super::swarms::Via`].
    pub(super) via: u8,
    pub(super) role: Role,
    /// When it was last heard of, in seconds.
    pub(super) seen: u32,
}

/// What a peer does in its swarm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Role {
    /// Has everything.
    Seed,
    /// Has all it wants (BEP 21): gives, takes nothing.
    Paused,
    /// Takes.
    Leecher,
}

impl Role {
    fn only_gives(self) -> bool {
        self != Role::Leecher
    }
}

/// Key of the hash tables, drawn at birth: strangers choose addresses and hashes, not where they land.
#[derive(Clone, Copy, Debug)]
pub(super) struct TableKey(pub(super) u64, pub(super) u64);

/// The peers of one family.
#[derive(Debug)]
pub(super) struct Peers<I> {
    list: Vec<Peer<I>>,
    /// How many of `list`, from its beginning, only give.
    givers: u32,
    paused: u32,
    locals: u32,
    index: Option<Box<HashTable<u32>>>,
}

impl<I> Default for Peers<I> {
    fn default() -> Self {
        Peers { list: Vec::new(), givers: 0, paused: 0, locals: 0, index: None }
    }
}

/// Who asks, and what may be told.
pub(super) struct Wanted<'a, I> {
    pub(super) asker: (I, [u8; 2]),
    pub(super) only_gives: bool,
    /// The asker is among the peers itself.
    pub(super) listed: bool,
    pub(super) count: usize,
    /// Peers last heard of before this second are as good as gone.
    pub(super) seen_from: u32,
    /// Judges the peers that are not reachable from everywhere.
    pub(super) local_ok: &'a dyn Fn(&I) -> bool,
    /// Only peers that announced under one of these hashes.
    pub(super) via: u8,
}

impl<I: Ip> Peers<I> {
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn seeds(&self) -> u32 {
        self.givers - self.paused
    }

    pub(super) fn leechers(&self) -> u32 {
        self.list.len() as u32 - self.seeds()
    }

    /// The peer at this address.
    pub(super) fn find(&self, key: TableKey, ip: I, port: [u8; 2]) -> Option<Peer<I>> {
        self.position(key, ip, port).map(|i| self.list[i])
    }

    fn position(&self, key: TableKey, ip: I, port: [u8; 2]) -> Option<usize> {
        let same = |p: &Peer<I>| p.port == port && p.ip == ip;
        match &self.index {
            None => self.list.iter().position(same),
            Some(index) => index.find(hash_of(key, ip, port), |i| same(&self.list[*i as usize])).map(|i| *i as usize),
        }
    }

    /// Adds a peer or takes over what changed. False if it is new and there is no `room`.
    pub(super) fn upsert(&mut self, key: TableKey, peer: Peer<I>, room: bool) -> bool {
        match self.position(key, peer.ip, peer.port) {
            Some(at) => {
                let old = self.list[at];
                let via = old.via | peer.via;
                if old.role == peer.role {
                    self.list[at] = Peer { via, ..peer };
                } else {
                    self.remove_at(key, at);
                    self.insert(key, Peer { via, ..peer });
                }
                true
            }
            None if room => {
                self.insert(key, peer);
                true
            }
            None => false,
        }
    }

    /// Removes the peer at this address. True if there was one.
    pub(super) fn remove(&mut self, key: TableKey, ip: I, port: [u8; 2]) -> bool {
        let at = self.position(key, ip, port);
        if let Some(at) = at {
            self.remove_at(key, at);
            self.shrink();
        }
        at.is_some()
    }

    /// Removes those last heard of before `seen_from`. Their number.
    pub(super) fn expire(&mut self, key: TableKey, seen_from: u32) -> usize {
        let before = self.list.len();
        // Backwards, so that what is moved into a gap was looked at already.
        for at in (0..before).rev() {
            if at < self.list.len() && self.list[at].seen < seen_from {
                self.remove_at(key, at);
            }
        }
        if self.list.len() < before {
            self.shrink();
        }
        before - self.list.len()
    }

    fn insert(&mut self, key: TableKey, peer: Peer<I>) {
        let last = self.list.len();
        self.list.push(peer);
        self.paused += u32::from(peer.role == Role::Paused);
        self.locals += u32::from(peer.local);
        let list = &self.list;
        match &mut self.index {
            Some(index) => {
                index.insert_unique(hash_of(key, peer.ip, peer.port), last as u32, |i| hash_at(key, list, *i));
            }
            None if list.len() > SMALL => {
                let mut index = HashTable::with_capacity(2 * SMALL);
                for i in 0..list.len() as u32 {
                    index.insert_unique(hash_at(key, list, i), i, |i| hash_at(key, list, *i));
                }
                self.index = Some(Box::new(index));
            }
            None => {}
        }
        if peer.role.only_gives() {
            self.swap(key, self.givers as usize, last);
            self.givers += 1;
        }
    }

    fn remove_at(&mut self, key: TableKey, at: usize) {
        let peer = self.list[at];
        self.paused -= u32::from(peer.role == Role::Paused);
        self.locals -= u32::from(peer.local);
        let mut at = at;
        if peer.role.only_gives() {
            self.givers -= 1;
            self.swap(key, at, self.givers as usize);
            at = self.givers as usize;
        }
        let last = self.list.len() - 1;
        self.swap(key, at, last);
        self.list.pop();
        if let Some(index) = &mut self.index {
            let found = index.find_entry(hash_of(key, peer.ip, peer.port), |i| *i as usize == last);
            found.expect("every peer is in the index").remove();
        }
    }

    /// Exchanges two peers, in the index too.
    fn swap(&mut self, key: TableKey, a: usize, b: usize) {
        if a == b {
            return;
        }
        if let Some(index) = &mut self.index {
            let (hash_a, hash_b) = (hash_at(key, &self.list, a as u32), hash_at(key, &self.list, b as u32));
            // Marked first: with equal hashes the second search could find what the first one wrote.
            let slot = index.find_mut(hash_a, |i| *i as usize == a).expect("every peer is in the index");
            *slot = u32::MAX;
            *index.find_mut(hash_b, |i| *i as usize == b).expect("every peer is in the index") = a as u32;
            *index.find_mut(hash_a, |i| *i == u32::MAX).expect("it was marked above") = b as u32;
        }
        self.list.swap(a, b);
    }

    fn shrink(&mut self) {
        if self.list.len() <= SMALL / 2 {
            self.index = None;
        }
        if self.list.capacity() > 8 && self.list.len() < self.list.capacity() / 4 {
            self.list.shrink_to(self.list.len() * 2);
        }
    }

    /// Tells `tell` of up to `wanted.count` others: those who give to those who take, half of each where there are both; never
    /// those who give to those who give.
    pub(super) fn pick(&self, rng: &mut Rng, wanted: &Wanted<'_, I>, mut tell: impl FnMut(&Peer<I>)) {
        let givers = self.givers as usize;
        let takers = self.list.len() - givers;
        let from_givers = match wanted.only_gives {
            true => 0,
            false => {
                let others = takers - usize::from(wanted.listed && takers > 0);
                givers.min((wanted.count / 2).max(wanted.count.saturating_sub(others)))
            }
        };
        let mut told = self.pick_from(rng, 0, givers, from_givers, wanted, &mut tell);
        told += self.pick_from(rng, givers, takers, wanted.count - told, wanted, &mut tell);
        debug_assert!(told <= wanted.count);
    }

    /// Up to `count` of the `len` peers from `start`.
    fn pick_from(
        &self,
        rng: &mut Rng,
        start: usize,
        len: usize,
        count: usize,
        wanted: &Wanted<'_, I>,
        tell: &mut impl FnMut(&Peer<I>),
    ) -> usize {
        if count == 0 || len == 0 {
            return 0;
        }
        let ok = |peer: &&Peer<I>| {
            peer.seen >= wanted.seen_from
                && (peer.port, peer.ip) != (wanted.asker.1, wanted.asker.0)
                && peer.via & wanted.via != 0
                && (!peer.local || (wanted.local_ok)(&peer.ip))
        };
        let range = &self.list[start..start + len];
        let choosy = self.locals > 0 || wanted.via != u8::MAX || len <= 2 * count;
        if choosy {
            // From a random place around, until enough are found.
            let (before, after) = range.split_at(rng.index(len));
            let around = after.iter().chain(before).take(count.saturating_mul(SCAN_FACTOR).max(256));
            return around.filter(ok).take(count).map(tell).count();
        }
        // One of each of as many equal parts as are wanted, and one part more in case the asker is met.
        let parts = count + 1;
        let (first, mut told) = (rng.index(parts), 0);
        for part in (first..parts).chain(0..first) {
            let (from, to) = (part * len / parts, (part + 1) * len / parts);
            let peer = &range[from + rng.index(to - from)];
            if told < count && ok(&peer) {
                tell(peer);
                told += 1;
            }
        }
        told
    }

    /// Checks what must always hold.
    #[cfg(test)]
    pub(super) fn check_invariants(&self, key: TableKey) {
        let givers = self.givers as usize;
        assert!(self.list[..givers].iter().all(|p| p.role.only_gives()));
        assert!(self.list[givers..].iter().all(|p| !p.role.only_gives()));
        assert_eq!(self.paused as usize, self.list.iter().filter(|p| p.role == Role::Paused).count());
        assert_eq!(self.locals as usize, self.list.iter().filter(|p| p.local).count());
        assert!(self.index.is_some() || self.list.len() <= SMALL);
        if let Some(index) = &self.index {
            assert_eq!(index.len(), self.list.len());
        }
        for (i, p) in self.list.iter().enumerate() {
            assert_eq!(self.position(key, p.ip, p.port), Some(i));
        }
    }
}

fn hash_of<I: Ip>(key: TableKey, ip: I, port: [u8; 2]) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(key.0, key.1);
    hasher.write(ip.as_ref());
    hasher.write(&port);
    hasher.finish()
}

fn hash_at<I: Ip>(key: TableKey, list: &[Peer<I>], i: u32) -> u64 {
    let peer = &list[i as usize];
    hash_of(key, peer.ip, peer.port)
}
