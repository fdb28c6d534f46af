//! Stored bytes that the socket fetches by itself, once it has room for them.
//!
//! What a slow client has not taken yet would wait in memory, for each of thousands. So a body only promises what is stored: it hands out
//! a piece of [`PROMISE`], which HTTP counts and passes on like any other, and notes in the [`Outbox`] of the connection which
//! bytes of which file are meant. [`Patient`](crate::patience::Patient) knows a promise by where it lies, reads the file into the one buffer of its thread, and sends from
//! there. What the socket does not take is read again later, out of the page cache.
//!
//! Should HTTP ever copy a promise instead of passing it on, the sums would differ, and the connection breaks off before a byte leaves.

use crate::body::{Segment, Stored, take};
use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// Most bytes that are promised, read and sent at once: what fits a core's own cache with room to spare.
pub(crate) const CHUNK: usize = 256 << 10;
/// Stands for bytes that are not there yet.
static PROMISE: [u8; CHUNK] = [0; CHUNK];

/// Something stored, and bytes of it that are to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Promised {
    pub(crate) stored: Arc<dyn Stored>,
    pub(crate) at: u64,
    pub(crate) len: u64,
}

/// What was promised on a connection and has not been sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outbox(Arc<Mutex<VecDeque<Promised>>>);

/// What is to be written first.
pub(crate) enum Next {
    /// These bytes, which are there.
    Plain,
    /// Stored bytes, behind so many pieces that are there.
    Promise { before: usize, promised: Promised },
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Promised>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn promise(&self, stored: &Arc<dyn Stored>, at: u64, len: usize) -> Bytes {
        self.lock().push_back(Promised { stored: stored.clone(), at, len: len as u64 });
        Bytes::from_static(&PROMISE[..len])
    }

    /// Looks for promises in what is to be written.
    ///
    /// # Errors
    /// If they are not those that were made.
    pub(crate) fn next(&self, bufs: &[IoSlice<'_>]) -> io::Result<Next> {
        let open = self.lock();
        let promised: u64 = open.iter().map(|p| p.len).sum();
        let meant: usize = bufs.iter().filter(|b| is_promise(b)).map(|b| b.len()).sum();
        if promised != meant as u64 {
            return Err(io::Error::other("a promise was lost on its way to the socket"));
        }
        let Some((first, at)) = open.front().zip(bufs.iter().position(|b| is_promise(b))) else {
            return Ok(Next::Plain);
        };
        let len = first.len.min(bufs[at].len() as u64);
        Ok(Next::Promise { before: at, promised: Promised { len, ..first.clone() } })
    }

    /// So many bytes of the first promise have been sent.
    pub(crate) fn kept(&self, mut bytes: u64) {
        let mut open = self.lock();
        while let Some(first) = open.front_mut() {
            let now = bytes.min(first.len);
            first.at += now;
            first.len -= now;
            bytes -= now;
            if first.len > 0 {
                return;
            }
            open.pop_front();
        }
    }
}

fn is_promise(buf: &[u8]) -> bool {
    // An empty one lies nowhere.
    !buf.is_empty() && PROMISE.as_ptr_range().contains(&buf.as_ptr())
}

/// The body of a response that is made of parts of something stored, and of words between them.
pub(crate) fn body(outbox: Outbox, stored: Arc<dyn Stored>, segments: VecDeque<Segment>) -> Body {
    Body::new(PromisedBody { outbox, stored, segments })
}

struct PromisedBody {
    outbox: Outbox,
    stored: Arc<dyn Stored>,
    segments: VecDeque<Segment>,
}

impl HttpBody for PromisedBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let bytes = match take(&mut this.segments, CHUNK as u64) {
            None => return Poll::Ready(None),
            Some(Segment::Text(text)) => text.into(),
            Some(Segment::Range(range)) => {
                this.outbox.promise(&this.stored, range.start, (range.end - range.start) as usize)
            }
        };
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.segments.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.segments.iter().map(Segment::len).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn promises_are_known_and_counted() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, b"0123456789").unwrap();
        let (outbox, file) = (Outbox::default(), Arc::new(file) as Arc<dyn Stored>);
        let slices = |bufs: &[&[u8]]| outbox.next(&bufs.iter().map(|b| IoSlice::new(b)).collect::<Vec<_>>());
        assert!(matches!(slices(&[b"head"]), Ok(Next::Plain)));
        let (one, two) = (outbox.promise(&file, 2, 4), outbox.promise(&file, 8, 2));
        let next = |bufs: &[&[u8]]| match slices(bufs) {
            Ok(Next::Promise { before, promised }) => Some((before, promised.at, promised.len)),
            _ => None,
        };
        assert_eq!(next(&[b"he", b"", b"ad:", &one, b"x", &two]), Some((3, 2, 4)));
        outbox.kept(3);
        assert_eq!(next(&[&one[3..], &two]), Some((0, 5, 1)));
        outbox.kept(1);
        assert_eq!(next(&[b"x", &two]), Some((1, 8, 2)));
        // Copied, left out, or one too many.
        for wrong in [&[&[0, 0][..]][..], &[b"x"], &[&two, &two], &[&two[1..]]] {
            assert!(slices(wrong).is_err());
        }
        outbox.kept(2);
        assert!(matches!(slices(&[b"x"]), Ok(Next::Plain)) && slices(&[&two]).is_err());
    }
}
