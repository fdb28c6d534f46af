//! Application servers behind this one: requests whose path begins with a prefix go there, and their answers come back as they are.
//!
//! Both ways stream. Each request has a connection of its own, and what it says there is written anew from what was understood here: no
//! field of the connection (RFC 9110, section 7.6.1) is passed on, lengths are counted, and what a client says of addresses before it is
//! replaced by what is known. Deliberately not here: TLS to the server behind, a choice among several, and caching.

mod tunnel;

use crate::answer::refuse;
use crate::auth::User;
use crate::serve::Handler;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Request;
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, StatusCode, Uri, Version, request};
use axum::response::Response;
use base::percent;
use http_body::{Frame, SizeHint};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;
use tokio::time::Sleep;

/// Time to connect.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Requests under way at once, tunnels included.
const UNDER_WAY_MAX: usize = 1024;
/// Bytes of an answer's head.
const HEAD_MAX: usize = 64 << 10;
/// Fields of a connection, whatever `Connection` says of them.
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "http2-settings",
];
/// What only a server in front may say, and who it is that asks.
const OF_THE_FRONT: [&str; 8] = [
    "forwarded",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-real-ip",
    "remote-user",
];

/// Where requests go: `PREFIX=URL`. With a path in the URL, that takes the place of the prefix; without one, paths stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    prefix: String,
    /// Host and port.
    server: String,
    path: Option<String>,
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (prefix, url) = text.split_once('=').ok_or("write the prefix of paths, a = and a URL")?;
        if !prefix.starts_with('/') || prefix.contains(['?', '#']) || !is_plain(prefix) {
            return Err(format!("{prefix:?} is no path: it begins with a slash"));
        }
        let rest = url
            .strip_prefix("http://")
            .ok_or_else(|| format!("{url} is no http:// URL, which the server behind must have"))?;
        let (server, path) = match rest.find('/') {
            Some(at) => (&rest[..at], Some(&rest[at..])),
            None => (rest, None),
        };
        let sound = url.parse::<Uri>().is_ok_and(|u| u.query().is_none() && u.host().is_some_and(|h| !h.is_empty()));
        if !sound || server.contains('@') || url.contains('#') {
            return Err(format!("{url} is no URL of a server; write http://HOST:PORT or http://HOST:PORT/PATH"));
        }
        let has_port = server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let server = if has_port { server.to_owned() } else { format!("{server}:80") };
        Ok(Route { prefix: prefix.trim_end_matches('/').to_owned(), server, path: path.map(ToOwned::to_owned) })
    }
}

impl Route {
    /// What a path is there; None: it does not begin with the prefix.
    fn target(&self, uri: &Uri) -> Option<String> {
        let rest = uri.path().strip_prefix(&self.prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))?;
        let path = match &self.path {
            None => uri.path().to_owned(),
            Some(path) => format!("{}{rest}", path.trim_end_matches('/')),
        };
        let path = if path.is_empty() { "/".to_owned() } else { path };
        Some(uri.query().map_or(path.clone(), |query| format!("{path}?{query}")))
    }
}

/// Nothing in the path walks up, in any writing.
fn is_plain(path: &str) -> bool {
    path.split('/').all(|name| !matches!(&percent::decode(name.as_bytes())[..], b".." | b"."))
}

/// Servers behind a site.
#[derive(Debug)]
pub struct Proxied<H> {
    /// What answers all other paths.
    pub handler: H,
    /// Where which paths go; the longest prefix counts.
    pub routes: Vec<Route>,
    /// Time in which a server must say something.
    pub patience: Duration,
    /// Bytes of a request's body.
    pub body: u64,
    turns: Arc<Semaphore>,
}

impl<H> Proxied<H> {
    /// A site with servers behind some of its paths.
    pub fn new(handler: H, routes: Vec<Route>, patience: Duration, body: u64) -> Self {
        let turns = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        Proxied { handler, routes, patience, body, turns }
    }
}

impl<H: Handler> Handler for Proxied<H> {
    async fn answer(&self, request: Request, from: SocketAddr) -> Response {
        let targets = self.routes.iter().filter_map(|route| Some((route, route.target(request.uri())?)));
        let Some((route, target)) = targets.max_by_key(|(route, _)| route.prefix.len()) else {
            return self.handler.answer(request, from).await;
        };
        if !is_plain(request.uri().path()) {
            return refuse(StatusCode::BAD_REQUEST, "this path walks up");
        }
        let length = request.body().size_hint().exact().unwrap_or(0);
        if length > self.body {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too long");
        }
        let Ok(turn) = self.turns.clone().try_acquire_owned() else {
            return refuse(StatusCode::SERVICE_UNAVAILABLE, "too many requests are under way; try again in a while");
        };
        let path = request.uri().path().to_owned();
        self.pass(route, &target, request, from, turn).await.unwrap_or_else(|error| {
            tracing::error!("{path}: {error} (of http://{})", route.server);
            refuse(error.status(), error.words())
        })
    }
}

