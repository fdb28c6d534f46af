//! What one connection is sent at a time: messages and blocks, read from their files to where they belong in one buffer,
//! so that a whole turn of a peer is one read and one write.

use super::storage::{DiskError, Part, Patience, Storage};
use base::{PieceIndex, TorrentId};
use engine::{Segment, Transmit};
use std::sync::Arc;

/// Bytes to send in order, some of which may still have to be read.
#[derive(Debug, Default)]
pub(crate) struct Gather {
    /// The buffer; it is longer than what is in it, and used again.
    buf: Vec<u8>,
    len: usize,
    sent: usize,
    parts: Vec<Part>,
    read: usize,
    /// A block of it, to be named if the reading fails.
    piece: Option<PieceIndex>,
}

impl Gather {
    /// Lays out `transmit`. False if it holds blocks and there is no torrent to take them from.
    pub(crate) fn fill(&mut self, transmit: &Transmit, storage: Option<&Storage>) -> bool {
        debug_assert!(self.is_sent(), "filled before it was sent");
        self.parts.clear();
        (self.len, self.sent, self.read, self.piece) = (transmit.bytes, 0, 0, None);
        if self.buf.len() < self.len {
            self.buf.resize(self.len, 0);
        }
        let mut at = 0;
        for segment in &transmit.segments {
            match segment {
                Segment::Bytes(bytes) => {
                    self.buf[at..at + bytes.len()].copy_from_slice(bytes);
                    at += bytes.len();
                }
                Segment::Block { piece, begin, len } => {
                    let Some(storage) = storage else {
                        self.len = 0;
                        return false;
                    };
                    let offset = storage.plan().geometry.piece_offset(*piece) + u64::from(*begin);
                    storage.parts(offset, at, *len as usize, &mut self.parts, &mut self.buf);
                    self.piece = Some(*piece);
                    at += *len as usize;
                }
            }
        }
        debug_assert_eq!(at, self.len, "the sizes of a transmit add up");
        true
    }

    /// Reads what is missing. False if that would have to wait for the disk.
    pub(crate) fn read(&mut self, storage: &Storage, patience: Patience) -> Result<bool, DiskError> {
        self.read += storage.read_parts(&self.parts[self.read..], &mut self.buf, patience)?;
        Ok(self.read == self.parts.len())
    }

    /// True if it was read whole.
    pub(crate) fn is_read(&self) -> bool {
        self.read == self.parts.len()
    }

    /// True if nothing is left to send.
    pub(crate) fn is_sent(&self) -> bool {
        self.sent == self.len
    }

    /// What is left to send.
    pub(crate) fn unsent(&self) -> &[u8] {
        &self.buf[self.sent..self.len]
    }

    /// `n` bytes more were sent.
    pub(crate) fn advance(&mut self, n: usize) {
        self.sent += n;
        debug_assert!(self.sent <= self.len);
    }

    /// Forgets what it holds; the buffer stays.
    pub(crate) fn reset(&mut self) {
        (self.len, self.sent, self.read) = (0, 0, 0);
        self.parts.clear();
    }
}

/// A read that has to wait for the disk, so that another thread does it.
#[derive(Debug)]
pub(crate) struct ReadJob {
    pub(crate) slot: usize,
    pub(crate) conn: base::ConnId,
    pub(crate) torrent: TorrentId,
    pub(crate) storage: Arc<Storage>,
    pub(crate) gather: Box<Gather>,
}

/// A read that was done.
#[derive(Debug)]
pub(crate) struct ReadDone {
    pub(crate) slot: usize,
    pub(crate) conn: base::ConnId,
    pub(crate) torrent: TorrentId,
    pub(crate) gather: Box<Gather>,
    /// What failed, at which piece.
    pub(crate) failed: Option<(PieceIndex, DiskError)>,
}

impl ReadJob {
    /// Reads, however long it takes.
    pub(crate) fn run(mut self) -> ReadDone {
        let result = self.gather.read(&self.storage, Patience::Wait);
        let piece = self.gather.piece.unwrap_or_default();
        let failed = result.err().map(|e| (piece, e));
        ReadDone { slot: self.slot, conn: self.conn, torrent: self.torrent, gather: self.gather, failed }
    }
}

impl Gather {
    /// A piece that it holds a block of.
    pub(crate) fn piece(&self) -> PieceIndex {
        self.piece.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::files::FileCache;
    use crate::disk::storage::Place;
    use base::{Checks, Geometry, Layout, Plan};

    #[test]
    fn blocks_land_between_their_headers() {
        let dir = tempfile::tempdir().unwrap();
        let body: Vec<u8> = (0..200).collect();
        std::fs::write(dir.path().join("f"), &body).unwrap();
        let layout = Layout::single("f".into(), 200, false);
        let plan = Plan::new(Geometry::new(200, 64, 16).unwrap(), layout, Checks::default());
        let storage = Storage::new(Arc::new(plan), Place::new(dir.path(), "f"), Arc::new(FileCache::new(4)));
        let mut transmit = Transmit::default();
        transmit.bytes(b"one");
        transmit.block(PieceIndex(1), 0, 16);
        transmit.bytes(b"two");
        transmit.block(PieceIndex(1), 16, 16);
        transmit.bytes(b"three");
        transmit.block(PieceIndex(3), 4, 3);
        let mut gather = Gather::default();
        assert!(!gather.fill(&transmit, None) && gather.is_sent());
        assert!(gather.fill(&transmit, Some(&storage)));
        assert!(gather.read(&storage, Patience::Wait).unwrap() && gather.is_read());
        let expect = [b"one", &body[64..80], b"two", &body[80..96], b"three", &body[196..199]].concat();
        assert_eq!(gather.unsent(), expect);
        gather.advance(5);
        assert_eq!(gather.unsent(), &expect[5..]);
        gather.advance(expect.len() - 5);
        assert!(gather.is_sent());
    }
}
