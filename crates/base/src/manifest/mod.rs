//! Split manifests: a file that lies in numbered parts on several servers, and where each of them is.
//!
//! A manifest is one JSON object (RFC 8259). `docs/SPLIT.md` describes it for others; in short, sizes in bytes and digests
//! in hexadecimal digits:
//!
//! | field | value |
//! |---|---|
//! | `format` | `"shoal-split"` |
//! | `version` | 1 |
//! | `name` | the name of the file |
//! | `bytes` | its size |
//! | `piece_length` | bytes in every piece but perhaps the last; at most 512 MiB |
//! | `sha256` | SHA-256 of the whole: 64 digits |
//! | `pieces` | SHA-256 of each piece, one behind the other: 64 digits each |
//! | `parts` | the parts in order, each `{"number","offset","bytes","places"}`: numbered from 0; where it begins, at the beginning of a piece; how long it is; and where it lies |
//!
//! A place is the URL of a file (http, https, file) or its path, which is relative to the folder, or the address, of the
//! manifest unless it begins with `/`. The file there has the bytes of the part and nothing else. What is not known is skipped.
//!
//! Strangers write manifests, so reading has limits with names, the name of the file is sanitised like those of torrents
//! ([`crate::metainfo::names`]), and what contradicts itself is refused. Whom an address may name, its user decides.
//! Deliberately not here: passwords, which don't belong in what is passed on, and parity: replicas are whole.

mod error;
mod place;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use error::{ManifestError, PlaceFault};
pub use place::Place;

use crate::metainfo::names;
use crate::{BLOCK_SIZE, Checks, Geometry, Hex, Layout, Plan, WholeDigest};
use std::collections::BTreeMap;

/// The media type of a manifest.
pub const MEDIA_TYPE: &str = "application/json";

/// What a split manifest says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// The sanitised name of the file.
    pub name: String,
    /// How its bytes are cut into pieces.
    pub geometry: Geometry,
    /// SHA-256 of the whole.
    pub sha256: [u8; 32],
    /// SHA-256 of each piece.
    pub pieces: Box<[[u8; 32]]>,
    /// The parts, in order and without gaps; none if the file is empty.
    pub parts: Vec<Part>,
}

/// A run of whole pieces, which lies in a file of its own at each of its places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Where it begins in the file, in bytes.
    pub offset: u64,
    /// Bytes in it.
    pub bytes: u64,
    /// Where its replicas are; none, if all are lost.
    pub places: Vec<Place>,
}

impl Manifest {
    /// Longest manifest read, in bytes.
    pub const BYTES_MAX: usize = 64 << 20;
    /// Most pieces: their digests are half of what may be read.
    pub const PIECES_MAX: u64 = 1 << 19;
    /// Most parts.
    pub const PARTS_MAX: usize = 1 << 16;
    /// Most replicas of one part.
    pub const REPLICAS_MAX: usize = 64;
    /// Most folders, on servers and here, that parts are in.
    pub const TARGETS_MAX: usize = 256;
    /// Longest place, in bytes.
    pub const PLACE_LEN_MAX: usize = 2048;
    /// Longest name read, in bytes, before it is sanitised.
    pub const NAME_LEN_MAX: usize = 4096;
    /// The version that is read and written.
    pub const VERSION: u64 = 1;

    /// Reads a manifest.
    ///
    /// # Errors
    /// If it is none, contradicts itself, names what it should not, or is beyond a limit.
    pub fn parse(bytes: &[u8]) -> Result<Self, ManifestError> {
        read::manifest(bytes)
    }

    /// Whether bytes of which these are the first may be a manifest, rather than a torrent, a page or anything else.
    pub fn is_likely(beginning: &[u8]) -> bool {
        let beginning = &beginning[..beginning.len().min(4096)];
        let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning).trim_ascii_start();
        text.starts_with(b"{") && text.windows(13).any(|w| w == b"\"shoal-split\"")
    }

    /// The manifest as a file: what [`Manifest::parse`] reads.
    pub fn to_json(&self) -> String {
        write::json(self)
    }

    /// What is fetched: one file, checked by the SHA-256 of its pieces as they come. That of the whole need not be compared then.
    pub fn plan(&self) -> Plan {
        let checks = Checks { sha256: Some(self.pieces.clone()), ..Checks::default() };
        let layout = Layout::single(self.name.clone(), self.geometry.total(), false);
        Plan { whole: Some(WholeDigest::Sha256(self.sha256)), ..Plan::new(self.geometry, layout, checks) }
    }

    /// How bytes are cut for a manifest.
    ///
    /// # Errors
    /// If there would be too many pieces, or they would be too long.
    pub fn geometry(bytes: u64, piece_length: u64) -> Result<Geometry, ManifestError> {
        let geometry = Geometry::new(bytes, piece_length, BLOCK_SIZE)?;
        match u64::from(geometry.piece_count()) {
            pieces if pieces > Self::PIECES_MAX => Err(ManifestError::Pieces(pieces)),
            _ => Ok(geometry),
        }
    }

    /// What part `number` is called where it lies: `NAME.DIGEST.007`, with the first digits of the file's SHA-256, so that another
    /// file of this name, or another state of it, does not take its place. The longest names are cut.
    pub fn part_name(&self, number: usize) -> String {
        let name = &self.name[..self.name.floor_char_boundary(names::TOP_MAX - 20)];
        format!("{name}.{}.{number:03}", Hex(&self.sha256[..4]))
    }

    /// The folders that parts are in, each with the numbers of its parts and where they lie: one is a server to fetch from.
    pub fn by_folder(&self) -> BTreeMap<&str, Vec<(usize, &Place)>> {
        let mut folders: BTreeMap<&str, Vec<_>> = BTreeMap::new();
        for (number, part) in self.parts.iter().enumerate() {
            for place in &part.places {
                folders.entry(place.folder()).or_default().push((number, place));
            }
        }
        folders
    }
}
