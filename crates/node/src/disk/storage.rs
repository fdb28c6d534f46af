//! The files of one torrent: its run of bytes, laid over them (BEP 3, BEP 47).
//!
//! Padding is dropped when written and zeros when read. Files are made when their first byte is written, as long as
//! they will be, so that they are sparse until then. What is there is never cut off by writing: only [`Storage::prepare`] does
//! that, where it is known to be ours or the user says so.

use super::beneath::{self, Access};
use super::files::{FileCache, OpenFile};
use super::labour;
use base::{FileEntry, FileIndex, FileKind, Info, PieceIndex, Plan};
use rustix::io::Errno;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::io::{IoSlice, IoSliceMut};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// Slices in one vectored call; the kernel takes 1,024.
const IOV_MAX: usize = 256;

/// Where the content of a torrent lies: the file or folder `top` in the folder `parent`. The name in the torrent and
/// the name on disk may differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The folder that it is in.
    pub parent: PathBuf,
    /// Its name there.
    pub top: OsString,
}

impl Place {
    /// `top` in `parent`.
    pub fn new(parent: impl Into<PathBuf>, top: impl Into<OsString>) -> Self {
        Place { parent: parent.into(), top: top.into() }
    }

    /// The path of the file or folder.
    pub fn path(&self) -> PathBuf {
        self.parent.join(&self.top)
    }
}

/// What failed, on which file, in words for people.
#[derive(Debug, thiserror::Error)]
#[error("can't {what} {path}: {}", reason(*errno))]
pub struct DiskError {
    /// A verb.
    pub what: &'static str,
    /// The file or folder.
    pub path: String,
    /// What the system says.
    pub errno: Errno,
}

impl DiskError {
    /// True if the file is not there or ends too early: what is wanted was never written.
    pub fn is_missing(&self) -> bool {
        matches!(self.errno, Errno::NOENT | Errno::NODATA | Errno::NOTDIR)
    }
}

fn reason(errno: Errno) -> String {
    match errno {
        Errno::NOSPC | Errno::DQUOT => "the disk is full".into(),
        Errno::ROFS => "the file system is read-only".into(),
        Errno::NOENT => "it is not there".into(),
        Errno::NODATA => "the file is shorter than it should be".into(),
        Errno::ACCESS => "permission denied".into(),
        Errno::STALE => "the file was removed while it was in use".into(),
        Errno::XDEV | Errno::LOOP => "a link leads out of the folder".into(),
        other => std::io::Error::from(other).kind().to_string(),
    }
}

/// Part of one file and the part of a buffer that belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) file: FileIndex,
    /// Where it starts in the file.
    pub(crate) offset: u64,
    /// Where it starts in the buffer.
    pub(crate) start: usize,
    pub(crate) len: usize,
}

/// May reading wait for the disk?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// Only what is in memory.
    None,
    /// As long as it takes.
    Wait,
}

/// The files of one torrent on disk.
#[derive(Debug)]
pub struct Storage {
    id: u64,
    plan: Arc<Plan>,
    place: RwLock<Place>,
    files: Arc<FileCache>,
    /// Files that nobody wants, and the folder for the bytes of them that lie in pieces that are wanted.
    hidden: Option<(PathBuf, Vec<bool>)>,
    /// Paths below the folder of files that lie there under the names that the torrent has, where those are not safe to
    /// write anywhere.
    own_names: BTreeMap<u32, PathBuf>,
    /// Files written to since the last [`Storage::sync`].
    unsynced: Mutex<BTreeSet<u32>>,
    labour: labour::Meter,
}

/// Storages of one process have different ids, also if they belong to one torrent after the other.
static NEXT_ID: AtomicU64 = AtomicU64::new(0);

impl Storage {
    /// The files of `plan` at `place`. Nothing is opened yet.
    pub fn new(plan: Arc<Plan>, place: Place, files: Arc<FileCache>) -> Self {
        let id = NEXT_ID.fetch_add(1, Ordering::Relaxed);
        Storage {
            id,
            plan,
            place: RwLock::new(place),
            files,
            hidden: None,
            own_names: BTreeMap::new(),
            labour: labour::Meter::default(),
            unsynced: Mutex::default(),
        }
    }

