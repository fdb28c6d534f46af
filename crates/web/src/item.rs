//! What is shared: one torrent, the files on disk that it was made of, and how they looked then.

use crate::stamp::Stamp;
use crate::tar;
use axum::body::Bytes;
use base::{FileIndex, FileKind, Hex, InfoHashes, Metainfo};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Why something can't be shared.
#[derive(Debug, thiserror::Error)]
pub enum ItemError {
    /// A file has another length than the torrent says.
    #[error("{} has {is} bytes where its torrent says {should}; share it again", path.display())]
    Length {
        /// The file.
        path: PathBuf,
        /// Bytes on disk.
        is: u64,
        /// Bytes in the torrent.
        should: u64,
    },
    /// What was hashed are not the files of the torrent.
    #[error("{0}: {1} files were hashed, but its torrent has {2}")]
    Files(String, usize, usize),
    /// More than 64 bits can count.
    #[error("{0} is too large for a tar stream")]
    Large(String),
}

/// How the files of a torrent looked when they were hashed, in its order without padding.
#[derive(Clone, Debug, Default)]
pub struct Hashed {
    /// How each looked.
    pub files: Vec<Metadata>,
    /// SHA-256 of each; empty if that is not known.
    pub digests: Vec<[u8; 32]>,
}

/// One thing that is shared, under `/f/NAME`.
#[derive(Debug)]
pub struct Item {
    /// Its name in links; unique in a [`crate::Site`].
    pub name: String,
    /// The name that its torrent gives it.
    pub title: String,
    /// The names of its torrent.
    pub hashes: InfoHashes,
    /// The .torrent.
    pub torrent: Bytes,
    /// The magnet link.
    pub magnet: String,
    /// A comment of whoever made the torrent.
    pub comment: Option<String>,
    /// Bytes in a piece.
    pub piece_length: u32,
    /// Bytes of content in all.
    pub bytes: u64,
    pub(crate) root: PathBuf,
    pub(crate) single: bool,
    pub(crate) files: Vec<ItemFile>,
    by_path: BTreeMap<String, usize>,
    /// The lengths of the torrent's padding: clients that don't know it for what it is ask for it as for files.
    pads: BTreeSet<u64>,
    pub(crate) tar: tar::Plan,
    /// Names the content, in entity tags.
    pub(crate) tag: String,
}

/// One file of it.
#[derive(Clone, Debug)]
pub(crate) struct ItemFile {
    /// Its path below the folder, with `/` between the parts; of a single file its name.
    pub(crate) path: String,
    /// Where it is on disk, below [`Item::root`]; empty where the root is the file itself.
    pub(crate) disk: PathBuf,
    pub(crate) len: u64,
    /// When it was written last, as it was hashed.
    pub(crate) modified: Option<SystemTime>,
    /// How it looked then.
    stamp: Stamp,
    pub(crate) sha256: Option<[u8; 32]>,
}

impl ItemFile {
    /// Whether the file on disk is still what was hashed, as far as that shows from outside.
    pub(crate) fn is_unchanged(&self, now: &Metadata) -> bool {
        Stamp::of(now) == self.stamp
    }
}

impl Item {
    /// Something that is shared under `name`: the torrent `metainfo`, whose bytes are `torrent`, of the file or folder
    /// `root`, which looked like `hashed`. Asks where each file is: blocking.
    pub fn new(
        name: String,
        metainfo: &Metainfo,
        torrent: Bytes,
        magnet: String,
        root: &Path,
        hashed: &Hashed,
    ) -> Result<Self, ItemError> {
        let layout = &metainfo.info.layout;
        let single = layout.is_single();
        let below = format!("{}/", layout.name());
        let (mut files, mut entries, mut by_path) = (Vec::new(), Vec::new(), BTreeMap::new());
        let count = layout.content().count();
        if hashed.files.len() != count || !matches!(hashed.digests.len(), n if n == 0 || n == count) {
            return Err(ItemError::Files(name, hashed.files.len(), count));
        }
        let content = layout.content().enumerate().filter(|(_, (_, entry))| entry.kind == FileKind::Content);
        for (place, (index, entry)) in content {
            let path =
                if single { entry.path.as_str() } else { entry.path.strip_prefix(&below).unwrap_or(&entry.path) };
            let disk = if single { PathBuf::new() } else { on_disk(metainfo, index, root, path) };
            let full = if single { root.to_owned() } else { root.join(&disk) };
            let metadata = &hashed.files[place];
            if metadata.len() != entry.len {
                return Err(ItemError::Length { path: full, is: metadata.len(), should: entry.len });
            }
            entries.push(tar::Entry {
                path: format!("{below}{path}"),
                len: entry.len,
                executable: entry.executable,
                file: files.len(),
            });
            by_path.insert(path.to_owned(), files.len());
            files.push(ItemFile {
                path: path.to_owned(),
                disk,
                len: entry.len,
                modified: metadata.modified().ok(),
                stamp: Stamp::of(metadata),
                sha256: hashed.digests.get(place).copied(),
            });
        }
        let hashes = metainfo.info.hashes;
        Ok(Item {
            tag: tag(&hashes),
            tar: tar::Plan::new(entries).ok_or_else(|| ItemError::Large(name.clone()))?,
            name,
            title: layout.name().to_owned(),
            hashes,
            torrent,
            magnet,
            comment: metainfo.comment.clone(),
            piece_length: metainfo.info.geometry.piece_length(),
            bytes: layout.content_len(),
            root: root.to_owned(),
            single,
            files,
            by_path,
            pads: layout.files().iter().filter(|f| f.is_pad()).map(|f| f.len).collect(),
        })
    }

    /// The file or folder that is shared.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The file with this path, if there is one.
    pub(crate) fn file(&self, path: &str) -> Option<usize> {
        self.by_path.get(path).copied()
    }

    /// The length of the padding with this path, as makers of torrents call it (BEP 47).
    pub(crate) fn pad(&self, path: &str) -> Option<u64> {
        path.strip_prefix(".pad/")?.parse().ok().filter(|len| self.pads.contains(len))
    }

    /// When the newest file was written.
    pub(crate) fn modified(&self) -> Option<SystemTime> {
        self.files.iter().filter_map(|f| f.modified).max()
    }

    /// Bytes that `/f/NAME` answers with: the file, or the tar stream.
    pub(crate) fn stream_len(&self) -> u64 {
        match &*self.files {
            [file] if self.single => file.len,
            _ => self.tar.len(),
        }
    }
}

/// What names content in entity tags.
pub(crate) fn tag(hashes: &InfoHashes) -> String {
    hashes.v2.map(|h| Hex(&h).to_string()).or(hashes.v1.map(|h| h.to_string())).unwrap_or_default()
}

/// The entity tag of one file: the same wherever the same content is.
pub(crate) fn file_tag(tag: &str, single: bool, file: usize) -> String {
    if single { format!("\"{tag}\"") } else { format!("\"{tag}-{file}\"") }
}

/// Where a file of the folder `root` is: under the name that the torrent has, or under the one that is safe everywhere.
fn on_disk(metainfo: &Metainfo, file: FileIndex, root: &Path, path: &str) -> PathBuf {
    use std::os::unix::ffi::OsStringExt as _;
    let raw = metainfo.info.raw_path(file).into_iter().skip(1).map(std::ffi::OsString::from_vec);
    let raw: PathBuf = raw.collect();
    let plain = raw.components().all(|c| matches!(c, std::path::Component::Normal(_)));
    if plain && root.join(&raw).symlink_metadata().is_ok() { raw } else { PathBuf::from(path) }
}
