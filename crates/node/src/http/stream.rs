//! One stream: requests for the files or parts under a run of content, one after the other, and their bodies for the engine.

use super::client::{Request, SILENCE, Web};
use super::headers::{content_range, is_busy, retry_after};
use super::remote::{Names, Remote, Segment};
use super::tap::{Closed, Tap};
use super::version::{Digests, Version};
use crate::disk::mailbox::Inbox;
use crate::disk::plain;
use crate::driver::Msg;
use crate::rope::Rope;
use base::{ConnId, Plan};
use bytes::{Buf as _, Bytes};
use engine::Input;
use reqwest::header::{CONTENT_ENCODING, HeaderMap, HeaderValue, IF_RANGE};
use reqwest::{Response, StatusCode};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use swarm::StreamError;

#[cfg(test)]
mod tests;

/// Zeros given at once.
const ZEROS: usize = 64 << 10;
/// Bytes of bodies given to the loop at once at most.
const BATCH: usize = 512 << 10;

/// What a stream is to bring, and whom it tells.
pub(crate) struct Errand {
    pub(crate) conn: ConnId,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) tap: Tap,
    pub(crate) inbox: Arc<Inbox<Msg>>,
}

impl std::fmt::Debug for Errand {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Errand { conn, offset, len, .. } = self;
        write!(f, "Errand({conn:?}, {len} bytes at {offset})")
    }
}

/// How a stream came to its end.
enum Stop {
    /// Nobody wants it any more.
    Closed,
    Error(StreamError),
}

impl From<Closed> for Stop {
    fn from(Closed: Closed) -> Self {
        Stop::Closed
    }
}

impl From<StreamError> for Stop {
    fn from(error: StreamError) -> Self {
        Stop::Error(error)
    }
}

/// Brings a stream, and tells its end unless nobody wants to know.
pub(crate) async fn run(web: Arc<Web>, remote: Arc<Remote>, plan: Arc<Plan>, names: Names, errand: Errand) {
    let fetch = async {
        match remote.segments(&plan, names.as_deref(), errand.offset, errand.len) {
            Some(segments) => fetch(&web, &remote, &plan, segments, &errand).await,
            None => Err(StreamError::Missing { at: errand.offset, why: "it does not have this part".into() }.into()),
        }
    };
    let end = tokio::select! {
        end = fetch => end,
        () = errand.tap.closed() => Err(Stop::Closed),
    };
    let end = match end {
        Ok(()) => Ok(()),
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::Closed) => return,
    };
    errand.inbox.put_one(Msg::Input(Input::StreamEnded { conn: errand.conn, end }));
}

async fn fetch(web: &Web, remote: &Remote, plan: &Plan, segments: Vec<Segment>, errand: &Errand) -> Result<(), Stop> {
    for segment in segments {
        match segment {
            Segment::Zeros(mut left) => {
                while left > 0 {
                    let zeros = Bytes::from_static(&[0; ZEROS]);
                    let n = left.min(ZEROS as u64);
                    give(errand, zeros.slice(..n as usize)).await?;
                    left -= n;
                }
            }
            Segment::Read { path, offset, len, at } => read(path, offset, len, at, errand).await?,
            Segment::Get { url, offset, len, total, at } => {
                let wanted = Wanted { url: &url, offset, len, total, at };
                let (answer, skip) = ask(web, remote, plan, wanted).await?;
                pass_on(answer, skip, len, errand).await?;
            }
        }
    }
    Ok(())
}

/// Passes bytes of a file on.
async fn read(path: PathBuf, offset: u64, len: u64, at: u64, errand: &Errand) -> Result<(), Stop> {
    let missing = |path: &Path, why: &dyn std::fmt::Display| StreamError::Missing {
        at,
        why: format!("can't read {}: {why}", path.display()),
    };
    let open = {
        let path = path.clone();
        patiently(SILENCE, move || match plain::open(&path)? {
            Some((file, _)) => Ok(Arc::new(file)),
            None => Err(std::io::Error::other("it is no plain file")),
        })
    };
    let file = open.await?.map_err(|e| missing(&path, &e))?;
    let mut done = 0;
    while done < len {
        let (file, from, n) = (file.clone(), offset + done, (len - done).min(BATCH as u64) as usize);
        let read = patiently(SILENCE, move || {
            let mut buf = vec![0; n];
            file.read_exact_at(&mut buf, from).map(|()| Bytes::from(buf))
        });
        let bytes = read.await?.map_err(|e| missing(&path, &e))?;
        done += bytes.len() as u64;
        give(errand, bytes).await?;
    }
    Ok(())
}

/// What blocks, but no longer than `limit`: the disk may be that of another machine.
async fn patiently<T: Send + 'static>(
    limit: Duration,
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, StreamError> {
    let broken = |why: &str| StreamError::Broken { why: why.into() };
    match tokio::time::timeout(limit, tokio::task::spawn_blocking(work)).await {
        Ok(done) => done.map_err(|_| broken("reading was given up")),
        Err(_) => Err(broken("the disk has brought nothing for a while")),
    }
}

