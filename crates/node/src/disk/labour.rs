//! How long the disk's thread has worked for a torrent, and at what: what tells a slow disk from slow hashing.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Counts, while somebody works.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    hashing: AtomicU64,
    writing: AtomicU64,
}

/// Time spent since the torrent was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Labour {
    /// Hashing blocks.
    pub hashing: Duration,
    /// Writing them, or waiting for the disk to take them.
    pub writing: Duration,
}

impl Meter {
    pub(crate) fn hashed(&self, took: Duration) {
        add(&self.hashing, took);
    }

    pub(crate) fn wrote(&self, took: Duration) {
        add(&self.writing, took);
    }

    pub(crate) fn sum(&self) -> Labour {
        let time = |nanos: &AtomicU64| Duration::from_nanos(nanos.load(Ordering::Relaxed));
        Labour { hashing: time(&self.hashing), writing: time(&self.writing) }
    }
}

fn add(sum: &AtomicU64, took: Duration) {
    sum.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
}
