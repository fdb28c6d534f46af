//! Peer exchange (BEP 11): addresses of peers that the sender met and lost since its last message.
//!
//! When to send, which peers to name and whose word to believe is decided elsewhere; here are the bytes and the
//! caps on how many addresses one message may bring.

use super::{ExtendedError, LIMITS};
use crate::compact;
use base::bencode::{Dict, Kind, parse_prefix};
use std::net::SocketAddr;

/// Most addresses added, and most dropped, in one message: those of each family on receipt, those of both together
/// on sending. First messages may be longer by the BEP; what is beyond is ignored.
pub const PEX_PEERS_MAX: usize = 50;

/// What a sender says about a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PexFlags(pub u8);

impl PexFlags {
    /// It prefers obfuscated connections.
    pub const ENCRYPTION: PexFlags = PexFlags(0x01);
    /// It is a seed, or won't download.
    pub const SEED: PexFlags = PexFlags(0x02);
    /// It speaks uTP.
    pub const UTP: PexFlags = PexFlags(0x04);
    /// It speaks holepunching.
    pub const HOLEPUNCH: PexFlags = PexFlags(0x08);
    /// The sender connected to it, so it can be reached.
    pub const REACHABLE: PexFlags = PexFlags(0x10);

    /// True if all of `flags` are set.
    pub const fn has(self, flags: PexFlags) -> bool {
        self.0 & flags.0 == flags.0
    }

    /// These and those.
    pub const fn with(self, flags: PexFlags) -> Self {
        PexFlags(self.0 | flags.0)
    }
}

/// A peer that the sender is connected to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PexPeer {
    /// Where it listens.
    pub addr: SocketAddr,
    /// What the sender says about it.
    pub flags: PexFlags,
}

/// A peer exchange message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pex {
    /// Peers met.
    pub added: Vec<PexPeer>,
    /// Peers lost.
    pub dropped: Vec<SocketAddr>,
}

impl Pex {
    /// Reads the payload of an extended message. Flags that are missing count as none.
    pub fn parse(payload: &[u8]) -> Result<Self, ExtendedError> {
        let doc = parse_prefix(payload, &LIMITS)?;
        let root = doc.root();
        if root.kind() != Kind::Dict {
            return Err(ExtendedError::Key("dictionary"));
        }
        let list = |key: &[u8]| root.find_bytes(key).unwrap_or_default();
        let flags = |key: &[u8]| list(key).iter().map(|f| PexFlags(*f)).chain(std::iter::repeat(PexFlags::default()));
        let peer = |(addr, flags)| PexPeer { addr, flags };
        let (added4, added6) = (list(b"added"), list(b"added6"));
        let (dropped4, dropped6) = (list(b"dropped"), list(b"dropped6"));
        let added4 = compact::parse_v4(added4).take(PEX_PEERS_MAX).zip(flags(b"added.f")).map(peer);
        let added6 = compact::parse_v6(added6).take(PEX_PEERS_MAX).zip(flags(b"added6.f")).map(peer);
        let dropped4 = compact::parse_v4(dropped4).take(PEX_PEERS_MAX);
        let dropped6 = compact::parse_v6(dropped6).take(PEX_PEERS_MAX);
        Ok(Pex { added: added4.chain(added6).collect(), dropped: dropped4.chain(dropped6).collect() })
    }

