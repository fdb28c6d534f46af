//! What happens to the items of a site, told to whoever listens: server-sent events (HTML, section 9.2).
//!
//! | event | data | means |
//! |---|---|---|
//! | `begin` | `{}` | the whole list follows |
//! | `item` | [`Facts`] | this is under its name from now on |
//! | `changed` | `{"name":S}` | there is something, which has no torrent now |
//! | `removed` | `{"name":S}` | there is nothing under this name |
//! | `ready` | `{}` | that was the list: what it did not name is no more |
//!
//! Who comes back with the id of the last event it has seen gets what it missed, if that is still remembered; everybody
//! else gets the whole list first.

use crate::answer;
use crate::catalogue::{Facts, Named};
use crate::chance::chance;
use crate::site::slots::{Slot, Slots};
use axum::body::{Body, Bytes};
use axum::http::header::{self, HeaderMap, HeaderName};
use axum::http::{Response as HttpResponse, StatusCode};
use axum::response::Response;
use futures_util::stream;
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// Listeners at once, in all and of one address; further ones come again later.
const LISTENERS_MAX: usize = 256;
const OF_ONE_MAX: usize = 32;
/// Seconds after which they may.
const RETRY: u32 = 10;
/// Events that are remembered for those who come back.
const RECENT_MAX: usize = 1024;
/// Time without an event after which a listener hears that we are still here.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// Bytes of the list handed on at once.
const BATCH: usize = 64 << 10;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// All events of a site.
#[derive(Clone, Debug)]
pub(super) struct Feed(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Tells the events of this run from those of others.
    run: String,
    log: Mutex<Log>,
    news: watch::Sender<()>,
    room: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Log {
    last: u64,
    recent: VecDeque<Bytes>,
    /// The list as it was after the event with this number: all who begin then have the same.
    list: Option<(u64, VecDeque<Bytes>)>,
    listeners: BTreeMap<IpAddr, usize>,
    closed: bool,
}

impl Log {
    fn push(&mut self, frame: Bytes) {
        self.last += 1;
        self.recent.push_back(frame);
        if self.recent.len() > RECENT_MAX {
            self.recent.pop_front();
        }
    }

    /// What came after the event `at`. None: it is not known any more.
    fn after(&self, at: u64) -> Option<Vec<Bytes>> {
        let missed = usize::try_from(self.last.checked_sub(at)?).ok()?;
        let from = self.recent.len().checked_sub(missed)?;
        Some(self.recent.range(from..).cloned().collect())
    }
}

impl Default for Feed {
    fn default() -> Self {
        let run = format!("{:016x}", chance());
        let (log, news) = (Mutex::default(), watch::Sender::new(()));
        Feed(Arc::new(Inner { run, log, news, room: Arc::new(Semaphore::new(LISTENERS_MAX)) }))
    }
}

impl Feed {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.log.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells what is under a name now. However many change it at once, the last event is the last state.
    pub(super) fn tell(&self, slots: &Slots, name: &str) {
        {
            let mut log = self.log();
            let id = format!("{}-{}", self.0.run, log.last + 1);
            log.push(frame(Some(&id), slots.find(name).as_ref(), name));
        }
        self.0.news.send_replace(());
    }

    /// Lets all listeners go.
    pub(super) fn close(&self) {
        self.log().closed = true;
        self.0.news.send_replace(());
    }

    /// The number of the last event; None: there will be no more.
    fn last(&self) -> Option<u64> {
        let log = self.log();
        (!log.closed).then_some(log.last)
    }

    /// The stream for somebody who asked with these headers.
    pub(super) fn listen(&self, slots: &Slots, headers: &HeaderMap, from: IpAddr) -> Response {
        let Some(place) = Place::new(self, from.to_canonical()) else {
            return answer::busy("too many are listening; come again later", RETRY);
        };
        let seen = headers.get(LAST_EVENT_ID).and_then(|v| v.to_str().ok()).and_then(|id| {
            let (run, at) = id.rsplit_once('-')?;
            at.parse().ok().filter(|_| run == self.0.run)
        });
        let resumed = seen.and_then(|at| self.log().after(at));
        let (at, waiting) = match resumed {
            Some(_) => (seen.unwrap_or(0), VecDeque::new()),
            None => {
                // Both at one moment: what was told before is in the list, what comes after is news.
                let (at, known, all) = {
                    let log = self.log();
                    let known = log.list.as_ref().filter(|(at, _)| *at == log.last).map(|(_, list)| list.clone());
                    (log.last, known.clone(), if known.is_some() { Vec::new() } else { slots.all() })
                };
                let list = known.unwrap_or_else(|| list(&all, &format!("{}-{at}", self.0.run)));
                let mut log = self.log();
                if log.last == at {
                    log.list = Some((at, list.clone()));
                }
                (at, list)
            }
        };
        let listener = Listener { feed: self.clone(), at, waiting, news: self.0.news.subscribe(), _place: place };
        let body = Body::from_stream(stream::unfold(listener, Listener::next));
        let builder = HttpResponse::builder()
            .header(header::CONTENT_TYPE, "text/event-stream")
            .header(header::CACHE_CONTROL, "no-store")
            .header(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
        builder.body(body).unwrap_or_else(|_| answer::refuse(StatusCode::INTERNAL_SERVER_ERROR, "no events"))
    }
}

struct Listener {
    feed: Feed,
    at: u64,
    waiting: VecDeque<Bytes>,
    news: watch::Receiver<()>,
    _place: Place,
}

/// A place among those who listen.
struct Place {
    feed: Feed,
    from: IpAddr,
    _permit: OwnedSemaphorePermit,
}

impl Place {
    /// None: too many listen.
    fn new(feed: &Feed, from: IpAddr) -> Option<Self> {
        let permit = feed.0.room.clone().try_acquire_owned().ok()?;
        let mut log = feed.log();
        let of_one = log.listeners.entry(from).or_default();
        // Who is on this machine has as many as there are.
        if *of_one >= OF_ONE_MAX && !from.is_loopback() {
            return None;
        }
        *of_one += 1;
        Some(Place { feed: feed.clone(), from, _permit: permit })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut log = self.feed.log();
        match log.listeners.get_mut(&self.from) {
            Some(n) if *n > 1 => *n -= 1,
            _ => drop(log.listeners.remove(&self.from)),
        }
    }
}

impl Listener {
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        loop {
            if let Some(frame) = self.waiting.pop_front() {
                return Some((Ok(frame), self));
            }
            self.news.mark_unchanged();
            let last = self.feed.last()?;
            if last > self.at {
                // Who lags behind further than we remember has to begin again: the stream ends.
                self.waiting = self.feed.log().after(self.at)?.into();
                self.at += self.waiting.len() as u64;
                continue;
            }
            match tokio::time::timeout(HEARTBEAT, self.news.changed()).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) => return None,
                Err(_) => return Some((Ok(Bytes::from_static(b": still here\n\n")), self)),
            }
        }
    }
}

