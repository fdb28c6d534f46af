//! Opening files that somebody named by a path, where anything may be.

use rustix::fs::{Mode, OFlags};
use std::fs::File;
use std::io;
use std::path::Path;

/// Opens a regular file for reading, and says how long it is. None: it is something else; pipes and devices might wait for ever, or never
/// end.
///
/// # Errors
/// If it can't be opened.
pub fn open(path: &Path) -> io::Result<Option<(File, u64)>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file: File = rustix::fs::open(path, flags, Mode::empty())?.into();
    let metadata = file.metadata()?;
    Ok(metadata.is_file().then_some((file, metadata.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_waits_for_pipes() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        std::fs::write(at("f"), "four").unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("p"), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(open(&at("f")).unwrap().map(|(_, len)| len), Some(4));
        assert!(open(&at("p")).unwrap().is_none() && open(dir.path()).unwrap().is_none());
        assert_eq!(open(&at("none")).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
