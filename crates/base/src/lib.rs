//! The nouns: ids, instants, random streams, bitfields, bencode, metainfo, magnets, Metalinks, split manifests,
//! the placement of parts, geometry and plans.
//!
//! Nothing here opens a socket or a file, looks at a clock, or draws entropy by itself. All other rooms
//! stand on this one.

pub mod bencode;
mod bitfield;
mod conn_map;
mod crc32c;
mod flat;
mod geometry;
mod ids;

mod layout;
mod magnet;
pub mod manifest;
pub mod merkle;
pub mod metainfo;
pub mod metalink;
mod node_id;
mod payload;
pub mod percent;
pub mod placement;
mod plan;
mod queue;
mod rng;
mod scope;
pub mod size;
mod time;

pub use bitfield::Bitfield;
pub use conn_map::ConnMap;
pub use crc32c::crc32c;
pub use flat::FlatMap;
pub use geometry::{BLOCK_SIZE, Geometry, GeometryError};
pub use ids::{
    BlockIndex, ConnId, FileIndex, Hex, InfoHash, InfoHashes, JobId, PeerId, PieceIndex, ShardIndex, TorrentId,
};
pub use layout::{FileEntry, FileKind, Layout, Span};
pub use magnet::{Magnet, MagnetError};
pub use manifest::{Manifest, ManifestError};
pub use metainfo::{Info, Metainfo, MetainfoError};
pub use metalink::{Metalink, MetalinkError};
pub use node_id::NodeId;
pub use payload::Payload;
pub use plan::{Checks, PieceDigest, PieceHasher, Plan, WholeDigest, WholeHasher};
pub use queue::{QUEUE_KEPT, QUEUE_KEPT_BUSY, pop_or_trim, trim};
pub use rng::Rng;
pub use scope::{Scope, may_use};
pub use time::Instant;
