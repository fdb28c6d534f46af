//! What a program is told of its request (RFC 3875, section 4.1).

use super::Script;
use crate::auth::User;
use crate::hops::{is_hop, is_sound};
use axum::http::{HeaderName, Version, header, request};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Names and values, each name once. There are some thirty of them for each request, and most are somewhere already.
#[derive(Clone, Debug, Default)]
pub(super) struct Variables<'a>(Vec<(Text<'a>, Text<'a>)>);

type Text<'a> = Cow<'a, [u8]>;

impl<'a> Variables<'a> {
    pub(super) fn iter(&self) -> impl Iterator<Item = (&[u8], &[u8])> {
        self.0.iter().map(|(name, value)| (&name[..], &value[..]))
    }

    /// Says it, in the place of what was said before.
    pub(super) fn set(&mut self, name: impl Into<Text<'a>>, value: impl Into<Text<'a>>) {
        let name = name.into();
        match self.get_mut(&name) {
            Some(old) => *old = value.into(),
            None => self.0.push((name, value.into())),
        }
    }

    fn get_mut(&mut self, name: &[u8]) -> Option<&mut Text<'a>> {
        self.0.iter_mut().find(|(known, _)| known[..] == *name).map(|(_, value)| value)
    }

    /// What is not said yet: there is no need to look.
    fn add(&mut self, name: &'static str, value: impl Into<Text<'a>>) {
        self.0.push((name.as_bytes().into(), value.into()));
    }
}

/// Says everything about a request, which came to the port `at` if that is known; what is said in `extra` goes before that.
pub(super) fn of<'a>(
    script: &'a Script,
    root: &'a Path,
    at: Option<u16>,
    parts: &'a request::Parts,
    from: SocketAddr,
    length: Option<u64>,
    extra: &'a Variables<'static>,
) -> Variables<'a> {
    let mut all = Variables(Vec::with_capacity(48));
    let header = |name: HeaderName| parts.headers.get(name).map(|v| v.as_bytes()).unwrap_or_default();
    // What the target says of it counts, and is there by now.
    let host = header(header::HOST);
    // In brackets there may be colons, too.
    let (name, port) = match host.iter().rposition(|b| *b == b':') {
        Some(at) if host.last() != Some(&b']') => {
            (&host[..at], std::str::from_utf8(&host[at + 1..]).unwrap_or_default())
        }
        _ => (host, ""),
    };
    let port = at.or_else(|| port.parse().ok()).unwrap_or(80).to_string();
    all.add("GATEWAY_INTERFACE", &b"CGI/1.1"[..]);
    all.add("SERVER_SOFTWARE", concat!("shoal/", env!("CARGO_PKG_VERSION")).as_bytes());
    all.add("SERVER_PROTOCOL", protocol(parts.version).as_bytes());
    all.add("SERVER_NAME", if name.is_empty() { b"localhost" } else { name });
    all.add("SERVER_PORT", port.into_bytes());
    all.add("REQUEST_SCHEME", &b"http"[..]);
    all.add("REQUEST_METHOD", parts.method.as_str().as_bytes());
    all.add("REQUEST_URI", parts.uri.path_and_query().map_or("/", |p| p.as_str()).as_bytes());
    all.add("QUERY_STRING", parts.uri.query().unwrap_or_default().as_bytes());
    all.add("SCRIPT_NAME", script.name.as_bytes());
    all.add("SCRIPT_FILENAME", script.file.as_os_str().as_bytes());
    all.add("DOCUMENT_ROOT", root.as_os_str().as_bytes());
    if script.info.is_empty() {
        all.add("DOCUMENT_URI", script.name.as_bytes());
    } else {
        all.add("DOCUMENT_URI", [script.name.as_bytes(), &script.info].concat());
        all.add("PATH_INFO", &script.info[..]);
        all.add("PATH_TRANSLATED", [root.as_os_str().as_bytes(), &script.info].concat());
    }
    let ip = from.ip().to_canonical().to_string().into_bytes();
    all.add("REMOTE_ADDR", ip.clone());
    all.add("REMOTE_HOST", ip);
    all.add("REMOTE_PORT", from.port().to_string().into_bytes());
    if let Some(User(name)) = parts.extensions.get() {
        all.add("AUTH_TYPE", &b"Basic"[..]);
        all.add("REMOTE_USER", name.as_bytes());
    }
    // PHP's CGI refuses to run without: it wants to know that a server decided what it runs.
    all.add("REDIRECT_STATUS", &b"200"[..]);
    all.add("CONTENT_TYPE", header(header::CONTENT_TYPE));
    all.add("CONTENT_LENGTH", length.map(|n| n.to_string()).unwrap_or_default().into_bytes());
    for (name, value) in &parts.headers {
        let Some(variable) = variable(name) else { continue };
        // What came in several lines is one list; cookies have a sign of their own between them (RFC 9110, section 5.2).
        let joint: &[u8] = if name == header::COOKIE { b"; " } else { b", " };
        match all.get_mut(&variable) {
            Some(first) => first.to_mut().extend([joint, value.as_bytes()].concat()),
            None => all.0.push((variable.into(), value.as_bytes().into())),
        }
    }
    for (name, value) in extra.iter() {
        all.set(name, value);
    }
    all
}

fn protocol(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "HTTP/1.0",
        Version::HTTP_2 => "HTTP/2.0",
        Version::HTTP_3 => "HTTP/3.0",
        _ => "HTTP/1.1",
    }
}

/// `HTTP_...`, but for headers that are told otherwise, that belong to the connection, or that programs would take for something else.
fn variable(name: &HeaderName) -> Option<Vec<u8>> {
    let told = *name == header::CONTENT_TYPE || *name == header::CONTENT_LENGTH;
    if told || is_hop(name) || !is_sound(name) {
        return None;
    }
    let upper = |b: u8| if b == b'-' { b'_' } else { b.to_ascii_uppercase() };
    Some(b"HTTP_".iter().copied().chain(name.as_str().bytes().map(upper)).collect())
}
