//! What headers of an answer tell of the content: digests, and where else it is or is described.

use base::WholeDigest;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::StatusCode;
use reqwest::header::{CONTENT_DISPOSITION, CONTENT_RANGE, HeaderMap, LINK, RETRY_AFTER};

/// Links of one answer that are read.
const LINKS_MAX: usize = 256;
/// Headers longer than this are not read.
const TEXT_MAX: usize = 64 << 10;

/// A link of a `Link` header (RFC 8288).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// Where it leads, relative to the URL of the answer.
    pub target: String,
    /// Its relations, in lower case.
    pub rel: Vec<String>,
    /// The media type of what is there, in lower case.
    pub kind: Option<String>,
    /// Its place among mirrors (RFC 6249): the lowest first.
    pub pri: Option<u32>,
}

/// The links of an answer.
pub fn links(headers: &HeaderMap) -> Vec<Link> {
    let values = headers.get_all(LINK).iter().filter_map(|v| v.to_str().ok()).filter(|v| v.len() <= TEXT_MAX);
    values.flat_map(parse_links).take(LINKS_MAX).collect()
}

fn parse_links(text: &str) -> Vec<Link> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((_, after)) = rest.split_once('<') {
        let Some((target, after)) = after.split_once('>') else { break };
        // Up to a comma that is in no quotes.
        let mut quoted = false;
        let end = after.char_indices().find(|(_, c)| {
            quoted ^= *c == '"';
            *c == ',' && !quoted
        });
        let (parameters, next) = after.split_at(end.map_or(after.len(), |(at, _)| at));
        let mut link = Link { target: target.trim().to_owned(), ..Link::default() };
        for (key, value) in parameters_of(parameters) {
            match &*key {
                "rel" if link.rel.is_empty() => {
                    link.rel = value.split_ascii_whitespace().map(str::to_ascii_lowercase).collect();
                }
                "type" => link.kind = Some(value.to_ascii_lowercase()),
                "pri" => link.pri = value.parse().ok(),
                _ => {}
            }
        }
        out.push(link);
        rest = next;
    }
    out
}

/// The parameters behind a value: `; key=value; key="value"`.
fn parameters_of(text: &str) -> Vec<(String, String)> {
    let (mut out, mut rest) = (Vec::new(), text);
    while let Some((_, after)) = rest.split_once(';') {
        let at = after.find(['=', ';']).unwrap_or(after.len());
        let (key, after) = after.split_at(at);
        let Some(after) = after.strip_prefix('=') else {
            rest = after;
            continue;
        };
        let after = after.trim_start();
        let (value, next) = match after.strip_prefix('"') {
            Some(quoted) => unquote(quoted).unwrap_or_else(|| (quoted.to_owned(), "")),
            None => {
                let at = after.find(';').unwrap_or(after.len());
                (after[..at].trim().to_owned(), &after[at..])
            }
        };
        out.push((key.trim().to_ascii_lowercase(), value));
        rest = next;
    }
    out
}

/// The text up to the closing quotation mark, and what follows it. None: there is no such mark.
pub(super) fn unquote(text: &str) -> Option<(String, &str)> {
    let (mut out, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match c {
            '\\' if !escaped => escaped = true,
            '"' if !escaped => return Some((out, &text[at + 1..])),
            c => {
                out.push(c);
                escaped = false;
            }
        }
    }
    None
}

/// It can't answer now, but may later: it has too much to do, it or we were too slow, or what is behind it does not answer.
pub(crate) fn is_busy(status: StatusCode) -> bool {
    let later = [
        StatusCode::REQUEST_TIMEOUT,
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    later.contains(&status)
}

/// For how many seconds a server wants to be left alone (RFC 9110, section 10.2.3). Dates are not read.
pub fn retry_after(headers: &HeaderMap) -> Option<u64> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok()
}

/// The digest of the whole that an answer names: `Repr-Digest` (RFC 9530) or `Digest` (RFC 3230).
pub fn digest(headers: &HeaderMap) -> Option<WholeDigest> {
    let values = |name| headers.get_all(name).iter().filter_map(|v| v.to_str().ok()).filter(|v| v.len() <= TEXT_MAX);
    let new = values("repr-digest").flat_map(|v| v.split(',')).filter_map(|one| {
        let (name, value) = one.split_once('=')?;
        let value = value.split(';').next()?.trim().strip_prefix(':')?.strip_suffix(':')?;
        Some((name.trim().to_owned(), value.to_owned()))
    });
    let old = values("digest").flat_map(|v| v.split(',')).filter_map(|one| {
        let (name, value) = one.split_once('=')?;
        Some((name.trim().to_owned(), value.trim().to_owned()))
    });
    let all: Vec<(String, String)> = new.chain(old).collect();
    let find = |wanted: &[&str]| {
        let mut found = all.iter().filter(|(name, _)| wanted.iter().any(|w| name.eq_ignore_ascii_case(w)));
        found.find_map(|(_, value)| STANDARD.decode(value).ok())
    };
    let sha256 = find(&["sha-256"]).and_then(|d| d.try_into().ok()).map(WholeDigest::Sha256);
    sha256.or_else(|| find(&["sha", "sha-1"]).and_then(|d| d.try_into().ok()).map(WholeDigest::Sha1))
}

