//! The routing table: the nodes that we know, more of them the closer they are to us (BEP 5).
//!
//! A bucket holds nodes that share so many bits with our id. A node enters when it has answered us, never by hearsay; it is good for
//! 15 minutes after an answer and questionable from then on, bad when it left two questions unanswered. Who finds a full bucket waits
//! in its replacement cache, and the node that was not heard of longest is asked whether it is still there; a bad one is replaced.
//!
//! **Sizes.** k is 8. In a wide table the buckets nearest to the top hold 128, 64, 32 and 16, as in libtorrent: half of all lookups
//! begin in the first one, and 128 nodes there bring them four bits closer at once than 8 do, which saves a round trip; the price is
//! some 200 more nodes to be asked every quarter of an hour, one small datagram in four seconds.
//!
//! **Neighbours.** An IP address is one node, and so is a /24 (IPv4) or /64 (IPv6), in the whole table: whoever wants to fill it needs as
//! many networks. Where an id must fit its address (BEP 42) and does not, the node is the first to make room for others that comply.

#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::time::Duration;

use base::{Instant, NodeId, Rng, Scope, may_use};

use crate::secure;

/// Nodes of an ordinary bucket, and nodes that answer for a point of the key space.
pub const K: usize = 8;
/// Nodes of the buckets nearest to the top, in a wide table.
const WIDE: [usize; 4] = [128, 64, 32, 16];
/// Buckets: enough for 2^40 nodes. What shares more bits with us is in the last one.
const BUCKETS_MAX: usize = 40;
/// A node is good for so long after an answer, and a bucket fresh after a change.
pub(crate) const FRESH: Duration = Duration::from_secs(15 * 60);
/// Questions left unanswered in a row that make a node bad.
const FAILS_BAD: u8 = 2;
/// Questions left unanswered in a row after which a node is forgotten, though nobody waits for its place.
const FAILS_MAX: u8 = 5;
/// Lookups that fill one bucket.
const GAP_LOOKUPS_MAX: usize = 4;
/// A node that left a question unanswered is asked again after so long.
const RETRY: Duration = Duration::from_secs(60);

/// Nodes for which there is room among those that share just so many bits with us.
pub fn bucket_room(bucket: usize, wide: bool) -> usize {
    WIDE.get(bucket).copied().filter(|_| wide).unwrap_or(K)
}

/// A node.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Node {
    pub(crate) id: NodeId,
    pub(crate) addr: SocketAddr,
    /// When it last answered; None for one of an earlier run that was not heard of yet.
    seen: Option<Instant>,
    /// When it was last asked by [`Table::due_ping`].
    asked: Option<Instant>,
    fails: u8,
    /// Its id may be that of its address (BEP 42).
    fits: bool,
    /// What is one neighbour with it.
    net: Option<[u8; 8]>,
}

impl Node {
    fn new(id: NodeId, addr: SocketAddr, seen: Option<Instant>) -> Self {
        let (fits, net) = (secure::fits(&id, addr.ip()), secure::network(addr.ip()));
        Node { id, addr, seen, asked: None, fails: 0, fits, net }
    }

    fn is_good(&self, now: Instant) -> bool {
        self.fails == 0 && self.seen.is_some_and(|seen| now.since(seen) < FRESH)
    }

    /// Should it be asked whether it is still there?
    fn is_due(&self, now: Instant) -> bool {
        !self.is_good(now) && self.asked.is_none_or(|asked| now.since(asked) >= RETRY)
    }
}

#[derive(Clone, Debug, Default)]
struct Bucket {
    nodes: Vec<Node>,
    /// Waiting for a place, who was heard of last at the end.
    spares: Vec<Node>,
    /// When a node was last heard of here.
    changed: Instant,
}

/// The nodes of one family.
#[derive(Debug)]
pub(crate) struct Table {
    own: NodeId,
    wide: bool,
    /// Never empty. The last one holds all that shares at least so many bits with us as it has number.
    buckets: Vec<Bucket>,
}

impl Table {
    pub(crate) fn new(own: NodeId, wide: bool) -> Self {
        Table { own, wide, buckets: vec![Bucket::default()] }
    }

