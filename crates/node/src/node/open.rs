//! Opening and finishing the files of a torrent: where its content lies, what of it is there, what of that is believed.
//!
//! `get` writes to `NAME.part` beside the final name. What lies under the final name is verified first: if it is the
//! content, there is nothing to do; if a node fetched it there and it has changed since, it is mended; if it is something
//! else, it is left alone. `seed` never writes.

use super::Inner;
use super::event::Event;
use super::torrent::{Open, Target, Torrent};
use crate::disk::check::{self, Options, Report};
use crate::disk::worker::Work;
use crate::disk::{Place, Progress, Storage};
use crate::driver::Msg;
use crate::state::Saved;
use base::metainfo::Layers;
use base::{Bitfield, FileIndex, FileKind, Info, Metainfo, PieceIndex, Plan};
use engine::{Command, Input};
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;
use swarm::{FilePriority, Resume};
use tokio::sync::oneshot;

/// Time from completion to the sync.
const SYNC_DELAY: Duration = Duration::from_secs(5);

/// The info dictionary came from peers.
pub(super) fn metadata(inner: &Arc<Inner>, torrent: &Arc<Torrent>, raw: &[u8]) {
    match Info::parse(raw) {
        Ok(info) => {
            let metainfo = Arc::new(Metainfo::bare(info, Layers::none()));
            inner.event(torrent.id, Event::Metadata);
            tokio::spawn(open(inner.clone(), torrent.clone(), metainfo));
        }
        Err(e) => torrent.fail(inner, format!("the torrent that peers sent can't be used: {e}")),
    }
}

/// Looks at what is there, and lets the engine begin.
pub(super) async fn open(inner: Arc<Inner>, torrent: Arc<Torrent>, metainfo: Arc<Metainfo>) {
    {
        let mut state = torrent.state();
        state.name = metainfo.info.layout.name().to_owned();
        state.metainfo = Some(metainfo.clone());
    }
    let result = try_open(&inner, &torrent, &metainfo).await;
    torrent.to_check.store(0, Ordering::Relaxed);
    match result {
        Ok(true) => finish(inner, torrent).await,
        Ok(false) => {}
        Err(error) => torrent.fail(&inner, error),
    }
}

/// True if all that is wanted is there already.
async fn try_open(inner: &Arc<Inner>, torrent: &Arc<Torrent>, metainfo: &Metainfo) -> Result<bool, String> {
    let plan =
        metainfo.plan().ok_or("this v2 torrent comes without the hashes of its pieces; get it by its .torrent file")?;
    let plan = Arc::new(plan);
    let end = end_of(&torrent.target, &plan)?;
    let saved = inner.store.load(&end.path()).await.map_err(|e| e.to_string())?;
    let saved = saved.filter(|s| s.hashes == metainfo.info.hashes);
    let priorities = torrent.select.as_ref().map(|select| select(&plan.layout)).unwrap_or_default();
    let wanted = wanted_pieces(&plan, &priorities);
    let look = {
        let (inner, torrent, plan, end, wanted, priorities) =
            (inner.clone(), torrent.clone(), plan.clone(), end.clone(), wanted.clone(), priorities.clone());
        move || look(&inner, &torrent, plan, &end, saved.as_ref(), &wanted, &priorities)
    };
    let (storage, resume) =
        tokio::task::spawn_blocking(look).await.map_err(|e| format!("checking has failed: {e}"))??;
    let good = resume.have.clone().unwrap_or_default();
    let progress = Progress::new(good.clone(), resume.partial.clone());
    let path = storage.place().path();
    torrent.state().open = Some(Open {
        storage: storage.clone(),
        progress: progress.clone(),
        end,
        synced: false,
        saved: u64::MAX,
        bytes: metainfo.encode().into(),
    });
    // The row comes before the first byte: what a kill leaves behind is known as ours.
    inner.save_one(torrent).await;
    inner.inbox.put(&mut vec![
        Msg::Disk(Work::Open(torrent.id, storage.clone(), progress)),
        Msg::Storage(torrent.id, Some(storage)),
        Msg::Input(Input::Command(torrent.id, Command::Open { plan, resume, priorities })),
    ]);
    inner.event(torrent.id, Event::Opened { good: good.count(), pieces: good.len(), path });
    Ok(!good.lacks_any_of(&wanted))
}

