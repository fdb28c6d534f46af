//! Compact nodes: an id, an address and a port in 26 bytes (BEP 5) or 38 (BEP 32).

use crate::compact;
use base::NodeId;
use std::net::SocketAddr;

/// Bytes of a node with an IPv4 address.
pub const V4_LEN: usize = 20 + compact::V4_LEN;
/// Bytes of a node with an IPv6 address.
pub const V6_LEN: usize = 20 + compact::V6_LEN;

/// Appends a node to the list of its family.
pub fn push(id: NodeId, addr: SocketAddr, list4: &mut Vec<u8>, list6: &mut Vec<u8>) {
    let list = if addr.is_ipv4() { &mut *list4 } else { &mut *list6 };
    list.extend(id.0);
    compact::push(addr, list4, list6);
}

/// The nodes in a list of 26 bytes each. Bytes left over at the end are ignored.
pub fn parse_v4(list: &[u8]) -> impl Iterator<Item = (NodeId, SocketAddr)> + '_ {
    list.as_chunks::<V4_LEN>().0.iter().filter_map(|entry| split(entry, |addr| compact::parse_v4(addr).next()))
}

/// The nodes in a list of 38 bytes each. Bytes left over at the end are ignored.
pub fn parse_v6(list: &[u8]) -> impl Iterator<Item = (NodeId, SocketAddr)> + '_ {
    list.as_chunks::<V6_LEN>().0.iter().filter_map(|entry| split(entry, |addr| compact::parse_v6(addr).next()))
}

fn split(entry: &[u8], addr: impl Fn(&[u8]) -> Option<SocketAddr>) -> Option<(NodeId, SocketAddr)> {
    let (id, rest) = entry.split_first_chunk::<20>()?;
    Some((NodeId(*id), addr(rest)?))
}
