//! A site of copies: it gives nothing but what was checked against the hashes of whoever it copies, and sends on who asks for
//! what is not here.

use super::elsewhere::{Asker, send};
use super::{Coming, Site, plain};
use crate::answer;
use crate::mirrors;
use axum::http::StatusCode;
use axum::response::Response;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::sync::{Notify, oneshot};

/// Names whose last request is remembered.
const NAMES_MAX: usize = 100_000;
/// Requests that wait to hear whether what they want is being pulled.
const ASKERS_MAX: usize = 1_024;

/// When something was asked for last: milliseconds since 1970. No two requests have the same.
pub(crate) type Asked = u64;

/// Who wants something, and is told once it comes.
pub(crate) type Want = (String, oneshot::Sender<Option<Arc<Coming>>>);

/// What a site of copies knows of the original.
#[derive(Debug)]
pub(crate) struct Edge {
    /// The beginning of its links.
    origin: String,
    /// It answers.
    answers: AtomicBool,
    /// It has told all that it shares, in this run.
    listed: AtomicBool,
    asked: Mutex<Requests>,
    wants: Mutex<Vec<Want>>,
    wanted: Notify,
}

/// When each name was asked for last.
#[derive(Debug, Default)]
struct Requests {
    last: BTreeMap<String, Asked>,
    newest: Asked,
    /// Since they were noted for the next run.
    changed: bool,
}

impl Requests {
    fn note(&mut self, name: &str, now: Asked) {
        if self.last.len() < NAMES_MAX || self.last.contains_key(name) {
            self.newest = now.max(self.newest + 1);
            self.last.insert(name.to_owned(), self.newest);
            self.changed = true;
        }
    }
}

impl Edge {
    pub(crate) fn new(origin: String) -> Self {
        Edge {
            origin,
            answers: AtomicBool::new(false),
            listed: AtomicBool::new(false),
            asked: Mutex::default(),
            wants: Mutex::default(),
            wanted: Notify::new(),
        }
    }

    /// The original, as who has the same.
    pub(crate) fn mirror(&self) -> mirrors::Mirror {
        mirrors::Mirror { base: self.origin.clone(), priority: None, location: None }
    }

    fn lock(&self) -> MutexGuard<'_, Requests> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that somebody asked for something; tells if it is not here.
    fn asked(&self, name: &str, here: bool) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        self.lock().note(name, u64::try_from(now).unwrap_or(0));
        if !here {
            self.wanted.notify_one();
        }
    }

    /// When it was asked for last.
    pub(crate) fn last(&self, name: &str) -> Option<Asked> {
        self.lock().last.get(name).copied()
    }

    /// What was asked for of that for which `lacks` says so, the latest first.
    pub(crate) fn asked_for(&self, lacks: impl Fn(&str) -> bool) -> Vec<(Asked, String)> {
        let mut all: Vec<_> = {
            let requests = self.lock();
            let lacking = requests.last.iter().filter(|(name, _)| lacks(name));
            lacking.map(|(name, asked)| (*asked, name.clone())).collect()
        };
        all.sort_unstable_by(|one, other| other.cmp(one));
        all
    }

    /// Takes up what an earlier run has noted.
    pub(crate) fn recall(&self, last: BTreeMap<String, Asked>) {
        let requests = &mut *self.lock();
        requests.newest = last.values().copied().max().unwrap_or(0).max(requests.newest);
        requests.last = last.into_iter().take(NAMES_MAX).collect();
    }

    /// All of it, if there is something new since this was called last.
    pub(crate) fn to_note(&self) -> Option<BTreeMap<String, Asked>> {
        let requests = &mut *self.lock();
        std::mem::take(&mut requests.changed).then(|| requests.last.clone())
    }

    /// Forgets a name that the original has not.
    pub(crate) fn forget(&self, name: &str) {
        self.lock().last.remove(name);
    }

    /// Waits until somebody asks for what is not here.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    /// The copy of something that is being pulled, or begins to be. None: it is not.
    pub(super) async fn pulled(&self, name: &str) -> Option<Arc<Coming>> {
        let (tell, told) = oneshot::channel();
        {
            let wants = &mut *self.wants.lock().unwrap_or_else(PoisonError::into_inner);
            wants.retain(|(_, tell)| !tell.is_closed());
            if wants.len() >= ASKERS_MAX {
                return None;
            }
            wants.push((name.to_owned(), tell));
        }
        self.wanted.notify_one();
        told.await.ok().flatten()
    }

    /// Who waits to hear.
    pub(crate) fn wants(&self) -> Vec<Want> {
        std::mem::take(&mut *self.wants.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether the original answers.
    pub(super) fn has_original(&self) -> bool {
        self.answers.load(Ordering::Relaxed)
    }

    pub(crate) fn answers(&self, answers: bool) {
        self.answers.store(answers, Ordering::Relaxed);
    }

    /// It has told all that it shares: what is not known here is not there either.
    pub(crate) fn listed(&self) {
        self.listed.store(true, Ordering::Relaxed);
    }
}

impl Site {
    /// Notes that somebody asks for a copy.
    pub(super) fn note(&self, name: &str, here: bool, asker: &Asker<'_>) {
        if let Some(edge) = self.edge.as_ref().filter(|_| !asker.only_looks()) {
            edge.asked(name, here);
        }
    }

    /// What a site of copies says of what it has not. None: this is no such site.
    pub(super) fn not_here(&self, name: &str, path: Option<&str>, suffix: &str, asker: &Asker<'_>) -> Option<Response> {
        let edge = self.edge.as_ref()?;
        if asker.only_looks() {
            return Some(answer::refuse(StatusCode::GATEWAY_TIMEOUT, "it is not here"));
        }
        if !edge.has_original() {
            let why = "it is not here yet, and the server that has it does not answer; ask again later";
            return Some(answer::busy(why, plain::RETRY));
        }
        // From there nobody is sent back.
        let query = if asker.download { "?download=here" } else { "?here" };
        Some(send(&format!("{}{}{suffix}{query}", edge.origin, mirrors::path(name, path))))
    }

    /// The answer for a name under which there is nothing. A site of copies that has not heard yet what the original shares can't
    /// say so.
    pub(super) fn unknown(&self, asker: &Asker<'_>) -> Response {
        let heard = self.edge.as_ref().is_none_or(|edge| edge.listed.load(Ordering::Relaxed));
        match heard {
            true => answer::not_found(),
            false if asker.only_looks() => answer::refuse(StatusCode::GATEWAY_TIMEOUT, "it is not here"),
            false => answer::busy("what there is to copy is not known here yet; ask again later", plain::RETRY),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_for_is_known_after_a_restart() {
        let edge = Edge::new("http://h".into());
        assert_eq!(edge.to_note(), None);
        edge.asked("b", true);
        edge.asked("a", true);
        assert!(edge.last("b") < edge.last("a"), "also in the same millisecond");
        let noted = edge.to_note().unwrap();
        assert_eq!((noted.len(), edge.to_note()), (2, None));
        // The clock has been set back meanwhile.
        let again = Edge::new("http://h".into());
        let future = noted.iter().map(|(name, at)| (name.clone(), at + 1_000_000)).collect();
        again.recall(future);
        again.asked("c", true);
        assert!(again.last("b") < again.last("a") && again.last("a") < again.last("c"));
        again.forget("a");
        assert_eq!(again.last("a"), None);
    }
}
