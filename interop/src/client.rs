//! What each client of others can be asked for.

use std::path::Path;

use anyhow::Result;

use crate::content::Empty;
use crate::place::Place;

/// The address that the client has in each test; our own tracker has the first.
pub const HOST_CLIENT: u8 = 2;

/// A program that others wrote, started and running.
pub trait Client {
    /// Adds a torrent, whose content lies in or comes to `folder`, under the name of the torrent. What is there is checked first.
    ///
    /// # Errors
    /// When the client refuses the torrent.
    fn add(&mut self, torrent: &Path, folder: &Path) -> Result<()>;

    /// Does the client have all of it?
    ///
    /// # Errors
    /// When the client has ended, or says that something went wrong.
    fn complete(&mut self) -> Result<bool>;
}

/// Which one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// PyPI's libtorrent.
    Libtorrent,
    /// transmission-daemon.
    Transmission,
    /// aria2c.
    Aria2,
    /// rtorrent, on rakshasa's libtorrent.
    Rtorrent,
    /// qbittorrent-nox, on Debian's libtorrent.
    Qbittorrent,
}

impl Kind {
    /// All of them, in the order of the table.
    pub const ALL: [Self; 5] = [Self::Libtorrent, Self::Transmission, Self::Aria2, Self::Rtorrent, Self::Qbittorrent];

    /// Its short name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Libtorrent => "libtorrent",
            Self::Transmission => "transmission",
            Self::Aria2 => "aria2",
            Self::Rtorrent => "rtorrent",
            Self::Qbittorrent => "qbittorrent",
        }
    }

    /// What the table calls it: the version that the table was last made with.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Libtorrent => "libtorrent 2.1.1 (PyPI)",
            Self::Transmission => "transmission-daemon 3.00",
            Self::Aria2 => "aria2 1.36",
            Self::Rtorrent => "rtorrent 0.9.8",
            Self::Qbittorrent => "qbittorrent-nox 4.5.2",
        }
    }

    /// Does it know BEP 47, so that pad files are neither stored nor needed on disk?
    #[must_use]
    pub fn knows_pads(self) -> bool {
        matches!(self, Self::Libtorrent | Self::Qbittorrent)
    }

    /// Does it make the empty files of a torrent?
    #[must_use]
    pub fn makes_empty_files(self) -> Empty {
        if self == Self::Transmission { Empty::MayMiss } else { Empty::Present }
    }

    /// Does it read hybrids, as v1? A file tree of v2 has dictionaries with an empty key: Transmission 3.00 refuses them, and aria2 loses
    /// them, so that it calls the torrent by a hash of its own.
    #[must_use]
    pub fn reads_hybrids(self) -> bool {
        !matches!(self, Self::Transmission | Self::Aria2)
    }

    /// Does it tell the tracker at once that it has completed? rtorrent waits five minutes since its last announce.
    #[must_use]
    pub fn tells_completion_at_once(self) -> bool {
        self != Self::Rtorrent
    }

    /// Does it know BEP 52?
    #[must_use]
    pub fn knows_v2(self) -> bool {
        matches!(self, Self::Libtorrent | Self::Qbittorrent)
    }

    /// Starts it in a place.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(self, place: &Place) -> Result<Box<dyn Client>> {
        use crate::clients::{aria2, libtorrent, qbittorrent, rtorrent, transmission};
        Ok(match self {
            Self::Libtorrent => Box::new(libtorrent::Libtorrent::start(place)?),
            Self::Transmission => Box::new(transmission::Transmission::start(place)?),
            Self::Aria2 => Box::new(aria2::Aria2::start(place)?),
            Self::Rtorrent => Box::new(rtorrent::Rtorrent::start(place)?),
            Self::Qbittorrent => Box::new(qbittorrent::Qbittorrent::start(place)?),
        })
    }
}