    pub(crate) fn own(&self) -> NodeId {
        self.own
    }

    fn room(&self, bucket: usize) -> usize {
        bucket_room(bucket, self.wide)
    }

    fn bucket_of(&self, id: &NodeId) -> usize {
        self.own.shared_bits(id).min(self.buckets.len() - 1)
    }

    fn nodes(&self) -> impl Iterator<Item = &Node> {
        self.buckets.iter().flat_map(|b| &b.nodes)
    }

    /// A node has answered. Says whom to ask whether it is still there, if somebody waits for its place.
    pub(crate) fn answered(&mut self, now: Instant, id: NodeId, addr: SocketAddr) -> Option<SocketAddr> {
        if id == self.own {
            return None;
        }
        let node = Node::new(id, addr, Some(now));
        let at = self.bucket_of(&id);
        if let Some(known) = self.buckets[at].nodes.iter_mut().find(|n| n.id == id) {
            if known.addr == addr {
                *known = node;
                self.buckets[at].changed = now;
                return None;
            }
            // The same id elsewhere: who has it and is well keeps it.
            if known.fails < FAILS_BAD {
                return None;
            }
            self.buckets[at].nodes.retain(|n| n.id != id);
        }
        self.forget_address(addr);
        if self.is_neighbour(addr) {
            return None;
        }
        self.enter(now, node)
    }

    /// A node of an earlier run, or one that is as good as known: it enters where there is room.
    pub(crate) fn suppose(&mut self, now: Instant, id: NodeId, addr: SocketAddr, seen: Option<Instant>) {
        let known = self.nodes().any(|n| n.id == id || n.addr == addr);
        if id == self.own || known || self.is_neighbour(addr) {
            return;
        }
        let node = Node::new(id, addr, seen);
        if self.make_room(&id) {
            let at = self.bucket_of(&id);
            self.buckets[at].nodes.push(node);
            self.buckets[at].changed = now;
        }
    }

    /// Whoever was at this address has another id now.
    fn forget_address(&mut self, addr: SocketAddr) {
        for bucket in &mut self.buckets {
            bucket.nodes.retain(|n| n.addr != addr);
            bucket.spares.retain(|n| n.addr != addr);
        }
    }

    /// Is somebody of the same network here already?
    fn is_neighbour(&self, addr: SocketAddr) -> bool {
        secure::network(addr.ip()).is_some_and(|net| self.nodes().any(|n| n.net == Some(net)))
    }

    /// Splits until the bucket of `id` has room, as far as that can be.
    fn make_room(&mut self, id: &NodeId) -> bool {
        loop {
            let at = self.bucket_of(id);
            if self.buckets[at].nodes.len() < self.room(at) {
                return true;
            }
            if at + 1 < self.buckets.len() || self.buckets.len() >= BUCKETS_MAX {
                return false;
            }
            self.split();
        }
    }

    /// Takes what shares one bit more with us out of the last bucket, into a new last one.
    fn split(&mut self) {
        let last = self.buckets.len() - 1;
        let own = self.own;
        let old = std::mem::take(&mut self.buckets[last]);
        let changed = old.changed;
        let farther = |n: &Node| own.shared_bits(&n.id) <= last;
        let (nodes, inner) = old.nodes.into_iter().partition(farther);
        let (spares, inner_spares) = old.spares.into_iter().partition(farther);
        self.buckets[last] = Bucket { nodes, spares, changed };
        self.buckets.push(Bucket { nodes: inner, spares: inner_spares, changed });
        // In a wide table the next bucket is smaller than this one was.
        if self.buckets[last + 1].nodes.len() > self.room(last + 1) && self.buckets.len() < BUCKETS_MAX {
            self.split();
        }
        [last, last + 1].into_iter().for_each(|at| self.promote(at));
    }

    /// Those who wait enter where there is room; where there is none, those who were not heard of longest leave.
    fn promote(&mut self, at: usize) {
        let room = self.room(at);
        if self.buckets[at].nodes.len() > room {
            self.buckets[at].nodes.sort_by_key(|n| std::cmp::Reverse(n.seen));
            self.buckets[at].nodes.truncate(room);
        }
        while self.buckets[at].nodes.len() < room
            && let Some(spare) = self.buckets[at].spares.pop()
        {
            let known = self.buckets[at].nodes.iter().any(|n| n.id == spare.id);
            if !known && !self.is_neighbour(spare.addr) {
                self.buckets[at].nodes.push(spare);
            }
        }
    }

