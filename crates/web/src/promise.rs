//! Bytes of files that the socket fetches by itself, once it has room for them.
//!
//! What a slow client has not taken yet would wait in memory, for each of thousands. So a body only promises the bytes of a file: it hands out
//! a piece of [`PROMISE`], which HTTP counts and passes on like any other, and notes in the [`Outbox`] of the connection which
//! bytes of which file are meant. [`Patient`](crate::patience::Patient) knows a promise by where it lies, reads the file into the one buffer of its thread, and sends from
//! there. What the socket does not take is read again later, out of the page cache.
//!
//! Should HTTP ever copy a promise instead of passing it on, the sums would differ, and the connection breaks off before a byte leaves.

use crate::body::Segment;
use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use rustix::io::{Errno, ReadWriteFlags, preadv2};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::unix::fs::FileExt as _;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

/// Most bytes that are promised, read and sent at once: what fits a core's own cache with room to spare.
pub(crate) const CHUNK: usize = 256 << 10;
/// Stands for bytes that are not there yet.
static PROMISE: [u8; CHUNK] = [0; CHUNK];

/// A file, and bytes of it that are to be sent.
#[derive(Clone, Debug)]
pub(crate) struct Promised {
    pub(crate) file: Arc<File>,
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
    /// Bytes of a file, behind so many pieces that are there.
    Promise { before: usize, promised: Promised },
}

impl Outbox {
    fn lock(&self) -> MutexGuard<'_, VecDeque<Promised>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn promise(&self, file: &Arc<File>, at: u64, len: usize) -> Bytes {
        self.lock().push_back(Promised { file: file.clone(), at, len: len as u64 });
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

/// What came of reading.
pub(crate) enum Read {
    /// So many bytes, at least one.
    Bytes(usize),
    /// The disk would have to be waited for.
    Slow,
}

/// Reads from a file what is there without waiting for a disk.
///
/// # Errors
/// If it can't be read, or is shorter than it was.
pub(crate) fn read_at_once(file: &File, at: u64, into: &mut [u8]) -> io::Result<Read> {
    loop {
        match preadv2(file, &mut [IoSliceMut::new(into)], at, ReadWriteFlags::NOWAIT) {
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(n) => return Ok(Read::Bytes(n)),
            Err(Errno::INTR) => {}
            // Not every file system can tell.
            Err(Errno::AGAIN | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => return Ok(Read::Slow),
            Err(error) => return Err(error.into()),
        }
    }
}

/// Reads from a file, however long that takes.
///
/// # Errors
/// If it can't be read, or is shorter than it was.
pub(crate) fn read_slowly(file: &File, at: u64, len: usize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; len];
    file.read_exact_at(&mut bytes, at)?;
    Ok(bytes)
}

/// The body of a response that is made of parts of a file, and of words between them.
pub(crate) fn body(outbox: Outbox, file: File, segments: VecDeque<Segment>) -> Body {
    Body::new(FileBody { outbox, file: Arc::new(file), segments })
}

struct FileBody {
    outbox: Outbox,
    file: Arc<File>,
    segments: VecDeque<Segment>,
}

impl HttpBody for FileBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        let bytes = match this.segments.pop_front() {
            None => return Poll::Ready(None),
            Some(Segment::Text(text)) => text.into(),
            Some(Segment::Range(range)) => {
                let len = (range.end - range.start).min(CHUNK as u64);
                if range.start + len < range.end {
                    this.segments.push_front(Segment::Range(range.start + len..range.end));
                }
                this.outbox.promise(&this.file, range.start, len as usize)
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
        let (outbox, file) = (Outbox::default(), Arc::new(file));
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

    #[test]
    fn reading_at_once_is_the_file_or_nothing() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, b"0123456789").unwrap();
        let mut into = [0; 4];
        match read_at_once(&file, 8, &mut into).unwrap() {
            Read::Bytes(n) => assert_eq!(&into[..n], b"89"),
            Read::Slow => assert_eq!(read_slowly(&file, 8, 2).unwrap(), b"89"),
        }
        assert_eq!(read_slowly(&file, 1, 4).unwrap(), b"1234");
        assert!(read_slowly(&file, 8, 3).is_err(), "shorter than it was");
        assert!(matches!(read_at_once(&file, 10, &mut into), Err(_) | Ok(Read::Slow)));
    }
}
