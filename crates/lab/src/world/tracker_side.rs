//! The tracker of a world. It stands at 10.255.255.254, and whatever is asked of it travels for a while.

use super::WorldSpec;
use base::{Instant, Rng};
use std::net::{IpAddr, SocketAddr};

/// The production tracker, and where it stands.
pub(super) struct TrackerSide {}

impl TrackerSide {
    pub(super) fn new(_rng: Rng, _world: &WorldSpec) -> Self {
        TrackerSide {}
    }

    /// What peers announce to.
    pub(super) fn url(&self) -> String {
        "http://10.255.255.254:6969/announce".into()
    }

    pub(super) fn fetch(&mut self, _now: Instant, _url: &str, _from: IpAddr) -> Result<Vec<u8>, String> {
        Err("connection refused".into())
    }

    pub(super) fn datagram(&mut self, _now: Instant, _from: SocketAddr, _data: &[u8]) -> Option<(SocketAddr, Vec<u8>)> {
        None
    }
}
