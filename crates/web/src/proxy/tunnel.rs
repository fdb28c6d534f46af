//! Connections that become something else (RFC 9110, section 7.8): web sockets pass through as bytes, both ways.

use super::{Guard, ProxyError};
use crate::hops::without_hops;
use axum::body::Body;
use axum::http::header::{self, HeaderValue};
use axum::http::{Version, request, response};
use axum::response::Response;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf, copy_bidirectional};
use tokio::sync::OwnedSemaphorePermit;

/// Time after which a tunnel ends through which nothing came: most who use web sockets say now and then that they are there.
const SILENCE: Duration = Duration::from_secs(600);

/// The protocol that a client wants to go on with.
pub(super) fn asked(parts: &request::Parts) -> Option<HeaderValue> {
    let lines = parts.headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
    let wants = lines.flat_map(|line| line.split(',')).any(|name| name.trim().eq_ignore_ascii_case("upgrade"));
    let protocol = parts.headers.get(header::UPGRADE).filter(|_| wants && parts.version == Version::HTTP_11)?;
    // Another version of HTTP would be understood by nobody here.
    protocol.as_bytes().eq_ignore_ascii_case(b"websocket").then(|| protocol.clone())
}

/// Both have agreed: from here on bytes are passed on as they come, until one of them ends, or neither says anything.
pub(super) fn open(
    mut parts: response::Parts,
    body: Incoming,
    client: Option<OnUpgrade>,
    held: (Guard, OwnedSemaphorePermit),
) -> Result<Response, ProxyError> {
    // Nobody asked for it.
    let Some(client) = client else { return Err(ProxyError::Unasked) };
    let protocol = parts.headers.get(header::UPGRADE).cloned();
    without_hops(&mut parts.headers);
    parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    if let Some(protocol) = protocol {
        parts.headers.insert(header::UPGRADE, protocol);
    }
    let server = hyper::upgrade::on(axum::http::Response::from_parts(parts.clone(), body));
    tokio::spawn(async move {
        let _held = held;
        if let (Ok(client), Ok(server)) = (client.await, server.await) {
            relay(TokioIo::new(client), TokioIo::new(server), SILENCE).await;
        }
    });
    Ok(Response::from_parts(parts, Body::empty()))
}

/// Passes on what comes.
async fn relay(
    client: impl AsyncRead + AsyncWrite + Unpin,
    server: impl AsyncRead + AsyncWrite + Unpin,
    silence: Duration,
) {
    let came = Arc::new(AtomicU64::new(0));
    let mut client = Counted { inner: client, came: came.clone() };
    let mut server = Counted { inner: server, came: came.clone() };
    let copy = copy_bidirectional(&mut client, &mut server);
    tokio::pin!(copy);
    loop {
        let before = came.load(Ordering::Relaxed);
        match tokio::time::timeout(silence, &mut copy).await {
            // Either may go away at any time.
            Ok(_) => return,
            Err(_) if came.load(Ordering::Relaxed) == before => return,
            Err(_) => {}
        }
    }
}

/// One end, and what came from both.
struct Counted<S> {
    inner: S,
    came: Arc<AtomicU64>,
}

impl<S: AsyncRead + Unpin> AsyncRead for Counted<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_read(cx, buf);
        if polled.is_ready() {
            self.came.fetch_add(1, Ordering::Relaxed);
        }
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Counted<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};
    use tokio::time::Instant;

    #[tokio::test(start_paused = true)]
    async fn a_silent_tunnel_ends() {
        let ((mut one, client), (mut other, server)) = (duplex(64), duplex(64));
        let tunnel = tokio::spawn(relay(client, server, SILENCE));
        let (began, mut buf) = (Instant::now(), [0; 5]);
        for _ in 0..5 {
            one.write_all(b"hello").await.unwrap();
            other.read_exact(&mut buf).await.unwrap();
            tokio::time::sleep(SILENCE / 2).await;
        }
        other.write_all(b"there").await.unwrap();
        one.read_exact(&mut buf).await.unwrap();
        assert_eq!(&buf, b"there");
        tunnel.await.unwrap();
        let lasted = began.elapsed();
        assert!(lasted >= SILENCE * 3 && lasted <= SILENCE * 5, "{lasted:?}");
        assert_eq!(one.read(&mut buf).await.unwrap(), 0);
    }
}
