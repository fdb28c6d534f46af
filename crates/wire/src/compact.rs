//! Compact addresses: IPv4 and port in 6 bytes, IPv6 and port in 18, IP alone in 4 or 16, all big-endian.
//!
//! One codec for all who use it: trackers (BEP 7, 15, 23, 24), peer exchange (BEP 11), the extension handshake
//! (BEP 10). It passes on every address there is; which may be contacted is decided elsewhere ([`base::Scope`]).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

/// Bytes of an IPv4 address and a port.
pub const V4_LEN: usize = 6;
/// Bytes of an IPv6 address and a port.
pub const V6_LEN: usize = 18;

/// The 6 bytes of an IPv4 address and its port.
pub fn v4(addr: SocketAddrV4) -> [u8; V4_LEN] {
    let mut out = [0; V4_LEN];
    out[..4].copy_from_slice(&addr.ip().octets());
    out[4..].copy_from_slice(&addr.port().to_be_bytes());
    out
}

/// The 18 bytes of an IPv6 address and its port.
pub fn v6(addr: SocketAddrV6) -> [u8; V6_LEN] {
    let mut out = [0; V6_LEN];
    out[..16].copy_from_slice(&addr.ip().octets());
    out[16..].copy_from_slice(&addr.port().to_be_bytes());
    out
}

/// Appends `addr` in 6 or 18 bytes to the list of its family.
pub fn push(addr: SocketAddr, list4: &mut Vec<u8>, list6: &mut Vec<u8>) {
    match addr {
        SocketAddr::V4(addr) => list4.extend(v4(addr)),
        SocketAddr::V6(addr) => list6.extend(v6(addr)),
    }
}

/// The addresses in a list of 6 bytes each. Bytes left over at the end are ignored, as all clients do.
pub fn parse_v4(list: &[u8]) -> impl ExactSizeIterator<Item = SocketAddr> + '_ {
    list.as_chunks::<V4_LEN>()
        .0
        .iter()
        .map(|&[a, b, c, d, high, low]| SocketAddr::from((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low]))))
}

/// The addresses in a list of 18 bytes each. Bytes left over at the end are ignored, as all clients do.
pub fn parse_v6(list: &[u8]) -> impl ExactSizeIterator<Item = SocketAddr> + '_ {
    list.as_chunks::<V6_LEN>().0.iter().map(|entry| {
        let mut ip = [0; 16];
        ip.copy_from_slice(&entry[..16]);
        SocketAddr::from((Ipv6Addr::from(ip), u16::from_be_bytes([entry[16], entry[17]])))
    })
}

/// An IP address of 4 or 16 bytes; None for any other length.
pub fn parse_ip(bytes: &[u8]) -> Option<IpAddr> {
    let v4 = <[u8; 4]>::try_from(bytes).map(IpAddr::from);
    v4.or_else(|_| <[u8; 16]>::try_from(bytes).map(IpAddr::from)).ok()
}

/// The 4 or 16 bytes of an IP address.
pub fn ip(ip: IpAddr) -> Vec<u8> {
    match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes() {
        let (mut list4, mut list6) = (Vec::new(), Vec::new());
        push("10.1.2.3:6881".parse().expect("address"), &mut list4, &mut list6);
        push("[2001:db8::1]:1".parse().expect("address"), &mut list4, &mut list6);
        assert_eq!(list4, [10, 1, 2, 3, 0x1a, 0xe1]);
        assert_eq!(list6, [0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1]);
        assert_eq!(parse_ip(&list4[..4]), Some("10.1.2.3".parse().expect("address")));
        assert_eq!(parse_ip(&list6[..16]), Some("2001:db8::1".parse().expect("address")));
        assert_eq!(parse_ip(&list6[..5]), None);
        assert_eq!(parse_ip(&[]), None);
    }

    proptest! {
        #[test]
        fn round_trip(addresses in proptest::collection::vec(any::<SocketAddr>(), 0..20)) {
            let (mut list4, mut list6) = (Vec::new(), Vec::new());
            addresses.iter().for_each(|a| push(*a, &mut list4, &mut list6));
            let back: Vec<_> = parse_v4(&list4).chain(parse_v6(&list6)).collect();
            let plain = |a: &SocketAddr| SocketAddr::new(a.ip(), a.port());
            let (four, six): (Vec<_>, Vec<_>) = addresses.iter().map(plain).partition(|a| a.is_ipv4());
            prop_assert_eq!(back, [four, six].concat());
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            prop_assert_eq!(parse_v4(&bytes).count(), bytes.len() / 6);
            prop_assert_eq!(parse_v6(&bytes).count(), bytes.len() / 18);
            let _ = parse_ip(&bytes);
        }
    }
}
