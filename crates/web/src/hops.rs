//! Fields that are not handed on to programs and servers behind this one, nor taken from them.

use axum::http::HeaderMap;
use axum::http::header::{self, HeaderName};

/// Fields of a connection, whatever `Connection` says of them (RFC 9110, section 7.6.1).
const HOP_BY_HOP: [&str; 10] = [
    "connection",
    "http2-settings",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// It belongs to one connection.
pub(crate) fn is_hop(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(&name.as_str())
}

/// Nobody takes it for something else. Where names become variables, signs other than dashes make the same underscore as a dash does, and `Proxy`
/// becomes the name of the proxy that programs are to use.
pub(crate) fn is_sound(name: &HeaderName) -> bool {
    let name = name.as_str();
    name != "proxy" && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
}

/// Takes off what belongs to one connection.
pub(crate) fn without_hops(headers: &mut HeaderMap) {
    let lines = headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
    let named: Vec<HeaderName> =
        lines.flat_map(|line| line.split(',')).filter_map(|name| name.trim().parse().ok()).collect();
    // Nobody may have the host or the length taken off by naming them there.
    for name in named.iter().filter(|name| **name != header::HOST && **name != header::CONTENT_LENGTH) {
        headers.remove(name);
    }
    HOP_BY_HOP.iter().for_each(|name| drop(headers.remove(*name)));
}
