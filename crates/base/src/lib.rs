//! The nouns: ids, instants, random streams, bitfields, bencode, metainfo, magnets, geometry and plans.
//!
//! Nothing here opens a socket or a file, looks at a clock, or draws entropy by itself. All other rooms
//! stand on this one.

pub mod bencode;
mod bitfield;
mod geometry;
mod ids;
mod layout;
pub mod merkle;
mod payload;
mod plan;
mod rng;
mod time;

pub use bitfield::Bitfield;
pub use geometry::{Geometry, GeometryError, BLOCK_SIZE};
pub use ids::{BlockIndex, ConnId, FileIndex, InfoHash, JobId, PeerId, PieceIndex, TorrentId};
pub use layout::{FileEntry, FileKind, Layout, Span};
pub use payload::Payload;
pub use plan::{Checks, PieceHasher, Plan};
pub use rng::Rng;
pub use time::Instant;