    /// The payload of an extended message, with the first [`PEX_PEERS_MAX`] peers of each list. Keys of empty lists
    /// are left out, `added` excepted, since a message must have one.
    pub fn encode(&self) -> Vec<u8> {
        let (mut added4, mut added6) = (Vec::new(), Vec::new());
        let (mut flags4, mut flags6) = (Vec::new(), Vec::new());
        for PexPeer { addr, flags } in self.added.iter().take(PEX_PEERS_MAX) {
            compact::push(*addr, &mut added4, &mut added6);
            if addr.is_ipv4() { &mut flags4 } else { &mut flags6 }.push(flags.0);
        }
        let (mut dropped4, mut dropped6) = (Vec::new(), Vec::new());
        for addr in self.dropped.iter().take(PEX_PEERS_MAX) {
            compact::push(*addr, &mut dropped4, &mut dropped6);
        }
        let mut dict = Dict::new().with(b"added", added4).with(b"added.f", flags4);
        let more: [(&[u8], _); 4] =
            [(b"added6", added6), (b"added6.f", flags6), (b"dropped", dropped4), (b"dropped6", dropped6)];
        for (key, list) in more {
            if !list.is_empty() {
                dict.insert(key, list);
            }
        }
        dict.encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    #[test]
    fn golden_bytes() {
        let pex = Pex {
            added: vec![
                PexPeer { addr: addr("1.2.3.4:258"), flags: PexFlags::SEED.with(PexFlags::REACHABLE) },
                PexPeer { addr: addr("[::5]:6"), flags: PexFlags::UTP },
            ],
            dropped: vec![addr("9.8.7.6:1")],
        };
        let golden =
            b"d5:added6:\x01\x02\x03\x04\x01\x027:added.f1:\x126:added618:\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x05\0\x06\
            8:added6.f1:\x047:dropped6:\x09\x08\x07\x06\0\x01e";
        assert_eq!(pex.encode(), golden);
        assert_eq!(Pex::parse(golden), Ok(pex));
        assert_eq!(Pex::default().encode(), b"d5:added0:7:added.f0:e");
        assert!(PexFlags(0x12).has(PexFlags::SEED) && !PexFlags(0x12).has(PexFlags::UTP));
    }

    #[test]
    fn missing_flags_and_odd_lengths_are_let_pass() {
        let pex = Pex::parse(b"d5:added13:\x01\x02\x03\x04\0\x05\x06\x07\x08\x09\0\x0a!7:added.f1:\x02e").unwrap();
        assert_eq!(
            pex.added,
            [
                PexPeer { addr: addr("1.2.3.4:5"), flags: PexFlags::SEED },
                PexPeer { addr: addr("6.7.8.9:10"), flags: PexFlags(0) }
            ]
        );
        assert_eq!(Pex::parse(b"d5:addedi3ee"), Ok(Pex::default()));
        assert_eq!(Pex::parse(b"i3e"), Err(ExtendedError::Key("dictionary")));
    }

    #[test]
    fn lists_are_capped_both_ways() {
        let many: Vec<_> = (0..200u8).map(|i| SocketAddr::from(([i, 1, 1, 1], 1))).collect();
        let added = many.iter().map(|addr| PexPeer { addr: *addr, flags: PexFlags(0) }).collect();
        let sent = Pex { added, dropped: many.clone() }.encode();
        let pex = Pex::parse(&sent).unwrap();
        assert_eq!((pex.added.len(), pex.dropped.len()), (PEX_PEERS_MAX, PEX_PEERS_MAX));

        let (mut list4, mut list6) = (Vec::new(), Vec::new());
        many.iter().for_each(|a| compact::push(*a, &mut list4, &mut list6));
        let flood = Dict::new().with(b"added", list4.clone()).with(b"dropped", list4).encode();
        let pex = Pex::parse(&flood).unwrap();
        assert_eq!((pex.added.len(), pex.dropped.len()), (PEX_PEERS_MAX, PEX_PEERS_MAX));
        assert_eq!(pex.dropped, many[..PEX_PEERS_MAX]);
    }

    proptest! {
        #[test]
        fn round_trip(
            mut added in proptest::collection::vec((any::<std::net::IpAddr>(), any::<u16>(), any::<u8>()), 0..20),
            mut dropped in proptest::collection::vec((any::<std::net::IpAddr>(), any::<u16>()), 0..20),
        ) {
            added.sort_by_key(|(ip, ..)| ip.is_ipv6());
            dropped.sort_by_key(|(ip, ..)| ip.is_ipv6());
            let added = added.into_iter().map(|(ip, port, f)| PexPeer { addr: (ip, port).into(), flags: PexFlags(f) }).collect();
            let pex = Pex { added, dropped: dropped.into_iter().map(SocketAddr::from).collect() };
            prop_assert_eq!(Pex::parse(&pex.encode()), Ok(pex));
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..60), list in proptest::collection::vec(any::<u8>(), 0..60)) {
            let _ = Pex::parse(&bytes);
            let dict = Dict::new().with(b"added", list.clone()).with(b"added6", list.clone()).with(b"added.f", list).encode();
            prop_assert!(Pex::parse(&dict).is_ok());
        }
    }
}
