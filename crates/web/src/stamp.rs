//! What tells that a file, or the list of names in a folder, is still what it was when it was read.
//!
//! Whatever writes, replaces, truncates, renames or re-permits changes the time of the last change, which nobody can set. The kernel's clock
//! for it has steps of some milliseconds, so a second change in the same step would go unseen: a stamp counts only once it is
//! settled, that is clearly older than the moment at which it was taken. (A program that writes through a shared memory map is seen as
//! late as by every other reader of such times, and by everybody who keeps an entity tag.)

use rustix::fs::{FileType, Stat};
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Steps of the clock for times of change are far shorter, also where a file system keeps them coarsely.
const SETTLED: Duration = Duration::from_secs(3);

/// One state of a file or a folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    dev: u64,
    ino: u64,
    mode: u32,
    len: u64,
    written: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    pub(crate) fn of(metadata: &Metadata) -> Self {
        Stamp {
            dev: metadata.dev(),
            ino: metadata.ino(),
            mode: metadata.mode(),
            len: metadata.len(),
            written: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    #[allow(clippy::useless_conversion, clippy::unnecessary_cast, reason = "the widths differ between platforms")]
    pub(crate) fn of_stat(stat: &Stat) -> Self {
        Stamp {
            dev: stat.st_dev as u64,
            ino: stat.st_ino as u64,
            mode: stat.st_mode as u32,
            len: stat.st_size as u64,
            written: (stat.st_mtime as i64, stat.st_mtime_nsec as i64),
            changed: (stat.st_ctime as i64, stat.st_ctime_nsec as i64),
        }
    }

    pub(crate) fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }

    /// The last change lies so far before `now` that any further one has another time.
    pub(crate) fn is_settled(&self, now: SystemTime) -> bool {
        let Ok(now) = now.duration_since(UNIX_EPOCH) else { return false };
        let before = |(seconds, _): (i64, i64)| {
            u64::try_from(seconds).is_ok_and(|s| s.saturating_add(SETTLED.as_secs()) < now.as_secs())
        };
        before(self.changed) && before(self.written)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_tells_states_apart_and_settles() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let stamp = || Stamp::of(&std::fs::metadata(&path).unwrap());
        std::fs::write(&path, "one").unwrap();
        let one = stamp();
        assert_eq!(one, Stamp::of_stat(&rustix::fs::stat(&path).unwrap()));
        assert_eq!(one.kind(), FileType::RegularFile);
        std::fs::write(&path, "other").unwrap();
        assert_ne!(stamp(), one);
        std::fs::write(dir.path().join("b"), "other").unwrap();
        std::fs::rename(dir.path().join("b"), &path).unwrap();
        assert_ne!(stamp(), one);
        let now = SystemTime::now();
        assert!(!stamp().is_settled(now) && stamp().is_settled(now + 2 * SETTLED));
        assert!(!stamp().is_settled(UNIX_EPOCH));
    }
}
