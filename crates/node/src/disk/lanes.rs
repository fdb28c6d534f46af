//! Hashes several pieces side by side, a stretch of each at a time: one alone leaves the core waiting for its own rounds
//! ([`PieceHasher::update_all`]).

use base::{PieceHasher, PieceIndex, Plan};

/// Bytes read at once of each piece.
const READ: usize = 256 * 1024;

/// Pieces side by side; more gain little.
const LANES: usize = 4;

/// How many of `pieces` one of `threads` takes at a time. A few large pieces are rather spread over the threads.
pub(crate) fn at_once(pieces: usize, threads: usize) -> usize {
    (pieces / threads).clamp(1, LANES)
}

/// Hashes `group`. `read` fills a buffer from an offset of the torrent, or says false if not all of it is there; such a piece
/// becomes None. `bufs` are used again and again.
pub(crate) fn hash<E>(
    plan: &Plan,
    group: &[PieceIndex],
    bufs: &mut Vec<Vec<u8>>,
    mut read: impl FnMut(u64, &mut [u8]) -> Result<bool, E>,
) -> Result<Vec<Option<PieceHasher>>, E> {
    let mut lanes: Vec<_> = group.iter().map(|piece| Some(PieceHasher::new(plan, *piece))).collect();
    bufs.resize_with(group.len(), Vec::new);
    loop {
        let mut more = false;
        for ((piece, lane), buf) in group.iter().zip(&mut lanes).zip(bufs.iter_mut()) {
            let Some(hasher) = lane else { continue };
            let left = plan.geometry.piece_len(*piece) - hasher.fed();
            buf.resize(READ.min(left as usize), 0);
            if left == 0 {
                continue;
            }
            if read(plan.geometry.piece_offset(*piece) + u64::from(hasher.fed()), buf)? {
                more = true;
            } else {
                *lane = None;
            }
        }
        if !more {
            return Ok(lanes);
        }
        let parts: Vec<[&[u8]; 1]> = bufs.iter().map(|buf| [&buf[..]]).collect();
        let both = lanes.iter_mut().zip(&parts);
        let mut feeds: Vec<_> = both.filter_map(|(lane, part)| Some((lane.as_mut()?, &part[..]))).collect();
        PieceHasher::update_all(&mut feeds);
    }
}
