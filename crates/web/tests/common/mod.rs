//! One request over a real socket, written by hand, and its answer.

#![allow(dead_code, unreachable_pub, reason = "each test uses what it needs")]

pub mod yard;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer, read to the end.
pub struct Reply {
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    pub body: Vec<u8>,
    /// It was as long as it said, or came to the end of its chunks.
    pub whole: bool,
}

impl Reply {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }

    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Asks, with `headers` besides `Host`.
pub async fn ask(addr: SocketAddr, method: &str, path: &str, headers: &[&str]) -> Reply {
    let headers: String = headers.iter().map(|h| format!("{h}\r\n")).collect();
    raw(addr, format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n").as_bytes()).await
}

/// Sends what is not even a request, perhaps.
pub async fn raw(addr: SocketAddr, request: &[u8]) -> Reply {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut raw = Vec::new();
    // A response that breaks off ends in an error or in silence; both show as a short body.
    let _ = stream.read_to_end(&mut raw).await;
    parse(&raw).unwrap_or_else(|| panic!("no answer to {}", String::from_utf8_lossy(request)))
}

/// Takes an answer apart; None: there is none.
pub fn parse(raw: &[u8]) -> Option<Reply> {
    let end = raw.windows(4).position(|w| w == b"\r\n\r\n")?;
    let head = String::from_utf8(raw[..end].to_vec()).unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    let pair = |line: &str| line.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned()));
    let mut reply =
        Reply { status, headers: head.lines().filter_map(pair).collect(), body: raw[end + 4..].to_vec(), whole: true };
    if reply.header("transfer-encoding") == "chunked" {
        (reply.body, reply.whole) = chunks(&reply.body);
    } else if let Ok(len) = reply.header("content-length").parse::<usize>() {
        reply.whole = reply.body.len() == len;
    }
    Some(reply)
}

fn chunks(mut raw: &[u8]) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    loop {
        let Some(end) = raw.windows(2).position(|w| w == b"\r\n") else { return (body, false) };
        let len = usize::from_str_radix(std::str::from_utf8(&raw[..end]).unwrap(), 16).unwrap();
        if len == 0 {
            return (body, raw == b"0\r\n\r\n");
        }
        let Some(chunk) = raw.get(end + 2..end + 2 + len) else { return (body, false) };
        body.extend_from_slice(chunk);
        raw = raw.get(end + 4 + len..).unwrap_or_default();
    }
}