/// The name that `Content-Disposition` gives (RFC 6266), as bytes that are not yet a safe name.
pub fn file_name(headers: &HeaderMap) -> Option<Vec<u8>> {
    let value = headers.get(CONTENT_DISPOSITION)?.as_bytes();
    let value = String::from_utf8_lossy(&value[..value.len().min(TEXT_MAX)]).into_owned();
    let parameters = parameters_of(&value);
    let find = |wanted: &str| parameters.iter().find(|(key, _)| key == wanted).map(|(_, value)| value);
    let extended = find("filename*").and_then(|v| {
        let mut parts = v.splitn(3, '\'');
        let (charset, _, text) = (parts.next()?, parts.next()?, parts.next()?);
        charset.eq_ignore_ascii_case("utf-8").then(|| base::percent::decode(text.as_bytes()))
    });
    let plain = || find("filename").map(|v| v.clone().into_bytes());
    // Folders are nobody's business.
    let last = |name: Vec<u8>| name.rsplit(|b| matches!(b, b'/' | b'\\')).next().map(<[u8]>::to_vec);
    extended.or_else(plain).and_then(last).filter(|name| !name.is_empty())
}

/// First byte, last byte and length of all: `Content-Range: bytes 0-9/100` (RFC 9110 14.4).
pub(crate) fn content_range(headers: &HeaderMap) -> Option<(u64, u64, Option<u64>)> {
    let text = headers.get(CONTENT_RANGE)?.to_str().ok()?;
    let (range, total) = text.trim().strip_prefix("bytes")?.trim_start().split_once('/')?;
    let (first, last) = range.split_once('-')?;
    let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
    let total = match total.trim() {
        "*" => None,
        total => Some(total.parse().ok()?),
    };
    (first <= last && total.is_none_or(|t| last < t)).then_some((first, last, total))
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::{HeaderName, HeaderValue};

    fn headers(all: &[(&'static str, &'static str)]) -> HeaderMap {
        let pair = |(k, v): &(&'static str, &'static str)| (HeaderName::from_static(k), HeaderValue::from_static(v));
        all.iter().map(pair).collect()
    }

    #[test]
    fn patience_is_counted_in_seconds() {
        let after = |value: &'static str| {
            retry_after(&HeaderMap::from_iter([(RETRY_AFTER, reqwest::header::HeaderValue::from_static(value))]))
        };
        assert_eq!((after(" 12 "), after("0"), after("99999999999")), (Some(12), Some(0), Some(99_999_999_999)));
        assert_eq!((after("-1"), after("Fri, 31 Dec 1999 23:59:59 GMT"), after("")), (None, None, None));
    }

    #[test]
    fn links_with_everything_that_the_grammar_allows() {
        let all = links(&headers(&[(
            "link",
            "</a%20b.torrent>; rel=describedby; type=\"application/x-bittorrent\", <http://m/x,y>;rel=\"next Duplicate\" ; pri=2;x",
        )]));
        assert_eq!(all.len(), 2);
        assert_eq!((&*all[0].target, all[0].kind.as_deref()), ("/a%20b.torrent", Some("application/x-bittorrent")));
        assert_eq!(all[0].rel, ["describedby"]);
        assert_eq!((&*all[1].target, all[1].pri), ("http://m/x,y", Some(2)));
        assert_eq!(all[1].rel, ["next", "duplicate"]);
        assert_eq!(links(&headers(&[("link", "<x; rel=a"),])), []);
        let title = links(&headers(&[("link", "<x>; title=\"a, <b>; rel=c\"; rel=d")]));
        assert_eq!((title.len(), &title[0].rel[..]), (1, &["d".to_owned()][..]));
    }

    #[test]
    fn digests_new_and_old() {
        let sha256 = "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=";
        let WholeDigest::Sha256(hash) =
            digest(&headers(&[("digest", "md5=x, SHA-256=47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=")])).unwrap()
        else {
            panic!("of SHA-256")
        };
        assert_eq!(STANDARD.encode(hash), sha256);
        let new =
            digest(&headers(&[("repr-digest", "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:, unixsum=5")]));
        assert_eq!(new, Some(WholeDigest::Sha256(hash)));
        assert!(matches!(
            digest(&headers(&[("digest", "sha=2jmj7l5rSw0yVb/vlWAYkK/YBwk=")])),
            Some(WholeDigest::Sha1(_))
        ));
        for bad in ["sha-256=:AAAA:", "sha-256=47DEQ", "sha-256", ""] {
            assert_eq!(digest(&headers(&[("repr-digest", bad)])), None, "{bad}");
        }
    }

    #[test]
    fn names_of_files() {
        let name =
            |value| file_name(&headers(&[("content-disposition", value)])).map(|n| String::from_utf8(n).unwrap());
        assert_eq!(name("attachment; filename=\"a \\\"b\\\".txt\"").as_deref(), Some("a \"b\".txt"));
        assert_eq!(name("attachment; filename=x; filename*=UTF-8''%e2%82%ac.txt").as_deref(), Some("\u{20ac}.txt"));
        assert_eq!(name("inline; filename=../../etc/passwd").as_deref(), Some("passwd"));
        assert_eq!(name("inline"), None);
    }

    #[test]
    fn content_ranges() {
        let range = |value| content_range(&headers(&[("content-range", value)]));
        assert_eq!(range("bytes 0-9/100"), Some((0, 9, Some(100))));
        assert_eq!(range("bytes 5-5/*"), Some((5, 5, None)));
        for bad in ["", "bytes */100", "bytes 9-0/100", "bytes 0-100/100", "items 0-9/100", "bytes 0-9", "bytes -1-2/3"]
        {
            assert_eq!(range(bad), None, "{bad}");
        }
    }
}
