//! The tracker of a world: the production one. It stands at 1.255.255.254; what is asked of it travels for a while.

use super::WorldSpec;
use base::{Instant, Rng};
use std::net::{IpAddr, SocketAddr};
use tracker::HttpReply;
use tracker::server::{Config, Server};

/// Where it stands, outside of what worlds give to peers.
const HOST: &str = "1.255.255.254:6969";

/// The production tracker.
#[derive(Debug)]
pub(super) struct TrackerSide {
    server: Server,
}

impl TrackerSide {
    pub(super) fn new(rng: Rng, _world: &WorldSpec) -> Self {
        TrackerSide { server: Server::new(Config::small(), rng) }
    }

    /// What peers announce to.
    pub(super) fn url(&self) -> String {
        format!("http://{HOST}/announce")
    }

    /// An HTTP GET.
    pub(super) fn fetch(&mut self, now: Instant, url: &str, from: IpAddr) -> Result<HttpReply, String> {
        self.server.tick(now);
        let rest = url.strip_prefix("http://").and_then(|rest| rest.strip_prefix(HOST)).ok_or("connection refused")?;
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let body = match path {
            "/announce" => self.server.announce_http(now, query, from),
            "/scrape" => self.server.scrape_http(query, from),
            _ => return Ok(HttpReply { status: 404, location: None, body: Vec::new() }),
        };
        Ok(HttpReply { status: 200, location: None, body })
    }

    /// A datagram: whence and what is answered, if anything.
    pub(super) fn datagram(&mut self, now: Instant, from: SocketAddr, data: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        let mut out = Vec::new();
        let host = HOST.parse().ok()?;
        self.server.udp(now, from, data, &mut out).then_some((host, out))
    }
}
