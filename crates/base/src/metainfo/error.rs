//! What can be wrong with a torrent, and what is let pass.

use crate::bencode::{self, Quirk};
use crate::{FileIndex, GeometryError};
use std::fmt;

/// Why a .torrent or an info dictionary can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetainfoError {
    /// It is not bencode.
    #[error("broken torrent: {0}")]
    Bencode(#[from] bencode::Error),
    /// It is bencode, but no dictionary with an info dictionary.
    #[error("not a torrent: there is no info dictionary")]
    NotATorrent,
    /// A key is missing, or its value is of the wrong kind or out of range.
    #[error("broken torrent: {0:?} is missing or not valid")]
    Key(&'static str),
    /// The pieces can't be.
    #[error("broken torrent: {0}")]
    Geometry(#[from] GeometryError),
    /// The piece length of a v2 torrent is no power of two from 16 KiB on.
    #[error("broken torrent: piece length of {0} bytes; v2 needs a power of two of at least 16 KiB")]
    PieceLengthV2(u64),
    /// The torrent is of a later version than this program knows.
    #[error("torrent of version {0}; versions 1 and 2 are known")]
    Version(i64),
    /// `pieces` does not have 20 bytes for each piece.
    #[error("broken torrent: {have} bytes of piece hashes for {pieces} pieces")]
    Pieces {
        /// Bytes that are there.
        have: usize,
        /// Pieces, of 20 bytes each.
        pieces: u32,
    },
    /// It has no files.
    #[error("torrent without files")]
    NoFiles,
    /// It has more files than [`super::Info::FILES_MAX`].
    #[error("torrent with more than 500,000 files")]
    ManyFiles,
    /// The lengths of its files add up to more than 2^64 bytes.
    #[error("broken torrent: more than 2^64 bytes")]
    TooLong,
    /// The info dictionary of a v2 torrent is not canonical, so that clients would not agree on what it says.
    #[error("broken v2 torrent: {0} at byte {1} of the info dictionary")]
    NotCanonical(Quirk, usize),
    /// An entry of the file tree is wrong.
    #[error("broken v2 torrent: {0} in the file tree")]
    FileTree(&'static str),
    /// The v1 and v2 halves of a hybrid describe different files.
    #[error("broken hybrid torrent: its v1 and v2 files differ: {0}")]
    LayoutsDiffer(&'static str),
    /// A piece layer is wrong.
    #[error("broken v2 torrent: piece layer {0}")]
    PieceLayer(&'static str),
    /// The facts given can't make a torrent.
    #[error("can't create the torrent: {0}")]
    Facts(&'static str),
}

/// What was let pass. For people who make torrents; nothing depends on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Warning {
    /// Not quite bencode, at this byte.
    Bencode(Quirk, usize),
    /// A file is stored under another name than the torrent gives it.
    Renamed(FileIndex),
    /// A symbolic link to something that the torrent does not hold: an empty file takes its place.
    LinkOutside(FileIndex),
    /// The piece layers are missing, or some of them.
    NoLayers,
    /// The torrent has v1 piece hashes but no v1 files, or the other way round: it is taken as v2.
    HalfHybrid,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Warning::Bencode(quirk, at) => write!(f, "{quirk}, at byte {at}"),
            Warning::Renamed(file) => write!(f, "file {file} is stored under a safer name"),
            Warning::LinkOutside(file) => {
                write!(f, "file {file} is a link to nothing in the torrent; it becomes an empty file")
            }
            Warning::NoLayers => f.write_str("piece layers are missing"),
            Warning::HalfHybrid => f.write_str("incomplete v1 part of a hybrid ignored"),
        }
    }
}
