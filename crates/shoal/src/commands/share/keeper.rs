//! Looks after what is shared: what changed loses its seed at once, and gets a new torrent.
//!
//! Changes are noticed when somebody asks for the bytes, and by looking at everything now and then. What is still being
//! written is tried again, less and less often.

use super::sharer::Sharer;
use crate::failure::Failure;
use crate::progress::Line;
use crate::say::{Voice, printable};
use crate::signals;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use web::{Finder, Unmade};

/// Time between two looks at everything, unless looking itself takes long.
const LOOK_TIME: Duration = Duration::from_secs(2);
/// Looking takes at most this share of the time.
const LOOK_SHARE: u32 = 20;
/// Time until what could not be hashed is tried again: the first one, doubled each time up to the last.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Most names of a folder that are hashed without anybody having asked for them.
const UNASKED_MAX: usize = 1_000;

/// Looks after what a [`Sharer`] shares.
pub struct Keeper<'a> {
    sharer: &'a Sharer,
    line: &'a Line,
    failed: Arc<Notify>,
    /// A folder all of which is shared, and what finds names in it.
    folder: Option<(PathBuf, Finder)>,
    unasked: usize,
    /// What could not be hashed: when it is tried again, how long that was waited for, and why.
    waiting: BTreeMap<String, (Instant, Duration, String)>,
}

impl<'a> Keeper<'a> {
    /// `failed` tells of seeds that failed.
    pub fn new(sharer: &'a Sharer, line: &'a Line, failed: Arc<Notify>, folder: Option<(PathBuf, Finder)>) -> Self {
        Keeper { sharer, line, failed, folder, unasked: 0, waiting: BTreeMap::new() }
    }

    /// Goes on until the user wants an end, or nothing is left.
    pub async fn run(&mut self) -> Result<(), Failure> {
        let mut pause = LOOK_TIME;
        loop {
            self.renew().await?;
            let next = self.waiting.values().map(|(at, ..)| *at).min();
            let look = Instant::now() + pause;
            tokio::select! {
                () = self.sharer.site.work() => continue,
                () = tokio::time::sleep_until(next.map_or(look, |next| next.min(look))) => {}
                () = self.failed.notified() => {}
            }
            let started = Instant::now();
            self.sharer.look_at_all().await;
            pause = LOOK_TIME.max(started.elapsed() * LOOK_SHARE);
            if self.folder.is_none() && self.sharer.is_idle() {
                return Err(Failure::Said);
            }
        }
    }

    /// Makes a torrent of everything that lacks one.
    async fn renew(&mut self) -> Result<(), Failure> {
        loop {
            self.stop_old().await;
            let unmade = self.sharer.site.unmade();
            self.waiting.retain(|name, _| unmade.iter().any(|u| u.name == *name));
            let now = Instant::now();
            let due = unmade.iter().find(|u| self.waiting.get(&u.name).is_none_or(|(at, ..)| *at <= now));
            let Some(due) = due.cloned().or_else(|| self.unasked().map(Arc::new)) else { return Ok(()) };
            self.make(&due).await?;
        }
    }

    async fn stop_old(&self) {
        for unmade in self.sharer.site.unmade() {
            self.sharer.stop(&unmade.name).await;
        }
    }

    async fn make(&mut self, unmade: &Unmade) -> Result<(), Failure> {
        // What was found may have become a link that leads elsewhere.
        if let Some((_, finder)) = &self.folder
            && finder(&unmade.name).as_ref() != Some(&unmade.root)
        {
            self.sharer.forget(&unmade.name).await;
            self.warn(&format!("{} is not shared any more: it is gone, or leads elsewhere", printable(&unmade.name)));
            return Ok(());
        }
        let quiet = Voice { quiet: true, ..self.sharer.voice };
        let made = {
            let making = self.sharer.share(&unmade.root, Some(&unmade.name), quiet);
            tokio::pin!(making);
            loop {
                tokio::select! {
                    made = &mut making => break made,
                    // The seed of what changes meanwhile does not wait for this one.
                    () = self.sharer.site.work() => self.stop_old().await,
                }
            }
        };
        let error = match made {
            Ok(()) => {
                self.waiting.remove(&unmade.name);
                return Ok(());
            }
            Err(Failure::Interrupted) => {
                // The end comes from elsewhere, in order.
                signals::stop().await;
                return Ok(());
            }
            Err(error) => error.line().unwrap_or_default(),
        };
        if !unmade.root.exists() {
            self.sharer.forget(&unmade.name).await;
            self.warn(&format!("{} is not shared any more: it is gone", printable(&unmade.name)));
            return Ok(());
        }
        let (waited, before) = match self.waiting.remove(&unmade.name) {
            Some((_, waited, why)) => ((waited * 2).min(RETRY_MAX), Some(why)),
            None => (RETRY_MIN, None),
        };
        if before.as_ref() != Some(&error) {
            self.warn(&format!("no torrent of {} yet: {error}", printable(&unmade.name)));
        }
        self.waiting.insert(unmade.name.clone(), (Instant::now() + waited, waited, error));
        Ok(())
    }

    fn warn(&self, text: &str) {
        self.line.above(|| self.sharer.voice.warn(text));
    }

    /// The next name of the folder that nobody asked for.
    fn unasked(&mut self) -> Option<Unmade> {
        let (folder, finder) = self.folder.as_ref().filter(|_| self.unasked < UNASKED_MAX)?;
        let mut names: Vec<_> = std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.file_name()).collect();
        names.sort();
        let new = names.iter().filter_map(|name| name.to_str()).find_map(|name| {
            let root = (!self.sharer.site.knows(name)).then(|| finder(name)).flatten()?;
            let single = root.is_file();
            Some(Unmade { name: name.to_owned(), root, single, leave_hidden: true })
        })?;
        self.unasked += 1;
        self.sharer.site.begin(new.clone());
        Some(new)
    }
}