/// Where the content shall lie in the end.
fn end_of(target: &Target, plan: &Plan) -> Result<Place, String> {
    match target {
        Target::Get { dir, .. } => {
            let dir = std::path::absolute(dir).map_err(|e| format!("can't use {}: {e}", dir.display()))?;
            Ok(Place::new(dir, plan.layout.name()))
        }
        Target::Seed { path } => {
            // Of a link, what it leads to: the user named it.
            let path = path.canonicalize().map_err(|e| format!("can't read {}: {e}", path.display()))?;
            match (path.parent(), path.file_name()) {
                (Some(parent), Some(top)) if path.is_dir() != plan.layout.is_single() => Ok(Place::new(parent, top)),
                (Some(_), Some(_)) if path.is_dir() => {
                    Err(format!("{} is a folder, and the torrent is one file", path.display()))
                }
                (Some(_), Some(_)) => Err(format!("{} is one file, and the torrent is a folder", path.display())),
                _ => Err(format!("can't seed {}: it has no name", path.display())),
            }
        }
    }
}

/// Finds out where the content lies and what of it is good. Takes as long as hashing does.
fn look(
    inner: &Inner,
    torrent: &Torrent,
    plan: Arc<Plan>,
    end: &Place,
    saved: Option<&Saved>,
    wanted: &Bitfield,
    priorities: &[FilePriority],
) -> Result<(Arc<Storage>, Resume), String> {
    let skipped = |file: FileIndex| priorities.get(file.index()) == Some(&FilePriority::Skip);
    let mut parts = std::ffi::OsString::from(".");
    parts.push(&end.top);
    parts.push(".parts");
    let parts = end.parent.join(parts);
    let storage = |place| {
        let storage = Storage::new(plan.clone(), place, inner.files.clone());
        Arc::new(if priorities.is_empty() { storage } else { storage.hiding(parts.clone(), |f| !skipped(f)) })
    };
    let shown = end.path().display().to_string();
    let exists = end.path().symlink_metadata().is_ok();
    match &torrent.target {
        Target::Seed { .. } => {
            let storage = Storage::new(plan.clone(), end.clone(), inner.files.clone());
            let storage = Arc::new(match torrent.metainfo() {
                Some(metainfo) => storage.with_own_names(&metainfo.info),
                None => storage,
            });
            let report = match torrent.hashed && sizes_are_right(&storage) {
                true => Report { good: Bitfield::full(plan.geometry.piece_count()), ..Report::default() },
                false => verify(inner, torrent, &storage, saved, Look::Seed)?,
            };
            let (good, pieces) = (report.good.count(), report.good.len());
            if good < pieces {
                let bad = pieces - good;
                return Err(format!(
                    "{shown} is not what the torrent describes: {bad} of {pieces} pieces are bad or missing; get --in-place mends them"
                ));
            }
            Ok((storage, resume(report, None)))
        }
        Target::Get { in_place, .. } if *in_place || exists => {
            let storage = storage(end.clone());
            let report = verify(inner, torrent, &storage, saved, Look::Final)?;
            // Ours to mend: the user says so, or it was here that a node of this user put it.
            let ours = *in_place || saved.is_some_and(|s| s.at == end.path());
            if report.good.lacks_any_of(wanted) && exists && !ours {
                return Err(format!(
                    "{shown} exists and is something else, or has changed; move it away, choose another folder, or mend it with --in-place"
                ));
            }
            prepare(&storage, priorities)?;
            Ok((storage, resume(report, None)))
        }
        Target::Get { .. } => {
            let mut part = end.top.clone();
            part.push(".part");
            let storage = storage(Place::new(&end.parent, part));
            let saved = saved.filter(|s| s.at == storage.place().path());
            let report = verify(inner, torrent, &storage, saved, Look::Part)?;
            if saved.is_none() && report.good.count() == 0 && report.rotten > 0 {
                let shown = storage.place().path().display().to_string();
                return Err(format!(
                    "{shown} exists and does not belong to this torrent; move it away or choose another folder"
                ));
            }
            prepare(&storage, priorities)?;
            Ok((storage, resume(report, saved)))
        }
    }
}

