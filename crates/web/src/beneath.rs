//! Opens files beneath a folder: nothing that happens to the folder meanwhile leads out of it.

use crate::stamp::Stamp;
use rustix::fd::{AsFd, OwnedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use std::ffi::CStr;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// How often a file is looked for whose folders are renamed meanwhile: the kernel gives up rather than be led out.
#[cfg(target_os = "linux")]
const TRIES_MAX: usize = 16;

/// A folder from which nothing but what lies in it is opened.
#[derive(Debug)]
pub(crate) struct Root {
    path: PathBuf,
    folder: OwnedFd,
    /// Symbolic links may lead out of it.
    loose: bool,
}

impl Root {
    /// The folder `path`. Blocking.
    pub(crate) fn new(path: &Path) -> io::Result<Self> {
        let folder = openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Root { path: path.to_owned(), folder, loose: false })
    }

    /// The same, where symbolic links may lead anywhere.
    pub(crate) fn loose(path: &Path) -> io::Result<Self> {
        Ok(Root { loose: true, ..Root::new(path)? })
    }

    /// The folder itself, to walk on from.
    pub(crate) fn folder(&self) -> io::Result<OwnedFd> {
        Ok(openat(&self.folder, ".", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// Opens the folder that is called `name` in one that was come to by these ways.
    pub(crate) fn step(&self, folder: &OwnedFd, name: &[u8]) -> Result<OwnedFd, Errno> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match self.loose {
            true => openat(folder, name, flags, Mode::empty()),
            // No symbolic link is needed on the way to what is written.
            false => openat(folder, name, flags | OFlags::NOFOLLOW, Mode::empty()),
        }
    }

    /// What is called `path`, relative and not through a link at its end. Folders on the way are the caller's to judge.
    pub(crate) fn stat(&self, path: &CStr) -> Result<Stamp, Errno> {
        rustix::fs::statat(&self.folder, path, AtFlags::SYMLINK_NOFOLLOW).map(|stat| Stamp::of_stat(&stat))
    }

    /// Opens the file or folder `path`, which must not be empty and must be relative, for reading.
    pub(crate) fn open(&self, path: &Path) -> io::Result<File> {
        // Without NONBLOCK, opening a pipe would wait for a writer.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        if self.loose {
            return Ok(openat(&self.folder, path, flags, Mode::empty())?.into());
        }
        beneath(self.folder.as_fd(), &self.path, path, flags)
    }
}

/// Opens a regular file for reading as [`open_file`] does, where what is shared lies beneath `fence`: no symbolic link leads out of that.
pub(crate) fn open_fenced(fence: &Path, root: &Path, path: &Path) -> io::Result<File> {
    let below = root.strip_prefix(fence).map_err(|_| io::Error::from(io::ErrorKind::PermissionDenied))?;
    let below = if path.as_os_str().is_empty() { below.to_owned() } else { below.join(path) };
    open_file(fence, &below)
}

/// Opens a regular file for reading that lies beneath `root` also when symbolic links are followed; `root` itself where
/// `path` is empty.
pub(crate) fn open_file(root: &Path, path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file: File = match path.as_os_str().is_empty() {
        true => openat(CWD, root, flags, Mode::empty())?.into(),
        false => Root::new(root)?.open(path)?,
    };
    match file.metadata()?.is_file() {
        true => Ok(file),
        false => Err(io::Error::other("it is no regular file any more")),
    }
}

#[cfg(target_os = "linux")]
fn beneath(folder: rustix::fd::BorrowedFd<'_>, root: &Path, path: &Path, flags: OFlags) -> io::Result<File> {
    use rustix::fs::{ResolveFlags, openat2};
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
    let open = || openat2(folder, path, flags, Mode::empty(), resolve);
    let mut tries = std::iter::repeat_with(open).take(TRIES_MAX);
    let last = Err(rustix::io::Errno::AGAIN);
    match tries.find(|opened| !matches!(opened, Err(rustix::io::Errno::AGAIN))).unwrap_or(last) {
        Ok(file) => Ok(file.into()),
        // A kernel before 5.6, or a sandbox that doesn't know the call.
        Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => canonical(root, path, flags),
        Err(e) => Err(e.into()),
    }
}

#[cfg(not(target_os = "linux"))]
fn beneath(_: rustix::fd::BorrowedFd<'_>, root: &Path, path: &Path, flags: OFlags) -> io::Result<File> {
    canonical(root, path, flags)
}

/// The same as far as it can be had without the kernel's help: a link that is changed in between is not noticed.
fn canonical(root: &Path, path: &Path, flags: OFlags) -> io::Result<File> {
    let (root, full) = (root.canonicalize()?, root.join(path).canonicalize()?);
    match full.starts_with(root) {
        true => Ok(openat(CWD, full, flags, Mode::empty())?.into()),
        false => Err(io::Error::new(io::ErrorKind::PermissionDenied, "it lies outside the folder")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whoever looks for `a/../../b/x` while other folders are renamed is told to try again by the kernel.
    #[test]
    fn a_file_is_found_while_folders_are_renamed() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("root/sub")).unwrap();
        std::fs::write(dir.path().join("root/a"), "a").unwrap();
        std::os::unix::fs::symlink("../a", dir.path().join("root/sub/up")).unwrap();
        let root = Root::new(&dir.path().join("root")).unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        std::fs::create_dir(&one).unwrap();
        let done = std::sync::atomic::AtomicBool::new(false);
        let is_done = || done.load(std::sync::atomic::Ordering::Relaxed);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_done() {
                    std::fs::rename(&one, &other).unwrap();
                    std::fs::rename(&other, &one).unwrap();
                }
            });
            let failed = (0..20_000).find_map(|_| root.open(Path::new("sub/up")).err());
            done.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(failed.is_none(), "{failed:?}");
        });
    }

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
        let open = |path: &str| open_file(&root, Path::new(path)).is_ok();
        let old = |path: &str| canonical(&root, Path::new(path), OFlags::RDONLY).is_ok();
        for path in ["sub/a", "inside", "sub/../inside"] {
            assert!(open(path) && old(path), "{path}");
        }
        for path in ["outside", "absolute/hostname", "../secret", "/etc/hostname", "missing"] {
            assert!(!open(path) && !old(path), "{path}");
        }
        let fenced = |name: &str, path: &str| open_fenced(&root, &root.join(name), Path::new(path)).is_ok();
        assert!(fenced("sub", "a") && fenced("sub/a", "") && fenced("inside", ""));
        assert!(!fenced("outside", "") && !fenced("absolute", "hostname") && !fenced("sub", "../../secret"));
        assert!(open_fenced(&root.join("sub"), &root.join("inside"), Path::new("")).is_err(), "it lies elsewhere");
        assert!(!open("sub"), "a folder is no file");
        assert!(Root::loose(&root).unwrap().open(Path::new("outside")).is_ok());
        assert!(Root::new(&root).unwrap().open(Path::new("sub")).is_ok());
    }
}
