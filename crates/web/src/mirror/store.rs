//! The copies on disk: a folder each, named by what is in it.
//!
//! | file | what it is |
//! |---|---|
//! | `item.json` | what the site said of it |
//! | `torrent` | its torrent, as the site gave it |
//! | `data/NAME` | the content |
//!
//! Beside them, `asked.json` says when each was asked for last, and `mirror.lock` is held by the one mirror that keeps its copies there.
//!
//! A copy is given only while its files look as they did when they were checked; else it is checked again from the beginning.

use crate::catalogue::Facts;
use crate::item::{Hashed, Item, tag};
use crate::site::{Asked, Unmade};
use axum::body::Bytes;
use base::{FileKind, Hex, Metainfo};
use node::Node;
use node::create;
use node::state::{Lock, Remembered};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, UNIX_EPOCH};
use tokio::task::spawn_blocking;

/// Bytes of an `item.json`.
const FACTS_MAX: u64 = 64 << 10;
/// Bytes of an `asked.json`.
const ASKED_MAX: u64 = 64 << 20;
/// Bytes hashed at once.
const CHUNK: usize = 1 << 20;
/// Longer than a step of the clock that times of change are taken from: after it, a change has another time.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// The folder of all copies.
#[derive(Debug)]
pub(super) struct Store {
    root: PathBuf,
    asked: PathBuf,
    _lock: Lock,
}

/// The torrent of a copy, as the site gave it and as it was read.
#[derive(Debug)]
pub(super) struct Torrent {
    pub(super) bytes: Bytes,
    pub(super) metainfo: Metainfo,
}

impl Torrent {
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        let metainfo = Metainfo::parse(&bytes).map_err(|e| e.to_string())?;
        Ok(Torrent { bytes: bytes.into(), metainfo })
    }

    /// It is of this version.
    pub(super) fn is_of(&self, facts: &Facts) -> bool {
        tag(&self.metainfo.info.hashes) == facts.tag
    }
}

/// A copy whose files are whole: what it takes to give it.
#[derive(Debug)]
struct Whole {
    item: Item,
    fingerprint: [u8; 32],
    digests: Vec<[u8; 32]>,
}

impl Store {
    /// Takes the folder `cache`, which is made if it is not there. Blocking.
    pub(super) fn open(cache: &Path) -> io::Result<Self> {
        let (root, lock) = (cache.join("items"), cache.join("mirror.lock"));
        let at = |path: &Path, e: io::Error| io::Error::new(e.kind(), format!("{}: {e}", path.display()));
        fs::create_dir_all(&root).map_err(|e| at(&root, e))?;
        let taken = || io::Error::new(io::ErrorKind::ResourceBusy, "another mirror keeps its copies there");
        let lock = Lock::take(&lock).map_err(|e| at(&lock, e))?.ok_or_else(taken)?;
        Ok(Store { root: root.canonicalize()?, asked: cache.join("asked.json"), _lock: lock })
    }

    /// When each copy was asked for last, as far as earlier runs have noted it.
    pub(super) fn asked(&self) -> BTreeMap<String, Asked> {
        let mut text = Vec::new();
        let read = File::open(&self.asked).and_then(|file| file.take(ASKED_MAX).read_to_end(&mut text));
        read.ok().and_then(|_| serde_json::from_slice(&text).ok()).unwrap_or_default()
    }

    /// Notes it. Blocking.
    pub(super) fn note_asked(&self, last: &BTreeMap<String, Asked>) -> io::Result<()> {
        let draft = self.asked.with_extension("draft");
        fs::write(&draft, serde_json::to_vec(last).map_err(io::Error::other)?)?;
        fs::rename(&draft, &self.asked)
    }

    /// A place where nothing is.
    pub(super) fn nowhere(&self) -> PathBuf {
        self.root.join("nothing")
    }

