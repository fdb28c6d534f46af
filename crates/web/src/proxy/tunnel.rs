//! Connections that become something else (RFC 9110, section 7.8): web sockets pass through as bytes, both ways.

use super::{Guard, ProxyError, without_hops};
use axum::body::Body;
use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::response;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::OwnedSemaphorePermit;

/// The protocol that a client wants to go on with.
pub(super) fn asked(headers: &HeaderMap) -> Option<HeaderValue> {
    let lines = headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
    let wants = lines.flat_map(|line| line.split(',')).any(|name| name.trim().eq_ignore_ascii_case("upgrade"));
    // Another version of HTTP would be understood by nobody here.
    let protocol = headers.get(header::UPGRADE).filter(|_| wants)?;
    protocol.as_bytes().eq_ignore_ascii_case(b"websocket").then(|| protocol.clone())
}

/// Both have agreed: from here on bytes are passed on as they come, until one of them ends.
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
            // Either may go away at any time.
            let _ = tokio::io::copy_bidirectional(&mut TokioIo::new(client), &mut TokioIo::new(server)).await;
        }
    });
    Ok(Response::from_parts(parts, Body::empty()))
}
