//! What a program prints: a few headers, an empty line, and the page (RFC 3875, section 6).

use super::spool::Room;
use super::{Fed, ProgramError, relay};
use crate::hops::is_hop;
use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream::{self, Stream, StreamExt as _};
use std::io;
use std::pin::Pin;
use std::time::Duration;

/// Bytes of a program's headers.
const HEAD_MAX: usize = 64 << 10;
/// A program's headers.
const HEADERS_MAX: usize = 500;

/// What a program prints, as it comes. Dropping it ends the program.
pub(super) type Output = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

/// Why what a program prints is no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum OutputError {
    #[error("it said nothing for too long")]
    Silent,
    #[error("it ended without an answer")]
    Nothing,
    #[error("its answer has no header, or one that is none: {0:?}")]
    Header(String),
    #[error("its headers are longer than {HEAD_MAX} bytes, or more than {HEADERS_MAX}")]
    Long,
    #[error("it can't be read: {0}")]
    Read(io::Error),
}

/// What comes of it.
pub(super) enum Answer {
    Response(Response),
    /// The answer is what lies at this path of ours.
    Elsewhere(String),
}

/// Reads the headers, and lets the page stream.
pub(super) async fn respond(
    name: &str,
    mut output: Output,
    fed: &Fed,
    patience: Duration,
    head: bool,
    room: Room,
) -> Result<Answer, ProgramError> {
    let (mut first, mut heard, mut lines) = (Vec::new(), 0, Lines::default());
    let body_at = loop {
        let end = lines.end_of_head(&first);
        if end.unwrap_or(first.len()) > HEAD_MAX {
            return Err(OutputError::Long.into());
        }
        if let Some(at) = end {
            break at;
        }
        match tokio::time::timeout(patience, output.next()).await {
            // It is still being told.
            Err(_) if fed.so_far() > heard => heard = fed.so_far(),
            Err(_) => return Err(OutputError::Silent.into()),
            Ok(None) if first.is_empty() => return Err(OutputError::Nothing.into()),
            Ok(None) => return Err(OutputError::Header(excerpt(&first)).into()),
            Ok(Some(Err(error))) => return Err(OutputError::Read(error).into()),
            Ok(Some(Ok(bytes))) => first.extend_from_slice(&bytes),
        }
    };
    let parsed = parse(&first[..body_at])?;
    if let Some(path) = parsed.elsewhere {
        return Ok(Answer::Elsewhere(path));
    }
    let none = matches!(parsed.status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let body = if head || none {
        // It may still have work to do.
        tokio::spawn(drain(output, patience));
        // How long the page would have been nobody knows.
        if none { Body::empty() } else { Body::from_stream(stream::empty::<io::Result<Bytes>>()) }
    } else {
        let length = parsed.headers.get(header::CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse().ok());
        relay::page(name, first.split_off(body_at), output, length, patience, room)
    };
    let mut response = Response::new(body);
    *response.status_mut() = parsed.status;
    *response.headers_mut() = parsed.headers;
    Ok(Answer::Response(response))
}

/// Lets it end, within its patience in all: nobody waits for what it prints.
async fn drain(mut output: Output, patience: Duration) {
    let rest = async { while let Some(Ok(_)) = output.next().await {} };
    let _ = tokio::time::timeout(patience, rest).await;
}

#[derive(Debug)]
struct Parsed {
    status: StatusCode,
    headers: HeaderMap,
    elsewhere: Option<String>,
}

/// The lines of a head, as far as they are here.
#[derive(Debug, Default)]
struct Lines {
    /// Where the last one begins.
    line: usize,
    /// How far was looked.
    seen: usize,
}

impl Lines {
    /// Where the page begins: behind the first empty line, whichever way lines end. `bytes` are those of the last time, and more.
    fn end_of_head(&mut self, bytes: &[u8]) -> Option<usize> {
        while let Some(at) = bytes[self.seen..].iter().position(|b| *b == b'\n') {
            let end = self.seen + at;
            if matches!(&bytes[self.line..end], b"" | b"\r") {
                return Some(end + 1);
            }
            (self.line, self.seen) = (end + 1, end + 1);
        }
        self.seen = bytes.len();
        None
    }
}

fn parse(head: &[u8]) -> Result<Parsed, OutputError> {
    let (mut status, mut headers) = (None, HeaderMap::new());
    for line in head.split(|b| *b == b'\n') {
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if line.is_empty() {
            continue;
        }
        let wrong = || OutputError::Header(excerpt(line));
        let colon = line.iter().position(|b| *b == b':').ok_or_else(wrong)?;
        let name = HeaderName::from_bytes(&line[..colon]).map_err(|_| wrong())?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).map_err(|_| wrong())?;
        if name == "status" {
            let code = value.as_bytes().get(..3).and_then(|c| StatusCode::from_bytes(c).ok());
            status = Some(code.filter(|c| (200..600).contains(&c.as_u16())).ok_or_else(wrong)?);
        } else if name == header::CONTENT_LENGTH && (!is_length(value.as_bytes()) || headers.contains_key(&name)) {
            return Err(wrong());
        } else if !is_hop(&name) {
            headers.append(name, value);
        }
        if headers.len() > HEADERS_MAX {
            return Err(OutputError::Long);
        }
    }
    if headers.is_empty() && status.is_none() {
        return Err(OutputError::Header(excerpt(head)));
    }
    let location = headers.get(header::LOCATION).and_then(|l| l.to_str().ok());
    let local =
        location.filter(|l| l.starts_with('/') && !l.starts_with("//") && status.is_none() && headers.len() == 1);
    let elsewhere = local.map(ToOwned::to_owned);
    let moved = if location.is_some() { StatusCode::FOUND } else { StatusCode::OK };
    Ok(Parsed { status: status.unwrap_or(moved), elsewhere, headers })
}

