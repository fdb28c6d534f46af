//! Names for things: each index and id is a type of its own, so that they can't be mixed up.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub $inner);

        impl $name {
            /// The number as an index into a slice.
            pub const fn index(self) -> usize {
                self.0 as usize
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}{}", stringify!($name), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

number! {
    /// A piece of one torrent. Those that come from strangers are made by [`crate::Geometry::piece`] alone.
    PieceIndex(u32)
}
number! {
    /// A block within one piece.
    BlockIndex(u32)
}
number! {
    /// A file of one torrent, pad files counted, in the order of the metainfo.
    FileIndex(u32)
}
number! {
    /// A connection, unique for the life of one engine.
    ConnId(u64)
}
number! {
    /// A job given to the hands, unique for the life of one machine.
    JobId(u64)
}
number! {
    /// A torrent of one engine, unique for its life.
    TorrentId(u32)
}

/// 20 bytes that name a torrent on the wire: SHA-1 of a v1 info dictionary, or the first 20 bytes of the
/// SHA-256 of a v2 one (BEP 3, BEP 52).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHash(pub [u8; 20]);

/// 20 bytes that name a peer for one run (BEP 3, BEP 20).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerId(pub [u8; 20]);

impl fmt::Display for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for InfoHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(&self.0, f)
    }
}

impl fmt::Debug for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

fn hex(bytes: &[u8], f: &mut fmt::Formatter<'_>) -> fmt::Result {
    bytes.iter().try_for_each(|b| write!(f, "{b:02x}"))
}
