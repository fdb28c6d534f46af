//! Small files that are asked for again and again, in memory.
//!
//! Nothing old is served from here. Before every answer the kernel is asked about each name on the path, from the folder that is served down to the
//! file: all must be what they were (`Stamp`), and none may be a symbolic link. The folder around the file must not have
//! changed either, so that no better form (`a.css.gz`), no index page and no other file of that name has come. What was kept had been
//! unchanged from before it was opened until after it was read, and for long enough before that no later change can look the same.
//! That is one call for each name, where opening, reading and closing took eight.

use super::encoding::{Accepted, CODINGS, Coding};
use super::{SMALL, newer, present, version};
use crate::answer::{Facts, kind};
use crate::beneath::Root;
use crate::body::Source;
use crate::conditions;
use crate::stamp::Stamp;
use axum::body::{Body, Bytes};
use axum::http::HeaderMap;
use axum::response::Response;
use rustix::fs::FileType;
use rustix::io::Errno;
use std::collections::hash_map::RandomState;
use std::collections::{HashMap, VecDeque};
use std::ffi::CString;
use std::fs::Metadata;
use std::hash::BuildHasher as _;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::SystemTime;

/// Bytes of files that are kept, and how many paths lead to some.
const BYTES_MAX: usize = 32 << 20;
const PATHS_MAX: usize = 4096;
/// What is counted for a path beside the bytes of its file.
const PATH_BYTES: usize = 1024;
/// Longer paths, and deeper ones, are not kept.
const PATH_MAX: usize = 512;
const DEPTH_MAX: usize = 16;
/// Paths that were asked for once; what is asked for twice is kept.
const ONCE_MAX: usize = 4096;

/// The files.
#[derive(Debug)]
pub(super) struct Hot {
    shelf: RwLock<Shelf>,
    once: Box<[AtomicU64]>,
    hasher: RandomState,
}

#[derive(Debug, Default)]
struct Shelf {
    paths: HashMap<Arc<str>, Arc<Entry>>,
    /// The next to go is in front.
    order: VecDeque<Arc<Entry>>,
    bytes: usize,
}

/// What a path leads to.
#[derive(Debug)]
struct Entry {
    path: Arc<str>,
    /// All names on the way, from the folder down, with what they were.
    names: Vec<(CString, Stamp)>,
    plain: Kept,
    forms: Vec<(&'static Coding, Kept)>,
    /// Asked for since it was looked at last.
    used: AtomicBool,
}

/// One form of a file.
#[derive(Debug)]
struct Kept {
    facts: Facts,
    bytes: Bytes,
    /// What is said of it where no condition is made.
    headers: HeaderMap,
}

impl Hot {
    pub(super) fn new() -> Self {
        let once = std::iter::repeat_with(AtomicU64::default).take(ONCE_MAX).collect();
        Hot { shelf: RwLock::default(), once, hasher: RandomState::new() }
    }

    /// Answers with what is kept for the path of a URL, if it is still what lies there.
    pub(super) fn answer(&self, root: &Root, path: &str, headers: &HeaderMap) -> Option<Response> {
        let entry = self.shelf.read().unwrap_or_else(PoisonError::into_inner).paths.get(path)?.clone();
        if !entry.is_true(root) {
            self.forget(&entry);
            return None;
        }
        entry.used.store(true, Ordering::Relaxed);
        let accepted = Accepted::of(headers);
        let form = entry.forms.iter().find(|(coding, _)| accepted.allows(coding));
        let (coding, kept) = form.map_or((None, &entry.plain), |(coding, kept)| (Some(*coding), kept));
        if conditions::are_made(headers) {
            let varies = !entry.forms.is_empty();
            return Some(present(headers, varies, coding, &kept.facts, Source::Memory(kept.bytes.clone())));
        }
        let mut response = Response::new(Body::from(kept.bytes.clone()));
        *response.headers_mut() = kept.headers.clone();
        Some(response)
    }

    /// Was a path asked for before? The next time it was.
    pub(super) fn is_wanted(&self, path: &str) -> bool {
        // Zero is what nobody has asked for.
        let hash = self.hasher.hash_one(path) | 1;
        path.len() <= PATH_MAX && self.once[hash as usize / 2 % ONCE_MAX].swap(hash, Ordering::Relaxed) == hash
    }

    /// Keeps what the path of a URL leads to, a file of the folder. What changes, or has changed a moment ago, is not kept.
    pub(super) fn keep(&self, root: &Root, path: &str, file: &Path, now: SystemTime) {
        if let Some(entry) = Entry::new(root, path, file, now) {
            self.shelf.write().unwrap_or_else(PoisonError::into_inner).put(Arc::new(entry));
        }
    }

