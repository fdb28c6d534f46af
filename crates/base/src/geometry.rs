//! Geometry of one torrent: how a run of bytes is cut into pieces, and pieces into blocks (BEP 3).
//!
//! Only geometry turns numbers of strangers into valid indices. Files are laid over the same run of bytes
//! by [`crate::Layout`]. For v2 torrents the run includes the implied padding between files (BEP 52), as it
//! does on the wire between today's clients.

use crate::{BlockIndex, PieceIndex};

/// Bytes in a block on real networks: larger requests are dropped by other clients.
pub const BLOCK_SIZE: u32 = 16 * 1024;

/// How `total` bytes are cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    total: u64,
    piece_length: u32,
    block_size: u32,
    pieces: u32,
}

/// Why a geometry can't be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    /// The piece length is zero or above [`Geometry::PIECE_LENGTH_MAX`].
    #[error("piece length of {0} bytes; it must be between 1 and 512 MiB")]
    PieceLength(u64),
    /// More pieces than [`Geometry::PIECES_MAX`].
    #[error("{0} pieces; the limit is 2,097,152")]
    Pieces(u64),
    /// The block size is zero.
    #[error("block size of zero")]
    BlockSize,
}

impl Geometry {
    /// Longest piece accepted, as in libtorrent.
    pub const PIECE_LENGTH_MAX: u64 = 512 << 20;
    /// Most pieces accepted, as in libtorrent.
    pub const PIECES_MAX: u64 = 1 << 21;

    /// Cuts `total` bytes into pieces of `piece_length` and blocks of `block_size` bytes.
    pub fn new(total: u64, piece_length: u64, block_size: u32) -> Result<Self, GeometryError> {
        if piece_length == 0 || piece_length > Self::PIECE_LENGTH_MAX {
            return Err(GeometryError::PieceLength(piece_length));
        }
        if block_size == 0 {
            return Err(GeometryError::BlockSize);
        }
        let pieces = total.div_ceil(piece_length);
        if pieces > Self::PIECES_MAX {
            return Err(GeometryError::Pieces(pieces));
        }
        Ok(Geometry { total, piece_length: piece_length as u32, block_size, pieces: pieces as u32 })
    }

    /// Bytes in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// Bytes in every piece but perhaps the last.
    pub fn piece_length(&self) -> u32 {
        self.piece_length
    }

    /// Bytes in every block but perhaps the last of a piece.
    pub fn block_size(&self) -> u32 {
        self.block_size
    }

    /// Number of pieces.
    pub fn piece_count(&self) -> u32 {
        self.pieces
    }

    /// The piece with this index, if there is one.
    pub fn piece(&self, index: u32) -> Option<PieceIndex> {
        (index < self.pieces).then_some(PieceIndex(index))
    }

    /// All pieces, ascending.
    pub fn pieces(&self) -> impl DoubleEndedIterator<Item = PieceIndex> + use<> {
        (0..self.pieces).map(PieceIndex)
    }

    /// Where `piece` starts, in bytes from the beginning.
    pub fn piece_offset(&self, piece: PieceIndex) -> u64 {
        u64::from(piece.0) * u64::from(self.piece_length)
    }

    /// Bytes in `piece`.
    pub fn piece_len(&self, piece: PieceIndex) -> u32 {
        debug_assert!(piece.0 < self.pieces);
        (self.total - self.piece_offset(piece)).min(u64::from(self.piece_length)) as u32
    }

    /// Number of blocks in `piece`.
    pub fn block_count(&self, piece: PieceIndex) -> u32 {
        self.piece_len(piece).div_ceil(self.block_size)
    }

    /// Where `block` starts within its piece, in bytes.
    pub fn block_begin(&self, block: BlockIndex) -> u32 {
        block.0 * self.block_size
    }

    /// Bytes in `block` of `piece`.
    pub fn block_len(&self, piece: PieceIndex, block: BlockIndex) -> u32 {
        (self.piece_len(piece) - self.block_begin(block)).min(self.block_size)
    }

