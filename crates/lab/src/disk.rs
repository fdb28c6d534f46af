//! The disk of one peer in virtual time: which blocks it holds, what they are worth, and what goes wrong.
//!
//! It does [`DiskJob`]s in order, one after the other, and each takes the time that [`DiskSpec`] says. Hashing compares
//! taints instead of bytes. Like a real one it holds what was written and not yet synced apart: a killed process loses
//! nothing that was written, a power loss may lose whatever came after the last [`Disk::sync`].

use crate::payload::{Payload, Taint};
use base::{Bitfield, Geometry, Instant, PieceIndex, Rng};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use swarm::disk::{BlockDigest, DiskDone, DiskJob};

/// How a disk behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpec {
    /// Time that each job takes at least.
    pub seek: Duration,
    /// Bytes a second, written or hashed. 0: no limit.
    pub rate: u64,
    /// Writes fail once so many bytes were written.
    pub space: Option<u64>,
    /// Every job fails from this one on.
    pub fails_at_job: Option<u64>,
}

impl DiskSpec {
    /// A disk that takes no time and has no end.
    pub const INSTANT: DiskSpec = DiskSpec { seek: Duration::ZERO, rate: 0, space: None, fails_at_job: None };
}

/// What is stored of one piece: a taint for each block that is there.
type Blocks = Box<[Option<Taint>]>;

/// What a disk holds. Whole good pieces cost a bit each.
#[derive(Clone, Debug)]
struct Stored {
    good: Bitfield,
    rest: BTreeMap<u32, Blocks>,
}

/// The disk of one peer.
#[derive(Debug)]
pub struct Disk {
    spec: DiskSpec,
    geometry: Geometry,
    stored: Stored,
    synced: Stored,
    busy_until: Instant,
    written: u64,
    jobs: u64,
    done: VecDeque<(Instant, DiskDone)>,
}

impl Disk {
    /// A disk that holds the pieces of `have`.
    pub fn new(spec: DiskSpec, geometry: Geometry, have: Bitfield) -> Self {
        let stored = Stored { good: have, rest: BTreeMap::new() };
        Disk {
            spec,
            geometry,
            synced: stored.clone(),
            stored,
            busy_until: Instant::ZERO,
            written: 0,
            jobs: 0,
            done: VecDeque::new(),
        }
    }

    /// Pieces whose bytes are all there and right.
    pub fn good(&self) -> &Bitfield {
        &self.stored.good
    }

    /// What a reader gets at `begin` of `piece`: None if something is missing there.
    pub fn read(&self, piece: PieceIndex, begin: u32, len: u32) -> Option<Taint> {
        if self.stored.good.has(piece.0) {
            return Some(Taint::NONE);
        }
        let blocks = self.stored.rest.get(&piece.0)?;
        let size = self.geometry.block_size();
        let last = (begin + len.max(1) - 1) / size;
        (begin / size..=last)
            .map(|b| blocks.get(b as usize).copied().flatten())
            .reduce(|a, b| Some(a?.max(b?)))
            .flatten()
    }

    /// Blocks written of pieces that are not whole, for a resume.
    pub fn partial(&self) -> Vec<(PieceIndex, Bitfield)> {
        let one = |(piece, blocks): (&u32, &Blocks)| {
            let mut bits = Bitfield::new(blocks.len() as u32);
            blocks.iter().enumerate().filter(|(_, b)| b.is_some()).for_each(|(i, _)| {
                bits.set(i as u32);
            });
            (PieceIndex(*piece), bits)
        };
        self.stored.rest.iter().map(one).collect()
    }

    /// Takes a job. Its answer, if it has one, is ready at the time that is returned.
    pub fn submit(&mut self, now: Instant, job: DiskJob<Payload>) -> Option<Instant> {
        self.jobs += 1;
        let broken = self.spec.fails_at_job.is_some_and(|n| self.jobs >= n);
        let fail = |piece, error: &str| DiskDone::Failed { piece, error: error.into() };
        let (bytes, done) = match job {
            DiskJob::Forget { .. } => return None,
            DiskJob::Write { piece, .. } | DiskJob::Check { piece, .. } if broken => {
                (0, fail(piece, "the disk is broken"))
            }
            DiskJob::Write { piece, begin, data } => {
                let len = base::Payload::len(&data) as u32;
                if self.spec.space.is_some_and(|max| self.written + u64::from(len) > max) {
                    (0, fail(piece, "no space left on the disk"))
                } else {
                    self.write(piece, begin, len, data.judge(piece, begin));
                    (len, DiskDone::Written { piece, begin, len })
                }
            }
            DiskJob::Check { piece, digests } => (self.geometry.piece_len(piece), self.check(piece, digests)),
        };
        let moving = (u64::from(bytes) * 1_000_000).checked_div(self.spec.rate).unwrap_or(0);
        self.busy_until = self.busy_until.max(now) + self.spec.seek + Duration::from_micros(moving);
        self.done.push_back((self.busy_until, done));
        Some(self.busy_until)
    }

