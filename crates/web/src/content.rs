//! The bytes of shared files, read while they are sent.
//!
//! A file is opened beneath its folder, so that nothing that happens to the folder meanwhile leads out of it, and it is
//! looked at again for every chunk: what changed since it was hashed is not sent under its old name. A response that
//! meets such a file in the middle breaks off, which every client notices.

use crate::item::Item;
use crate::tar;
use axum::body::{Body, Bytes};
use futures_util::stream;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// Bytes read from disk at once, by a thread that may block.
const CHUNK: u64 = 512 << 10;

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// One file.
    File(usize),
    /// All of them, as a tar stream.
    Tar,
}

/// Why a file can't be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    /// It is gone, or can't be read.
    #[error("can't read it: {0}")]
    Read(#[from] io::Error),
    /// It is another file now.
    #[error("it has changed on disk since it was shared; whoever shares it must share it again")]
    Changed,
}

/// The bytes of one response.
#[derive(Debug)]
pub(crate) struct Reader {
    item: Arc<Item>,
    content: Content,
    left: Range<u64>,
    open: Option<(usize, File)>,
}

impl Reader {
    /// Opens the file, or looks at all of them: blocking.
    pub(crate) fn open(item: Arc<Item>, content: Content) -> Result<Self, ContentError> {
        let mut reader = Reader { item, content, left: 0..0, open: None };
        match content {
            Content::File(file) => reader.file(file).map(drop)?,
            Content::Tar => reader.look_at_all()?,
        }
        Ok(reader)
    }

    /// The bytes `range` as the body of a response.
    pub(crate) fn into_body(mut self, range: Range<u64>) -> Body {
        self.left = range;
        Body::from_stream(stream::unfold(Some(self), |reader| async {
            let reader = reader.filter(|r| !r.left.is_empty())?;
            let read = tokio::task::spawn_blocking(move || {
                let mut reader = reader;
                let chunk = reader.next();
                (reader, chunk)
            });
            Some(match read.await {
                Ok((reader, Ok(chunk))) => (Ok(chunk), Some(reader)),
                Ok((reader, Err(error))) => {
                    tracing::warn!("{}: {error}", reader.item.name);
                    (Err(error), None)
                }
                Err(stopped) => (Err(ContentError::Read(io::Error::other(stopped))), None),
            })
        }))
    }

    /// The next bytes, at least one.
    fn next(&mut self) -> Result<Bytes, ContentError> {
        let mut chunk = Vec::new();
        let want = (self.left.end - self.left.start).min(CHUNK);
        while (chunk.len() as u64) < want {
            let max = want - chunk.len() as u64;
            let before = chunk.len();
            match self.part(max) {
                tar::Part::Bytes(bytes) => chunk.extend(bytes),
                tar::Part::File { file, range } => {
                    chunk.resize(before + (range.end - range.start) as usize, 0);
                    self.file(file)?.read_exact_at(&mut chunk[before..], range.start).map_err(|e| match e.kind() {
                        io::ErrorKind::UnexpectedEof => ContentError::Changed,
                        _ => ContentError::Read(e),
                    })?;
                }
            }
            self.left.start += (chunk.len() - before) as u64;
        }
        // Once more: what was just read may have been written meanwhile.
        if let Some((file, open)) = &self.open
            && !self.item.files[*file].is_unchanged(&open.metadata()?)
        {
            return Err(ContentError::Changed);
        }
        Ok(Bytes::from(chunk))
    }

    fn part(&self, max: u64) -> tar::Part {
        match self.content {
            Content::File(file) => tar::Part::File { file, range: self.left.start..self.left.start + max },
            Content::Tar => self.item.tar.part(self.left.start, max),
        }
    }

    /// The file, open and unchanged.
    fn file(&mut self, index: usize) -> Result<&File, ContentError> {
        let entry = &self.item.files[index];
        if self.open.as_ref().is_none_or(|(open, _)| *open != index) {
            self.open = Some((index, open_beneath(&self.item.root, &entry.disk)?));
        }
        match &self.open {
            Some((_, file)) if entry.is_unchanged(&file.metadata()?) => Ok(file),
            _ => Err(ContentError::Changed),
        }
    }

    /// Before a stream of many files begins: it should not break off for what is known now.
    fn look_at_all(&self) -> Result<(), ContentError> {
        for file in &self.item.files {
            let full =
                if file.disk.as_os_str().is_empty() { self.item.root.clone() } else { self.item.root.join(&file.disk) };
            if !file.is_unchanged(&std::fs::metadata(full)?) {
                return Err(ContentError::Changed);
            }
        }
        Ok(())
    }
}

/// Opens a regular file for reading that lies beneath `root` also when symbolic links are followed; `root` itself where
/// `path` is empty.
fn open_beneath(root: &Path, path: &Path) -> io::Result<File> {
    use rustix::fs::{CWD, Mode, OFlags, openat};
    // Without NONBLOCK, opening what has become a pipe would wait for a writer.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file: File = if path.as_os_str().is_empty() {
        openat(CWD, root, flags, Mode::empty())?.into()
    } else {
        let folder = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        beneath(&folder, root, path, flags)?
    };
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file any more")),
    }
}

#[cfg(target_os = "linux")]
fn beneath(folder: &rustix::fd::OwnedFd, root: &Path, path: &Path, flags: rustix::fs::OFlags) -> io::Result<File> {
    use rustix::fs::{Mode, ResolveFlags, openat2};
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    match openat2(folder, path, flags, Mode::empty(), resolve) {
        Ok(file) => Ok(file.into()),
        // A kernel before 5.6, or a sandbox that doesn't know the call.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => canonical(root, path, flags),
        Err(e) => Err(e.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn beneath(_: &rustix::fd::OwnedFd, root: &Path, path: &Path, flags: rustix::fs::OFlags) -> io::Result<File> {
    canonical(root, path, flags)
}

/// The same as far as it can be had without the kernel's help: a link that is changed in between is not noticed.
fn canonical(root: &Path, path: &Path, flags: rustix::fs::OFlags) -> io::Result<File> {
    let (root, full) = (root.canonicalize()?, root.join(path).canonicalize()?);
    match full.starts_with(root) {
        true => Ok(rustix::fs::openat(rustix::fs::CWD, full, flags, rustix::fs::Mode::empty())?.into()),
        false => Err(io::Error::new(io::ErrorKind::PermissionDenied, "it lies outside the shared folder")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        std::fs::create_dir_all(root.join("sub")).unwrap();
        std::fs::write(dir.path().join("secret"), "x").unwrap();
        std::fs::write(root.join("sub/a"), "a").unwrap();
        std::os::unix::fs::symlink("sub/a", root.join("inside")).unwrap();
        std::os::unix::fs::symlink("../secret", root.join("outside")).unwrap();
        std::os::unix::fs::symlink("/etc", root.join("absolute")).unwrap();
        let open = |path: &str| open_beneath(&root, Path::new(path)).is_ok();
        let old = |path: &str| canonical(&root, Path::new(path), rustix::fs::OFlags::RDONLY).is_ok();
        for path in ["sub/a", "inside", "sub/../inside"] {
            assert!(open(path) && old(path), "{path}");
        }
        for path in ["outside", "absolute/hostname", "../secret", "/etc/hostname", "missing"] {
            assert!(!open(path) && !old(path), "{path}");
        }
        assert!(!open("sub"), "a folder is no file");
    }
}
