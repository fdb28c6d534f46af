//! FastCGI: programs that stay, behind a socket (php-fpm and others).
//!
//! A connection is kept for the next request only while nobody waits for an answer: servers like php-fpm give a worker to each
//! connection, and one that idles for us would be missed by whoever waits.

use super::output::Output;
use super::variables::Variables;
use super::{ProgramError, Script};
use crate::body::part;
use crate::say::printable;
use axum::body::{Body, Bytes};
use futures_util::stream;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf, ReadHalf, WriteHalf};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::JoinHandle;
use wire::fastcgi::{self as wire_fastcgi, Decoder, Reply};

/// Connections that are kept for later.
const IDLE_MAX: usize = 16;
/// How long they are.
const IDLE_TIME: Duration = Duration::from_secs(5);
/// Time to connect.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// Bytes read at once.
const CHUNK: usize = 64 << 10;
/// Bytes of complaints that go to the log, for one request.
const COMPLAINTS_MAX: usize = 64 << 10;

/// Where a FastCGI server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A host and a port.
    Tcp(String),
}

impl FromStr for Address {
    type Err = String;

    /// `unix:/run/php.sock`, `/run/php.sock`, `127.0.0.1:9000`.
    fn from_str(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix("unix:").or(text.contains('/').then_some(text));
        match (path, text.rsplit_once(':')) {
            (Some(path), _) if !path.is_empty() => Ok(Address::Unix(path.into())),
            (None, Some((host, port))) if !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0) => {
                Ok(Address::Tcp(text.into()))
            }
            _ => Err(format!("{text} is neither a path nor an address with its port")),
        }
    }
}

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}
type Stream = Box<dyn Duplex>;

/// A FastCGI server.
#[derive(Debug)]
pub(super) struct FastCgi(Arc<Server>);

struct Server {
    address: Address,
    idle: Mutex<Vec<Stream>>,
    /// Requests without an answer yet.
    waiting: AtomicUsize,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Server").field("address", &self.address).finish_non_exhaustive()
    }
}

impl FastCgi {
    pub(super) fn new(address: Address) -> Self {
        FastCgi(Arc::new(Server { address, idle: Mutex::default(), waiting: AtomicUsize::new(0) }))
    }

    pub(super) async fn run(
        &self,
        script: &Script,
        variables: &Variables,
        body: Body,
        patience: Duration,
        turn: OwnedSemaphorePermit,
    ) -> Result<Output, ProgramError> {
        let stream = self.0.connection().await.map_err(ProgramError::Connect)?;
        let (reader, writer) = tokio::io::split(stream);
        let mut head = Vec::with_capacity(2048);
        wire_fastcgi::begin(true, &mut head);
        wire_fastcgi::params(variables.iter().map(|(n, v)| (&n[..], &v[..])), &mut head);
        let sending = Sending(tokio::spawn(send(writer, head, body, patience)));
        let waiting = Waiting::new(&self.0);
        let call = Call {
            server: self.0.clone(),
            name: script.name.clone(),
            reader,
            sending,
            decoder: Decoder::default(),
            waiting: Some(waiting),
            chunk: vec![0; CHUNK],
            complained: 0,
            _turn: turn,
        };
        Ok(Box::pin(stream::unfold(Some(call), |call| async {
            let mut call = call?;
            match call.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(call))),
                Ok(None) => {
                    call.end().await;
                    None
                }
                Err(error) => Some((Err(error), None)),
            }
        })))
    }
}

impl Server {
    async fn connection(&self) -> io::Result<Stream> {
        while let Some(mut stream) = self.take() {
            if is_open(&mut stream).await {
                return Ok(stream);
            }
        }
        let connect = async {
            Ok(match &self.address {
                Address::Unix(path) => Box::new(UnixStream::connect(path).await?) as Stream,
                Address::Tcp(address) => {
                    let stream = TcpStream::connect(address.as_str()).await?;
                    stream.set_nodelay(true)?;
                    Box::new(stream)
                }
            })
        };
        tokio::time::timeout(CONNECT_TIME, connect).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
    }

