//! The gate: what is needed before a torrent is known, and what belongs to the whole peer.
//!
//! Connections begin here. A dial waits for its socket, then both sides say their handshakes (BEP 3), and the connection
//! goes to the shard of the torrent it names. The gate counts all connections against the limits, those that it has handed
//! over, too; it lends rate to the shards ([`leases`]), and passes the datagrams of trackers. It deliberately knows nothing
//! of pieces, nor what became of a connection once a shard has it.

mod leases;

use crate::letter::{Adopted, Letter, ToGate, ToShard, Way};
use crate::{CREDIT, Config, Output};
use base::{ConnId, InfoHash, InfoHashes, Instant, Payload, PeerId, ShardIndex, TorrentId};
use leases::Leases;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use swarm::NewPeer;
use wire::handshake::{Handshake, Reserved};

/// A dial takes no longer.
const DIAL_MAX: Duration = Duration::from_secs(15);
/// Nor does a handshake.
const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// Accepted connections in handshake at once; more are dropped.
const PENDING_MAX: usize = 128;
/// Addresses of trackers that shards have asked. Beyond, one is forgotten: its answer is lost, and it is asked again.
const ASKED_MAX: usize = 4096;
/// The least lease of a download limit, in bytes.
const LEASE_DOWN_MIN: u64 = 4 * 1024;
/// The same for uploads: a block.
const LEASE_UP_MIN: u64 = 16 * 1024;

#[derive(Debug)]
struct Pending<P> {
    addr: SocketAddr,
    /// The torrent that dials; None: the other side did.
    dialled_by: Option<Owner>,
    /// What that torrent is called.
    hashes: InfoHashes,
    connected: bool,
    received: P,
    out: Vec<u8>,
    said_hello: bool,
    until: Instant,
}

/// A torrent, and where it lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Owner {
    shard: ShardIndex,
    torrent: TorrentId,
}

/// A torrent that connections may be for.
#[derive(Clone, Copy, Debug)]
struct Name {
    owner: Owner,
    reserved: Reserved,
    /// The v2 name of the same torrent.
    v2: Option<InfoHash>,
}

/// The gate of one engine.
#[derive(Debug)]
pub(crate) struct Gate<P> {
    config: Arc<Config>,
    peer_id: PeerId,
    names: BTreeMap<InfoHash, Name>,
    pending: BTreeMap<ConnId, Pending<P>>,
    /// Connections that shards have.
    handed_over: usize,
    dials: usize,
    next_conn: u64,
    down: Leases,
    up: Leases,
    asked: BTreeSet<(SocketAddr, ShardIndex)>,
    /// Shards that have had a torrent, and have not finished.
    shards: BTreeSet<ShardIndex>,
    stopping: bool,
    finished: bool,
    out: VecDeque<Output<P>>,
}

impl<P: Payload> Gate<P> {
    pub(crate) fn new(now: Instant, config: Arc<Config>) -> Self {
        Gate {
            peer_id: config.peer_id,
            names: BTreeMap::new(),
            pending: BTreeMap::new(),
            handed_over: 0,
            dials: 0,
            next_conn: 1,
            down: Leases::new(now, config.limit_down, LEASE_DOWN_MIN),
            up: Leases::new(now, config.limit_up, LEASE_UP_MIN),
            asked: BTreeSet::new(),
            shards: BTreeSet::new(),
            stopping: false,
            finished: false,
            out: VecDeque::new(),
            config,
        }
    }

    /// The next thing to do, or letter to pass on.
    pub(crate) fn poll(&mut self) -> Option<Output<P>> {
        base::pop_or_trim(&mut self.out)
    }

    fn write(&mut self, to: ShardIndex, what: ToShard<P>) {
        self.out.push_back(Output::Letter(Letter::ToShard { to, what }));
    }

