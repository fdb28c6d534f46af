//! Hashes pieces while their blocks are warm, so that nothing is read back from disk that was in memory a moment ago.
//!
//! Blocks of one piece mostly come in order, and wait for a round in which all pieces that got some are hashed side by side
//! ([`hash::update_all`]). One that comes early is kept within a budget that all torrents share; one beyond it is let go
//! and read back when its turn comes.

use super::storage::{DiskError, Storage};
use crate::rope::Rope;
use base::{Payload, PieceHasher, PieceIndex, TorrentId};
use hash::Sha1;
use std::collections::{BTreeMap, HashMap};
use swarm::disk::BlockDigest;

/// Bytes of early blocks that are kept. Each may pin twice that in buffers, where a block straddles two of them.
pub const EARLY_MAX: usize = 4 << 20;

/// Bytes read at once.
const READ: usize = 128 * 1024;

/// Pieces that are being hashed.
#[derive(Debug, Default)]
pub(crate) struct Hashing {
    open: HashMap<(TorrentId, PieceIndex), Open>,
    early_bytes: usize,
    ready_bytes: usize,
    buf: Vec<u8>,
}

#[derive(Debug)]
struct Open {
    hasher: PieceHasher,
    /// What comes next, to be hashed in the next round.
    ready: Vec<Rope>,
    /// Where in the piece the next block belongs.
    next: u32,
    early: BTreeMap<u32, Rope>,
    /// A block that was hashed already came again, or one could not be written: only the disk knows what the piece is.
    stale: bool,
}

impl Hashing {
    /// Takes in a block that is being written.
    pub(crate) fn write(&mut self, torrent: TorrentId, storage: &Storage, piece: PieceIndex, begin: u32, data: &Rope) {
        let plan = storage.plan();
        let open = self.open.entry((torrent, piece)).or_insert_with(|| Open {
            hasher: PieceHasher::new(plan, piece),
            ready: Vec::new(),
            next: 0,
            early: BTreeMap::new(),
            stale: false,
        });
        if begin < open.next {
            open.stale = true;
        }
        if open.stale {
            return;
        }
        if begin == open.next {
            let mut data = data.clone();
            loop {
                open.next += data.len() as u32;
                self.ready_bytes += data.len();
                open.ready.push(data);
                let Some(next) = open.early.remove(&open.next) else { break };
                self.early_bytes -= next.len();
                data = next;
            }
        } else if self.early_bytes + data.len() <= EARLY_MAX {
            self.early_bytes += data.len();
            if let Some(before) = open.early.insert(begin, data.clone()) {
                self.early_bytes -= before.len();
            }
        } else if let Some(before) = open.early.remove(&begin) {
            // What is on disk is newer than what was kept.
            self.early_bytes -= before.len();
        }
    }

    /// Bytes that wait for the next round.
    pub(crate) fn ready_bytes(&self) -> usize {
        self.ready_bytes
    }

    /// A round: hashes all that is ready.
    pub(crate) fn round(&mut self) {
        if self.ready_bytes == 0 {
            return;
        }
        self.ready_bytes = 0;
        let mut hashers = Vec::new();
        let mut parts: Vec<Vec<&[u8]>> = Vec::new();
        for open in self.open.values_mut().filter(|o| !o.ready.is_empty()) {
            if !open.stale {
                parts.push(open.ready.iter().flat_map(Rope::slices).map(|s| &s[..]).collect());
                hashers.push(&mut open.hasher);
            }
        }
        let mut pieces: Vec<_> = hashers.into_iter().zip(parts.iter().map(|p| &p[..])).collect();
        PieceHasher::update_all(&mut pieces);
        self.open.values_mut().for_each(|o| o.ready.clear());
    }

