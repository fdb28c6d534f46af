//! Web servers beside nginx, and downloads from servers beside curl.
//!
//! Servers have one thread each, so that the load has the other core. nginx runs with sendfile as it comes, with buffers of its
//! own instead, which some machines like better, and with its cache of open files: the best of them is who ours is compared with.

mod fetch;
mod load;
mod server;
mod slow;
mod wire;

use anyhow::Result;

use super::clients::Programs;
use super::record::Figures;

pub(super) use fetch::{FOUR, Fetch, ONE};
pub(super) use server::Kind;
pub(super) use slow::Slow;

/// One comparison of servers or downloads.
#[derive(Clone, Copy, Debug)]
pub(super) enum Web {
    /// A file of 1 KiB, again and again.
    Small(Kind),
    /// A file of 2 GiB to one client.
    Large(Kind),
    /// A page by PHP, again and again.
    Php(Kind),
    /// A thousand clients that take their time.
    Slow(Kind, Slow),
    /// A download.
    Fetch(Fetch),
}

impl Web {
    /// Its name within its comparison.
    pub(super) fn name(self) -> String {
        match self {
            Web::Small(kind) | Web::Large(kind) | Web::Php(kind) => kind.name().to_owned(),
            Web::Slow(kind, slow) => format!("{}-{}", kind.name(), slow.name()),
            Web::Fetch(fetch) => fetch.name().to_owned(),
        }
    }

    /// Runs it once.
    pub(super) fn run(self, programs: &Programs) -> Result<Figures> {
        match self {
            Web::Small(kind) => load::small(kind, programs),
            Web::Large(kind) => load::large(kind, programs),
            Web::Php(kind) => load::php(kind, programs),
            Web::Slow(kind, slow) => slow::run(kind, slow, programs),
            Web::Fetch(fetch) => fetch::run(fetch, programs),
        }
    }
}

/// Files of 1 KiB.
pub(super) const SMALL: &[Kind] = &[Kind::Ours, Kind::Nginx, Kind::NginxBuffers, Kind::NginxCache];
/// 2 GiB.
pub(super) const LARGE: &[Kind] = &[Kind::Ours, Kind::Nginx, Kind::NginxBuffers];
/// PHP.
pub(super) const PHP: &[Kind] = &[Kind::Ours, Kind::Nginx];
/// Slow clients.
pub(super) const SLOW: &[(Kind, Slow)] = &[
    (Kind::Ours, Slow::Reading),
    (Kind::Ours, Slow::Shared),
    (Kind::Ours, Slow::Heads),
    (Kind::Nginx, Slow::Reading),
    (Kind::NginxBuffers, Slow::Reading),
    (Kind::Nginx, Slow::Heads),
];
