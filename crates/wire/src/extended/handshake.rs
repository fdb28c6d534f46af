//! The handshake of the extension protocol (BEP 10), with the keys that BEP 9, 11 and 21 add.
//!
//! Every key is optional, unknown ones are ignored, and a value of the wrong kind counts as absent: real clients
//! send odd ones, and none of them is worth losing a peer. Only bytes that are no dictionary are an error.

use super::{ExtendedError, Extension, LIMITS};
use crate::{compact, text};
use base::bencode::{Dict, Kind, parse_prefix};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Most bytes of an info dictionary that are fetched from peers: 2^21 pieces of 20 bytes, and 8 MiB for names.
pub const METADATA_BYTES_MAX: u32 = 48 << 20;
/// Most characters that are kept of the name of a client.
const CLIENT_CHARS_MAX: usize = 64;

/// What a peer says about itself. May come again: [`PeerIds::update`] adds what has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ExtendedHandshake {
    /// The ids of its extensions (`m`).
    pub ids: PeerIds,
    /// The TCP port it listens on (`p`).
    pub port: Option<u16>,
    /// Name and version of the client (`v`), fit to be shown.
    pub client: Option<String>,
    /// The address from which the sender sees us (`yourip`).
    pub your_ip: Option<IpAddr>,
    /// An IPv4 address of the sender.
    pub ipv4: Option<Ipv4Addr>,
    /// An IPv6 address of the sender.
    pub ipv6: Option<Ipv6Addr>,
    /// Requests it queues before it drops any (`reqq`).
    pub request_queue: Option<u32>,
    /// Bytes of the info dictionary (BEP 9). None also where it says 0 or more than [`METADATA_BYTES_MAX`].
    pub metadata_size: Option<u32>,
    /// It won't download anything (BEP 21).
    pub upload_only: Option<bool>,
    /// It prefers obfuscated connections (`e`).
    pub prefers_encryption: Option<bool>,
}

/// The ids under which a peer wants to be sent its extensions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PeerIds([Option<u8>; Extension::ALL.len()]);

impl PeerIds {
    /// What we ask for ourselves: `extensions` under our own ids.
    pub fn local(extensions: impl IntoIterator<Item = Extension>) -> Self {
        let mut ids = PeerIds::default();
        for extension in extensions {
            ids.0[extension as usize] = Some(extension.local());
        }
        ids
    }

    /// The id to send `extension` under; None where the peer does not speak it.
    pub fn id(self, extension: Extension) -> Option<u8> {
        self.0[extension as usize].filter(|id| *id != 0)
    }

    /// Takes over what a later handshake changes: what it does not mention stays, 0 turns off.
    pub fn update(&mut self, newer: PeerIds) {
        for (old, new) in self.0.iter_mut().zip(newer.0) {
            *old = new.or(*old);
        }
    }
}

impl ExtendedHandshake {
    /// Reads the payload of an extended message with id 0. Bytes behind the dictionary are ignored.
    pub fn parse(payload: &[u8]) -> Result<Self, ExtendedError> {
        let doc = parse_prefix(payload, &LIMITS)?;
        let root = doc.root();
        if root.kind() != Kind::Dict {
            return Err(ExtendedError::Key("dictionary"));
        }
        let mut ids = PeerIds::default();
        if let Some(names) = root.find_dict(b"m") {
            for e in Extension::ALL {
                let id = names.find_int(e.name().as_bytes());
                ids.0[e as usize] = id.and_then(|id| u8::try_from(id).ok());
            }
        }
        let number = |key: &[u8]| root.find_u64(key);
        let flag = |key: &[u8]| root.find_int(key).map(|n| n != 0);
        Ok(ExtendedHandshake {
            ids,
            port: number(b"p").and_then(|p| u16::try_from(p).ok()).filter(|p| *p != 0),
            client: root.find_bytes(b"v").map(|v| text::printable(v, CLIENT_CHARS_MAX)).filter(|v| !v.is_empty()),
            your_ip: root.find_bytes(b"yourip").and_then(compact::parse_ip),
            ipv4: root.find(b"ipv4").and_then(|v| v.as_array::<4>()).map(Ipv4Addr::from),
            ipv6: root.find(b"ipv6").and_then(|v| v.as_array::<16>()).map(Ipv6Addr::from),
            request_queue: number(b"reqq").map(|n| u32::try_from(n).unwrap_or(u32::MAX)),
            metadata_size: number(b"metadata_size")
                .and_then(|n| u32::try_from(n).ok())
                .filter(|n| (1..=METADATA_BYTES_MAX).contains(n)),
            upload_only: flag(b"upload_only"),
            prefers_encryption: flag(b"e"),
        })
    }

