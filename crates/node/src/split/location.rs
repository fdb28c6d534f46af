//! One replica of a part: a file here, or at a URL.

use super::folder;
use super::server::{Address, Server};
use bytes::Bytes;
use std::path::PathBuf;
use std::time::Duration;

/// Where a replica is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Location {
    /// In a file.
    File(PathBuf),
    /// On a server.
    Url(Address),
}

/// Why something can't be read or written there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Trouble {
    /// There is nothing.
    #[error("it is not there")]
    Missing,
    /// Nobody answers, or too slowly, or only that it does not work now.
    #[error("{0}")]
    Unreachable(String),
    /// It is refused, and will be the next time.
    #[error("{0}")]
    Refused(String),
    /// There is something else.
    #[error("{0}")]
    Other(String),
    /// The bytes to write could not be had.
    #[error("{0}")]
    Content(String),
}

impl Trouble {
    /// May it go better the next time?
    #[must_use]
    pub fn may_pass(&self) -> bool {
        matches!(self, Trouble::Unreachable(_))
    }
}

/// Reads at all kinds of locations.
#[derive(Clone, Debug)]
pub(super) struct Reader {
    pub(super) server: Server,
}

impl Reader {
    /// Bytes in what is there.
    pub(super) async fn len(&self, location: &Location) -> Result<u64, Trouble> {
        match location {
            Location::Url(at) => self.server.len(at).await,
            Location::File(path) => {
                let path = path.clone();
                blocking(move || Ok(folder::open(&path)?.1)).await
            }
        }
    }

    /// Up to `len` bytes at `offset`: fewer if there is an end before.
    pub(super) async fn read(&self, location: &Location, offset: u64, len: u64) -> Result<Bytes, Trouble> {
        match location {
            Location::Url(at) => self.server.read(at, offset, len).await,
            Location::File(path) => {
                let path = path.clone();
                blocking(move || folder::read(&folder::open(&path)?.0, offset, len)).await
            }
        }
    }
}

/// Does what may wait for the disk on a thread that may wait.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Trouble> + Send + 'static,
) -> Result<T, Trouble> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|e| Err(Trouble::Other(e.to_string())))
}

/// The first wait before another attempt; each is twice as long as the one before. Tests have no time for it.
const PAUSE: Duration = Duration::from_millis(if cfg!(test) { 1 } else { 1000 });

/// Waits before the next attempt, after `tried` ones.
pub(super) async fn pause(tried: u32) {
    tokio::time::sleep(PAUSE * 2u32.pow(tried.clamp(1, 6) - 1)).await;
}
