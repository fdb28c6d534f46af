//! Parts on servers: any that answers GET and HEAD, and takes PUT (RFC 9110).

use super::Trouble;
use crate::fetch::words;
use crate::http::client::{strip_login, to_servers};
use crate::http::headers::content_range;
use bytes::{Bytes, BytesMut};
use hyper::body::{Body, Frame, SizeHint};
use reqwest::header::{ACCEPT_ENCODING, LOCATION, RANGE};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::sync::mpsc;

/// Time without a byte of an answer.
const SILENCE: Duration = Duration::from_secs(30);
/// Time without a byte that a server takes, and for it to store the last of them.
const STALL: Duration = Duration::from_secs(120);
/// How often that is looked at.
const LOOK: Duration = Duration::from_secs(5);
/// Connections kept to one server between two requests.
const IDLE_MAX: usize = 4;

/// A name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Login {
    name: String,
    password: Option<String>,
}

impl std::fmt::Debug for Login {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Login(..)")
    }
}

impl Login {
    /// Takes it out of a URL.
    pub(super) fn take(url: &mut Url) -> Option<Self> {
        if url.username().is_empty() && url.password().is_none() {
            return None;
        }
        let decode = |text: &str| String::from_utf8_lossy(&base::percent::decode(text.as_bytes())).into_owned();
        let login = Login { name: decode(url.username()), password: url.password().map(decode) };
        strip_login(url);
        Some(login)
    }
}

/// Talks to servers.
#[derive(Clone, Debug)]
pub(super) struct Server {
    client: reqwest::Client,
}

impl Server {
    pub(super) fn new() -> Result<Self, Trouble> {
        let client = to_servers().pool_max_idle_per_host(IDLE_MAX);
        client.build().map(|client| Server { client }).map_err(|e| Trouble::Other(words(&e)))
    }

    fn request(&self, method: Method, url: &str, login: Option<&Login>) -> RequestBuilder {
        let request = self.client.request(method, url).header(ACCEPT_ENCODING, "identity");
        match login {
            // At once: a server that has to ask for it would have been sent a part in vain.
            Some(login) => request.basic_auth(&login.name, login.password.as_ref()),
            None => request,
        }
    }

    async fn send(&self, request: RequestBuilder) -> Result<Response, Trouble> {
        let answer = tokio::time::timeout(SILENCE, request.send()).await;
        answer
            .map_err(|_| Trouble::Unreachable("no answer in time".into()))?
            .map_err(|e| Trouble::Unreachable(words(&e)))
    }

    /// Bytes in what is at `url`.
    pub(super) async fn len(&self, url: &str, login: Option<&Login>) -> Result<u64, Trouble> {
        let answer = self.send(self.request(Method::HEAD, url, login)).await?;
        let length = answer.headers().get("content-length").and_then(|v| v.to_str().ok()?.parse().ok());
        match (answer.status(), length) {
            (StatusCode::OK, Some(length)) => return Ok(length),
            // Some have no HEAD, some don't say with it.
            (StatusCode::OK | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED, _) => {}
            _ => return Err(refused(&answer)),
        }
        let answer = self.send(self.request(Method::GET, url, login).header(RANGE, "bytes=0-0")).await?;
        let whole = || answer.headers().get("content-length")?.to_str().ok()?.parse().ok();
        let known = match answer.status() {
            StatusCode::PARTIAL_CONTENT => content_range(answer.headers()).and_then(|(.., total)| total),
            StatusCode::RANGE_NOT_SATISFIABLE => Some(0),
            StatusCode::OK => whole(),
            _ => return Err(refused(&answer)),
        };
        known.ok_or_else(|| Trouble::Refused("it does not say how long the part is".into()))
    }

    /// Up to `len` bytes at `offset` of what is at `url`.
    pub(super) async fn read(&self, url: &str, login: Option<&Login>, offset: u64, len: u64) -> Result<Bytes, Trouble> {
        if len == 0 {
            return Ok(Bytes::new());
        }
        let range = format!("bytes={offset}-{}", offset + len - 1);
        let mut answer = self.send(self.request(Method::GET, url, login).header(RANGE, range)).await?;
        let mut skip = match answer.status() {
            StatusCode::PARTIAL_CONTENT if content_range(answer.headers()).is_some_and(|(at, ..)| at == offset) => 0,
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

    /// Puts what comes out of `content`, `len` bytes, at `url`. `taken` counts what the server has taken.
    pub(super) async fn put(
        &self,
        url: &str,
        login: Option<&Login>,
        len: u64,
        content: mpsc::Receiver<io::Result<Bytes>>,
        taken: Arc<AtomicU64>,
    ) -> Result<(), Trouble> {
        let body = Sending { content, left: len, taken: taken.clone() };
        let request = self.request(Method::PUT, url, login).body(reqwest::Body::wrap(body)).send();
        tokio::pin!(request);
        let (mut before, mut quiet) = (0, Duration::ZERO);
        let answer = loop {
            tokio::select! {
                answer = &mut request => break answer.map_err(|e| Trouble::Unreachable(words(&e)))?,
                () = tokio::time::sleep(LOOK) => {
                    let now = taken.load(Ordering::Relaxed);
                    quiet = if now == before { quiet + LOOK } else { Duration::ZERO };
                    before = now;
                    if quiet >= STALL {
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

/// Where a range begins, and how long the whole is.
/// An answer that is none, in words.
fn refused(answer: &Response) -> Trouble {
    let status = answer.status();
    match status {
        StatusCode::NOT_FOUND | StatusCode::GONE => Trouble::Missing,
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Trouble::Refused(format!(
            "{status}; name the target with a name and a password that may: http://NAME:PASSWORD@HOST/..."
        )),
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS => Trouble::Unreachable(status.to_string()),
        _ if status.is_server_error()
            && status != StatusCode::NOT_IMPLEMENTED
            && status != StatusCode::INSUFFICIENT_STORAGE =>
        {
            Trouble::Unreachable(status.to_string())
        }
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
    taken: Arc<AtomicU64>,
}

impl Body for Sending {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let next = std::task::ready!(self.content.poll_recv(cx));
        // Whoever fills it and is gone before the end has failed.
        let next = next.unwrap_or_else(|| Err(io::ErrorKind::UnexpectedEof.into()));
        Poll::Ready(Some(next.map(|bytes| {
            self.left = self.left.saturating_sub(bytes.len() as u64);
            self.taken.fetch_add(bytes.len() as u64, Ordering::Relaxed);
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
