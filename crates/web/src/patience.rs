//! A stream whose reader must keep reading: writing fails once nothing could be written for a while.

use std::future::Future as _;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;

/// Bytes that are copied rather than sent from several places.
const TOGETHER: usize = 4 << 10;

/// Puts short pieces one behind the other, and says how long that is. None: they are too long.
fn joined(bufs: &[IoSlice<'_>], into: &mut [u8; TOGETHER]) -> Option<usize> {
    let len = bufs.iter().map(|b| b.len()).sum::<usize>();
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
}

impl Patient {
    pub(crate) fn new(stream: TcpStream, limit: Duration) -> Self {
        Patient { stream, limit, until: None }
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
}

impl AsyncRead for Patient {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.watch(cx, result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        // A head and a short body leave cheaper as one piece.
        let mut one = [0; TOGETHER];
        let result = match joined(bufs, &mut one) {
            Some(len) => Pin::new(&mut self.stream).poll_write(cx, &one[..len]),
            None => Pin::new(&mut self.stream).poll_write_vectored(cx, bufs),
        };
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
        let mut stream = Patient::new(stream, Duration::from_secs(60));
        let error = loop {
            if let Err(error) = stream.write_all(&[0; 1 << 16]).await {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