/// Why there is no answer of the server behind.
#[derive(Debug, thiserror::Error)]
enum ProxyError {
    #[error("the server can't be reached: {0}")]
    Connect(io::Error),
    #[error("the server said nothing for too long")]
    Silent,
    #[error("the request's body is too long")]
    Large,
    #[error("the server changes to another protocol, which nobody asked for")]
    Unasked,
    #[error("the path is none there")]
    Path,
    #[error("the server's answer can't be understood: {0}")]
    Answer(#[from] hyper::Error),
}

impl ProxyError {
    fn status(&self) -> StatusCode {
        match self {
            ProxyError::Silent => StatusCode::GATEWAY_TIMEOUT,
            ProxyError::Large => StatusCode::PAYLOAD_TOO_LARGE,
            ProxyError::Path => StatusCode::BAD_REQUEST,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// What strangers learn of it.
    fn words(&self) -> &'static str {
        match self {
            ProxyError::Silent => "the server behind this page did not answer in time",
            ProxyError::Large => "the request's body is too long",
            ProxyError::Path => "this is no path",
            _ => "the server behind this page has failed",
        }
    }
}

impl<H> Proxied<H> {
    async fn pass(
        &self,
        route: &Route,
        target: &str,
        mut request: Request,
        from: SocketAddr,
        turn: OwnedSemaphorePermit,
    ) -> Result<Response, ProxyError> {
        let upgrade = tunnel::asked(request.headers());
        let client = upgrade.is_some().then(|| hyper::upgrade::on(&mut request));
        let (mut parts, body) = request.into_parts();
        told(&mut parts, from, upgrade);
        parts.uri = target.parse().map_err(|_| ProxyError::Path)?;
        parts.version = Version::HTTP_11;
        let connect = tokio::time::timeout(CONNECT_TIME, TcpStream::connect(&route.server));
        let stream = connect.await.map_err(|_| ProxyError::Silent)?.map_err(ProxyError::Connect)?;
        stream.set_nodelay(true).map_err(ProxyError::Connect)?;
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(HEAD_MAX).handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(async move { drop(connection.with_upgrades().await) });
        let guard = Guard(connection.abort_handle());
        let fed = Arc::new(Fed::default());
        let body = Fetched { body, fed: fed.clone(), left: self.body };
        let answer = sender.send_request(Request::from_parts(parts, body));
        tokio::pin!(answer);
        let mut heard = 0;
        let answer = loop {
            match tokio::time::timeout(self.patience, &mut answer).await {
                Ok(Err(_)) if fed.large.load(Ordering::Relaxed) => return Err(ProxyError::Large),
                Ok(answer) => break answer?,
                // It is still being told.
                Err(_) if fed.so_far.load(Ordering::Relaxed) > heard => heard = fed.so_far.load(Ordering::Relaxed),
                Err(_) => return Err(ProxyError::Silent),
            }
        };
        let (mut parts, body) = answer.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return tunnel::open(parts, body, client, (guard, turn));
        }
        without_hops(&mut parts.headers);
        let wait = Box::pin(tokio::time::sleep(self.patience));
        let body = Passed { body, wait, patience: self.patience, _held: (guard, turn) };
        Ok(Response::from_parts(parts, Body::new(body)))
    }
}

/// What the server behind is told beside what the client says.
fn told(parts: &mut request::Parts, from: SocketAddr, upgrade: Option<HeaderValue>) {
    let headers = &mut parts.headers;
    without_hops(headers);
    OF_THE_FRONT.iter().for_each(|name| drop(headers.remove(*name)));
    // It has been answered here.
    headers.remove(header::EXPECT);
    let ip = from.ip().to_canonical();
    let node = if ip.is_ipv6() { format!("\"[{ip}]\"") } else { ip.to_string() };
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default().to_owned();
    let user = parts.extensions.get::<User>().map(|User(name)| name.to_string());
    for (name, value) in [
        ("x-forwarded-for", Some(ip.to_string())),
        ("x-real-ip", Some(ip.to_string())),
        ("x-forwarded-proto", Some("http".to_owned())),
        ("x-forwarded-host", Some(host.clone())),
        ("forwarded", Some(format!("for={node};host=\"{host}\";proto=http"))),
        ("remote-user", user),
    ] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if headers.get(header::HOST).is_none() {
        headers.insert(header::HOST, HeaderValue::from_static(""));
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

/// Takes off what belongs to one connection.
fn without_hops(headers: &mut HeaderMap) {
    let lines = headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
    let named: Vec<HeaderName> =
        lines.flat_map(|line| line.split(',')).filter_map(|name| name.trim().parse().ok()).collect();
    // Nobody may have the host or the length taken off by naming them there.
    for name in named.iter().filter(|name| **name != header::HOST && **name != header::CONTENT_LENGTH) {
        headers.remove(name);
    }
    HOP_BY_HOP.iter().for_each(|name| drop(headers.remove(*name)));
}

/// The connection to a server ends with whoever waits for its answer.
#[derive(Debug)]
struct Guard(AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// How a body goes.
#[derive(Debug, Default)]
struct Fed {
    so_far: AtomicU64,
    large: AtomicBool,
}

/// A request's body on its way, within its limit.
struct Fetched {
    body: Body,
    fed: Arc<Fed>,
    left: u64,
}

impl HttpBody for Fetched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let len = frame.data_ref().map_or(0, |data| data.len() as u64);
            match self.left.checked_sub(len) {
                Some(left) => self.left = left,
                None => {
                    self.fed.large.store(true, Ordering::Relaxed);
                    return Poll::Ready(Some(Err(axum::Error::new(ProxyError::Large))));
                }
            }
            self.fed.so_far.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// An answer's body on its way: it breaks off where the server says nothing for too long.
struct Passed {
    body: hyper::body::Incoming,
    wait: Pin<Box<Sleep>>,
    patience: Duration,
    _held: (Guard, OwnedSemaphorePermit),
}

impl HttpBody for Passed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let this = &mut *self;
        match Pin::new(&mut this.body).poll_frame(cx) {
            Poll::Ready(frame) => {
                this.wait.as_mut().reset(tokio::time::Instant::now() + this.patience);
                Poll::Ready(frame.map(|frame| frame.map_err(axum::Error::new)))
            }
            Poll::Pending => match Future::poll(this.wait.as_mut(), cx) {
                Poll::Ready(()) => {
                    tracing::error!("an answer breaks off: the server behind said nothing for too long");
                    Poll::Ready(Some(Err(axum::Error::new(ProxyError::Silent))))
                }
                Poll::Pending => Poll::Pending,
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_paths_go() {
        let target = |route: &str, uri: &'static str| {
            route.parse::<Route>().unwrap().target(&Uri::from_static(uri)).unwrap_or_default()
        };
        assert_eq!(target("/app=http://h:1", "/app/x?y=%2F"), "/app/x?y=%2F");
        assert_eq!(target("/app=http://h:1/", "/app/x?y"), "/x?y");
        assert_eq!(target("/app/=http://h:1/base/", "/app/x"), "/base/x");
        assert_eq!(target("/app=http://h:1/", "/app"), "/");
        assert_eq!(target("/=http://h:1", "/a/b"), "/a/b");
        assert_eq!(target("/app=http://h:1", "/apple"), "");
        assert_eq!("/a=http://h".parse::<Route>().unwrap().server, "h:80");
        assert_eq!("/a=http://[::1]:81/x".parse::<Route>().unwrap().server, "[::1]:81");
        for wrong in [
            "/a",
            "a=http://h",
            "/a=https://h",
            "/a=h:1",
            "/a=http://",
            "/a=http://u@h",
            "/a=http://h?x",
            "/../a=http://h",
        ] {
            assert!(wrong.parse::<Route>().is_err(), "{wrong}");
        }
        assert!(!is_plain("/a/%2e%2E/b") && !is_plain("/a/./b") && is_plain("/a/..b/%2f"));
    }

    #[test]
    fn what_belongs_to_a_connection_stays_on_it() {
        let mut parts = Request::builder()
            .header("host", "a.example")
            .header("connection", "close, X-Own, host, content-length")
            .header("content-length", "3")
            .header("x-own", "1")
            .header("te", "trailers")
            .header("x-forwarded-for", "10.0.0.1")
            .header("forwarded", "for=10.0.0.1")
            .header("remote-user", "root")
            .header("cookie", "a=1")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        parts.extensions.insert(User("ada".into()));
        told(&mut parts, "[2001:db8::1]:5".parse().unwrap(), None);
        let mut all: Vec<_> = parts.headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        all.sort();
        assert_eq!(
            all,
            [
                "content-length: 3",
                "cookie: a=1",
                "forwarded: for=\"[2001:db8::1]\";host=\"a.example\";proto=http",
                "host: a.example",
                "remote-user: ada",
                "x-forwarded-for: 2001:db8::1",
                "x-forwarded-host: a.example",
                "x-forwarded-proto: http",
                "x-real-ip: 2001:db8::1",
            ]
        );
    }
}
