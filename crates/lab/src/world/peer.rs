//! One peer of a world: its engine, and the hands that the world plays for it.

use super::{PeerSpec, TORRENT, WorldSpec, stream};
use crate::disk::Disk;
use crate::net::{ConnKey, Link, Side};
use crate::payload::Payload;
use crate::queue::PeerIx;
use crate::world::Have;
use base::{Bitfield, ConnId, ConnMap, Instant, PeerId, PieceIndex, Rng};
use engine::{AddTorrent, Command, Engine, Input};
use std::collections::{BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use swarm::Resume;

/// The port that everybody listens on.
const PORT: u16 = 6881;

/// How a peer behaves. Its engine is the production one in any case; the hands around it misbehave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// As it should.
    Honest,
    /// Spoils one in so many blocks that it sends.
    Liar {
        /// 1: each of them.
        one_in: u64,
    },
    /// Promises and does not keep: nothing leaves on a connection from its first block on, and it stays open.
    Staller,
}

/// What a peer did so far.
#[derive(Clone, Debug, Default)]
pub struct PeerStats {
    /// When it came.
    pub started_at: Option<Instant>,
    /// When bytes of a block first reached it.
    pub first_block_at: Option<Instant>,
    /// When it had everything.
    pub complete_at: Option<Instant>,
    /// When it left or crashed.
    pub left_at: Option<Instant>,
    /// Its torrent stopped with this error.
    pub stopped: Option<String>,
    /// Bytes of blocks that left it.
    pub sent: u64,
    /// Bytes of blocks that reached it, over all its lives.
    pub received: u64,
    /// Of those, from peers that had everything when they came.
    pub received_from_seeds: u64,
    /// Bytes that its engine called wasted, over its past lives.
    pub wasted: u64,
    /// Pieces that came out bad.
    pub pieces_bad: u32,
    /// Whom it banned.
    pub banned: Vec<usize>,
    /// Its disk lost something, or rotted.
    pub damaged: bool,
    /// Times that it was started.
    pub lives: u32,
}

/// What survives the process.
#[derive(Clone, Debug, Default)]
pub(super) struct Saved {
    /// Pieces that were called good.
    pub(super) have: Option<Bitfield>,
    /// The info dictionary, once it is known.
    pub(super) info: bool,
}

/// In the order of the fields: what every event touches lies together.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Peer {
    pub(super) engine: Option<Box<Engine<Payload>>>,
    /// When the next event for its deadline comes.
    pub(super) armed: Instant,
    pub(super) ix: PeerIx,
    pub(super) disk_armed: bool,
    /// Its disk has rotted: what it sends may be wrong without its knowing.
    pub(super) rotted: bool,
    /// What it will be told once it has said everything.
    pub(super) inbox: VecDeque<Input<Payload>>,
    pub(super) conns: ConnMap<(ConnKey, Side)>,
    pub(super) link: Link,
    /// Payload received in this life, for the balance against the engine's own count.
    pub(super) received_in_life: u64,
    pub(super) accepted: u64,
    /// Connections in this life.
    pub(super) conns_in_life: u64,
    /// Connections of whose end an engine of several shards was told; one of them may not have heard yet.
    pub(super) unheard: BTreeSet<ConnId>,
    pub(super) stats: PeerStats,
    pub(super) disk: Disk,
    pub(super) saved: Saved,
    /// The saved state as of the last sync of disk and state, for a loss of power.
    pub(super) synced: Saved,
    /// Chance of the hands: lies, losses.
    pub(super) rng: Rng,
    pub(super) spec: PeerSpec,
}

impl Peer {
    pub(super) fn new(ix: PeerIx, spec: PeerSpec, world: &WorldSpec) -> Self {
        let geometry = world.plan.geometry;
        let have = match &spec.have {
            Have::Nothing => Bitfield::new(geometry.piece_count()),
            Have::All => Bitfield::full(geometry.piece_count()),
            Have::Pieces(bits) => bits.clone(),
        };
        let saved = Saved { have: Some(have.clone()), info: !spec.magnet };
        Peer {
            ix,
            engine: None,
            disk: Disk::new(spec.disk, geometry, have),
            disk_armed: false,
            link: Link::new(spec.link),
            conns: ConnMap::new(),
            accepted: 0,
            armed: Instant::NEVER,
            inbox: VecDeque::new(),
            synced: saved.clone(),
            saved,
            rng: stream(world.seed, ix, 1),
            stats: PeerStats::default(),
            received_in_life: 0,
            conns_in_life: 0,
            unheard: BTreeSet::new(),
            rotted: false,
            spec,
        }
    }

    /// True for one who had everything when it came.
    pub(super) fn is_seed(&self) -> bool {
        self.spec.have == Have::All
    }

    /// Where it listens.
    pub(super) fn addr(&self) -> SocketAddr {
        addr_of(self.ix)
    }

    /// A new life: the engine is told of the torrent, and of what is on disk.
    pub(super) fn start(
        &mut self,
        now: Instant,
        world: &WorldSpec,
        trackers: Vec<Vec<String>>,
        check: Option<Bitfield>,
    ) {
        let mut id = *b"-SH0010-000000000000";
        id[8..12].copy_from_slice(&self.ix.to_be_bytes());
        id[12..16].copy_from_slice(&self.stats.lives.to_be_bytes());
        let config = engine::Config { peer_id: PeerId(id), port: PORT, ..self.spec.config.clone() };
        let rng = stream(world.seed, self.ix, 2 + self.stats.lives);
        self.engine = Some(Box::new(Engine::with_lag(now, config, rng, self.spec.lag)));
        self.stats.lives += 1;
        self.received_in_life = 0;
        self.conns_in_life = 0;
        self.unheard.clear();
        let add = AddTorrent {
            hashes: world.hashes,
            info: self.saved.info.then(|| Arc::clone(&world.info)),
            private: false,
            trackers,
            peers: self.spec.knows.iter().map(|ix| addr_of(*ix as PeerIx)).collect(),
            choker: self.spec.choker.map(|make| make()),
        };
        self.inbox.push_back(Input::Add(TORRENT, Box::new(add)));
        if self.saved.info {
            self.open(world, check);
        }
    }

    /// The files are open: here is what they hold.
    pub(super) fn open(&mut self, world: &WorldSpec, check: Option<Bitfield>) {
        let mut have = self.saved.have.clone();
        // What is to be checked is not taken for granted.
        if let (Some(have), Some(check)) = (&mut have, &check) {
            check.ones().for_each(|p| {
                have.clear(p);
            });
        }
        let unknown =
            |p: &PieceIndex| !have.as_ref().is_some_and(|h| h.has(p.0)) && !check.as_ref().is_some_and(|c| c.has(p.0));
        let partial = self.disk.partial().into_iter().filter(|(p, _)| unknown(p)).collect();
        let plan = Arc::clone(&world.plan);
        let open = Command::Open { plan, resume: Resume { have, partial, check }, priorities: Vec::new() };
        self.inbox.push_back(Input::Command(TORRENT, open));
    }
}

/// Where a peer listens: 1.0.0.1 and up. Global, so that bans hold for the address whatever the port.
pub(super) fn addr_of(ix: PeerIx) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::from_bits(0x0100_0001 + ix)), PORT)
}

/// The peer with this address, if there is one in a world of `count`.
pub(super) fn peer_at(addr: IpAddr, count: usize) -> Option<PeerIx> {
    let IpAddr::V4(ip) = addr else { return None };
    ip.to_bits().checked_sub(0x0100_0001).filter(|ix| (*ix as usize) < count)
}