    /// Hashes what is left of a piece, from memory where it is there and from disk where not. True if it is good.
    pub(crate) fn check(
        &mut self,
        torrent: TorrentId,
        storage: &Storage,
        piece: PieceIndex,
    ) -> Result<bool, DiskError> {
        self.round();
        let plan = storage.plan().clone();
        let open = self.take(torrent, piece).filter(|o| !o.stale);
        let (mut hasher, mut early) = match open {
            Some(open) => (open.hasher, open.early),
            None => (PieceHasher::new(&plan, piece), BTreeMap::new()),
        };
        let len = plan.geometry.piece_len(piece);
        self.buf.resize(READ, 0);
        while hasher.fed() < len {
            let at = hasher.fed();
            if let Some(data) = early.remove(&at) {
                data.slices().for_each(|s| hasher.update(s));
                continue;
            }
            let end = early.range(at..).next().map_or(len, |(begin, _)| *begin);
            let buf = &mut self.buf[..READ.min((end - at) as usize)];
            match storage.read(plan.geometry.piece_offset(piece) + u64::from(at), buf) {
                Ok(()) => hasher.update(buf),
                Err(e) if e.is_missing() => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(hasher.finish(&plan, piece))
    }

    /// A block of a piece could not be written: only the disk knows what the piece is.
    pub(crate) fn spoil(&mut self, torrent: TorrentId, piece: PieceIndex) {
        if let Some(open) = self.open.get_mut(&(torrent, piece)) {
            open.stale = true;
        }
    }

    /// Drops what is kept of a piece.
    pub(crate) fn forget(&mut self, torrent: TorrentId, piece: PieceIndex) {
        self.take(torrent, piece);
    }

    /// Drops what is kept of a torrent.
    pub(crate) fn forget_all(&mut self, torrent: TorrentId) {
        let pieces: Vec<PieceIndex> =
            self.open.keys().filter(|(t, _)| *t == torrent).map(|(_, piece)| *piece).collect();
        pieces.into_iter().for_each(|piece| drop(self.take(torrent, piece)));
    }

    fn take(&mut self, torrent: TorrentId, piece: PieceIndex) -> Option<Open> {
        let open = self.open.remove(&(torrent, piece))?;
        self.early_bytes -= open.early.values().map(Payload::len).sum::<usize>();
        self.ready_bytes -= open.ready.iter().map(Payload::len).sum::<usize>();
        Some(open)
    }
}

/// The digest of each block of a piece, as it is on disk; none if the piece is not all there.
pub(crate) fn block_digests(storage: &Storage, piece: PieceIndex) -> Result<Vec<BlockDigest>, DiskError> {
    let geometry = &storage.plan().geometry;
    let mut buf = vec![0; geometry.block_size().min(geometry.piece_len(piece)) as usize];
    let mut digests = Vec::with_capacity(geometry.block_count(piece) as usize);
    for block in (0..geometry.block_count(piece)).map(base::BlockIndex) {
        let buf = &mut buf[..geometry.block_len(piece, block) as usize];
        match storage.read(geometry.piece_offset(piece) + u64::from(geometry.block_begin(block)), buf) {
            Ok(()) => digests.push(cut(Sha1::digest(buf))),
            Err(e) if e.is_missing() => return Ok(Vec::new()),
            Err(e) => return Err(e),
        }
    }
    Ok(digests)
}

fn cut(digest: [u8; 20]) -> BlockDigest {
    let mut short = BlockDigest::default();
    short.copy_from_slice(&digest[..8]);
    short
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::files::FileCache;
    use crate::disk::storage::Place;
    use base::{Checks, Geometry, Layout, Plan};
    use bytes::Bytes;
    use proptest::prelude::*;
    use std::sync::Arc;

    const BLOCK: usize = 16;
    const T: TorrentId = TorrentId(1);
    const P: PieceIndex = PieceIndex(0);

    fn storage(dir: &std::path::Path, body: &[u8]) -> Storage {
        let layout = Layout::single("f".into(), body.len() as u64, false);
        let geometry = Geometry::new(layout.total(), 1 << 20, BLOCK as u32).unwrap();
        let checks = Checks { sha1: Some(Box::new([Sha1::digest(body)])), ..Checks::default() };
        Storage::new(Arc::new(Plan::new(geometry, layout, checks)), Place::new(dir, "f"), Arc::new(FileCache::new(4)))
    }

    fn give(h: &mut Hashing, s: &Storage, block: usize, data: &[u8]) {
        s.write((block * BLOCK) as u64, &[data]).unwrap();
        h.write(T, s, P, (block * BLOCK) as u32, &Rope::from(Bytes::copy_from_slice(data)));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn any_order_gives_the_same_answer(order in Just((0..7usize).collect::<Vec<_>>()).prop_shuffle(), skip in 0usize..8, rotten in 0usize..14, again in 0usize..7) {
            let dir = tempfile::tempdir().unwrap();
            let body: Vec<u8> = (0..100u8).collect();
            let s = storage(dir.path(), &body);
            let mut h = Hashing::default();
            for block in order {
                let mut data = body[block * BLOCK..((block + 1) * BLOCK).min(body.len())].to_vec();
                if block == rotten {
                    data[0] ^= 1;
                }
                // One block is on disk from an earlier run and never passes through memory.
                if block == skip {
                    s.write((block * BLOCK) as u64, &[&data]).unwrap();
                } else {
                    give(&mut h, &s, block, &data);
                    if block == again {
                        give(&mut h, &s, block, &data);
                    }
                }
            }
            prop_assert_eq!(h.check(T, &s, P).unwrap(), rotten >= 7);
            prop_assert_eq!(h.early_bytes, 0);
            prop_assert!(h.open.is_empty());
            let digests = block_digests(&s, P).unwrap();
            for (i, (digest, block)) in digests.iter().zip(body.chunks(BLOCK)).enumerate() {
                prop_assert_eq!(*digest == cut(Sha1::digest(block)), i != rotten);
            }
        }
    }

    #[test]
    fn what_could_not_be_written_is_not_good_whatever_was_hashed_on_the_way() {
        let dir = tempfile::tempdir().unwrap();
        let body: Vec<u8> = (0..2 * BLOCK as u8).collect();
        let s = storage(dir.path(), &body);
        let mut h = Hashing::default();
        give(&mut h, &s, 0, &body[..BLOCK]);
        // The second block fails on its way to the disk.
        h.write(T, &s, P, BLOCK as u32, &Rope::from(Bytes::copy_from_slice(&body[BLOCK..])));
        h.spoil(T, P);
        assert!(!h.check(T, &s, P).unwrap());
    }

    #[test]
    fn a_missing_file_is_not_ok_and_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let s = storage(dir.path(), b"abc");
        let mut h = Hashing::default();
        assert!(!h.check(T, &s, P).unwrap());
        assert!(block_digests(&s, P).unwrap().is_empty());
        give(&mut h, &s, 0, b"abc");
        h.forget(T, P);
        give(&mut h, &s, 0, b"abc");
        h.forget_all(T);
        assert!(h.check(T, &s, P).unwrap(), "read from disk");
    }
}
