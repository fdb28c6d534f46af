//! FastCGI: programs that stay, behind a socket (php-fpm and others).
//!
//! Each request has a connection of its own, as with nginx by default. One that is used again is not safe with php-fpm: what a
//! script leaves unread of a body would be taken for the next request's records, and a script that goes on after its answer
//! would answer for the next one.

use super::output::Output;
use super::variables::Variables;
use super::{Fed, ProgramError, Script, Turn};
use crate::body::part;
use crate::say::printable;
use axum::body::{Body, Bytes, HttpBody as _};
use futures_util::stream;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf};
use tokio::net::{TcpStream, UnixStream};
use tokio::task::JoinHandle;
use wire::fastcgi::{self as wire_fastcgi, Decoder, Reply};

/// Time to connect.
const CONNECT_TIME: Duration = Duration::from_secs(10);
/// The same, when it is only looked for.
const LOOK_TIME: Duration = Duration::from_secs(2);
/// Bytes read at once, at first and of answers that are longer.
const CHUNK_FIRST: usize = 4 << 10;
const CHUNK: usize = 64 << 10;
/// Bytes of a request without a body that are sent before its answer is waited for.
const AT_ONCE_MAX: usize = 64 << 10;
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

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Unix(path) => path.display().fmt(f),
            Address::Tcp(address) => address.fmt(f),
        }
    }
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
pub(super) struct FastCgi {
    pub(super) address: Address,
}

impl FastCgi {
    pub(super) fn new(address: Address) -> Self {
        FastCgi { address }
    }

    pub(super) async fn run(
        &self,
        script: &Script,
        variables: &Variables<'_>,
        body: Body,
        patience: Duration,
        turn: Turn,
    ) -> Result<Output, ProgramError> {
        let failed = |error| ProgramError::Connect(self.address.clone(), error);
        let stream = self.connect().await.map_err(failed)?;
        let (reader, writer) = tokio::io::split(stream);
        let mut head = Vec::with_capacity(2048);
        wire_fastcgi::begin(&mut head);
        wire_fastcgi::params(variables.iter(), &mut head);
        let head_len = head.len();
        let bare = body.is_end_stream();
        let send = send(writer, head, body, patience, turn.fed.clone());
        // What fits the socket's buffer, as most do, needs nobody beside who waits for the answer.
        let sending = match bare && head_len <= AT_ONCE_MAX {
            true => {
                tokio::time::timeout(patience, send)
                    .await
                    .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))
                    .flatten()
                    .map_err(failed)?;
                None
            }
            false => Some(Sending(tokio::spawn(send))),
        };
        let call = Call {
            name: script.name.clone(),
            reader,
            _sending: sending,
            decoder: Decoder::default(),
            chunk: vec![0; CHUNK_FIRST],
            complained: 0,
            _turn: turn,
        };
        Ok(Box::pin(stream::unfold(Some(call), |call| async {
            let mut call = call?;
            match call.next().await {
                Ok(Some(bytes)) => Some((Ok(bytes), Some(call))),
                Ok(None) => None,
                Err(error) => Some((Err(error), None)),
            }
        })))
    }

    /// Whether anybody listens there.
    pub(super) async fn look(&self) -> io::Result<()> {
        let connect = tokio::time::timeout(LOOK_TIME, self.connect()).await;
        connect.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map(drop)
    }

    async fn connect(&self) -> io::Result<Stream> {
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
}

/// The request on its way; it stops with whoever waits for the answer.
struct Sending(JoinHandle<io::Result<()>>);

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
    fed: Fed,
) -> io::Result<()> {
    loop {
        let next = tokio::time::timeout(patience, part(&mut body)).await;
        // One that breaks off is never ended: the program must not take a part of it for the whole.
        match next.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?.map_err(io::Error::other)? {
            Some(bytes) => wire_fastcgi::input(&bytes, &mut out),
            None => {
                wire_fastcgi::end_of_input(&mut out);
                return writer.write_all(&out).await;
            }
        }
        writer.write_all(&out).await?;
        fed.more();
        out.clear();
    }
}

/// One request, and its answer as it comes.
struct Call {
    name: String,
    reader: ReadHalf<Stream>,
    _sending: Option<Sending>,
    decoder: Decoder,
    chunk: Vec<u8>,
    complained: usize,
    _turn: Turn,
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
                        self.decoder.feed(&self.chunk[..n]);
                        if n == self.chunk.len() && n < CHUNK {
                            self.chunk.resize(CHUNK, 0);
                        }
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