    fn forget(&self, entry: &Arc<Entry>) {
        self.shelf.write().unwrap_or_else(PoisonError::into_inner).remove(entry);
    }
}

impl Shelf {
    fn put(&mut self, entry: Arc<Entry>) {
        if let Some(before) = self.paths.get(&entry.path).cloned() {
            self.remove(&before);
        }
        self.bytes += entry.bytes();
        self.paths.insert(entry.path.clone(), entry.clone());
        self.order.push_back(entry);
        while self.bytes > BYTES_MAX || self.paths.len() > PATHS_MAX {
            let Some(first) = self.order.pop_front() else { return };
            // Who was asked for gets another round.
            match first.used.swap(false, Ordering::Relaxed) {
                true => self.order.push_back(first),
                false => {
                    self.bytes -= first.bytes();
                    self.paths.remove(&first.path);
                }
            }
        }
    }

    fn remove(&mut self, entry: &Arc<Entry>) {
        // Another request may have found out, too, and may even have put a new one there.
        if let Some(at) = self.order.iter().position(|other| Arc::ptr_eq(other, entry)) {
            self.order.remove(at);
            self.bytes -= entry.bytes();
            self.paths.remove(&entry.path);
        }
    }
}

impl Entry {
    /// Reads all forms of a file, between two looks at all names on the way. None: it can't be kept.
    fn new(root: &Root, path: &str, file: &Path, now: SystemTime) -> Option<Self> {
        let names = names(root, file, now)?;
        let (plain, about) = read(root, file)?;
        let mut forms = Vec::new();
        for coding in CODINGS {
            let form = coding.beside(file);
            if !names.iter().any(|(name, _)| name.as_bytes() == form.as_os_str().as_bytes()) {
                continue;
            }
            let (bytes, metadata) = read(root, &form)?;
            if newer(&metadata, &about) {
                forms.push((coding, bytes, metadata));
            }
        }
        let varies = !forms.is_empty();
        let kind = kind(&file.to_string_lossy());
        let kept = |bytes: Bytes, metadata: &Metadata, coding| {
            let facts = Facts { version: version(metadata), kind: kind.clone(), len: bytes.len() as u64 };
            let whole = present(&HeaderMap::new(), varies, coding, &facts, Source::Memory(bytes.clone()));
            Kept { headers: whole.headers().clone(), facts, bytes }
        };
        let entry = Entry {
            path: path.into(),
            plain: kept(plain, &about, None),
            forms: forms.into_iter().map(|(coding, bytes, m)| (coding, kept(bytes, &m, Some(coding)))).collect(),
            names,
            used: AtomicBool::new(false),
        };
        entry.is_true(root).then_some(entry)
    }

    /// All names on the way are what they were.
    fn is_true(&self, root: &Root) -> bool {
        self.names.iter().all(|(name, stamp)| root.stat(name).is_ok_and(|now| now == *stamp))
    }

    fn bytes(&self) -> usize {
        let forms: usize = self.forms.iter().map(|(_, kept)| kept.bytes.len()).sum();
        self.plain.bytes.len() + forms + PATH_BYTES
    }
}

/// What lies on the way to a file: folders, the file, and the forms that lie beside it. None: something there is no plain file or
/// folder, or its next change might not show.
fn names(root: &Root, file: &Path, now: SystemTime) -> Option<Vec<(CString, Stamp)>> {
    let mut names = Vec::new();
    let mut add = |path: &Path, kind| {
        let name = CString::new(path.as_os_str().as_bytes()).ok()?;
        let stamp = root.stat(&name).ok().filter(|s| s.kind() == kind && s.is_settled(now))?;
        names.push((name, stamp));
        Some(())
    };
    let folder = file.parent()?;
    if folder.as_os_str().is_empty() {
        add(Path::new("."), FileType::Directory)?;
    } else {
        // What else lies in the folder that is served may change: it can't be moved away beneath itself.
        let above: Vec<&Path> = folder.ancestors().filter(|p| !p.as_os_str().is_empty()).collect();
        if above.len() > DEPTH_MAX {
            return None;
        }
        above.iter().rev().try_for_each(|path| add(path, FileType::Directory))?;
    }
    add(file, FileType::RegularFile)?;
    for coding in CODINGS {
        let form = coding.beside(file);
        match root.stat(&CString::new(form.as_os_str().as_bytes()).ok()?) {
            Ok(_) => add(&form, FileType::RegularFile)?,
            // Should one come, the folder will tell.
            Err(Errno::NOENT) => {}
            Err(_) => return None,
        }
    }
    Some(names)
}

fn read(root: &Root, path: &Path) -> Option<(Bytes, Metadata)> {
    let file = root.open(path).ok()?;
    let metadata = file.metadata().ok().filter(|m| m.is_file() && m.len() <= SMALL)?;
    let mut bytes = Vec::with_capacity(metadata.len() as usize);
    file.take(SMALL + 1).read_to_end(&mut bytes).ok()?;
    (bytes.len() as u64 == metadata.len()).then(|| (bytes.into(), metadata))
}

#[cfg(test)]
mod tests;
