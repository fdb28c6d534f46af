//! What can be wrong with a split manifest.

use super::Manifest;
use crate::GeometryError;

/// Why a split manifest can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    /// It is longer than [`Manifest::BYTES_MAX`].
    #[error("split manifest of {0} bytes; at most {max} are read", max = Manifest::BYTES_MAX)]
    Long(usize),
    /// It is no JSON, lacks a field, has one of the wrong kind, or a list beyond its limit.
    #[error("broken split manifest: {0}")]
    Json(String),
    /// It is JSON, but no split manifest.
    #[error("no split manifest: its format is {0:?}, and should be \"shoal-split\"")]
    NotAManifest(String),
    /// It is of a later version than this program knows.
    #[error("split manifest of version {0}; version 1 is known: a newer Shoal may read it")]
    Version(u64),
    /// The pieces can't be.
    #[error("broken split manifest: {0}")]
    Geometry(#[from] GeometryError),
    /// More pieces than [`Manifest::PIECES_MAX`].
    #[error("{0} pieces; the limit of split manifests is {max}: choose longer pieces", max = Manifest::PIECES_MAX)]
    Pieces(u64),
    /// The digest of the whole is none.
    #[error("broken split manifest: sha256 is {0:?}, which is no SHA-256 of 64 hexadecimal digits")]
    Whole(String),
    /// The digests of the pieces are not 64 hexadecimal digits for each.
    #[error("broken split manifest: {digits} characters of piece digests; {pieces} pieces need 64 each")]
    DigestsLength {
        /// Characters that are there.
        digits: usize,
        /// Pieces.
        pieces: u32,
    },
    /// The digest of a piece is none.
    #[error("broken split manifest: the digest of piece {0} is not hexadecimal")]
    Digest(u32),
    /// What has one piece has the same digest as that piece, and what has none the digest of nothing.
    #[error("broken split manifest: sha256 is not that of its only piece")]
    Disagree,
    /// Parts are not numbered 0, 1, 2 ...
    #[error("broken split manifest: part {should} is numbered {is}")]
    Number {
        /// What it should be.
        should: u32,
        /// What it is.
        is: u64,
    },
    /// A part does not begin where the one before ends.
    #[error("broken split manifest: part {part} begins at byte {is}, which is {} byte {should} where the one before it ends: {}",
        if is < should { "before" } else { "behind" }, if is < should { "they overlap" } else { "there is a gap" })]
    Offset {
        /// The part.
        part: u32,
        /// Where it should begin.
        should: u64,
        /// Where it begins.
        is: u64,
    },
    /// A part is empty, goes beyond the end, or does not end where a piece ends.
    #[error("broken split manifest: part {part} of {bytes} bytes at {offset} {why}")]
    PartBytes {
        /// The part.
        part: u32,
        /// Where it begins.
        offset: u64,
        /// Bytes in it.
        bytes: u64,
        /// What is wrong with that.
        why: &'static str,
    },
    /// The parts are not all of the file.
    #[error("broken split manifest: its parts have {is} bytes, and the file {should}")]
    Sum {
        /// Bytes of the file.
        should: u64,
        /// Bytes of all parts.
        is: u64,
    },
    /// The places are in more folders than [`Manifest::TARGETS_MAX`].
    #[error("parts in {0} folders or more; the limit is {max}", max = Manifest::TARGETS_MAX)]
    Targets(usize),
    /// A place can't be used.
    #[error("broken split manifest: part {part} is at {place:?}: {fault}")]
    Place {
        /// The part.
        part: u32,
        /// The beginning of it.
        place: String,
        /// What is wrong.
        fault: PlaceFault,
    },
    /// Two replicas are at the same place.
    #[error("broken split manifest: {place:?} is said twice, the second time of part {part}")]
    Twice {
        /// The second part.
        part: u32,
        /// The place.
        place: String,
    },
}

/// Why something can't be the place of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceFault {
    /// Nothing is there.
    #[error("it is empty")]
    Empty,
    /// It is longer than [`Manifest::PLACE_LEN_MAX`].
    #[error("it is longer than {max} bytes", max = Manifest::PLACE_LEN_MAX)]
    Long,
    /// It has characters that command terminals or mislead people.
    #[error("it has control characters")]
    Control,
    /// It leads up by `..`, which may lead anywhere.
    #[error("it has a \"..\" in it")]
    Up,
    /// It is of another scheme.
    #[error("only http:, https: and file: URLs and paths are known")]
    Scheme,
    /// It has no host, or another port than numbers.
    #[error("it has no host, or a broken port")]
    Host,
    /// It has a name or a password.
    #[error("it has a user name or a password, which manifests don't hold")]
    Password,
    /// A character that URLs don't have.
    #[error("it has a blank, a backslash or a #")]
    Character,
    /// It names a folder, or nothing on its host.
    #[error("it names no file")]
    NoFile,
}