/// Passes `len` bytes of a body on, after the first `skip`.
async fn pass_on(mut answer: Response, mut skip: u64, len: u64, errand: &Errand) -> Result<(), Stop> {
    let mut left = len;
    while left > 0 {
        let broken = |why: String| StreamError::Broken { why };
        // Only now is it silence if nothing comes: at other times it may be us who hold it back.
        let chunk = tokio::time::timeout(SILENCE, answer.chunk()).await;
        let chunk = chunk.map_err(|_| broken("it has sent nothing for a while".into()))?;
        let Some(mut chunk) = chunk.map_err(|e| broken(crate::fetch::words(&e)))? else {
            return Err(broken("the server has ended its answer too early".into()).into());
        };
        while skip > 0 && !chunk.is_empty() {
            let n = errand.tap.take(chunk.len().min(usize::try_from(skip).unwrap_or(usize::MAX))).await?;
            chunk.advance(n);
            skip -= n as u64;
            errand.inbox.put_one(Msg::Input(Input::Skipped { conn: errand.conn, bytes: n as u64 }));
        }
        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
        left -= chunk.len() as u64;
        give(errand, chunk).await?;
    }
    Ok(())
}

/// Gives bytes to the engine, as its credit allows.
async fn give(errand: &Errand, mut bytes: Bytes) -> Result<(), Stop> {
    while !bytes.is_empty() {
        let n = errand.tap.take(bytes.len().min(BATCH)).await?;
        let data = Rope::from(bytes.split_to(n));
        errand.inbox.put_one(Msg::Input(Input::Received { conn: errand.conn, data }));
    }
    Ok(())
}

/// What one request is to bring: `len` bytes at `offset` of what is at a URL and is `total` bytes long.
struct Wanted<'a> {
    url: &'a str,
    offset: u64,
    len: u64,
    total: u64,
    /// Where they begin in the content.
    at: u64,
}

/// Asks for a range, and sees whether the answer is what was asked for. Says also how many bytes come before those that were.
async fn ask(web: &Web, remote: &Remote, plan: &Plan, wanted: Wanted<'_>) -> Result<(Response, u64), StreamError> {
    let Wanted { url, offset, len, total, at } = wanted;
    let digests = Digests::of(plan);
    let named_by = remote.server.named_by;
    let whole = offset == 0 && len == total;
    let mut headers = HeaderMap::new();
    if !whole
        && digests != Digests::OfPieces
        && let Some(tag) = remote.seen().tag(url).and_then(|tag| HeaderValue::from_str(tag).ok())
    {
        headers.insert(IF_RANGE, tag);
    }
    let range = (!whole).then(|| (offset, offset + len.max(1) - 1));
    let request = Request { named_by, range, headers, ..Request::get(url) };
    let answer = web.ask(request).await.map_err(|e| match e {
        super::client::WebError::Refused(why) => StreamError::Wrong { why },
        super::client::WebError::Failed(why) => StreamError::Broken { why },
    })?;
    let status = answer.status();
    let said = || format!("the server says {status}");
    // What is wrong with one file or part says nothing of the others that the server has.
    let missing = |why: String| StreamError::Missing { at, why };
    match status {
        StatusCode::OK | StatusCode::PARTIAL_CONTENT => {}
        _ if is_busy(status) => {
            let seconds = retry_after(answer.headers()).unwrap_or(0).min(u64::from(MAX_WAIT_SECS)) as u32;
            return Err(StreamError::Busy { seconds, why: said() });
        }
        StatusCode::RANGE_NOT_SATISFIABLE => {
            return Err(missing(format!("it has less than {} bytes", offset + len)));
        }
        _ if status.is_client_error() => return Err(missing(said())),
        _ => return Err(StreamError::Broken { why: said() }),
    }
    let headers = answer.headers();
    let text = |name| headers.get(name).and_then(|v: &HeaderValue| v.to_str().ok());
    if text(CONTENT_ENCODING).is_some_and(|e| !e.trim().is_empty() && !e.eq_ignore_ascii_case("identity")) {
        return Err(StreamError::Wrong { why: "it sends a compressed form, which was not asked for".into() });
    }
    let seen = remote.seen().note(url, answer.url(), &Version::of(headers), digests);
    seen.map_err(|why| missing(why.into()))?;
    let other_size = |n: u64| missing(format!("it has {n} bytes, and {total} are wanted"));
    if status == StatusCode::OK {
        if let Some(n) = answer.content_length().filter(|n| *n != total) {
            return Err(other_size(n));
        }
        // It begins at the beginning, whatever it is asked for. What lies before the first block can be thrown away; for more, the
        // engine asks from there.
        let little = offset < u64::from(plan.geometry.block_size());
        return if little { Ok((answer, offset)) } else { Err(StreamError::NoRanges) };
    }
    match content_range(headers) {
        Some((_, _, Some(n))) if n != total => Err(other_size(n)),
        Some((first, last, _)) if first == offset && last == offset + len - 1 => Ok((answer, 0)),
        // Several parts, another part, or none that can be read.
        _ => Err(StreamError::NoRanges),
    }
}

/// A server may ask for so much patience.
const MAX_WAIT_SECS: u32 = 600;
