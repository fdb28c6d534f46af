//! What survives a restart: our ids, and the nodes that we knew. A few kilobytes of bencode.

use std::net::SocketAddr;

use base::NodeId;
use base::bencode::{self, Dict, Limits};
use wire::krpc::nodes;

/// Nodes of a family that are kept and read.
pub const SNAPSHOT_NODES_MAX: usize = 500;

const LIMITS: Limits = Limits { input: 64 << 10, depth: 2, tokens: 16 };

/// What is known of one family.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// Our id.
    pub id: Option<NodeId>,
    /// Nodes, the closest to us first.
    pub nodes: Vec<(NodeId, SocketAddr)>,
}

/// What is known of both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// IPv4.
    pub v4: Known,
    /// IPv6.
    pub v6: Known,
}

impl Snapshot {
    /// As bytes, to be stored.
    pub fn encode(&self) -> Vec<u8> {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for (id, addr) in self.v4.nodes.iter().chain(&self.v6.nodes) {
            nodes::push(*id, *addr, &mut four, &mut six);
        }
        let id = |known: &Known| known.id.map(|id| id.0.to_vec());
        let dict = Dict::new().with(b"nodes", four).with(b"nodes6", six);
        dict.with_some(b"id", id(&self.v4)).with_some(b"id6", id(&self.v6)).encode()
    }

    /// Reads what [`Snapshot::encode`] wrote; empty for anything else.
    pub fn parse(bytes: &[u8]) -> Snapshot {
        let Ok(doc) = bencode::parse(bytes, &LIMITS) else { return Snapshot::default() };
        let root = doc.root();
        let id = |key: &[u8]| root.find(key).and_then(|v| v.as_array()).map(NodeId);
        let list = |key: &[u8]| root.find_bytes(key).unwrap_or_default();
        let v4 = nodes::parse_v4(list(b"nodes")).take(SNAPSHOT_NODES_MAX).collect();
        let v6 = nodes::parse_v6(list(b"nodes6")).take(SNAPSHOT_NODES_MAX).collect();
        Snapshot { v4: Known { id: id(b"id"), nodes: v4 }, v6: Known { id: id(b"id6"), nodes: v6 } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_and_read() {
        let snapshot = Snapshot {
            v4: Known { id: Some(NodeId([1; 20])), nodes: vec![(NodeId([2; 20]), "1.2.3.4:5".parse().unwrap())] },
            v6: Known { id: None, nodes: vec![(NodeId([3; 20]), "[2001:db8::1]:5".parse().unwrap())] },
        };
        assert_eq!(Snapshot::parse(&snapshot.encode()), snapshot);
        let many = vec![(NodeId([2; 20]), "1.2.3.4:5".parse().unwrap()); 2 * SNAPSHOT_NODES_MAX];
        let many = Snapshot { v4: Known { id: None, nodes: many }, ..Snapshot::default() };
        assert_eq!(Snapshot::parse(&many.encode()).v4.nodes.len(), SNAPSHOT_NODES_MAX);
    }

    #[test]
    fn anything_else_is_nothing() {
        for bytes in [&b""[..], b"i1e", b"de", b"d2:id3:abc5:nodesi1ee", b"garbage", &[b'l'; 100]] {
            assert_eq!(Snapshot::parse(bytes), Snapshot::default());
        }
    }
}
