//! The threads that touch the disk: one writes and hashes, in batches; one reads what peers ask for and is not in memory.
//!
//! A batch is everything that gathered while the one before was worked on. Writes that lie one behind the other become
//! one call. Blocks are hashed in rounds, as many pieces side by side as a batch holds, while they are in the cache.

use super::gather::{ReadDone, ReadJob};
use super::hashing::{Hashing, block_digests};
use super::mailbox::{Bell, Inbox, Mailbox};
use super::progress::Progress;
use super::storage::{DiskError, Storage};
use crate::rope::Rope;
use base::{Payload, PieceIndex, TorrentId};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;
use swarm::disk::{DiskDone, DiskJob};
use tokio::sync::oneshot;

/// Bytes that are gathered into one write.
const RUN_MAX: usize = 256 * 1024;

/// Runs that are open at once: about as many as pieces that peers send in turn.
const RUNS_MAX: usize = 16;

/// Bytes that are written before they are hashed and their pieces answered for. Four pieces side by side are hashed almost
/// three times as fast as one alone, and peers wait no longer for an answer than this much takes: a few milliseconds.
const ROUND_MAX: usize = 4 << 20;

/// Work for a disk thread.
#[derive(Debug)]
pub(crate) enum Work {
    /// What the engine asks for.
    Job(TorrentId, DiskJob<Rope>),
    /// A torrent whose files may be touched from now on.
    Open(TorrentId, Arc<Storage>, Progress),
    /// No more work will come for this torrent; answered when all that came before is done.
    Close(TorrentId, oneshot::Sender<()>),
    /// Bring all to the medium.
    Sync(TorrentId, oneshot::Sender<Result<(), DiskError>>),
}

/// The disk's threads, and the way to them.
#[derive(Debug)]
pub(crate) struct Disk {
    writers: Vec<Arc<Mailbox<Work>>>,
    reader: Arc<Mailbox<ReadJob>>,
    done: Arc<Inbox<(TorrentId, DiskDone)>>,
    read: Arc<Inbox<ReadDone>>,
    threads: Vec<JoinHandle<()>>,
    batches: Vec<Vec<Work>>,
}

impl Disk {
    /// Starts `writers` threads that write and one that reads. `bell` wakes whoever waits for their answers.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub(crate) fn start(writers: usize, bell: &Bell) -> std::io::Result<Disk> {
        let writers = writers.max(1);
        let (done, read) = (Arc::new(Inbox::new(bell.clone())), Arc::new(Inbox::new(bell.clone())));
        let mut disk = Disk {
            writers: (0..writers).map(|_| Arc::default()).collect(),
            reader: Arc::default(),
            done,
            read,
            threads: Vec::new(),
            batches: (0..writers).map(|_| Vec::new()).collect(),
        };
        for mailbox in &disk.writers {
            let worker = Writer { mailbox: mailbox.clone(), done: disk.done.clone(), ..Default::default() };
            disk.threads.push(std::thread::Builder::new().name("disk-write".into()).spawn(move || worker.run())?);
        }
        let (jobs, done) = (disk.reader.clone(), disk.read.clone());
        disk.threads.push(std::thread::Builder::new().name("disk-read".into()).spawn(move || {
            let mut batch = Vec::new();
            while jobs.take(&mut batch) {
                for job in batch.drain(..) {
                    done.put_one(job.run());
                }
            }
        })?);
        Ok(disk)
    }

    /// Adds work to the next batch. All work of one torrent goes to the same thread, so it is begun in order.
    pub(crate) fn add(&mut self, work: Work) {
        let (Work::Job(torrent, _) | Work::Open(torrent, ..) | Work::Close(torrent, _) | Work::Sync(torrent, _)) =
            &work;
        let writer = torrent.index() % self.writers.len();
        self.batches[writer].push(work);
    }

    /// Gives the batch away.
    pub(crate) fn submit(&mut self) {
        for (mailbox, batch) in self.writers.iter().zip(&mut self.batches).filter(|(_, b)| !b.is_empty()) {
            mailbox.put(batch);
        }
    }

    /// Reads for an upload; the answer comes from [`Disk::take_read`].
    pub(crate) fn read(&self, job: ReadJob) {
        self.reader.put(&mut vec![job]);
    }

    /// What the writers have done.
    pub(crate) fn take_done(&self, out: &mut Vec<(TorrentId, DiskDone)>) {
        self.done.take(out);
    }

    /// What the reader has done.
    pub(crate) fn take_read(&self, out: &mut Vec<ReadDone>) {
        self.read.take(out);
    }

    /// Lets the threads finish what they were given, and waits for them.
    pub(crate) fn stop(&mut self) {
        self.submit();
        self.writers.iter().for_each(|m| m.close());
        self.reader.close();
        for thread in self.threads.drain(..) {
            // A thread that panicked has said so already.
            let _ = thread.join();
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.stop();
    }
}

struct Torrent {
    storage: Arc<Storage>,
    progress: Progress,
}

struct Writer {
    mailbox: Arc<Mailbox<Work>>,
    done: Arc<Inbox<(TorrentId, DiskDone)>>,
    torrents: HashMap<TorrentId, Torrent>,
    hashing: Hashing,
    runs: Vec<Run>,
    /// Pieces to check at the end of the round.
    checks: Vec<(TorrentId, PieceIndex, bool)>,
    answers: Vec<(TorrentId, DiskDone)>,
}

impl Default for Writer {
    fn default() -> Self {
        Writer {
            mailbox: Arc::default(),
            done: Arc::new(Inbox::new(Arc::new(|| {}))),
            torrents: HashMap::new(),
            hashing: Hashing::default(),
            runs: Vec::new(),
            checks: Vec::new(),
            answers: Vec::new(),
        }
    }
}

