//! Saves the progress of all torrents, off the way of the data and after it.

use super::Inner;
use super::torrent::Torrent;
use crate::state::Saved;
use std::path::PathBuf;
use std::sync::{Arc, Weak};
use std::time::Duration;

/// Time between two savings. What a kill loses of the record is found again on disk.
const INTERVAL: Duration = Duration::from_millis(500);

/// Saves until the node is gone.
pub(super) async fn run(inner: Weak<Inner>) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        ticks.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        inner.save_all(false).await;
    }
}

impl Inner {
    /// Saves what has changed. `quiet`: nobody writes any more, so what the files look like is noted too.
    pub(super) async fn save_all(&self, quiet: bool) {
        let torrents: Vec<Arc<Torrent>> = self.lock().values().cloned().collect();
        let rows: Vec<(PathBuf, Saved)> = torrents.iter().filter_map(|t| self.row(t, quiet)).collect();
        if !rows.is_empty() {
            self.saved(self.store.save(&rows).await);
        }
    }

    /// Saves one torrent now.
    pub(super) async fn save_one(&self, torrent: &Torrent) {
        if let Some(row) = self.row(torrent, true) {
            self.saved(self.store.save(&[row]).await);
        }
    }

    /// What is to be saved of a torrent; None if nothing has changed.
    fn row(&self, torrent: &Torrent, quiet: bool) -> Option<(PathBuf, Saved)> {
        let mut state = torrent.state();
        let complete = state.complete;
        let open = state.open.as_mut()?;
        // What is complete is not written to any more: its stamps hold until a user changes it.
        let version = open.progress.version();
        if !quiet && (version == open.saved || complete) {
            return None;
        }
        open.saved = version;
        let open = open.clone();
        drop(state);
        // The stamps are taken first: what changes after them makes them void.
        let layout = &open.storage.plan().layout;
        let stamp = |(index, _)| Some((index, open.storage.stamp(index)?));
        let stamps = if quiet { layout.content().filter_map(stamp).collect() } else { Vec::new() };
        let facts = open.progress.facts();
        let row = Saved {
            hashes: torrent.hashes(),
            metainfo: Some(open.bytes.to_vec()),
            at: open.storage.place().path(),
            complete,
            good: facts.good,
            partial: facts.partial.into_iter().collect(),
            stamps,
            synced: open.synced,
            boot: self.boot.clone(),
        };
        Some((open.end.path(), row))
    }
}
