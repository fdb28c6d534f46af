//! Follows the events of a site, and comes back when the connection is lost: where it was, if the site still knows.

use crate::catalogue::{EVENTS, Facts, Named};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use node::http::client::{Request, Web};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Time until the next try: the first one, doubled each time up to the last.
const RETRY_MIN: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Bytes of one line.
const LINE_MAX: usize = 1 << 20;

/// What a site tells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Connected,
    Lost(String),
    Begin,
    Item(Facts),
    Changed(String),
    Removed(String),
    Ready,
}

/// Follows until nobody listens.
pub(super) async fn run(web: Arc<Web>, origin: String, told: mpsc::Sender<Told>) {
    let (mut last, mut wait) = (None, RETRY_MIN);
    loop {
        let mut heard = false;
        let Err(why) = follow(&web, &origin, &told, &mut last, &mut heard).await else { return };
        if heard {
            wait = RETRY_MIN;
        }
        if told.send(Told::Lost(why)).await.is_err() {
            return;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(RETRY_MAX);
    }
}

/// Follows until the connection ends. Ok: nobody listens any more.
async fn follow(
    web: &Web,
    origin: &str,
    told: &mpsc::Sender<Told>,
    last: &mut Option<String>,
    heard: &mut bool,
) -> Result<(), String> {
    let mut headers = HeaderMap::new();
    if let Some(id) = last.as_deref().and_then(|id| HeaderValue::from_str(id).ok()) {
        headers.insert("last-event-id", id);
    }
    let url = format!("{origin}{EVENTS}");
    let mut answer = web.ask(Request { headers, ..Request::get(&url) }).await.map_err(|e| e.to_string())?;
    if answer.status() == StatusCode::NOT_FOUND {
        return Err(format!("{origin} is no site that can be mirrored: it tells nothing at {EVENTS}"));
    }
    if !answer.status().is_success() {
        return Err(format!("it says {}", answer.status()));
    }
    if told.send(Told::Connected).await.is_err() {
        return Ok(());
    }
    let mut events = Events::default();
    while let Some(chunk) = answer.chunk().await.map_err(|_| "the connection broke off".to_owned())? {
        *heard = true;
        for (id, event) in events.feed(&chunk)? {
            if told.send(event).await.is_err() {
                return Ok(());
            }
            if id.is_some() {
                *last = id;
            }
        }
    }
    Err("the connection ended".into())
}

/// Since when a site does not answer, and why.
#[derive(Debug, Default)]
pub(super) struct Away(Option<(Instant, String)>);

impl Away {
    /// It does not answer at `now`. True: that is new, or the reason is.
    pub(super) fn lost(&mut self, why: &str, now: Instant) -> bool {
        let since = self.0.as_ref().map_or(now, |(since, _)| *since);
        let before = self.0.replace((since, why.to_owned()));
        before.is_none_or(|(_, before)| before != why)
    }

    /// It answers at `now`: for how long it did not.
    pub(super) fn back(&mut self, now: Instant) -> Option<Duration> {
        self.0.take().map(|(since, _)| now.duration_since(since))
    }
}

/// Splits a stream into events.
#[derive(Debug, Default)]
struct Events {
    rest: Vec<u8>,
    id: Option<String>,
    event: String,
    data: String,
}

impl Events {
    fn feed(&mut self, chunk: &[u8]) -> Result<Vec<(Option<String>, Told)>, String> {
        self.rest.extend_from_slice(chunk);
        let mut out = Vec::new();
        let rest = std::mem::take(&mut self.rest);
        let mut lines = rest.split(|b| *b == b'\n').peekable();
        while let Some(line) = lines.next() {
            if lines.peek().is_none() {
                if line.len() > LINE_MAX {
                    return Err(format!("it sends lines of more than {LINE_MAX} bytes"));
                }
                self.rest = line.to_vec();
                break;
            }
            out.extend(self.line(&String::from_utf8_lossy(line))?);
        }
        Ok(out)
    }

    fn line(&mut self, line: &str) -> Result<Option<(Option<String>, Told)>, String> {
        let line = line.trim_end_matches('\r');
        if line.is_empty() {
            let (event, data) = (std::mem::take(&mut self.event), std::mem::take(&mut self.data));
            let broken = |e: serde_json::Error| format!("it sends a broken event: {e}");
            let named = || serde_json::from_str::<Named>(&data).map(|named| named.name).map_err(broken);
            let told = match &*event {
                "begin" => Told::Begin,
                "ready" => Told::Ready,
                "item" => Told::Item(serde_json::from_str(&data).map_err(broken)?),
                "changed" => Told::Changed(named()?),
                "removed" => Told::Removed(named()?),
                _ => return Ok(None),
            };
            return Ok(Some((self.id.take(), told)));
        }
        match line.split_once(": ") {
            Some(("id", id)) => self.id = Some(id.to_owned()),
            Some(("event", event)) => self.event = event.to_owned(),
            Some(("data", data)) => self.data = data.to_owned(),
            _ => {}
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_in_any_pieces() {
        let text = ": hello\n\nevent: begin\ndata: {}\n\nid: r-1\nevent: removed\ndata: {\"name\":\"a: b\"}\r\n\r\nevent: new\ndata: 1\n\nid: r-2\nevent: ready\ndata: {}\n\n";
        let wanted = [
            (None, Told::Begin),
            (Some("r-1".to_owned()), Told::Removed("a: b".into())),
            (Some("r-2".to_owned()), Told::Ready),
        ];
        for size in [1, 2, 7, 1000] {
            let mut events = Events::default();
            let all: Vec<_> = text.as_bytes().chunks(size).flat_map(|chunk| events.feed(chunk).unwrap()).collect();
            assert_eq!(all, wanted, "in pieces of {size}");
        }
    }

    #[test]
    fn one_reason_is_told_once() {
        let (mut away, begin) = (Away::default(), Instant::now());
        let at = |secs| begin + Duration::from_secs(secs);
        assert_eq!(away.back(at(0)), None);
        assert!(away.lost("refused", at(1)) && !away.lost("refused", at(2)) && away.lost("no answer", at(3)));
        assert_eq!(away.back(at(61)), Some(Duration::from_secs(60)));
        assert!(away.lost("no answer", at(70)), "it answered meanwhile");
    }

    #[test]
    fn rubbish_is_refused() {
        for broken in ["event: item\ndata: {}\n\n", "event: removed\ndata: 5\n\n", "event: changed\n\n"] {
            assert!(Events::default().feed(broken.as_bytes()).is_err(), "{broken}");
        }
        assert!(Events::default().feed(&vec![b'x'; LINE_MAX + 1]).is_err());
    }
}
