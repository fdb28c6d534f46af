//! The flags of every command that talks to peers.

use super::address;
use crate::failure::Failure;
use clap::{Args, ValueEnum};
use std::net::SocketAddr;

/// Most shards of one node.
const SHARDS_MAX: i64 = engine::Config::SHARDS_MAX as i64;

/// How to talk to peers.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Network")]
pub struct NetworkArgs {
    /// Listen for peers here [default: all interfaces; get: any port, others: the first free from 6881]
    #[arg(long, value_name = "ADDR:PORT", value_parser = address::listen)]
    pub listen: Option<SocketAddr>,
    /// Don't use the DHT
    #[arg(long)]
    pub no_dht: bool,
    /// Don't look for peers on the local network
    #[arg(long)]
    pub no_lsd: bool,
    /// Don't exchange addresses with peers
    #[arg(long)]
    pub no_pex: bool,
    /// Don't use uTP
    #[arg(long)]
    pub no_utp: bool,
    /// Don't use TCP
    #[arg(long, hide = true)]
    pub no_tcp: bool,
    /// Don't ask the router for a port
    #[arg(long)]
    pub no_nat: bool,
    /// Begin with this node of the DHT
    #[arg(long, value_name = "ADDR", hide = true)]
    pub dht_node: Vec<String>,
    /// Connections with peers at once, all torrents together
    #[arg(long, value_name = "N", default_value_t = engine::Config::default().connections_max)]
    pub max_connections: usize,
    /// Connections with peers of one torrent
    #[arg(long, value_name = "N", default_value_t = engine::Config::default().torrent_connections_max)]
    pub max_connections_per_torrent: usize,
    /// Spread the torrents over so many threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=SHARDS_MAX))]
    pub shards: Option<u16>,
    /// Whether connections are obfuscated
    #[arg(long, value_enum, default_value_t)]
    pub encryption: Encryption,
}

impl NetworkArgs {
    /// What holds where nobody says otherwise, but for where to listen.
    pub fn usual(listen: Option<SocketAddr>) -> Self {
        let engine = engine::Config::default();
        NetworkArgs {
            listen,
            no_dht: false,
            no_lsd: false,
            no_pex: false,
            no_utp: false,
            no_tcp: false,
            no_nat: false,
            dht_node: Vec::new(),
            max_connections: engine.connections_max,
            max_connections_per_torrent: engine.torrent_connections_max,
            shards: None,
            encryption: Encryption::default(),
        }
    }
}

/// Whether connections are obfuscated (MSE).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Encryption {
    /// Never.
    Off,
    /// If the other side wants it.
    #[default]
    Allowed,
    /// If the other side can.
    #[value(hide = true)]
    Preferred,
    /// Always.
    #[value(hide = true)]
    Required,
}

impl NetworkArgs {
    /// Refuses the flags of parts that are not built yet. Those that turn such a part off are welcome.
    pub fn check(&self) -> Result<(), Failure> {
        if self.no_tcp {
            return Err(Failure::unbuilt("--no-tcp (uTP, which would be left to talk by,)"));
        }
        if !self.dht_node.is_empty() {
            return Err(Failure::unbuilt("--dht-node (the DHT)"));
        }
        match self.encryption {
            Encryption::Off | Encryption::Allowed => Ok(()),
            Encryption::Preferred => Err(Failure::unbuilt("--encryption preferred")),
            Encryption::Required => Err(Failure::unbuilt("--encryption required")),
        }
    }
}
