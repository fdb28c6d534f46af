//! The disk: files, hashing, and the threads that do both, so that the network never waits for a medium.
//!
//! - [`storage`](Storage): the bytes of a torrent laid over its files
//! - [`check`]: hashing what is there already, with many threads
//! - the worker threads, which take the engine's jobs in batches
//!
//! Nothing here knows of peers.

mod beneath;
pub mod check;
mod files;
pub(crate) mod gather;
mod hashing;
mod labour;
pub(crate) mod lanes;
pub(crate) mod mailbox;
pub mod plain;
mod progress;
mod storage;
pub(crate) mod worker;

pub use files::FileCache;
pub use hashing::EARLY_MAX;
pub use labour::Labour;
pub use progress::{Facts, Progress};
pub(crate) use storage::Patience;
pub use storage::rename;
pub use storage::{DiskError, Place, Stamp, Storage};
