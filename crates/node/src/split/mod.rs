//! Split files: cutting a file into parts, placing them on folders and servers, looking whether they are still there, and
//! restoring what is lost. What a manifest says is [`base::manifest`]'s business, which part goes where [`base::placement`]'s.
//!
//! Nothing is trusted: a piece is checked whenever it is read, before it goes anywhere ([`content`]); a part becomes visible whole
//! or not at all ([`store`]); what a server says it has taken is asked for again; and a manifest alone does not make us write to
//! folders or local servers that hold nothing of the file ([`Placing::vouched`]).
//!
//! Deliberately not here: fetching a split file, which is the engine's, like any other fetching.

mod check;
mod content;
mod folder;
mod location;
mod measure;
mod reach;
mod repair;
mod server;
mod store;
mod target;
#[cfg(test)]
mod tests;

pub use check::State;
pub use content::Content;
pub use location::{Location, Trouble};
pub use measure::{Measured, measure};
pub use reach::reach;
pub use repair::{Event, Lost, Options, Repaired, repair};
pub use store::{Placed, Placing, place};
pub use target::{Target, Targets};

use base::Manifest;
use std::path::{Path, PathBuf};

/// Attempts at what may go better the next time.
const TRIES: u32 = 3;
/// Bytes of pieces in memory at once; a single piece may be longer.
const MEMORY_MAX: u64 = 256 << 20;
/// Targets that are written to, or parts that are looked at, at once.
const AT_ONCE_MAX: u64 = 16;

/// How many tasks with a piece of `piece_length` in hand, and another on its way, fit into memory.
fn at_once(piece_length: u32) -> usize {
    (MEMORY_MAX / (2 * u64::from(piece_length.max(1)))).clamp(1, AT_ONCE_MAX) as usize
}

/// Writes a manifest, whole or not at all, over what is there.
///
/// # Errors
/// If that fails; what was there before is there still.
pub fn save(manifest: &Manifest, path: &Path) -> Result<(), SplitError> {
    folder::write(path, manifest.to_json().as_bytes())
        .map_err(|trouble| SplitError::Target(format!("can't write {}: {trouble}", path.display())))
}

/// Why a file can't be split, or a split file not be repaired.
#[derive(Debug, thiserror::Error)]
pub enum SplitError {
    /// A file can't be read.
    #[error("can't read {}: {}", .0.display(), .1)]
    Read(PathBuf, std::io::Error),
    /// The file has changed since it was hashed, or is not the one that the manifest is of.
    #[error("{} {}", .0.display(), .1)]
    File(PathBuf, &'static str),
    /// A target can't be one.
    #[error("{0}")]
    Target(String),
    /// A part can't be written.
    #[error("can't place part {part} on {target}: {trouble}")]
    Place {
        /// The number of the part.
        part: usize,
        /// The target, without a password.
        target: String,
        /// What is wrong.
        trouble: Trouble,
    },
    /// The pieces can't be.
    #[error(transparent)]
    Manifest(#[from] base::ManifestError),
    /// A mistake of ours.
    #[error("a part of the work has died; this is a fault of this program: {0}")]
    Died(String),
    /// The user has stopped it.
    #[error("interrupted")]
    Stopped,
}
