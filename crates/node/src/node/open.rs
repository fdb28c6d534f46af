//! Opening and finishing the files of torrents, many at a time: what they have in common, a query and a transaction of the
//! saved state, is done once for all that wait.
//!
//! A torrent whose files are as the saved state says is opened at once. The others are hashed apart, a few at a time, and
//! come back here when that is done.

use super::Inner;
use super::event::Event;
use super::look::{Effort, Found, Task};
use super::save::{self, Stamps};
use super::torrent::{Known, Open, Torrent};
use crate::disk::worker::Work;
use crate::disk::{self, Place, check};
use crate::disk::{Progress, Stamp, Storage};
use crate::driver::Msg;
use crate::state::{Glimpse, Row, Saved};
use base::metainfo::Layers;
use base::{FileIndex, Info, Metainfo, Plan};
use engine::{Command, Input};
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;
use tokio::sync::oneshot;

/// Time from completion to the sync.
const SYNC_DELAY: Duration = Duration::from_secs(5);
/// Torrents opened together. Further ones wait for the next turn, so that what they hold meanwhile can be used again.
const BATCH_MAX: usize = 512;
/// Small torrents that one hasher hands on together.
const TOGETHER_MAX: usize = 16;
/// Their bytes: what is hashed in a few milliseconds.
const TOGETHER_BYTES_MAX: u64 = 8 << 20;

/// Torrents that wait to be opened, and whether somebody is at it.
#[derive(Default)]
pub(super) struct Opening {
    waiting: Vec<Waiting>,
    busy: bool,
}

enum Waiting {
    /// Just added, or its metainfo came.
    New(Arc<Torrent>, Content),
    /// Looked at.
    Looked(Box<Looked>),
}

/// What is known of the content.
#[derive(Clone, Debug)]
pub(super) enum Content {
    /// A torrent.
    Torrent(Arc<Metainfo>),
    /// No torrent.
    Plain(Arc<Plan>),
}

struct Looked {
    torrent: Arc<Torrent>,
    result: Result<(Task, Found), String>,
}

