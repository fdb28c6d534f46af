//! What `share`, `seed` and `get` have in common: the node, its peers, and how it is going.

use super::Listening;
use crate::args::{Global, NetworkArgs};
use crate::failure::Failure;
use crate::say::Voice;
use crate::units::{self, Rate};
use anyhow::Context as _;
use node::http::netrc::Netrc;
use node::{Event, Listen, Node, NodeConfig};
use serde::Serialize;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;

/// The data of a torrent is checked and offered.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "seeding")]
pub struct Seeding<'a> {
    /// The torrent's name.
    pub name: &'a str,
}

/// Something failed for good.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "error")]
pub struct ErrorEvent<'a> {
    /// What, in words for people.
    pub message: &'a str,
}

/// A peer sent rotten data.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename = "banned")]
pub struct Banned<'a> {
    /// Where it was: an address, or the URL of a server.
    pub peer: &'a str,
    /// What it did.
    pub why: &'a str,
}

/// Starts the node that a command line describes.
pub async fn start(
    network: &NetworkArgs,
    global: &Global,
    unless_said: Listen,
    limit_down: Option<Rate>,
    limit_up: Option<Rate>,
) -> Result<Arc<Node>, Failure> {
    start_with(network, global, unless_said, limit_down, limit_up, Netrc::default()).await
}

/// The same, for servers that ask for passwords.
pub async fn start_with(
    network: &NetworkArgs,
    global: &Global,
    unless_said: Listen,
    limit_down: Option<Rate>,
    limit_up: Option<Rate>,
    logins: Netrc,
) -> Result<Arc<Node>, Failure> {
    let limits = |rate: Option<Rate>| rate.map(|r| r.0);
    let usual = NodeConfig::default();
    let engine = engine::Config {
        limit_down: limits(limit_down),
        limit_up: limits(limit_up),
        connections_max: network.max_connections,
        torrent_connections_max: network.max_connections_per_torrent,
        pex: !network.no_pex,
        shards: network.shards.map_or(usual.engine.shards, usize::from),
        ..usual.engine
    };
    let config = NodeConfig {
        data_dir: global.data_dir.clone(),
        listen: network.listen.map_or(unless_said, Listen::At),
        engine,
        logins,
        ..usual
    };
    match Node::start(config).await {
        Ok(node) => Ok(Arc::new(node)),
        Err(error) => {
            let hint = match &error {
                node::NodeError::Listen(_, e) if network.listen.is_some() => super::hint(e),
                _ => "",
            };
            Err(anyhow::anyhow!("{error}{hint}").into())
        }
    }
}

/// What the node has bound.
pub fn listening(node: &Node) -> Listening {
    let addrs = node.listen_addrs();
    let v6 = addrs.iter().find(|a| a.is_ipv6()).copied();
    match addrs.iter().find(|a| a.is_ipv4()).copied() {
        Some(v4) => Listening { peer: Some(v4), peer6: v6, ..Listening::default() },
        None => Listening { peer: v6, ..Listening::default() },
    }
}

/// The addresses of the peers that a user named.
pub async fn peers(names: &[String]) -> Result<Vec<SocketAddr>, Failure> {
    let mut addrs = Vec::new();
    for name in names {
        let has_port = name
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0));
        if !has_port {
            return Err(Failure::usage(format!("--peer {name}: write its address and port, as in 192.0.2.7:6881")));
        }
        let found =
            tokio::net::lookup_host(name.as_str()).await.with_context(|| format!("can't find the peer {name}"))?;
        addrs.extend(found);
    }
    Ok(addrs)
}

/// Ends the node in order, and says so if that takes a while.
pub async fn end(node: &Node, voice: Voice) {
    let shutdown = node.shutdown();
    tokio::pin!(shutdown);
    let patience = tokio::time::sleep(std::time::Duration::from_secs(1));
    tokio::select! {
        () = &mut shutdown => return,
        () = patience => voice.note("telling the trackers good-bye; again Ctrl-C ends at once"),
    }
    shutdown.await;
}

/// How seeding goes, in a line.
pub async fn seeding_line(node: &Node) -> String {
    let node::Totals { peers, rate_up: rate, uploaded: sent, .. } = node.totals().await;
    let peers = units::count(peers, "peer");
    format!("seeding to {peers} at {}, {} given so far", units::rate(rate), units::bytes(sent))
}

/// What trackers complain about, each once: they are asked again and again.
#[derive(Debug, Default)]
pub struct Complaints(BTreeSet<String>);

impl Complaints {
    /// Different complaints that are remembered; further ones are not told.
    const MAX: usize = 1_000;

    /// What to tell of an event, if it is one of a tracker's and was not told yet.
    pub fn of(&mut self, event: &Event) -> Option<String> {
        let (url, what) = match event {
            Event::Tracker { url, error: Some(error), .. } => (url, error),
            Event::Tracker { url, warning: Some(warning), .. } => (url, warning),
            _ => return None,
        };
        let text = format!("the tracker {url} says: {what}");
        (self.0.len() < Complaints::MAX && self.0.insert(text.clone())).then_some(text)
    }
}
