//! The responses: headers and bodies.

use crate::body::{self, Segment, Source};
use crate::chance::chance;
use crate::conditions::{self, Verdict, Version};
use crate::content::{Content, ContentError, Reader};
use crate::item::{Item, file_tag};
use crate::promise::Outbox;
use crate::range::{self, Asked};
use axum::body::{Body, Bytes};
use axum::http::header::{self, HeaderValue};
use axum::http::{HeaderMap, Response as HttpResponse, StatusCode, response};
use axum::response::Response;
use base::{Hex, Metalink, percent};
use serde::Serialize;
use std::ops::Range;
use std::sync::Arc;
use std::time::SystemTime;

/// What pages may do: nothing but use the style, the script and the answers of this site.
const PAGE_POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; \
                           base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// The same, where there are forms.
const FORM_POLICY: &str =
    "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";
/// What shared files may do that browsers run: nothing, as if they came from nowhere.
const FILE_POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:";

fn response(status: StatusCode) -> response::Builder {
    HttpResponse::builder().status(status).header(header::X_CONTENT_TYPE_OPTIONS, "nosniff")
}

fn finish(builder: response::Builder, body: impl Into<Body>) -> Response {
    builder.body(body.into()).unwrap_or_else(|error| {
        tracing::error!("a header that can't be sent: {error}");
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
        response
    })
}

/// A refusal, in words.
pub(crate) fn refuse(status: StatusCode, why: &str) -> Response {
    let mut builder = response(status).header(header::CONTENT_TYPE, "text/plain; charset=utf-8");
    if status == StatusCode::METHOD_NOT_ALLOWED {
        builder = builder.header(header::ALLOW, "GET, HEAD");
    }
    finish(builder, format!("{why}\n"))
}

