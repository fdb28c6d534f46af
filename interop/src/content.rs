//! What is shared: made from a seed, and compared byte for byte.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// One file, or a tree of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One file whose name has blanks and whose last block is short.
    File,
    /// A folder with empty files, odd names, files shorter than a block and as long as pieces, and folders in folders.
    Tree,
}

/// The piece length that the tests use: small, so that there are many pieces and pad files.
pub const PIECE_LENGTH: u64 = 32 * 1024;

const TREE: &[(&str, usize)] = &[
    ("-dash & ampersand #1 %41.bin", 1),
    ("empty", 0),
    ("plain.bin", 300_000),
    ("sub folder/'quotes' [x] {y}.dat", 123_457),
    ("sub folder/deeper/empty too", 0),
    ("sub folder/deeper/two pieces.bin", 65_536),
    ("sub folder/déjà vu.txt", 70_001),
    ("sub folder/漢字 🐟.bin", 16_384),
    ("z last.bin", 400_000),
];

impl Shape {
    /// The name of the torrent.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::File => "one file.bin",
            Self::Tree => "a tree",
        }
    }

    /// Writes the content below `folder`; gives its path.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn write(self, folder: &Path, seed: u64) -> Result<PathBuf> {
        let top = folder.join(self.name());
        match self {
            Self::File => write(&top, 1_500_007, seed)?,
            Self::Tree => {
                for (i, (name, bytes)) in TREE.iter().enumerate() {
                    write(&top.join(name), *bytes, seed.wrapping_mul(31).wrapping_add(i as u64))?;
                }
            }
        }
        Ok(top)
    }
}

/// Writes one file of so many bytes, which follow from the seed.
///
/// # Errors
/// When the disk does not take it.
pub fn write(path: &Path, bytes: usize, seed: u64) -> Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).with_context(|| format!("cannot make {}", parent.display()))?;
    }
    fs::write(path, noise(bytes, seed)).with_context(|| format!("cannot write {}", path.display()))
}

/// SplitMix64: bytes that no two seeds share.
fn noise(bytes: usize, seed: u64) -> Vec<u8> {
    let mut state = seed;
    let mut out = Vec::with_capacity(bytes + 8);
    while out.len() < bytes {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        out.extend_from_slice(&(z ^ (z >> 31)).to_le_bytes());
    }
    out.truncate(bytes);
    out
}

/// Whether empty files have to have come: not every client makes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Empty {
    /// They have to be there.
    Present,
    /// They may be missing.
    MayMiss,
}

/// Compares what came with what was shared. Beside it may lie only what clients leave that know no pad files, and aria2's own notes.
///
/// # Errors
/// Names the first difference.
pub fn compare(expected: &Path, found: &Path, empty: Empty) -> Result<()> {
    let (mut expected, found) = (files(expected)?, files(found)?);
    let tolerated =
        |p: &Path| p.components().any(|c| c.as_os_str() == ".pad") || p.extension().is_some_and(|e| e == "aria2");
    expected.retain(|name, _| !tolerated(name));
    if empty == Empty::MayMiss {
        expected.retain(|name, path| found.contains_key(name) || fs::metadata(path).is_ok_and(|m| m.len() > 0));
    }
    for (name, path) in &expected {
        let Some(other) = found.get(name) else {
            bail!("{} did not come; there is {:?}", name.display(), found.keys())
        };
        let same = fs::read(path).context("cannot read what was shared")?
            == fs::read(other).context("cannot read what came")?;
        ensure!(same, "{} differs from what was shared", other.display());
    }
    let extra: Vec<_> = found.keys().filter(|name| !expected.contains_key(*name) && !tolerated(name)).collect();
    ensure!(extra.is_empty(), "files that nobody shared: {extra:?}");
    Ok(())
}

/// All files at or below a path, by their path relative to it.
fn files(top: &Path) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut open = vec![top.to_owned()];
    while let Some(path) = open.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path).with_context(|| format!("cannot list {}", path.display()))? {
                open.push(entry.context("cannot list")?.path());
            }
        } else {
            ensure!(path.exists(), "{} is missing", path.display());
            found.insert(path.strip_prefix(top).unwrap_or(&path).to_owned(), path);
        }
    }
    Ok(found)
}
