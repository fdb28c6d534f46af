//! Names for things: each index and id is a type of its own, so that they can't be mixed up.

use sha1::{Digest, Sha1};
use sha2::Sha256;
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
number! {
    /// A shard of one engine.
    ShardIndex(u16)
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

/// Prints bytes as lower-case hexadecimal digits.
#[derive(Clone, Copy, Debug)]
pub struct Hex<'a>(pub &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(self.0, f)
    }
}

/// The bytes that `text` writes as hexadecimal digits, two for each; None if it is anything else, or of another length.
pub(crate) fn from_hex<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|d| d as u8);
    let mut bytes = [0; N];
    if text.len() != 2 * N {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(text.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

/// What a torrent is called: SHA-1 of its info dictionary (v1), SHA-256 of it (v2), or both (a hybrid).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct InfoHashes {
    /// SHA-1 of the raw info dictionary (BEP 3).
    pub v1: Option<InfoHash>,
    /// SHA-256 of the raw info dictionary (BEP 52).
    pub v2: Option<[u8; 32]>,
}

impl InfoHashes {
    /// True without any hash.
    pub fn is_empty(&self) -> bool {
        self.v1.is_none() && self.v2.is_none()
    }

    /// The v2 hash as it goes on the wire: its first 20 bytes.
    pub fn v2_on_wire(&self) -> Option<InfoHash> {
        self.v2.and_then(|h| h.first_chunk::<20>().map(|h| InfoHash(*h)))
    }

    /// The names on the wire, v1 first.
    pub fn on_wire(&self) -> impl Iterator<Item = InfoHash> + use<> {
        self.v1.into_iter().chain(self.v2_on_wire())
    }

    /// True if `info`, the raw bytes of an info dictionary, has each of these hashes, and there is at least one.
    pub fn match_info(&self, info: &[u8]) -> bool {
        let v1 = self.v1.is_none_or(|h| h.0[..] == Sha1::digest(info)[..]);
        let v2 = self.v2.is_none_or(|h| h[..] == Sha256::digest(info)[..]);
        v1 && v2 && (self.v1.is_some() || self.v2.is_some())
    }
}
