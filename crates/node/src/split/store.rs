//! Writing parts to where they belong: whole or not at all, several targets at a time, and looked at afterwards.

use super::folder::Draft;
use super::location::{Location, Trouble, blocking, pause};
use super::server::NAME_IT;
use super::{Content, SplitError, State, TRIES, at_once};
use crate::entropy;
use crate::http::client::NamedBy;
use base::manifest::{Part, Place};
use base::{Rng, Scope};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

/// Bytes handed on at once.
const CHUNK: usize = 1 << 20;
/// Chunks on their way.
const CHUNKS: usize = 4;
/// Bytes of a part that are asked for again once it is there.
const SAMPLE: u64 = 64 << 10;

/// A part to write.
#[derive(Clone, Debug)]
pub struct Placing {
    /// Its number.
    pub part: usize,
    /// Where it goes.
    pub place: Place,
    /// Places that have pieces of it, best first; none if there is the file.
    pub from: Vec<Place>,
    /// Write it even if it seems to be there.
    pub anew: bool,
    /// The user has named the target, or parts of this very file are there: otherwise nothing is written to a folder out of that of
    /// the manifest, nor to a server on a local network.
    pub vouched: bool,
}

/// How writing one went.
#[derive(Debug)]
pub struct Placed {
    /// What was to be done.
    pub placing: Placing,
    /// True if it was there before.
    pub result: Result<bool, Trouble>,
}

/// Writes parts, those of one target one after the other, several targets at a time. `moved` counts bytes; `told` hears how each
/// went, and says whether to go on. When `stop` is done first, nothing half written stays behind.
///
/// # Errors
/// If `told` says so after one that failed: the trouble of that one; or if it was stopped.
pub async fn place(
    content: &Arc<Content>,
    jobs: Vec<Placing>,
    moved: &Arc<AtomicU64>,
    stop: impl Future<Output = ()>,
    mut told: impl FnMut(&Placed) -> bool,
) -> Result<(), SplitError> {
    let mut by_target: BTreeMap<String, Vec<Placing>> = BTreeMap::new();
    for job in jobs {
        by_target.entry(job.place.folder().to_owned()).or_default().push(job);
    }
    let (tx, mut rx) = mpsc::channel(64);
    let turns = Arc::new(Semaphore::new(at_once(content.manifest.geometry.piece_length())));
    // Threads that write files can't be stopped from here; they end by themselves, and that is waited for.
    let (writing, mut written) = mpsc::channel::<Infallible>(1);
    let mut tasks = JoinSet::new();
    for jobs in by_target.into_values() {
        let (content, moved, turns, tx) = (content.clone(), moved.clone(), turns.clone(), tx.clone());
        let writing = writing.clone();
        tasks.spawn(async move {
            for placing in jobs {
                let turn = turns.acquire().await;
                let result = content.store(&placing, &moved, &writing).await;
                drop(turn);
                if tx.send(Placed { placing, result }).await.is_err() {
                    return;
                }
            }
        });
    }
    drop((tx, writing));
    tokio::pin!(stop);
    let result = loop {
        let placed = tokio::select! {
            biased;
            () = &mut stop => break Err(SplitError::Stopped),
            placed = rx.recv() => placed,
        };
        let Some(placed) = placed else { break Ok(()) };
        if !told(&placed) {
            let Placing { part, place, .. } = placed.placing;
            let trouble = placed.result.err().unwrap_or(Trouble::Missing);
            break Err(SplitError::Place { part, target: place.folder().to_owned(), trouble });
        }
    };
    if result.is_ok() {
        // All have told all they had to, unless one has died.
        while let Some(ended) = tasks.join_next().await {
            ended.map_err(|e| SplitError::Died(e.to_string()))?;
        }
    }
    // What the others have begun goes with them.
    tasks.shutdown().await;
    // Nobody sends any; the last one to hold it is done.
    written.recv().await;
    result
}

/// A few bytes of a part that are remembered.
#[derive(Debug, Default)]
struct Sample {
    offset: u64,
    len: u64,
    bytes: Vec<u8>,
}

impl Sample {
    fn of(part: &Part, rng: &mut Rng) -> Self {
        let len = part.bytes.min(SAMPLE);
        Sample { offset: rng.below(part.bytes - len + 1), len, bytes: Vec::new() }
    }

    /// Keeps what of it lies in `chunk`, which begins at `at`; chunks come in order.
    fn see(&mut self, at: u64, chunk: &[u8]) {
        let from = self.offset.clamp(at, at + chunk.len() as u64) - at;
        let to = (self.offset + self.len).clamp(at, at + chunk.len() as u64) - at;
        self.bytes.extend_from_slice(&chunk[from as usize..to as usize]);
    }
}

