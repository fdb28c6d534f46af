//! Just enough HTTP to ask a client's control port: one request a connection, HTTP/1.0, so that no answer comes in chunks.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

const LIMIT: Duration = Duration::from_secs(120);

/// Sends a request to a port of this machine and gives the body of a good answer. Without `body` it is a GET.
pub(super) fn ask(port: u16, path: &str, body: Option<&[u8]>) -> Result<Vec<u8>> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).with_context(|| format!("nobody listens at {port}"))?;
    stream.set_read_timeout(Some(LIMIT)).context("cannot set a timeout")?;
    let method = if body.is_some() { "POST" } else { "GET" };
    let body = body.unwrap_or_default();
    let mut request =
        format!("{method} {path} HTTP/1.0\r\nHost: 127.0.0.1:{port}\r\nContent-Length: {}\r\n", body.len());
    request.push_str("Content-Type: application/octet-stream\r\nConnection: close\r\n\r\n");
    stream.write_all(&[request.as_bytes(), body].concat()).with_context(|| format!("cannot ask port {port}"))?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).with_context(|| format!("no answer from port {port} to {path}"))?;
    let (status, body) = split(&answer).with_context(|| format!("port {port} answers no HTTP to {path}"))?;
    ensure!((200..300).contains(&status), "port {port} answers {status} to {path}: {}", String::from_utf8_lossy(body));
    Ok(body.to_vec())
}

/// The same, where the answer is JSON.
pub(super) fn ask_json(port: u16, path: &str, body: Option<&[u8]>) -> Result<Value> {
    let answer = ask(port, path, body)?;
    serde_json::from_slice(&answer).with_context(|| format!("port {port} answers no JSON to {path}"))
}

fn split(answer: &[u8]) -> Option<(u16, &[u8])> {
    let end = answer.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..end]).ok()?;
    Some((head.split(' ').nth(1)?.parse().ok()?, &answer[end + 4..]))
}

/// Base64 with padding, as JSON-RPC wants its torrents.
pub(super) fn base64(bytes: &[u8]) -> String {
    const SIGNS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for group in bytes.chunks(3) {
        let word = group.iter().fold(0_u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - group.len()));
        for i in 0..4 {
            let sign = SIGNS[(word >> (18 - 6 * i) & 63) as usize];
            text.push(if i <= group.len() { char::from(sign) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_that_of_the_rfc() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foobar", "Zm9vYmFy")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }

    #[test]
    fn an_answer_is_split_at_its_first_empty_line() {
        assert_eq!(split(b"HTTP/1.0 200 OK\r\nA: b\r\n\r\nbody\r\n\r\n"), Some((200, b"body\r\n\r\n".as_slice())));
        assert_eq!(split(b"nothing"), None);
    }
}