    /// A shard writes.
    pub(crate) fn letter(&mut self, now: Instant, from: ShardIndex, what: ToGate) {
        match what {
            ToGate::Open { torrent, hashes } => {
                if self.shards.insert(from) && self.stopping {
                    self.write(from, ToShard::Shutdown);
                }
                self.open(Owner { shard: from, torrent }, hashes);
            }
            ToGate::Shut { torrent, hashes } => self.shut(Owner { shard: from, torrent }, hashes),
            ToGate::Dial { torrent, hashes, addr } => self.dial(now, Owner { shard: from, torrent }, hashes, addr),
            ToGate::Closed { conn } => {
                debug_assert!(self.handed_over > 0, "{conn:?} was never handed over");
                self.handed_over = self.handed_over.saturating_sub(1);
            }
            ToGate::Datagram { to, data } => {
                if self.asked.len() >= ASKED_MAX && !self.asked.contains(&(to, from)) {
                    self.asked.pop_first();
                }
                self.asked.insert((to, from));
                self.out.push_back(Output::Datagram { to, data });
            }
            ToGate::Want(way) => {
                match way {
                    Way::Down => self.down.want(from),
                    Way::Up => self.up.want(from),
                }
                self.lend(now);
            }
            ToGate::Finished => {
                self.shards.remove(&from);
                self.finish();
            }
        }
    }

    /// Lends what the limits allow to those who wait for it.
    fn lend(&mut self, now: Instant) {
        while let Some((shard, bytes)) = self.down.grant(now) {
            self.write(shard, ToShard::Lease(Way::Down, bytes));
        }
        while let Some((shard, bytes)) = self.up.grant(now) {
            self.write(shard, ToShard::Lease(Way::Up, bytes));
        }
    }

    /// From now on connections for a torrent are welcome, by those of its names that are free.
    fn open(&mut self, owner: Owner, hashes: InfoHashes) {
        if self.stopping {
            return;
        }
        // A v2 peer speaks to v2 peers alone; a hybrid meets everybody by its v1 name.
        let v2_only = hashes.v1.is_none();
        for hash in hashes.on_wire() {
            let v2 = hashes.v2_on_wire() == Some(hash);
            let reserved = if v2_only || v2 { swarm::OURS.with_v2() } else { swarm::OURS };
            self.names.entry(hash).or_insert(Name { owner, reserved, v2: hashes.v2_on_wire() });
        }
    }

    /// No connections for this torrent any more.
    fn shut(&mut self, owner: Owner, hashes: InfoHashes) {
        for hash in hashes.on_wire() {
            if self.names.get(&hash).is_some_and(|n| n.owner == owner) {
                self.names.remove(&hash);
            }
        }
        let dials: Vec<_> = self.pending.iter().filter(|(_, p)| p.dialled_by == Some(owner)).map(|(c, _)| *c).collect();
        for conn in dials {
            if let Some(p) = self.drop_pending(conn) {
                let failed = ToShard::DialFailed { torrent: owner.torrent, addr: p.addr, postponed: true };
                self.write(owner.shard, failed);
            }
            self.out.push_back(Output::Close { conn });
        }
    }

    /// A datagram has come: perhaps the answer of a tracker to one of the shards.
    pub(crate) fn datagram(&mut self, from: SocketAddr, data: &[u8]) {
        let all = (from, ShardIndex::default())..=(from, ShardIndex(u16::MAX));
        let shards: Vec<_> = self.asked.range(all).map(|(_, shard)| *shard).collect();
        for shard in shards {
            self.write(shard, ToShard::Datagram { from, data: data.to_vec() });
        }
    }

    /// Everything ends.
    pub(crate) fn shutdown(&mut self) {
        self.stopping = true;
        self.names.clear();
        let all: Vec<_> = self.pending.keys().copied().collect();
        for conn in all {
            self.drop_pending(conn);
            self.out.push_back(Output::Close { conn });
        }
        for shard in self.shards.clone() {
            self.write(shard, ToShard::Shutdown);
        }
        self.finish();
    }

