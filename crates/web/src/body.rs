//! Bodies that are read while they are sent: bytes of a source, and words between them.

use crate::promise::{self, Outbox};
use axum::body::{Body, Bytes, HttpBody};
use futures_util::stream;
use http_body::{Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::fmt::Debug;
use std::fs::File;
use std::io::{self, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

/// Bytes read from disk at once, by a thread that may block.
const CHUNK: u64 = 512 << 10;

/// What is kept where reading may take time.
pub(crate) trait Stored: Debug + Send + Sync + 'static {
    /// Reads what can be had from `at` on without waiting for a disk.
    ///
    /// # Errors
    /// If it can't be read, or is shorter than it was.
    fn read_at_once(&self, at: u64, into: &mut [u8]) -> io::Result<Read>;

    /// Fills `into` from `at` on, however long that takes.
    ///
    /// # Errors
    /// If it can't be read, or is shorter than it was.
    fn read_slowly(&self, at: u64, into: &mut [u8]) -> io::Result<()>;
}

/// Until something can be read, or never will be.
pub(crate) type Wait = Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

/// What comes while it is sent, from elsewhere and perhaps slowly: no thread waits for it.
pub(crate) trait Arriving: Debug + Send + 'static {
    /// What has to be waited for before byte `at` can be read. None: it is there.
    fn wait(&mut self, at: u64) -> Option<Wait>;

    /// The first bytes of `range`, which is not empty: at least one. Blocking.
    ///
    /// # Errors
    /// If they can't be had; the response breaks off then.
    fn read(&mut self, range: Range<u64>) -> io::Result<Bytes>;
}

/// What came of reading.
#[derive(Debug)]
pub(crate) enum Read {
    /// So many bytes, at least one.
    Bytes(usize),
    /// The disk would have to be waited for.
    Slow,
}

