//! What the pages ask of the node and of the tracker.

use base::{InfoHashes, TorrentId};
use node::Node;
use node::tracker_server::TrackerServer;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use web::{Answer, Live, Swarm, SwarmPeer};

/// Node and tracker, as the pages see them.
#[derive(Debug)]
pub struct Glue {
    node: Arc<Node>,
    tracker: Arc<TrackerServer>,
    torrents: Mutex<BTreeMap<InfoHashes, TorrentId>>,
}

impl Glue {
    /// Knows no torrents yet.
    pub fn new(node: Arc<Node>, tracker: Arc<TrackerServer>) -> Self {
        Glue { node, tracker, torrents: Mutex::default() }
    }

    /// Answers for this torrent, too.
    pub fn add(&self, hashes: InfoHashes, id: TorrentId) {
        self.torrents.lock().unwrap_or_else(PoisonError::into_inner).insert(hashes, id);
    }

    /// Answers for it no more.
    pub fn remove(&self, hashes: InfoHashes) {
        self.torrents.lock().unwrap_or_else(PoisonError::into_inner).remove(&hashes);
    }

    async fn look(&self, hashes: InfoHashes) -> Option<Swarm> {
        let id = *self.torrents.lock().unwrap_or_else(PoisonError::into_inner).get(&hashes)?;
        let status = self.node.status(id).await?.torrent;
        let pieces = f64::from(status.pieces.max(1));
        let peers = self.node.peers(id).await.into_iter().map(|peer| SwarmPeer {
            address: peer.addr.to_string(),
            client: peer.client,
            percent: f64::from(peer.pieces) * 100.0 / pieces,
            uploaded: peer.uploaded,
            rate_up: peer.rate_up,
        });
        Some(Swarm { uploaded: status.uploaded, rate_up: status.rate_up, peers: peers.collect() })
    }
}

impl Live for Glue {
    fn swarm(&self, hashes: InfoHashes) -> Answer<'_, Option<Swarm>> {
        Box::pin(self.look(hashes))
    }

    fn announce(&self, query: &str, from: SocketAddr) -> Answer<'_, Vec<u8>> {
        let answer = self.tracker.announce(query, from);
        Box::pin(async move { answer })
    }

    fn scrape(&self, query: &str, from: SocketAddr) -> Answer<'_, Vec<u8>> {
        let answer = self.tracker.scrape(query, from);
        Box::pin(async move { answer })
    }
}