fn prepare(storage: &Storage, priorities: &[FilePriority]) -> Result<(), String> {
    let wanted = |file: FileIndex| priorities.get(file.index()) != Some(&FilePriority::Skip);
    storage.prepare(wanted).map_err(|e| e.to_string())
}

/// What is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Look {
    /// The user's own content.
    Seed,
    /// What lies under the final name; it may have been made sparse by others.
    Final,
    /// A file of ours, whose holes were never written.
    Part,
}

/// Hashes what is not known to be good.
fn verify(
    inner: &Inner,
    torrent: &Torrent,
    storage: &Storage,
    saved: Option<&Saved>,
    look: Look,
) -> Result<Report, String> {
    let geometry = &storage.plan().geometry;
    let believed = saved.map_or_else(|| Bitfield::new(geometry.piece_count()), |s| believed(storage, s, &inner.boot));
    let mut unknown = Bitfield::new(geometry.piece_count());
    if storage.place().path().symlink_metadata().is_ok() {
        for i in believed.zeros() {
            unknown.set(i);
        }
    }
    let bytes = unknown.ones().filter_map(|i| geometry.piece(i)).map(|p| u64::from(geometry.piece_len(p))).sum();
    torrent.to_check.store(bytes, Ordering::Relaxed);
    let options = Options { threads: inner.threads, skip_holes: look == Look::Part, find_blocks: look != Look::Seed };
    let mut report = check::check(storage, &unknown, options, &torrent.meter).map_err(|e| e.to_string())?;
    if report.stopped {
        return Err("stopped while checking what is there".into());
    }
    for i in believed.ones() {
        report.good.set(i);
    }
    Ok(report)
}

/// Whether all files are there and as long as they should be.
fn sizes_are_right(storage: &Storage) -> bool {
    let files = storage.plan().layout.content().filter(|(_, f)| f.kind == FileKind::Content);
    files.into_iter().all(|(index, f)| storage.stamp(index).is_some_and(|stamp| stamp.size == f.len))
}

/// The pieces that the record calls good and whose files look as they did then.
fn believed(storage: &Storage, saved: &Saved, boot: &str) -> Bitfield {
    let plan = storage.plan();
    let mut out = Bitfield::new(plan.geometry.piece_count());
    if saved.good.len() != out.len() || !(saved.synced || saved.boot == boot) || saved.at != storage.place().path() {
        return out;
    }
    let mut same = vec![false; plan.layout.files().len()];
    for (file, stamp) in &saved.stamps {
        if let Some(same) = same.get_mut(file.index()) {
            *same = storage.stamp(*file) == Some(*stamp);
        }
    }
    for piece in saved.good.ones().filter_map(|i| plan.geometry.piece(i)) {
        let len = u64::from(plan.geometry.piece_len(piece));
        if plan.layout.spans(plan.geometry.piece_offset(piece), len).all(|s| s.pad || same[s.file.index()]) {
            out.set(piece.0);
        }
    }
    out
}

/// What the engine is told: what was found, and of incomplete pieces also what was recorded.
fn resume(report: Report, saved: Option<&Saved>) -> Resume {
    let mut partial: std::collections::BTreeMap<PieceIndex, Bitfield> = report.partial.into_iter().collect();
    for (piece, blocks) in saved.map(|s| &s.partial[..]).unwrap_or_default() {
        if let Some(found) = partial.get_mut(piece).filter(|f| f.len() == blocks.len()) {
            for b in blocks.ones() {
                found.set(b);
            }
        }
    }
    // A piece all of whose blocks are there was hashed, and is bad.
    partial.retain(|_, blocks| !blocks.is_full());
    Resume { have: Some(report.good), partial: partial.into_iter().collect(), check: None }
}