/// The list of all there is, in parts.
fn list(all: &[(String, Slot)], id: &str) -> VecDeque<Bytes> {
    let (mut parts, mut part) = (VecDeque::new(), text(None, "begin", &serde_json::json!({})));
    for (name, slot) in all {
        part.push_str(&String::from_utf8_lossy(&frame(None, Some(slot), name)));
        if part.len() > BATCH {
            parts.push_back(Bytes::from(std::mem::take(&mut part)));
        }
    }
    part.push_str(&text(Some(id), "ready", &serde_json::json!({})));
    parts.push_back(part.into());
    parts
}

fn frame(id: Option<&str>, slot: Option<&Slot>, name: &str) -> Bytes {
    let named = Named { name: name.to_owned() };
    let text = match slot {
        Some(Slot::Ready(item)) => text(id, "item", &Facts::of(item)),
        Some(Slot::Unmade(_)) => text(id, "changed", &named),
        None => text(id, "removed", &named),
    };
    text.into()
}

fn text(id: Option<&str>, event: &str, data: &impl Serialize) -> String {
    let id = id.map(|id| format!("id: {id}\n")).unwrap_or_default();
    // JSON has no line ends of its own.
    format!("{id}event: {event}\ndata: {}\n\n", serde_json::to_string(data).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::slots::Unmade;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn slots(names: &[&str]) -> Slots {
        let slots = Slots::default();
        for name in names {
            let unmade = Unmade { name: (*name).into(), root: "/x".into(), single: true, leave_hidden: false };
            slots.put_new(unmade);
        }
        slots
    }

    async fn heard(response: Response, until: &str) -> String {
        let mut body = response.into_body();
        let mut all = String::new();
        while !all.contains(until) {
            let part = crate::body::part(&mut body).await.unwrap().expect("it goes on");
            all.push_str(std::str::from_utf8(&part).unwrap());
        }
        all
    }

    fn since(id: &str) -> HeaderMap {
        HeaderMap::from_iter([(LAST_EVENT_ID, id.parse().unwrap())])
    }

    #[tokio::test]
    async fn a_listener_hears_the_list_then_what_happens_and_can_come_back() {
        let (feed, slots) = (Feed::default(), slots(&["a", "b"]));
        feed.tell(&slots, "a");
        let all = heard(feed.listen(&slots, &HeaderMap::new(), HERE), "ready").await;
        let events: Vec<_> = all.lines().filter(|l| l.starts_with("event")).collect();
        assert_eq!(events, ["event: begin", "event: changed", "event: changed", "event: ready"]);
        let id = all.lines().find_map(|l| l.strip_prefix("id: ")).unwrap();
        assert!(id.ends_with("-1"), "{id}");
        slots.remove("b");
        feed.tell(&slots, "b");
        let missed = heard(feed.listen(&slots, &since(id), HERE), "\n\n").await;
        assert!(missed.contains("event: removed\ndata: {\"name\":\"b\"}") && !missed.contains("begin"), "{missed}");
        for foreign in ["0000-1", "x", &format!("{}9", id.trim_end_matches('1')), ""] {
            let all = heard(feed.listen(&slots, &since(foreign), HERE), "ready").await;
            assert!(all.starts_with("event: begin"), "{foreign}: {all}");
        }
    }

    #[tokio::test]
    async fn all_who_begin_at_once_have_the_same_list() {
        let (feed, slots) = (Feed::default(), slots(&["a", "b"]));
        let first = async || {
            let mut body = feed.listen(&slots, &HeaderMap::new(), HERE).into_body();
            crate::body::part(&mut body).await.unwrap().unwrap()
        };
        let (one, other) = (first().await, first().await);
        assert_eq!(one.as_ptr(), other.as_ptr(), "it is in memory once");
        slots.remove("b");
        feed.tell(&slots, "b");
        let after = first().await;
        assert!(!after.windows(3).any(|w| w == b"\"b\"") && one != after);
    }

    #[tokio::test]
    async fn what_is_too_long_ago_is_forgotten_and_listeners_are_counted() {
        let (feed, slots) = (Feed::default(), slots(&["a"]));
        for _ in 0..=RECENT_MAX {
            feed.tell(&slots, "a");
        }
        let run = feed.0.run.clone();
        assert!(
            heard(feed.listen(&slots, &since(&format!("{run}-0")), HERE), "\n\n").await.starts_with("event: begin")
        );
        assert!(heard(feed.listen(&slots, &since(&format!("{run}-1")), HERE), "\n\n").await.starts_with("id: "));
        let all: Vec<_> = (0..LISTENERS_MAX).map(|_| feed.listen(&slots, &HeaderMap::new(), HERE)).collect();
        assert!(all.iter().all(|r| r.status() == 200));
        let full = feed.listen(&slots, &HeaderMap::new(), HERE);
        assert_eq!(full.status(), 503);
        assert!(full.headers().contains_key("retry-after"), "and they are told when to come again");
        drop(all);
        let elsewhere = "192.0.2.1".parse().unwrap();
        let all: Vec<_> =
            (0..=OF_ONE_MAX).map(|_| feed.listen(&slots, &HeaderMap::new(), elsewhere).status()).collect();
        assert!(all.iter().all(|status| *status == 200), "who has gone leaves a place");
        let all: Vec<_> = (0..=OF_ONE_MAX).map(|_| feed.listen(&slots, &HeaderMap::new(), elsewhere)).collect();
        assert_eq!(all.iter().filter(|r| r.status() == 200).count(), OF_ONE_MAX);
        assert_eq!(feed.listen(&slots, &HeaderMap::new(), HERE).status(), 200);
        drop(all);
        assert!(feed.log().listeners.is_empty());
        let last = feed.listen(&slots, &HeaderMap::new(), HERE);
        feed.close();
        let mut body = last.into_body();
        while crate::body::part(&mut body).await.unwrap().is_some() {}
    }
}