/// There is no room for this now: come again in so many seconds.
pub(crate) fn busy(why: &str, seconds: u32) -> Response {
    let mut response = refuse(StatusCode::SERVICE_UNAVAILABLE, why);
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// There is no such file.
pub(crate) fn nothing() -> Response {
    refuse(StatusCode::NOT_FOUND, "there is nothing under this address")
}

/// Which methods there are.
pub(crate) fn allows(status: StatusCode, methods: &'static str) -> Response {
    let builder = response(status).header(header::ALLOW, methods);
    match status {
        StatusCode::NO_CONTENT => finish(builder, Body::empty()),
        _ => finish(
            builder.header(header::CONTENT_TYPE, "text/plain; charset=utf-8"),
            format!("only {methods} are answered here\n"),
        ),
    }
}

/// The file was taken.
pub(crate) fn written(status: StatusCode, etag: &str) -> Response {
    finish(response(status).header(header::ETAG, etag), Body::empty())
}

/// It is over there, for good.
pub(crate) fn moved(to: &str) -> Response {
    finish(response(StatusCode::MOVED_PERMANENTLY).header(header::LOCATION, to), Body::empty())
}

/// Nothing has this address.
pub(crate) fn not_found() -> Response {
    refuse(StatusCode::NOT_FOUND, "nothing is shared under this address; /f/ lists what is")
}

/// A page.
pub(crate) fn page(html: Result<String, askama::Error>) -> Response {
    match html {
        Ok(html) => finish(page_headers(), html),
        Err(error) => {
            tracing::error!("a page can't be made: {error}");
            refuse(StatusCode::INTERNAL_SERVER_ERROR, "this page can't be made")
        }
    }
}

/// A page with forms that ask this site.
pub(crate) fn page_with_forms(html: Result<String, askama::Error>) -> Response {
    let mut response = page(html);
    if let Some(policy) = response.headers_mut().get_mut(header::CONTENT_SECURITY_POLICY) {
        *policy = HeaderValue::from_static(FORM_POLICY);
    }
    response
}

fn page_headers() -> response::Builder {
    response(StatusCode::OK)
        .header(header::CONTENT_TYPE, "text/html; charset=utf-8")
        .header(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)
        .header(header::REFERRER_POLICY, "no-referrer")
        .header(header::VARY, "accept")
        .header(header::CACHE_CONTROL, "no-store")
}

/// A file of the site itself.
pub(crate) fn asset(kind: &'static str, text: &'static str) -> Response {
    let builder =
        response(StatusCode::OK).header(header::CONTENT_TYPE, kind).header(header::CACHE_CONTROL, "max-age=300");
    finish(builder, text)
}

/// Facts for the page's script.
pub(crate) fn json(value: &impl Serialize) -> Response {
    let builder = response(StatusCode::OK).header(header::CACHE_CONTROL, "no-store");
    match serde_json::to_vec(value) {
        Ok(body) => finish(builder.header(header::CONTENT_TYPE, "application/json"), body),
        Err(error) => refuse(StatusCode::INTERNAL_SERVER_ERROR, &format!("no answer: {error}")),
    }
}

/// A listing for programs; browsers get a page under the same address.
pub(crate) fn listing_json(value: &impl Serialize) -> Response {
    let mut response = json(value);
    response.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    response
}

/// An answer of the tracker.
pub(crate) fn tracker(body: Vec<u8>) -> Response {
    let builder = response(StatusCode::OK).header(header::CACHE_CONTROL, "no-store");
    finish(builder.header(header::CONTENT_TYPE, "text/plain"), body)
}

/// The .torrent of an item.
pub(crate) fn torrent(item: &Item, headers: &HeaderMap) -> Response {
    let version = Version { etag: format!("\"{}-torrent\"", item.tag), modified: None };
    let kind = HeaderValue::from_static("application/x-bittorrent");
    let builder = HttpResponse::builder()
        .header(header::CACHE_CONTROL, "no-cache")
        .header(header::CONTENT_DISPOSITION, disposition("attachment", &format!("{}.torrent", item.name)));
    let facts = Facts { version, kind, len: item.torrent.len() as u64 };
    deliver(headers, builder, &facts, item.torrent.clone())
}

/// The Metalink of an item; None: it can't have one.
pub(crate) fn metalink(item: &Item, metalink: Option<Metalink>, headers: &HeaderMap) -> Response {
    let Some(metalink) = metalink else {
        return refuse(StatusCode::NOT_FOUND, "it has too many files for a Metalink; its torrent names them all");
    };
    let text = Bytes::from(metalink.to_xml());
    // It changes with the mirrors, too.
    let mut digest = hash::Sha256::new();
    digest.update(&text);
    let version = Version { etag: format!("\"{}\"", Hex(&digest.finish()[..16])), modified: None };
    let builder = HttpResponse::builder()
        .header(header::CACHE_CONTROL, "no-cache")
        .header(header::CONTENT_DISPOSITION, disposition("attachment", &format!("{}.meta4", item.name)));
    let kind = HeaderValue::from_static(base::metalink::MEDIA_TYPE);
    let facts = Facts { version, kind, len: text.len() as u64 };
    deliver(headers, builder, &facts, text)
}

/// Whether all files of an item look as they did when they were hashed.
pub(crate) async fn is_unchanged(item: Arc<Item>) -> bool {
    let look =
        move || if item.single { Reader::open(item, Content::File(0)) } else { Reader::open(item, Content::Tar) };
    matches!(tokio::task::spawn_blocking(look).await, Ok(Ok(_)))
}

/// The entity tag: the same wherever the same content is.
pub(crate) fn tag(item: &Item, content: Content) -> String {
    match content {
        Content::File(file) => file_tag(&item.tag, item.single, file),
        Content::Tar => format!("\"{}-tar\"", item.tag),
        Content::Zeros(len) => format!("\"pad-{len}\""),
    }
}

/// The bytes of a file, or of a folder as a tar stream.
///
/// # Errors
/// If they are not what was hashed.
pub(crate) async fn content(
    item: Arc<Item>,
    content: Content,
    headers: &HeaderMap,
    download: bool,
    outbox: Option<&Outbox>,
) -> Result<Response, ContentError> {
    let (len, path, modified) = match content {
        Content::File(index) => {
            let file = &item.files[index];
            (file.len, file.path.clone(), file.modified)
        }
        Content::Tar => (item.stream_len(), format!("{}.tar", item.name), item.modified()),
        Content::Zeros(len) => (len, "padding".to_owned(), None),
    };
    let version = Version { etag: tag(&item, content), modified };
    let kind = match content {
        Content::Tar => HeaderValue::from_static("application/x-tar"),
        Content::File(_) | Content::Zeros(_) => kind(&path),
    };
    // What changed on disk must not be confirmed by its old tag either: it is looked at before the conditions are.
    let opened = tokio::task::spawn_blocking(move || Reader::open(item, content)).await;
    let Ok(opened) = opened else { return Ok(refuse(StatusCode::SERVICE_UNAVAILABLE, "the server is closing")) };
    let name = path.rsplit('/').next().unwrap_or(&path);
    let builder = file_headers(&kind, name, download);
    let source = Source::Stored(Arc::new(opened?), outbox.cloned());
    Ok(deliver(headers, builder, &Facts { version, kind, len }, source))
}

/// What is said of every file that is shared.
pub(crate) fn file_headers(kind: &HeaderValue, name: &str, download: bool) -> response::Builder {
    let builder = HttpResponse::builder()
        .header(header::VARY, "accept")
        .header(header::CACHE_CONTROL, "no-cache")
        .header(header::CONTENT_DISPOSITION, disposition(if download { "attachment" } else { "inline" }, name));
    match is_active(kind) {
        true => builder.header(header::CONTENT_SECURITY_POLICY, FILE_POLICY),
        false => builder,
    }
}

/// What is known of a resource before it is sent.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) version: Version,
    pub(crate) kind: HeaderValue,
    pub(crate) len: u64,
}

