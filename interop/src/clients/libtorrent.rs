//! PyPI's libtorrent: the reference for v2 and for pad files.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{PEER_PORT, text};
use crate::client::{Client, HOST_CLIENT};
use crate::place::Place;
use crate::process::{self, PATIENCE};
use crate::python::Python;

/// One session with one torrent.
pub struct Libtorrent {
    python: Python,
}

impl Libtorrent {
    /// Starts a session at the client's address of this place.
    ///
    /// # Errors
    /// When Python does not start.
    pub fn start(place: &Place) -> Result<Self> {
        Self::with_settings(place, HOST_CLIENT, &[])
    }

    /// The same, on another of the addresses and with settings of libtorrent as `name=value`.
    ///
    /// # Errors
    /// When Python does not start.
    pub fn with_settings(place: &Place, host: u8, settings: &[&str]) -> Result<Self> {
        let (address, port) = (place.address(host), PEER_PORT.to_string());
        let mut args = vec![address.as_str(), port.as_str()];
        args.extend(settings);
        Ok(Self { python: Python::start(&place.sub(&format!("client-{host}"))?, &args)? })
    }

    /// Adds a torrent whose content it has, to be given away at no more than `rate` bytes a second.
    ///
    /// # Errors
    /// When libtorrent refuses it.
    pub fn seed_slowly(&mut self, torrent: &Path, folder: &Path, rate: u32) -> Result<()> {
        let arguments = json!({"torrent": text(torrent)?, "folder": text(folder)?, "upload_limit": rate});
        self.python.ask("add", &arguments)?;
        process::until(PATIENCE, "libtorrent to have checked its data", || self.complete())
    }

    /// Adds a magnet instead of a torrent.
    ///
    /// # Errors
    /// When libtorrent refuses it.
    pub fn add_magnet(&mut self, magnet: &str, folder: &Path) -> Result<()> {
        self.python.ask("add", &json!({"magnet": magnet, "folder": text(folder)?})).map(drop)
    }

    /// Names a peer.
    ///
    /// # Errors
    /// When no torrent was added.
    pub fn connect(&mut self, address: &str, port: u16) -> Result<()> {
        self.python.ask("peer", &json!({"address": address, "port": port})).map(drop)
    }

    /// Its state: `complete`, `done`, `peers`, `uploaded`.
    ///
    /// # Errors
    /// When it reports an error of its own.
    pub fn status(&mut self) -> Result<Value> {
        let status = self.python.ask("status", &json!({}))?;
        ensure!(status["error"].is_null(), "libtorrent: {}", status["error"]);
        Ok(status)
    }
}

impl Client for Libtorrent {
    fn add(&mut self, torrent: &Path, folder: &Path) -> Result<()> {
        self.python.ask("add", &json!({"torrent": text(torrent)?, "folder": text(folder)?})).map(drop)
    }

    fn complete(&mut self) -> Result<bool> {
        Ok(self.status()?["complete"] == true)
    }
}
