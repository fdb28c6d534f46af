//! Metalinks: what can be downloaded, where it all is, and what checks it (Metalink 4, RFC 5854).
//!
//! A Metalink is a list of files. Each has a path, perhaps a size, digests of the whole and of its pieces, and addresses:
//! of the file itself, and of torrents that hold it. Strangers write them, so reading has limits with names; paths are
//! sanitised like those of torrents ([`crate::metainfo::names`]); what contradicts itself is refused with the line it
//! stands on; and what is not known is skipped. Whom an address may name, its user decides: here it is text.
//!
//! Not read: Metalink 3, signatures, and what is for people or for choosing by language, system and the like.

mod error;
mod parse;
mod plan;
mod read;
#[cfg(test)]
mod tests;
mod write;

pub use error::{MetalinkError, MetalinkFault};
pub use write::date;

/// The media type of a Metalink.
pub const MEDIA_TYPE: &str = "application/metalink4+xml";

/// What a Metalink says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Metalink {
    /// The files; at least one, of which no two have the same path.
    pub files: Vec<MetalinkFile>,
    /// The program that made it.
    pub generator: Option<String>,
    /// When it was made, as RFC 3339 writes it; see [`date`].
    pub published: Option<String>,
    /// Where it came from.
    pub origin: Option<MetalinkOrigin>,
}

/// Where a Metalink came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetalinkOrigin {
    /// Its address.
    pub url: String,
    /// There may be a newer one by now.
    pub dynamic: bool,
}

/// One file of a Metalink.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetalinkFile {
    /// Sanitised path below the output folder, with `/` between its parts. Each leaves room for `.part`.
    pub path: String,
    /// Bytes in it, where they are told.
    pub size: Option<u64>,
    /// SHA-256 of all of it.
    pub sha256: Option<[u8; 32]>,
    /// SHA-1 of all of it.
    pub sha1: Option<[u8; 20]>,
    /// Other digests: the name of the hash function, and the digest as it is written.
    pub hashes: Vec<(String, String)>,
    /// Digests of its pieces: the best ones known, where there are several kinds.
    pub pieces: Option<MetalinkPieces>,
    /// Where the file is, best first.
    pub urls: Vec<MetalinkUrl>,
    /// Where torrents with it are, best first.
    pub torrents: Vec<MetalinkTorrent>,
}

/// How a file is cut into pieces, and their digests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetalinkPieces {
    /// Bytes in every piece but perhaps the last.
    pub length: u32,
    /// The digests in order.
    pub hashes: PieceHashes,
}

/// Digests of pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PieceHashes {
    /// SHA-1.
    Sha1(Box<[[u8; 20]]>),
    /// SHA-256.
    Sha256(Box<[[u8; 32]]>),
}

/// Where a file is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetalinkUrl {
    /// The address: any scheme, no blanks.
    pub url: String,
    /// 1 is tried first, 999999 last, as is what has none.
    pub priority: Option<u32>,
    /// The country it is in, by its two letters.
    pub location: Option<String>,
}

/// Where a torrent is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetalinkTorrent {
    /// The address of the .torrent.
    pub url: String,
    /// 1 is tried first, 999999 last, as is what has none.
    pub priority: Option<u32>,
    /// Which file of the torrent it is, as the Metalink writes it: its path, for most programs with the torrent's name in
    /// front. Compare it with paths; don't use it as one.
    pub name: Option<String>,
}

impl Metalink {
    /// Longest Metalink read, in bytes.
    pub const BYTES_MAX: usize = 64 << 20;
    /// Most files read.
    pub const FILES_MAX: usize = 100_000;
    /// Most addresses kept of one file, and as many torrents; the rest is left out.
    pub const URLS_MAX: usize = 200;
    /// Longest address kept, in bytes; longer ones are left out.
    pub const URL_LEN_MAX: usize = 2048;
    /// Longest other text read, in bytes.
    pub const TEXT_MAX: usize = 4096;
    /// Most digests of other kinds kept of one file; the rest is left out.
    pub const HASHES_MAX: usize = 16;
    /// Elements within elements.
    pub const DEPTH_MAX: usize = 64;

    /// Reads a Metalink.
    ///
    /// # Errors
    /// If it is none, contradicts itself, or is beyond a limit. Addresses that can't be used are left out.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetalinkError> {
        parse::metalink(bytes)
    }

    /// Whether bytes of which these are the first may be a Metalink, rather than a torrent, a page or anything else.
    pub fn is_likely(beginning: &[u8]) -> bool {
        let beginning = &beginning[..beginning.len().min(4096)];
        let text = beginning.strip_prefix(b"\xef\xbb\xbf").unwrap_or(beginning).trim_ascii_start();
        text.starts_with(b"<") && text.windows(8).any(|w| w == b"metalink")
    }
}

impl PieceHashes {
    /// How many there are.
    pub fn len(&self) -> usize {
        match self {
            PieceHashes::Sha1(all) => all.len(),
            PieceHashes::Sha256(all) => all.len(),
        }
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}
