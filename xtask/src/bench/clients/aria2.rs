//! aria2, by its JSON-RPC.

use std::net::SocketAddr;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::super::http;
use super::super::process::{PATIENCE, Process, until};
use super::{Client, Progress, Seat, Work};

/// One process.
pub(super) struct Aria2 {
    process: Process,
    seat: Seat,
    ids: Vec<Value>,
}

impl Aria2 {
    /// Starts it.
    pub(super) fn start(seat: Seat, flags: &[&str]) -> Result<Self> {
        let mut command = Command::new("aria2c");
        command.args(["--no-conf", "--quiet", "--enable-rpc", &format!("--rpc-listen-port={}", seat.control)]);
        command.args([format!("--interface={}", seat.address), format!("--listen-port={}", seat.port)]);
        command.args(["--enable-dht=false", "--enable-dht6=false", "--bt-enable-lpd=false", "--disable-ipv6"]);
        command.args(["--enable-peer-exchange=false", "--bt-min-crypto-level=plain", "--file-allocation=falloc"]);
        command.args(["--seed-ratio=0.0", "--check-integrity=true", "--bt-max-peers=100", "--async-dns=false"]);
        command.args(["--max-concurrent-downloads=100", "--allow-overwrite=true"]).args(flags);
        let mut process = Process::start(&seat.name, &seat.folder, &mut command)?;
        until(PATIENCE, "aria2c to answer", || {
            process.alive()?;
            Ok(call(seat.control, "aria2.getVersion", &json!([])).is_ok())
        })?;
        Ok(Self { process, seat, ids: Vec::new() })
    }
}

fn call(port: u16, method: &str, parameters: &Value) -> Result<Value> {
    let body = json!({"jsonrpc": "2.0", "id": "1", "method": method, "params": parameters}).to_string();
    let answer = http::ask_json(port, "/jsonrpc", Some(body.as_bytes()))?;
    ensure!(answer["error"].is_null(), "aria2, asked to {method}: {}", answer["error"]["message"]);
    Ok(answer["result"].clone())
}

impl Client for Aria2 {
    fn pid(&self) -> Option<u32> {
        Some(self.process.id())
    }

    fn add(&mut self, work: &Work<'_>) -> Result<()> {
        for torrent in work.torrents {
            let bytes = std::fs::read(torrent).with_context(|| format!("cannot read {}", torrent.display()))?;
            let parameters = json!([http::base64(&bytes), [], {"dir": work.folder}]);
            self.ids.push(call(self.seat.control, "aria2.addTorrent", &parameters)?);
        }
        Ok(())
    }

    fn peers_at(&self) -> SocketAddr {
        self.seat.peers_at()
    }

    fn progress(&mut self) -> Result<Progress> {
        self.process.alive()?;
        let mut progress = Progress { bytes: 0, complete: Some(Instant::now()) };
        for id in &self.ids {
            let fields = json!([id, ["status", "completedLength", "totalLength", "seeder", "errorMessage"]]);
            let state = call(self.seat.control, "aria2.tellStatus", &fields)?;
            ensure!(state["status"] != "error", "aria2: {}", state["errorMessage"]);
            progress.bytes += state["completedLength"].as_str().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
            let done = state["seeder"] == "true" && state["completedLength"] == state["totalLength"];
            progress.complete =
                progress.complete.filter(|_| done && state["totalLength"] != "0").map(|_| Instant::now());
        }
        Ok(progress)
    }
}