    /// The payload of an extended message with id 0.
    pub fn encode(&self) -> Vec<u8> {
        let mut names = Dict::new();
        for e in Extension::ALL {
            if let Some(id) = self.ids.0[e as usize] {
                names.insert(e.name().as_bytes(), id);
            }
        }
        Dict::new()
            .with(b"m", names)
            .with_some(b"e", self.prefers_encryption.map(u8::from))
            .with_some(b"ipv4", self.ipv4.map(|ip| ip.octets().to_vec()))
            .with_some(b"ipv6", self.ipv6.map(|ip| ip.octets().to_vec()))
            .with_some(b"metadata_size", self.metadata_size)
            .with_some(b"p", self.port)
            .with_some(b"reqq", self.request_queue)
            .with_some(b"upload_only", self.upload_only.map(u8::from))
            .with_some(b"v", self.client.as_deref())
            .with_some(b"yourip", self.your_ip.map(compact::ip))
            .encode()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_bep_10() {
        let hello =
            ExtendedHandshake::parse(b"d1:md11:LT_metadatai1e6:ut_pexi2ee1:pi6881e1:v13:\xc2\xb5Torrent 1.2e").unwrap();
        assert_eq!(hello.ids.id(Extension::Pex), Some(2));
        assert_eq!(hello.ids.id(Extension::Metadata), None);
        assert_eq!(hello.port, Some(6881));
        assert_eq!(hello.client.as_deref(), Some("µTorrent 1.2"));
        assert_eq!(hello.metadata_size, None);
    }

    #[test]
    fn golden_bytes() {
        let hello = ExtendedHandshake {
            ids: PeerIds::local([Extension::Metadata, Extension::Pex]),
            port: Some(6881),
            client: Some("Shoal 0.1".into()),
            your_ip: Some([10, 0, 0, 1].into()),
            request_queue: Some(2000),
            metadata_size: Some(31235),
            upload_only: Some(true),
            ..Default::default()
        };
        let golden = b"d1:md11:ut_metadatai1e6:ut_pexi2ee13:metadata_sizei31235e1:pi6881e4:reqqi2000e11:upload_onlyi1e\
            1:v9:Shoal 0.16:yourip4:\x0a\0\0\x01e";
        assert_eq!(hello.encode().escape_ascii().to_string(), golden.escape_ascii().to_string());
        assert_eq!(ExtendedHandshake::parse(golden), Ok(hello));
    }

    #[test]
    fn later_handshakes_add() {
        let mut ids = ExtendedHandshake::parse(b"d1:md11:ut_metadatai3e6:ut_pexi4eee").unwrap().ids;
        ids.update(ExtendedHandshake::parse(b"d1:md6:ut_pexi0eee").unwrap().ids);
        assert_eq!((ids.id(Extension::Metadata), ids.id(Extension::Pex)), (Some(3), None));
        ids.update(ExtendedHandshake::parse(b"d1:md6:ut_pexi9eee").unwrap().ids);
        assert_eq!((ids.id(Extension::Metadata), ids.id(Extension::Pex)), (Some(3), Some(9)));
    }

    #[test]
    fn odd_values_count_as_absent() {
        let odd = b"d4:ipv43:abc4:ipv64:abcd1:md6:ut_pexi256e11:ut_metadatai-1ee13:metadata_sizei0e1:pi70000e\
            4:reqqi-5e1:vi3e6:yourip5:abcdee";
        assert_eq!(ExtendedHandshake::parse(odd), Ok(ExtendedHandshake::default()));
        let huge = format!("d13:metadata_sizei{}ee", u64::from(METADATA_BYTES_MAX) + 1);
        assert_eq!(ExtendedHandshake::parse(huge.as_bytes()).unwrap().metadata_size, None);
        assert_eq!(ExtendedHandshake::parse(b"de"), Ok(ExtendedHandshake::default()));
        assert_eq!(ExtendedHandshake::parse(b"le"), Err(ExtendedError::Key("dictionary")));
        assert!(matches!(ExtendedHandshake::parse(b"d1:m"), Err(ExtendedError::Bencode(_))));
        let name = ExtendedHandshake::parse(b"d1:v6:a\x1b[2Jbe").unwrap().client;
        assert_eq!(name.as_deref(), Some("a\u{fffd}[2Jb"));
    }

    proptest! {
        #[test]
        fn round_trip(
            ids: [Option<u8>; 3], port in proptest::option::of(1u16..), client in proptest::option::of("[a-zA-Z0-9 ./äµ]{1,20}"),
            your_ip: Option<IpAddr>, ipv4: Option<Ipv4Addr>, ipv6: Option<Ipv6Addr>, request_queue: Option<u32>,
            metadata_size in proptest::option::of(1..=METADATA_BYTES_MAX), upload_only: Option<bool>, prefers_encryption: Option<bool>,
        ) {
            let hello = ExtendedHandshake {
                ids: PeerIds(ids), port, client, your_ip, ipv4, ipv6, request_queue, metadata_size, upload_only, prefers_encryption,
            };
            prop_assert_eq!(ExtendedHandshake::parse(&hello.encode()), Ok(hello));
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(prop_oneof![Just(b'd'), Just(b'e'), Just(b'i'), Just(b'1'), Just(b':'), any::<u8>()], 0..60)) {
            let _ = ExtendedHandshake::parse(&bytes);
        }
    }
}
