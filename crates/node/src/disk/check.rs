//! Hashes what is on disk already, with as many threads as there are cores: for `verify`, for seeding what is there,
//! and for what an earlier run left behind.
//!
//! It also finds the blocks that a killed run had written of pieces it did not complete. That is a guess, by their last
//! bytes not being zeros, and a safe one: the piece is hashed when the rest has come, and a wrong guess costs
//! fetching it again.

use super::lanes;
use super::storage::{DiskError, Storage};
use base::{Bitfield, BlockIndex, PieceIndex, WholeHasher};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Bytes at the end of a block that tell whether it was written. Writes go on from the front, so a block cut short by a
/// kill ends in zeros.
const TAIL: u32 = 64;

/// How to check.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Threads at most.
    pub threads: usize,
    /// Pieces that lie in holes were never written: don't hash them. For files that an earlier run of ours made.
    pub skip_holes: bool,
    /// Find the blocks that were written of incomplete pieces.
    pub find_blocks: bool,
}

/// Tells how far it is, and lets it be stopped.
#[derive(Debug, Default)]
pub struct Meter {
    /// Bytes done.
    pub bytes: AtomicU64,
    /// Set to stop early.
    pub stop: AtomicBool,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Pieces that are good.
    pub good: Bitfield,
    /// Blocks found of others.
    pub partial: Vec<(PieceIndex, Bitfield)>,
    /// Bad pieces that are all there: something changed them.
    pub rotten: u32,
    /// It was stopped before the end; what is said of the rest is "not good".
    pub stopped: bool,
}