    fn enter(&mut self, now: Instant, node: Node) -> Option<SocketAddr> {
        let at = self.bucket_of(&node.id);
        self.buckets[at].spares.retain(|n| n.id != node.id);
        let roomy = self.make_room(&node.id);
        let at = self.bucket_of(&node.id);
        let bucket = &mut self.buckets[at];
        if roomy {
            bucket.nodes.push(node);
            bucket.changed = now;
            return None;
        }
        let gives_way = |n: &&mut Node| n.fails >= FAILS_BAD || (node.fits && !n.fits);
        if let Some(old) = bucket.nodes.iter_mut().filter(gives_way).max_by_key(|n| n.fails) {
            *old = node;
            bucket.changed = now;
            return None;
        }
        bucket.spares.retain(|n| node.net.is_none() || n.net != node.net);
        if bucket.spares.len() >= K {
            bucket.spares.remove(0);
        }
        bucket.spares.push(node);
        let eldest = bucket.nodes.iter_mut().filter(|n| n.is_due(now)).min_by_key(|n| n.seen)?;
        eldest.asked = Some(now);
        Some(eldest.addr)
    }

    /// A node left a question unanswered.
    pub(crate) fn failed(&mut self, addr: SocketAddr) {
        let find = |b: &Bucket| b.nodes.iter().position(|n| n.addr == addr);
        let Some((at, index)) = self.buckets.iter().enumerate().find_map(|(at, b)| Some((at, find(b)?))) else {
            return;
        };
        let bucket = &mut self.buckets[at];
        let node = &mut bucket.nodes[index];
        node.fails = node.fails.saturating_add(1);
        // Of one that has never answered in this run nothing is expected.
        let hopeless = node.fails >= FAILS_MAX || (node.fails >= FAILS_BAD && node.seen.is_none());
        if hopeless || (node.fails >= FAILS_BAD && !bucket.spares.is_empty()) {
            bucket.nodes.swap_remove(index);
            self.promote(at);
        }
    }

    /// Would this node, of which somebody spoke, find a place? Then it is worth being asked.
    pub(crate) fn wants(&self, id: &NodeId, addr: SocketAddr) -> bool {
        let at = self.bucket_of(id);
        let bucket = &self.buckets[at];
        let last = at + 1 == self.buckets.len() && self.buckets.len() < BUCKETS_MAX;
        let roomy = last || bucket.nodes.len() < self.room(at) || bucket.nodes.iter().any(|n| n.fails >= FAILS_BAD);
        let known = || bucket.nodes.iter().any(|n| n.id == *id);
        let crowded = || self.nodes().any(|n| n.addr == addr) || self.is_neighbour(addr);
        *id != self.own && roomy && !known() && !crowded()
    }

    /// Does a node with this address answer us?
    pub(crate) fn is_proven(&self, now: Instant, addr: SocketAddr) -> bool {
        self.nodes().any(|n| n.addr == addr && n.is_good(now))
    }

    /// The `count` nodes closest to `target` that a lookup of ours may begin with, closest first.
    pub(crate) fn closest(&self, target: &NodeId, count: usize) -> Vec<(NodeId, SocketAddr)> {
        nearest(self.nodes().filter(|n| n.fails < FAILS_BAD), target, count)
    }

    /// The `count` good nodes closest to `target` that an asker in `scope` may use.
    pub(crate) fn closest_good(
        &self,
        now: Instant,
        target: &NodeId,
        count: usize,
        scope: Scope,
    ) -> Vec<(NodeId, SocketAddr)> {
        nearest(self.nodes().filter(|n| n.is_good(now) && may_use(n.addr, scope)), target, count)
    }

