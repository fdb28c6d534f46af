//! Parts in folders here: files that are there whole or not at all.

use super::Trouble;
use crate::disk::plain;
use crate::entropy;
use base::Hex;
use bytes::Bytes;
use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

/// Opens a regular file, and says how long it is.
pub(super) fn open(path: &Path) -> Result<(File, u64), Trouble> {
    let opened = plain::open(path).map_err(|e| trouble(&e))?;
    opened.ok_or_else(|| Trouble::Other("it is no regular file".into()))
}

/// Up to `len` bytes at `offset`.
pub(super) fn read(file: &File, offset: u64, len: u64) -> Result<Bytes, Trouble> {
    let mut buf = vec![0; usize::try_from(len).map_err(|_| Trouble::Other("too long".into()))?];
    let mut at = 0;
    while at < buf.len() {
        match file.read_at(&mut buf[at..], offset + at as u64) {
            Ok(0) => break,
            Ok(n) => at += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(trouble(&e)),
        }
    }
    buf.truncate(at);
    Ok(buf.into())
}

/// What an error of the system means for a part.
fn trouble(error: &io::Error) -> Trouble {
    match error.kind() {
        io::ErrorKind::NotFound => Trouble::Missing,
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            Trouble::Refused(format!("{error}; make room there"))
        }
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => Trouble::Refused(error.to_string()),
        // A disk that fails, or a network file system that is gone.
        _ => Trouble::Unreachable(error.to_string()),
    }
}

/// A file on its way into a folder. Unless it gets its name, it is removed.
#[derive(Debug)]
pub(super) struct Draft {
    path: PathBuf,
    temporary: PathBuf,
    file: Option<File>,
}

impl Draft {
    /// Begins what will be at `path`.
    pub(super) fn new(path: &Path) -> Result<Self, Trouble> {
        let mut draw = [0; 6];
        entropy::rng().map_err(|e| trouble(&e))?.fill(&mut draw);
        // Its own name may be as long as names can be.
        let temporary = path.with_file_name(format!(".shoal-split-{}.part", Hex(&draw)));
        let file = File::options().write(true).create_new(true).open(&temporary);
        let file = file.map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Trouble::Refused("there is no such folder".into()),
            _ => trouble(&e),
        })?;
        Ok(Draft { path: path.to_owned(), temporary, file: Some(file) })
    }

    /// Writes what comes next.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.file.as_mut().map_or(Ok(()), |file| file.write_all(bytes)).map_err(|e| trouble(&e))
    }

    /// Gives it its name, once all of it is on the disk.
    pub(super) fn finish(mut self) -> Result<(), Trouble> {
        let done = |file: File| {
            file.sync_all()?;
            std::fs::rename(&self.temporary, &self.path)?;
            let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder)?.sync_all()
        };
        let Some(file) = self.file.take() else { return Ok(()) };
        let result = done(file);
        if result.is_err() {
            // Nobody looks for it under this name; what can't be removed does no harm.
            let _ = std::fs::remove_file(&self.temporary);
        }
        result.map_err(|e| trouble(&e))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}

/// Writes a small file, whole or not at all, over what is there.
///
/// # Errors
/// If that fails; what was there before is there still.
pub(super) fn write(path: &Path, bytes: &[u8]) -> Result<(), Trouble> {
    let mut draft = Draft::new(path)?;
    draft.write(bytes)?;
    draft.finish()
}
