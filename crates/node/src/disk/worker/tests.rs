use super::*;
use crate::disk::{FileCache, Place};
use base::{Bitfield, Checks, Geometry, Layout, Plan};
use bytes::Bytes;
use sha1::{Digest, Sha1};
use std::sync::mpsc;
use std::time::Duration;

const T: TorrentId = TorrentId(7);

struct Rig {
    dir: tempfile::TempDir,
    body: Vec<u8>,
    disk: Disk,
    bell: mpsc::Receiver<()>,
    progress: Progress,
    storage: Arc<Storage>,
}

fn rig() -> Rig {
    let dir = tempfile::tempdir().unwrap();
    let body: Vec<u8> = (0..250_000u32).map(|i| (i % 249) as u8).collect();
    let layout = Layout::single("f".into(), body.len() as u64, false);
    let geometry = Geometry::new(layout.total(), 64 << 10, 16 << 10).unwrap();
    let sha1 = body.chunks(64 << 10).map(|c| Sha1::digest(c).into()).collect();
    let plan = Arc::new(Plan::new(geometry, layout, Checks { sha1: Some(sha1), ..Checks::default() }));
    let progress = Progress::new(Bitfield::new(geometry.piece_count()), []);
    let storage = Arc::new(Storage::new(plan, Place::new(dir.path(), "f"), Arc::new(FileCache::new(4))));
    let (tx, bell) = mpsc::channel();
    let tx = std::sync::Mutex::new(tx);
    let ring: Bell = Arc::new(move || tx.lock().unwrap().send(()).unwrap_or_default());
    let mut disk = Disk::start(2, &ring).unwrap();
    disk.add(Work::Open(T, storage.clone(), progress.clone()));
    Rig { dir, body, disk, bell, progress, storage }
}

impl Rig {
    fn write(&mut self, block: usize) {
        let begin = block * (16 << 10);
        let data = &self.body[begin..(begin + (16 << 10)).min(self.body.len())];
        let (piece, begin) = (PieceIndex((begin >> 16) as u32), (begin & 0xffff) as u32);
        let data = Rope::from(Bytes::copy_from_slice(data));
        self.disk.add(Work::Job(T, DiskJob::Write { piece, begin, data }));
    }

    fn check(&mut self, piece: u32, digests: bool) {
        self.disk.add(Work::Job(T, DiskJob::Check { piece: PieceIndex(piece), digests }));
    }

    /// Gives the batch away and waits for `n` answers.
    fn answers(&mut self, n: usize) -> Vec<DiskDone> {
        self.disk.submit();
        let mut all = Vec::new();
        while all.len() < n {
            self.bell.recv_timeout(Duration::from_secs(20)).expect("an answer");
            self.disk.take_done(&mut all);
        }
        assert_eq!(all.len(), n);
        all.into_iter().map(|(_, done)| done).collect()
    }
}

#[test]
fn writes_then_checks() {
    let mut rig = rig();
    // Out of order, so that some are kept for the hash.
    for block in [1, 0, 2, 3, 15, 14, 13, 12] {
        rig.write(block);
    }
    rig.check(0, false);
    rig.check(3, true);
    rig.check(1, false);
    let answers = rig.answers(11);
    let written = answers.iter().filter(|a| matches!(a, DiskDone::Written { .. })).count();
    assert_eq!(written, 8);
    let checked: Vec<_> = answers
        .iter()
        .filter_map(|a| {
            if let DiskDone::Checked { piece, ok, digests } = a { Some((piece.0, *ok, digests.len())) } else { None }
        })
        .collect();
    assert_eq!(checked, [(0, true, 0), (3, true, 4), (1, false, 4)], "piece 1 is a hole");
    let facts = rig.progress.facts();
    assert_eq!(facts.good.ones().collect::<Vec<_>>(), [0, 3]);
    assert!(facts.partial.is_empty());
    assert_eq!(std::fs::read(rig.dir.path().join("f")).unwrap()[..65536], rig.body[..65536]);
}

#[test]
fn failures_name_the_file() {
    let mut rig = rig();
    std::fs::create_dir(rig.dir.path().join("f")).unwrap();
    rig.write(0);
    rig.write(1);
    let answers = rig.answers(2);
    for answer in answers {
        let DiskDone::Failed { piece: PieceIndex(0), error } = answer else { panic!("{answer:?}") };
        assert!(error.contains("/f: "), "{error}");
    }
}

#[test]
fn removed_while_downloading() {
    let mut rig = rig();
    (0..4).for_each(|b| rig.write(b));
    rig.answers(4);
    std::fs::remove_file(rig.dir.path().join("f")).unwrap();
    rig.check(0, false);
    assert!(matches!(&rig.answers(1)[0], DiskDone::Failed { error, .. } if error.contains("removed")));
}

#[test]
fn closes_after_what_came_before() {
    let mut rig = rig();
    (0..4).for_each(|b| rig.write(b));
    let (tx, rx) = oneshot::channel();
    let (synced_tx, synced) = oneshot::channel();
    rig.disk.add(Work::Sync(T, synced_tx));
    rig.disk.add(Work::Close(T, tx));
    rig.write(5);
    let answers = rig.answers(5);
    rx.blocking_recv().unwrap();
    synced.blocking_recv().unwrap().unwrap();
    assert!(matches!(answers[4], DiskDone::Failed { piece: PieceIndex(1), .. }));
    let mut back = vec![0; 65536];
    rig.storage.read(0, &mut back).unwrap();
    assert_eq!(back, rig.body[..65536]);
}