impl Content {
    /// Writes a part, and looks whether it is there. True: it was there before.
    async fn store(&self, placing: &Placing, moved: &AtomicU64, writing: &Writing) -> Result<bool, Trouble> {
        let gone = || Trouble::Content(format!("there is no part {}", placing.part));
        let part = self.manifest.parts.get(placing.part).ok_or_else(gone)?;
        let mut to = self.targets.locate(&placing.place);
        if !placing.vouched && !self.targets.may_write(&placing.place) {
            match &mut to {
                Location::File(_) => {
                    return Err(Trouble::Refused(format!("no part of this file is there, and {NAME_IT}")));
                }
                Location::Url(at) => at.named_by = NamedBy::Told(Scope::Global),
            }
        }
        let from: Vec<Location> = placing.from.iter().map(|place| self.targets.locate(place)).collect();
        let mut tried = 0;
        loop {
            tried += 1;
            // An earlier run may have brought it there, or an attempt whose answer was lost; every byte of it is looked at.
            if (tried > 1 || !placing.anew) && self.try_look(part, &to, true).await == Ok(State::Good) {
                moved.fetch_add(part.bytes, Ordering::Relaxed);
                return Ok(tried == 1);
            }
            let sent = AtomicU64::new(0);
            match self
                .try_store(part, &to, &from, writing, &|len| {
                    moved.fetch_add(len, Ordering::Relaxed);
                    sent.fetch_add(len, Ordering::Relaxed);
                })
                .await
            {
                Ok(()) => return Ok(false),
                Err(trouble) if !trouble.may_pass() || tried == TRIES => return Err(trouble),
                Err(_) => {
                    moved.fetch_sub(sent.into_inner(), Ordering::Relaxed);
                    pause(tried).await;
                }
            }
        }
    }

    async fn try_store(
        &self,
        part: &Part,
        to: &Location,
        from: &[Location],
        writing: &Writing,
        moved: &(dyn Fn(u64) + Sync),
    ) -> Result<(), Trouble> {
        let mut rng = entropy::rng().map_err(|e| Trouble::Other(e.to_string()))?;
        let mut sample = Sample::of(part, &mut rng);
        let (tx, rx) = mpsc::channel(CHUNKS);
        let feed = self.feed(part, from, tx, &mut sample, moved);
        let (fed, taken) = match to {
            Location::File(path) => tokio::join!(feed, write(path, part.bytes, rx, writing.clone())),
            Location::Url(at) => tokio::join!(feed, self.reader.server.put(at, part.bytes, rx)),
        };
        fed.and(taken)?;
        let unlike = |why: &str| Trouble::Unreachable(format!("it took the part, but {why}"));
        match self.reader.len(to).await {
            Ok(len) if len == part.bytes => {}
            Ok(len) => return Err(unlike(&format!("then it had {len} bytes instead of {}", part.bytes))),
            Err(trouble) => return Err(unlike(&format!("does not give it: {trouble}"))),
        }
        match self.reader.read(to, sample.offset, sample.len).await? {
            bytes if bytes == sample.bytes => Ok(()),
            _ => Err(unlike("gives other bytes than it got")),
        }
    }

    /// Sends a part, piece after piece. If nobody takes it any more, whoever took it knows why.
    async fn feed(
        &self,
        part: &Part,
        from: &[Location],
        to: mpsc::Sender<io::Result<Bytes>>,
        sample: &mut Sample,
        moved: &(dyn Fn(u64) + Sync),
    ) -> Result<(), Trouble> {
        let mut at = 0;
        for index in self.pieces(part) {
            let mut piece = match self.piece(part, index, from).await {
                Ok(piece) => piece,
                Err(trouble) => {
                    let _ = to.send(Err(io::Error::other(trouble.clone()))).await;
                    return Err(trouble);
                }
            };
            while !piece.is_empty() {
                let chunk = piece.split_to(piece.len().min(CHUNK));
                let len = chunk.len() as u64;
                sample.see(at, &chunk);
                if to.send(Ok(chunk)).await.is_err() {
                    return Ok(());
                }
                at += len;
                moved(len);
            }
        }
        Ok(())
    }
}

/// Held by all who write files.
type Writing = mpsc::Sender<Infallible>;

/// Writes what comes into a file: it gets its name if `len` bytes came. Whoever drops this future leaves it to the thread to clean up.
async fn write(
    path: &Path,
    len: u64,
    mut content: mpsc::Receiver<io::Result<Bytes>>,
    writing: Writing,
) -> Result<(), Trouble> {
    let path = path.to_owned();
    let work = move || {
        let _writing = writing;
        let mut draft = Draft::new(&path)?;
        let mut left = len;
        while left > 0 {
            let ended = || Err(io::ErrorKind::UnexpectedEof.into());
            let chunk = content.blocking_recv().unwrap_or_else(ended);
            let chunk = chunk.map_err(|e| Trouble::Content(e.to_string()))?;
            left = left.saturating_sub(chunk.len() as u64);
            draft.write(&chunk)?;
        }
        draft.finish()
    };
    blocking(work).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sample_is_kept_from_chunks() {
        let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
        let part = Part { offset: 0, bytes: bytes.len() as u64, places: Vec::new() };
        let mut rng = Rng::from_seed(3);
        for size in [1000, 65_536, 300_000] {
            let mut sample = Sample::of(&part, &mut rng);
            bytes.chunks(size).enumerate().for_each(|(i, chunk)| sample.see((i * size) as u64, chunk));
            let at = sample.offset as usize;
            assert_eq!(sample.bytes, bytes[at..at + SAMPLE as usize]);
        }
        let short = Part { bytes: 10, ..part };
        let mut sample = Sample::of(&short, &mut rng);
        sample.see(0, &bytes[..10]);
        assert_eq!(sample.bytes, bytes[..10]);
    }
}
