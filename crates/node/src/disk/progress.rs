//! What is known to be on disk of one torrent: written by the disk's threads after the fact, read by who saves it.

use base::{Bitfield, BlockIndex, Geometry, PieceIndex};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Shared by the disk's threads, the saver, and those who read what is not whole yet.
#[derive(Clone, Debug, Default)]
pub struct Progress(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    facts: Mutex<Facts>,
    /// A piece more is good.
    grown: Notify,
}

/// What is on disk.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Facts {
    /// Pieces that were hashed and are good.
    pub good: Bitfield,
    /// Blocks written of other pieces.
    pub partial: BTreeMap<PieceIndex, Bitfield>,
    /// Counts changes.
    pub version: u64,
}

impl Progress {
    /// Begins with what is known.
    pub fn new(good: Bitfield, partial: impl IntoIterator<Item = (PieceIndex, Bitfield)>) -> Self {
        let facts = Mutex::new(Facts { good, partial: partial.into_iter().collect(), version: 0 });
        Progress(Arc::new(Shared { facts, grown: Notify::new() }))
    }

    /// What is known now.
    pub fn facts(&self) -> Facts {
        self.lock().clone()
    }

    /// Whether a piece was hashed and is good.
    pub fn has(&self, piece: PieceIndex) -> bool {
        self.lock().good.has(piece.0)
    }

    /// Waits until a piece has become good.
    pub(crate) async fn wait_for(&self, piece: PieceIndex) {
        loop {
            let grown = self.0.grown.notified();
            if self.has(piece) {
                return;
            }
            grown.await;
        }
    }

    /// Counts changes.
    pub fn version(&self) -> u64 {
        self.lock().version
    }

    pub(crate) fn written(&self, geometry: &Geometry, piece: PieceIndex, begin: u32, len: u32) {
        let facts = &mut *self.lock();
        if facts.good.has(piece.0) {
            return;
        }
        facts.version += 1;
        let blocks = facts.partial.entry(piece).or_insert_with(|| Bitfield::new(geometry.block_count(piece)));
        // Only whole blocks count; a write may hold several.
        let first = begin.div_ceil(geometry.block_size());
        for block in (first..geometry.block_count(piece)).map(BlockIndex) {
            let end = geometry.block_begin(block) + geometry.block_len(piece, block);
            if end > begin.saturating_add(len) {
                break;
            }
            blocks.set(block.0);
        }
    }

    pub(crate) fn checked(&self, piece: PieceIndex, ok: bool) {
        let facts = &mut *self.lock();
        facts.version += 1;
        facts.partial.remove(&piece);
        if ok {
            facts.good.set(piece.0);
            self.0.grown.notify_waiters();
        } else {
            facts.good.clear(piece.0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Facts> {
        self.0.facts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_then_pieces() {
        let geometry = Geometry::new(100, 64, 16).unwrap();
        let progress = Progress::new(Bitfield::new(2), []);
        progress.written(&geometry, PieceIndex(1), 16, 20);
        assert_eq!(
            progress.facts().partial[&PieceIndex(1)].ones().collect::<Vec<_>>(),
            [1, 2],
            "the last block is short"
        );
        progress.written(&geometry, PieceIndex(0), 8, 30);
        assert_eq!(progress.facts().partial[&PieceIndex(0)].ones().collect::<Vec<_>>(), [1]);
        progress.checked(PieceIndex(1), true);
        progress.checked(PieceIndex(0), false);
        let facts = progress.facts();
        assert!(facts.partial.is_empty() && facts.good.has(1) && !facts.good.has(0));
    }
}