    fn take(&self) -> Option<Stream> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Keeps a connection for a while.
    fn keep(self: &Arc<Self>, stream: Stream) {
        if self.waiting.load(Ordering::Relaxed) > 0 {
            return;
        }
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < IDLE_MAX {
            idle.push(stream);
            let server = Arc::downgrade(self);
            tokio::spawn(async move {
                tokio::time::sleep(IDLE_TIME).await;
                // The oldest: those that are used come and go at the other end.
                if let Some(server) = server.upgrade() {
                    let mut idle = server.idle.lock().unwrap_or_else(PoisonError::into_inner);
                    if !idle.is_empty() {
                        drop(idle.remove(0));
                    }
                }
            });
        }
    }
}

/// Nothing has come since the last answer, not even an end.
async fn is_open(stream: &mut Stream) -> bool {
    let mut byte = [0];
    let mut buffer = ReadBuf::new(&mut byte);
    std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut *stream).poll_read(cx, &mut buffer).is_pending())).await
}

/// Counts a request until its answer begins.
struct Waiting(Arc<Server>);

impl Waiting {
    fn new(server: &Arc<Server>) -> Self {
        server.waiting.fetch_add(1, Ordering::Relaxed);
        Waiting(server.clone())
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The request on its way; it stops with whoever waits for the answer.
struct Sending(JoinHandle<io::Result<WriteHalf<Stream>>>);

impl Drop for Sending {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn send(
    mut writer: WriteHalf<Stream>,
    mut out: Vec<u8>,
    mut body: Body,
    patience: Duration,
) -> io::Result<WriteHalf<Stream>> {
    loop {
        let next = tokio::time::timeout(patience, part(&mut body)).await;
        // One that breaks off is never ended: the program must not take a part of it for the whole.
        match next.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map_err(io::Error::other)? {
            Some(bytes) => wire_fastcgi::input(&bytes, &mut out),
            None => {
                wire_fastcgi::end_of_input(&mut out);
                writer.write_all(&out).await?;
                return Ok(writer);
            }
        }
        writer.write_all(&out).await?;
        out.clear();
    }
}

/// One request, and its answer as it comes.
struct Call {
    server: Arc<Server>,
    name: String,
    reader: ReadHalf<Stream>,
    sending: Sending,
    decoder: Decoder,
    waiting: Option<Waiting>,
    chunk: Vec<u8>,
    complained: usize,
    _turn: OwnedSemaphorePermit,
}

impl Call {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        loop {
            match self.decoder.poll().map_err(io::Error::other)? {
                Some(Reply::Output(bytes)) => return Ok(Some(bytes.into())),
                Some(Reply::Complaint(bytes)) => self.complain(&bytes),
                Some(Reply::End { refused: 0, .. }) => return Ok(None),
                Some(Reply::End { refused, .. }) => {
                    return Err(io::Error::other(format!("the FastCGI server refused the request (reason {refused})")));
                }
                None => match self.reader.read(&mut self.chunk).await? {
                    0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                    n => {
                        self.waiting = None;
                        self.decoder.feed(&self.chunk[..n]);
                    }
                },
            }
        }
    }

    fn complain(&mut self, bytes: &[u8]) {
        for line in bytes.split(|b| *b == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
            self.complained += line.len();
            if self.complained <= COMPLAINTS_MAX {
                tracing::error!("{}: {}", self.name, printable(line));
            }
        }
    }

    /// The answer is complete. If the whole request was heard too, and nothing was said beyond the end, the connection can be used
    /// again.
    async fn end(mut self) {
        if self.decoder.is_empty()
            && self.sending.0.is_finished()
            && let Ok(Ok(writer)) = (&mut self.sending.0).await
        {
            let server = self.server.clone();
            server.keep(self.reader.unsplit(writer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let parse = |text: &str| text.parse::<Address>();
        assert_eq!(parse("unix:/run/a.sock"), Ok(Address::Unix("/run/a.sock".into())));
        assert_eq!(parse("/run/a.sock"), Ok(Address::Unix("/run/a.sock".into())));
        assert_eq!(parse("127.0.0.1:9000"), Ok(Address::Tcp("127.0.0.1:9000".into())));
        assert_eq!(parse("localhost:9000"), Ok(Address::Tcp("localhost:9000".into())));
        for wrong in ["", "unix:", "9000", "host:", "host:0", ":9000", "host:x"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
