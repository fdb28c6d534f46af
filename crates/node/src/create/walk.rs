//! What there is below a path, and how it looks.

use super::{CreateError, Found};
use base::Info;
use hash::Sha256;
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// Folders in folders; deeper ones are refused.
const DEPTH_MAX: usize = 128;

/// How files look from outside: which there are, and what tells that they changed.
#[derive(Clone, Debug)]
pub struct Look {
    /// Of each file, in the order of the torrent without its padding.
    pub files: Vec<Metadata>,
    /// The same as long as nothing was written, replaced, added or removed.
    pub fingerprint: [u8; 32],
}

/// Looks at what is at `path`, without reading any of it; `leave_hidden` as in [`super::CreateOptions`].
///
/// # Errors
/// If something can't be looked at, or does not fit into a torrent.
pub fn look(path: &Path, leave_hidden: bool, stop: &AtomicBool) -> Result<Look, CreateError> {
    Ok(Look::of(walk(path, leave_hidden, stop)?.files))
}

/// What differs between two states of a file: nobody can set the time of the last change.
pub(super) fn stamp(metadata: &Metadata) -> [u64; 7] {
    let time = |seconds: i64, nanos: i64| [seconds as u64, nanos as u64];
    let [written, changed] =
        [time(metadata.mtime(), metadata.mtime_nsec()), time(metadata.ctime(), metadata.ctime_nsec())];
    [metadata.dev(), metadata.ino(), metadata.len(), written[0], written[1], changed[0], changed[1]]
}

impl Look {
    pub(super) fn of(files: Vec<Found>) -> Self {
        let mut hasher = Sha256::new();
        for file in &files {
            hasher.update(&[file.names.len() as u8, u8::from(file.executable)]);
            for name in &file.names {
                hasher.update(&(name.len() as u32).to_be_bytes());
                hasher.update(name);
            }
            stamp(&file.metadata).iter().for_each(|n| hasher.update(&n.to_be_bytes()));
        }
        Look { files: files.into_iter().map(|f| f.metadata).collect(), fingerprint: hasher.finish() }
    }
}

/// All that is at `path`: at least one file.
pub(super) fn walk<'a>(path: &Path, leave_hidden: bool, stop: &'a AtomicBool) -> Result<Walk<'a>, CreateError> {
    let root = path.canonicalize().map_err(|e| CreateError::Read(path.to_owned(), e))?;
    let meta = root.metadata().map_err(|e| CreateError::Read(path.to_owned(), e))?;
    let mut walk =
        Walk { root: root.clone(), single: meta.is_file(), files: Vec::new(), skipped: Vec::new(), leave_hidden, stop };
    if meta.is_dir() {
        walk.folder(&root, &mut Vec::new(), &mut vec![root.clone()])?;
    } else if meta.is_file() {
        walk.add(root, Vec::new(), meta)?;
    } else {
        return Err(CreateError::Unfit(root, "neither a file nor a folder"));
    }
    if walk.files.is_empty() {
        return Err(CreateError::Empty(path.to_owned()));
    }
    Ok(walk)
}

pub(super) struct Walk<'a> {
    pub(super) root: PathBuf,
    /// It is one file rather than a folder.
    pub(super) single: bool,
    pub(super) files: Vec<Found>,
    pub(super) skipped: Vec<(PathBuf, &'static str)>,
    leave_hidden: bool,
    stop: &'a AtomicBool,
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
            if self.stop.load(Ordering::Relaxed) {
                return Err(CreateError::Stopped);
            }
            if self.leave_hidden && entry.file_name().as_bytes().starts_with(b".") {
                continue;
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
                self.add(path, names.clone(), meta)?;
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

    fn add(&mut self, path: PathBuf, names: Vec<Vec<u8>>, metadata: Metadata) -> Result<(), CreateError> {
        if self.files.len() >= Info::FILES_MAX {
            return Err(CreateError::Unfit(self.root.clone(), "too many files for a torrent"));
        }
        let executable = metadata.permissions().mode() & 0o100 != 0;
        self.files.push(Found { path, names, metadata, executable });
        Ok(())
    }
}
