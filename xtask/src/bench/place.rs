//! Where everything lies: data in memory, what clients write in memory or on disk, torrents and logs in the target folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::run;

/// The folders of a run.
#[derive(Clone, Debug)]
pub(super) struct Place {
    /// tmpfs: what is seeded, and what leechers write.
    memory: PathBuf,
    /// A real disk: torrents, logs, state of the clients, and what leechers write where the disk is meant.
    disk: PathBuf,
}

impl Place {
    /// The usual folders: `SHOAL_BENCH_MEMORY` (`/dev/shm/shoal-xtask-bench`) and `SHOAL_BENCH_DISK` (`target/bench`).
    pub(super) fn new() -> Self {
        let memory = std::env::var_os("SHOAL_BENCH_MEMORY").unwrap_or_else(|| "/dev/shm/shoal-xtask-bench".into());
        let disk = std::env::var_os("SHOAL_BENCH_DISK").map_or_else(|| target().join("bench"), PathBuf::from);
        Self { memory: memory.into(), disk }
    }

    /// What is seeded.
    pub(super) fn seed(&self) -> PathBuf {
        self.memory.join("seed")
    }

    /// A folder in memory.
    pub(super) fn memory(&self, name: &str) -> PathBuf {
        self.memory.join(name)
    }

    /// A folder on disk.
    pub(super) fn disk(&self, name: &str) -> PathBuf {
        self.disk.join(name)
    }

    /// A .torrent.
    pub(super) fn torrent(&self, name: &str) -> PathBuf {
        self.disk.join("torrents").join(format!("{name}.torrent"))
    }

    /// Where clients of others are that cargo installs.
    pub(super) fn installed(&self) -> PathBuf {
        self.disk.join("installed")
    }
}

/// The target folder of cargo.
pub(super) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| run::root().join("target"), PathBuf::from)
}

/// An empty folder in place of whatever is there.
pub(super) fn fresh(folder: &Path) -> Result<()> {
    remove(folder)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

/// Nothing in place of whatever is there.
pub(super) fn remove(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}
