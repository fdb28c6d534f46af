//! Parts on servers: any that answers GET and HEAD, and takes PUT (RFC 9110).

use super::Trouble;
use crate::fetch::words;
use crate::http::client::{NamedBy, Web, WebError, strip_login};
use crate::http::headers::{content_range, is_busy};
use crate::http::netrc::{Login, Netrc};
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use reqwest::header::{LOCATION, RANGE};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// Time without a byte of an answer.
const SILENCE: Duration = Duration::from_secs(30);
/// Time without a byte that a server takes, and for it to store the last of them.
const STALL: Duration = Duration::from_secs(120);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// What to do where only the manifest names a target.
pub(super) const NAME_IT: &str = "only the manifest names it: name it with --across, if you want parts there";

/// Takes a name and a password out of a URL.
pub(super) fn take_login(url: &mut Url) -> Option<Login> {
    if url.username().is_empty() && url.password().is_none() {
        return None;
    }
    let decode = |text: &str| String::from_utf8_lossy(&base::percent::decode(text.as_bytes())).into_owned();
    let login = Login { name: decode(url.username()), password: url.password().map(decode) };
    strip_login(url);
    Some(login)
}

/// Where something is on a server, and who says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Without a password.
    pub url: String,
    /// The name and the password that the user gave with it.
    pub login: Option<Login>,
    /// What others than the user name is judged before it is contacted.
    pub named_by: NamedBy,
}

/// Talks to servers.
#[derive(Clone, Debug)]
pub(super) struct Server {
    web: Arc<Web>,
}

impl Server {
    /// One that knows these passwords, too.
    pub(super) fn new(logins: Netrc) -> Self {
        Server { web: Arc::new(Web::patient(logins)) }
    }

    fn request(&self, method: Method, at: &Address) -> Result<RequestBuilder, Trouble> {
        // With its password at once: a server that has to ask for it would have been sent a part in vain.
        self.web.prepare(method, &at.url, at.named_by, at.login.as_ref()).map_err(|e| match (e, at.named_by) {
            (WebError::Failed(why), _) => Trouble::Unreachable(why),
            (WebError::Refused(why), NamedBy::User) => Trouble::Refused(why),
            (WebError::Refused(why), NamedBy::Told(_)) => Trouble::Refused(format!("{why}; {NAME_IT}")),
        })
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Trouble> {
        let answer = tokio::time::timeout(SILENCE, request.send()).await;
        answer
            .map_err(|_| Trouble::Unreachable("no answer in time".into()))?
            .map_err(|e| Trouble::Unreachable(words(&e)))
    }

    /// Bytes in what is there.
    pub(super) async fn len(&self, at: &Address) -> Result<u64, Trouble> {
        let answer = self.send(self.request(Method::HEAD, at)?).await?;
        let length = answer.headers().get("content-length").and_then(|v| v.to_str().ok()?.parse().ok());
        match (answer.status(), length) {
            (StatusCode::OK, Some(length)) => return Ok(length),
            // Some have no HEAD, some don't say with it.
            (StatusCode::OK | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED, _) => {}
            _ => return Err(refused(&answer)),
        }
        let answer = self.send(self.request(Method::GET, at)?.header(RANGE, "bytes=0-0")).await?;
        let whole = || answer.headers().get("content-length")?.to_str().ok()?.parse().ok();
        let known = match answer.status() {
            StatusCode::PARTIAL_CONTENT => content_range(answer.headers()).and_then(|(.., total)| total),
            StatusCode::RANGE_NOT_SATISFIABLE => Some(0),
            StatusCode::OK => whole(),
            _ => return Err(refused(&answer)),
        };
        known.ok_or_else(|| Trouble::Refused("it does not say how long the part is".into()))
    }

    /// Up to `len` bytes at `offset` of what is there.
    pub(super) async fn read(&self, at: &Address, offset: u64, len: u64) -> Result<Bytes, Trouble> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        let range = format!("bytes={offset}-{}", offset + len - 1);
        let mut answer = self.send(self.request(Method::GET, at)?.header(RANGE, range)).await?;
        let mut skip = match answer.status() {
            StatusCode::PARTIAL_CONTENT
                if content_range(answer.headers()).is_some_and(|(first, ..)| first == offset) =>
            {
                0
            }
            StatusCode::PARTIAL_CONTENT => {
                return Err(Trouble::Refused("it answers with another range than asked for".into()));
            }
            StatusCode::RANGE_NOT_SATISFIABLE => return Ok(Bytes::new()),
            StatusCode::OK => offset,
            _ => return Err(refused(&answer)),
        };
        let mut got = BytesMut::new();
        loop {
            let chunk = tokio::time::timeout(SILENCE, answer.chunk()).await;
            let chunk = chunk.map_err(|_| Trouble::Unreachable("the answer stopped coming".into()))?;
            let Some(mut chunk) = chunk.map_err(|e| Trouble::Unreachable(words(&e)))? else { break };
            let skipped = skip.min(chunk.len() as u64);
            skip -= skipped;
            bytes::Buf::advance(&mut chunk, skipped as usize);
            let room = len as usize - got.len();
            got.extend_from_slice(&chunk[..chunk.len().min(room)]);
            if got.len() as u64 == len {
                break;
            }
        }
        Ok(got.freeze())
    }