/// Hashes the pieces in `which`.
///
/// # Errors
/// If something can't be read; a file that is missing or too short is no error but not good.
pub fn check(storage: &Storage, which: &Bitfield, options: Options, meter: &Meter) -> Result<Report, DiskError> {
    let geometry = &storage.plan().geometry;
    let report = Report { good: Bitfield::new(geometry.piece_count()), ..Report::default() };
    let shared = Mutex::new(Ok(report));
    let next = AtomicUsize::new(0);
    let pieces: Vec<PieceIndex> = which.ones().filter_map(|i| geometry.piece(i)).collect();
    let threads = options.threads.clamp(1, pieces.len().max(1));
    let at_once = lanes::at_once(pieces.len(), threads);
    let work = || {
        let mut found = Found::default();
        let mut result = Ok(());
        while let Some(rest) = pieces.get(next.fetch_add(at_once, Ordering::Relaxed)..).filter(|rest| !rest.is_empty())
        {
            if meter.stop.load(Ordering::Relaxed) {
                break;
            }
            let group = &rest[..at_once.min(rest.len())];
            result = found.pieces(storage, group, options);
            let bytes = group.iter().map(|piece| u64::from(geometry.piece_len(*piece))).sum();
            meter.bytes.fetch_add(bytes, Ordering::Relaxed);
            if result.is_err() {
                meter.stop.store(true, Ordering::Relaxed);
                break;
            }
        }
        let shared = &mut *shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match (shared, result) {
            (shared @ Ok(_), Err(e)) => *shared = Err(e),
            (Ok(report), Ok(())) => {
                for piece in &found.good {
                    report.good.set(piece.0);
                }
                report.partial.append(&mut found.partial);
                report.rotten += found.rotten;
            }
            (Err(_), _) => {}
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let mut report = shared.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)?;
    report.partial.sort_by_key(|(piece, _)| *piece);
    report.stopped = meter.stop.load(Ordering::Relaxed);
    Ok(report)
}

/// Hashes all bytes of what has one digest, and says whether it is the right one. False also if something is missing, and if it was
/// stopped; without a digest, true.
///
/// # Errors
/// If something can't be read.
pub fn check_whole(storage: &Storage, meter: &Meter) -> Result<bool, DiskError> {
    let plan = storage.plan();
    let Some(mut hasher) = plan.whole.map(WholeHasher::new) else { return Ok(true) };
    let (mut buf, mut at) = (vec![0; WHOLE_READ], 0);
    while at < plan.layout.total() {
        let n = (plan.layout.total() - at).min(WHOLE_READ as u64);
        let buf = &mut buf[..n as usize];
        match storage.read(at, buf) {
            Ok(()) => {}
            Err(e) if e.is_missing() => return Ok(false),
            Err(e) => return Err(e),
        }
        let mut begin = 0;
        for span in plan.layout.spans(at, n) {
            let end = begin + span.len as usize;
            if !span.pad {
                hasher.update(&buf[begin..end]);
            }
            begin = end;
        }
        at += n;
        meter.bytes.fetch_add(n, Ordering::Relaxed);
        if meter.stop.load(Ordering::Relaxed) {
            return Ok(false);
        }
    }
    Ok(hasher.finish())
}

/// Bytes read at once for that.
const WHOLE_READ: usize = 1 << 20;

/// What one thread found.
#[derive(Default)]
struct Found {
    bufs: Vec<Vec<u8>>,
    good: Vec<PieceIndex>,
    partial: Vec<(PieceIndex, Bitfield)>,
    rotten: u32,
}

impl Found {
    fn pieces(&mut self, storage: &Storage, group: &[PieceIndex], options: Options) -> Result<(), DiskError> {
        let plan = storage.plan();
        let there = |p: &PieceIndex| {
            let len = plan.geometry.piece_len(*p);
            !options.skip_holes || storage.has_data(plan.geometry.piece_offset(*p), len.into())
        };
        let group: Vec<PieceIndex> = group.iter().copied().filter(there).collect();
        let hashers = lanes::hash(plan, &group, &mut self.bufs, |offset, buf| match storage.read(offset, buf) {
            Ok(()) => Ok(true),
            Err(e) if e.is_missing() => Ok(false),
            Err(e) => Err(e),
        })?;
        for (piece, hasher) in group.into_iter().zip(hashers) {
            match hasher.map(|hasher| hasher.finish(plan, piece)) {
                Some(true) => self.good.push(piece),
                whole => self.bad(storage, piece, whole.is_some(), options)?,
            }
        }
        Ok(())
    }

    /// A piece that is not good, though all of it is `there`, or because not all of it is.
    fn bad(&mut self, storage: &Storage, piece: PieceIndex, there: bool, options: Options) -> Result<(), DiskError> {
        let blocks = if options.find_blocks { written_blocks(storage, piece)? } else { Bitfield::default() };
        if blocks.count() > 0 && !blocks.is_full() {
            self.partial.push((piece, blocks));
        } else if there {
            self.rotten += 1;
        }
        Ok(())
    }
}

fn written_blocks(storage: &Storage, piece: PieceIndex) -> Result<Bitfield, DiskError> {
    let geometry = &storage.plan().geometry;
    let mut blocks = Bitfield::new(geometry.block_count(piece));
    for block in (0..blocks.len()).map(BlockIndex) {
        let end = geometry.block_begin(block) + geometry.block_len(piece, block);
        let mut tail = [0; TAIL as usize];
        let tail = &mut tail[..geometry.block_len(piece, block).min(TAIL) as usize];
        match storage.read(geometry.piece_offset(piece) + u64::from(end) - tail.len() as u64, tail) {
            Ok(()) if tail.iter().any(|b| *b != 0) => {
                blocks.set(block.0);
            }
            Err(e) if !e.is_missing() => return Err(e),
            _ => {}
        }
    }
    Ok(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{FileCache, Place};
    use base::{Checks, Geometry, Layout, Plan};
    use sha1::{Digest, Sha1};
    use std::sync::Arc;

    fn storage(dir: &std::path::Path, body: &[u8]) -> Storage {
        let layout = Layout::single("f".into(), body.len() as u64, false);
        let geometry = Geometry::new(layout.total(), 64 << 10, 16 << 10).unwrap();
        let sha1 = body.chunks(64 << 10).map(|c| Sha1::digest(c).into()).collect();
        let checks = Checks { sha1: Some(sha1), ..Checks::default() };
        Storage::new(Arc::new(Plan::new(geometry, layout, checks)), Place::new(dir, "f"), Arc::new(FileCache::new(4)))
    }

    #[test]
    fn finds_rot_holes_blocks_and_short_files() {
        let dir = tempfile::tempdir().unwrap();
        let body: Vec<u8> = (0..300_000u32).map(|i| (i % 251) as u8 + 1).collect();
        let s = storage(dir.path(), &body);
        let all = Bitfield::full(5);
        let options = Options { threads: 3, skip_holes: false, find_blocks: true };
        let run = |options| check(&s, &all, options, &Meter::default()).unwrap();
        assert_eq!(run(options).good.count(), 0, "no file at all");
        s.write(0, &[&body]).unwrap();
        assert!(run(options).good.is_full());
        // A bit flips in piece 1; piece 2 loses a block; the end of the file is cut off.
        s.write(70_000, &[&[body[70_000] ^ 4]]).unwrap();
        s.write((128 + 16) << 10, &[&vec![0; 16 << 10]]).unwrap();
        let file = std::fs::OpenOptions::new().write(true).open(dir.path().join("f")).unwrap();
        file.set_len(290_000).unwrap();
        let report = run(options);
        assert_eq!(report.good.ones().collect::<Vec<_>>(), [0, 3]);
        assert_eq!(report.rotten, 1);
        let partial: Vec<_> = report.partial.iter().map(|(p, b)| (p.0, b.ones().collect::<Vec<_>>())).collect();
        assert_eq!(partial, [(2, vec![0, 2, 3]), (4, vec![0])]);
        let meter = Meter::default();
        meter.stop.store(true, Ordering::Relaxed);
        let report = check(&s, &all, options, &meter).unwrap();
        assert!(report.stopped && report.good.count() == 0);
        let skip = Options { skip_holes: true, ..options };
        assert_eq!(run(skip).good.count(), 2);
    }
}
