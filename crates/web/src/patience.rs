//! The socket of a client: writing fails once nothing could be written for a while, and promised bytes of files are fetched here.

use crate::body::{Read, Stored};
use crate::promise::{CHUNK, Next, Outbox, Promised};
use crate::tls;
use std::cell::RefCell;
use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::JoinHandle;
use tokio::time::Sleep;

/// Bytes that are copied rather than sent from several places.
const TOGETHER: usize = 4 << 10;

/// Reads that a disk is waited for at once, each with a [`CHUNK`]: thousands may ask for what is in nobody's memory.
static SLOW_READS: Semaphore = Semaphore::const_new(64);

thread_local! {
    /// What is read from files passes through here on its way to a socket; what the socket does not take is read again.
    static BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; TOGETHER + CHUNK].into());
}

/// Puts short pieces one behind the other, and says how long that is. None: they are too long.
fn joined(bufs: &[IoSlice<'_>], into: &mut [u8]) -> Option<usize> {
    let len = len(bufs);
    let mut rest = into.get_mut(..len)?;
    for buf in bufs {
        let (here, behind) = rest.split_at_mut(buf.len());
        here.copy_from_slice(buf);
        rest = behind;
    }
    Some(len)
}

/// A socket with a limit on how long its other end may take no byte.
#[derive(Debug)]
pub(crate) struct Patient {
    stream: TcpStream,
    limit: Duration,
    /// Runs while a write waits.
    until: Option<Pin<Box<Sleep>>>,
    outbox: Outbox,
    slow: Slow,
    /// Something came.
    begun: bool,
}

/// Bytes that a disk had to be waited for.
#[derive(Debug, Default)]
enum Slow {
    #[default]
    None,
    Reading(JoinHandle<io::Result<Here>>),
    Here(Arc<dyn Stored>, Here),
}

/// They begin there, and have one of the places.
#[derive(Debug)]
struct Here {
    at: u64,
    bytes: Vec<u8>,
    _place: SemaphorePermit<'static>,
}

async fn read_slowly(stored: Arc<dyn Stored>, at: u64, want: usize) -> io::Result<Here> {
    let place = SLOW_READS.acquire().await.map_err(io::Error::other)?;
    let read = move || {
        let mut bytes = vec![0; want];
        stored.read_slowly(at, &mut bytes)?;
        Ok(Here { at, bytes, _place: place })
    };
    tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?
}

impl Patient {
    pub(crate) fn new(stream: TcpStream, limit: Duration, outbox: Outbox) -> Self {
        Patient { stream, limit, until: None, outbox, slow: Slow::None, begun: false }
    }

    fn watch<T>(&mut self, cx: &mut Context<'_>, result: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if result.is_ready() {
            self.until = None;
            return result;
        }
        let limit = self.limit;
        let until = self.until.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        match until.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }

    fn write(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        match self.outbox.next(bufs)? {
            Next::Plain => self.plain(cx, bufs),
            Next::Promise { before, promised } => {
                let before = &bufs[..before];
                let ahead = len(before);
                if ahead > TOGETHER || (ahead > 0 && matches!(self.slow, Slow::Here(..))) {
                    return self.plain(cx, before);
                }
                let sent = ready!(self.promised(cx, before, &promised)).inspect_err(|error| {
                    tracing::warn!("a response breaks off: {error}");
                })?;
                self.outbox.kept(sent.saturating_sub(ahead) as u64);
                Poll::Ready(Ok(sent))
            }
        }
    }

    fn plain(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        // A head and a short body leave cheaper as one piece.
        let mut one = [0; TOGETHER];
        match joined(bufs, &mut one) {
            Some(len) => Pin::new(&mut self.stream).poll_write(cx, &one[..len]),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        }
    }

    /// Sends what comes before, which is short, and what was promised.
    fn promised(
        &mut self,
        cx: &mut Context<'_>,
        before: &[IoSlice<'_>],
        promised: &Promised,
    ) -> Poll<io::Result<usize>> {
        let (at, want) = (promised.at, promised.len as usize);
        loop {
            match &mut self.slow {
                Slow::None => {
                    // Nothing is read for a socket that has no room.
                    ready!(self.stream.poll_write_ready(cx))?;
                    let stream = Pin::new(&mut self.stream);
                    let sent = BUFFER.with_borrow_mut(|buffer| {
                        let head = joined(before, &mut buffer[..TOGETHER]).unwrap_or(0);
                        match promised.stored.read_at_once(at, &mut buffer[head..head + want])? {
                            Read::Bytes(n) => stream.poll_write(cx, &buffer[..head + n]).map_ok(Some),
                            Read::Slow => Poll::Ready(Ok(None)),
                        }
                    });
                    if let Some(sent) = ready!(sent)? {
                        return Poll::Ready(Ok(sent));
                    }
                    let read = read_slowly(promised.stored.clone(), at, want);
                    self.slow = Slow::Reading(tokio::spawn(read));
                }
                Slow::Reading(reading) => {
                    let read = ready!(Pin::new(reading).poll(cx));
                    self.slow = Slow::None;
                    self.slow = Slow::Here(promised.stored.clone(), read.map_err(io::Error::other)??);
                }
                Slow::Here(stored, here) => {
                    // The next answer on this connection may be of another file.
                    let same = Arc::ptr_eq(stored, &promised.stored);
                    let rest = at
                        .checked_sub(here.at)
                        .filter(|_| same)
                        .and_then(|skip| here.bytes.get(skip as usize..))
                        .unwrap_or_default();
                    if rest.is_empty() {
                        self.slow = Slow::None;
                        continue;
                    }
                    // A head that waits goes first.
                    if len(before) > 0 {
                        return self.plain(cx, before);
                    }
                    let now = &rest[..rest.len().min(want)];
                    let sent = Pin::new(&mut self.stream).poll_write(cx, now);
                    // A connection that waits has no place: neither for room, as the disk need not be waited for again by then, mostly,
                    // nor for the next request.
                    if !matches!(sent, Poll::Ready(Ok(n)) if n < now.len()) {
                        self.slow = Slow::None;
                    }
                    return sent;
                }
            }
        }
    }
}

/// Bytes in all.
fn len(bufs: &[IoSlice<'_>]) -> usize {
    bufs.iter().map(|b| b.len()).sum()
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        let new = &buf.filled()[before..];
        if !self.begun && !new.is_empty() {
            self.begun = true;
            if tls::begins(new) {
                // What the socket does not take of it, nobody waits for.
                let _ = self.stream.try_write(&tls::ALERT);
                tls::tell(self.stream.peer_addr()?.ip());
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, "this is TLS")));
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = self.write(cx, &[IoSlice::new(buf)]);
        self.watch(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = self.write(cx, bufs);
        self.watch(cx, result)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use tokio::io::AsyncWriteExt as _;

    #[test]
    fn short_pieces_are_joined() {
        let mut one = [0; TOGETHER];
        let join = |one: &mut [u8; TOGETHER], pieces: &[&[u8]]| {
            joined(&pieces.iter().map(|p| IoSlice::new(p)).collect::<Vec<_>>(), one)
        };
        assert_eq!(join(&mut one, &[b"head", b"", b"body"]), Some(8));
        assert_eq!(&one[..8], b"headbody");
        assert_eq!(join(&mut one, &[&[1; TOGETHER - 1], &[2]]), Some(TOGETHER));
        assert_eq!(join(&mut one, &[&[1; TOGETHER], &[2]]), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_reads_is_let_go() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let _silent = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut stream = Patient::new(stream, Duration::from_secs(60), Outbox::default());
        let error = loop {
            if let Err(error) = stream.write_all(&[0; 1 << 16]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    async fn sent(file: File, promises: &[(u64, usize)]) -> io::Result<Vec<u8>> {
        let file = Arc::new(file);
        let file: Arc<dyn Stored> = file;
        let promises: Vec<_> = promises.iter().map(|(at, len)| (file.clone(), *at, *len)).collect();
        sent_of(&promises).await
    }

    /// Sends promised bytes as HTTP does, piece by piece, and gives what came at the other end.
    async fn sent_of(promises: &[(Arc<dyn Stored>, u64, usize)]) -> io::Result<Vec<u8>> {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        let mut client = TcpStream::connect(listener.local_addr()?).await?;
        let (stream, _) = listener.accept().await?;
        let reading = tokio::spawn(async move {
            let mut all = Vec::new();
            tokio::io::AsyncReadExt::read_to_end(&mut client, &mut all).await.map(|_| all)
        });
        let outbox = Outbox::default();
        let mut stream = Patient::new(stream, Duration::from_secs(60), outbox.clone());
        for (number, (file, at, len)) in promises.iter().enumerate() {
            let head = format!("{number}:");
            let promise = outbox.promise(file, *at, *len);
            let (mut head, mut rest) = (head.as_bytes(), &promise[..]);
            while !rest.is_empty() {
                let bufs = [IoSlice::new(head), IoSlice::new(rest)];
                let n = std::future::poll_fn(|cx| Pin::new(&mut stream).poll_write_vectored(cx, &bufs)).await?;
                rest = &rest[n.saturating_sub(head.len())..];
                head = &head[n.min(head.len())..];
            }
        }
        assert!(matches!(stream.slow, Slow::None), "a connection that waits for its next request has no place");
        drop(stream);
        reading.await?
    }

    #[tokio::test]
    async fn promised_bytes_are_those_of_the_file() {
        let bytes: Vec<u8> = (0..3_000_000u32).map(|i| (i % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, &bytes).unwrap();
        let promises = [(0, CHUNK), (5, 1), (2_999_990, 10), (1_000_000, CHUNK), (1, CHUNK - 1)];
        let wanted: Vec<u8> = promises.iter().enumerate().fold(Vec::new(), |mut all, (number, (at, len))| {
            all.extend(format!("{number}:").bytes());
            all.extend(&bytes[*at as usize..*at as usize + len]);
            all
        });
        assert!(sent(file.try_clone().unwrap(), &promises).await.unwrap() == wanted);
        // It has become shorter: what is not there is not made up.
        let error = sent(file, &[(2_999_990, 11)]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    /// What is in /proc can only be read by waiting for it.
    #[tokio::test]
    async fn what_has_to_be_waited_for_comes_too() {
        let (path, mut into) = ("/proc/version", [0; 9]);
        let bytes = std::fs::read(path).unwrap();
        let file = || std::fs::File::open(path).unwrap();
        assert!(matches!(file().read_at_once(0, &mut into), Ok(Read::Slow)));
        let (all, half) = (bytes.len(), bytes.len() / 2);
        let wanted = [b"0:", &bytes[..], b"1:", &bytes[half..]].concat();
        assert!(sent(file(), &[(0, all), (half as u64, all - half)]).await.unwrap() == wanted);
        assert!(sent(file(), &[(0, all + 1)]).await.is_err(), "shorter than it said");
        // Another file on the same connection, from the same place on.
        let other = std::fs::read("/proc/filesystems").unwrap();
        let len = other.len().min(all);
        let promises = [("/proc/version", len), ("/proc/filesystems", len)];
        let promises = promises.map(|(path, len)| (Arc::new(File::open(path).unwrap()) as Arc<dyn Stored>, 0, len));
        let wanted = [b"0:", &bytes[..len], b"1:", &other[..len]].concat();
        assert!(sent_of(&promises).await.unwrap() == wanted);
    }
}
