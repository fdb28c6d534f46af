//! Bytes that wait for somebody slow: in a file without a name, first in, first out, within a limit for all that wait.

use axum::body::Bytes;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Bytes that wait in files, of all bodies and pages together.
const ALL_MAX: usize = 1 << 30;
/// Room is counted in such steps.
const STEP: usize = 1 << 10;
/// Bytes that are taken out at once.
const CHUNK: u64 = 64 << 10;

/// The room that all share.
#[derive(Clone, Debug)]
pub(super) struct Room(Arc<Semaphore>);

impl Room {
    pub(super) fn new() -> Self {
        Room(Arc::new(Semaphore::new(ALL_MAX / STEP)))
    }

    #[cfg(test)]
    pub(super) fn of(bytes: usize) -> Self {
        Room(Arc::new(Semaphore::new(bytes / STEP)))
    }
}

/// Why nothing can be put in.
#[derive(Debug)]
pub(super) enum Refused {
    /// Too much waits already. It is given back.
    Full(Bytes),
    /// It can't be written.
    Broken(io::Error),
}

/// Bytes that wait.
#[derive(Debug)]
pub(super) struct Spool {
    room: Room,
    held: Option<OwnedSemaphorePermit>,
    file: Option<Arc<File>>,
    written: u64,
    read: u64,
}

impl Spool {
    pub(super) fn new(room: Room) -> Self {
        Spool { room, held: None, file: None, written: 0, read: 0 }
    }

    /// Bytes that wait.
    pub(super) fn len(&self) -> u64 {
        self.written - self.read
    }

    /// Bytes that lie in the file.
    pub(super) fn size(&self) -> u64 {
        self.written
    }

    /// Lets these wait behind all others.
    pub(super) async fn put(&mut self, bytes: Bytes) -> Result<(), Refused> {
        let steps = u32::try_from(bytes.len().div_ceil(STEP)).unwrap_or(u32::MAX);
        let Ok(permit) = self.room.0.clone().try_acquire_many_owned(steps) else { return Err(Refused::Full(bytes)) };
        match &mut self.held {
            Some(held) => held.merge(permit),
            None => self.held = Some(permit),
        }
        let (file, at, len) = (self.file.take(), self.written, bytes.len() as u64);
        let write = move || {
            let file = file.map_or_else(|| tempfile::tempfile().map(Arc::new), Ok)?;
            file.write_all_at(&bytes, at).map(|()| file)
        };
        let file = tokio::task::spawn_blocking(write).await.map_err(io::Error::other);
        self.file = Some(file.and_then(|written| written).map_err(Refused::Broken)?);
        self.written += len;
        Ok(())
    }

    /// The first of those that wait; nothing if none does.
    pub(super) async fn take(&mut self) -> io::Result<Bytes> {
        let (len, at) = (self.len().min(CHUNK) as usize, self.read);
        let Some(file) = self.file.clone().filter(|_| len > 0) else { return Ok(Bytes::new()) };
        let read = move || {
            let mut bytes = vec![0; len];
            file.read_exact_at(&mut bytes, at).map(|()| bytes)
        };
        let bytes = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)??;
        self.read += len as u64;
        if self.len() == 0 {
            *self = Spool::new(self.room.clone());
        }
        Ok(bytes.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_goes_in_comes_out_and_room_is_shared() {
        let room = Room::of(300 << 10);
        let (mut one, mut other) = (Spool::new(room.clone()), Spool::new(room));
        let bytes = |from: u32| Bytes::from((from..from + 50_000).map(|i| (i % 251) as u8).collect::<Vec<_>>());
        for from in 0..4 {
            one.put(bytes(from)).await.unwrap();
        }
        other.put(bytes(9)).await.unwrap();
        match other.put(Bytes::from(vec![0; 60_000])).await {
            Err(Refused::Full(back)) => assert_eq!(back.len(), 60_000),
            unlike => panic!("{unlike:?}"),
        }
        let mut all = Vec::new();
        while one.len() > 0 {
            all.extend(one.take().await.unwrap());
        }
        assert!(all == [bytes(0), bytes(1), bytes(2), bytes(3)].concat());
        assert_eq!(one.size(), 0, "it begins anew");
        assert!(one.take().await.unwrap().is_empty());
        other.put(Bytes::from(vec![0; 60_000])).await.unwrap();
        assert_eq!(other.len(), 110_000);
    }
}
