//! The nouns: ids, instants, random streams, bitfields, bencode, metainfo, magnets, geometry and plans.
//!
//! Nothing here opens a socket or a file, looks at a clock, or draws entropy by itself. All other rooms
//! stand on this one.

pub mod bencode;
mod bitfield;
mod geometry;
mod ids;
mod payload;
mod rng;
mod time;

pub use bitfield::Bitfield;
pub use geometry::{Geometry, GeometryError, BLOCK_SIZE};
pub use ids::{BlockIndex, ConnId, FileIndex, InfoHash, JobId, PeerId, PieceIndex, TorrentId};
pub use payload::Payload;
pub use rng::Rng;
pub use time::Instant;