    /// Says that all has ended, once it has.
    fn finish(&mut self) {
        if self.stopping && self.shards.is_empty() && !std::mem::replace(&mut self.finished, true) {
            self.out.push_back(Output::Finished);
        }
    }

    /// Connections that exist or are being made.
    fn connections(&self) -> usize {
        self.pending.len() + self.handed_over
    }

    /// Connections that shards have.
    pub(crate) fn handed_over(&self) -> usize {
        self.handed_over
    }

    fn dial(&mut self, now: Instant, owner: Owner, hashes: InfoHashes, addr: SocketAddr) {
        if self.stopping || self.dials >= self.config.dials_max || self.connections() >= self.config.connections_max {
            self.write(owner.shard, ToShard::DialFailed { torrent: owner.torrent, addr, postponed: true });
            return;
        }
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        self.dials += 1;
        self.pending.insert(conn, Pending { hashes, ..Pending::new(addr, Some(owner), now + DIAL_MAX) });
        self.out.push_back(Output::Dial { conn, to: addr });
    }

    pub(crate) fn connected(&mut self, now: Instant, conn: ConnId) {
        let Some(p) = self.pending.get_mut(&conn).filter(|p| !p.connected) else { return };
        p.connected = true;
        p.until = now + HANDSHAKE_MAX;
        let Some(owner) = p.dialled_by else { return };
        // A hybrid is called by its v1 name, which all of its peers know.
        let ours = |hash| self.names.get(&hash).copied().filter(|n| n.owner == owner).map(|n| (hash, n));
        let name = p.hashes.on_wire().filter_map(ours).min_by_key(|(_, n)| n.reserved.v2());
        let Some((info_hash, name)) = name else {
            self.out.push_back(Output::Close { conn });
            self.failed(conn);
            return;
        };
        p.say_hello(Handshake { reserved: name.reserved, info_hash, peer_id: self.peer_id });
        self.out.push_back(Output::Wake { conn });
    }

    pub(crate) fn accepted(&mut self, now: Instant, conn: ConnId, from: SocketAddr) {
        let incoming = self.pending.len() - self.dials;
        if incoming >= PENDING_MAX || self.connections() >= self.config.connections_max {
            self.out.push_back(Output::Close { conn });
            return;
        }
        self.pending.insert(conn, Pending { connected: true, ..Pending::new(from, None, now + HANDSHAKE_MAX) });
    }

    /// Bytes of a connection in handshake. They are given back if the connection is not one of these.
    pub(crate) fn received(&mut self, conn: ConnId, data: P) -> Option<P> {
        let Some(p) = self.pending.get_mut(&conn) else { return Some(data) };
        p.received.append(data);
        match p.progress(&self.names, self.peer_id) {
            Ok(Progress::Wait) => {}
            Ok(Progress::SaidHello) => self.out.push_back(Output::Wake { conn }),
            Ok(Progress::Done { owner, shake }) => self.adopt(conn, owner, shake),
            Err(Refused) => {
                self.out.push_back(Output::Close { conn });
                self.failed(conn);
            }
        }
        None
    }

    fn adopt(&mut self, conn: ConnId, owner: Owner, shake: Handshake) {
        let Some(p) = self.drop_pending(conn) else { return };
        self.handed_over += 1;
        let peer = NewPeer {
            conn,
            addr: p.addr,
            peer_id: shake.peer_id,
            reserved: shake.reserved,
            outgoing: p.dialled_by.is_some(),
            unsent: p.out,
        };
        let credit = CREDIT.saturating_sub((Handshake::LEN + p.received.len()) as u64);
        let adopted = Adopted { torrent: owner.torrent, peer, data: p.received, credit };
        self.write(owner.shard, ToShard::Adopt(Box::new(adopted)));
    }

    /// A connection is gone. False if it is not one in handshake.
    pub(crate) fn closed(&mut self, conn: ConnId) -> bool {
        self.failed(conn)
    }

