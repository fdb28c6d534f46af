//! Opens files below a folder and nowhere else: paths come from strangers, and links may lie in wait.
//!
//! The kernel resolves the path (openat2 with RESOLVE_BENEATH), so that a link that is exchanged while we look can't
//! lead out either. Links that stay inside are followed: people have them in folders that they share. Where the kernel
//! does not know openat2, no link is followed at all.

use rustix::fs::{self, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// For reading; it must be there.
    Read,
    /// For reading and writing; it and the folders above it are made if they are not there.
    Write,
}

/// Opens `path` below `root`. `executable` counts for a file that is made.
pub(crate) fn open(root: &Path, path: &Path, access: Access, executable: bool) -> Result<File, Errno> {
    let root = folder(root)?;
    let mode = Mode::from_raw_mode(if executable { 0o777 } else { 0o666 });
    match access {
        Access::Read => resolve(&root, path, OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty()).and_then(regular),
        Access::Write => {
            let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NONBLOCK;
            match resolve(&root, path, flags, mode) {
                Err(Errno::NOENT) => {
                    make_folders(&root, path.parent().unwrap_or(Path::new("")))?;
                    resolve(&root, path, flags, mode).and_then(regular)
                }
                other => other.and_then(regular),
            }
        }
    }
}

/// Makes the folder `path` below `root`, and those above it.
pub(crate) fn make_folder(root: &Path, path: &Path) -> Result<(), Errno> {
    make_folders(&folder(root)?, path)
}

/// Makes a link at `path` below `root` to `target`, which the caller has checked. What is there stays.
pub(crate) fn make_link(root: &Path, path: &Path, target: &Path) -> Result<(), Errno> {
    let root = folder(root)?;
    let parent = path.parent().unwrap_or(Path::new(""));
    make_folders(&root, parent)?;
    let name = path.file_name().ok_or(Errno::INVAL)?;
    match fs::symlinkat(target, step(&root, parent)?, name) {
        Err(Errno::EXIST) => Ok(()),
        other => other,
    }
}

fn folder(path: &Path) -> Result<OwnedFd, Errno> {
    fs::openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Pipes, sockets and devices are not content: opening one must not hang, and reading one never ends.
fn regular(fd: OwnedFd) -> Result<File, Errno> {
    let kind = fs::FileType::from_raw_mode(fs::fstat(&fd)?.st_mode);
    match kind {
        fs::FileType::RegularFile => Ok(File::from(fd)),
        fs::FileType::Directory => Err(Errno::ISDIR),
        _ => Err(Errno::INVAL),
    }
}

fn make_folders(root: &OwnedFd, path: &Path) -> Result<(), Errno> {
    let mut done = std::path::PathBuf::new();
    for name in parts(path)? {
        match fs::mkdirat(step(root, &done)?, name, Mode::from_raw_mode(0o777)) {
            Ok(()) | Err(Errno::EXIST) => done.push(name),
            Err(e) => return Err(e),
        }
    }
    Ok(())
}

/// Opens the folder `path` below `root`, to do something in it.
fn step(root: &OwnedFd, path: &Path) -> Result<OwnedFd, Errno> {
    if path.as_os_str().is_empty() {
        return root.as_fd().try_clone_to_owned().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::MFILE));
    }
    resolve(root, path, OFlags::PATH | OFlags::DIRECTORY, Mode::empty())
}

fn resolve(root: &OwnedFd, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlags::CLOEXEC;
    match fs::openat2(root, path, flags, mode, ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS) {
        Err(Errno::NOSYS | Errno::PERM) => walk(root, path, flags, mode),
        other => other,
    }
}

/// For kernels without openat2: one name after the other, no link among them.
fn walk(root: &OwnedFd, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
    let names = parts(path)?;
    let (last, folders) = names.split_last().ok_or(Errno::INVAL)?;
    let mut at = step(root, Path::new(""))?;
    for name in folders {
        at = fs::openat(
            &at,
            *name,
            OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
    }
    fs::openat(&at, *last, flags | OFlags::NOFOLLOW, mode)
}

/// The names in a path; nothing but plain names is accepted.
fn parts(path: &Path) -> Result<Vec<&OsStr>, Errno> {
    path.components().map(|c| if let Component::Normal(name) = c { Ok(name) } else { Err(Errno::INVAL) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn never_leaves_the_folder() {
        let dir = tempfile::tempdir().unwrap();
        let (inside, outside) = (dir.path().join("in"), dir.path().join("out"));
        std::fs::create_dir(&inside).unwrap();
        std::fs::create_dir(&outside).unwrap();
        std::fs::write(outside.join("secret"), "s").unwrap();
        symlink(&outside, inside.join("escape")).unwrap();
        symlink("../out/secret", inside.join("file")).unwrap();
        for path in ["escape/secret", "escape/new", "file", "../out/secret", "a/../../out/secret"] {
            assert!(open(&inside, Path::new(path), Access::Write, false).is_err(), "{path}");
            assert!(open(&inside, Path::new(path), Access::Read, false).is_err(), "{path}");
        }
        assert!(make_folder(&inside, Path::new("escape/folder")).is_err());
        assert!(!outside.join("new").exists() && !outside.join("folder").exists());
        assert_eq!(std::fs::read(outside.join("secret")).unwrap(), b"s");
        let root = folder(&inside).unwrap();
        assert!(walk(&root, Path::new("escape/secret"), OFlags::RDONLY, Mode::empty()).is_err());
        assert!(walk(&root, Path::new("file"), OFlags::RDONLY, Mode::empty()).is_err());
    }

    #[test]
    fn follows_links_that_stay_inside() {
        let dir = tempfile::tempdir().unwrap();
        open(dir.path(), Path::new("a/b/c"), Access::Write, false).unwrap();
        make_link(dir.path(), Path::new("d/link"), Path::new("../a/b/c")).unwrap();
        assert!(open(dir.path(), Path::new("d/link"), Access::Read, false).is_ok());
        std::fs::remove_file(dir.path().join("a/b/c")).unwrap();
        assert_eq!(open(dir.path(), Path::new("a/b/c"), Access::Read, false).unwrap_err(), Errno::NOENT);
    }

    #[test]
    fn only_regular_files() {
        let dir = tempfile::tempdir().unwrap();
        fs::mkfifoat(CWD, dir.path().join("pipe"), Mode::from_raw_mode(0o600)).unwrap();
        assert!(open(dir.path(), Path::new("pipe"), Access::Read, false).is_err());
        std::fs::create_dir(dir.path().join("folder")).unwrap();
        assert!(open(dir.path(), Path::new("folder"), Access::Read, false).is_err());
    }
}
