//! qbittorrent-nox, by its web API.

use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::{CONTROL_PORT, PEER_PORT, text};
use crate::client::{Client, HOST_CLIENT};
use crate::place::Place;
use crate::process::{self, PATIENCE, Process};
use crate::rpc;

/// One qbittorrent-nox with one torrent.
pub struct Qbittorrent {
    process: Process,
    url: String,
}

impl Qbittorrent {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(place: &Place) -> Result<Self> {
        let (folder, address) = (place.sub("client")?, place.address(HOST_CLIENT));
        let config = place.sub("client/qBittorrent/config")?;
        let settings = format!(
            "[LegalNotice]\nAccepted=true\n\n[BitTorrent]\nSession\\DHTEnabled=false\nSession\\LSDEnabled=false\n\
             Session\\PeXEnabled=false\nSession\\InterfaceAddress={address}\nSession\\Interface=lo\nSession\\InterfaceName=lo\n\
             Session\\Port={PEER_PORT}\nSession\\BTProtocol=TCP\nSession\\QueueingSystemEnabled=false\n\
             Session\\SSRFMitigation=false\nSession\\MultiConnectionsPerIp=true\nSession\\AddTorrentPaused=false\n\n\
             [Preferences]\nWebUI\\Address={address}\nWebUI\\Port={CONTROL_PORT}\nWebUI\\LocalHostAuth=false\n\
             WebUI\\AuthSubnetWhitelistEnabled=true\nWebUI\\AuthSubnetWhitelist=10.77.0.0/16\nWebUI\\CSRFProtection=false\n\
             WebUI\\HostHeaderValidation=false\nWebUI\\UseUPnP=false\n\n[Network]\nPortForwardingEnabled=false\n"
        );
        fs::write(config.join("qBittorrent.conf"), settings).context("cannot write qBittorrent.conf")?;
        let mut command = Command::new("qbittorrent-nox");
        command.arg(format!("--profile={}", text(&folder)?));
        let process = Process::start("qbittorrent", &folder, &mut command)?;
        let mut client = Self { process, url: format!("http://{address}:{CONTROL_PORT}/api/v2") };
        process::until(PATIENCE, "qbittorrent-nox to answer", || {
            client.process.alive()?;
            Ok(rpc::curl(&[&format!("{}/app/version", client.url)]).is_ok_and(|r| r.status == 200))
        })?;
        // Its announces fail, and are not repeated soon, when it has no port for peers yet.
        process::until(PATIENCE, "qbittorrent-nox to listen", || {
            client.process.alive()?;
            Ok(TcpStream::connect((address.as_str(), PEER_PORT)).is_ok())
        })?;
        Ok(client)
    }
}

impl Client for Qbittorrent {
    fn add(&mut self, torrent: &Path, folder: &Path) -> Result<()> {
        let (file, save) = (format!("torrents=@{}", text(torrent)?), format!("savepath={}", text(folder)?));
        let form =
            ["-F", &file, "-F", &save, "-F", "autoTMM=false", "-F", "contentLayout=Original", "-F", "paused=false"];
        let url = format!("{}/torrents/add", self.url);
        let reply = rpc::curl(&[&form[..], &[url.as_str()]].concat())?;
        ensure!(
            reply.status == 200 && reply.text() == "Ok.",
            "qbittorrent, asked to add: {} {}",
            reply.status,
            reply.text()
        );
        Ok(())
    }

    fn complete(&mut self) -> Result<bool> {
        self.process.alive()?;
        let reply = rpc::curl(&[&format!("{}/torrents/info", self.url)])?;
        let list: Value = serde_json::from_slice(&reply.body).context("qbittorrent answered no JSON")?;
        let state = list[0]["state"].as_str().unwrap_or_default();
        ensure!(!matches!(state, "error" | "missingFiles"), "qbittorrent: {state}");
        Ok(list[0]["progress"] == 1.0 && matches!(state, "uploading" | "stalledUP" | "forcedUP"))
    }
}
