//! Bodies that are read while they are sent: bytes of a source, and words between them.

use crate::promise::{self, Outbox};
use axum::body::{Body, Bytes, HttpBody as _};
use futures_util::stream;
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;

/// Bytes read from disk at once, by a thread that may block.
pub(crate) const CHUNK: u64 = 512 << 10;

/// What can be sent in parts.
pub(crate) trait Source: Send + 'static {
    /// The first bytes of `range`, which is not empty: at least one, about [`CHUNK`] at most. Blocking.
    ///
    /// # Errors
    /// If they can't be had; the response breaks off then, which every client notices.
    fn read(&mut self, range: Range<u64>) -> io::Result<Bytes>;

    /// A body of these parts that needs no memory, where the source has one.
    fn promised(self, segments: VecDeque<Segment>) -> Result<Body, (Self, VecDeque<Segment>)>
    where
        Self: Sized,
    {
        Err((self, segments))
    }

    /// Reading takes no time: no thread that may block is needed.
    fn is_quick(&self) -> bool {
        false
    }
}

/// An open file.
#[derive(Debug)]
pub(crate) struct OpenFile(pub(crate) File);

impl Source for OpenFile {
    fn read(&mut self, range: Range<u64>) -> io::Result<Bytes> {
        read(&self.0, range)
    }
}

fn read(file: &File, range: Range<u64>) -> io::Result<Bytes> {
    let mut chunk = vec![0; (range.end - range.start).min(CHUNK) as usize];
    file.read_exact_at(&mut chunk, range.start)?;
    Ok(chunk.into())
}

/// An open file that goes out through the socket's own buffer.
#[derive(Debug)]
pub(crate) struct FileTo(pub(crate) File, pub(crate) Outbox);

impl Source for FileTo {
    fn read(&mut self, range: Range<u64>) -> io::Result<Bytes> {
        read(&self.0, range)
    }

    fn promised(self, segments: VecDeque<Segment>) -> Result<Body, (Self, VecDeque<Segment>)> {
        Ok(promise::body(self.1, self.0, segments))
    }
}

/// What is in memory.
#[derive(Debug)]
pub(crate) struct InMemory(pub(crate) Bytes);

impl Source for InMemory {
    fn read(&mut self, range: Range<u64>) -> io::Result<Bytes> {
        Ok(self.0.slice(range.start as usize..range.end as usize))
    }

    fn is_quick(&self) -> bool {
        true
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

struct State<S> {
    source: S,
    left: VecDeque<Segment>,
}

impl<S: Source> State<S> {
    fn next(&mut self) -> io::Result<Bytes> {
        match self.left.pop_front() {
            Some(Segment::Text(text)) => Ok(text.into()),
            Some(Segment::Range(range)) => {
                let bytes = self.source.read(range.clone())?;
                let from = range.start + bytes.len() as u64;
                if from < range.end {
                    self.left.push_front(Segment::Range(from..range.end));
                }
                Ok(bytes)
            }
            None => Ok(Bytes::new()),
        }
    }
}

/// The segments one after the other.
pub(crate) fn of(source: impl Source, segments: Vec<Segment>) -> Body {
    let left: VecDeque<Segment> = segments.into_iter().filter(|s| s.len() > 0).collect();
    let (mut source, mut left) = match source.promised(left) {
        Ok(body) => return body,
        Err(parts) => parts,
    };
    if source.is_quick() {
        let mut one = State { source, left };
        if one.left.len() == 1 {
            return one
                .next()
                .map_or_else(|error| Body::from_stream(stream::iter([Err::<Bytes, _>(error)])), Body::from);
        }
        (source, left) = (one.source, one.left);
    }
    Body::from_stream(stream::unfold(Some(State { source, left }), |state| async {
        let mut state = state.filter(|s| !s.left.is_empty())?;
        let read = tokio::task::spawn_blocking(move || {
            let chunk = state.next();
            (state, chunk)
        });
        Some(match read.await {
            Ok((state, Ok(chunk))) => (Ok(chunk), Some(state)),
            Ok((_, Err(error))) => {
                tracing::warn!("a response breaks off: {error}");
                (Err(error), None)
            }
            Err(stopped) => (Err(io::Error::other(stopped)), None),
        })
    }))
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
