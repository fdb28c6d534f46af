//! The listener: connections, their limits, and an orderly end.
//!
//! A client may take its time with files, but not with nothing: who sends no request or reads no byte for a while is let
//! go, and there is a bound on connections. Further ones wait in the kernel's queue.

use crate::site::Site;
use axum::body::Body;
use axum::extract::Request;
use axum::http::Request as HttpRequest;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// Connections at once.
const CONNECTIONS_MAX: usize = 512;
/// Bytes of a request's head.
const HEAD_MAX: usize = 64 << 10;
/// Time for the head of a request; also for the next one on a connection that is kept.
const HEAD_TIME: Duration = Duration::from_secs(30);
/// Time in which a client must take at least a byte of what is sent to it.
const WRITE_TIME: Duration = Duration::from_secs(60);
/// Time for responses under way when the site closes.
const CLOSE_TIME: Duration = Duration::from_secs(3);

/// Answers requests on these listeners until `stop` is done; then lets the responses under way have a little time.
pub async fn serve(site: Arc<Site>, listeners: Vec<TcpListener>, stop: impl Future<Output = ()>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    let (stopping, stopped) = watch::channel(false);
    let mut accepting = tokio::task::JoinSet::new();
    for listener in listeners {
        accepting.spawn(accept(site.clone(), listener, room.clone(), stopped.clone()));
    }
    stop.await;
    let _ = stopping.send(true);
    accepting.abort_all();
    let _ = tokio::time::timeout(CLOSE_TIME, room.acquire_many(CONNECTIONS_MAX as u32)).await;
}

async fn accept(site: Arc<Site>, listener: TcpListener, room: Arc<Semaphore>, stopped: watch::Receiver<bool>) {
    loop {
        let Ok(place) = room.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, from)) => {
                let (site, stopped) = (site.clone(), stopped.clone());
                tokio::spawn(async move {
                    connection(site, stream, from, stopped).await;
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

async fn connection(site: Arc<Site>, stream: TcpStream, from: SocketAddr, mut stopped: watch::Receiver<bool>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request: HttpRequest<Incoming>| {
        let site = site.clone();
        async move { Ok::<_, Infallible>(site.answer(Request::from(request.map(Body::new)), from).await) }
    });
    let io = TokioIo::new(crate::patience::Patient::new(stream, WRITE_TIME));
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIME)
        .max_buf_size(HEAD_MAX)
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
