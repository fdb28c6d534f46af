//! Node ids that belong to an IP address (BEP 42), so that nobody can choose where in the key space his nodes are, and the networks
//! that count as one neighbour, so that one owner of addresses does not fill our table.

use std::net::IpAddr;

use base::{NodeId, Rng, Scope, crc32c};

const MASK_V4: [u8; 4] = [0x03, 0x0f, 0x3f, 0xff];
const MASK_V6: [u8; 8] = [0x01, 0x03, 0x07, 0x0f, 0x1f, 0x3f, 0x7f, 0xff];

/// The first bits of the ids that `ip` may have with this random number: 21 of them count.
fn prefix(ip: IpAddr, random: u8) -> u32 {
    fn hash<const N: usize>(mut bytes: [u8; N], mask: [u8; N], random: u8) -> u32 {
        bytes.iter_mut().zip(mask).for_each(|(byte, mask)| *byte &= mask);
        bytes[0] |= (random & 7) << 5;
        crc32c(&bytes)
    }
    match ip.to_canonical() {
        IpAddr::V4(ip) => hash(ip.octets(), MASK_V4, random),
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h, ..] = ip.octets();
            hash([a, b, c, d, e, f, g, h], MASK_V6, random)
        }
    }
}

/// An id for a node at `ip`.
pub fn id_for(ip: IpAddr, rng: &mut Rng) -> NodeId {
    let mut id = NodeId::random(rng);
    let [a, b, c, _] = prefix(ip, id.0[19]).to_be_bytes();
    (id.0[0], id.0[1], id.0[2]) = (a, b, c & 0xf8 | id.0[2] & 0x07);
    id
}

/// May a node at `ip` have this id? On local networks, any.
pub fn fits(id: &NodeId, ip: IpAddr) -> bool {
    let [a, b, c, _] = prefix(ip, id.0[19]).to_be_bytes();
    Scope::of(ip).is_some_and(Scope::is_local) || (id.0[0], id.0[1], id.0[2] & 0xf8) == (a, b, c & 0xf8)
}

/// What counts as one neighbour: a /24 of IPv4, a /64 of IPv6. None on local networks, where all may be distinct.
pub(crate) fn network(ip: IpAddr) -> Option<[u8; 8]> {
    if Scope::of(ip).is_some_and(Scope::is_local) {
        return None;
    }
    Some(match ip.to_canonical() {
        IpAddr::V4(ip) => {
            let [a, b, c, _] = ip.octets();
            [0xff, 0, 0, 0, 0, a, b, c]
        }
        IpAddr::V6(ip) => {
            let [a, b, c, d, e, f, g, h, ..] = ip.octets();
            [a, b, c, d, e, f, g, h]
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_vectors_of_bep_42() {
        for (ip, random, expected) in [
            ("124.31.75.21", 1, [0x5f, 0xbf, 0xb8]),
            ("21.75.31.124", 86, [0x5a, 0x3c, 0xe8]),
            ("65.23.51.170", 22, [0xa5, 0xd4, 0x30]),
            ("84.124.73.14", 65, [0x1b, 0x03, 0x20]),
            ("43.213.53.83", 90, [0xe5, 0x6f, 0x68]),
        ] {
            let ip: IpAddr = ip.parse().unwrap();
            let [a, b, c, _] = prefix(ip, random).to_be_bytes();
            assert_eq!([a, b, c & 0xf8], expected, "{ip}");
            let mut id = NodeId([9; 20]);
            (id.0[0], id.0[1], id.0[2], id.0[19]) = (a, b, c ^ 7, random);
            assert!(fits(&id, ip), "{ip}: the last three bits are free");
            id.0[2] ^= 8;
            assert!(!fits(&id, ip), "{ip}: the 21st bit is not");
        }
    }

    #[test]
    fn ids_fit_their_address_and_no_other() {
        let mut rng = Rng::from_seed(1);
        for ip in ["8.8.8.8", "2001:db8:1:2::3", "::ffff:8.8.4.4"] {
            let ip: IpAddr = ip.parse().unwrap();
            let ids: Vec<_> = (0..50).map(|_| id_for(ip, &mut rng)).collect();
            assert!(ids.iter().all(|id| fits(id, ip)));
            assert!(ids.iter().all(|id| !fits(id, "93.184.216.34".parse().unwrap())));
        }
        let anything = NodeId([3; 20]);
        for ip in ["127.0.0.1", "10.1.2.3", "192.168.0.9", "169.254.1.1", "fe80::1"] {
            assert!(fits(&anything, ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn neighbours() {
        let net = |ip: &str| network(ip.parse().unwrap());
        assert_eq!(net("8.8.8.8"), net("8.8.8.255"));
        assert_ne!(net("8.8.8.8"), net("8.8.9.8"));
        assert_eq!(net("2001:db8:1:2::3"), net("2001:db8:1:2:ffff::"));
        assert_ne!(net("2001:db8:1:2::3"), net("2001:db8:1:3::3"));
        assert_eq!((net("127.0.0.1"), net("10.0.0.1")), (None, None));
    }
}
