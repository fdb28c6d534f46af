//! What a program is told of its request (RFC 3875, section 4.1).

use super::Script;
use crate::auth::User;
use crate::hops::{is_hop, is_sound};
use axum::http::{HeaderName, header, request};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Names and values, sorted by name.
pub(super) type Variables = BTreeMap<Vec<u8>, Vec<u8>>;

/// Says everything about a request, which came to the port `at` if that is known.
pub(super) fn of(
    script: &Script,
    root: &Path,
    at: Option<u16>,
    parts: &request::Parts,
    from: SocketAddr,
    length: Option<u64>,
) -> Variables {
    let mut all = Variables::new();
    let mut set = |name: &str, value: &[u8]| drop(all.insert(name.into(), value.to_vec()));
    let header = |name: HeaderName| parts.headers.get(name).map(|v| v.as_bytes()).unwrap_or_default();
    // What the target says of it counts, and is there by now.
    let host = String::from_utf8_lossy(header(header::HOST));
    // In brackets there may be colons, too.
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (&host[..], ""),
    };
    let port = at.or_else(|| port.parse().ok()).unwrap_or(80).to_string();
    set("GATEWAY_INTERFACE", b"CGI/1.1");
    set("SERVER_SOFTWARE", concat!("shoal/", env!("CARGO_PKG_VERSION")).as_bytes());
    set("SERVER_PROTOCOL", format!("{:?}", parts.version).as_bytes());
    set("SERVER_NAME", if name.is_empty() { b"localhost" } else { name.as_bytes() });
    set("SERVER_PORT", port.as_bytes());
    set("REQUEST_SCHEME", b"http");
    set("REQUEST_METHOD", parts.method.as_str().as_bytes());
    set("REQUEST_URI", parts.uri.path_and_query().map_or("/", |p| p.as_str()).as_bytes());
    set("QUERY_STRING", parts.uri.query().unwrap_or_default().as_bytes());
    set("SCRIPT_NAME", script.name.as_bytes());
    set("SCRIPT_FILENAME", script.file.as_os_str().as_bytes());
    set("DOCUMENT_ROOT", root.as_os_str().as_bytes());
    set("DOCUMENT_URI", &[script.name.as_bytes(), &script.info].concat());
    if !script.info.is_empty() {
        set("PATH_INFO", &script.info);
        set("PATH_TRANSLATED", &[root.as_os_str().as_bytes(), &script.info].concat());
    }
    let ip = from.ip().to_canonical().to_string();
    set("REMOTE_ADDR", ip.as_bytes());
    set("REMOTE_HOST", ip.as_bytes());
    set("REMOTE_PORT", from.port().to_string().as_bytes());
    if let Some(User(name)) = parts.extensions.get() {
        set("AUTH_TYPE", b"Basic");
        set("REMOTE_USER", name.as_bytes());
    }
    // PHP's CGI refuses to run without: it wants to know that a server decided what it runs.
    set("REDIRECT_STATUS", b"200");
    set("CONTENT_TYPE", header(header::CONTENT_TYPE));
    set("CONTENT_LENGTH", length.map(|n| n.to_string()).unwrap_or_default().as_bytes());
    for (name, value) in &parts.headers {
        let Some(variable) = variable(name) else { continue };
        // What came in several lines is one list; cookies have a sign of their own between them (RFC 9110, section 5.2).
        let joint: &[u8] = if name == header::COOKIE { b"; " } else { b", " };
        match all.get_mut(&variable) {
            Some(first) => first.extend([joint, value.as_bytes()].concat()),
            None => drop(all.insert(variable, value.as_bytes().to_vec())),
        }
    }
    all
}

/// `HTTP_...`, but for headers that are told otherwise, that belong to the connection, or that programs would take for something else.
fn variable(name: &HeaderName) -> Option<Vec<u8>> {
    let told = *name == header::CONTENT_TYPE || *name == header::CONTENT_LENGTH;
    if told || is_hop(name) || !is_sound(name) {
        return None;
    }
    Some(format!("HTTP_{}", name.as_str().to_ascii_uppercase().replace('-', "_")).into_bytes())
}
