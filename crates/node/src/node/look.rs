//! Finding out where the content of a torrent lies, what of it is there, what of that is believed.
//!
//! `get` writes to `NAME.part` beside the final name. What lies under the final name is verified first: if it is the
//! content, there is nothing to do; if it is something else, or somebody has changed it since a node fetched it there, it is left alone
//! unless the user says `--in-place`. `seed` never writes.

use super::Inner;
use super::open::Content;
use super::save::stamps_of;
use super::torrent::{Target, Torrent, Wish};
use crate::disk::check::{self, Options, Report};
use crate::disk::{Place, Stamp, Storage};
use crate::state::Saved;
use base::{Bitfield, FileIndex, FileKind, Metainfo, PieceIndex, Plan};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use swarm::{FilePriority, Resume};

/// A torrent that is being opened.
pub(super) struct Task {
    pub(super) torrent: Arc<Torrent>,
    metainfo: Option<Arc<Metainfo>>,
    pub(super) plan: Arc<Plan>,
    /// Where the content shall lie in the end.
    pub(super) end: Place,
    pub(super) priorities: Vec<FilePriority>,
    /// What the saved state says of it.
    pub(super) saved: Option<Saved>,
    /// Where something else of ours lies that should have ended in the same place.
    pub(super) stale: Option<PathBuf>,
    wish: Arc<Wish>,
    wanted: Bitfield,
}

/// What was found.
pub(super) struct Found {
    pub(super) storage: Arc<Storage>,
    pub(super) resume: Resume,
    /// Nothing that is wanted is missing.
    pub(super) complete: bool,
    /// All of it was known before.
    pub(super) known: bool,
    /// How its files looked before any of it was hashed, where nothing more is written to them: what somebody does to them meanwhile must
    /// not look as if it had been hashed.
    pub(super) stamps: Option<Vec<(FileIndex, Stamp)>>,
}

/// How much may be done to find out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effort {
    /// Compare the files with the saved state.
    Glance,
    /// Hash what is not known.
    Hash,
}

impl Task {
    /// Looks where its content shall lie.
    pub(super) fn new(torrent: Arc<Torrent>, content: Content) -> Result<Self, String> {
        let (plan, metainfo) = match content {
            Content::Torrent(metainfo) => {
                let plan = metainfo
                    .plan()
                    .ok_or("this v2 torrent comes without the hashes of its pieces; get it by its .torrent file")?;
                (Arc::new(plan), Some(metainfo))
            }
            Content::Plain(plan) => (plan, None),
        };
        let wish = torrent.state().wish.clone().ok_or("it is open already")?;
        let end = end_of(&wish.target, &plan)?;
        let priorities = wish.select.as_ref().map(|select| select(&plan.layout)).unwrap_or_default();
        let wanted = wanted_pieces(&plan, &priorities);
        Ok(Task { torrent, metainfo, plan, end, priorities, saved: None, stale: None, wish, wanted })
    }

    /// Keeps everybody else away from where it will be written.
    pub(super) fn claim(self, inner: &Inner) -> Result<Self, String> {
        if let Target::Get { in_place, .. } = &self.wish.target {
            let claim = inner.claims.claim(&self.end.path(), *in_place, self.plan.layout.name())?;
            self.torrent.state().claim = Some(claim);
        }
        Ok(self)
    }

