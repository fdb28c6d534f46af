//! aria2c, by its JSON-RPC.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::{CONTROL_PORT, PEER_PORT, base64, text};
use crate::client::{Client, HOST_CLIENT};
use crate::place::Place;
use crate::process::{self, PATIENCE, Process};
use crate::rpc;

/// One aria2c with one torrent.
pub struct Aria2 {
    process: Process,
    url: String,
    id: Value,
}

impl Aria2 {
    /// Starts it and waits until it answers.
    ///
    /// # Errors
    /// When it does not.
    pub fn start(place: &Place) -> Result<Self> {
        let (folder, address) = (place.sub("client")?, place.address(HOST_CLIENT));
        let mut command = Command::new("aria2c");
        command.args(["--no-conf", "--enable-rpc", "--rpc-listen-all", "--seed-ratio=0.0", "--check-integrity=true"]);
        // It speaks to UDP trackers only with its DHT on; there is nobody here whom the DHT could reach.
        command.args([
            "--enable-dht=true",
            "--enable-dht6=false",
            "--bt-enable-lpd=false",
            "--enable-peer-exchange=false",
        ]);
        command.args(["--disable-ipv6", "--allow-overwrite=true", "--async-dns=false", "--console-log-level=info"]);
        command.args(["--summary-interval=0", "--show-console-readout=false", "--dht-entry-point=10.77.0.1:9"]);
        command.arg(format!("--dht-file-path={}", folder.join("dht.dat").display()));
        command.arg(format!("--interface={address}")).arg(format!("--listen-port={PEER_PORT}"));
        command.arg(format!("--dht-listen-port={PEER_PORT}")).arg(format!("--rpc-listen-port={CONTROL_PORT}"));
        let process = Process::start("aria2", &folder, &mut command)?;
        let url = format!("http://{address}:{CONTROL_PORT}/jsonrpc");
        let mut client = Self { process, url, id: Value::Null };
        process::until(PATIENCE, "aria2c to answer", || {
            client.process.alive()?;
            Ok(client.call("aria2.getVersion", &json!([])).is_ok())
        })?;
        Ok(client)
    }

    fn call(&self, method: &str, parameters: &Value) -> Result<Value> {
        let body = json!({"jsonrpc": "2.0", "id": "1", "method": method, "params": parameters}).to_string();
        let reply = rpc::curl(&["--data-binary", &body, &self.url])?;
        let answer: Value = serde_json::from_slice(&reply.body).context("aria2 answered no JSON")?;
        ensure!(answer["error"].is_null(), "aria2, asked to {method}: {}", answer["error"]["message"]);
        Ok(answer["result"].clone())
    }
}

impl Client for Aria2 {
    fn add(&mut self, torrent: &Path, folder: &Path) -> Result<()> {
        let metainfo = base64(&fs::read(torrent).context("cannot read the torrent")?);
        self.id = self.call("aria2.addTorrent", &json!([metainfo, [], {"dir": text(folder)?}]))?;
        Ok(())
    }

    fn complete(&mut self) -> Result<bool> {
        self.process.alive()?;
        let fields = json!([self.id, ["status", "completedLength", "totalLength", "seeder", "errorMessage"]]);
        let state = self.call("aria2.tellStatus", &fields)?;
        ensure!(state["status"] != "error", "aria2: {}", state["errorMessage"]);
        Ok(state["seeder"] == "true" && state["completedLength"] == state["totalLength"])
    }
}