impl std::fmt::Debug for Opening {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opening").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

/// The info dictionary came from peers.
pub(super) fn metadata(inner: &Arc<Inner>, torrent: &Arc<Torrent>, raw: &[u8]) {
    match Info::parse(raw) {
        Ok(info) => {
            let metainfo = Arc::new(Metainfo::bare(info, Layers::none()));
            torrent.state().metainfo = Some(metainfo.clone());
            torrent.set_names(&metainfo);
            inner.event(torrent.id, Event::Metadata);
            open(inner, [(torrent.clone(), Content::Torrent(metainfo))]);
        }
        Err(e) => torrent.fail(inner, format!("the torrent that peers sent can't be used: {e}")),
    }
}

/// Looks at what is there, and lets the engine begin.
pub(super) fn open(inner: &Arc<Inner>, torrents: impl IntoIterator<Item = (Arc<Torrent>, Content)>) {
    put(inner, torrents.into_iter().map(|(torrent, content)| Waiting::New(torrent, content)));
}

fn put(inner: &Arc<Inner>, more: impl IntoIterator<Item = Waiting>) {
    let mut opening = inner.opening.lock().unwrap_or_else(PoisonError::into_inner);
    opening.waiting.extend(more);
    if !opening.waiting.is_empty() && !std::mem::replace(&mut opening.busy, true) {
        tokio::spawn(run(inner.clone()));
    }
}

/// Opens until nothing waits any more.
async fn run(inner: Arc<Inner>) {
    while let Some(batch) = next(&inner) {
        let (mut new, mut looked) = (Vec::new(), Vec::new());
        for waiting in batch {
            match waiting {
                Waiting::New(torrent, content) => new.push((torrent, content)),
                Waiting::Looked(one) => looked.push(*one),
            }
        }
        looked.extend(glance(&inner, new).await);
        begin(&inner, looked).await;
    }
}

fn next(inner: &Inner) -> Option<Vec<Waiting>> {
    let opening = &mut *inner.opening.lock().unwrap_or_else(PoisonError::into_inner);
    let n = opening.waiting.len().min(BATCH_MAX);
    opening.busy = n > 0;
    let rest = opening.waiting.split_off(n);
    Some(std::mem::replace(&mut opening.waiting, rest)).filter(|batch| !batch.is_empty())
}

/// Compares files with the saved state. What has to be hashed comes later.
async fn glance(inner: &Arc<Inner>, new: Vec<(Arc<Torrent>, Content)>) -> Vec<Looked> {
    if new.is_empty() {
        return Vec::new();
    }
    let all: Vec<Arc<Torrent>> = new.iter().map(|(torrent, _)| torrent.clone()).collect();
    match try_glance(inner, new).await {
        Ok(looked) => looked,
        Err(e) => all.into_iter().map(|torrent| Looked { torrent, result: Err(e.clone()) }).collect(),
    }
}

async fn try_glance(inner: &Arc<Inner>, new: Vec<(Arc<Torrent>, Content)>) -> Result<Vec<Looked>, String> {
    let tasks = {
        let inner = inner.clone();
        let task = move |torrent: &Arc<Torrent>, content| Task::new(torrent.clone(), content)?.claim(&inner);
        move || -> Vec<(Arc<Torrent>, Result<Task, String>)> {
            new.into_iter().map(|(torrent, content)| (torrent.clone(), task(&torrent, content))).collect()
        }
    };
    let mut tasks = blocking(tasks).await?;
    let paths: Vec<_> = tasks.iter().filter_map(|(_, task)| Some(task.as_ref().ok()?.end.path())).collect();
    let mut saved = inner.store.load(&paths).await.map_err(|e| e.to_string())?;
    for task in tasks.iter_mut().filter_map(|(_, task)| task.as_mut().ok()) {
        let saved = saved.remove(&task.end.path());
        match saved {
            Some(saved) if saved.hashes == task.torrent.hashes() => task.saved = Some(saved),
            Some(saved) => task.stale = Some(saved.at),
            None => {}
        }
    }
    let (looked, slow) = {
        let inner = inner.clone();
        let look = move || {
            let (mut looked, mut slow) = (Vec::new(), Vec::new());
            for (torrent, task) in tasks {
                match task.and_then(|task| Ok((task.look(&inner, Effort::Glance)?, task))) {
                    Ok((Some(found), task)) => looked.push(Looked { torrent, result: Ok((task, found)) }),
                    Ok((None, task)) => slow.push(task),
                    Err(e) => looked.push(Looked { torrent, result: Err(e) }),
                }
            }
            (looked, slow)
        };
        blocking(look).await?
    };
    let hashers = inner.threads.min(slow.len());
    let slow = Arc::new(Mutex::new(slow.into_iter()));
    for _ in 0..hashers {
        tokio::spawn(hash(inner.clone(), slow.clone()));
    }
    Ok(looked)
}

/// Hashes one torrent after the other. Small ones are handed on together, so that they share a transaction however fast
/// the disk is; none of them waits for a long one.
async fn hash(inner: Arc<Inner>, tasks: Arc<Mutex<std::vec::IntoIter<Task>>>) {
    let next = || tasks.lock().unwrap_or_else(PoisonError::into_inner).next();
    let (mut done, mut bytes) = (Vec::new(), 0);
    while let Some(task) = next() {
        bytes += task.plan.layout.total();
        let permit = inner.checks.try_acquire().ok();
        if permit.is_none() || done.len() >= TOGETHER_MAX || bytes > TOGETHER_BYTES_MAX {
            put(&inner, done.drain(..));
            bytes = task.plan.layout.total();
        }
        let _permit = match permit {
            Some(permit) => Ok(permit),
            None => inner.checks.acquire().await,
        };
        let torrent = task.torrent.clone();
        let look = {
            let inner = inner.clone();
            move || match task.look(&inner, Effort::Hash)? {
                Some(found) => Ok((task, found)),
                None => Err("checking has led to nothing".into()),
            }
        };
        let result = blocking(look).await.and_then(|result| result);
        done.push(Waiting::Looked(Box::new(Looked { torrent, result })));
    }
    put(&inner, done);
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, String> {
    tokio::task::spawn_blocking(work).await.map_err(|e| format!("checking has failed: {e}"))
}

/// Lets the engine begin with what was looked at.
async fn begin(inner: &Arc<Inner>, looked: Vec<Looked>) {
    let (mut rows, mut messages, mut events) = (Vec::new(), Vec::new(), Vec::new());
    let (mut complete, mut to_finish) = (Vec::new(), Vec::new());
    for Looked { torrent, result } in looked {
        torrent.to_check.store(0, Ordering::Relaxed);
        let (task, found) = match result {
            Ok(found) => found,
            Err(error) => {
                torrent.state().claim = None;
                torrent.fail(inner, error);
                continue;
            }
        };
        if !inner.lock().all.contains_key(&torrent.id) {
            torrent.state().claim = None;
            continue;
        }
        let (storage, resume) = (found.storage, found.resume);
        let good = resume.have.clone().unwrap_or_default();
        // Of what is all there, nothing is ever written.
        let progress = (!good.is_full()).then(|| Progress::new(good.clone(), resume.partial.clone()));
        let place = storage.place();
        let there = place == task.end;
        let synced = found.known && task.saved.as_ref().is_some_and(|s| s.synced);
        {
            let state = &mut *torrent.state();
            state.open = Some(Open {
                storage: storage.clone(),
                progress: progress.clone(),
                end: (!there).then(|| Box::new(task.end.clone())),
                synced,
                saved: Known::NOTHING,
            });
            state.complete = found.complete && there;
            state.wish = None;
        }
        let mut stamps = Vec::new();
        let looked_like = found.stamps.map_or(Stamps::Now, Stamps::Then);
        if let Some((row, known)) = inner.row(&torrent, looked_like) {
            if found.complete && there && !synced {
                stamps.clone_from(&row.saved.stamps);
            }
            match task.saved.filter(|saved| is_saved(saved, &row)) {
                Some(_) => save::saved(&torrent, known),
                None => rows.push((torrent.clone(), row, known)),
            }
        }
        if let Some(progress) = progress {
            messages.push(Msg::Disk(Work::Open(torrent.id, storage.clone(), progress)));
        }
        messages.push(Msg::Storage(torrent.id, Some(storage)));
        let open = Command::Open { plan: task.plan, resume, priorities: task.priorities };
        messages.push(Msg::Input(Input::Command(torrent.id, open)));
        events.push((torrent.id, Event::Opened { good: good.count(), pieces: good.len(), path: place.path() }));
        match (found.complete, there) {
            (true, true) => {
                events.push((torrent.id, Event::Complete { path: place.path() }));
                if !synced {
                    complete.push((torrent, stamps));
                }
            }
            (true, false) => to_finish.push(torrent),
            (false, _) => drop(inner.lock().fetching.insert(torrent.id, torrent)),
        }
    }
    // The rows come before the first byte: what a kill leaves behind is known as ours.
    inner.save_rows(rows).await;
    inner.loops.put(&mut messages);
    inner.events(events).await;
    if !complete.is_empty() {
        tokio::spawn(sync_later(Arc::downgrade(inner), complete));
    }
    for torrent in to_finish {
        finish(inner.clone(), torrent).await;
    }
}

/// Does the saved state say this already?
fn is_saved(saved: &Saved, row: &Row) -> bool {
    // Once it is synced, it does not matter when.
    let boot = if saved.synced { row.saved.boot.clone() } else { saved.boot.clone() };
    let metainfo = row.metainfo.as_deref().map(Glimpse::of).unwrap_or_default();
    Saved { boot, ..saved.clone() } == Saved { metainfo, ..row.saved.clone() }
}

/// Gives the content its final name and tells that it is complete. Doing it twice does nothing.
pub(super) async fn finish(inner: Arc<Inner>, torrent: Arc<Torrent>) {
    let Some(open) = torrent.state().open.clone() else { return };
    {
        let state = &mut *torrent.state();
        if state.complete || std::mem::replace(&mut state.finishing, true) {
            return;
        }
    }
    let end = open.end();
    let path = end.path();
    if open.storage.plan().compares_whole()
        && let Err(error) = check_whole(&inner, &torrent, &open.storage, &path).await
    {
        torrent.state().finishing = false;
        torrent.fail(&inner, error);
        return;
    }
    let renamed = {
        let storage = open.storage.clone();
        tokio::task::spawn_blocking(move || storage.rename(&end)).await
    };
    let is_done = matches!(renamed, Ok(Ok(())));
    {
        let state = &mut *torrent.state();
        (state.complete, state.finishing) = (is_done, false);
        if let Some(open) = state.open.as_mut().filter(|_| is_done) {
            open.end = None;
        }
    }
    match renamed {
        Ok(Ok(())) => {
            let saved = inner.row(&torrent, Stamps::Now);
            let stamps = saved.as_ref().map(|(row, _)| row.saved.stamps.clone()).unwrap_or_default();
            inner.save_rows(saved.into_iter().map(|(row, known)| (torrent.clone(), row, known)).collect()).await;
            inner.lock().fetching.remove(&torrent.id);
            inner.event(torrent.id, Event::Complete { path });
            tokio::spawn(sync_later(Arc::downgrade(&inner), vec![(torrent, stamps)]));
        }
        Ok(Err(e)) => {
            let hint = if Path::exists(&path) { "; something else was put there in the meantime" } else { "" };
            torrent.fail(
                &inner,
                format!("{e}{hint}; the content is complete at {}", open.storage.place().path().display()),
            );
        }
        Err(e) => torrent.fail(&inner, format!("finishing has failed: {e}")),
    }
}

/// What has no digests of pieces, or weak ones, is compared with its one digest when all of it is there. If it is something else, it is put
/// aside: nothing of it can be used, and the next try begins anew.
async fn check_whole(
    inner: &Arc<Inner>,
    torrent: &Arc<Torrent>,
    storage: &Arc<Storage>,
    path: &Path,
) -> Result<(), String> {
    torrent.meter.bytes.store(0, Ordering::Relaxed);
    torrent.to_check.store(storage.plan().layout.content_len(), Ordering::Relaxed);
    let right = {
        let (storage, torrent) = (storage.clone(), torrent.clone());
        blocking(move || check::check_whole(&storage, &torrent.meter)).await?.map_err(|e| e.to_string())
    };
    torrent.to_check.store(0, Ordering::Relaxed);
    if right? {
        return Ok(());
    }
    if torrent.meter.stop.load(Ordering::Relaxed) {
        return Err("stopped while checking what has come".into());
    }
    let at = storage.place().path();
    inner.lock().fetching.remove(&torrent.id);
    inner.saved(inner.store.delete(path).await);
    let _claim = {
        let state = &mut *torrent.state();
        state.open = None;
        state.claim.take()
    };
    let moved = put_aside(&at, path).map_err(|e| format!(", and can't be put aside: {e}"));
    let place = moved.map_or_else(|e| e, |aside| format!("; it was put aside as {}", aside.display()));
    Err(format!("what came does not have the digest that it should have{place}"))
}

/// Files of one name that are put aside.
const ASIDE_MAX: u32 = 1_000;

/// Renames what is at `at` to `NAME.wrong` beside `end`, or `NAME.wrong.2` and so on: never over what is there. Says to what.
fn put_aside(at: &Path, end: &Path) -> Result<PathBuf, String> {
    let parent = |path: &Path| path.parent().map(Path::to_owned).unwrap_or_default();
    let top = |path: &Path| path.file_name().unwrap_or_default().to_owned();
    for n in 1..=ASIDE_MAX {
        let mut name = top(end);
        name.push(if n == 1 { ".wrong".to_owned() } else { format!(".wrong.{n}") });
        let to = Place::new(parent(end), name);
        match disk::rename(&Place::new(parent(at), top(at)), &to) {
            Ok(()) => return Ok(to.path()),
            Err(_) if to.path().symlink_metadata().is_ok() => {}
            Err(e) => return Err(e.to_string()),
        }
    }
    Err("too many are aside already".into())
}

/// Torrents that are complete, and how their files looked then.
pub(super) type Complete = Vec<(Arc<Torrent>, Vec<(FileIndex, Stamp)>)>;

/// Brings complete content to the medium a while after, when nobody waits for it any more. Until then, and for a node
/// that ends before, a restart of the machine means hashing again.
async fn sync_later(inner: Weak<Inner>, torrents: Complete) {
    tokio::time::sleep(SYNC_DELAY).await;
    if let Some(inner) = inner.upgrade() {
        sync(&inner, torrents).await;
    }
}

/// The same at once.
pub(super) async fn sync(inner: &Arc<Inner>, torrents: Complete) {
    let mut synced = Vec::with_capacity(torrents.len());
    for (torrent, stamps) in torrents {
        // What was there when it was opened was not written by us.
        let written = torrent.state().open.as_ref().is_some_and(|open| open.progress.is_some());
        if written {
            let (tx, rx) = oneshot::channel();
            inner.loops.put_one(Msg::Disk(Work::Sync(torrent.id, tx)));
            match rx.await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => {
                    tracing::warn!("{e}");
                    continue;
                }
                // The node has ended.
                Err(_) => return,
            }
        }
        if let Some(open) = &mut torrent.state().open {
            open.synced = true;
        }
        synced.push((torrent, stamps));
    }
    // Of what was removed meanwhile nothing is known any more: others may have written to its files.
    synced.retain(|(torrent, _)| inner.lock().all.contains_key(&torrent.id));
    let row = |(torrent, stamps): (Arc<Torrent>, Vec<(FileIndex, Stamp)>)| {
        inner.row(&torrent, Stamps::Then(stamps)).map(|(row, known)| (torrent, row, known))
    };
    inner.save_rows(synced.into_iter().filter_map(row).collect()).await;
}