    fn folder(&self, facts: &Facts) -> PathBuf {
        let mut hasher = hash::Sha256::new();
        for part in [&facts.name, &facts.tag] {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        self.root.join(Hex(&hasher.finish()[..20]).to_string())
    }

    /// The folder that the content is in.
    pub(super) fn data(&self, facts: &Facts) -> PathBuf {
        self.folder(facts).join("data")
    }

    /// The copy as it is while it is not whole.
    pub(super) fn unmade(&self, facts: &Facts) -> Unmade {
        Unmade { name: facts.name.clone(), root: self.data(facts), single: facts.single, leave_hidden: false }
    }

    /// What was begun to be copied in earlier runs. What makes no sense is no copy. Blocking.
    pub(super) fn list(&self) -> Vec<Facts> {
        let read = |folder: PathBuf| {
            let mut text = Vec::new();
            File::open(folder.join("item.json")).ok()?.take(FACTS_MAX).read_to_end(&mut text).ok()?;
            let facts: Facts = serde_json::from_slice(&text).ok()?;
            (self.folder(&facts) == folder).then_some(facts)
        };
        let folders = fs::read_dir(&self.root).into_iter().flatten().flatten();
        folders.filter_map(|entry| read(entry.path())).collect()
    }

    /// Notes what is going to be copied. Blocking.
    pub(super) fn begin(&self, facts: &Facts, torrent: &[u8]) -> io::Result<()> {
        let folder = self.folder(facts);
        fs::create_dir_all(folder.join("data"))?;
        let text = serde_json::to_vec(facts).map_err(io::Error::other)?;
        for (name, bytes) in [("torrent", torrent), ("item.json", &*text)] {
            let draft = folder.join(format!("{name}.draft"));
            fs::write(&draft, bytes)?;
            fs::rename(&draft, folder.join(name))?;
        }
        Ok(())
    }

    /// The torrent of what is being copied, if it is of this version.
    pub(super) async fn torrent(&self, facts: &Facts) -> Option<Arc<Torrent>> {
        let (path, facts) = (self.folder(facts).join("torrent"), facts.clone());
        let read = move || {
            let torrent = Torrent::parse(fs::read(path).ok()?).ok()?;
            torrent.is_of(&facts).then(|| Arc::new(torrent))
        };
        spawn_blocking(read).await.ok()?
    }

    /// The copy, if it is whole and looks as it did when it was checked.
    pub(super) async fn recall(&self, node: &Node, facts: &Facts, torrent: &Arc<Torrent>) -> Option<Item> {
        let path = self.content(facts, &torrent.metainfo);
        let known = node.recall(&path).await.ok().flatten()?;
        let (facts, torrent) = (facts.clone(), torrent.clone());
        let make = move || {
            let whole = whole(&facts, &torrent, &path, Some(known.digests)).ok()?;
            (whole.fingerprint == known.fingerprint).then_some(whole.item)
        };
        spawn_blocking(make).await.ok()?
    }

    /// Every piece of it was checked just now: it may be given.
    pub(super) async fn finish(&self, node: &Node, facts: &Facts, torrent: Arc<Torrent>) -> Result<Item, String> {
        let path = self.content(facts, &torrent.metainfo);
        let (facts, at, of) = (facts.clone(), path.clone(), torrent.clone());
        let made = spawn_blocking(move || {
            if let (true, Some(modified)) = (facts.single, facts.modified) {
                // The same time as at the site, for conditions that ask for it.
                let time = UNIX_EPOCH.checked_add(Duration::from_secs(modified));
                let file = File::options().write(true).open(&at);
                let _ = time.zip(file.ok()).map(|(time, file)| file.set_modified(time));
            }
            std::thread::sleep(CLOCK_STEP);
            whole(&facts, &of, &at, None)
        });
        let Whole { item, fingerprint, digests } = made.await.map_err(|e| e.to_string())??;
        let what = Remembered { fingerprint, torrent: torrent.bytes.to_vec(), digests };
        if let Err(error) = node.remember(&path, &what).await {
            tracing::warn!("{error}");
        }
        Ok(item)
    }

    /// The next look at it is from the beginning, however it looks from outside.
    pub(super) async fn forget(&self, item: Arc<Item>) {
        // Its time of change is another from now on, so what is remembered is of no use.
        let touch = |path: PathBuf| {
            let metadata = fs::metadata(&path)?;
            fs::set_permissions(&path, metadata.permissions())
        };
        let forget = move || {
            for file in &item.files {
                let alone = file.disk.as_os_str().is_empty();
                let path = if alone { item.root().to_owned() } else { item.root().join(&file.disk) };
                if let Err(error) = touch(path) {
                    tracing::warn!("{}: {error}", item.name);
                }
            }
        };
        // It ends early only if the mirror does.
        let _ = spawn_blocking(forget).await;
    }

    /// The file or folder itself.
    pub(super) fn content(&self, facts: &Facts, metainfo: &Metainfo) -> PathBuf {
        self.data(facts).join(metainfo.info.layout.name())
    }

    /// Deletes a copy. What can't be deleted is in nobody's way.
    pub(super) async fn delete(&self, facts: &Facts) {
        let (folder, name) = (self.folder(facts), facts.name.clone());
        let delete = move || {
            if let Err(error) = fs::remove_dir_all(folder)
                && error.kind() != io::ErrorKind::NotFound
            {
                tracing::warn!("can't delete the copy of {name}: {error}");
            }
        };
        // It ends early only if the mirror does.
        let _ = spawn_blocking(delete).await;
    }

    /// Deletes all but these. Blocking.
    pub(super) fn keep_only(&self, keep: &[Facts]) {
        let keep: std::collections::BTreeSet<PathBuf> = keep.iter().map(|facts| self.folder(facts)).collect();
        for entry in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            if !keep.contains(&entry.path()) {
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }
}

/// Looks at the files, and hashes each unless its digest is known.
fn whole(facts: &Facts, torrent: &Torrent, path: &Path, digests: Option<Vec<[u8; 32]>>) -> Result<Whole, String> {
    let metainfo = &torrent.metainfo;
    let failed = |path: &Path, e: &dyn std::fmt::Display| format!("{}: {e}", path.display());
    let look = || create::look(path, false, &AtomicBool::new(false)).map_err(|e| e.to_string());
    let before = look()?.fingerprint;
    let layout = &metainfo.info.layout;
    let below = format!("{}/", layout.name());
    let (mut files, mut sums) = (Vec::new(), Vec::new());
    for (_, entry) in layout.content() {
        if entry.kind != FileKind::Content {
            return Err(format!("{}: it is no plain file, which is not mirrored", entry.path));
        }
        let path = match layout.is_single() {
            true => path.to_owned(),
            false => path.join(entry.path.strip_prefix(&below).unwrap_or(&entry.path)),
        };
        let metadata = fs::symlink_metadata(&path).map_err(|e| failed(&path, &e))?;
        if !metadata.is_file() {
            return Err(failed(&path, &"it is no file"));
        }
        if digests.is_none() {
            sums.push(digest(&path).map_err(|e| failed(&path, &e))?);
        }
        files.push(metadata);
    }
    let hashed = Hashed { files, digests: digests.unwrap_or(sums) };
    let digests = hashed.digests.clone();
    let magnet = metainfo.magnet().to_string();
    let item = Item::new(facts.name.clone(), metainfo, torrent.bytes.clone(), magnet, path, &hashed)
        .map_err(|e| e.to_string())?;
    if look()?.fingerprint != before {
        return Err(failed(path, &"it has changed while it was looked at"));
    }
    Ok(Whole { item, fingerprint: before, digests })
}

fn digest(path: &Path) -> io::Result<[u8; 32]> {
    let (mut file, mut hasher, mut chunk) = (File::open(path)?, hash::Sha256::new(), vec![0; CHUNK]);
    loop {
        match file.read(&mut chunk)? {
            0 => return Ok(hasher.finish()),
            n => hasher.update(&chunk[..n]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(name: &str, tag: &str) -> Facts {
        let (name, tag) = (name.to_owned(), tag.to_owned());
        let (info_hash_v1, info_hash_v2, modified) = (None, None, None);
        Facts { name, tag, bytes: 1, single: true, files: 1, info_hash_v1, info_hash_v2, modified }
    }

    #[test]
    fn what_was_asked_for_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        assert!(store.asked().is_empty());
        let last: BTreeMap<String, Asked> = [("a b".into(), 5), ("c".into(), u64::MAX)].into();
        store.note_asked(&last).unwrap();
        store.keep_only(&[]);
        drop(store);
        let store = Store::open(dir.path()).unwrap();
        assert_eq!(store.asked(), last);
        fs::write(dir.path().join("asked.json"), "{").unwrap();
        assert!(store.asked().is_empty());
    }

    #[test]
    fn two_mirrors_have_no_folder_in_common() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let refused = Store::open(dir.path()).unwrap_err().to_string();
        assert!(refused.contains("another mirror"), "{refused}");
        drop(store);
        Store::open(dir.path()).unwrap();
    }

    #[tokio::test]
    async fn copies_have_folders_of_their_own_whatever_they_are_called() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let all = [facts("../../etc/passwd", "1"), facts("a", "1"), facts("a", "2"), facts("a1", "")];
        for facts in &all {
            assert_eq!(store.folder(facts).parent(), Some(&*store.root));
            store.begin(facts, b"no torrent").unwrap();
            assert!(store.torrent(facts).await.is_none(), "it is none");
        }
        let mut listed: Vec<_> = store.list().into_iter().map(|f| (f.name, f.tag)).collect();
        listed.sort();
        let mut wanted: Vec<_> = all.iter().map(|f| (f.name.clone(), f.tag.clone())).collect();
        wanted.sort();
        assert_eq!(listed, wanted);
        // One that lies under another's name is none.
        fs::copy(store.folder(&all[0]).join("item.json"), store.folder(&all[1]).join("item.json")).unwrap();
        fs::write(store.folder(&all[2]).join("item.json"), "{").unwrap();
        assert_eq!(store.list().len(), 2);
        store.keep_only(&all[3..]);
        assert_eq!(store.list(), [all[3].clone()]);
        store.delete(&all[3]).await;
        store.delete(&all[3]).await;
        assert!(store.list().is_empty());
    }
}
