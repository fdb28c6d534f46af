//! What a world is made of.

use crate::disk::DiskSpec;
use crate::net::LinkSpec;
use crate::world::Role;
use base::{Bitfield, Checks, Geometry, GeometryError, InfoHash, InfoHashes, Instant, Layout, Plan};
use sha1::{Digest, Sha1};
use std::sync::Arc;
use std::time::Duration;

/// How peers find each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    /// The production tracker, by HTTP.
    Tracker,
    /// Each peer is told of this many others that are up, when it comes and once a minute after, as if by a tracker.
    Told(usize),
    /// Only what [`PeerSpec::knows`] says.
    Known,
}

/// Everything but the peers.
#[derive(Clone, Debug)]
pub struct WorldSpec {
    /// All chance comes from it.
    pub seed: u64,
    /// What is distributed.
    pub plan: Arc<Plan>,
    /// A raw info dictionary for it, of which only length and hash matter.
    pub info: Arc<[u8]>,
    /// What it is called.
    pub hashes: InfoHashes,
    /// How peers find each other.
    pub discovery: Discovery,
    /// Connections are lost after this time on average, if at all.
    pub conn_life: Option<Duration>,
    /// Every sentence on every connection is checked against the protocol. Slow for more than a few hundred peers.
    pub watch: bool,
    /// `check_invariants` of the engine concerned, after each so many steps. 0: never.
    pub invariants_every: u32,
}

impl WorldSpec {
    /// A world that distributes `pieces` pieces of `piece_length` bytes in blocks of `block`.
    pub fn new(seed: u64, pieces: u32, piece_length: u64, block: u32) -> Result<Self, GeometryError> {
        let total = u64::from(pieces) * piece_length;
        let geometry = Geometry::new(total, piece_length, block)?;
        let layout = Layout::single("payload".into(), total, false);
        let info: Arc<[u8]> = format!("d6:lengthi{total}e4:name7:payload4:seedi{seed}ee").into_bytes().into();
        let hashes = InfoHashes { v1: Some(InfoHash(Sha1::digest(&info).into())), v2: None };
        Ok(WorldSpec {
            seed,
            plan: Arc::new(Plan::new(geometry, layout, Checks::default())),
            info,
            hashes,
            discovery: Discovery::Told(50),
            conn_life: None,
            watch: true,
            invariants_every: 1,
        })
    }
}

/// What a peer has when it comes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Have {
    /// Nothing.
    Nothing,
    /// Everything.
    All,
    /// These pieces.
    Pieces(Bitfield),
}

/// Makes the choker of a peer.
pub type MakeChoker = fn() -> Box<dyn swarm::choker::Choker + Send>;

/// One peer.
#[derive(Clone, Debug)]
pub struct PeerSpec {
    /// Its access link.
    pub link: LinkSpec,
    /// Its disk.
    pub disk: DiskSpec,
    /// What it has when it comes.
    pub have: Have,
    /// How it behaves.
    pub role: Role,
    /// When it comes.
    pub start: Instant,
    /// Others can dial it.
    pub reachable: bool,
    /// It begins with the info-hash alone.
    pub magnet: bool,
    /// The world runs until it has everything.
    pub must_finish: bool,
    /// It leaves as soon as it has everything.
    pub leaves_when_done: bool,
    /// Others that it is told of when it comes.
    pub knows: Vec<usize>,
    /// Settings of its engine; id and port are set by the world.
    pub config: engine::Config,
    /// What letters between the parts of its engine take, if it has more than one.
    pub lag: Duration,
    /// Decides whom it uploads to. None: the engine's own.
    pub choker: Option<MakeChoker>,
}

impl PeerSpec {
    /// A leecher that is there from the beginning.
    pub fn leecher(link: LinkSpec) -> Self {
        PeerSpec {
            link,
            disk: DiskSpec::INSTANT,
            have: Have::Nothing,
            role: Role::Honest,
            start: Instant::ZERO,
            reachable: true,
            magnet: false,
            must_finish: true,
            leaves_when_done: false,
            knows: Vec::new(),
            config: engine::Config::default(),
            lag: Duration::ZERO,
            choker: None,
        }
    }

    /// A seed that is there from the beginning.
    pub fn seed(link: LinkSpec) -> Self {
        PeerSpec { have: Have::All, must_finish: false, ..PeerSpec::leecher(link) }
    }
}