    /// The block that is exactly `len` bytes at `begin` of piece `index`; None if these are not the bounds of one.
    pub fn block(&self, index: u32, begin: u32, len: u32) -> Option<(PieceIndex, BlockIndex)> {
        let piece = self.piece(index)?;
        let block = BlockIndex(begin / self.block_size);
        let exact = begin.is_multiple_of(self.block_size)
            && begin < self.piece_len(piece)
            && len == self.block_len(piece, block);
        exact.then_some((piece, block))
    }

    /// True if `len` bytes at `begin` lie within piece `index`: what may be asked of us, aligned or not.
    pub fn range_in_piece(&self, index: u32, begin: u32, len: u32) -> Option<PieceIndex> {
        let piece = self.piece(index)?;
        (len > 0 && u64::from(begin) + u64::from(len) <= u64::from(self.piece_len(piece))).then_some(piece)
    }

    /// Where `block` of `piece` starts, in bytes from the beginning.
    pub fn block_offset(&self, piece: PieceIndex, block: BlockIndex) -> u64 {
        self.piece_offset(piece) + u64::from(self.block_begin(block))
    }

    /// The block that holds byte `offset`.
    pub fn block_at(&self, offset: u64) -> Option<(PieceIndex, BlockIndex)> {
        let piece = self.piece_at(offset)?;
        let within = offset - self.piece_offset(piece);
        Some((piece, BlockIndex((within / u64::from(self.block_size)) as u32)))
    }

    /// The piece that holds byte `offset`.
    pub fn piece_at(&self, offset: u64) -> Option<PieceIndex> {
        (offset < self.total).then(|| PieceIndex((offset / u64::from(self.piece_length)) as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn limits() {
        assert_eq!(Geometry::new(1, 0, 1), Err(GeometryError::PieceLength(0)));
        assert!(matches!(Geometry::new(u64::MAX, 1 << 20, 1 << 14), Err(GeometryError::Pieces(_))));
        assert_eq!(Geometry::new(0, 1 << 18, BLOCK_SIZE).map(|g| g.piece_count()), Ok(0));
        let g = Geometry::new(100, 40, 16).expect("valid");
        assert_eq!(g.block(0, 32, 8), Some((PieceIndex(0), BlockIndex(2))));
        assert_eq!(g.block(2, 16, 4), Some((PieceIndex(2), BlockIndex(1))));
        assert_eq!(g.block(2, 16, 16), None);
        assert_eq!(g.block(2, 32, 0), None);
        assert_eq!(g.block(3, 0, 16), None);
        assert_eq!(g.block(0, u32::MAX, 16), None);
        assert_eq!(g.range_in_piece(2, 3, 17), Some(PieceIndex(2)));
        assert_eq!(g.range_in_piece(2, 3, 18), None);
        assert_eq!(g.range_in_piece(0, u32::MAX, u32::MAX), None);
    }

    proptest! {
        #[test]
        fn blocks_cover_everything_once(total in 0u64..5000, piece in 1u64..300, block in 1u32..300) {
            let g = Geometry::new(total, piece, block).expect("valid");
            let mut at = 0;
            for p in g.pieces() {
                prop_assert_eq!(g.piece_offset(p), at);
                for b in (0..g.block_count(p)).map(BlockIndex) {
                    let len = g.block_len(p, b);
                    prop_assert!(len > 0 && len <= block);
                    prop_assert_eq!(g.block(p.0, g.block_begin(b), len), Some((p, b)));
                    prop_assert_eq!(g.piece_at(at), Some(p));
                    prop_assert_eq!(g.block_offset(p, b), at);
                    prop_assert_eq!(g.block_at(at + u64::from(len) - 1), Some((p, b)));
                    at += u64::from(len);
                }
            }
            prop_assert_eq!(at, total);
            prop_assert_eq!(g.piece_at(total), None);
        }
    }
}
