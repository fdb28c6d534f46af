//! The digests of a file: of its pieces and of the whole, in one pass.

use super::SplitError;
use crate::disk::check::Meter;
use crate::disk::plain;
use base::{Geometry, Manifest};
use hash::{Feed, Sha256, update_all};
use std::io::{self, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::atomic::Ordering;

/// Bytes read at once: they stay in the cache of the core while two hashes take them in.
const CHUNK: usize = 256 << 10;

/// What a manifest says of the content.
#[derive(Clone, Debug)]
pub struct Measured {
    /// How it is cut.
    pub geometry: Geometry,
    /// SHA-256 of the whole.
    pub sha256: [u8; 32],
    /// SHA-256 of each piece.
    pub pieces: Box<[[u8; 32]]>,
}

/// Hashes the file at `path`. The piece and the whole are hashed side by side, which costs little more than one of them.
/// `total` is told the bytes there are; `meter` counts those that were hashed, and stops it.
///
/// # Errors
/// If it can't be read, is no regular file, changes meanwhile, or has too many pieces.
pub fn measure(path: &Path, piece_length: u64, meter: &Meter, total: impl FnOnce(u64)) -> Result<Measured, SplitError> {
    let failed = |e| SplitError::Read(path.to_owned(), e);
    let no_file = || SplitError::File(path.to_owned(), "is no regular file; only files can be split");
    let (mut file, len) = plain::open(path).map_err(failed)?.ok_or_else(no_file)?;
    let before = file.metadata().map_err(failed)?;
    let geometry = Manifest::geometry(len, piece_length)?;
    total(len);
    let (mut whole, mut pieces) = (Sha256::new(), Vec::with_capacity(geometry.piece_count() as usize));
    let mut buf = vec![0; CHUNK];
    let changed =
        || SplitError::File(path.to_owned(), "has changed while it was read; try again when nobody writes to it");
    for index in geometry.pieces() {
        let (mut piece, mut left) = (Sha256::new(), geometry.piece_len(index) as usize);
        while left > 0 {
            if meter.stop.load(Ordering::Relaxed) {
                return Err(SplitError::Stopped);
            }
            let chunk = &mut buf[..left.min(CHUNK)];
            file.read_exact(chunk).map_err(|e| match e.kind() {
                io::ErrorKind::UnexpectedEof => changed(),
                _ => failed(e),
            })?;
            let parts: [&[u8]; 1] = [chunk];
            update_all([Feed::new(&mut whole, &parts), Feed::new(&mut piece, &parts)]);
            left -= parts[0].len();
            meter.bytes.fetch_add(parts[0].len() as u64, Ordering::Relaxed);
        }
        pieces.push(piece.finish());
    }
    let after = path.metadata().map_err(failed)?;
    let state = |m: &std::fs::Metadata| (m.ino(), m.len(), m.mtime(), m.mtime_nsec());
    if state(&before) != state(&after) {
        return Err(changed());
    }
    Ok(Measured { geometry, sha256: whole.finish(), pieces: pieces.into() })
}
