//! The access log, in the common format (as NCSA httpd began it): a line for each request, once its answer has left.
//!
//! `192.0.2.0 - ada [23/Nov/2026:17:05:00 +0000] "GET /a?b=c HTTP/1.1" 200 5`
//!
//! Addresses are masked unless the user wants them whole. Lines are written by a thread of their own; where it can't keep up,
//! lines are dropped and counted, and nobody waits.

use crate::auth::User;
use crate::body::{self, Keeper};
use crate::date;
use axum::http::{Request, Version};
use axum::response::Response;
use std::fmt::Write as _;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

/// Lines that wait to be written.
const WAITING_MAX: usize = 8_192;
/// Bytes of a request's target that are written.
const TARGET_MAX: usize = 2_048;
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// Where requests are written down.
#[derive(Debug)]
pub struct AccessLog {
    lines: Mutex<Option<SyncSender<String>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    dropped: Arc<AtomicU64>,
    whole_addresses: bool,
}

impl AccessLog {
    /// Writes lines to `out`; with addresses as they are, if `whole_addresses`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn new(out: impl Write + Send + 'static, whole_addresses: bool) -> io::Result<Self> {
        let (lines, waiting) = sync_channel(WAITING_MAX);
        let dropped = Arc::new(AtomicU64::new(0));
        let count = dropped.clone();
        let writer =
            std::thread::Builder::new().name("access-log".into()).spawn(move || write(out, &waiting, &count))?;
        Ok(AccessLog { lines: Mutex::new(Some(lines)), writer: Mutex::new(Some(writer)), dropped, whole_addresses })
    }

    /// Notes a request before it is answered.
    pub(crate) fn begin<B>(self: &Arc<Self>, request: &Request<B>, from: IpAddr) -> Entry {
        let ip = if self.whole_addresses { from.to_canonical() } else { masked(from) };
        let target = request.uri().path_and_query().map_or("*", |t| t.as_str());
        let version = match request.version() {
            Version::HTTP_09 => "HTTP/0.9",
            Version::HTTP_10 => "HTTP/1.0",
            Version::HTTP_2 => "HTTP/2.0",
            _ => "HTTP/1.1",
        };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let mut line = format!("{ip} - ");
        let user_at = line.len();
        let _ = write!(line, " [{}] \"", stamp(i64::try_from(now).unwrap_or(i64::MAX)));
        escape(request.method().as_str(), &mut line);
        line.push(' ');
        escape(&target[..floor(target, TARGET_MAX)], &mut line);
        let _ = write!(line, " {version}\" ");
        Entry { log: self.clone(), line, user_at, user: None, status: 0, bytes: 0 }
    }

    fn put(&self, line: String) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Err(TrySendError::Full(_))) = lines.as_ref().map(|lines| lines.try_send(line)) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What waits is written before it ends.
impl Drop for AccessLog {
    fn drop(&mut self) {
        drop(self.lines.lock().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(writer) = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // One that panicked has said so already.
            let _ = writer.join();
        }
    }
}

fn write(out: impl Write, waiting: &Receiver<String>, dropped: &AtomicU64) {
    let mut out = io::BufWriter::new(out);
    while let Ok(first) = waiting.recv() {
        let mut lines = std::iter::once(first).chain(waiting.try_iter());
        let result = lines.try_for_each(|line| writeln!(out, "{line}")).and_then(|()| out.flush());
        if let Err(error) = result {
            tracing::error!("can't write the access log: {error}");
        }
        match dropped.swap(0, Ordering::Relaxed) {
            0 => {}
            n => tracing::warn!("{n} requests are missing in the access log: it can't be written that fast"),
        }
    }
}

/// A request that is being answered. It is written down when this is dropped.
#[derive(Debug)]
pub(crate) struct Entry {
    log: Arc<AccessLog>,
    line: String,
    /// Where in it the name of the user belongs.
    user_at: usize,
    user: Option<User>,
    status: u16,
    bytes: u64,
}

