//! What a request has to be like before anybody answers it (RFC 9112, sections 3.2 and 6.1; RFC 9110, section 7.4).
//!
//! hyper has split it into lines and fields by then. What is left is what it lets through, and what could make two programs in a row
//! understand the same bytes differently: targets and hosts that are none, and bodies in codings that nobody takes off.

use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{Method, Request, StatusCode, Version};
use axum::response::Response;
use std::net::Ipv6Addr;

/// Bytes of a target: path and query together. A head may be longer, for its fields.
const TARGET_MAX: usize = 32 << 10;

/// Looks at a request. From here on its `Host` is the host that was meant.
///
/// # Errors
/// Why not. That ends the connection: where the next request begins is not sure either.
pub(crate) fn check<B>(request: &mut Request<B>) -> Result<(), (StatusCode, &'static str)> {
    if !one_host(request.headers(), request.version()) {
        return Err((StatusCode::BAD_REQUEST, "a request names one host"));
    }
    if request.uri().path_and_query().is_some_and(|target| target.as_str().len() > TARGET_MAX) {
        return Err((StatusCode::URI_TOO_LONG, "this address is too long"));
    }
    match request.uri().scheme_str() {
        // A name alone is for CONNECT, and a star for OPTIONS, which is looked at where that is answered.
        None if request.uri().authority().is_some() && request.method() != Method::CONNECT => {
            return Err((StatusCode::BAD_REQUEST, "a path begins with a slash"));
        }
        Some("http") | None => {}
        Some(_) => return Err((StatusCode::MISDIRECTED_REQUEST, "this connection is for http: addresses alone")),
    }
    if !is_plain(request.headers()) {
        return Err((
            StatusCode::NOT_IMPLEMENTED,
            "the body's transfer coding is not known here; send it chunked alone",
        ));
    }
    // Whole addresses count before the field (section 3.2.2).
    let meant = request.uri().authority().filter(|_| request.uri().scheme().is_some());
    if let Some(host) = meant.and_then(|a| HeaderValue::from_str(a.as_str().rsplit('@').next()?).ok()) {
        request.headers_mut().insert(header::HOST, host);
    }
    Ok(())
}

/// Ends the connection behind an answer.
pub(crate) fn closing(mut response: Response) -> Response {
    response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    response
}

/// What lacks a host, or has two, is not what it seems.
fn one_host(headers: &HeaderMap, version: Version) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => is_host(host.as_bytes()),
        (None, _) => version < Version::HTTP_11,
        (Some(_), Some(_)) => false,
    }
}

/// A name or an address, and perhaps a port (RFC 3986, section 3.2.2). It may be empty, where there is none to name.
fn is_host(host: &[u8]) -> bool {
    let is_port =
        |rest: &[u8]| rest.is_empty() || rest.strip_prefix(b":").is_some_and(|p| p.iter().all(u8::is_ascii_digit));
    if let Some(literal) = host.strip_prefix(b"[") {
        let Some(end) = literal.iter().position(|b| *b == b']') else { return false };
        let address = std::str::from_utf8(&literal[..end]).unwrap_or_default();
        return address.parse::<Ipv6Addr>().is_ok() && is_port(&literal[end + 1..]);
    }
    let end = host.iter().position(|b| *b == b':').unwrap_or(host.len());
    let named = |b: &u8| b.is_ascii_alphanumeric() || b"-._~%!$&'()*+,;=".contains(b);
    host[..end].iter().all(named) && is_port(&host[end..])
}

/// Nothing was done to the body but cutting it in chunks.
fn is_plain(headers: &HeaderMap) -> bool {
    let mut codings = headers.get_all(header::TRANSFER_ENCODING).iter();
    match (codings.next(), codings.next()) {
        (None, _) => true,
        (Some(one), None) => one.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked"),
        (Some(_), Some(_)) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts() {
        for fine in ["", "x", "a.example:80", "a:", "192.0.2.1", "[::1]", "[2001:db8::1]:8080", "%41", "a_b"] {
            assert!(is_host(fine.as_bytes()), "{fine}");
        }
        for wrong in
            ["a b", "a/b", "a@b", "a:b", "a:1:2", "[::1", "[::1]x", "[x]", "[]", "<x>", "a\\b", "\u{e9}", "a?b"]
        {
            assert!(!is_host(wrong.as_bytes()), "{wrong}");
        }
    }

    #[test]
    fn the_target_counts_before_the_field() {
        let request = |target: &str| Request::builder().uri(target).header("host", "other").body(()).unwrap();
        let mut whole = request("http://ada:secret@a.example:81/x");
        check(&mut whole).unwrap();
        assert_eq!(whole.headers()[header::HOST], "a.example:81");
        let mut path = request("/x");
        check(&mut path).unwrap();
        assert_eq!(path.headers()[header::HOST], "other");
        assert_eq!(check(&mut request("https://a.example/x")).unwrap_err().0, StatusCode::MISDIRECTED_REQUEST);
        assert_eq!(check(&mut request("a.example")).unwrap_err().0, StatusCode::BAD_REQUEST);
    }
}
