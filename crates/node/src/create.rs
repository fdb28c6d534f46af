//! Making a torrent of what is on disk: walks a path, hashes it with several threads, checks that it did not change meanwhile.
//!
//! Symbolic links to files inside the folder are followed; links that lead out of it, links to folders and special files
//! are left out and reported. Names are taken as they are, byte by byte.

use crate::disk::check::Meter;
use base::metainfo::create::{Draft, Facts, Format, Source};
use base::metainfo::{Metainfo, MetainfoError};
use base::{FileIndex, PieceDigest, PieceHasher, PieceIndex};
use std::collections::BTreeMap;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

/// Bytes read at once.
const READ: usize = 256 * 1024;
/// Pieces that a thread takes at once: neighbours, so that it reads in order.
const RUN: u32 = 4;
/// Files of one torrent.
const FILES_MAX: usize = 1_000_000;
/// Folders within folders.
const DEPTH_MAX: usize = 200;

/// How the torrent is to be.
#[derive(Clone, Debug)]
pub struct Options {
    /// v1, v2, both, or what suits.
    pub format: Format,
    /// Bytes in a piece; None: by size.
    pub piece_length: Option<u64>,
    /// The torrent's name; None: that of the path.
    pub name: Option<String>,
    /// Only trackers may name peers (BEP 27).
    pub private: bool,
    /// Threads that hash.
    pub threads: usize,
}

/// A torrent of what is on disk.
#[derive(Clone, Debug)]
pub struct Created {
    /// The torrent, without trackers and the like.
    pub metainfo: Metainfo,
    /// What was left out, and why.
    pub left_out: Vec<(PathBuf, &'static str)>,
}

/// Why no torrent can be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// A file or folder can't be read.
    #[error("can't read {}: {source}", .path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// The path has no name to call the torrent by.
    #[error("{} has no name: give one with --name", .0.display())]
    NoName(PathBuf),
    /// Neither a file nor a folder.
    #[error("{} is neither a file nor a folder", .0.display())]
    Special(PathBuf),
    /// A file changed while it was read.
    #[error("{} changed while it was read: try again once nobody writes to it", .0.display())]
    Changed(PathBuf),
    /// Nothing in it.
    #[error("there are no files in {}", .0.display())]
    Empty(PathBuf),
    /// Too much in it.
    #[error("more than {FILES_MAX} files, or folders nested deeper than {DEPTH_MAX}, in {}", .0.display())]
    TooMany(PathBuf),
    /// The facts make no torrent.
    #[error(transparent)]
    Metainfo(#[from] MetainfoError),
    /// It was stopped.
    #[error("stopped")]
    Stopped,
}

/// One file on disk, as it was when it was found.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    stamp: (u64, i64, i64),
}

/// The size of what would be shared, for a progress bar: what [`create`] would hash.
///
/// # Errors
/// If something can't be read.
pub fn measure(path: &Path) -> Result<u64, CreateError> {
    let (_, sources, _, _) = walk(path)?;
    Ok(sources.iter().map(|s| s.len).sum())
}

/// Makes the torrent of a file or a folder.
///
/// # Errors
/// If something can't be read, changes meanwhile, or makes no torrent.
pub fn create(path: &Path, options: &Options, meter: &Meter) -> Result<Created, CreateError> {
    let (single, sources, files, left_out) = walk(path)?;
    let name = match &options.name {
        Some(name) => name.as_bytes().to_vec(),
        None => own_name(path)?,
    };
    let facts = Facts {
        name,
        single,
        sources,
        format: options.format,
        piece_length: options.piece_length,
        private: options.private,
    };
    let draft = Draft::new(facts)?;
    let digests = hash(&draft, &files, options.threads, meter)?;
    for file in &files {
        let meta = std::fs::metadata(&file.path).map_err(|e| read_error(&file.path, e))?;
        if stamp(&meta) != file.stamp {
            return Err(CreateError::Changed(file.path.clone()));
        }
    }
    Ok(Created { metainfo: draft.finish(&digests)?, left_out })
}

/// The last part of a path, also of `.` and `..`.
fn own_name(path: &Path) -> Result<Vec<u8>, CreateError> {
    let no_name = || CreateError::NoName(path.to_owned());
    match path.file_name() {
        Some(name) => Ok(name.as_bytes().to_vec()),
        None => {
            let whole = path.canonicalize().map_err(|e| read_error(path, e))?;
            Ok(whole.file_name().ok_or_else(no_name)?.as_bytes().to_vec())
        }
    }
}