/// Writes that lie one behind the other.
struct Run {
    torrent: TorrentId,
    offset: u64,
    bytes: usize,
    blocks: Vec<(PieceIndex, u32, Rope)>,
}

impl Writer {
    fn run(mut self) {
        let mut batch = Vec::new();
        while self.mailbox.take(&mut batch) {
            for work in batch.drain(..) {
                match work {
                    Work::Job(torrent, DiskJob::Write { piece, begin, data }) => {
                        self.write(torrent, piece, begin, data);
                        if self.hashing.ready_bytes() >= ROUND_MAX {
                            self.round();
                        }
                    }
                    Work::Job(torrent, DiskJob::Check { piece, digests }) => {
                        self.checks.push((torrent, piece, digests));
                    }
                    other => {
                        self.round();
                        self.other(other);
                    }
                }
            }
            self.round();
        }
    }

    /// Brings all that was given so far to the disk, and answers for it.
    fn round(&mut self) {
        let from = Instant::now();
        self.hashing.round();
        let took = from.elapsed();
        // Blocks of all torrents are hashed side by side; mostly there is one.
        let of: BTreeSet<TorrentId> = self.runs.iter().map(|r| r.torrent).collect();
        for t in of.iter().filter_map(|id| self.torrents.get(id)) {
            t.storage.labour().hashed(took / of.len() as u32);
        }
        self.flush_all();
        for (torrent, piece, digests) in std::mem::take(&mut self.checks) {
            let done = self.check(torrent, piece, digests).unwrap_or_else(|error| DiskDone::Failed { piece, error });
            self.answers.push((torrent, done));
        }
        if !self.answers.is_empty() {
            self.done.put(&mut self.answers);
        }
    }

    /// Work after which nothing is under way.
    fn other(&mut self, work: Work) {
        match work {
            Work::Job(torrent, DiskJob::Forget { piece }) => {
                self.hashing.forget(torrent, piece);
                if let Some(t) = self.torrents.get(&torrent) {
                    t.progress.checked(piece, false);
                }
            }
            Work::Job(..) => {}
            Work::Open(torrent, storage, progress) => {
                self.torrents.insert(torrent, Torrent { storage, progress });
            }
            Work::Close(torrent, answer) => {
                self.hashing.forget_all(torrent);
                if let Some(t) = self.torrents.remove(&torrent) {
                    t.storage.close();
                }
                // Whoever asked may not wait any more.
                let _ = answer.send(());
            }
            Work::Sync(torrent, answer) => {
                let result = self.torrents.get(&torrent).map_or(Ok(()), |t| t.storage.sync());
                let _ = answer.send(result);
            }
        }
    }

    fn write(&mut self, torrent: TorrentId, piece: PieceIndex, begin: u32, data: Rope) {
        let Some(t) = self.torrents.get(&torrent) else {
            let error = "the torrent is closed".into();
            self.answers.push((torrent, DiskDone::Failed { piece, error }));
            return;
        };
        let offset = t.storage.plan().geometry.piece_offset(piece) + u64::from(begin);
        self.hashing.write(torrent, &t.storage, piece, begin, &data);
        let (bytes, behind) = (data.len(), |r: &Run| r.torrent == torrent && r.offset + r.bytes as u64 == offset);
        if let Some(i) = self.runs.iter().position(behind) {
            let run = &mut self.runs[i];
            run.bytes += bytes;
            run.blocks.push((piece, begin, data));
            if run.bytes >= RUN_MAX {
                let run = self.runs.swap_remove(i);
                self.flush(run);
            }
        } else {
            if self.runs.len() == RUNS_MAX {
                let oldest = self.runs.remove(0);
                self.flush(oldest);
            }
            self.runs.push(Run { torrent, offset, bytes, blocks: vec![(piece, begin, data)] });
        }
    }

    fn flush_all(&mut self) {
        for run in std::mem::take(&mut self.runs) {
            self.flush(run);
        }
    }

    fn flush(&mut self, run: Run) {
        let Some(t) = self.torrents.get(&run.torrent) else { return };
        let slices: Vec<&[u8]> = run.blocks.iter().flat_map(|(_, _, data)| data.slices().map(|s| &s[..])).collect();
        let from = Instant::now();
        let result = t.storage.write(run.offset, &slices);
        t.storage.labour().wrote(from.elapsed());
        for (piece, begin, data) in &run.blocks {
            let (piece, begin, len) = (*piece, *begin, data.len() as u32);
            let done = match &result {
                Ok(()) => {
                    t.progress.written(&t.storage.plan().geometry, piece, begin, len);
                    DiskDone::Written { piece, begin, len }
                }
                Err(e) => {
                    // What was hashed on the way is not what lies on disk.
                    self.hashing.spoil(run.torrent, piece);
                    DiskDone::Failed { piece, error: e.to_string() }
                }
            };
            self.answers.push((run.torrent, done));
        }
    }

    fn check(&mut self, torrent: TorrentId, piece: PieceIndex, digests: bool) -> Result<DiskDone, String> {
        let t = self.torrents.get(&torrent).ok_or("the torrent is closed")?;
        let from = Instant::now();
        let ok = self.hashing.check(torrent, &t.storage, piece).map_err(|e| e.to_string())?;
        t.storage.labour().hashed(from.elapsed());
        if ok {
            t.storage.still_there(piece).map_err(|e| e.to_string())?;
        }
        t.progress.checked(piece, ok);
        let digests =
            if digests || !ok { block_digests(&t.storage, piece).map_err(|e| e.to_string())? } else { Vec::new() };
        Ok(DiskDone::Checked { piece, ok, digests })
    }
}

#[cfg(test)]
mod tests;
