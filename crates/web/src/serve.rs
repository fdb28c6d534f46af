//! The listener: connections, their limits, and an orderly end.
//!
//! A client may take its time with files, but not with nothing: who sends no request or reads no byte for a while is let
//! go, and there is a bound on connections. Further ones wait in the kernel's queue.

use crate::answer::refuse;
use crate::log::AccessLog;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{Request as HttpRequest, StatusCode, Version, header};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
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
pub async fn serve<H: Handler>(serving: Serving<H>, listeners: Vec<TcpListener>, stop: impl Future<Output = ()>) {
    let serving = Arc::new(serving);
    let connections = serving.limits.connections.clamp(1, Semaphore::MAX_PERMITS);
    let room = Arc::new(Semaphore::new(connections));
    let (stopping, stopped) = watch::channel(false);
    let connections_open = Arc::new(Mutex::new(JoinSet::new()));
    let mut accepting = JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(serving.clone(), listener, room.clone(), connections_open.clone(), stopped.clone()));
    }
    stop.await;
    let _ = stopping.send(true);
    accepting.abort_all();
    let _ = tokio::time::timeout(CLOSE_TIME, room.acquire_many(u32::try_from(connections).unwrap_or(u32::MAX))).await;
    // Those that are left end with all that works for them.
    let mut left = std::mem::take(&mut *connections_open.lock().unwrap_or_else(PoisonError::into_inner));
    left.shutdown().await;
}

async fn accept<H: Handler>(
    serving: Arc<Serving<H>>,
    listener: TcpListener,
    room: Arc<Semaphore>,
    open: Arc<Mutex<JoinSet<()>>>,
    stopped: watch::Receiver<bool>,
) {
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let (serving, stopped) = (serving.clone(), stopped.clone());
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                while open.try_join_next().is_some() {}
                open.spawn(async move {
                    connection(serving, stream, from, stopped).await;
                    drop(place);
                });
            }
            Err(error) => {
                // Out of file descriptors, mostly: others must end first.
                tracing::warn!("can't accept a connection: {error}");
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        }
    }
}

/// RFC 9112, section 3.2: what lacks a host, or has two, is not what it seems.
fn one_host(request: &HttpRequest<Incoming>) -> bool {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    hosts == 1 || (hosts == 0 && request.version() < Version::HTTP_11)
}

async fn connection<H: Handler>(
    serving: Arc<Serving<H>>,
    stream: TcpStream,
    from: SocketAddr,
    mut stopped: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let limits = serving.limits;
    let service = service_fn(move |request: HttpRequest<Incoming>| {
        let serving = serving.clone();
        async move {
            let entry = serving.log.as_ref().map(|log| log.begin(&request, from.ip()));
            let response = match one_host(&request) {
                true => serving.handler.answer(Request::from(request.map(Body::new)), from).await,
                false => refuse(StatusCode::BAD_REQUEST, "a request names one host"),
            };
            Ok::<_, Infallible>(match entry {
                Some(entry) => entry.watch(response),
                None => response,
            })
        }
    });
    let io = TokioIo::new(crate::patience::Patient::new(stream, limits.write_time));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head_time)
        .max_buf_size(limits.head)
        .serve_connection(io, service);
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
