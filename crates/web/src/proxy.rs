//! Application servers behind this one: requests whose path begins with a prefix go there, and their answers come back as they are.
//!
//! Both ways stream. Each request has a connection of its own, and what it says there is written anew from what was understood here: no
//! field of the connection (RFC 9110, section 7.6.1) is passed on, lengths are counted, and what a client says of addresses before it is
//! replaced by what is known. Deliberately not here: TLS to the server behind, a choice among several, and caching.

mod bodies;
mod fields;
mod route;
mod tunnel;

use crate::answer::{allows, busy, refuse};
use crate::chance::chance;
use crate::hops::without_hops;
use crate::say::printable;
use crate::serve::Handler;
use axum::body::Body;
use axum::extract::Request;
use axum::http::header;
use axum::http::{Method, StatusCode, Version};
use axum::response::Response;
use bodies::{Fed, Fetched, Passed};
use http_body::Body as _;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
pub use route::Route;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::AbortHandle;

/// Time to connect.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Requests under way at once, tunnels included.
const UNDER_WAY_MAX: usize = 1024;
/// Seconds after which who found no room may come again.
const RETRY: u32 = 10;
/// Bytes of an answer's head.
const HEAD_MAX: usize = 64 << 10;
/// What is handed on. What a request says of itself is nothing to give back to scripts (TRACE), and nobody has tunnels made (CONNECT).
const ALLOW: &str = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";

/// Servers behind a site.
#[derive(Debug)]
pub struct Proxied<H> {
    /// What answers all other paths.
    pub handler: H,
    /// Where which paths go; the longest prefix counts.
    pub routes: Vec<Route>,
    /// Time in which a server must say something, and in which a client must send some of the body it announced.
    pub patience: Duration,
    /// Bytes of a request's body.
    pub body: u64,
    turns: Arc<Semaphore>,
    /// Its name on the way, which nobody else has: what comes by twice goes round in circles.
    name: String,
}

impl<H> Proxied<H> {
    /// A site with servers behind some of its paths.
    pub fn new(handler: H, routes: Vec<Route>, patience: Duration, body: u64) -> Self {
        let turns = Arc::new(Semaphore::new(UNDER_WAY_MAX));
        let name = format!("shoal-{:08x}", chance() as u32);
        Proxied { handler, routes, patience, body, turns, name }
    }
}

impl<H: Handler> Handler for Proxied<H> {
    async fn answer(&self, mut request: Request, from: SocketAddr) -> Response {
        let targets = self.routes.iter().filter_map(|route| Some((route, route.target(request.uri())?)));
        let Some((route, target)) = targets.max_by_key(|(route, _)| route.depth()) else {
            return self.handler.answer(request, from).await;
        };
        if !route::is_plain(request.uri().path()) {
            return refuse(StatusCode::BAD_REQUEST, "this path walks up");
        }
        let method = request.method().clone();
        if matches!(method, Method::CONNECT | Method::TRACE) {
            return allows(StatusCode::METHOD_NOT_ALLOWED, ALLOW);
        }
        if fields::came_by(request.headers(), &self.name) {
            tracing::error!(
                "{}: http://{} is this server itself",
                printable(request.uri().path().as_bytes()),
                route.server
            );
            return refuse(StatusCode::LOOP_DETECTED, "the server behind this page is this one");
        }
        if !fields::count_down(&method, request.headers_mut()) {
            return allows(StatusCode::NO_CONTENT, ALLOW);
        }
        let length = request.body().size_hint().exact().unwrap_or(0);
        if length > self.body {
            return refuse(StatusCode::PAYLOAD_TOO_LARGE, "the request's body is too long");
        }
        let Ok(turn) = self.turns.clone().try_acquire_owned() else {
            return busy("too many requests are under way; try again in a while", RETRY);
        };
        let path = request.uri().path().to_owned();
        Box::pin(self.pass(route, &target, request, from, turn)).await.unwrap_or_else(|error| {
            if error.status().is_server_error() {
                tracing::error!("{}: {error} (of http://{})", printable(path.as_bytes()), route.server);
            }
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
    #[error("the request's body comes too slowly")]
    Slow,
    #[error("the request's body did not arrive whole")]
    Broken,
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
            ProxyError::Slow => StatusCode::REQUEST_TIMEOUT,
            ProxyError::Path | ProxyError::Broken => StatusCode::BAD_REQUEST,
            _ => StatusCode::BAD_GATEWAY,
        }
    }

    /// What strangers learn of it.
    fn words(&self) -> &'static str {
        match self {
            ProxyError::Silent => "the server behind this page did not answer in time",
            ProxyError::Large => "the request's body is too long",
            ProxyError::Slow => "the request's body comes too slowly",
            ProxyError::Broken => "the request's body did not arrive whole",
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
        let on_upgrade = hyper::upgrade::on(&mut request);
        let (mut parts, body) = request.into_parts();
        let upgrade = tunnel::asked(&parts);
        let client = upgrade.is_some().then_some(on_upgrade);
        fields::tell(&mut parts, from, upgrade, &self.name);
        parts.uri = target.parse().map_err(|_| ProxyError::Path)?;
        parts.version = Version::HTTP_11;
        let head = parts.method == Method::HEAD;
        let connect = tokio::time::timeout(CONNECT_TIME, TcpStream::connect(&route.server));
        let stream = connect.await.map_err(|_| ProxyError::Silent)?.map_err(ProxyError::Connect)?;
        stream.set_nodelay(true).map_err(ProxyError::Connect)?;
        let (mut sender, connection) =
            http1::Builder::new().max_buf_size(HEAD_MAX).handshake(TokioIo::new(stream)).await?;
        let connection = tokio::spawn(async move { drop(connection.with_upgrades().await) });
        let guard = Guard(connection.abort_handle());
        let fed = Arc::new(Fed::default());
        let body = Fetched::new(body, fed.clone(), self.body, self.patience);
        let answer = sender.send_request(Request::from_parts(parts, Body::new(body)));
        tokio::pin!(answer);
        let mut heard = 0;
        let answer = loop {
            match tokio::time::timeout(self.patience, &mut answer).await {
                Ok(Err(error)) => return Err(fed.trouble().unwrap_or(ProxyError::Answer(error))),
                Ok(Ok(answer)) => break answer,
                // It is still being told.
                Err(_) if fed.waits() => {}
                Err(_) if fed.so_far() > heard => heard = fed.so_far(),
                Err(_) => return Err(ProxyError::Silent),
            }
        };
        let (mut parts, body) = answer.into_parts();
        if parts.status == StatusCode::SWITCHING_PROTOCOLS {
            return tunnel::open(parts, body, client, (guard, turn));
        }
        without_hops(&mut parts.headers);
        parts.version = Version::HTTP_11;
        // How long a body is was read off already: a field that says something else, or stands beside chunks, is not handed on.
        if !head && parts.status != StatusCode::NOT_MODIFIED {
            parts.headers.remove(header::CONTENT_LENGTH);
        }
        let body = Passed::new(body, self.patience, (guard, turn));
        Ok(Response::from_parts(parts, Body::new(body)))
    }
}

/// The connection to a server ends with whoever waits for its answer.
#[derive(Debug)]
struct Guard(AbortHandle);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.abort();
    }
}
