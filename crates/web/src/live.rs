//! What the site asks of the running node: the peers of a torrent, and the tracker's answers.

use base::InfoHashes;
use serde::Serialize;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;

/// A future that the node answers with.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The running node, as far as the site needs it.
pub trait Live: Send + Sync + 'static {
    /// The torrent and its peers now. None: it is not running.
    fn swarm(&self, hashes: InfoHashes) -> Answer<'_, Option<Swarm>>;

    /// The tracker's answer to `/announce?QUERY`: a bencoded dictionary.
    fn announce(&self, query: &str, from: SocketAddr) -> Answer<'_, Vec<u8>>;

    /// The tracker's answer to `/scrape?QUERY`: a bencoded dictionary.
    fn scrape(&self, query: &str, from: SocketAddr) -> Answer<'_, Vec<u8>>;
}

/// A torrent and its peers at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Swarm {
    /// Payload bytes sent to peers in this run.
    pub uploaded: u64,
    /// Payload bytes a second to peers.
    pub rate_up: u64,
    /// The peers that are connected.
    pub peers: Vec<SwarmPeer>,
}

/// One peer at one moment.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SwarmPeer {
    /// Its address; masked where strangers look.
    pub address: String,
    /// What it calls itself.
    pub client: String,
    /// How much it has, in percent.
    pub percent: f64,
    /// Payload bytes sent to it.
    pub uploaded: u64,
    /// Bytes a second to it.
    pub rate_up: u64,
}

/// An address of which strangers learn the network alone.
pub(crate) fn masked(address: &str) -> String {
    let ip = address.parse::<SocketAddr>().map(|a| a.ip()).or_else(|_| address.parse::<IpAddr>());
    match ip.map(|ip| ip.to_canonical()) {
        Ok(IpAddr::V4(ip)) => {
            let [a, b, ..] = ip.octets();
            format!("{a}.{b}.x.x")
        }
        Ok(IpAddr::V6(ip)) => {
            let [a, b, ..] = ip.segments();
            format!("{a:x}:{b:x}:x")
        }
        Err(_) => "a peer".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strangers_learn_the_network_alone() {
        assert_eq!(masked("10.20.30.40:5"), "10.20.x.x");
        assert_eq!(masked("[2001:db8::1]:5"), "2001:db8:x");
        assert_eq!(masked("[::ffff:10.20.30.40]:5"), "10.20.x.x");
        assert_eq!(masked("name"), "a peer");
    }
}
