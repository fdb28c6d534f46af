//! Making a torrent of what is on disk: walks a folder, hashes it with several threads, and refuses to describe what
//! changes meanwhile.
//!
//! Links are followed if they lead to something inside; pipes, sockets and devices are no content. What was left out is
//! told. The format is [`base::metainfo::create`]'s business.

use crate::disk::check::Meter;
use crate::disk::lanes;
use base::metainfo::create::{Draft, Facts, Format, Source};
use base::{FileIndex, Info, Metainfo, MetainfoError, PieceDigest, PieceIndex, Plan};
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, PoisonError};

/// Folders in folders; deeper ones are refused.
const DEPTH_MAX: usize = 128;

/// What kind of torrent to make.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// The format.
    pub format: Format,
    /// The piece length in bytes; None chooses one by size.
    pub piece_length: Option<u64>,
    /// For its own trackers' peers only (BEP 27).
    pub private: bool,
    /// Its name; None: that of the file or folder.
    pub name: Option<String>,
    /// Threads that hash; 0: as many as there are cores.
    pub threads: usize,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// The torrent. Trackers, comment and the like are for the caller to add.
    pub metainfo: Metainfo,
    /// What was left out, and why.
    pub skipped: Vec<(PathBuf, &'static str)>,
}

/// Why a torrent can't be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Something can't be read.
    #[error("can't read {}: {}", .0.display(), .1.kind())]
    Read(PathBuf, io::Error),
    /// A file has changed while it was read.
    #[error("{} has changed while it was read; try again when nobody writes to it", .0.display())]
    Changed(PathBuf),
    /// There is nothing in it.
    #[error("{} holds no files", .0.display())]
    Empty(PathBuf),
    /// It is neither file nor folder, or too deep, or has too many files.
    #[error("{}: {}", .0.display(), .1)]
    Unfit(PathBuf, &'static str),
    /// The format can't express it.
    #[error(transparent)]
    Metainfo(#[from] MetainfoError),
    /// The user has stopped it.
    #[error("interrupted")]
    Stopped,
}

/// A file that goes into it.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    names: Vec<Vec<u8>>,
    len: u64,
    changed: (i64, i64),
    executable: bool,
}

/// Makes a torrent of the file or folder at `path`. `total` is told the bytes that there are once that is known; `meter`
/// counts those that were hashed, and stops it.
///
/// # Errors
/// If something can't be read, or changes meanwhile, or does not fit into a torrent.
pub fn create(
    path: &Path,
    options: &CreateOptions,
    meter: &Meter,
    total: impl FnOnce(u64),
) -> Result<Created, CreateError> {
    let root = path.canonicalize().map_err(|e| CreateError::Read(path.to_owned(), e))?;
    let meta = root.metadata().map_err(|e| CreateError::Read(path.to_owned(), e))?;
    let mut walk = Walk { root: root.clone(), files: Vec::new(), skipped: Vec::new(), meter };
    if meta.is_dir() {
        walk.folder(&root, &mut Vec::new(), &mut vec![root.clone()])?;
    } else if meta.is_file() {
        walk.add(root.clone(), Vec::new(), &meta)?;
    } else {
        return Err(CreateError::Unfit(root, "neither a file nor a folder"));
    }
    let Walk { files, skipped, .. } = walk;
    if files.is_empty() {
        return Err(CreateError::Empty(path.to_owned()));
    }
    let own_name = || root.file_name().map(|n| n.as_bytes().to_vec());
    let name = options.name.clone().map(String::into_bytes).or_else(own_name);
    let facts = Facts {
        name: name.ok_or(CreateError::Unfit(root, "it has no name; give one with --name"))?,
        single: meta.is_file(),
        sources: files
            .iter()
            .map(|f| Source { path: f.names.clone(), len: f.len, executable: f.executable, link: None })
            .collect(),
        format: options.format,
        piece_length: options.piece_length,
        private: options.private,
    };
    let draft = Draft::new(facts)?;
    total(draft.plan().layout.total());
    let digests = hash(&draft, &files, options.threads, meter)?;
    for file in &files {
        let now = file.path.metadata().map_err(|e| CreateError::Read(file.path.clone(), e))?;
        if (now.size(), changed(&now)) != (file.len, file.changed) {
            return Err(CreateError::Changed(file.path.clone()));
        }
    }
    Ok(Created { metainfo: draft.finish(&digests)?, skipped })
}

fn changed(meta: &Metadata) -> (i64, i64) {
    (meta.mtime(), meta.mtime_nsec())
}

