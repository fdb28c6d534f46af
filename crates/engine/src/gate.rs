//! The gate: what is needed before a torrent is known, and what belongs to the whole peer.
//!
//! Connections begin here. A dial waits for its socket, then both sides say their handshakes (BEP 3), and the connection
//! goes to the torrent it names. The gate counts all connections against the limits, and knows later which torrent each
//! belongs to. It deliberately knows nothing of pieces.

use crate::{CREDIT, Config};
use base::{ConnId, InfoHash, Instant, Payload, PeerId, TorrentId};
use std::collections::{BTreeMap, VecDeque};
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

/// What the gate says.
#[derive(Debug)]
pub(crate) enum GateOutput<P> {
    /// Connect.
    Dial { conn: ConnId, to: SocketAddr },
    /// Drop this connection.
    Close { conn: ConnId },
    /// There are handshake bytes to send.
    Wake { conn: ConnId },
    /// This connection belongs to a torrent now; `data` came behind the handshake, `credit` is left of what may be read.
    Adopt { torrent: TorrentId, peer: NewPeer, data: P, credit: u64 },
    /// A dial of a torrent led to nothing.
    DialFailed { torrent: TorrentId, addr: SocketAddr, postponed: bool },
}

#[derive(Debug)]
struct Pending<P> {
    addr: SocketAddr,
    /// The torrent that dials; None: the other side did.
    dialled_by: Option<TorrentId>,
    connected: bool,
    received: P,
    out: Vec<u8>,
    said_hello: bool,
    until: Instant,
}

/// A torrent that connections may be for.
#[derive(Clone, Copy, Debug)]
struct Name {
    torrent: TorrentId,
    reserved: Reserved,
}

#[derive(Debug)]
pub(crate) struct Gate<P> {
    config: Arc<Config>,
    peer_id: PeerId,
    names: BTreeMap<InfoHash, Name>,
    pending: BTreeMap<ConnId, Pending<P>>,
    owners: BTreeMap<ConnId, TorrentId>,
    dials: usize,
    next_conn: u64,
    pub(crate) out: VecDeque<GateOutput<P>>,
}

impl<P: Payload> Gate<P> {
    pub(crate) fn new(config: Arc<Config>) -> Self {
        let peer_id = config.peer_id;
        Gate {
            config,
            peer_id,
            names: BTreeMap::new(),
            pending: BTreeMap::new(),
            owners: BTreeMap::new(),
            dials: 0,
            next_conn: 1,
            out: VecDeque::new(),
        }
    }

    /// From now on connections for `hash` are welcome. False if the name is taken.
    pub(crate) fn open(&mut self, hash: InfoHash, torrent: TorrentId, reserved: Reserved) -> bool {
        let free = !self.names.contains_key(&hash);
        if free {
            self.names.insert(hash, Name { torrent, reserved });
        }
        free
    }

    /// No connections for this torrent any more.
    pub(crate) fn shut(&mut self, torrent: TorrentId) {
        self.names.retain(|_, n| n.torrent != torrent);
        let dials: Vec<_> =
            self.pending.iter().filter(|(_, p)| p.dialled_by == Some(torrent)).map(|(c, _)| *c).collect();
        for conn in dials {
            self.drop_pending(conn);
            self.out.push_back(GateOutput::Close { conn });
        }
    }

    /// Connections that exist or are being made.
    fn connections(&self) -> usize {
        self.pending.len() + self.owners.len()
    }

    /// The torrent of a connection whose handshake is done.
    pub(crate) fn owner(&self, conn: ConnId) -> Option<TorrentId> {
        self.owners.get(&conn).copied()
    }

    /// The connection of a torrent is gone.
    pub(crate) fn forget(&mut self, conn: ConnId) {
        self.owners.remove(&conn);
    }

    /// A torrent wants to connect to `addr`.
    pub(crate) fn dial(&mut self, now: Instant, torrent: TorrentId, addr: SocketAddr) {
        if self.dials >= self.config.dials_max || self.connections() >= self.config.connections_max {
            self.out.push_back(GateOutput::DialFailed { torrent, addr, postponed: true });
            return;
        }
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        self.dials += 1;
        self.pending.insert(conn, Pending::new(addr, Some(torrent), now + DIAL_MAX));
        self.out.push_back(GateOutput::Dial { conn, to: addr });
    }