    /// The answers that are ready.
    pub fn poll(&mut self, now: Instant) -> Option<DiskDone> {
        self.done.pop_front_if(|(at, _)| *at <= now).map(|(_, done)| done)
    }

    /// When the next answer is ready.
    pub fn deadline(&self) -> Option<Instant> {
        self.done.front().map(|(at, _)| *at)
    }

    fn write(&mut self, piece: PieceIndex, begin: u32, len: u32, taint: Taint) {
        self.written += u64::from(len);
        let count = self.geometry.block_count(piece);
        if self.stored.good.has(piece.0) && taint.is_good() {
            return;
        }
        let was = self.stored.good.clear(piece.0).then_some(Taint::NONE);
        let blocks = self.stored.rest.entry(piece.0).or_insert_with(|| vec![was; count as usize].into());
        let size = self.geometry.block_size();
        // A run that is not a whole block spoils what it touches: nobody sends such.
        let whole =
            begin.is_multiple_of(size) && (len.is_multiple_of(size) || begin + len == self.geometry.piece_len(piece));
        let taint = if whole { taint } else { Taint(u32::MAX) };
        for block in begin / size..(begin + len).div_ceil(size) {
            if let Some(b) = blocks.get_mut(block as usize) {
                *b = Some(taint);
            }
        }
        if blocks.iter().all(|b| *b == Some(Taint::NONE)) {
            self.stored.rest.remove(&piece.0);
            self.stored.good.set(piece.0);
        }
    }

    fn check(&self, piece: PieceIndex, digests: bool) -> DiskDone {
        let ok = self.stored.good.has(piece.0);
        let blocks = self.geometry.block_count(piece);
        let digest = |b: u32, taint: Taint| digest(piece.0, b, taint);
        let digests = match self.stored.rest.get(&piece.0) {
            _ if ok && digests => (0..blocks).map(|b| digest(b, Taint::NONE)).collect(),
            Some(stored) if !ok && stored.iter().all(Option::is_some) => {
                stored.iter().zip(0..).map(|(t, b)| digest(b, t.unwrap_or_default())).collect()
            }
            _ => Vec::new(),
        };
        DiskDone::Checked { piece, ok, digests }
    }

    /// Everything written so far survives a power loss from here on.
    pub fn sync(&mut self) {
        self.synced = self.stored.clone();
    }

    /// The process dies: what it had asked for and was not told is done or lost, nothing that was written is.
    pub fn kill(&mut self) {
        self.done.clear();
        self.busy_until = Instant::ZERO;
    }

    /// The power fails: of what was written since the last sync each block is there or not, as `rng` has it.
    pub fn power_loss(&mut self, rng: &mut Rng) {
        self.kill();
        let newer = std::mem::replace(&mut self.stored, self.synced.clone());
        for piece in 0..self.geometry.piece_count() {
            let blocks = self.geometry.block_count(PieceIndex(piece));
            let late: Blocks = match newer.rest.get(&piece) {
                Some(blocks) => blocks.clone(),
                None if newer.good.has(piece) => vec![Some(Taint::NONE); blocks as usize].into(),
                None => continue,
            };
            for (b, taint) in late.iter().enumerate() {
                if let Some(taint) = taint.filter(|_| rng.one_in(2)) {
                    let begin = b as u32 * self.geometry.block_size();
                    let len = self.geometry.block_len(PieceIndex(piece), base::BlockIndex(b as u32));
                    self.write(PieceIndex(piece), begin, len, taint);
                }
            }
        }
        self.synced = self.stored.clone();
    }

    /// Bits of one block of `piece` flip while nobody looks. True if there was something to spoil.
    pub fn rot(&mut self, piece: PieceIndex, block: u32) -> bool {
        let there = self.stored.good.has(piece.0) || self.stored.rest.contains_key(&piece.0);
        if there && block < self.geometry.block_count(piece) {
            let len = self.geometry.block_len(piece, base::BlockIndex(block));
            self.write(piece, block * self.geometry.block_size(), len, Taint(u32::MAX - 1));
        }
        there
    }
}

