//! Open files, shared by all torrents of a node: 5,000 torrents must not need 5,000 descriptors.
//!
//! A file that was not used for longest is closed when the limit is reached. Who uses it at that moment keeps it open
//! until done: the cache holds references, not the files themselves.

use super::beneath::Access;
use rustix::fs::fstatfs;
use std::collections::HashMap;
use std::fs::File;
use std::sync::{Arc, Mutex, PoisonError};

/// Which file: of which storage, and its index there.
pub(crate) type FileKey = (u64, u32);

/// Magic number of tmpfs (statfs(2)): its files are always in memory.
const TMPFS_MAGIC: u64 = 0x0102_1994;

/// A file that is open.
#[derive(Debug)]
pub(crate) struct OpenFile {
    /// The file itself.
    pub(crate) file: File,
    /// It lives in memory: reading it never waits.
    pub(crate) in_memory: bool,
}

impl OpenFile {
    pub(crate) fn new(file: File) -> Self {
        let in_memory = fstatfs(&file).is_ok_and(|s| u64::try_from(s.f_type) == Ok(TMPFS_MAGIC));
        OpenFile { file, in_memory }
    }
}

/// The open files of a node.
#[derive(Debug)]
pub struct FileCache {
    inner: Mutex<Inner>,
    max: usize,
}

#[derive(Debug, Default)]
struct Inner {
    open: HashMap<FileKey, Entry>,
    uses: u64,
}

#[derive(Debug)]
struct Entry {
    file: Arc<OpenFile>,
    access: Access,
    used: u64,
}

impl FileCache {
    /// Keeps at most `max` files open.
    pub fn new(max: usize) -> Self {
        FileCache { inner: Mutex::default(), max: max.max(1) }
    }

    /// The file, opened with `open` if it is not open yet for this access.
    pub(crate) fn get<E>(
        &self,
        key: FileKey,
        access: Access,
        open: impl FnOnce() -> Result<File, E>,
    ) -> Result<Arc<OpenFile>, E> {
        {
            let inner = &mut *self.lock();
            inner.uses += 1;
            if let Some(entry) = inner.open.get_mut(&key).filter(|e| e.access >= access) {
                entry.used = inner.uses;
                return Ok(entry.file.clone());
            }
        }
        // Opened without the lock: it may take long on a network file system.
        let file = Arc::new(OpenFile::new(open()?));
        let inner = &mut *self.lock();
        inner.open.insert(key, Entry { file: file.clone(), access, used: inner.uses });
        if inner.open.len() > self.max
            && let Some(oldest) = inner.open.iter().min_by_key(|(_, e)| e.used).map(|(k, _)| *k)
        {
            inner.open.remove(&oldest);
        }
        Ok(file)
    }

    /// Closes all files of one storage.
    pub(crate) fn close(&self, storage: u64) {
        self.lock().open.retain(|(s, _), _| *s != storage);
    }

    /// Files open now.
    pub fn len(&self) -> usize {
        self.lock().open.len()
    }

    /// True if none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing can panic half-way through a change, so the content is whole in any case.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_one_not_used_for_longest_is_closed() {
        let cache = FileCache::new(2);
        let open = || tempfile::tempfile();
        let first = cache.get((1, 0), Access::Read, open).unwrap();
        cache.get((1, 1), Access::Read, open).unwrap();
        assert!(Arc::ptr_eq(&first, &cache.get((1, 0), Access::Read, open).unwrap()));
        cache.get((2, 0), Access::Read, open).unwrap();
        assert_eq!(cache.len(), 2);
        assert!(Arc::ptr_eq(&first, &cache.get((1, 0), Access::Read, open).unwrap()), "used lately");
        let writable = cache.get((1, 0), Access::Write, open).unwrap();
        assert!(!Arc::ptr_eq(&first, &writable), "opened again for writing");
        assert!(Arc::ptr_eq(&writable, &cache.get((1, 0), Access::Read, open).unwrap()));
        cache.close(1);
        assert_eq!(cache.len(), 1);
    }
}
