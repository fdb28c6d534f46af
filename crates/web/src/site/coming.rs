//! What is being copied: its bytes are given as soon as each piece of them was checked, in order, before all of it is here.
//!
//! Who reads says where, and the pieces there are fetched before all others. What can't be had soon enough is sent for to the original,
//! as long as nothing was said; afterwards the connection breaks off, which every client notices. A folder's tar stream is not
//! given so: it is there with all of the folder.

use super::elsewhere::Asker;
use super::{Site, Unmade};
use crate::answer;
use crate::body::{Arriving, Source, Wait};
use crate::catalogue::Facts;
use crate::conditions::Version;
use crate::item::file_tag;
use crate::range::{self, Asked};
use axum::body::Bytes;
use axum::http::header;
use axum::response::Response;
use base::{FileKind, PieceIndex, TorrentId};
use node::{Node, Reading};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, UNIX_EPOCH};
use tokio::sync::watch;

/// Time until the first byte; then the original is nearer.
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// Bytes before a reader that are fetched before all others: so many at first, twice as many each time it goes on from there, up to the last.
const AHEAD_MIN: u64 = 512 << 10;
const AHEAD_MAX: u64 = 32 << 20;
/// Pieces that are wanted first, for all readers of one copy together.
const FIRST_PIECES_MAX: usize = 512;
/// Who reads one copy while it comes; others are sent to the original.
const READERS_MAX: usize = 256;

/// A copy that is being made.
pub(crate) struct Coming {
    facts: Facts,
    stage: watch::Sender<Stage>,
    readers: Mutex<Readers>,
}

#[derive(Clone, Debug)]
enum Stage {
    /// Nothing can be read yet.
    Begun,
    Open(Arc<Opened>),
    /// It will not come. What is here of it is not enough.
    Failed,
}

#[derive(Debug)]
struct Opened {
    node: Arc<Node>,
    id: TorrentId,
    reading: Reading,
}

/// Where the readers are: the pieces that each wanted first the last time that it said so.
#[derive(Debug, Default)]
struct Readers {
    next: u64,
    at: BTreeMap<u64, Range<u32>>,
}

impl std::fmt::Debug for Coming {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coming").field("name", &self.facts.name).finish_non_exhaustive()
    }
}

impl Coming {
    pub(crate) fn new(facts: Facts) -> Self {
        Coming { facts, stage: watch::Sender::new(Stage::Begun), readers: Mutex::default() }
    }

    /// Its pieces can be read as they come.
    pub(crate) fn open(&self, node: &Arc<Node>, id: TorrentId) {
        let begun = matches!(*self.stage.borrow(), Stage::Begun);
        if begun && let Some(reading) = node.reading(id) {
            self.stage.send_replace(Stage::Open(Arc::new(Opened { node: node.clone(), id, reading })));
        }
    }

    /// It was given up. (What has become whole has all its pieces, which is enough for those who read it.)
    pub(crate) fn fail(&self) {
        self.stage.send_replace(Stage::Failed);
    }

    async fn opened(&self) -> Option<Arc<Opened>> {
        let mut stage = self.stage.subscribe();
        let stage = stage.wait_for(|stage| !matches!(stage, Stage::Begun)).await.ok()?.clone();
        match stage {
            Stage::Open(opened) => Some(opened),
            Stage::Begun | Stage::Failed => None,
        }
    }

    async fn failed(&self) {
        let mut stage = self.stage.subscribe();
        // If nobody could say so any more, it is waited for no longer either.
        let _ = stage.wait_for(|stage| matches!(stage, Stage::Failed)).await;
    }

    fn readers(&self) -> MutexGuard<'_, Readers> {
        self.readers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The pieces that all readers want first, once one of them is at `piece`. None: they are wanted already.
    fn first(&self, reader: u64, piece: u32, piece_length: u64) -> Option<BTreeSet<u32>> {
        let pieces = |bytes: u64| bytes.div_ceil(piece_length.max(1)).clamp(1, FIRST_PIECES_MAX as u64) as u32;
        let readers = &mut *self.readers();
        let ahead = match readers.at.get(&reader) {
            Some(told) if (told.start..told.start + (told.end - told.start).div_ceil(2)).contains(&piece) => {
                return None;
            }
            Some(told) if (told.start..=told.end).contains(&piece) => {
                (2 * (told.end - told.start)).min(pieces(AHEAD_MAX))
            }
            _ => pieces(AHEAD_MIN),
        };
        readers.at.insert(reader, piece..piece.saturating_add(ahead));
        let each = (FIRST_PIECES_MAX / readers.at.len()).max(1);
        Some(readers.at.values().flat_map(|pieces| pieces.clone().take(each)).collect())
    }
}

/// Somebody who reads a file of it.
#[derive(Debug)]
pub(crate) struct Reader {
    coming: Arc<Coming>,
    opened: Arc<Opened>,
    number: u64,
    /// Where the file begins in the content.
    begin: u64,
}

impl Reader {
    fn new(coming: &Arc<Coming>, opened: Arc<Opened>, begin: u64) -> Option<Self> {
        let readers = &mut *coming.readers();
        if readers.at.len() >= READERS_MAX {
            return None;
        }
        let number = readers.next;
        readers.next += 1;
        Some(Reader { coming: coming.clone(), opened, number, begin })
    }