    fn failed(&mut self, conn: ConnId) -> bool {
        let Some(p) = self.drop_pending(conn) else { return false };
        if let Some(Owner { shard, torrent }) = p.dialled_by {
            self.write(shard, ToShard::DialFailed { torrent, addr: p.addr, postponed: false });
        }
        true
    }

    fn drop_pending(&mut self, conn: ConnId) -> Option<Pending<P>> {
        let p = self.pending.remove(&conn)?;
        if self.pending.is_empty() {
            // An empty map keeps room for some, and it is empty most of the time.
            self.pending = BTreeMap::new();
        }
        if p.dialled_by.is_some() {
            self.dials -= 1;
        }
        Some(p)
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        let late = self.pending.values().map(|p| p.until).min();
        [late, self.down.deadline(), self.up.deadline()].into_iter().flatten().min()
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        base::trim(&mut self.out);
        let late: Vec<_> = self.pending.iter().filter(|(_, p)| p.until <= now).map(|(c, _)| *c).collect();
        for conn in late {
            self.out.push_back(Output::Close { conn });
            self.failed(conn);
        }
        self.lend(now);
    }

    /// Handshake bytes of a connection; None if it is not one in handshake.
    pub(crate) fn poll_transmit(&mut self, conn: ConnId) -> Option<Vec<u8>> {
        self.pending.get_mut(&conn).map(|p| std::mem::take(&mut p.out))
    }

    /// What is wrong, if anything.
    pub(crate) fn check_invariants(&self) -> Result<(), String> {
        let dials = self.pending.values().filter(|p| p.dialled_by.is_some()).count();
        if dials != self.dials {
            return Err(format!("{dials} dials, counted {}", self.dials));
        }
        if self.connections() > self.config.connections_max {
            return Err(format!("{} connections", self.connections()));
        }
        Ok(())
    }
}

struct Refused;

enum Progress {
    Wait,
    SaidHello,
    Done { owner: Owner, shake: Handshake },
}

impl<P: Payload> Pending<P> {
    fn new(addr: SocketAddr, dialled_by: Option<Owner>, until: Instant) -> Self {
        let (received, out) = (P::default(), Vec::new());
        let hashes = InfoHashes::default();
        Pending { addr, dialled_by, hashes, connected: false, received, out, said_hello: false, until }
    }

    fn say_hello(&mut self, shake: Handshake) {
        self.out.extend(shake.encode());
        self.said_hello = true;
    }

    fn progress(&mut self, names: &BTreeMap<InfoHash, Name>, us: PeerId) -> Result<Progress, Refused> {
        let mut head = [0; Handshake::LEN];
        let n = self.received.len().min(Handshake::LEN);
        self.received.copy_prefix(&mut head[..n]);
        let Some((reserved, hash)) = Handshake::parse_head(&head[..n]).map_err(|_| Refused)? else {
            return Ok(Progress::Wait);
        };
        let name = names.get(&hash).copied().ok_or(Refused)?;
        // An answer for another torrent than the one we asked for is none.
        if self.dialled_by.is_some_and(|o| o != name.owner) {
            return Err(Refused);
        }
        // Some peers say who they are only once they know who we are.
        let hello = !self.said_hello;
        if hello {
            // Who offers v2 for a hybrid is answered by its v2 name: the upgrade of BEP 52. libtorrent hangs up on the v1
            // name if it has heard of us under the v2 name since it dialled.
            let upgrade = name.v2.filter(|_| reserved.v2()).and_then(|h| Some((h, *names.get(&h)?)));
            let (info_hash, name) = upgrade.filter(|(_, n)| n.owner == name.owner).unwrap_or((hash, name));
            self.say_hello(Handshake { reserved: name.reserved, info_hash, peer_id: us });
        }
        match Handshake::take(&mut self.received).map_err(|_| Refused)? {
            Some(shake) if shake.peer_id == us => Err(Refused),
            Some(shake) => Ok(Progress::Done { owner: name.owner, shake }),
            None if hello => Ok(Progress::SaidHello),
            None => Ok(Progress::Wait),
        }
    }
}
