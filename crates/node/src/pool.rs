//! Buffers that are used again and again: fresh pages are dear, and their zeroing is dearer.
//!
//! Sockets are read into chunks of the size of a block. A chunk that was handed out is frozen; it comes back when the
//! last slice of it is gone, which the pool sees by looking at the oldest ones. All of it is safe code: a chunk stays
//! initialised for its whole life.

use bytes::{Bytes, BytesMut};
use std::collections::VecDeque;

/// Bytes in a chunk. A block straddles two of them, and an early block that is kept pins no more than that.
pub(crate) const CHUNK: usize = 16 * 1024;

/// Chunks that are remembered while they are lent. Those beyond are freed when their last slice is.
const LENT_MAX: usize = 2048;

/// Lent chunks that are looked at for a free one before a new one is made.
const TRIES: usize = 4;

/// Chunks kept when there is nothing to do.
const IDLE_MAX: usize = 32;

/// A pool of chunks of [`CHUNK`] bytes.
#[derive(Debug, Default)]
pub(crate) struct Pool {
    free: Vec<BytesMut>,
    lent: VecDeque<Bytes>,
    made: u64,
}

impl Pool {
    /// A chunk, all of whose bytes are initialised to something.
    pub(crate) fn take(&mut self) -> BytesMut {
        if let Some(chunk) = self.free.pop() {
            return chunk;
        }
        for _ in 0..TRIES.min(self.lent.len()) {
            let Some(oldest) = self.lent.pop_front() else { break };
            match oldest.try_into_mut() {
                Ok(chunk) => return chunk,
                Err(busy) => self.lent.push_back(busy),
            }
        }
        self.made += 1;
        BytesMut::zeroed(CHUNK)
    }

    /// Hands out a filled chunk; it comes back when all clones and slices of the answer are gone.
    pub(crate) fn lend(&mut self, chunk: BytesMut) -> Bytes {
        let bytes = chunk.freeze();
        if self.lent.len() < LENT_MAX {
            self.lent.push_back(bytes.clone());
        }
        bytes
    }

    /// Takes a chunk back that was not lent.
    pub(crate) fn put(&mut self, chunk: BytesMut) {
        self.free.push(chunk);
    }

    /// Frees what is not needed. To be called now and then, when there is little to do.
    pub(crate) fn trim(&mut self) {
        self.lent.retain(|chunk| !chunk.is_unique());
        self.free.truncate(IDLE_MAX);
        self.free.shrink_to(IDLE_MAX);
        self.lent.shrink_to(IDLE_MAX);
    }

    /// Chunks made since the beginning.
    #[cfg(test)]
    pub(crate) fn made(&self) -> u64 {
        self.made
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_comes_back_with_its_last_slice() {
        let mut pool = Pool::default();
        let chunk = pool.take();
        assert_eq!(chunk.len(), CHUNK);
        let bytes = pool.lend(chunk);
        let slice = bytes.slice(5..10);
        drop(bytes);
        let other = pool.take();
        assert_eq!(pool.made(), 2, "the first one is still in use");
        pool.put(other);
        drop(slice);
        let (a, b) = (pool.take(), pool.take());
        assert_eq!((a.len(), b.len()), (CHUNK, CHUNK), "whole again");
        assert_eq!(pool.made(), 2);
        let lent = pool.lend(a);
        pool.put(b);
        pool.trim();
        assert_eq!(pool.lent.len(), 1);
        drop(lent);
        pool.trim();
        assert_eq!((pool.lent.len(), pool.free.len()), (0, 1));
    }
}
