//! Reads all pieces and hashes them, with several threads.

use super::chain::Chain;
use super::{CreateError, CreateOptions, Found};
use crate::disk::check::Meter;
use crate::disk::lanes;
use base::metainfo::create::Draft;
use base::{FileIndex, PieceDigest, PieceHasher, PieceIndex, Plan};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Bytes that one thread holds at once where they are hashed twice, by piece and by file.
const HELD_MAX: u64 = 16 << 20;

/// Hashes all pieces and, if that is wanted, each file.
pub(super) fn hash(
    draft: &Draft,
    files: &[Found],
    options: &CreateOptions,
    meter: &Meter,
) -> Result<(Vec<PieceDigest>, Vec<[u8; 32]>), CreateError> {
    let geometry = draft.plan().geometry;
    let pieces = geometry.piece_count();
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if options.threads == 0 { cores() } else { options.threads }.clamp(1, pieces.max(1) as usize);
    let mut at_once = lanes::at_once(pieces as usize, threads) as u32;
    let chain = options.digests.then(|| Chain::new(&draft.plan().layout));
    if chain.is_some() {
        at_once = at_once.min((HELD_MAX / u64::from(geometry.piece_length())) as u32).max(1);
    }
    let next = AtomicU32::new(0);
    let shared = Mutex::new(Ok(vec![PieceDigest::default(); pieces as usize]));
    let work = || {
        let mut hands = Hands { draft, files, open: None, meter };
        let mut held = Vec::new();
        let mut bufs = Vec::new();
        let mut found = Vec::new();
        let mut failed = None;
        loop {
            let first = next.fetch_add(at_once, Ordering::Relaxed);
            let group: Vec<_> = (first..first.saturating_add(at_once)).filter_map(|i| geometry.piece(i)).collect();
            if group.is_empty() {
                break;
            }
            let hashed = match &chain {
                Some(chain) => hands.pieces_and_files(&group, &mut held, chain),
                None => hands.pieces(&group, &mut bufs),
            };
            match hashed {
                Ok(digests) => found.extend(group.into_iter().zip(digests)),
                Err(e) => {
                    meter.stop.store(true, Ordering::Relaxed);
                    chain.iter().for_each(Chain::stop);
                    failed = Some(e);
                    break;
                }
            }
        }
        let shared = &mut *shared.lock().unwrap_or_else(PoisonError::into_inner);
        match (shared, failed) {
            (Ok(all), None) => found.into_iter().for_each(|(piece, digest)| all[piece.index()] = digest),
            // Who was stopped by somebody's error says so, but that error is what counts.
            (shared, Some(e)) if shared.is_ok() || !matches!(e, CreateError::Stopped) => *shared = Err(e),
            _ => {}
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    let pieces = shared.into_inner().unwrap_or_else(PoisonError::into_inner)?;
    Ok((pieces, chain.map(Chain::finish).unwrap_or_default()))
}

/// One thread that hashes.
struct Hands<'a> {
    draft: &'a Draft,
    files: &'a [Found],
    open: Option<(FileIndex, File)>,
    meter: &'a Meter,
}

impl Hands<'_> {
    /// The digests of several pieces.
    fn pieces(&mut self, group: &[PieceIndex], bufs: &mut Vec<Vec<u8>>) -> Result<Vec<PieceDigest>, CreateError> {
        let plan: &Plan = self.draft.plan();
        let hashers = lanes::hash(plan, group, bufs, |offset, buf| {
            self.fill(offset, buf)?;
            self.meter.bytes.fetch_add(buf.len() as u64, Ordering::Relaxed);
            Ok::<_, CreateError>(true)
        })?;
        Ok(hashers.into_iter().zip(group).filter_map(|(hasher, piece)| Some(hasher?.digest(plan, *piece))).collect())
    }

    /// The same, while the files that they are of are hashed as well.
    fn pieces_and_files(
        &mut self,
        group: &[PieceIndex],
        held: &mut Vec<u8>,
        chain: &Chain<'_>,
    ) -> Result<Vec<PieceDigest>, CreateError> {
        let plan: &Plan = self.draft.plan();
        let geometry = plan.geometry;
        let bytes: u64 = group.iter().map(|piece| u64::from(geometry.piece_len(*piece))).sum();
        let begin = geometry.piece_offset(group[0]);
        let mut hashers: Vec<_> = group.iter().map(|piece| PieceHasher::new(plan, *piece)).collect();
        let mut turn = None;
        let mut at = begin;
        while at < begin + bytes {
            held.resize((begin + bytes - at).min(HELD_MAX) as usize, 0);
            self.fill(at, held)?;
            // More than one piece only where all of them are held.
            let parts: Vec<[&[u8]; 1]> = match &group {
                [_] => vec![[&held[..]]],
                _ => held.chunks(geometry.piece_length() as usize).map(|part| [part]).collect(),
            };
            let mut feeds: Vec<_> = hashers.iter_mut().zip(&parts).map(|(hasher, part)| (hasher, &part[..])).collect();
            PieceHasher::update_all(&mut feeds);
            let turn = match &mut turn {
                Some(turn) => turn,
                none => none.insert(chain.wait(begin, begin + bytes).ok_or(CreateError::Stopped)?),
            };
            turn.feed(at, held);
            self.meter.bytes.fetch_add(held.len() as u64, Ordering::Relaxed);
            at += held.len() as u64;
        }
        Ok(hashers.into_iter().zip(group).map(|(hasher, piece)| hasher.digest(plan, *piece)).collect())
    }

    /// Reads what lies at `offset` of the whole; padding is zeros.
    fn fill(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), CreateError> {
        if self.meter.stop.load(Ordering::Relaxed) {
            return Err(CreateError::Stopped);
        }
        let mut rest = buf;
        for span in self.draft.plan().layout.spans(offset, rest.len() as u64) {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(span.len as usize);
            rest = later;
            match self.draft.source(span.file).filter(|_| !span.pad) {
                Some(source) => self.read(span.file, &self.files[source].path, span.offset, now)?,
                None => now.fill(0),
            }
        }
        Ok(())
    }

    fn read(&mut self, file: FileIndex, path: &Path, at: u64, buf: &mut [u8]) -> Result<(), CreateError> {
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::UnexpectedEof => CreateError::Changed(path.to_owned()),
            _ => CreateError::Read(path.to_owned(), e),
        };
        if self.open.as_ref().is_none_or(|(open, _)| *open != file) {
            self.open = Some((file, File::open(path).map_err(failed)?));
        }
        let Some((_, open)) = &self.open else { return Ok(()) };
        open.read_exact_at(buf, at).map_err(failed)
    }
}