/// The pieces under the files that are wanted.
fn wanted_pieces(plan: &Plan, priorities: &[FilePriority]) -> Bitfield {
    let mut wanted = Bitfield::new(plan.geometry.piece_count());
    for piece in plan.geometry.pieces() {
        let spans = plan.layout.spans(plan.geometry.piece_offset(piece), u64::from(plan.geometry.piece_len(piece)));
        let skipped = |file: FileIndex| priorities.get(file.index()) == Some(&FilePriority::Skip);
        if spans.filter(|s| !s.pad).any(|s| !skipped(s.file)) {
            wanted.set(piece.0);
        }
    }
    wanted
}

/// Gives the content its final name and tells that it is complete. Doing it twice does nothing.
pub(super) async fn finish(inner: Arc<Inner>, torrent: Arc<Torrent>) {
    let Some(open) = torrent.state().open.clone() else { return };
    if std::mem::replace(&mut torrent.state().complete, true) {
        return;
    }
    let path = open.end.path();
    let renamed = {
        let (storage, end) = (open.storage.clone(), open.end.clone());
        tokio::task::spawn_blocking(move || storage.rename(&end)).await
    };
    match renamed {
        Ok(Ok(())) => {
            inner.save_one(&torrent).await;
            inner.event(torrent.id, Event::Complete { path });
            tokio::spawn(sync(Arc::downgrade(&inner), torrent));
        }
        Ok(Err(e)) => {
            torrent.state().complete = false;
            let hint = if Path::exists(&path) { "; something else was put there in the meantime" } else { "" };
            torrent.fail(
                &inner,
                format!("{e}{hint}; the content is complete at {}", open.storage.place().path().display()),
            );
        }
        Err(e) => torrent.fail(&inner, format!("finishing has failed: {e}")),
    }
}

/// Brings complete content to the medium a while after, when nobody waits for it any more. Until then, and for a node
/// that ends before, a restart of the machine means hashing again.
async fn sync(inner: Weak<Inner>, torrent: Arc<Torrent>) {
    tokio::time::sleep(SYNC_DELAY).await;
    let Some(inner) = inner.upgrade() else { return };
    let (tx, rx) = oneshot::channel();
    inner.inbox.put_one(Msg::Disk(Work::Sync(torrent.id, tx)));
    match rx.await {
        Ok(Ok(())) => {
            if let Some(open) = &mut torrent.state().open {
                open.synced = true;
            }
            inner.save_one(&torrent).await;
        }
        Ok(Err(e)) => tracing::warn!("{e}"),
        // The node has ended.
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FileCache;
    use base::{Checks, Geometry, Layout};

    #[test]
    fn a_record_is_believed_in_its_own_boot_or_once_synced_and_of_files_that_nobody_touched() {
        let dir = tempfile::tempdir().unwrap();
        let (geometry, layout) = (Geometry::new(100, 50, 50).unwrap(), Layout::single("f".into(), 100, false));
        let plan = Arc::new(Plan { geometry, layout, checks: Checks::default() });
        let place = Place::new(dir.path(), "f");
        std::fs::write(place.path(), [1; 100]).unwrap();
        let storage = Storage::new(plan, place.clone(), Arc::new(FileCache::new(4)));
        let stamps = vec![(FileIndex(0), storage.stamp(FileIndex(0)).unwrap())];
        let mut saved =
            Saved { at: place.path(), good: Bitfield::full(2), stamps, boot: "then".into(), ..Saved::default() };
        assert!(believed(&storage, &saved, "then").is_full(), "killed, and started again");
        assert_eq!(believed(&storage, &saved, "now").count(), 0, "the power went: what was not synced may be lost");
        saved.synced = true;
        assert!(believed(&storage, &saved, "now").is_full(), "it had reached the medium");
        std::fs::write(place.path(), [1; 99]).unwrap();
        assert_eq!(believed(&storage, &saved, "then").count(), 0, "somebody changed the file");
    }
}
