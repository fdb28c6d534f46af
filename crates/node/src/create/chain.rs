//! SHA-256 of each file, by several threads that have its parts in any order.
//!
//! A digest of a whole is one chain: each byte after the one before. Pieces are hashed by whoever takes them; then each
//! thread waits until all before its bytes went through the chain, and feeds them to it while the others hash theirs.

use base::{FileIndex, Layout};
use hash::Sha256;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The files of a layout, one after the other.
#[derive(Debug)]
pub(super) struct Chain<'a> {
    layout: &'a Layout,
    state: Mutex<State>,
    moved: Condvar,
}

#[derive(Debug)]
struct State {
    /// Where the next bytes begin.
    at: u64,
    stopped: bool,
    hasher: Sha256,
    /// Of each file of the layout; what has no bytes is done.
    digests: Vec<[u8; 32]>,
}

/// The right to feed the next bytes; it passes to whoever has those behind them.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    chain: &'a Chain<'a>,
    state: MutexGuard<'a, State>,
    end: u64,
}

impl<'a> Chain<'a> {
    pub(super) fn new(layout: &'a Layout) -> Self {
        let digests = vec![Sha256::digest(b""); layout.files().len()];
        let state = State { at: 0, stopped: false, hasher: Sha256::new(), digests };
        Chain { layout, state: Mutex::new(state), moved: Condvar::new() }
    }

    /// Waits until all bytes before `begin` were fed. None: they never will be.
    pub(super) fn wait(&'a self, begin: u64, end: u64) -> Option<Turn<'a>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let waiting = |state: &mut State| state.at != begin && !state.stopped;
        let state = self.moved.wait_while(state, waiting).unwrap_or_else(PoisonError::into_inner);
        (!state.stopped).then_some(Turn { chain: self, state, end })
    }

    /// Somebody has failed: nobody needs to wait any more.
    pub(super) fn stop(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).stopped = true;
        self.moved.notify_all();
    }

    /// The digests of all files but padding, in order.
    pub(super) fn finish(self) -> Vec<[u8; 32]> {
        let state = self.state.into_inner().unwrap_or_else(PoisonError::into_inner);
        debug_assert_eq!(state.at, self.layout.total(), "all was fed");
        self.layout.content().map(|(file, _)| state.digests[file.index()]).collect()
    }
}

impl Turn<'_> {
    /// Feeds what lies at `offset` of the layout.
    pub(super) fn feed(&mut self, offset: u64, bytes: &[u8]) {
        let mut rest = bytes;
        for span in self.chain.layout.spans(offset, bytes.len() as u64) {
            let (now, later) = rest.split_at(span.len as usize);
            rest = later;
            if span.pad {
                continue;
            }
            if span.offset == 0 {
                self.state.hasher = Sha256::new();
            }
            self.state.hasher.update(now);
            let FileIndex(file) = span.file;
            if span.offset + span.len == self.chain.layout.files()[file as usize].len {
                self.state.digests[file as usize] = std::mem::take(&mut self.state.hasher).finish();
            }
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        self.state.at = self.end;
        self.chain.moved.notify_all();
    }
}