fn read_error(path: &Path, source: io::Error) -> CreateError {
    CreateError::Read { path: path.to_owned(), source }
}

fn stamp(meta: &Metadata) -> (u64, i64, i64) {
    (meta.len(), meta.mtime(), meta.mtime_nsec())
}

type Walked = (bool, Vec<Source>, Vec<Found>, Vec<(PathBuf, &'static str)>);

fn walk(path: &Path) -> Result<Walked, CreateError> {
    let meta = std::fs::metadata(path).map_err(|e| read_error(path, e))?;
    let mut walk = Walk { sources: Vec::new(), files: Vec::new(), left_out: Vec::new(), root: PathBuf::new() };
    if meta.is_file() {
        walk.file(path, Vec::new(), &meta);
    } else if meta.is_dir() {
        walk.root = path.canonicalize().map_err(|e| read_error(path, e))?;
        walk.folder(path, &mut Vec::new(), path)?;
        if walk.files.is_empty() {
            return Err(CreateError::Empty(path.to_owned()));
        }
    } else {
        return Err(CreateError::Special(path.to_owned()));
    }
    Ok((meta.is_file(), walk.sources, walk.files, walk.left_out))
}

struct Walk {
    sources: Vec<Source>,
    files: Vec<Found>,
    left_out: Vec<(PathBuf, &'static str)>,
    root: PathBuf,
}

impl Walk {
    fn file(&mut self, path: &Path, parts: Vec<Vec<u8>>, meta: &Metadata) {
        let executable = meta.permissions().mode() & 0o100 != 0;
        self.sources.push(Source { path: parts, len: meta.len(), executable, link: None });
        self.files.push(Found { path: path.to_owned(), stamp: stamp(meta) });
    }

    fn folder(&mut self, path: &Path, parts: &mut Vec<Vec<u8>>, top: &Path) -> Result<(), CreateError> {
        if parts.len() > DEPTH_MAX {
            return Err(CreateError::TooMany(top.to_owned()));
        }
        let entries = std::fs::read_dir(path).and_then(Iterator::collect::<io::Result<Vec<_>>>);
        let mut entries = entries.map_err(|e| read_error(path, e))?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let path = entry.path();
            let kind = entry.file_type().map_err(|e| read_error(&path, e))?;
            parts.push(entry.file_name().as_bytes().to_vec());
            if kind.is_dir() {
                self.folder(&path, parts, top)?;
            } else if kind.is_file() || (kind.is_symlink() && self.leads_to_file_inside(&path)) {
                let meta = std::fs::metadata(&path).map_err(|e| read_error(&path, e))?;
                self.file(&path, parts.clone(), &meta);
            } else {
                let why = if kind.is_symlink() { "a link out of the folder, or to no file" } else { "a special file" };
                self.left_out.push((path, why));
            }
            parts.pop();
            if self.files.len() > FILES_MAX {
                return Err(CreateError::TooMany(top.to_owned()));
            }
        }
        Ok(())
    }

    fn leads_to_file_inside(&self, link: &Path) -> bool {
        link.canonicalize().is_ok_and(|target| target.starts_with(&self.root) && target.is_file())
    }
}

/// Hashes all pieces of the draft.
fn hash(draft: &Draft, files: &[Found], threads: usize, meter: &Meter) -> Result<Vec<PieceDigest>, CreateError> {
    let geometry = draft.plan().geometry;
    let count = geometry.piece_count();
    let next = AtomicU32::new(0);
    let shared: Mutex<Result<BTreeMap<u32, PieceDigest>, CreateError>> = Mutex::new(Ok(BTreeMap::new()));
    let work = || {
        let mut reader = Reader { draft, files, open: None, buf: vec![0; READ.min(geometry.piece_length() as usize)] };
        let mut mine = Vec::new();
        let mut run = || -> Result<(), CreateError> {
            loop {
                let first = next.fetch_add(RUN, Ordering::Relaxed);
                if first >= count {
                    return Ok(());
                }
                for piece in (first..count.min(first.saturating_add(RUN))).map(PieceIndex) {
                    if meter.stop.load(Ordering::Relaxed) {
                        return Err(CreateError::Stopped);
                    }
                    mine.push((piece.0, reader.piece(piece, meter)?));
                }
            }
        };
        let result = run();
        let mut shared = shared.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        match (&mut *shared, result) {
            (Ok(all), Ok(())) => all.extend(mine),
            (Ok(_), Err(e)) => {
                // The others need not go on.
                next.store(count, Ordering::Relaxed);
                *shared = Err(e);
            }
            (Err(_), _) => {}
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads.clamp(1, count.max(1) as usize) {
            scope.spawn(work);
        }
        work();
    });
    let all = shared.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)?;
    Ok(all.into_values().collect())
}

/// What one thread reads with.
struct Reader<'a> {
    draft: &'a Draft,
    files: &'a [Found],
    open: Option<(FileIndex, File)>,
    buf: Vec<u8>,
}