    /// Finds out where the content lies and what of it is good. Takes as long as hashing does; None: without hashing,
    /// nobody knows.
    pub(super) fn look(&self, inner: &Inner, effort: Effort) -> Result<Option<Found>, String> {
        let (plan, end, saved) = (&self.plan, &self.end, self.saved.as_ref());
        let skipped = |file: FileIndex| self.priorities.get(file.index()) == Some(&FilePriority::Skip);
        let mut parts = std::ffi::OsString::from(".");
        parts.push(&end.top);
        parts.push(".parts");
        let parts = end.parent.join(parts);
        let storage = |place| {
            let storage = Storage::new(plan.clone(), place, inner.files.clone());
            Arc::new(if self.priorities.is_empty() { storage } else { storage.hiding(parts.clone(), |f| !skipped(f)) })
        };
        let verify = |storage: &Storage, saved, look| verify(inner, &self.torrent, storage, saved, (look, effort));
        let shown = || end.path().display().to_string();
        let exists = end.path().symlink_metadata().is_ok();
        let mut stamps = None;
        let (storage, (report, known), saved) = match &self.wish.target {
            Target::Seed { .. } => {
                let storage = Storage::new(plan.clone(), end.clone(), inner.files.clone());
                let storage = match &self.metainfo {
                    Some(metainfo) => Arc::new(storage.with_own_names(&metainfo.info)),
                    None => Arc::new(storage),
                };
                stamps = Some(stamps_of(&storage));
                let looked = match self.wish.hashed && sizes_are_right(&storage) {
                    true => {
                        let good = Bitfield::full(plan.geometry.piece_count());
                        (Report { good, ..Report::default() }, false)
                    }
                    false => match verify(&storage, saved, Look::Seed)? {
                        Some(looked) => looked,
                        None => return Ok(None),
                    },
                };
                let (good, pieces) = (looked.0.good.count(), looked.0.good.len());
                if good < pieces {
                    let (shown, bad) = (shown(), pieces - good);
                    return Err(format!(
                        "{shown} is not what the torrent describes: {bad} of {pieces} pieces are bad or missing; get --in-place mends them"
                    ));
                }
                (storage, looked, None)
            }
            Target::Get { in_place, .. } if *in_place || exists => {
                let storage = storage(end.clone());
                // Killed while it was written in place: a file of ours, and what was recorded counts.
                let killed = saved.filter(|s| *in_place && !s.complete && s.at == end.path());
                let killed = killed.filter(|s| plan.checks_pieces() || s.synced || s.boot == inner.boot);
                let look = if killed.is_some() { Look::Part } else { Look::Final };
                stamps = Some(stamps_of(&storage));
                let Some(mut looked) = verify(&storage, saved, look)? else { return Ok(None) };
                let compared = match look {
                    Look::Part => false,
                    _ => !plan.checks_pieces() || (looked.1 && saved.is_some_and(|s| s.complete)),
                };
                if looked.0.good.is_full() && plan.compares_whole() && !compared {
                    if effort == Effort::Glance {
                        return Ok(None);
                    }
                    if !compare_whole(&self.torrent, &storage)? {
                        looked.0 = Report { good: Bitfield::new(plan.geometry.piece_count()), ..Report::default() };
                    }
                }
                // Ours to write to: the user says so, or a node of this user put it here, and nobody has changed it since.
                let here = saved.filter(|s| s.at == end.path());
                let ours = *in_place || here.is_some_and(|saved| !is_altered(&storage, saved, &looked.0.good));
                let other = looked.0.good.lacks_any_of(&self.wanted) || is_longer(&storage);
                if other && exists && !ours {
                    let shown = shown();
                    return Err(format!(
                        "{shown} exists and is something else, or has changed; move it away, choose another folder, or mend it with --in-place"
                    ));
                }
                prepare(&storage, &self.priorities)?;
                (storage, looked, killed)
            }
            Target::Get { .. } => {
                let mut part = end.top.clone();
                part.push(".part");
                let storage = storage(Place::new(&end.parent, part));
                let part = storage.place().path();
                let saved = saved.filter(|s| s.at == part);
                if !plan.checks_pieces() && saved.is_none() && part.symlink_metadata().is_ok() {
                    // Nothing tells good bytes from others, so these must be known to be ours, and of this version.
                    if self.stale.as_deref() != Some(&*part) {
                        let shown = part.display();
                        return Err(format!("{shown} exists already; move it away or choose another folder"));
                    }
                    std::fs::remove_file(&part).map_err(|e| format!("can't begin {} anew: {e}", part.display()))?;
                }
                // Bytes that nothing checks are believed only if they can't have been lost since.
                let saved = saved.filter(|s| plan.checks_pieces() || s.synced || s.boot == inner.boot);
                let Some(looked) = verify(&storage, saved, Look::Part)? else { return Ok(None) };
                if saved.is_none() && looked.0.good.count() == 0 && looked.0.rotten > 0 {
                    let shown = storage.place().path().display().to_string();
                    return Err(format!(
                        "{shown} exists and does not belong to this torrent; move it away or choose another folder"
                    ));
                }
                prepare(&storage, &self.priorities)?;
                (storage, looked, saved)
            }
        };
        let complete = !report.good.lacks_any_of(&self.wanted);
        let stamps = stamps.filter(|_| complete);
        Ok(Some(Found { resume: resume(report, saved, plan.checks_pieces()), storage, complete, known, stamps }))
    }
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

/// Hashes what is not known to be good, if that much effort is allowed. Says also whether all was known before.
fn verify(
    inner: &Inner,
    torrent: &Torrent,
    storage: &Storage,
    saved: Option<&Saved>,
    (look, effort): (Look, Effort),
) -> Result<Option<(Report, bool)>, String> {
    let geometry = &storage.plan().geometry;
    let believed = saved.map_or_else(
        || Bitfield::new(geometry.piece_count()),
        |s| believed(storage, s, &inner.boot, look == Look::Part && !storage.plan().checks_pieces()),
    );
    if believed.is_full() {
        return Ok(Some((Report { good: believed, ..Report::default() }, true)));
    }
    if !storage.plan().checks_pieces() {
        if let (Look::Final, Some(_)) = (look, storage.plan().whole) {
            if effort == Effort::Glance {
                return Ok(None);
            }
            if compare_whole(torrent, storage)? {
                let good = Bitfield::full(geometry.piece_count());
                return Ok(Some((Report { good, ..Report::default() }, false)));
            }
        }
        return Ok(Some((Report { good: believed, ..Report::default() }, true)));
    }
    let mut unknown = Bitfield::new(geometry.piece_count());
    if storage.place().path().symlink_metadata().is_ok() {
        for i in believed.zeros() {
            unknown.set(i);
        }
    }
    if effort == Effort::Glance && unknown.count() > 0 {
        return Ok(None);
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
    Ok(Some((report, false)))
}

/// Whether all bytes have the digest that all of them should have.
fn compare_whole(torrent: &Torrent, storage: &Storage) -> Result<bool, String> {
    torrent.meter.bytes.store(0, Ordering::Relaxed);
    torrent.to_check.store(storage.plan().layout.content_len(), Ordering::Relaxed);
    let right = check::check_whole(storage, &torrent.meter).map_err(|e| e.to_string())?;
    match torrent.meter.stop.load(Ordering::Relaxed) {
        true => Err("stopped while checking what is there".into()),
        false => Ok(right),
    }
}

/// Whether all files are there and as long as they should be.
fn sizes_are_right(storage: &Storage) -> bool {
    let files = storage.plan().layout.content().filter(|(_, f)| f.kind == FileKind::Content);
    files.into_iter().all(|(index, f)| storage.stamp(index).is_some_and(|stamp| stamp.size == f.len))
}

/// Whether a file has more bytes than it should.
fn is_longer(storage: &Storage) -> bool {
    let mut files = storage.plan().layout.content().filter(|(_, f)| f.kind == FileKind::Content);
    files.any(|(index, f)| storage.stamp(index).is_some_and(|stamp| stamp.size > f.len))
}

/// Whether somebody has changed a file since this was recorded. What is only gone may come again, and what was only touched is the same.
fn is_altered(storage: &Storage, saved: &Saved, good: &Bitfield) -> bool {
    let changed = |(file, then): &(FileIndex, Stamp)| storage.stamp(*file).is_some_and(|now| now != *then);
    (good.lacks_any_of(&saved.good) || is_longer(storage)) && saved.stamps.iter().any(changed)
}

/// The pieces that the record calls good and whose files look as they did then. `written`: nothing but the record can tell, which
/// was made after the bytes were written, so that a kill in between changes nothing.
fn believed(storage: &Storage, saved: &Saved, boot: &str, written: bool) -> Bitfield {
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
        let there =
            |s: &base::Span| written && storage.stamp(s.file).is_some_and(|stamp| stamp.size >= s.offset + s.len);
        let spans = plan.layout.spans(plan.geometry.piece_offset(piece), len);
        if spans.into_iter().all(|s| s.pad || same[s.file.index()] || there(&s)) {
            out.set(piece.0);
        }
    }
    out
}

/// What the engine is told: what was found, and of incomplete pieces also what was recorded.
fn resume(report: Report, saved: Option<&Saved>, checked: bool) -> Resume {
    let mut partial: std::collections::BTreeMap<PieceIndex, Bitfield> = report.partial.into_iter().collect();
    for (piece, blocks) in saved.map(|s| &s.partial[..]).unwrap_or_default() {
        if !checked && !report.good.has(piece.0) {
            partial.insert(*piece, blocks.clone());
        }
        if let Some(found) = partial.get_mut(piece).filter(|f| f.len() == blocks.len()) {
            for b in blocks.ones() {
                found.set(b);
            }
        }
    }
    // A piece all of whose blocks are there was hashed, and is bad.
    partial.retain(|_, blocks| !blocks.is_full() || !checked);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::FileCache;
    use base::{Checks, Geometry, Layout};

    #[test]
    fn a_record_is_believed_in_its_own_boot_or_once_synced_and_of_files_that_nobody_touched() {
        let dir = tempfile::tempdir().unwrap();
        let (geometry, layout) = (Geometry::new(100, 50, 50).unwrap(), Layout::single("f".into(), 100, false));
        let plan = Arc::new(Plan::new(geometry, layout, Checks::default()));
        let place = Place::new(dir.path(), "f");
        std::fs::write(place.path(), [1; 100]).unwrap();
        let storage = Storage::new(plan, place.clone(), Arc::new(FileCache::new(4)));
        let stamps = vec![(FileIndex(0), storage.stamp(FileIndex(0)).unwrap())];
        let mut saved =
            Saved { at: place.path(), good: Bitfield::full(2), stamps, boot: "then".into(), ..Saved::default() };
        assert!(believed(&storage, &saved, "then", false).is_full(), "killed, and started again");
        assert_eq!(
            believed(&storage, &saved, "now", false).count(),
            0,
            "the power went: what was not synced may be lost"
        );
        saved.synced = true;
        assert!(believed(&storage, &saved, "now", false).is_full(), "it had reached the medium");
        std::fs::write(place.path(), [1; 99]).unwrap();
        assert_eq!(believed(&storage, &saved, "then", false).count(), 0, "somebody changed the file");
    }
}