    /// Puts the bytes of files that are not wanted, as far as they lie in pieces that are, into the folder `parts`: what is
    /// only partly there is not shown under its name. A file that is there already stays what it is.
    #[must_use]
    pub fn hiding(mut self, parts: PathBuf, wanted: impl Fn(FileIndex) -> bool) -> Self {
        let files = 0..self.plan.layout.files().len() as u32;
        let hide = |file: FileIndex| !wanted(file) && self.path(file).symlink_metadata().is_err();
        let hidden: Vec<bool> = files.map(|i| hide(FileIndex(i))).collect();
        if hidden.contains(&true) && !self.plan.layout.is_single() {
            self.hidden = Some((parts, hidden));
        }
        self
    }

    /// Finds files also under the names that the torrent has, before they were made safe: the content that a user shares
    /// has such names. For content that is only read.
    #[must_use]
    pub fn with_own_names(mut self, info: &Info) -> Self {
        let top = self.place().path();
        for (file, entry) in self.plan.layout.content().filter(|_| !self.plan.layout.is_single()) {
            let own: PathBuf = info.raw_path(file).into_iter().skip(1).map(OsString::from_vec).collect();
            let below = entry.path.split_once('/').map_or(entry.path.as_str(), |(_, below)| below);
            let plain = own.components().all(|c| matches!(c, std::path::Component::Normal(_)));
            if plain && own != Path::new(below) && top.join(&own).symlink_metadata().is_ok() {
                self.own_names.insert(file.0, own);
            }
        }
        self
    }

    /// How long the disk's thread has worked for it.
    pub(crate) fn labour(&self) -> &labour::Meter {
        &self.labour
    }

