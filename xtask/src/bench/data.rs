//! What is shared: files whose bytes follow from their names, so that every machine measures the same, and their torrents.

use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::place::Place;
use super::tracker;
use crate::run;

const MIB: u64 = 1 << 20;
/// What is written or compared at once.
const CHUNK: usize = 1 << 20;

/// One file with one torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Set {
    /// The name of the torrent.
    pub(super) torrent: &'static str,
    /// The name of the file.
    pub(super) file: &'static str,
    /// Its length.
    pub(super) bytes: u64,
    /// Log2 of the piece length.
    pub(super) piece_bits: u32,
}

/// 2 GiB, pieces of 1 MiB.
pub(super) const BIG: Set = Set { torrent: "f2g-1m", file: "f2g.bin", bytes: 2048 * MIB, piece_bits: 20 };
/// 2 GiB, pieces of 256 KiB.
pub(super) const BIG_256K: Set = Set { torrent: "f2g-256k", file: "f2g.bin", bytes: 2048 * MIB, piece_bits: 18 };
/// 256 MiB, pieces of 256 KiB.
pub(super) const MIDDLE: Set = Set { torrent: "f256m", file: "f256m.bin", bytes: 256 * MIB, piece_bits: 18 };
/// 1 MiB, pieces of 256 KiB.
pub(super) const SMALL: Set = Set { torrent: "f1m", file: "f1m.bin", bytes: MIB, piece_bits: 18 };
/// Two of 1 GiB, for two torrents at once.
pub(super) const TWO: [Set; 2] = [
    Set { torrent: "f1g-a", file: "f1g-a.bin", bytes: 1024 * MIB, piece_bits: 20 },
    Set { torrent: "f1g-b", file: "f1g-b.bin", bytes: 1024 * MIB, piece_bits: 20 },
];

impl Set {
    /// Its length in GiB.
    pub(super) fn gib(&self) -> f64 {
        self.bytes as f64 / (1 << 30) as f64
    }

    /// Where the file is.
    pub(super) fn path(&self, place: &Place) -> PathBuf {
        place.seed().join(self.file)
    }

    /// Makes the file and the torrent, unless they are there.
    pub(super) fn make(&self, place: &Place) -> Result<()> {
        let (data, torrent) = (self.path(place), place.torrent(self.torrent));
        if !fs::metadata(&data).is_ok_and(|m| m.len() == self.bytes) {
            println!("making {}", data.display());
            make_folder_of(&data)?;
            write(&data, self.file, self.bytes).with_context(|| format!("cannot write {}", data.display()))?;
            drop(fs::remove_file(&torrent));
        }
        if !torrent.is_file() {
            make_folder_of(&torrent)?;
            let (url, bits) = (format!("http://{}/announce", tracker::ADDRESS), self.piece_bits.to_string());
            let mut command = Command::new("mktorrent");
            command.args(["-d", "-t", "2", "-l", &bits, "-a", &url, "-o"]).arg(&torrent).arg(&data);
            run::output(&mut command)?;
        }
        Ok(())
    }
}

fn make_folder_of(path: &Path) -> Result<()> {
    let folder = path.parent().context("a path without a folder")?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

fn write(path: &Path, name: &str, bytes: u64) -> Result<()> {
    let part = path.with_extension("making");
    let mut out = BufWriter::with_capacity(CHUNK, File::create(&part)?);
    let mut stream = Stream::new(name);
    for _ in 0..bytes / 8 {
        out.write_all(&stream.next().to_le_bytes())?;
    }
    out.flush()?;
    Ok(fs::rename(&part, path)?)
}

/// Bytes that nothing compresses or shares: SplitMix64, begun by a name.
pub(super) struct Stream(u64);

impl Stream {
    /// The stream of this name.
    pub(super) fn new(name: &str) -> Self {
        Self(name.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3)))
    }

    /// The next eight bytes.
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }
}

/// Touches and frees as much memory as a run will write. Memory that is free here is given back to the host, so that the
/// first touch of a page costs several times its second: without this the first run after a pause would pay for it, and
/// which client that is would decide the comparison.
pub(super) fn warm(place: &Place, bytes: u64) -> Result<()> {
    let path = place.memory("warm");
    let failed = || format!("cannot warm memory with {}", path.display());
    let mut file = File::create(&path).with_context(failed)?;
    let block = vec![0_u8; 8 * CHUNK];
    for _ in 0..bytes.div_ceil(block.len() as u64) {
        file.write_all(&block).with_context(failed)?;
    }
    fs::remove_file(&path).with_context(failed)
}

/// Compares byte for byte. Some clients say that they are complete slightly before their last write is in the file, so a
/// difference is looked at again for some seconds before it counts.
pub(super) fn compare(source: &Path, copy: &Path) -> Result<()> {
    let end = Instant::now() + Duration::from_secs(5);
    while !same(source, copy).unwrap_or(false) {
        ensure!(Instant::now() < end, "{} is not {} byte for byte", copy.display(), source.display());
        thread::sleep(Duration::from_millis(200));
    }
    Ok(())
}

fn same(a: &Path, b: &Path) -> Result<bool> {
    let (mut a, mut b) = (File::open(a)?, File::open(b)?);
    if a.metadata()?.len() != b.metadata()?.len() {
        return Ok(false);
    }
    let (mut left, mut right) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let n = a.read(&mut left)?;
        if n == 0 {
            return Ok(true);
        }
        b.read_exact(&mut right[..n])?;
        if left[..n] != right[..n] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_follow_from_the_name() {
        let take = |name: &str| {
            (0..4)
                .map({
                    let mut s = Stream::new(name);
                    move |_| s.next()
                })
                .collect::<Vec<_>>()
        };
        assert_eq!(take("a"), take("a"));
        assert_ne!(take("a"), take("b"));
    }

    #[test]
    fn one_byte_makes_a_difference() {
        let folder = std::env::temp_dir().join(format!("xtask-bench-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let (a, b) = (folder.join("a"), folder.join("b"));
        let mut bytes = vec![7_u8; CHUNK + 5];
        fs::write(&a, &bytes).unwrap();
        fs::write(&b, &bytes).unwrap();
        assert!(same(&a, &b).unwrap());
        bytes[CHUNK + 4] = 8;
        fs::write(&b, &bytes).unwrap();
        assert!(!same(&a, &b).unwrap());
        fs::write(&b, &bytes[..CHUNK]).unwrap();
        assert!(!same(&a, &b).unwrap());
        fs::remove_dir_all(&folder).unwrap();
    }
}