impl Reader<'_> {
    fn piece(&mut self, piece: PieceIndex, meter: &Meter) -> Result<PieceDigest, CreateError> {
        let plan = self.draft.plan();
        let mut hasher = PieceHasher::new(plan, piece);
        let len = plan.geometry.piece_len(piece);
        for span in plan.layout.spans(plan.geometry.piece_offset(piece), u64::from(len)) {
            let (mut at, mut left) = (span.offset, span.len);
            while left > 0 {
                let n = left.min(self.buf.len() as u64) as usize;
                if span.pad {
                    self.buf[..n].fill(0);
                } else {
                    self.read(span.file, at, n)?;
                    meter.bytes.fetch_add(n as u64, Ordering::Relaxed);
                }
                hasher.update(&self.buf[..n]);
                at += n as u64;
                left -= n as u64;
            }
        }
        Ok(hasher.digest(plan, piece))
    }

    fn read(&mut self, file: FileIndex, at: u64, n: usize) -> Result<(), CreateError> {
        let source = self.draft.source(file).expect("spans that are not padding have a source");
        let path = &self.files[source].path;
        if self.open.as_ref().is_none_or(|(open, _)| *open != file) {
            self.open = Some((file, File::open(path).map_err(|e| read_error(path, e))?));
        }
        let (_, open) = self.open.as_ref().expect("opened above");
        open.read_exact_at(&mut self.buf[..n], at).map_err(|e| match e.kind() {
            io::ErrorKind::UnexpectedEof => CreateError::Changed(path.clone()),
            _ => read_error(path, e),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sha1::{Digest, Sha1};

    fn options(format: Format) -> Options {
        Options { format, piece_length: Some(32 << 10), name: None, private: false, threads: 3 }
    }

    #[test]
    fn a_folder_becomes_a_torrent_and_links_out_of_it_are_left_out() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("top");
        std::fs::create_dir_all(top.join("sub/empty folder")).unwrap();
        let body: Vec<u8> = (0..200_000u32).map(|i| (i % 253) as u8).collect();
        std::fs::write(top.join("b.bin"), &body).unwrap();
        std::fs::write(top.join("sub/zero"), b"").unwrap();
        std::fs::write(top.join("a"), b"first").unwrap();
        std::os::unix::fs::symlink("b.bin", top.join("inside")).unwrap();
        std::os::unix::fs::symlink("/etc/passwd", top.join("outside")).unwrap();
        let meter = Meter::default();
        let made = create(&top, &options(Format::V1), &meter).unwrap();
        let layout = made.metainfo.plan().unwrap().layout;
        let paths: Vec<_> = layout.files().iter().map(|f| (f.path.as_str(), f.len)).collect();
        assert_eq!(paths, [("top/a", 5), ("top/b.bin", 200_000), ("top/inside", 200_000), ("top/sub/zero", 0)]);
        assert_eq!(made.left_out.len(), 1);
        assert_eq!(meter.bytes.into_inner(), 400_005);
        assert_eq!(measure(&top).unwrap(), 400_005);
        let whole = [&b"first"[..], &body, &body].concat();
        let hashes: Box<[[u8; 20]]> = whole.chunks(32 << 10).map(|c| Sha1::digest(c).into()).collect();
        assert_eq!(made.metainfo.plan().unwrap().checks.sha1, Some(hashes));
        assert!(create(&top, &options(Format::Hybrid), &Meter::default()).unwrap().metainfo.info.hashes.v2.is_some());
    }

    #[test]
    fn what_makes_no_torrent_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let fails = |path: &Path| create(path, &options(Format::Auto), &Meter::default()).unwrap_err().to_string();
        assert!(fails(&dir.path().join("none")).starts_with("can't read"), "no such file");
        assert!(fails(dir.path()).starts_with("there are no files"));
        let meter = Meter::default();
        meter.stop.store(true, Ordering::Relaxed);
        std::fs::write(dir.path().join("f"), b"x").unwrap();
        let stopped = create(dir.path(), &options(Format::Auto), &meter);
        assert!(matches!(stopped, Err(CreateError::Stopped)));
    }
}
