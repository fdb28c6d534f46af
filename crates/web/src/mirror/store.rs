//! The copies on disk: a folder each, named by what is in it.
//!
//! | file | what it is |
//! |---|---|
//! | `item.json` | what the site said of it |
//! | `torrent` | its torrent, as the site gave it |
//! | `data/NAME` | the content |
//!
//! Beside them, `asked.json` says when each was asked for last.
//!
//! A copy is given only while its files look as they did when they were checked; else it is checked again from the beginning.

use crate::catalogue::Facts;
use crate::item::{Hashed, Item};
use crate::site::{Asked, Unmade};
use base::{FileKind, Hex, InfoHashes, Metainfo};
use node::Node;
use node::create;
use node::state::Remembered;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, UNIX_EPOCH};

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
}

/// A copy whose files are whole: what it takes to give it.
#[derive(Debug)]
struct Whole {
    item: Item,
    fingerprint: [u8; 32],
    digests: Vec<[u8; 32]>,
}

impl Store {
    pub(super) fn open(cache: &Path) -> io::Result<Self> {
        let root = cache.join("items");
        fs::create_dir_all(&root).map_err(|e| io::Error::new(e.kind(), format!("{}: {e}", root.display())))?;
        Ok(Store { root: root.canonicalize()?, asked: cache.join("asked.json") })
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

    /// What was begun to be copied in earlier runs. What makes no sense is no copy.
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
    pub(super) fn torrent(&self, facts: &Facts) -> Option<Vec<u8>> {
        let bytes = fs::read(self.folder(facts).join("torrent")).ok()?;
        let metainfo = Metainfo::parse(&bytes).ok()?;
        (tag(&metainfo.info.hashes) == facts.tag).then_some(bytes)
    }

    /// The copy, if it is whole and looks as it did when it was checked.
    pub(super) async fn recall(&self, node: &Node, facts: &Facts) -> Option<Item> {
        let bytes = self.torrent(facts)?;
        let path = self.content(facts, &Metainfo::parse(&bytes).ok()?);
        let known = node.recall(&path).await.ok().flatten()?;
        let facts = facts.clone();
        let make = move || {
            whole(&facts, bytes, &path, Some(known.digests)).ok().filter(|w| w.fingerprint == known.fingerprint)
        };
        Some(tokio::task::spawn_blocking(make).await.ok().flatten()?.item)
    }

    /// Every piece of it was checked just now: it may be given.
    pub(super) async fn finish(&self, node: &Node, facts: &Facts, torrent: Vec<u8>) -> Result<Item, String> {
        let metainfo = Metainfo::parse(&torrent).map_err(|e| e.to_string())?;
        let path = self.content(facts, &metainfo);
        let (of, at, bytes) = (facts.clone(), path.clone(), torrent.clone());
        let made = tokio::task::spawn_blocking(move || {
            if let (true, Some(modified)) = (of.single, of.modified) {
                // The same time as at the site, for conditions that ask for it.
                let time = UNIX_EPOCH.checked_add(Duration::from_secs(modified));
                let file = File::options().write(true).open(&at);
                let _ = time.zip(file.ok()).map(|(time, file)| file.set_modified(time));
            }
            std::thread::sleep(CLOCK_STEP);
            whole(&of, bytes, &at, None)
        });
        let Whole { item, fingerprint, digests } = made.await.map_err(|e| e.to_string())??;
        let what = Remembered { fingerprint, torrent, digests };
        if let Err(error) = node.remember(&path, &what).await {
            tracing::warn!("{error}");
        }
        Ok(item)
    }

    /// The next look at it is from the beginning, however it looks from outside.
    pub(super) fn forget(&self, facts: &Facts, item: &Item) {
        // Its time of change is another from now on, so what is remembered is of no use.
        let touch = |path: PathBuf| {
            let metadata = fs::metadata(&path)?;
            fs::set_permissions(&path, metadata.permissions())
        };
        for file in &item.files {
            let path =
                if file.disk.as_os_str().is_empty() { item.root().to_owned() } else { item.root().join(&file.disk) };
            if let Err(error) = touch(path) {
                tracing::warn!("{}: {error}", facts.name);
            }
        }
    }

    /// The file or folder itself.
    pub(super) fn content(&self, facts: &Facts, metainfo: &Metainfo) -> PathBuf {
        self.data(facts).join(metainfo.info.layout.name())
    }

    /// Deletes a copy. What can't be deleted is in nobody's way.
    pub(super) fn delete(&self, facts: &Facts) {
        if let Err(error) = fs::remove_dir_all(self.folder(facts))
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!("can't delete the copy of {}: {error}", facts.name);
        }
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

/// What names content in entity tags.
pub(super) fn tag(hashes: &InfoHashes) -> String {
    hashes.v2.map(|h| Hex(&h).to_string()).or(hashes.v1.map(|h| h.to_string())).unwrap_or_default()
}

/// Looks at the files, and hashes each unless its digest is known.
fn whole(facts: &Facts, torrent: Vec<u8>, path: &Path, digests: Option<Vec<[u8; 32]>>) -> Result<Whole, String> {
    let metainfo = Metainfo::parse(&torrent).map_err(|e| e.to_string())?;
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
    let item =
        Item::new(facts.name.clone(), &metainfo, torrent.into(), magnet, path, &hashed).map_err(|e| e.to_string())?;
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
        assert_eq!(Store::open(dir.path()).unwrap().asked(), last);
        store.keep_only(&[]);
        assert_eq!(store.asked(), last);
        fs::write(dir.path().join("asked.json"), "{").unwrap();
        assert!(store.asked().is_empty());
    }

    #[test]
    fn copies_have_folders_of_their_own_whatever_they_are_called() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let all = [facts("../../etc/passwd", "1"), facts("a", "1"), facts("a", "2"), facts("a1", "")];
        for facts in &all {
            assert_eq!(store.folder(facts).parent(), Some(&*store.root));
            store.begin(facts, b"no torrent").unwrap();
            assert_eq!(store.torrent(facts), None, "it is none");
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
        store.delete(&all[3]);
        store.delete(&all[3]);
        assert!(store.list().is_empty());
    }
}