struct Walk<'a> {
    root: PathBuf,
    files: Vec<Found>,
    skipped: Vec<(PathBuf, &'static str)>,
    meter: &'a Meter,
}

impl Walk<'_> {
    /// `above`: the real paths of the folders that this one is in, so that a link to one of them is noticed.
    fn folder(&mut self, path: &Path, names: &mut Vec<Vec<u8>>, above: &mut Vec<PathBuf>) -> Result<(), CreateError> {
        if names.len() >= DEPTH_MAX {
            return Err(CreateError::Unfit(path.to_owned(), "folders are nested too deeply"));
        }
        let failed = |path: &Path, e| CreateError::Read(path.to_owned(), e);
        let entries: io::Result<Vec<_>> = std::fs::read_dir(path).and_then(Iterator::collect);
        let mut entries = entries.map_err(|e| failed(path, e))?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            if self.meter.stop.load(Ordering::Relaxed) {
                return Err(CreateError::Stopped);
            }
            let path = entry.path();
            let mut real = path.clone();
            if entry.file_type().map_err(|e| failed(&path, e))?.is_symlink() {
                match path.canonicalize() {
                    Ok(target) if target.starts_with(&self.root) => real = target,
                    Ok(_) => {
                        self.skipped.push((path, "a link that leads out of the folder"));
                        continue;
                    }
                    Err(_) => {
                        self.skipped.push((path, "a link that leads nowhere"));
                        continue;
                    }
                }
            }
            let meta = real.metadata().map_err(|e| failed(&path, e))?;
            names.push(entry.file_name().as_bytes().to_vec());
            if meta.is_file() {
                self.add(path, names.clone(), &meta)?;
            } else if !meta.is_dir() {
                self.skipped.push((path, "not a regular file"));
            } else if above.contains(&real) {
                self.skipped.push((path, "a link to a folder that it is in"));
            } else {
                above.push(real);
                self.folder(&path, names, above)?;
                above.pop();
            }
            names.pop();
        }
        Ok(())
    }

    fn add(&mut self, path: PathBuf, names: Vec<Vec<u8>>, meta: &Metadata) -> Result<(), CreateError> {
        if self.files.len() >= Info::FILES_MAX {
            return Err(CreateError::Unfit(self.root.clone(), "too many files for a torrent"));
        }
        let executable = meta.permissions().mode() & 0o100 != 0;
        self.files.push(Found { path, names, len: meta.size(), changed: changed(meta), executable });
        Ok(())
    }
}

/// Hashes all pieces.
fn hash(draft: &Draft, files: &[Found], threads: usize, meter: &Meter) -> Result<Vec<PieceDigest>, CreateError> {
    let geometry = draft.plan().geometry;
    let pieces = geometry.piece_count();
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let threads = if threads == 0 { cores() } else { threads }.clamp(1, pieces.max(1) as usize);
    let at_once = lanes::at_once(pieces as usize, threads) as u32;
    let next = AtomicU32::new(0);
    let shared = Mutex::new(Ok(vec![PieceDigest::default(); pieces as usize]));
    let work = || {
        let mut hands = Hands { draft, files, open: None, meter };
        let mut bufs = Vec::new();
        let mut found = Vec::new();
        let mut failed = None;
        loop {
            let first = next.fetch_add(at_once, Ordering::Relaxed);
            let group: Vec<_> = (first..first.saturating_add(at_once)).filter_map(|i| geometry.piece(i)).collect();
            if group.is_empty() {
                break;
            }
            match hands.pieces(&group, &mut bufs) {
                Ok(digests) => found.extend(group.into_iter().zip(digests)),
                Err(e) => {
                    meter.stop.store(true, Ordering::Relaxed);
                    failed = Some(e);
                    break;
                }
            }
        }
        let shared = &mut *shared.lock().unwrap_or_else(PoisonError::into_inner);
        match (shared, failed) {
            (Ok(all), None) => found.into_iter().for_each(|(piece, digest)| all[piece.index()] = digest),
            // Who was stopped by somebody's error says so, but that error is what counts.
            (shared, Some(e)) if shared.is_ok() || !matches!(e, CreateError::Stopped) => *shared = Err(e),
            _ => {}
        }
    };
    std::thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
    shared.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// One thread that hashes.
struct Hands<'a> {
    draft: &'a Draft,
    files: &'a [Found],
    open: Option<(FileIndex, File)>,
    meter: &'a Meter,
}

