//! Payload: bytes that the mind holds and passes on, and never reads beyond the headers it must parse.

use std::fmt;

/// A run of stream bytes. In `node` a rope of reference-counted slices, in `lab` headers as bytes and blocks as
/// (length, good or rotten). Cloning and splitting must be cheap and copy no bytes.
pub trait Payload: Clone + Default + fmt::Debug {
    /// Bytes in this run.
    fn len(&self) -> usize;

    /// True if there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Takes the first `n` bytes out of this run. `n` is at most `len()`.
    fn split_to(&mut self, n: usize) -> Self;

    /// Drops the first `n` bytes, which is at most `len()`.
    fn advance(&mut self, n: usize) {
        self.split_to(n);
    }

    /// Puts `more` behind these bytes.
    fn append(&mut self, more: Self);

    /// Copies the first `out.len()` bytes to `out`, which is at most `len()` long. The mind calls it for message
    /// headers and small messages, never for blocks. The lab's payload answers zeros for bytes it never made.
    fn copy_prefix(&self, out: &mut [u8]);
}

/// Plain bytes, for tests and small tools.
impl Payload for Vec<u8> {
    fn len(&self) -> usize {
        Vec::len(self)
    }

    fn split_to(&mut self, n: usize) -> Self {
        let rest = self.split_off(n);
        std::mem::replace(self, rest)
    }

    fn advance(&mut self, n: usize) {
        self.drain(..n);
    }

    fn append(&mut self, mut more: Self) {
        Vec::append(self, &mut more);
    }

    fn copy_prefix(&self, out: &mut [u8]) {
        out.copy_from_slice(&self[..out.len()]);
    }
}