/// Eight bytes that differ with piece, block and taint.
fn digest(piece: u32, block: u32, taint: Taint) -> BlockDigest {
    let mixed = (u64::from(piece) << 32 | u64::from(block)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed.rotate_left(29) ^ u64::from(taint.0).wrapping_mul(0xff51_afd7_ed55_8ccd)).to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    const P: PieceIndex = PieceIndex(1);

    fn disk(spec: DiskSpec) -> Disk {
        let geometry = Geometry::new(100, 40, 16).unwrap();
        Disk::new(spec, geometry, Bitfield::new(3))
    }

    fn write(d: &mut Disk, begin: u32, len: u32, taint: Taint) -> DiskDone {
        let data = Payload::block(P, begin, len, taint);
        let at = d.submit(Instant::ZERO, DiskJob::Write { piece: P, begin, data }).unwrap();
        d.poll(at).unwrap()
    }

    fn check(d: &mut Disk) -> (bool, Vec<BlockDigest>) {
        let at = d.submit(Instant::ZERO, DiskJob::Check { piece: P, digests: false }).unwrap();
        match d.poll(at).unwrap() {
            DiskDone::Checked { ok, digests, .. } => (ok, digests),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_rotten_block_is_found_and_told_apart() {
        let mut d = disk(DiskSpec::INSTANT);
        write(&mut d, 0, 16, Taint::NONE);
        assert_eq!(check(&mut d), (false, vec![]), "not all there: no digests");
        write(&mut d, 16, 16, Taint::by(4));
        write(&mut d, 32, 8, Taint::NONE);
        let (ok, bad) = check(&mut d);
        assert!(!ok && bad.len() == 3);
        assert_eq!(d.read(P, 0, 16), Some(Taint::NONE));
        assert_eq!(d.read(P, 10, 10), Some(Taint::by(4)));
        write(&mut d, 16, 16, Taint::NONE);
        assert!(check(&mut d).0 && d.good().has(1));
        d.submit(Instant::ZERO, DiskJob::Check { piece: P, digests: true });
        let Some(DiskDone::Checked { digests, .. }) = d.poll(Instant::ZERO) else { panic!() };
        let differ: Vec<bool> = bad.iter().zip(&digests).map(|(a, b)| a != b).collect();
        assert_eq!(differ, [false, true, false]);
    }

    #[test]
    fn jobs_take_their_time_one_after_the_other() {
        let spec = DiskSpec { seek: Duration::from_micros(10), rate: 1_000_000, ..DiskSpec::INSTANT };
        let mut d = disk(spec);
        let data = |begin| Payload::block(P, begin, 16, Taint::NONE);
        assert_eq!(
            d.submit(Instant::ZERO, DiskJob::Write { piece: P, begin: 0, data: data(0) }),
            Some(Instant::from_micros(26))
        );
        assert_eq!(
            d.submit(Instant::ZERO, DiskJob::Write { piece: P, begin: 16, data: data(16) }),
            Some(Instant::from_micros(52))
        );
        assert_eq!(d.poll(Instant::from_micros(25)), None);
        assert!(d.poll(Instant::from_micros(26)).is_some());
        assert_eq!(d.deadline(), Some(Instant::from_micros(52)));
    }

    #[test]
    fn full_and_broken_disks_say_so() {
        let mut d = disk(DiskSpec { space: Some(20), ..DiskSpec::INSTANT });
        assert!(matches!(write(&mut d, 0, 16, Taint::NONE), DiskDone::Written { .. }));
        assert!(matches!(write(&mut d, 16, 16, Taint::NONE), DiskDone::Failed { .. }));
        let mut d = disk(DiskSpec { fails_at_job: Some(2), ..DiskSpec::INSTANT });
        assert!(matches!(write(&mut d, 0, 16, Taint::NONE), DiskDone::Written { .. }));
        assert!(matches!(write(&mut d, 16, 16, Taint::NONE), DiskDone::Failed { .. }));
    }

    #[test]
    fn what_was_synced_survives_everything() {
        for seed in 0..20 {
            let mut d = disk(DiskSpec::INSTANT);
            write(&mut d, 0, 16, Taint::NONE);
            d.sync();
            write(&mut d, 16, 16, Taint::NONE);
            write(&mut d, 32, 8, Taint::NONE);
            assert!(d.good().has(1));
            d.power_loss(&mut Rng::from_seed(seed));
            assert_eq!(d.read(P, 0, 16), Some(Taint::NONE));
        }
        let mut d = disk(DiskSpec::INSTANT);
        write(&mut d, 0, 16, Taint::NONE);
        d.kill();
        assert_eq!(d.read(P, 0, 16), Some(Taint::NONE));
        assert!(d.rot(P, 0) && !d.rot(PieceIndex(2), 0));
        assert!(!d.read(P, 0, 16).unwrap().is_good());
    }
}