/// Answers with what the conditions and ranges of a request leave of a source; `builder` has headers of its own already.
pub(crate) fn deliver(
    headers: &HeaderMap,
    builder: response::Builder,
    facts: &Facts,
    source: impl Into<Source>,
) -> Response {
    let source = source.into();
    let len = facts.len;
    let builder = builder.header(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    let range = match conditions::judge(headers, &facts.version) {
        Verdict::NotModified => {
            return finish(validators(builder.status(StatusCode::NOT_MODIFIED), &facts.version), Body::empty());
        }
        Verdict::Failed => {
            return refuse(StatusCode::PRECONDITION_FAILED, "this is not what you take it for, or has changed");
        }
        Verdict::Go { range } => headers.get(header::RANGE).filter(|_| range).and_then(|v| v.to_str().ok()),
    };
    let builder = validators(builder, &facts.version).header(header::ACCEPT_RANGES, "bytes");
    let typed = |builder: response::Builder| builder.header(header::CONTENT_TYPE, &facts.kind);
    let span = |r: &Range<u64>| format!("bytes {}-{}/{len}", r.start, r.end.saturating_sub(1));
    match range::parse(range, len) {
        Asked::Whole => {
            let builder = typed(builder).header(header::CONTENT_LENGTH, len);
            finish(builder, body::of(source, vec![Segment::Range(0..len)]))
        }
        Asked::Part(part) => {
            let builder = typed(builder.status(StatusCode::PARTIAL_CONTENT)).header(header::CONTENT_RANGE, span(&part));
            let builder = builder.header(header::CONTENT_LENGTH, part.end - part.start);
            finish(builder, body::of(source, vec![Segment::Range(part)]))
        }
        Asked::Parts(parts) => {
            let boundary = boundary();
            let kind = facts.kind.to_str().unwrap_or("application/octet-stream");
            let mut segments = Vec::with_capacity(2 * parts.len() + 1);
            for part in parts {
                let before = if segments.is_empty() { "" } else { "\r\n" };
                segments.push(Segment::Text(format!(
                    "{before}--{boundary}\r\nContent-Type: {kind}\r\nContent-Range: {}\r\n\r\n",
                    span(&part)
                )));
                segments.push(Segment::Range(part));
            }
            segments.push(Segment::Text(format!("\r\n--{boundary}--\r\n")));
            let builder = builder
                .status(StatusCode::PARTIAL_CONTENT)
                .header(header::CONTENT_TYPE, format!("multipart/byteranges; boundary={boundary}"))
                .header(header::CONTENT_LENGTH, body::len(&segments));
            finish(builder, body::of(source, segments))
        }
        Asked::Nothing => {
            let mut response = refuse(StatusCode::RANGE_NOT_SATISFIABLE, &format!("there are only {len} bytes"));
            if let Ok(all) = HeaderValue::from_str(&format!("bytes */{len}")) {
                response.headers_mut().insert(header::CONTENT_RANGE, all);
            }
            response
        }
    }
}

fn validators(builder: response::Builder, version: &Version) -> response::Builder {
    let builder = builder.header(header::ETAG, &version.etag);
    match version.modified {
        // A file from the future was last changed now (section 8.8.2.1).
        Some(modified) => {
            builder.header(header::LAST_MODIFIED, httpdate::fmt_http_date(modified.min(SystemTime::now())))
        }
        None => builder,
    }
}

/// What no content can be made to contain: nobody knows it before.
fn boundary() -> String {
    format!("{:016x}{:016x}", chance(), chance())
}

/// The answer to HEAD: the same, without its body.
pub(crate) fn without_body(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    if !parts.headers.contains_key(header::CONTENT_LENGTH)
        && let Some(len) = axum::body::HttpBody::size_hint(&body).exact()
        && parts.status != StatusCode::NOT_MODIFIED
    {
        parts.headers.insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    }
    Response::from_parts(parts, Body::empty())
}

/// The type by the name's extension; text is UTF-8, as most is.
pub(crate) fn kind(path: &str) -> HeaderValue {
    let mime = mime_guess::from_path(path).first_or_octet_stream();
    let text = mime.type_() == "text" || mime.essence_str() == "application/json";
    let value = if text { format!("{}; charset=utf-8", mime.essence_str()) } else { mime.essence_str().to_owned() };
    HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("application/octet-stream"))
}

/// Whether browsers run what is in such a file.
fn is_active(kind: &HeaderValue) -> bool {
    let kind = kind.to_str().unwrap_or("");
    ["html", "xml", "svg"].iter().any(|active| kind.contains(active))
}

/// How to name it when it is saved (RFC 6266): plain for old programs, UTF-8 for all others.
fn disposition(how: &str, name: &str) -> String {
    let plain = |c: char| if (c.is_ascii_graphic() || c == ' ') && !"\"\\%/;".contains(c) { c } else { '_' };
    let plain: String = name.chars().map(plain).collect();
    format!("{how}; filename=\"{plain}\"; filename*=UTF-8''{}", percent::encode(name.as_bytes(), b""))
}
