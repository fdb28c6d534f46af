//! What a torrent asks of the disk, and the facts that come back.
//!
//! The mind never reads payload, so hashing is the hands' work: they hash blocks as they are written, in order and
//! while they are warm, keep those that came early within a memory budget, and read back from disk what they had to
//! let go. Jobs of one piece are done in the order in which they were given.

use base::PieceIndex;

/// A job for the disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskJob<P> {
    /// Writes `data` at `begin` of `piece`; padding is dropped. Answered by [`DiskDone::Written`] or [`DiskDone::Failed`].
    Write {
        /// The piece.
        piece: PieceIndex,
        /// Where the data starts within the piece, in bytes.
        begin: u32,
        /// The bytes.
        data: P,
    },
    /// Hashes the whole piece, all of whose writes were given before, or which is expected to be on disk already (a
    /// recheck). Answered by [`DiskDone::Checked`] or [`DiskDone::Failed`].
    Check {
        /// The piece.
        piece: PieceIndex,
        /// Answer with the digest of each block also if the piece is good: it was bad once, and blame needs them.
        digests: bool,
    },
    /// The piece was bad and will be fetched again: forget what is kept for its hash. Not answered.
    Forget {
        /// The piece.
        piece: PieceIndex,
    },
}

/// SHA-1 of one block, cut to 8 bytes: enough to tell apart what two peers sent for the same block. Who can find two
/// blocks with one digest gains a second chance to be found out, no more.
pub type BlockDigest = [u8; 8];

/// What the disk answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiskDone {
    /// The bytes are in the file, as far as other processes and a restart of this one can see.
    Written {
        /// The piece.
        piece: PieceIndex,
        /// Where they start within the piece.
        begin: u32,
        /// How many they are.
        len: u32,
    },
    /// The piece was hashed.
    Checked {
        /// The piece.
        piece: PieceIndex,
        /// It is what the plan says.
        ok: bool,
        /// One digest for each block, in order: if the piece is bad although all of it was there, or if they were asked for.
        digests: Vec<BlockDigest>,
    },
    /// A read or a write failed. The torrent stops until somebody resumes it.
    Failed {
        /// The piece.
        piece: PieceIndex,
        /// What failed, on which file, in words for people.
        error: String,
    },
}
