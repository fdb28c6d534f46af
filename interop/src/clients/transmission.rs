//! transmission-daemon, by its RPC.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::{CONTROL_PORT, PEER_PORT, base64, text};
use crate::client::{Client, HOST_CLIENT};
use crate::place::Place;
use crate::process::{self, PATIENCE, Process};
use crate::rpc;

/// One daemon with one torrent.
pub struct Transmission {
    process: Process,
    url: String,
    session: String,
}

impl Transmission {
    /// Starts the daemon and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(place: &Place) -> Result<Self> {
        let (folder, address) = (place.sub("client")?, place.address(HOST_CLIENT));
        let settings = json!({
            "bind-address-ipv4": address, "peer-port": PEER_PORT, "rpc-port": CONTROL_PORT, "rpc-bind-address": address,
            "rpc-whitelist-enabled": false, "rpc-host-whitelist-enabled": false, "rpc-authentication-required": false,
            "dht-enabled": false, "lpd-enabled": false, "pex-enabled": false, "utp-enabled": false, "encryption": 1,
            "port-forwarding-enabled": false, "download-queue-enabled": false, "seed-queue-enabled": false,
            "trash-original-torrent-files": false, "message-level": 3,
        });
        fs::write(folder.join("settings.json"), settings.to_string()).context("cannot write settings.json")?;
        let process = Process::start(
            "transmission",
            &folder,
            Command::new("transmission-daemon").args(["-f", "-g"]).arg(&folder),
        )?;
        let url = format!("http://{address}:{CONTROL_PORT}/transmission/rpc");
        let mut client = Self { process, url, session: String::new() };
        process::until(PATIENCE, "transmission-daemon to answer", || {
            client.process.alive()?;
            Ok(client.call("session-get", &json!({})).is_ok())
        })?;
        Ok(client)
    }

    fn call(&mut self, method: &str, arguments: &Value) -> Result<Value> {
        let body = json!({"method": method, "arguments": arguments}).to_string();
        for _ in 0..2 {
            let session = format!("X-Transmission-Session-Id: {}", self.session);
            let reply = rpc::curl(&["-H", &session, "--data-binary", &body, &self.url])?;
            if reply.status != 409 {
                let answer: Value = serde_json::from_slice(&reply.body).context("transmission answered no JSON")?;
                ensure!(answer["result"] == "success", "transmission, asked to {method}: {}", answer["result"]);
                return Ok(answer["arguments"].clone());
            }
            reply.header("X-Transmission-Session-Id").context("409 without a session")?.clone_into(&mut self.session);
        }
        bail!("transmission gives no session")
    }
}

impl Client for Transmission {
    fn add(&mut self, torrent: &Path, folder: &Path) -> Result<()> {
        let metainfo = base64(&fs::read(torrent).context("cannot read the torrent")?);
        let arguments = json!({"metainfo": metainfo, "download-dir": text(folder)?, "paused": false});
        self.call("torrent-add", &arguments).map(drop)
    }

    fn complete(&mut self) -> Result<bool> {
        self.process.alive()?;
        let fields = json!({"fields": ["leftUntilDone", "status", "error", "errorString", "metadataPercentComplete"]});
        let answer = self.call("torrent-get", &fields)?;
        let torrent = &answer["torrents"][0];
        ensure!(torrent["error"] == 0 || torrent["error"] == 1, "transmission: {}", torrent["errorString"]);
        Ok(torrent["leftUntilDone"] == 0 && torrent["status"] == 6)
    }
}
