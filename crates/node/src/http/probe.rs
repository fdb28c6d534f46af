//! What is at a URL: one request that tells its size, its beginning, whether parts of it can be had, and what else is known of it.

use super::client::{NamedBy, Request, Web, WebError, beginning, scope_of};
use super::headers::{self, Link};
use super::version::Version;
use base::metainfo::names;
use base::{Scope, WholeDigest};
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Response, StatusCode};
use std::time::Duration;

/// Bytes of the beginning that are asked for: enough to tell what it is.
const BEGINNING: u64 = 16 << 10;

/// A server that can't answer now is asked again so often: when it says, if that is within this time, or in a second, doubled each time.
const BUSY_TRIES: u32 = 3;
const BUSY_WAIT_MAX: Duration = Duration::from_secs(15);

/// What is at a URL.
#[derive(Clone, Debug)]
pub struct Probe {
    /// Where it is, after redirects.
    pub url: reqwest::Url,
    /// How near the server is.
    pub scope: Scope,
    /// Bytes in it, if the server says so.
    pub size: Option<u64>,
    /// Parts of it can be had.
    pub ranges: bool,
    /// A safe name for it.
    pub name: String,
    /// What tells this version from others.
    pub version: Version,
    /// A digest of all of it.
    pub digest: Option<WholeDigest>,
    /// Where else it is or is described.
    pub links: Vec<Link>,
    /// The media type, in lower case.
    pub kind: Option<String>,
    /// Its first bytes.
    pub beginning: Vec<u8>,
}

/// Looks at what is at `url`.
///
/// # Errors
/// If nobody answers, or the answer is that there is nothing.
pub async fn probe(web: &Web, url: &str, named_by: NamedBy) -> Result<Probe, WebError> {
    let mut wanted = HeaderMap::new();
    wanted.insert(HeaderName::from_static("want-repr-digest"), HeaderValue::from_static("sha-256=10"));
    wanted.insert(HeaderName::from_static("want-digest"), HeaderValue::from_static("SHA-256"));
    let ask = |range| web.ask(Request { named_by, range, headers: wanted.clone(), ..Request::get(url) });
    let mut answer = ask(Some((0, BEGINNING - 1))).await?;
    for tried in 0..BUSY_TRIES {
        let Some(wait) = wait_of(&answer, tried) else { break };
        tokio::time::sleep(wait).await;
        answer = ask(Some((0, BEGINNING - 1))).await?;
    }
    if answer.status() == StatusCode::RANGE_NOT_SATISFIABLE {
        // So say servers of files that are empty.
        answer = ask(None).await?;
    }
    if !answer.status().is_success() {
        let hint = match answer.status() {
            StatusCode::UNAUTHORIZED => "; name a password with --netrc, or as in http://NAME:PASSWORD@HOST/",
            _ => "",
        };
        return Err(WebError::Failed(format!("the server says {}{hint}", answer.status())));
    }
    let text = |answer: &Response, name| answer.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let partial = answer.status() == StatusCode::PARTIAL_CONTENT;
    let range = headers::content_range(answer.headers());
    let encoded = text(&answer, CONTENT_ENCODING).is_some_and(|e| !e.eq_ignore_ascii_case("identity"));
    let (size, ranges) = match (partial, range) {
        (true, Some((0, _, total))) => (total, true),
        (true, _) => return Err(WebError::Failed("the server sends another part than was asked for".into())),
        (false, _) => (answer.content_length().filter(|_| !encoded), false),
    };
    if encoded {
        return Err(WebError::Failed("the server sends a compressed form, which was not asked for".into()));
    }
    let mut probe = Probe {
        url: answer.url().clone(),
        scope: scope_of(answer.remote_addr()),
        size,
        ranges,
        name: name_of(answer.url(), answer.headers()),
        version: Version::of(answer.headers()),
        digest: headers::digest(answer.headers()),
        links: headers::links(answer.headers()),
        kind: text(&answer, reqwest::header::CONTENT_TYPE).map(|k| k.to_ascii_lowercase()),
        beginning: Vec::new(),
    };
    while (probe.beginning.len() as u64) < BEGINNING {
        let chunk = answer.chunk().await.map_err(|e| WebError::Failed(crate::fetch::words(&e)))?;
        let Some(chunk) = chunk else { break };
        let room = BEGINNING as usize - probe.beginning.len();
        probe.beginning.extend_from_slice(&chunk[..chunk.len().min(room)]);
    }
    Ok(probe)
}

/// How long to leave a server alone that can't answer now, if that is not too long.
fn wait_of(answer: &Response, tried: u32) -> Option<Duration> {
    let seconds = || headers::retry_after(answer.headers()).unwrap_or(1 << tried);
    let wait = headers::is_busy(answer.status()).then(|| Duration::from_secs(seconds().max(1)));
    wait.filter(|wait| *wait <= BUSY_WAIT_MAX)
}

/// All of what is at a URL.
#[derive(Clone, Debug)]
pub struct Read {
    /// What it is.
    pub body: Vec<u8>,
    /// How near the server is.
    pub scope: Scope,
    /// Where it is, after redirects.
    pub at: reqwest::Url,
}

/// All of what is at a URL, if that is no more than `max` bytes.
///
/// # Errors
/// If it can't be had, or is longer.
pub async fn read_all(web: &Web, url: &str, named_by: NamedBy, max: u64) -> Result<Read, WebError> {
    let mut answer = web.ask(Request { named_by, ..Request::get(url) }).await?;
    if !answer.status().is_success() {
        return Err(WebError::Failed(format!("the server says {}", answer.status())));
    }
    let scope = scope_of(answer.remote_addr());
    let at = answer.url().clone();
    let body = beginning(&mut answer, max).await?;
    if body.len() as u64 > max {
        return Err(WebError::Failed(format!("it is longer than {max} bytes")));
    }
    Ok(Read { body, scope, at })
}

/// A safe name for what is at a URL: what the server calls it, or the last part of the path.
fn name_of(url: &reqwest::Url, headers: &HeaderMap) -> String {
    let last = || {
        let last = url.path_segments()?.rfind(|s| !s.is_empty())?;
        Some(base::percent::decode(last.as_bytes()))
    };
    let raw = headers::file_name(headers).or_else(last).unwrap_or_else(|| b"index.html".to_vec());
    names::component(&raw, names::Rules::HERE, names::TOP_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_from_the_server_or_the_path() {
        let name = |url: &str| name_of(&url.parse().unwrap(), &HeaderMap::new());
        assert_eq!(name("http://h/a/b%20c.iso?x=y#z"), "b c.iso");
        assert_eq!(name("http://h/a/b/"), "b");
        assert_eq!(name("http://h"), "index.html");
        assert_eq!(name("http://h/%2e%2e%2fetc"), ".._etc");
        let mut headers = HeaderMap::new();
        headers.insert("content-disposition", HeaderValue::from_static("attachment; filename=\"..\""));
        assert_eq!(name_of(&"http://h/x".parse().unwrap(), &headers), "_");
    }
}
