//! Conditional requests (RFC 9110, section 13): whether what the client has is still what we have.

use axum::http::{HeaderMap, HeaderName, header};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What names one state of a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Version {
    /// The strong entity tag, in its quotes.
    pub(crate) etag: String,
    /// When it last changed, if that is known.
    pub(crate) modified: Option<SystemTime>,
}

/// What the conditions of a request come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Answer; with the range that was asked for, if `range`.
    Go {
        /// A `Range` header counts.
        range: bool,
    },
    /// 304: the client has it.
    NotModified,
    /// 412: the client wants something else.
    Failed,
}

/// Whether anything but the whole, as it is, may be the answer.
pub(crate) fn are_made(headers: &HeaderMap) -> bool {
    headers.keys().any(|name| name == header::RANGE || name.as_str().starts_with("if-"))
}

/// Judges the conditions, in the order of section 13.2.2.
pub(crate) fn judge(headers: &HeaderMap, version: &Version) -> Verdict {
    if let Some(tags) = text(headers, header::IF_MATCH) {
        if !matches(&tags, &version.etag, false) {
            return Verdict::Failed;
        }
    } else if let (Some(date), Some(modified)) = (date(headers, header::IF_UNMODIFIED_SINCE), version.modified)
        && whole(modified) > date
    {
        return Verdict::Failed;
    }
    if let Some(tags) = text(headers, header::IF_NONE_MATCH) {
        if matches(&tags, &version.etag, true) {
            return Verdict::NotModified;
        }
    } else if let (Some(date), Some(modified)) = (date(headers, header::IF_MODIFIED_SINCE), version.modified)
        && whole(modified) <= date
    {
        return Verdict::NotModified;
    }
    Verdict::Go { range: if_range(headers, version) }
}

/// Whether the conditions let something of this version be written over. Those that save a transfer say nothing of that.
pub(crate) fn may_write(headers: &HeaderMap, version: &Version) -> bool {
    let mut headers = headers.clone();
    headers.remove(header::IF_MODIFIED_SINCE);
    matches!(judge(&headers, version), Verdict::Go { .. })
}

/// A range counts only if the client's first part is of the same version.
fn if_range(headers: &HeaderMap, version: &Version) -> bool {
    match text(headers, header::IF_RANGE).as_deref().map(str::trim) {
        None => true,
        Some(tag) if tag.starts_with('"') || tag.starts_with("W/") => tag == version.etag,
        // A date is a strong validator only if it is exactly ours.
        Some(date) => match (httpdate::parse_http_date(date), version.modified) {
            (Ok(date), Some(modified)) => whole(modified) == date,
            _ => false,
        },
    }
}

/// Whether a list of entity tags names ours; weak ones count only where `weak`.
fn matches(tags: &str, etag: &str, weak: bool) -> bool {
    // What stands in quotes may have commas and stars in it.
    let mut quoted = false;
    let ends = move |c| {
        quoted ^= c == '"';
        c == ',' && !quoted
    };
    tags.split(ends).map(str::trim).any(|tag| {
        let tag = if weak { tag.strip_prefix("W/").unwrap_or(tag) } else { tag };
        tag == "*" || tag == etag
    })
}

/// All lines of a header as one; bytes that are no text match nothing, but are there.
fn text(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let lines: Vec<_> = headers.get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
    (!lines.is_empty()).then(|| lines.join(", "))
}

fn date(headers: &HeaderMap, name: HeaderName) -> Option<SystemTime> {
    text(headers, name).and_then(|d| httpdate::parse_http_date(&d).ok())
}

/// HTTP dates have whole seconds.
fn whole(time: SystemTime) -> SystemTime {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(headers: &[(&'static str, &'static str)]) -> Verdict {
        let modified = UNIX_EPOCH + Duration::from_millis(784_111_777_500);
        let version = Version { etag: "\"abc\"".into(), modified: Some(modified) };
        let map = headers
            .iter()
            .map(|(k, v)| (HeaderName::from_static(k), axum::http::HeaderValue::from_static(v)))
            .collect();
        judge(&map, &version)
    }

    #[test]
    fn conditions_as_the_rfc_orders_them() {
        const DATE: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
        const BEFORE: &str = "Sun, 06 Nov 1994 08:49:36 GMT";
        let go = Verdict::Go { range: true };
        assert_eq!(ask(&[]), go);
        assert_eq!(ask(&[("if-none-match", "\"x\", W/\"abc\"")]), Verdict::NotModified);
        assert_eq!(ask(&[("if-none-match", "*")]), Verdict::NotModified);
        assert_eq!(ask(&[("if-none-match", "\"x,*,y\"")]), go);
        assert_eq!(ask(&[("if-match", "\"x,*,y\"")]), Verdict::Failed);
        assert_eq!(ask(&[("if-none-match", "\"x\""), ("if-modified-since", DATE)]), go);
        assert_eq!(ask(&[("if-modified-since", DATE)]), Verdict::NotModified);
        assert_eq!(ask(&[("if-modified-since", BEFORE)]), go);
        assert_eq!(ask(&[("if-match", "\"x\"")]), Verdict::Failed);
        assert_eq!(ask(&[("if-match", "W/\"abc\"")]), Verdict::Failed);
        assert_eq!(ask(&[("if-match", "\"abc\"")]), go);
        assert_eq!(ask(&[("if-unmodified-since", BEFORE)]), Verdict::Failed);
        assert_eq!(ask(&[("if-unmodified-since", DATE)]), go);
        assert_eq!(ask(&[("if-range", "\"abc\"")]), go);
        assert_eq!(ask(&[("if-range", DATE)]), go);
        for stale in ["\"x\"", "W/\"abc\"", BEFORE, "rubbish"] {
            assert_eq!(ask(&[("if-range", stale)]), Verdict::Go { range: false }, "{stale}");
        }
    }
}