    /// A node that should be asked whether it is still there, the one not heard of longest first.
    pub(crate) fn due_ping(&mut self, now: Instant) -> Option<SocketAddr> {
        let due = self.buckets.iter_mut().flat_map(|b| &mut b.nodes).filter(|n| n.is_due(now));
        let node = due.min_by_key(|n| n.seen)?;
        node.asked = Some(now);
        Some(node.addr)
    }

    /// A point in a bucket where nobody was heard of for 15 minutes, to be looked for.
    pub(crate) fn due_refresh(&mut self, now: Instant, rng: &mut Rng) -> Option<NodeId> {
        let (at, bucket) = self.buckets.iter_mut().enumerate().min_by_key(|(_, b)| b.changed)?;
        if now.since(bucket.changed) < FRESH {
            return None;
        }
        bucket.changed = now;
        Some(self.own.random_at(at, rng))
    }

    /// Points in each bucket that has room, more where there is more of it: looked for once after joining, they fill the table.
    pub(crate) fn gaps(&self, rng: &mut Rng) -> Vec<NodeId> {
        let last = self.buckets.len() - 1;
        let mut points = Vec::new();
        for (at, bucket) in self.buckets.iter().enumerate() {
            let lookups = (self.room(at) - bucket.nodes.len()).div_ceil(K).min(GAP_LOOKUPS_MAX);
            // The last one reaches down to ourselves.
            points.extend((0..lookups).map(|i| self.own.random_at(if at == last { at + i } else { at }, rng)));
        }
        points
    }

    /// We have another id now: everybody finds his place anew.
    pub(crate) fn rebase(&mut self, now: Instant, own: NodeId) {
        let old = std::mem::replace(&mut self.buckets, vec![Bucket::default()]);
        self.own = own;
        for node in old.into_iter().flat_map(|b| b.nodes) {
            if node.id != own && self.make_room(&node.id) {
                let at = self.bucket_of(&node.id);
                self.buckets[at].nodes.push(node);
                self.buckets[at].changed = now;
            }
        }
    }

    /// Nodes known.
    pub(crate) fn len(&self) -> usize {
        self.nodes().count()
    }

    /// Those of them that are good.
    pub(crate) fn good(&self, now: Instant) -> usize {
        self.nodes().filter(|n| n.is_good(now)).count()
    }

    /// Those who wait for a place.
    pub(crate) fn spares(&self) -> usize {
        self.buckets.iter().map(|b| b.spares.len()).sum()
    }

    /// Buckets.
    pub(crate) fn depth(&self) -> usize {
        self.buckets.len()
    }

    /// All nodes that have answered lately or might still: to be kept across a restart.
    pub(crate) fn keepsakes(&self) -> impl Iterator<Item = (NodeId, SocketAddr)> {
        self.nodes().filter(|n| n.fails < FAILS_BAD).map(|n| (n.id, n.addr))
    }

    /// What must hold at any time.
    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        for (at, bucket) in self.buckets.iter().enumerate() {
            assert!(bucket.nodes.len() <= self.room(at) && bucket.spares.len() <= K);
            for node in bucket.nodes.iter().chain(&bucket.spares) {
                assert_eq!(self.bucket_of(&node.id), at);
                assert_ne!(node.id, self.own);
            }
        }
        let mut nets: Vec<_> = self.nodes().filter_map(|n| n.net).collect();
        nets.sort();
        assert!(nets.windows(2).all(|w| w[0] != w[1]), "one node a network");
        let mut ids: Vec<_> = self.nodes().map(|n| n.id).collect();
        ids.sort();
        assert!(ids.windows(2).all(|w| w[0] != w[1]), "one node an id");
        assert!(self.buckets.len() <= BUCKETS_MAX);
    }
}

fn nearest<'a>(nodes: impl Iterator<Item = &'a Node>, target: &NodeId, count: usize) -> Vec<(NodeId, SocketAddr)> {
    let mut all: Vec<_> = nodes.map(|n| (target.distance(&n.id), n)).collect();
    if all.len() > count && count > 0 {
        all.select_nth_unstable_by_key(count - 1, |(distance, _)| *distance);
        all.truncate(count);
    }
    all.sort_by_key(|(distance, _)| *distance);
    all.into_iter().map(|(_, n)| (n.id, n.addr)).collect()
}