impl Hands<'_> {
    /// The digests of several pieces.
    fn pieces(&mut self, group: &[PieceIndex], bufs: &mut Vec<Vec<u8>>) -> Result<Vec<PieceDigest>, CreateError> {
        let plan: &Plan = self.draft.plan();
        let hashers = lanes::hash(plan, group, bufs, |offset, buf| {
            self.fill(offset, buf)?;
            self.meter.bytes.fetch_add(buf.len() as u64, Ordering::Relaxed);
            Ok::<_, CreateError>(true)
        })?;
        Ok(hashers.into_iter().zip(group).filter_map(|(hasher, piece)| Some(hasher?.digest(plan, *piece))).collect())
    }

    /// Reads what lies at `offset` of the whole; padding is zeros.
    fn fill(&mut self, offset: u64, buf: &mut [u8]) -> Result<(), CreateError> {
        if self.meter.stop.load(Ordering::Relaxed) {
            return Err(CreateError::Stopped);
        }
        let mut rest = buf;
        for span in self.draft.plan().layout.spans(offset, rest.len() as u64) {
            let (now, later) = std::mem::take(&mut rest).split_at_mut(span.len as usize);
            rest = later;
            match self.draft.source(span.file).filter(|_| !span.pad) {
                Some(source) => self.read(span.file, &self.files[source].path, span.offset, now)?,
                None => now.fill(0),
            }
        }
        Ok(())
    }

    fn read(&mut self, file: FileIndex, path: &Path, at: u64, buf: &mut [u8]) -> Result<(), CreateError> {
        let failed = |e: io::Error| match e.kind() {
            io::ErrorKind::UnexpectedEof => CreateError::Changed(path.to_owned()),
            _ => CreateError::Read(path.to_owned(), e),
        };
        if self.open.as_ref().is_none_or(|(open, _)| *open != file) {
            self.open = Some((file, File::open(path).map_err(failed)?));
        }
        let Some((_, open)) = &self.open else { return Ok(()) };
        open.read_exact_at(buf, at).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_tree_with_oddities() {
        let dir = tempfile::tempdir().unwrap();
        let top = dir.path().join("tree");
        std::fs::create_dir_all(top.join("sub")).unwrap();
        std::fs::write(top.join("b"), vec![1; 100_000]).unwrap();
        std::fs::write(top.join("sub/empty"), "").unwrap();
        std::fs::write(top.join("sub/\u{e9} \"x\""), "y").unwrap();
        symlink("../b", top.join("sub/link")).unwrap();
        symlink("/etc/passwd", top.join("out")).unwrap();
        symlink("..", top.join("sub/up")).unwrap();
        symlink("nowhere", top.join("broken")).unwrap();
        for format in [Format::V1, Format::V2, Format::Hybrid] {
            let mut told = 0;
            let options = CreateOptions { format, threads: 2, ..Default::default() };
            let meter = Meter::default();
            let created = create(&top, &options, &meter, |n| told = n).unwrap();
            let info = &created.metainfo.info;
            assert_eq!(meter.bytes.load(Ordering::Relaxed), told);
            let mut paths: Vec<_> = info.layout.content().map(|(_, f)| (f.path.as_str(), f.len)).collect();
            paths.sort();
            assert_eq!(
                paths,
                [("tree/b", 100_000), ("tree/sub/empty", 0), ("tree/sub/link", 100_000), ("tree/sub/\u{e9} \"x\"", 1)]
            );
            let mut skipped: Vec<_> =
                created.skipped.iter().map(|(p, _)| p.strip_prefix(&top).unwrap().to_str().unwrap()).collect();
            skipped.sort();
            assert_eq!(skipped, ["broken", "out", "sub/up"]);
            let back = Metainfo::parse(&created.metainfo.encode()).unwrap();
            assert_eq!(back.info.hashes, info.hashes);
            assert!(back.plan().is_some());
        }
    }

    #[test]
    fn errors_name_the_path() {
        let dir = tempfile::tempdir().unwrap();
        let run = |path: &Path| create(path, &CreateOptions::default(), &Meter::default(), |_| {}).unwrap_err();
        assert!(run(&dir.path().join("none")).to_string().contains("none"));
        assert!(matches!(run(dir.path()), CreateError::Empty(_)));
        let file = dir.path().join("f");
        std::fs::write(&file, "x").unwrap();
        let meter = Meter::default();
        meter.stop.store(true, Ordering::Relaxed);
        assert!(matches!(create(&file, &CreateOptions::default(), &meter, |_| {}), Err(CreateError::Stopped)));
        // It shrinks between the walk and the reading.
        let grow = || std::fs::write(&file, "").unwrap();
        let result = create(&file, &CreateOptions::default(), &Meter::default(), |_| grow());
        assert!(matches!(result, Err(CreateError::Changed(path)) if path.ends_with("f")));
    }
}