    /// What is stored.
    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    /// Where it lies.
    pub fn place(&self) -> Place {
        self.place.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The path of one file.
    pub fn path(&self, file: FileIndex) -> PathBuf {
        let (root, path) = self.locate(file);
        root.join(path)
    }

    /// The folder that nothing may leave, and the path below it.
    fn locate(&self, file: FileIndex) -> (PathBuf, PathBuf) {
        let entry: &FileEntry = &self.plan.layout.files()[file.index()];
        let place = self.place.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((parts, hidden)) = &self.hidden
            && hidden[file.index()]
        {
            // By number: it is nobody's business what they are called.
            (parts.clone(), PathBuf::from(file.to_string()))
        } else if self.plan.layout.is_single() {
            (place.parent.clone(), PathBuf::from(&place.top))
        } else {
            let below = entry.path.split_once('/').map_or(entry.path.as_str(), |(_, below)| below);
            let own = self.own_names.get(&file.0).cloned();
            (place.path(), own.unwrap_or_else(|| PathBuf::from(below)))
        }
    }

    /// Makes what has no bytes: the folder, empty files and links, as far as `wanted` says so of the file.
    ///
    /// # Errors
    /// If something can't be made.
    pub fn prepare(&self, wanted: impl Fn(FileIndex) -> bool) -> Result<(), DiskError> {
        let place = self.place();
        let failed = |what, path: PathBuf, errno| DiskError { what, path: path.display().to_string(), errno };
        if let Err(e) = std::fs::create_dir_all(&place.parent) {
            return Err(failed("make the folder", place.parent, Errno::from_io_error(&e).unwrap_or(Errno::IO)));
        }
        if !self.plan.layout.is_single() {
            beneath::make_folder(&place.parent, Path::new(&place.top))
                .map_err(|e| failed("make the folder", place.path(), e))?;
        }
        for (index, entry) in self.plan.layout.content().filter(|(i, _)| wanted(*i)) {
            match &entry.kind {
                FileKind::Symlink(target) => {
                    let (root, path) = self.locate(index);
                    if let Some(target) = link_target(&entry.path, target) {
                        beneath::make_link(&root, &path, &target)
                            .map_err(|e| failed("make the link", root.join(&path), e))?;
                    }
                }
                FileKind::Content if entry.len == 0 => drop(self.open(index, Access::Write)?),
                FileKind::Content if self.stamp(index).is_some_and(|stamp| stamp.size > entry.len) => {
                    let file = self.open(index, Access::Write)?;
                    rustix::fs::ftruncate(&file.file, entry.len).map_err(|e| self.failed("cut", index, e))?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn open(&self, file: FileIndex, access: Access) -> Result<Arc<OpenFile>, DiskError> {
        let entry = &self.plan.layout.files()[file.index()];
        self.files.get((self.id, file.0), access, || {
            let (root, path) = self.locate(file);
            let what = if access == Access::Read { "open" } else { "open for writing" };
            let failed = |errno| DiskError { what, path: root.join(&path).display().to_string(), errno };
            if access == Access::Write && self.hidden.as_ref().is_some_and(|(parts, _)| *parts == root) {
                // If this fails, so does opening a file in it, and says why.
                let _ = std::fs::create_dir(&root);
            }
            let opened = beneath::open(&root, &path, access, entry.executable).map_err(failed)?;
            if access == Access::Write && rustix::fs::fstat(&opened).map_err(failed)?.st_size < entry.len as i64 {
                rustix::fs::ftruncate(&opened, entry.len).map_err(failed)?;
            }
            Ok(opened)
        })
    }

    fn failed(&self, what: &'static str, file: FileIndex, errno: Errno) -> DiskError {
        DiskError { what, path: self.path(file).display().to_string(), errno }
    }

    /// Writes `slices`, one behind the other, at `offset` of the torrent.
    ///
    /// # Errors
    /// If a write fails; some of the bytes may be written then.
    pub fn write(&self, offset: u64, slices: &[&[u8]]) -> Result<(), DiskError> {
        let len: u64 = slices.iter().map(|s| s.len() as u64).sum();
        let mut left = Slices { slices, skip: 0 };
        for span in self.plan.layout.spans(offset, len) {
            if span.pad {
                left.skip(span.len);
                continue;
            }
            let open = self.open(span.file, Access::Write)?;
            self.unsynced.lock().unwrap_or_else(PoisonError::into_inner).insert(span.file.0);
            let (mut at, end) = (span.offset, span.offset + span.len);
            while at < end {
                let mut before = left;
                let mut iov = Vec::with_capacity(IOV_MAX.min(slices.len()));
                left.take(end - at, &mut iov);
                let wrote = match rustix::io::pwritev(&open.file, &iov, at) {
                    Ok(0) => return Err(self.failed("write to", span.file, Errno::NOSPC)),
                    Ok(n) => n as u64,
                    Err(Errno::INTR) => 0,
                    Err(e) => return Err(self.failed("write to", span.file, e)),
                };
                // A short write goes on where it stopped.
                before.skip(wrote);
                left = before;
                at += wrote;
            }
        }
        Ok(())
    }

    /// Reads into the whole of `buf` from `offset` of the torrent.
    ///
    /// # Errors
    /// If a file is missing, too short ([`DiskError::is_missing`]), or can't be read.
    pub fn read(&self, offset: u64, buf: &mut [u8]) -> Result<(), DiskError> {
        let mut parts = Vec::new();
        self.parts(offset, 0, buf.len(), &mut parts, buf);
        self.read_parts(&parts, buf, Patience::Wait).map(|_| ())
    }

    /// What must be read to fill `len` bytes of `buf` from `start` with those at `offset` of the torrent. Padding is
    /// filled in at once.
    pub(crate) fn parts(&self, offset: u64, start: usize, len: usize, out: &mut Vec<Part>, buf: &mut [u8]) {
        let mut at = start;
        for span in self.plan.layout.spans(offset, len as u64) {
            let n = span.len as usize;
            if span.pad {
                buf[at..at + n].fill(0);
            } else {
                out.push(Part { file: span.file, offset: span.offset, start: at, len: n });
            }
            at += n;
        }
    }

    /// Reads `parts`, ascending in the buffer, as many in one call as lie one behind the other in one file. Answers how
    /// many were read whole: fewer than all only without patience.
    ///
    /// # Errors
    /// As [`Storage::read`].
    pub(crate) fn read_parts(&self, parts: &[Part], buf: &mut [u8], patience: Patience) -> Result<usize, DiskError> {
        let mut done = 0;
        while let Some(first) = parts.get(done) {
            let in_file =
                |pair: &[Part]| pair[0].file == pair[1].file && pair[0].offset + pair[0].len as u64 == pair[1].offset;
            let run = 1 + parts[done..].windows(2).take(IOV_MAX - 1).take_while(|pair| in_file(pair)).count();
            let open = self.open(first.file, Access::Read)?;
            match self.read_run(&open, &parts[done..done + run], buf, patience) {
                Ok(true) => done += run,
                Ok(false) => break,
                Err(e) => return Err(self.failed("read", first.file, e)),
            }
        }
        Ok(done)
    }

    fn read_run(&self, open: &OpenFile, run: &[Part], buf: &mut [u8], patience: Patience) -> Result<bool, Errno> {
        let total: usize = run.iter().map(|p| p.len).sum();
        let (mut skip, offset) = (0, run[0].offset);
        while skip < total {
            let mut iov = slices_of(run, skip, buf);
            let at = offset + skip as u64;
            let got = if patience == Patience::Wait || open.in_memory {
                rustix::io::preadv(&open.file, &mut iov, at)
            } else {
                rustix::io::preadv2(&open.file, &mut iov, at, rustix::io::ReadWriteFlags::NOWAIT)
            };
            match got {
                Ok(0) => return Err(Errno::NODATA),
                Ok(n) => skip += n,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN | Errno::OPNOTSUPP) if patience == Patience::None => return Ok(false),
                Err(e) => return Err(e),
            }
        }
        Ok(true)
    }

    /// Is there anything on disk under these bytes, or only holes and missing files?
    pub(crate) fn has_data(&self, offset: u64, len: u64) -> bool {
        self.plan.layout.spans(offset, len).filter(|s| !s.pad).any(|span| {
            let Ok(open) = self.open(span.file, Access::Read) else { return false };
            match rustix::fs::seek(&open.file, rustix::fs::SeekFrom::Data(span.offset)) {
                Ok(data) => data < span.offset + span.len,
                Err(Errno::NXIO) => false,
                // A file system that does not know holes has data everywhere.
                Err(_) => true,
            }
        })
    }

    /// Fails if a file under `piece` was removed while we had it open: writes into it would vanish in silence.
    pub(crate) fn still_there(&self, piece: PieceIndex) -> Result<(), DiskError> {
        let geometry = &self.plan.geometry;
        let spans = self.plan.layout.spans(geometry.piece_offset(piece), u64::from(geometry.piece_len(piece)));
        for span in spans.filter(|s| !s.pad) {
            let open = self.open(span.file, Access::Read)?;
            let stat = rustix::fs::fstat(&open.file).map_err(|e| self.failed("look at", span.file, e))?;
            if stat.st_nlink == 0 {
                return Err(self.failed("write to", span.file, Errno::STALE));
            }
        }
        Ok(())
    }

    /// Size and time of the last change (nanoseconds) of a file, None if it is not there.
    pub fn stamp(&self, file: FileIndex) -> Option<Stamp> {
        let meta = std::fs::metadata(self.path(file)).ok().filter(|m| m.is_file())?;
        use std::os::unix::fs::MetadataExt as _;
        Some(Stamp {
            size: meta.size(),
            mtime_ns: meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec()),
        })
    }

    /// Brings what was written down to the medium.
    ///
    /// # Errors
    /// If the system can't.
    pub fn sync(&self) -> Result<(), DiskError> {
        let files = std::mem::take(&mut *self.unsynced.lock().unwrap_or_else(PoisonError::into_inner));
        for file in files.into_iter().map(FileIndex) {
            let open = self.open(file, Access::Read)?;
            rustix::fs::fdatasync(&open.file).map_err(|e| self.failed("sync", file, e))?;
        }
        Ok(())
    }

    /// Gives the content its final name. Never over something that is there.
    ///
    /// # Errors
    /// If something is there, or it can't be renamed.
    pub fn rename(&self, to: &Place) -> Result<(), DiskError> {
        let mut place = self.place.write().unwrap_or_else(PoisonError::into_inner);
        if *place == *to {
            return Ok(());
        }
        rename(&place, to)?;
        *place = to.clone();
        Ok(())
    }

    /// Closes the files.
    pub fn close(&self) {
        self.files.close(self.id);
    }
}

/// Renames a file or folder. Never over something that is there.
///
/// # Errors
/// If something is there, or it can't be renamed.
pub fn rename(from: &Place, to: &Place) -> Result<(), DiskError> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    let (from, path) = (from.path(), to.path());
    let failed = |errno| DiskError { what: "give its final name to", path: path.display().to_string(), errno };
    match renameat_with(CWD, &from, CWD, &path, RenameFlags::NOREPLACE) {
        // Some file systems don't know the flag.
        Err(Errno::INVAL | Errno::NOSYS) if !path.exists() => {
            std::fs::rename(&from, &path).map_err(|e| failed(Errno::from_io_error(&e).unwrap_or(Errno::IO)))
        }
        other => other.map_err(failed),
    }
}

impl Drop for Storage {
    fn drop(&mut self) {
        self.close();
    }
}

/// What a file looked like when we knew its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stamp {
    /// Bytes.
    pub size: u64,
    /// Time of the last change, nanoseconds since 1970.
    pub mtime_ns: i64,
}

/// Slices that are not written yet.
#[derive(Clone, Copy)]
struct Slices<'a> {
    slices: &'a [&'a [u8]],
    skip: usize,
}

