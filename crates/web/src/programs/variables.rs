//! What a program is told of its request (RFC 3875, section 4.1), and the length of a body that did not say its own.

use super::{ProgramError, ProgramLimits, Script};
use crate::auth::User;
use crate::body::{self, OpenFile, Segment, part};
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, header, request};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// Bytes of a body that wait in memory until its length is known.
const IN_MEMORY_MAX: usize = 256 << 10;

/// Names and values, sorted by name.
pub(super) type Variables = BTreeMap<Vec<u8>, Vec<u8>>;

/// Says everything about a request.
pub(super) fn of(
    script: &Script,
    root: &Path,
    parts: &request::Parts,
    from: SocketAddr,
    length: Option<u64>,
) -> Variables {
    let mut all = Variables::new();
    let mut set = |name: &str, value: &[u8]| drop(all.insert(name.into(), value.to_vec()));
    let header = |name: HeaderName| parts.headers.get(name).map(|v| v.as_bytes()).unwrap_or_default();
    let host = match parts.uri.authority() {
        // The target's own counts (RFC 9112, section 3.2.2).
        Some(authority) => authority.as_str().to_owned(),
        None => String::from_utf8_lossy(header(header::HOST)).into_owned(),
    };
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if port.parse::<u16>().is_ok() => (name, port),
        _ => (&host[..], "80"),
    };
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

/// `HTTP_...`, but for headers that are told otherwise, that belong to the connection, or that programs would take for something
/// else: `Proxy` for the proxy that they are to use, a name with an underscore for the one with a dash.
fn variable(name: &HeaderName) -> Option<Vec<u8>> {
    let plain = name.as_str();
    let told = matches!(plain, "content-type" | "content-length");
    let connection = matches!(plain, "connection" | "keep-alive" | "te" | "trailer" | "transfer-encoding" | "upgrade");
    // Some make an underscore of a dot and of other signs, too.
    let sound = plain.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if told || connection || plain == "proxy" || !sound {
        return None;
    }
    Some(format!("HTTP_{}", plain.to_ascii_uppercase().replace('-', "_")).into_bytes())
}

/// What the body says of its length.
pub(super) fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// A body whose length is known: programs are told it before the first byte. One that does not say its own is collected, within
/// the limit; what is long waits in a file without a name.
pub(super) async fn sized(
    parts: &request::Parts,
    mut body: Body,
    limits: &ProgramLimits,
) -> Result<(Body, Option<u64>), ProgramError> {
    if let Some(length) = content_length(&parts.headers) {
        return Ok((body, Some(length)));
    }
    if !parts.headers.contains_key(header::TRANSFER_ENCODING) {
        return Ok((Body::empty(), None));
    }
    let (mut waiting, mut spool, mut length) = (Vec::new(), None, 0);
    while let Some(bytes) = next(&mut body, limits).await? {
        length += bytes.len() as u64;
        if length > limits.body {
            return Err(ProgramError::Large(limits.body));
        }
        waiting.extend_from_slice(&bytes);
        if waiting.len() >= IN_MEMORY_MAX {
            spool = Some(write(spool, std::mem::take(&mut waiting)).await.map_err(ProgramError::Spool)?);
        }
    }
    if spool.is_none() {
        return Ok((Body::from(waiting), Some(length)));
    }
    let file = write(spool, waiting).await.map_err(ProgramError::Spool)?;
    Ok((body::of(OpenFile(file), vec![Segment::Range(0..length)]), Some(length)))
}

/// Writes to the file, which is made if there is none yet.
async fn write(file: Option<File>, bytes: Vec<u8>) -> io::Result<File> {
    let write = move || {
        let mut file = file.map_or_else(tempfile::tempfile, Ok)?;
        file.write_all(&bytes).map(|()| file)
    };
    tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
}

async fn next(body: &mut Body, limits: &ProgramLimits) -> Result<Option<Bytes>, ProgramError> {
    match tokio::time::timeout(limits.patience, part(body)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => Err(ProgramError::Body(error.to_string())),
        Err(_) => Err(ProgramError::Body("it stopped arriving".into())),
    }
}