    pub(crate) fn connected(&mut self, now: Instant, conn: ConnId) {
        let Some(p) = self.pending.get_mut(&conn).filter(|p| !p.connected) else { return };
        p.connected = true;
        p.until = now + HANDSHAKE_MAX;
        let Some(torrent) = p.dialled_by else { return };
        // A hybrid is called by its v1 name, which all of its peers know.
        let name = self.names.iter().filter(|(_, n)| n.torrent == torrent).min_by_key(|(_, n)| n.reserved.v2());
        let Some((info_hash, name)) = name.map(|(h, n)| (*h, *n)) else {
            self.out.push_back(GateOutput::Close { conn });
            self.failed(conn);
            return;
        };
        p.say_hello(Handshake { reserved: name.reserved, info_hash, peer_id: self.peer_id });
        self.out.push_back(GateOutput::Wake { conn });
    }

    pub(crate) fn accepted(&mut self, now: Instant, conn: ConnId, from: SocketAddr) {
        let incoming = self.pending.values().filter(|p| p.dialled_by.is_none()).count();
        if incoming >= PENDING_MAX || self.connections() >= self.config.connections_max {
            self.out.push_back(GateOutput::Close { conn });
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
            Ok(Progress::SaidHello) => self.out.push_back(GateOutput::Wake { conn }),
            Ok(Progress::Done { torrent, shake }) => self.adopt(conn, torrent, shake),
            Err(Refused) => {
                self.out.push_back(GateOutput::Close { conn });
                self.failed(conn);
            }
        }
        None
    }

    fn adopt(&mut self, conn: ConnId, torrent: TorrentId, shake: Handshake) {
        let Some(p) = self.drop_pending(conn) else { return };
        self.owners.insert(conn, torrent);
        let peer = NewPeer {
            conn,
            addr: p.addr,
            peer_id: shake.peer_id,
            reserved: shake.reserved,
            outgoing: p.dialled_by.is_some(),
            unsent: p.out,
        };
        let credit = CREDIT.saturating_sub((Handshake::LEN + p.received.len()) as u64);
        self.out.push_back(GateOutput::Adopt { torrent, peer, data: p.received, credit });
    }

    /// A connection is gone. False if it is not one in handshake.
    pub(crate) fn closed(&mut self, conn: ConnId) -> bool {
        self.failed(conn)
    }

    fn failed(&mut self, conn: ConnId) -> bool {
        let Some(p) = self.drop_pending(conn) else { return false };
        if let Some(torrent) = p.dialled_by {
            self.out.push_back(GateOutput::DialFailed { torrent, addr: p.addr, postponed: false });
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
        self.pending.values().map(|p| p.until).min()
    }

    pub(crate) fn tick(&mut self, now: Instant) {
        let late: Vec<_> = self.pending.iter().filter(|(_, p)| p.until <= now).map(|(c, _)| *c).collect();
        for conn in late {
            self.out.push_back(GateOutput::Close { conn });
            self.failed(conn);
        }
    }

    /// Closes everything that is in handshake.
    pub(crate) fn close_all(&mut self) {
        self.names.clear();
        let all: Vec<_> = self.pending.keys().copied().collect();
        for conn in all {
            self.drop_pending(conn);
            self.out.push_back(GateOutput::Close { conn });
        }
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
        match self.pending.keys().find(|c| self.owners.contains_key(c)) {
            Some(both) => Err(format!("{both:?} is in handshake and has a torrent")),
            None => Ok(()),
        }
    }
}

struct Refused;

enum Progress {
    Wait,
    SaidHello,
    Done { torrent: TorrentId, shake: Handshake },
}

impl<P: Payload> Pending<P> {
    fn new(addr: SocketAddr, dialled_by: Option<TorrentId>, until: Instant) -> Self {
        let (received, out) = (P::default(), Vec::new());
        Pending { addr, dialled_by, connected: false, received, out, said_hello: false, until }
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
        if self.dialled_by.is_some_and(|t| t != name.torrent) {
            return Err(Refused);
        }
        // Some peers say who they are only once they know who we are.
        let hello = !self.said_hello;
        if hello {
            // Who offers v2 for a hybrid is answered by its v2 name: the upgrade of BEP 52. libtorrent hangs up on the v1
            // name if it has heard of us under the v2 name since it dialled.
            let upgrade = |(_, n): &(&InfoHash, &Name)| reserved.v2() && n.torrent == name.torrent && n.reserved.v2();
            let (info_hash, name) = names.iter().find(upgrade).map_or((hash, name), |(h, n)| (*h, *n));
            self.say_hello(Handshake { reserved: name.reserved, info_hash, peer_id: us });
        }
        match Handshake::take(&mut self.received).map_err(|_| Refused)? {
            Some(shake) if shake.peer_id == us => Err(Refused),
            Some(shake) => Ok(Progress::Done { torrent: name.torrent, shake }),
            None if hello => Ok(Progress::SaidHello),
            None => Ok(Progress::Wait),
        }
    }
}