fn is_length(text: &[u8]) -> bool {
    (1..=18).contains(&text.len()) && text.iter().all(u8::is_ascii_digit)
}

/// The beginning of what can't be understood, for the log.
fn excerpt(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(100)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heads_end_at_the_first_empty_line() {
        for (text, end) in [
            ("A: b\n\nx", Some(6)),
            ("A: b\r\n\r\nx", Some(8)),
            ("A: b\r\n\nx", Some(7)),
            ("\nx", Some(1)),
            ("A: b\n", None),
        ] {
            assert_eq!(Lines::default().end_of_head(text.as_bytes()), end, "{text:?}");
            // The same, byte by byte.
            let mut lines = Lines::default();
            let found = (0..=text.len()).find_map(|len| lines.end_of_head(&text.as_bytes()[..len]));
            assert_eq!(found, end, "{text:?}");
        }
    }

    #[test]
    fn headers_have_a_limit() {
        let names = |count: usize| (0..count).fold(String::new(), |all, n| all + &format!("x{n}: y\n"));
        assert!(parse(names(HEADERS_MAX).as_bytes()).is_ok());
        assert!(matches!(parse(names(HEADERS_MAX + 1).as_bytes()), Err(OutputError::Long)));
    }

    #[test]
    fn headers_of_programs() {
        let ok = |head: &str| parse(head.as_bytes()).unwrap();
        let page = ok(
            "Content-Type: text/html\r\nStatus: 404 Not Found\r\nSet-Cookie: a=1\r\nset-cookie: b=2\r\nConnection: close\r\n\r\n",
        );
        assert_eq!(page.status, 404);
        assert_eq!(page.headers.get_all("set-cookie").iter().count(), 2);
        assert!(!page.headers.contains_key("connection") && !page.headers.contains_key("status"));
        assert_eq!(ok("Content-type: text/plain\n\n").status, 200);
        let away = ok("Location: http://example.org/\n\n");
        assert_eq!((away.status.as_u16(), away.elsewhere), (302, None));
        assert_eq!(ok("Location: /other?x=1\n\n").elsewhere.as_deref(), Some("/other?x=1"));
        assert_eq!(ok("Location: //host/\n\n").elsewhere, None);
        assert_eq!(ok("Status: 303 See Other\nLocation: /other\n\n").elsewhere, None);
        for wrong in [
            "\n",
            "no header\n\n",
            "<html>\n\n",
            "A b: c\n\n",
            "Status: abc\n\n",
            "Status: 100\n\n",
            "A: \u{1}\n\n",
            "Content-Length: x\n\n",
            "Content-Length: +5\n\n",
        ] {
            assert!(parse(wrong.as_bytes()).is_err(), "{wrong:?}");
        }
    }
}
