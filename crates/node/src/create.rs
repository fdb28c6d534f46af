//! Making a torrent of what is on disk: walks a folder, hashes it with several threads, and refuses to describe what
//! changes meanwhile.
//!
//! Links are followed if they lead to something inside; pipes, sockets and devices are no content. What was left out is
//! told. The format is [`base::metainfo::create`]'s business.
//!
//! Who serves the files over HTTP, too, asks for the SHA-256 of each: the same bytes are hashed for both, once, so that
//! torrent and digests can't disagree. A [`Look`] tells whether all is still as it was then.

mod chain;
mod hashing;
#[cfg(test)]
mod tests;
mod walk;

pub use walk::{Look, look};

use crate::disk::check::Meter;
use base::metainfo::create::{Draft, Facts, Format, Source};
use base::{Metainfo, MetainfoError};
use std::fs::Metadata;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};
use walk::{Walk, stamp};

/// Longer than a step of the clock that times of change are taken from: after it, a change has another time.
const CLOCK_STEP: Duration = Duration::from_millis(20);

/// What kind of torrent to make.
#[derive(Clone, Debug, Default)]
pub struct CreateOptions {
    /// The format.
    pub format: Format,
    /// The piece length in bytes; None chooses one by size.
    pub piece_length: Option<u64>,
    /// For its own trackers' peers only (BEP 27).
    pub private: bool,
    /// Its name; None: that of the file or folder.
    pub name: Option<String>,
    /// Threads that hash; 0: as many as there are cores.
    pub threads: usize,
    /// Find the SHA-256 of each file as well.
    pub digests: bool,
    /// Leave out what has a dot in front of its name.
    pub leave_hidden: bool,
}

/// What was made.
#[derive(Clone, Debug)]
pub struct Created {
    /// The torrent. Trackers, comment and the like are for the caller to add.
    pub metainfo: Metainfo,
    /// What was left out, and why.
    pub skipped: Vec<(PathBuf, &'static str)>,
    /// SHA-256 of each file, in the order of the torrent without its padding; empty if they were not asked for.
    pub digests: Vec<[u8; 32]>,
    /// How all looked when it was hashed.
    pub look: Look,
}

/// Why a torrent can't be made.
#[derive(Debug, thiserror::Error)]
pub enum CreateError {
    /// Something can't be read.
    #[error("can't read {}: {}", .0.display(), .1.kind())]
    Read(PathBuf, io::Error),
    /// A file has changed while it was read.
    #[error("{} has changed while it was read; try again when nobody writes to it", .0.display())]
    Changed(PathBuf),
    /// There is nothing in it.
    #[error("{} holds no files", .0.display())]
    Empty(PathBuf),
    /// It is neither file nor folder, or too deep, or has too many files.
    #[error("{}: {}", .0.display(), .1)]
    Unfit(PathBuf, &'static str),
    /// The format can't express it.
    #[error(transparent)]
    Metainfo(#[from] MetainfoError),
    /// The user has stopped it.
    #[error("interrupted")]
    Stopped,
}

/// A file that goes into it.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    names: Vec<Vec<u8>>,
    metadata: Metadata,
    executable: bool,
}

/// Makes a torrent of the file or folder at `path`. `total` is told the bytes that there are once that is known; `meter`
/// counts those that were hashed, and stops it.
///
/// # Errors
/// If something can't be read, or changes meanwhile, or does not fit into a torrent.
pub fn create(
    path: &Path,
    options: &CreateOptions,
    meter: &Meter,
    total: impl FnOnce(u64),
) -> Result<Created, CreateError> {
    let Walk { root, files, skipped, single, .. } = walk::walk(path, options.leave_hidden, &meter.stop)?;
    let own_name = || root.file_name().map(|n| n.as_bytes().to_vec());
    let name = options.name.clone().map(String::into_bytes).or_else(own_name);
    let facts = Facts {
        name: name.ok_or(CreateError::Unfit(root, "it has no name; give one with --name"))?,
        single,
        sources: files
            .iter()
            .map(|f| Source { path: f.names.clone(), len: f.metadata.len(), executable: f.executable, link: None })
            .collect(),
        format: options.format,
        piece_length: options.piece_length,
        private: options.private,
    };
    let draft = Draft::new(facts)?;
    total(draft.plan().layout.total());
    let fresh = |file: &Found| SystemTime::now().duration_since(changed(&file.metadata)).is_ok_and(|d| d < CLOCK_STEP);
    if options.digests && files.iter().any(fresh) {
        // What is written from now on would look as it does already.
        std::thread::sleep(CLOCK_STEP);
    }
    let (digests, whole) = hashing::hash(&draft, &files, options, meter)?;
    for file in &files {
        let now = file.path.metadata().map_err(|e| CreateError::Read(file.path.clone(), e))?;
        if stamp(&now) != stamp(&file.metadata) {
            return Err(CreateError::Changed(file.path.clone()));
        }
    }
    Ok(Created { metainfo: draft.finish(&digests)?, skipped, digests: whole, look: Look::of(files) })
}

/// The time of the last change, of content or of anything else.
fn changed(metadata: &Metadata) -> SystemTime {
    use std::os::unix::fs::MetadataExt as _;
    let whole = Duration::from_secs(metadata.ctime().try_into().unwrap_or(0));
    SystemTime::UNIX_EPOCH + whole + Duration::from_nanos(metadata.ctime_nsec().try_into().unwrap_or(0))
}