impl<'a> Slices<'a> {
    /// Leaves `n` bytes out.
    fn skip(&mut self, n: u64) {
        let mut n = usize::try_from(n).unwrap_or(usize::MAX);
        while let Some(first) = self.slices.first() {
            let left = first.len() - self.skip;
            if n < left {
                self.skip += n;
                break;
            }
            n -= left;
            (self.slices, self.skip) = (&self.slices[1..], 0);
        }
    }

    /// Takes `n` bytes, or as many as [`IOV_MAX`] slices have.
    fn take(&mut self, mut n: u64, out: &mut Vec<IoSlice<'a>>) {
        while n > 0 && out.len() < IOV_MAX {
            let Some(first) = self.slices.first() else { break };
            let rest = &first[self.skip..];
            let len = usize::try_from(n).unwrap_or(usize::MAX).min(rest.len());
            if len > 0 {
                out.push(IoSlice::new(&rest[..len]));
            }
            n -= len as u64;
            self.skip += len;
            if self.skip == first.len() {
                (self.slices, self.skip) = (&self.slices[1..], 0);
            }
        }
    }
}

/// The parts of `buf` under `run`, without the first `skip` bytes.
fn slices_of<'a>(run: &[Part], mut skip: usize, buf: &'a mut [u8]) -> Vec<IoSliceMut<'a>> {
    let mut out = Vec::with_capacity(run.len());
    let (mut rest, mut at) = (buf, 0);
    for part in run {
        let (_, tail) = rest.split_at_mut(part.start - at);
        let (now, tail) = tail.split_at_mut(part.len);
        at = part.start + part.len;
        rest = tail;
        let drop = skip.min(now.len());
        skip -= drop;
        if drop < now.len() {
            out.push(IoSliceMut::new(&mut now[drop..]));
        }
    }
    out
}

/// Where a link points, seen from the folder it is in; None if that is not inside. Both paths begin with the torrent's name.
fn link_target(link: &str, target: &str) -> Option<PathBuf> {
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    let inside = |path: &str| path.split('/').all(plain);
    (inside(link) && inside(target)).then(|| {
        let (from, to): (Vec<_>, Vec<_>) = (link.split('/').collect(), target.split('/').collect());
        let common = from.iter().zip(&to).take(from.len().min(to.len()) - 1).take_while(|(a, b)| a == b).count();
        let ups = std::iter::repeat_n("..", from.len() - 1 - common);
        ups.chain(to[common..].iter().copied()).collect()
    })
}

#[cfg(test)]
mod tests;
