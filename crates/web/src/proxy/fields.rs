//! What the server behind is told of a request: what the client says of it, but for what only a server in front can know.

use crate::auth::User;
use crate::hops::{is_sound, without_hops};
use axum::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use axum::http::{Method, Version, request};
use std::net::SocketAddr;

/// What only a server in front may say: who it is that asks, and for what. What begins with `X-Forwarded-` is, too.
const OF_THE_FRONT: [&str; 13] = [
    "client-ip",
    "forwarded",
    "remote-addr",
    "remote-user",
    "true-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-forwarded",
    "x-original-uri",
    "x-original-url",
    "x-real-ip",
    "x-remote-user",
    "x-rewrite-url",
];

fn is_of_the_front(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("x-forwarded-") || OF_THE_FRONT.contains(&name)
}

/// Says it anew. `own` is this server's name on the way.
pub(super) fn tell(parts: &mut request::Parts, from: SocketAddr, upgrade: Option<HeaderValue>, own: &str) {
    let headers = &mut parts.headers;
    without_hops(headers);
    let others: Vec<_> = headers.keys().filter(|name| is_of_the_front(name) || !is_sound(name)).cloned().collect();
    others.iter().for_each(|name| drop(headers.remove(name)));
    // It has been answered here.
    headers.remove(header::EXPECT);
    let ip = from.ip().to_canonical();
    let node = if ip.is_ipv6() { format!("\"[{ip}]\"") } else { ip.to_string() };
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or_default().to_owned();
    let user = parts.extensions.get::<User>().map(|User(name)| name.to_string());
    for (name, value) in [
        ("x-forwarded-for", Some(ip.to_string())),
        ("x-real-ip", Some(ip.to_string())),
        ("x-forwarded-proto", Some("http".to_owned())),
        ("x-forwarded-host", Some(host.clone())),
        ("forwarded", Some(format!("for={node};host=\"{host}\";proto=http"))),
        ("remote-user", user),
    ] {
        if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value.as_bytes()).ok()) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    if headers.get(header::HOST).is_none() {
        headers.insert(header::HOST, HeaderValue::from_static(""));
    }
    let spoken = if parts.version == Version::HTTP_10 { "1.0" } else { "1.1" };
    if let Ok(via) = HeaderValue::from_str(&format!("{spoken} {own}")) {
        headers.append(header::VIA, via);
    }
    if let Some(protocol) = upgrade {
        headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        headers.insert(header::UPGRADE, protocol);
    }
}

/// A request has been here before.
pub(super) fn came_by(headers: &HeaderMap, own: &str) -> bool {
    let lines = headers.get_all(header::VIA).iter().filter_map(|via| via.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|one| one.split_ascii_whitespace().nth(1) == Some(own))
}

/// Counts down how often OPTIONS may still be handed on (RFC 9110, section 7.6.2). False: it is to be answered here.
pub(super) fn count_down(method: &Method, headers: &mut HeaderMap) -> bool {
    let Some(left) = headers.get_mut(header::MAX_FORWARDS).filter(|_| *method == Method::OPTIONS) else { return true };
    let digits = |text: &&str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    // What is no number means nothing; what is beyond all numbers is as far as can be.
    let Some(number) = left.to_str().ok().filter(digits) else { return true };
    match number.parse().unwrap_or(u32::MAX) {
        0 => false,
        number => {
            *left = HeaderValue::from(number - 1);
            true
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::extract::Request;

    #[test]
    fn what_only_a_server_in_front_knows() {
        let mut parts = Request::builder()
            .header("host", "a.example")
            .header("connection", "close, X-Own, host, content-length")
            .header("content-length", "3")
            .header("x-own", "1")
            .header("te", "trailers")
            .header("x-forwarded-for", "10.0.0.1")
            .header("x-forwarded-user", "root")
            .header("x_forwarded_for", "10.0.0.1")
            .header("remote.user", "root")
            .header("proxy", "http://10.0.0.1")
            .header("x-original-url", "/admin")
            .header("forwarded", "for=10.0.0.1")
            .header("remote-user", "root")
            .header("via", "1.0 other")
            .header("cookie", "a=1")
            .body(())
            .unwrap()
            .into_parts()
            .0;
        parts.extensions.insert(User("ada".into()));
        tell(&mut parts, "[2001:db8::1]:5".parse().unwrap(), None, "me");
        let mut all: Vec<_> = parts.headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap())).collect();
        all.sort();
        assert_eq!(
            all,
            [
                "content-length: 3",
                "cookie: a=1",
                "forwarded: for=\"[2001:db8::1]\";host=\"a.example\";proto=http",
                "host: a.example",
                "remote-user: ada",
                "via: 1.0 other",
                "via: 1.1 me",
                "x-forwarded-for: 2001:db8::1",
                "x-forwarded-host: a.example",
                "x-forwarded-proto: http",
                "x-real-ip: 2001:db8::1",
            ]
        );
        assert!(came_by(&parts.headers, "me") && !came_by(&parts.headers, "m") && !came_by(&parts.headers, "1.1"));
    }

    #[test]
    fn how_often_it_may_go_on() {
        let left = |method: Method, number: &str| {
            let mut headers = HeaderMap::from_iter([(header::MAX_FORWARDS, number.parse().unwrap())]);
            let goes_on = count_down(&method, &mut headers);
            goes_on.then(|| headers[header::MAX_FORWARDS].to_str().unwrap().to_owned())
        };
        assert_eq!(left(Method::OPTIONS, "0"), None);
        assert_eq!(left(Method::OPTIONS, "3").as_deref(), Some("2"));
        assert_eq!(left(Method::OPTIONS, "99999999999999999999").as_deref(), Some("4294967294"));
        for (method, number) in [(Method::GET, "0"), (Method::OPTIONS, "x"), (Method::OPTIONS, "-1")] {
            assert_eq!(left(method, number).as_deref(), Some(number));
        }
    }
}
