//! The listener: connections, their limits, and an orderly end.
//!
//! A client may take its time with files, but not with nothing: who sends no request or reads no byte for a while is let
//! go, and there is a bound on connections. Further ones wait in the kernel's queue.

use crate::answer::refuse;
use crate::crew::Crew;
use crate::log::AccessLog;
use crate::message;
use crate::promise::Outbox;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Request as HttpRequest, StatusCode, header};
use axum::response::Response;
use hyper::body::{Body as _, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Who answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one request that came from `from`.
    fn answer(&self, request: Request, from: SocketAddr) -> impl Future<Output = Response> + Send;
}

impl<H: Handler> Handler for Arc<H> {
    fn answer(&self, request: Request, from: SocketAddr) -> impl Future<Output = Response> + Send {
        H::answer(self, request, from)
    }
}

/// What clients may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Threads that have each its own connections; none: they run where [`serve()`] does.
    pub threads: usize,
    /// Connections at once.
    pub connections: usize,
    /// Bytes of a request's head.
    pub head: usize,
    /// Time for the head of a request; also for the next one on a connection that is kept.
    pub head_time: Duration,
    /// Time in which a client must take at least a byte of what is sent to it.
    pub write_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            threads: 0,
            connections: 512,
            head: 64 << 10,
            head_time: Duration::from_secs(30),
            write_time: Duration::from_secs(60),
        }
    }
}

/// Who answers, and how.
#[derive(Debug)]
pub struct Serving<H> {
    /// Who.
    pub handler: H,
    /// Within these.
    pub limits: Limits,
    /// Where requests are written down.
    pub log: Option<Arc<AccessLog>>,
}

impl<H> Serving<H> {
    /// With the usual limits, and no log.
    pub fn new(handler: H) -> Self {
        Serving { handler, limits: Limits::default(), log: None }
    }
}

/// Time for responses under way when the site closes.
const CLOSE_TIME: Duration = Duration::from_secs(3);

/// Answers requests on these listeners until `stop` is done; then lets the responses under way have a little time.
///
/// # Errors
/// If the system gives no threads.
pub async fn serve<H: Handler>(
    serving: Serving<H>,
    listeners: Vec<TcpListener>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let serving = Arc::new(serving);
    let connections = serving.limits.connections.clamp(1, Semaphore::MAX_PERMITS);
    let room = Arc::new(Semaphore::new(connections));
    let (stopping, stopped) = watch::channel(false);
    let (crew, ends) = Crew::new(serving.limits.threads, &serving, &stopped)?;
    let crew = Arc::new(crew);
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(listener, room.clone(), crew.clone()));
    }
    stop.await;
    let _ = stopping.send(true);
    accepting.shutdown().await;
    let _ = tokio::time::timeout(CLOSE_TIME, room.acquire_many(u32::try_from(connections).unwrap_or(u32::MAX))).await;
    drop(crew);
    ends.wait().await;
    Ok(())
}

async fn accept(listener: TcpListener, room: Arc<Semaphore>, crew: Arc<Crew>) {
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        // It goes to another thread's poll, so it leaves this one's.
        let accepted = listener.accept().await.and_then(|(stream, from)| Ok((stream.into_std()?, from)));
        match accepted {
            Ok((stream, from)) => crew.take(stream, from, place).await,
            Err(error) => {
                // Out of file descriptors, mostly: others must end first.
                tracing::warn!("can't accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// Refuses what is no request; gives all others to who answers them.
async fn answer<H: Handler>(handler: &H, mut request: HttpRequest<Incoming>, from: SocketAddr) -> Response {
    if let Err((status, why)) = message::check(&mut request) {
        return message::closing(refuse(status, why));
    }
    let waits = request.headers().contains_key(header::EXPECT);
    let response = handler.answer(request.map(body), from).await;
    // A body that nobody read may still come, or not: where the next request would begin is not sure (RFC 9110, section 10.1.1).
    let unread = waits && response.status().is_client_error() || response.status() == StatusCode::PAYLOAD_TOO_LARGE;
    if unread { message::closing(response) } else { response }
}

/// Most requests have none, which needs no memory.
fn body(body: Incoming) -> Body {
    if body.is_end_stream() { Body::empty() } else { Body::new(body) }
}

pub(crate) async fn connection<H: Handler>(
    serving: Arc<Serving<H>>,
    stream: TcpStream,
    from: SocketAddr,
    mut stopped: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let limits = serving.limits;
    let outbox = Outbox::default();
    let (of_requests, of_socket) = (outbox.clone(), outbox);
    let service = service_fn(move |mut request: HttpRequest<Incoming>| {
        let serving = serving.clone();
        request.extensions_mut().insert(of_requests.clone());
        // In memory of its own: thousands of connections wait, and answer nothing.
        Box::pin(async move {
            let entry = serving.log.as_ref().map(|log| log.begin(&request, from.ip()));
            let response = answer(&serving.handler, request, from).await;
            Ok::<_, Infallible>(match entry {
                Some(entry) => entry.watch(response),
                None => response,
            })
        })
    });
    let io = TokioIo::new(crate::patience::Patient::new(stream, limits.write_time, of_socket));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(limits.head)
        .serve_connection(io, service)
        .with_upgrades();
    tokio::pin!(connection);
    let result = tokio::select! {
        result = connection.as_mut() => result,
        _ = async { drop(stopped.wait_for(|stopped| *stopped).await) } => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = result {
        tracing::debug!("a connection ended: {error}");
    }
}