    /// The piece that byte `at` of the file is in.
    fn piece(&self, at: u64) -> Option<PieceIndex> {
        let geometry = &self.opened.reading.plan().geometry;
        geometry.piece(((self.begin + at) / u64::from(geometry.piece_length()).max(1)) as u32)
    }
}

impl Arriving for Reader {
    fn read(&mut self, range: Range<u64>) -> io::Result<Bytes> {
        let len = (range.end - range.start) as usize;
        self.opened.reading.read(self.begin + range.start, len).map(Bytes::from)
    }

    fn wait(&mut self, at: u64) -> Option<Wait> {
        let piece = self.piece(at)?;
        let Opened { node, id, reading } = &*self.opened;
        let length = u64::from(reading.plan().geometry.piece_length());
        if let Some(first) = self.coming.first(self.number, piece.0, length) {
            node.fetch_first(*id, first.into_iter().map(PieceIndex).collect());
        }
        if reading.has(piece) {
            return None;
        }
        let (coming, reading) = (self.coming.clone(), reading.clone());
        Some(Box::pin(async move {
            tokio::select! {
                biased;
                () = reading.wait_for(piece) => Ok(()),
                () = coming.failed() => Err(io::Error::other(format!("{}: the rest of it can't be had", coming.facts.name))),
            }
        }))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.coming.readers().at.remove(&self.number);
    }
}

impl Site {
    /// Bytes of what is being copied, from their first checked piece on. None: they don't come, or not soon enough.
    pub(super) async fn coming(&self, unmade: &Unmade, path: Option<&str>, asker: &Asker<'_>) -> Option<Response> {
        if asker.only_looks() || unmade.single != path.is_none() {
            return None;
        }
        tokio::time::timeout(FIRST_WAIT, self.as_it_comes(unmade, path, asker)).await.ok().flatten()
    }

    async fn as_it_comes(&self, unmade: &Unmade, path: Option<&str>, asker: &Asker<'_>) -> Option<Response> {
        let coming = self.edge.as_ref()?.pulled(&unmade.name).await?;
        let opened = coming.opened().await?;
        let layout = &opened.reading.plan().layout;
        let wanted = path.map(|path| format!("{}/{path}", layout.name()));
        let mut files = layout.content().filter(|(_, entry)| entry.kind == FileKind::Content).enumerate();
        let (number, (_, file)) = files.find(|(_, (_, f))| wanted.as_ref().is_none_or(|path| f.path == *path))?;
        let (len, begin) = (file.len, file.offset);
        let facts = &coming.facts;
        let etag = file_tag(&facts.tag, unmade.single, number);
        let modified =
            facts.modified.filter(|_| unmade.single).and_then(|secs| UNIX_EPOCH.checked_add(Duration::from_secs(secs)));
        let mut reader = Reader::new(&coming, opened.clone(), begin)?;
        let asked = asker.headers.get(header::RANGE).and_then(|v| v.to_str().ok());
        let first = match range::parse(asked, len) {
            Asked::Whole => (len > 0).then_some(0),
            Asked::Part(part) => Some(part.start),
            Asked::Parts(parts) => parts.first().map(|part| part.start),
            Asked::Nothing => None,
        };
        if let Some(wait) = first.and_then(|at| reader.wait(at)) {
            wait.await.ok()?;
        }
        let name = path.unwrap_or(&unmade.name).rsplit('/').next().unwrap_or_default();
        let kind = answer::kind(name);
        let builder = answer::file_headers(&kind, name, asker.download);
        let facts = answer::Facts { version: Version { etag, modified }, kind, len };
        Some(self.counted(answer::deliver(asker.headers, builder, &facts, Source::Arriving(Box::new(reader)))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn coming() -> Coming {
        let (name, tag) = ("n".to_owned(), "t".to_owned());
        let (info_hash_v1, info_hash_v2, modified) = (None, None, None);
        Coming::new(Facts { name, tag, bytes: 1, single: true, files: 1, info_hash_v1, info_hash_v2, modified })
    }

    #[test]
    fn where_readers_are_comes_first() {
        let coming = coming();
        let all = |range: Range<u32>| range.collect::<BTreeSet<_>>();
        let length = AHEAD_MIN / 4;
        assert_eq!(coming.first(1, 5, length), Some(all(5..9)));
        assert_eq!(coming.first(1, 6, length), None, "that is on its way");
        assert_eq!(coming.first(1, 7, length), Some(all(7..15)), "half of it is read: farther, the next time");
        assert_eq!(coming.first(1, 15, length), Some(all(15..31)));
        assert_eq!(coming.first(2, 100, length), Some(&all(15..31) | &all(100..104)));
        assert_eq!(coming.first(1, 0, length), Some(&all(0..4) | &all(100..104)), "back to the beginning");
        assert_eq!(coming.first(1, 2, AHEAD_MAX), Some(&all(2..3) | &all(100..104)));
        for reader in 3..1000 {
            let first = coming.first(reader, reader as u32 * 1000, 1);
            assert!(first.is_some_and(|all| all.len() <= FIRST_PIECES_MAX.max(reader as usize)));
        }
    }

    #[tokio::test]
    async fn what_fails_is_not_waited_for() {
        let coming = coming();
        coming.fail();
        assert!(coming.opened().await.is_none());
        coming.failed().await;
    }
}
