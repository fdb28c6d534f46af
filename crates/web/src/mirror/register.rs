//! Tells the site what is here, again and again.

use super::MirrorOptions;
use crate::catalogue::{ITEMS_MAX, MIRRORS, REGISTER_EVERY, Registered, Registration};
use axum::http::{HeaderMap, HeaderValue, Method, header};
use node::http::client::{Request, Web, beginning};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

/// Changes are told together: so long after the first of them.
const SOON: Duration = Duration::from_millis(300);
/// Until others are told of this mirror it asks more often how it stands.
const UNLISTED_EVERY: Duration = Duration::from_secs(3);
/// Bytes of an answer.
const ANSWER_MAX: u64 = 4 << 20;

#[derive(Debug)]
pub(super) struct Register {
    url: String,
    base: String,
    next: Instant,
    /// The site is being told.
    telling: Option<Telling>,
    /// What came of it last.
    last: Option<State>,
}

/// Whether others are told of this mirror, and why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) listed: bool,
    pub(super) why: Option<String>,
}

#[derive(Debug)]
struct Telling {
    answer: JoinHandle<Result<Registered, String>>,
    /// Something is here.
    any: bool,
}

impl Drop for Telling {
    fn drop(&mut self) {
        self.answer.abort();
    }
}

/// What there is to do.
pub(super) enum Turn {
    /// It is time to tell the site.
    Tell,
    /// It has answered.
    Told {
        /// What is not as it should be here.
        wrong: Vec<String>,
        /// What came of it, if that is new.
        news: Option<State>,
    },
}

impl Register {
    pub(super) fn new(options: &MirrorOptions) -> Self {
        let (url, base) = (format!("{}{MIRRORS}", options.origin), options.base.clone());
        Register { url, base, next: Instant::now() + REGISTER_EVERY, telling: None, last: None }
    }

    /// Something has changed.
    pub(super) fn soon(&mut self) {
        self.next = self.next.min(Instant::now() + SOON);
    }

    /// Waits until it is time, or until the site has answered: it may take its time, and nothing else waits for it.
    pub(super) async fn turn(&mut self) -> Turn {
        let Some(telling) = &mut self.telling else {
            tokio::time::sleep_until(self.next).await;
            return Turn::Tell;
        };
        let answer = (&mut telling.answer).await.unwrap_or_else(|error| Err(error.to_string()));
        let any = telling.any;
        self.telling = None;
        self.told(answer, any)
    }

    /// Tells it.
    pub(super) fn tell(&mut self, web: &Arc<Web>, mut items: BTreeMap<String, String>, busy: usize) {
        while items.len() > ITEMS_MAX {
            items.pop_last();
        }
        let any = !items.is_empty();
        let registration = Registration { url: self.base.clone(), items, busy: busy.try_into().unwrap_or(u32::MAX) };
        let (web, url) = (web.clone(), self.url.clone());
        let answer = tokio::spawn(async move { ask(&web, &url, &registration).await });
        self.telling = Some(Telling { answer, any });
        self.next = Instant::now() + REGISTER_EVERY;
    }

    fn told(&mut self, answer: Result<Registered, String>, any: bool) -> Turn {
        let (state, wrong) = match answer {
            Ok(Registered { listed, why, wrong, again: _ }) => {
                if !listed && any {
                    self.next = self.next.min(Instant::now() + UNLISTED_EVERY);
                }
                (State { listed, why }, wrong)
            }
            Err(why) => (State { listed: false, why: Some(why) }, Vec::new()),
        };
        let news = (self.last.as_ref() != Some(&state)).then(|| state.clone());
        self.last = Some(state);
        Turn::Told { wrong, news }
    }
}

async fn ask(web: &Web, url: &str, registration: &Registration) -> Result<Registered, String> {
    let body = serde_json::to_vec(registration).map_err(|e| e.to_string())?;
    let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let request = Request { headers, method: Method::POST, body: body.into(), ..Request::get(url) };
    let mut answer = web.ask(request).await.map_err(|e| e.to_string())?;
    let text = beginning(&mut answer, ANSWER_MAX).await.map_err(|_| "the answer broke off")?;
    if text.len() as u64 > ANSWER_MAX {
        return Err("its answer is too long".into());
    }
    if !answer.status().is_success() {
        return Err(format!("{}: {:.300}", answer.status(), crate::say::printable(&text)));
    }
    serde_json::from_slice(&text).map_err(|e| format!("its answer makes no sense: {e}"))
}
