//! Reading the content of a torrent while it is fetched: pieces that were checked, and no others.

use crate::disk::{Progress, Storage};
use base::{PieceIndex, Plan};
use std::io;
use std::sync::Arc;

/// The content of a torrent, as far as it is there. It can be read as long as its files stay, also after the torrent was removed.
#[derive(Clone, Debug)]
pub struct Reading {
    storage: Arc<Storage>,
    /// None: all of it is there.
    progress: Option<Progress>,
}

impl Reading {
    pub(super) fn new(storage: Arc<Storage>, progress: Option<Progress>) -> Self {
        Reading { storage, progress }
    }

    /// What it is.
    pub fn plan(&self) -> &Arc<Plan> {
        self.storage.plan()
    }

    /// Whether a piece was checked and is good.
    pub fn has(&self, piece: PieceIndex) -> bool {
        self.progress.as_ref().is_none_or(|progress| progress.has(piece))
    }

    /// Waits until it is. Nobody says if that will never be.
    pub async fn wait_for(&self, piece: PieceIndex) {
        if let Some(progress) = &self.progress {
            progress.wait_for(piece).await;
        }
    }

    /// Bytes at `offset` of the content, up to `len` of them: as many as lie in good pieces without a gap, padding as zeros. Blocking.
    ///
    /// # Errors
    /// If not even the first is there, or they can't be read.
    pub fn read(&self, offset: u64, len: usize) -> io::Result<Vec<u8>> {
        let geometry = &self.plan().geometry;
        let length = u64::from(geometry.piece_length()).max(1);
        let wanted = (offset + len as u64).min(geometry.total());
        let mut end = offset;
        while end < wanted {
            let piece = geometry.piece((end / length) as u32).filter(|piece| self.has(*piece));
            let Some(piece) = piece else { break };
            end = wanted.min(geometry.piece_offset(piece) + u64::from(geometry.piece_len(piece)));
        }
        if end == offset && len > 0 {
            return Err(io::Error::new(io::ErrorKind::NotFound, "this piece is not there yet"));
        }
        let mut buf = vec![0; (end - offset) as usize];
        self.storage.read(offset, &mut buf).map_err(io::Error::other)?;
        Ok(buf)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{FileCache, Place};
    use base::{Bitfield, Checks, Geometry, Layout};

    #[tokio::test]
    async fn only_checked_pieces_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let body: Vec<u8> = (0..100u8).collect();
        std::fs::write(dir.path().join("f"), &body).unwrap();
        let geometry = Geometry::new(100, 32, 16).unwrap();
        let plan = Arc::new(Plan::new(geometry, Layout::single("f".into(), 100, false), Checks::default()));
        let storage = Arc::new(Storage::new(plan, Place::new(dir.path(), "f"), Arc::new(FileCache::new(4))));
        let progress = Progress::new(Bitfield::new(4), []);
        let reading = Reading::new(storage.clone(), Some(progress.clone()));
        progress.checked(PieceIndex(0), true);
        progress.checked(PieceIndex(1), true);
        progress.checked(PieceIndex(3), true);
        assert_eq!(reading.read(10, 1000).unwrap(), body[10..64], "up to the gap");
        assert_eq!(reading.read(98, 1000).unwrap(), body[98..], "up to the end");
        assert_eq!(reading.read(64, 1).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert!(reading.read(u64::MAX / 2, 1).is_err() && !reading.has(PieceIndex(7)));
        let waits = tokio::spawn({
            let reading = reading.clone();
            async move { reading.wait_for(PieceIndex(2)).await }
        });
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        progress.checked(PieceIndex(2), true);
        waits.await.unwrap();
        assert_eq!(reading.read(0, 100).unwrap(), body);
        // What turned out bad later is not read any more.
        progress.checked(PieceIndex(0), false);
        assert!(reading.read(0, 1).is_err());
        assert_eq!(Reading::new(storage, None).read(0, 1).unwrap(), [0]);
    }
}