impl Stored for File {
    fn read_at_once(&self, at: u64, into: &mut [u8]) -> io::Result<Read> {
        loop {
            match preadv2(self, &mut [IoSliceMut::new(into)], at, ReadWriteFlags::NOWAIT) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(n) => return Ok(Read::Bytes(n)),
                Err(Errno::INTR) => {}
                // It can't tell, and has everything in memory.
                Err(Errno::OPNOTSUPP) if is_memory(self) => {
                    return match self.read_at(into, at)? {
                        0 => Err(io::ErrorKind::UnexpectedEof.into()),
                        n => Ok(Read::Bytes(n)),
                    };
                }
                // Not every other file system can tell either.
                Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(Read::Slow),
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn read_slowly(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(into, at)
    }
}

/// Whether it lies in a tmpfs.
fn is_memory(file: &File) -> bool {
    const TMPFS: u64 = 0x0102_1994;
    rustix::fs::fstatfs(file).is_ok_and(|stat| stat.f_type as u64 == TMPFS)
}

/// Where a body's bytes come from.
#[derive(Debug)]
pub(crate) enum Source {
    /// They are here.
    Memory(Bytes),
    /// They are read on the way: by the socket that this is the outbox of, once it has room, or else by threads that may block.
    Stored(Arc<dyn Stored>, Option<Outbox>),
    /// They are waited for.
    Arriving(Box<dyn Arriving>),
}

impl From<Bytes> for Source {
    fn from(bytes: Bytes) -> Self {
        Source::Memory(bytes)
    }
}

/// A part of a body.
#[derive(Clone, Debug)]
pub(crate) enum Segment {
    /// Words.
    Text(String),
    /// Bytes of the source.
    Range(Range<u64>),
}

impl Segment {
    pub(crate) fn len(&self) -> u64 {
        match self {
            Segment::Text(text) => text.len() as u64,
            Segment::Range(range) => range.end - range.start,
        }
    }
}

/// How long a body of these is.
pub(crate) fn len(segments: &[Segment]) -> u64 {
    segments.iter().map(Segment::len).sum()
}

/// The segments one after the other.
pub(crate) fn of(source: Source, mut segments: Vec<Segment>) -> Body {
    segments.retain(|segment| segment.len() > 0);
    match source {
        Source::Memory(bytes) => {
            let mut parts = segments.into_iter().map(move |segment| match segment {
                Segment::Text(text) => Bytes::from(text),
                Segment::Range(range) => bytes.slice(range.start as usize..range.end as usize),
            });
            match parts.len() {
                0 | 1 => parts.next().map(Body::from).unwrap_or_default(),
                _ => Body::from_stream(stream::iter(parts.map(Ok::<_, Infallible>))),
            }
        }
        Source::Arriving(from) => arriving(from, segments.into()),
        Source::Stored(stored, Some(outbox)) => promise::body(outbox, stored, segments.into()),
        Source::Stored(stored, None) => Body::from_stream(stream::unfold(Some(segments.into()), move |left| {
            let stored = stored.clone();
            async move {
                let mut left: VecDeque<Segment> = left.filter(|left: &VecDeque<_>| !left.is_empty())?;
                let read = tokio::task::spawn_blocking(move || (next(&*stored, &mut left), left));
                Some(match read.await {
                    Ok((Ok(chunk), left)) => (Ok(chunk), Some(left)),
                    Ok((Err(error), _)) => {
                        tracing::warn!("a response breaks off: {error}");
                        (Err(error), None)
                    }
                    Err(stopped) => (Err(io::Error::other(stopped)), None),
                })
            }
        })),
    }
}

/// The segments of what comes while it is sent.
fn arriving(from: Box<dyn Arriving>, segments: VecDeque<Segment>) -> Body {
    Body::from_stream(stream::unfold(Some((from, segments)), |state| async {
        let (mut from, mut left) = state?;
        let range = match take(&mut left, CHUNK)? {
            Segment::Text(text) => return Some((Ok(text.into()), Some((from, left)))),
            Segment::Range(range) => range,
        };
        if let Some(wait) = from.wait(range.start)
            && let Err(error) = wait.await
        {
            tracing::warn!("a response breaks off: {error}");
            return Some((Err(error), None));
        }
        let read = tokio::task::spawn_blocking(move || (from.read(range.clone()), range, from)).await;
        Some(match read {
            Ok((Ok(chunk), range, from)) => {
                let rest = range.start + chunk.len() as u64..range.end;
                if !rest.is_empty() {
                    left.push_front(Segment::Range(rest));
                }
                (Ok(chunk), Some((from, left)))
            }
            Ok((Err(error), ..)) => {
                tracing::warn!("a response breaks off: {error}");
                (Err(error), None)
            }
            Err(stopped) => (Err(io::Error::other(stopped)), None),
        })
    }))
}

/// Takes the first bytes off what is left: about [`CHUNK`] at most.
fn next(stored: &dyn Stored, left: &mut VecDeque<Segment>) -> io::Result<Bytes> {
    Ok(match take(left, CHUNK) {
        None => Bytes::new(),
        Some(Segment::Text(text)) => text.into(),
        Some(Segment::Range(range)) => {
            let mut chunk = vec![0; (range.end - range.start) as usize];
            stored.read_slowly(range.start, &mut chunk)?;
            chunk.into()
        }
    })
}

/// Takes the first segment off what is left, or the first `most` bytes of a range.
pub(crate) fn take(left: &mut VecDeque<Segment>, most: u64) -> Option<Segment> {
    match left.pop_front()? {
        Segment::Range(range) if range.end - range.start > most => {
            let middle = range.start + most;
            left.push_front(Segment::Range(middle..range.end));
            Some(Segment::Range(range.start..middle))
        }
        segment => Some(segment),
    }
}

/// Who is there as long as a body is sent.
pub(crate) trait Keeper: Send + Unpin + 'static {
    /// So many bytes go out.
    fn sent(&mut self, _bytes: usize) {}
}

/// The same body, with a keeper.
pub(crate) fn kept(body: Body, keeper: impl Keeper) -> Body {
    Body::new(Kept { body, keeper })
}

struct Kept<K> {
    body: Body,
    keeper: K,
}

impl<K: Keeper> HttpBody for Kept<K> {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            self.keeper.sent(frame.data_ref().map_or(0, Bytes::len));
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// The next part of a body; None at its end.
pub(crate) async fn part(body: &mut Body) -> Result<Option<Bytes>, axum::Error> {
    loop {
        match std::future::poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            Some(Ok(frame)) => {
                if let Ok(bytes) = frame.into_data() {
                    return Ok(Some(bytes));
                }
            }
            Some(Err(error)) => return Err(error),
            None => return Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_in_memory_is_not_waited_for() {
        let mut file = tempfile::tempfile_in("/dev/shm").unwrap();
        io::Write::write_all(&mut file, b"0123456789").unwrap();
        let mut into = [0; 4];
        assert!(matches!(file.read_at_once(7, &mut into), Ok(Read::Bytes(3))) && into.starts_with(b"789"));
        assert!(file.read_at_once(10, &mut into).is_err());
    }

    /// Comes two bytes at a time, and never beyond the sixth.
    #[derive(Debug)]
    struct Drops;

    impl Arriving for Drops {
        fn wait(&mut self, at: u64) -> Option<Wait> {
            let there = move || if at < 6 { Ok(()) } else { Err(io::Error::other("no more")) };
            (at > 0).then(|| -> Wait { Box::pin(async move { there() }) })
        }

        fn read(&mut self, range: Range<u64>) -> io::Result<Bytes> {
            Ok(Bytes::from_static(b"0123456789")
                .slice(range.start as usize..(range.start as usize + 2).min(range.end as usize)))
        }
    }

    #[tokio::test]
    async fn what_never_comes_breaks_a_body_off() {
        let all = async |segments| {
            let (mut body, mut got) = (of(Source::Arriving(Box::new(Drops)), segments), Vec::new());
            loop {
                match part(&mut body).await {
                    Ok(Some(bytes)) => got.extend_from_slice(&bytes),
                    Ok(None) => return (got, true),
                    Err(_) => return (got, false),
                }
            }
        };
        let words = |text: &str| Segment::Text(text.into());
        let segments =
            vec![words("a"), Segment::Range(1..4), words("b"), Segment::Range(0..0), Segment::Range(5..6), words("c")];
        assert_eq!(all(segments).await, (b"a123b5c".to_vec(), true));
        assert_eq!(all(vec![Segment::Range(3..9)]).await, (b"3456".to_vec(), false), "cut where it ends");
    }

    #[test]
    fn reading_at_once_is_the_file_or_nothing() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, b"0123456789").unwrap();
        let mut into = [0; 4];
        let slowly = |at, len| {
            let mut into = vec![0; len];
            file.read_slowly(at, &mut into).map(|()| into)
        };
        match file.read_at_once(8, &mut into).unwrap() {
            Read::Bytes(n) => assert_eq!(&into[..n], b"89"),
            Read::Slow => assert_eq!(slowly(8, 2).unwrap(), b"89"),
        }
        assert_eq!(slowly(1, 4).unwrap(), b"1234");
        assert!(slowly(8, 3).is_err(), "shorter than it was");
        assert!(matches!(file.read_at_once(10, &mut into), Err(_) | Ok(Read::Slow)));
    }
}
