//! A server that answers as a test says, on a port of its own, for tests of several crates.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]
#![allow(dead_code, unreachable_pub, reason = "each test uses its part, and nothing else can")]

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// What somebody has asked for.
#[derive(Clone, Debug, Default)]
pub struct Ask {
    /// The target: a path, or for a proxy a whole URL.
    pub path: String,
    /// The method.
    pub method: String,
    head: String,
}

impl Ask {
    /// A header, by its name in lower case.
    pub fn header(&self, name: &str) -> Option<&str> {
        let pairs = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        pairs.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }

    /// The first and the last byte that are asked for.
    pub fn range(&self) -> Option<(usize, usize)> {
        let (first, last) = self.header("range")?.strip_prefix("bytes=")?.split_once('-')?;
        Some((first.parse().unwrap(), last.parse().unwrap_or(usize::MAX)))
    }
}

/// What is answered.
#[derive(Clone, Debug, Default)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// Headers beside those of framing.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Vec<u8>,
    /// Milliseconds between two parts of 16 KiB of the body.
    pub pause_ms: u64,
    /// The length is not told; the end of the connection is the end.
    pub endless: bool,
}

impl Reply {
    /// An answer without a body.
    pub fn status(status: u16) -> Self {
        Reply { status, ..Reply::default() }
    }

    /// All of it, whatever the range.
    pub fn whole(body: &[u8]) -> Self {
        Reply { status: 200, body: body.to_vec(), ..Reply::default() }
    }

    /// What is asked for, as a server answers that knows ranges; `tag` is its entity tag or its time, as `If-Range` may have it.
    pub fn ranged(ask: &Ask, body: &[u8], tag: Option<&str>) -> Self {
        let reply = match ask.range().filter(|_| ask.header("if-range").is_none_or(|t| Some(t) == tag)) {
            Some((first, last)) if first < body.len() => {
                let last = last.min(body.len() - 1);
                let range = format!("bytes {first}-{last}/{}", body.len());
                Reply { status: 206, ..Reply::whole(&body[first..=last]) }.with("Content-Range", &range)
            }
            Some(_) => Reply::status(416),
            None => Reply::whole(body),
        };
        match tag {
            Some(tag) if tag.contains('"') => reply.with("ETag", tag),
            Some(time) => reply.with("Last-Modified", time),
            None => reply,
        }
    }

    /// One header more.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Slowly.
    pub fn slowly(self, pause_ms: u64) -> Self {
        Reply { pause_ms, ..self }
    }
}

/// A server, as long as the process lives.
#[derive(Clone, Debug)]
pub struct Site {
    /// Its address and port.
    pub at: String,
    asked: Arc<Mutex<Vec<Ask>>>,
}

impl Site {
    /// Answers each request by `answer`.
    pub fn open(answer: impl Fn(&Ask) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let site = Site { at: listener.local_addr().unwrap().to_string(), asked: Arc::default() };
        let (asked, answer) = (site.asked.clone(), Arc::new(answer));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (asked, answer) = (asked.clone(), answer.clone());
                std::thread::spawn(move || {
                    // Whoever asks may go at any moment.
                    let _ = serve(stream, &asked, &*answer);
                });
            }
        });
        site
    }

    /// The URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.at)
    }

    /// All that was asked so far.
    pub fn asked(&self) -> Vec<Ask> {
        self.asked.lock().unwrap().clone()
    }
}

fn serve(mut stream: TcpStream, asked: &Mutex<Vec<Ask>>, answer: &dyn Fn(&Ask) -> Reply) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte)?;
            head.push(byte[0]);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let mut first = head.split(' ');
        let (method, path) = (first.next().unwrap_or_default().to_owned(), first.next().unwrap_or_default().to_owned());
        let ask = Ask { path, method, head };
        asked.lock().unwrap().push(ask.clone());
        let reply = answer(&ask);
        write!(stream, "HTTP/1.1 {} x\r\n", reply.status)?;
        for (name, value) in &reply.headers {
            write!(stream, "{name}: {value}\r\n")?;
        }
        if !reply.endless {
            write!(stream, "Content-Length: {}\r\n", reply.body.len())?;
        } else {
            write!(stream, "Connection: close\r\n")?;
        }
        stream.write_all(b"\r\n")?;
        if ask.method != "HEAD" {
            for part in reply.body.chunks(16 << 10) {
                stream.write_all(part)?;
                std::thread::sleep(Duration::from_millis(reply.pause_ms));
            }
        }
        if reply.endless {
            return Ok(());
        }
    }
}