    /// Puts what comes out of `content`, `len` bytes, there.
    pub(super) async fn put(
        &self,
        at: &Address,
        len: u64,
        content: mpsc::Receiver<io::Result<Bytes>>,
    ) -> Result<(), Trouble> {
        let state = Arc::new(Sent::default());
        let body = Sending { content, left: len, state: state.clone() };
        let request = self.request(Method::PUT, at)?.body(reqwest::Body::wrap(body)).send();
        tokio::pin!(request);
        let mut patience = Patience::default();
        let answer = loop {
            tokio::select! {
                answer = &mut request => break answer.map_err(|e| Trouble::Unreachable(words(&e)))?,
                () = tokio::time::sleep(LOOK) => {
                    if patience.is_over(&state) {
                        return Err(Trouble::Unreachable("it stopped taking the part".into()));
                    }
                }
            }
        };
        match answer.status() {
            StatusCode::OK | StatusCode::CREATED | StatusCode::NO_CONTENT => Ok(()),
            _ => Err(put_refused(&answer)),
        }
    }
}

/// An answer that is none, in words.
fn refused(answer: &Response) -> Trouble {
    let status = answer.status();
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Trouble::Missing,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Trouble::Refused(format!(
            "{status}; name the target with a name and a password that may, http://NAME:PASSWORD@HOST/..., or have them in a file, see --netrc"
        )),
        StatusCode::NOT_IMPLEMENTED | StatusCode::INSUFFICIENT_STORAGE => Trouble::Refused(status.to_string()),
        _ if is_busy(status) || status.is_server_error() => Trouble::Unreachable(status.to_string()),
        _ if status.is_redirection() => {
            let to = answer.headers().get(LOCATION).and_then(|v| v.to_str().ok()).unwrap_or("nowhere");
            Trouble::Refused(format!("{status}; it sends us to {to}: name that server instead"))
        }
        _ => Trouble::Refused(status.to_string()),
    }
}

fn put_refused(answer: &Response) -> Trouble {
    let status = answer.status();
    let advice = match status {
        StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => {
            "it takes no files there; start it so that it does (shoal serve --write, or dav_methods PUT of nginx)"
        }
        StatusCode::PAYLOAD_TOO_LARGE => {
            "the part is too large for it; raise its limit (serve --max-file, or client_max_body_size of nginx)"
        }
        StatusCode::CONFLICT => "the folder may not be there, or the part may be a folder; make the folder first",
        StatusCode::INSUFFICIENT_STORAGE => "there is no room for it; make room, or name another target",
        _ => return refused(answer),
    };
    Trouble::Refused(format!("{status}: {advice}"))
}

/// The body of a PUT. It knows how long it is, so that servers can refuse it early.
struct Sending {
    content: mpsc::Receiver<io::Result<Bytes>>,
    left: u64,
    state: Arc<Sent>,
}

/// How far a body is, for who watches it.
#[derive(Debug, Default)]
struct Sent {
    /// Bytes that the connection has taken.
    taken: AtomicU64,
    /// The connection would take more, but whoever fills the body has none yet.
    hungry: AtomicBool,
}

/// Whether a server still takes what it is sent. Where the bytes come from may be slow: that is not its fault.
#[derive(Debug, Default)]
struct Patience {
    before: u64,
    quiet: Duration,
}

impl Patience {
    /// Looks once more, [`LOOK`] after the last time. True: it has not taken what there was for too long.
    fn is_over(&mut self, sent: &Sent) -> bool {
        let now = sent.taken.load(Ordering::Relaxed);
        let waits = now == self.before && !sent.hungry.load(Ordering::Relaxed);
        self.quiet = if waits { self.quiet + LOOK } else { Duration::ZERO };
        self.before = now;
        self.quiet >= STALL
    }
}

impl Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let next = self.content.poll_recv(cx);
        self.state.hungry.store(next.is_pending(), Ordering::Relaxed);
        let next = std::task::ready!(next);
        // Whoever fills it and is gone before the end has failed.
        let next = next.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
        Poll::Ready(Some(next.map(|bytes| {
            self.left = self.left.saturating_sub(bytes.len() as u64);
            self.state.taken.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            Frame::data(bytes)
        })))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;

    #[tokio::test]
    async fn a_slow_source_is_not_blamed_on_the_target() {
        let (tx, content) = mpsc::channel(1);
        let state = Arc::new(Sent::default());
        let mut body = Sending { content, left: 10, state: state.clone() };
        let mut patience = Patience::default();
        let looks = STALL.as_secs() / LOOK.as_secs();
        let mut poll = async || {
            poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx).map(|frame| frame.map(|f| f.is_ok())))).await
        };
        // The connection asks for bytes, and there are none.
        assert_eq!(poll().await, Poll::Pending);
        assert!((0..3 * looks).all(|_| !patience.is_over(&state)), "nobody gave it any");
        // There are some, and it takes them, but no more.
        tx.send(Ok(Bytes::from_static(b"five "))).await.unwrap();
        assert_eq!(poll().await, Poll::Ready(Some(true)));
        assert!(!patience.is_over(&state));
        assert!((1..looks).all(|_| !patience.is_over(&state)) && patience.is_over(&state));
        // The last bytes are there, and it does not answer.
        tx.send(Ok(Bytes::from_static(b"bytes"))).await.unwrap();
        assert_eq!(poll().await, Poll::Ready(Some(true)));
        let mut patience = Patience { before: 10, ..Patience::default() };
        assert!((1..looks).all(|_| !patience.is_over(&state)) && patience.is_over(&state));
    }
}
