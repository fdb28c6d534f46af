//! A site of copies: it gives nothing but what was checked against the hashes of whoever it copies, and sends on who asks for
//! what is not here.

use super::elsewhere::{Asker, send};
use super::{Site, plain};
use crate::answer;
use crate::mirrors;
use axum::http::StatusCode;
use axum::response::Response;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// Names whose last request is remembered.
const NAMES_MAX: usize = 100_000;

/// What a site of copies knows of the original.
#[derive(Debug)]
pub(crate) struct Edge {
    /// The beginning of its links.
    origin: String,
    /// It answers.
    answers: AtomicBool,
    /// When each name was asked for last.
    asked: Mutex<BTreeMap<String, Instant>>,
    wanted: Notify,
}

impl Edge {
    pub(crate) fn new(origin: String) -> Self {
        Edge { origin, answers: AtomicBool::new(false), asked: Mutex::default(), wanted: Notify::new() }
    }

    /// The original, as who has the same.
    pub(crate) fn mirror(&self) -> mirrors::Mirror {
        mirrors::Mirror { base: self.origin.clone(), priority: None, location: None }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Instant>> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that somebody asked for something; tells if it is not here.
    fn asked(&self, name: &str, here: bool) {
        {
            let mut asked = self.lock();
            if asked.len() < NAMES_MAX || asked.contains_key(name) {
                asked.insert(name.to_owned(), Instant::now());
            }
        }
        if !here {
            self.wanted.notify_one();
        }
    }

    /// When it was asked for last, in this run.
    pub(crate) fn last(&self, name: &str) -> Option<Instant> {
        self.lock().get(name).copied()
    }

    /// Forgets a name that the original has not.
    pub(crate) fn forget(&self, name: &str) {
        self.lock().remove(name);
    }

    /// Waits until somebody asks for what is not here.
    pub(crate) async fn wanted(&self) {
        self.wanted.notified().await;
    }

    pub(crate) fn answers(&self, answers: bool) {
        self.answers.store(answers, Ordering::Relaxed);
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
        if !edge.answers.load(Ordering::Relaxed) {
            let why = "it is not here yet, and the server that has it does not answer; ask again later";
            let mut response = answer::refuse(StatusCode::SERVICE_UNAVAILABLE, why);
            plain::retry(&mut response);
            return Some(response);
        }
        // From there nobody is sent back.
        let query = if asker.download { "?download=here" } else { "?here" };
        Some(send(&format!("{}{}{suffix}{query}", edge.origin, mirrors::path(name, path))))
    }
}
