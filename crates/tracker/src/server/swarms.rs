//! All swarms: found by info-hash through a keyed table, swept in slices so that no single step takes long.

use std::hash::Hasher;

use hashbrown::HashTable;
use siphasher::sip::SipHasher13;

use base::InfoHash;

use super::peers::{Peers, TableKey};

/// Under which of its hashes a peer knows its torrent: bits of `Peer::via`.
pub(super) struct Via;

impl Via {
    /// The hash that names the swarm.
    pub(super) const MAIN: u8 = 1;
    /// Another name of it: the v2 hash of a hybrid.
    pub(super) const ALIAS: u8 = 2;
    /// Whatever it is.
    pub(super) const ANY: u8 = u8::MAX;
}

/// The peers of one torrent.
#[derive(Debug)]
pub(super) struct Swarm {
    hash: InfoHash,
    pub(super) v4: Peers<[u8; 4]>,
    pub(super) v6: Peers<[u8; 16]>,
    pub(super) downloads: u32,
}

/// All swarms of a tracker.
#[derive(Debug)]
pub(super) struct Swarms {
    key: TableKey,
    slots: Vec<Option<Box<Swarm>>>,
    free: Vec<u32>,
    table: HashTable<(InfoHash, u32)>,
    /// The slot that is swept next.
    cursor: usize,
    peers: usize,
}

impl Swarms {
    pub(super) fn new(key: TableKey) -> Self {
        Swarms { key, slots: Vec::new(), free: Vec::new(), table: HashTable::new(), cursor: 0, peers: 0 }
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    /// Peers in all swarms.
    pub(super) fn peers(&self) -> usize {
        self.peers
    }

    pub(super) fn find(&self, hash: InfoHash) -> Option<&Swarm> {
        let found = self.table.find(self.hash(hash), |(h, _)| *h == hash)?;
        self.slots[found.1 as usize].as_deref()
    }

    /// Works on the swarm of `hash`, made if need be. None if there are `swarms_max` already.
    pub(super) fn with<T>(&mut self, hash: InfoHash, swarms_max: usize, f: impl FnOnce(&mut Swarm) -> T) -> Option<T> {
        let at = match self.table.find(self.hash(hash), |(h, _)| *h == hash) {
            Some((_, at)) => *at as usize,
            None if self.table.len() >= swarms_max => return None,
            None => self.make(hash),
        };
        let swarm = self.slots[at].as_mut().expect("the table names only slots in use");
        let before = swarm.len();
        let result = f(swarm);
        self.peers = self.peers + swarm.len() - before;
        Some(result)
    }

    fn make(&mut self, hash: InfoHash) -> usize {
        let swarm = Box::new(Swarm { hash, v4: Peers::default(), v6: Peers::default(), downloads: 0 });
        let at = match self.free.pop() {
            Some(at) => at as usize,
            None => {
                self.slots.push(None);
                self.slots.len() - 1
            }
        };
        self.slots[at] = Some(swarm);
        let key = self.key;
        self.table.insert_unique(hash_of(key, hash), (hash, at as u32), |(h, _)| hash_of(key, *h));
        at
    }

    /// Looks through the next `count` slots and forgets peers last heard of before `seen_from`, and swarms without any.
    pub(super) fn sweep(&mut self, count: usize, seen_from: u32) {
        for _ in 0..count.min(self.slots.len()) {
            if self.cursor >= self.slots.len() {
                self.cursor = 0;
            }
            let at = self.cursor;
            self.cursor += 1;
            let Some(swarm) = &mut self.slots[at] else { continue };
            self.peers -= swarm.v4.expire(self.key, seen_from) + swarm.v6.expire(self.key, seen_from);
            if swarm.len() == 0 {
                let hash = swarm.hash;
                self.slots[at] = None;
                self.free.push(at as u32);
                let entry = self.table.find_entry(hash_of(self.key, hash), |(h, _)| *h == hash);
                entry.expect("every swarm is in the table").remove();
            }
        }
    }

    /// Slots in use or once in use: what a whole sweep looks through.
    pub(super) fn slots(&self) -> usize {
        self.slots.len()
    }

    fn hash(&self, hash: InfoHash) -> u64 {
        hash_of(self.key, hash)
    }

    #[cfg(test)]
    pub(super) fn check_invariants(&self) {
        let swarms = || self.slots.iter().flatten();
        assert_eq!(swarms().map(|s| s.len()).sum::<usize>(), self.peers);
        assert_eq!(swarms().count(), self.table.len());
        assert_eq!(self.slots.len(), self.table.len() + self.free.len());
        for swarm in swarms() {
            swarm.v4.check_invariants(self.key);
            swarm.v6.check_invariants(self.key);
            assert!(std::ptr::eq(self.find(swarm.hash).unwrap(), &**swarm));
        }
    }
}

impl Swarm {
    /// Peers of both families.
    pub(super) fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }
}

fn hash_of(key: TableKey, hash: InfoHash) -> u64 {
    let mut hasher = SipHasher13::new_with_keys(key.0, key.1);
    hasher.write(&hash.0);
    hasher.finish()
}
