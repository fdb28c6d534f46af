//! Fields that are not handed on to programs and servers behind this one, nor taken from them; and who asks where another server handed
//! a request on to this one.

use axum::http::HeaderMap;
use axum::http::header::{self, HeaderName};
use std::net::{IpAddr, Ipv4Addr};

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

/// Fields of which one at least is in what another server hands on.
const HANDED_ON: [&str; 4] = ["forwarded", "via", "x-forwarded-for", "x-real-ip"];

/// The address of whoever asks. Where another server has handed the request on, nobody knows it, and it must not be taken for that server's, which is
/// near, as who asks may not be: then it is `0.0.0.0`, which is nobody's.
pub(crate) fn asker(headers: &HeaderMap, from: IpAddr) -> IpAddr {
    let handed_on = HANDED_ON.iter().any(|name| headers.contains_key(*name));
    if handed_on { Ipv4Addr::UNSPECIFIED.into() } else { from }
}

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
