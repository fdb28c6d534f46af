//! Saves the progress of all torrents, off the way of the data and after it.

use super::Inner;
use super::torrent::{Known, Torrent};
use crate::disk::{Progress, Stamp, Storage};
use crate::state::{Row, Saved};
use base::FileIndex;
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
        // What is complete is not written to any more; of thousands of seeds, none is looked at here.
        let fetching: Vec<Arc<Torrent>> = inner.lock().fetching.values().cloned().collect();
        inner.save(&fetching, false).await;
    }
}

/// The saved state knows this of a torrent; so its .torrent need not be kept in memory.
pub(super) fn saved(torrent: &Torrent, known: Known) {
    let state = &mut *torrent.state();
    if let Some(open) = &mut state.open {
        open.saved = known;
        state.metainfo = None;
    }
}

/// What is noted of how files look.
#[derive(Clone, Debug)]
pub(super) enum Stamps {
    /// Nothing: they are being written to.
    None,
    /// How they look now.
    Now,
    /// How they looked when the last of them was written or checked: what somebody did to them since then is not of us.
    Then(Vec<(FileIndex, Stamp)>),
}

/// How the files look.
pub(super) fn stamps_of(storage: &Storage) -> Vec<(FileIndex, Stamp)> {
    let stamp = |(index, _)| Some((index, storage.stamp(index)?));
    storage.plan().layout.content().filter_map(stamp).collect()
}

impl Inner {
    /// Saves what has changed of these, in one transaction. `quiet`: nobody writes any more, so what the files look like is
    /// noted too.
    pub(super) async fn save(&self, torrents: &[Arc<Torrent>], quiet: bool) {
        let stamps = if quiet { Stamps::Now } else { Stamps::None };
        let row = |torrent: &Arc<Torrent>| {
            self.row(torrent, stamps.clone()).map(|(row, known)| (torrent.clone(), row, known))
        };
        self.save_rows(torrents.iter().filter_map(row).collect()).await;
    }

    /// Saves these rows, in one transaction.
    pub(super) async fn save_rows(&self, rows: Vec<(Arc<Torrent>, Row, Known)>) {
        let (mut of, mut plain) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        for (torrent, row, known) in rows {
            plain.push(row);
            of.push((torrent, known));
        }
        if plain.is_empty() {
            return;
        }
        match self.store.save(&plain).await {
            Ok(()) => of.iter().for_each(|(torrent, known)| saved(torrent, *known)),
            // A failure of the state is no failure of the transfer: it is told, and what was not saved is hashed again.
            Err(e) => tracing::warn!("{e}"),
        }
    }

    /// Saves all that has changed, at the end.
    pub(super) async fn save_all(&self) {
        let torrents: Vec<Arc<Torrent>> = self.lock().all.values().cloned().collect();
        self.save(&torrents, true).await;
    }

    /// What is to be saved of a torrent, and what is known then; None if nothing has changed.
    pub(super) fn row(&self, torrent: &Torrent, stamps: Stamps) -> Option<(Row, Known)> {
        let quiet = !matches!(stamps, Stamps::None);
        let (complete, open, metainfo) = {
            let state = torrent.state();
            (state.complete, state.open.clone()?, state.metainfo.clone())
        };
        let version = open.progress.as_ref().map_or(0, Progress::version);
        let known = Known { version, stamped: quiet, synced: open.synced };
        // What is complete is not written to any more: its stamps hold until a user changes it.
        let unchanged = match quiet {
            true => complete && open.saved == known,
            false => complete || open.saved.version == version,
        };
        if unchanged {
            return None;
        }
        // The stamps are taken first: what changes after them makes them void.
        let stamps = match stamps {
            Stamps::None => Vec::new(),
            Stamps::Now => stamps_of(&open.storage),
            Stamps::Then(stamps) => stamps,
        };
        let facts = open.facts();
        let saved = Saved {
            hashes: torrent.hashes(),
            at: open.storage.place().path(),
            complete,
            good: facts.good,
            partial: facts.partial.into_iter().collect(),
            stamps,
            synced: open.synced,
            boot: self.boot.clone(),
            ..Saved::default()
        };
        let metainfo = metainfo.map(|m| m.encode());
        Some((Row { path: open.end().path(), saved, metainfo }, known))
    }
}