impl Entry {
    /// Counts what of the answer is sent.
    pub(crate) fn watch(mut self, response: Response) -> Response {
        self.status = response.status().as_u16();
        self.user = response.extensions().get().cloned();
        response.map(|body| body::kept(body, self))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut line = std::mem::take(&mut self.line);
        let mut user = String::from("-");
        if let Some(User(name)) = &self.user {
            user.clear();
            escape(name, &mut user);
        }
        line.insert_str(self.user_at, &user);
        // 499 is what others write for who left before there was an answer.
        let status = if self.status == 0 { 499 } else { self.status };
        let _ = write!(line, "{status} ");
        match self.bytes {
            0 => line.push('-'),
            bytes => drop(write!(line, "{bytes}")),
        }
        self.log.put(line);
    }
}

impl Keeper for Entry {
    fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }
}

/// The network that an address is of: 24 bits of IPv4, 48 of IPv6.
pub(crate) fn masked(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            Ipv4Addr::new(a, b, c, 0).into()
        }
        IpAddr::V6(ip) => {
            let [a, b, c, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).into()
        }
    }
}

/// `23/Nov/2026:17:05:00 +0000`
fn stamp(seconds: i64) -> String {
    let (year, month, day) = date::civil(seconds.div_euclid(86_400));
    let second = seconds.rem_euclid(86_400);
    let month = MONTHS[(month - 1).clamp(0, 11) as usize];
    format!("{day:02}/{month}/{year:04}:{:02}:{:02}:{:02} +0000", second / 3600, second / 60 % 60, second % 60)
}

/// Whatever might be taken for the end of a field, or for a line of its own.
fn escape(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | 0..=0x20 | 0x7f.. => drop(write!(out, "\\x{byte:02X}")),
            _ => out.push(char::from(byte)),
        }
    }
}

/// The end of a character at `max` bytes, or before.
fn floor(text: &str, max: usize) -> usize {
    (0..=max.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;

    /// What a test can read while the log writes.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines(whole: bool, requests: &[(&str, &str)]) -> Vec<String> {
        let page = Page::default();
        let log = Arc::new(AccessLog::new(page.clone(), whole).unwrap());
        for (uri, from) in requests {
            let request = Request::builder().uri(*uri).body(()).unwrap();
            drop(log.begin(&request, from.parse().unwrap()).watch(Response::new(Body::empty())));
        }
        drop(log);
        let text = String::from_utf8(page.0.lock().unwrap().clone()).unwrap();
        // Without the time.
        let bare = |line: &str| format!("{}{}", &line[..line.find('[').unwrap()], &line[line.find(']').unwrap() + 2..]);
        text.lines().map(bare).collect()
    }

    #[test]
    fn lines_are_of_the_common_format() {
        assert_eq!(stamp(1_795_453_500), "23/Nov/2026:17:05:00 +0000");
        let requests = [("/a?b=c", "192.0.2.77"), ("/\u{e9}", "2001:db8:1:2::3"), ("/", "::ffff:192.0.2.9")];
        assert_eq!(
            lines(false, &requests),
            [
                "192.0.2.0 - - \"GET /a?b=c HTTP/1.1\" 200 -",
                "2001:db8:1:: - - \"GET /\\xC3\\xA9 HTTP/1.1\" 200 -",
                "192.0.2.0 - - \"GET / HTTP/1.1\" 200 -",
            ]
        );
        assert!(lines(true, &requests)[0].starts_with("192.0.2.77 "));
        let long = format!("/{}", "x".repeat(5000));
        assert!(lines(false, &[(&long, "192.0.2.1")])[0].len() < 2_200);
    }

    #[test]
    fn what_would_forge_a_line_is_escaped() {
        let mut out = String::new();
        escape("a\" 200\n192\\ \u{7f}", &mut out);
        assert_eq!(out, "a\\x22\\x20200\\x0A192\\x5C\\x20\\x7F");
    }
}
