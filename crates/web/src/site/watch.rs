//! Looks at mirrors again and again: a random range of a random file of what one says it has must be what is here.
//!
//! A mirror may be no nearer than whoever registered it: nobody outside has this server ask for addresses inside.

use super::Site;
use super::registry::{CHECK_EVERY, Due, Seen};
use super::slots::Slot;
use crate::answer;
use crate::body::Stored as _;
use crate::chance::chance;
use crate::content::{Content, Reader};
use crate::item::Item;
use crate::mirrors;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use base::Scope;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use node::http::client::{NamedBy, Request, Web, beginning};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Bytes of one range.
const RANGE: u64 = 64 << 10;
/// Ranges of a mirror that is looked at for the first time.
const RANGES_FIRST: usize = 3;
/// Time for a mirror to answer.
const PATIENCE: Duration = Duration::from_secs(15);

impl Site {
    /// Looks at mirrors, and goes on doing so.
    pub async fn watch_mirrors(&self) {
        let web = Web::default();
        // One that does not answer keeps no other waiting.
        let mut looking = FuturesUnordered::new();
        loop {
            looking.extend(self.registry.due(Instant::now()).into_iter().map(|due| self.look(&web, due)));
            tokio::select! {
                Some(()) = looking.next() => {}
                // Who has just registered is looked at soon.
                () = self.registered.notified() => {}
                () = tokio::time::sleep(CHECK_EVERY / 4) => {}
            }
        }
    }

    async fn look(&self, web: &Web, due: Due) {
        let mut seen = Seen::Nothing;
        for _ in 0..if due.new { RANGES_FIRST } else { 1 } {
            seen = self.look_once(web, &due).await;
            if seen != Seen::Good {
                break;
            }
        }
        self.registry.looked(&due.url, seen, Instant::now());
    }

    async fn look_once(&self, web: &Web, due: &Due) -> Seen {
        let Some((item, file)) = self.to_compare(due) else { return Seen::Nothing };
        let len = item.files[file].len;
        let start = below(len);
        let range = start..(start + RANGE).min(len);
        let (mine, content, wanted) = (item.clone(), Content::File(file), range.clone());
        let read = move || {
            let mut bytes = vec![0; (wanted.end - wanted.start) as usize];
            Reader::open(mine, content).map(|reader| reader.read_slowly(wanted.start, &mut bytes).map(|()| bytes))
        };
        let Ok(Ok(Ok(mine))) = tokio::task::spawn_blocking(read).await else {
            self.changed(&item);
            return Seen::Nothing;
        };
        let path = (!item.single).then_some(&*item.files[file].path);
        let url = format!("{}{}", due.url, mirrors::path(&item.name, path));
        let tag = answer::tag(&item, content);
        match tokio::time::timeout(PATIENCE, theirs(web, &url, due.scope, range, &tag)).await {
            Err(_) => Seen::Unreachable("it did not answer in time".into()),
            Ok(Err(why)) => Seen::Unreachable(why),
            Ok(Ok(None)) => Seen::Stale(item.name.clone()),
            Ok(Ok(Some(theirs))) if theirs == mine => Seen::Good,
            // It may have changed here meanwhile.
            Ok(Ok(Some(_))) if !answer::is_unchanged(item.clone()).await => Seen::Nothing,
            Ok(Ok(Some(_))) => Seen::Altered(item.name.clone()),
        }
    }

    /// One of the files that both have.
    fn to_compare(&self, due: &Due) -> Option<(Arc<Item>, usize)> {
        let same = |(name, tag): (&String, &String)| match self.slots.find(name) {
            Some(Slot::Ready(item)) if item.tag == *tag => Some(item),
            _ => None,
        };
        let from = usize::try_from(below(due.items.len() as u64)).unwrap_or(0);
        let item = due.items.iter().skip(from).chain(due.items.iter().take(from)).find_map(same)?;
        let full: Vec<usize> = (0..item.files.len()).filter(|file| item.files[*file].len > 0).collect();
        let file = *full.get(usize::try_from(below(full.len() as u64)).unwrap_or(0))?;
        Some((item, file))
    }
}

/// These bytes of a mirror. None: it has another version, or none.
async fn theirs(web: &Web, url: &str, scope: Scope, range: Range<u64>, tag: &str) -> Result<Option<Vec<u8>>, String> {
    // It shall neither fetch it because of us, nor count us among those who want it.
    let headers = HeaderMap::from_iter([(header::CACHE_CONTROL, HeaderValue::from_static("only-if-cached"))]);
    let request = Request {
        headers,
        named_by: NamedBy::Told(scope),
        range: Some((range.start, range.end - 1)),
        ..Request::get(url)
    };
    let mut answer = web.ask(request).await.map_err(|e| e.to_string())?;
    let status = answer.status();
    if status.is_server_error() && status != StatusCode::GATEWAY_TIMEOUT || status == StatusCode::TOO_MANY_REQUESTS {
        return Err(format!("it says {status}"));
    }
    let theirs = answer.headers().get(header::ETAG).and_then(|v| v.to_str().ok());
    // Who sends us on, to this server for example, has it not.
    if answer.url().as_str() != url || theirs != Some(tag) || status != StatusCode::PARTIAL_CONTENT {
        return Ok(None);
    }
    // More than was asked for is not what is here.
    Ok(Some(beginning(&mut answer, RANGE).await.map_err(|_| "it broke off in the middle")?))
}

/// A number below `end` that nobody knows before; 0 if that is 0.
fn below(end: u64) -> u64 {
    chance().checked_rem(end).unwrap_or(0)
}
