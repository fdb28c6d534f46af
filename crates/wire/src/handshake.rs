//! The handshake of peers (BEP 3): 68 bytes that name the protocol, the extensions, the torrent and the peer.
//!
//! Parsing works on a prefix, because bytes come in any portions: it fails on the first byte that can't be right,
//! so that a port scanner or an encrypted stream is told apart after one byte, and it can name the torrent before
//! the peer id is there, because who is called answers at that point (BEP 3: NAT checks send no more).
//! Whether a torrent is known and whether a peer id is our own is decided elsewhere.

use base::{InfoHash, Payload, PeerId};

/// What every handshake begins with: the length of the protocol's name, and the name.
pub const PROTOCOL: &[u8; 20] = b"\x13BitTorrent protocol";

const RESERVED_AT: usize = 20;
const HASH_AT: usize = 28;
const PEER_ID_AT: usize = 48;

/// The eight reserved bytes, in which peers say what they can do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Reserved(pub [u8; 8]);

impl Reserved {
    /// No extension at all.
    pub const NONE: Reserved = Reserved([0; 8]);

    /// The extension protocol (BEP 10).
    pub const fn extended(self) -> bool {
        self.0[5] & 0x10 != 0
    }

    /// The fast extension (BEP 6).
    pub const fn fast(self) -> bool {
        self.0[7] & 0x04 != 0
    }

    /// A DHT node runs beside the peer (BEP 5).
    pub const fn dht(self) -> bool {
        self.0[7] & 0x01 != 0
    }

    /// Both formats are known, and the sender of a v1 hash would like to be answered with the v2 one (BEP 52).
    pub const fn v2(self) -> bool {
        self.0[7] & 0x10 != 0
    }

    /// The same, with the extension protocol.
    pub const fn with_extended(mut self) -> Self {
        self.0[5] |= 0x10;
        self
    }

    /// The same, with the fast extension.
    pub const fn with_fast(mut self) -> Self {
        self.0[7] |= 0x04;
        self
    }

    /// The same, with the DHT.
    pub const fn with_dht(mut self) -> Self {
        self.0[7] |= 0x01;
        self
    }

    /// The same, with the upgrade to v2. To be set only for torrents that are hybrids: libtorrent offered it on
    /// v1 magnets and was answered with a hash that it did not know.
    pub const fn with_v2(mut self) -> Self {
        self.0[7] |= 0x10;
        self
    }
}

/// A whole handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Handshake {
    /// What the sender can do.
    pub reserved: Reserved,
    /// Which torrent it is about.
    pub info_hash: InfoHash,
    /// Who sends it.
    pub peer_id: PeerId,
}

/// Why bytes are no handshake. Always the fault of whoever sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// A byte of the protocol's name differs: another protocol, or an obfuscated stream.
    #[error("byte {at} of the handshake is {got:#04x}: not the BitTorrent protocol")]
    Protocol {
        /// Position of the first wrong byte.
        at: usize,
        /// What is there.
        got: u8,
    },
}

impl Handshake {
    /// Bytes on the wire.
    pub const LEN: usize = 68;
    /// Bytes after which [`Handshake::parse_head`] knows the torrent.
    pub const HEAD_LEN: usize = PEER_ID_AT;

    /// The bytes as they go on the wire.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut out = [0; Self::LEN];
        out[..RESERVED_AT].copy_from_slice(PROTOCOL);
        out[RESERVED_AT..HASH_AT].copy_from_slice(&self.reserved.0);
        out[HASH_AT..PEER_ID_AT].copy_from_slice(&self.info_hash.0);
        out[PEER_ID_AT..].copy_from_slice(&self.peer_id.0);
        out
    }

    /// Reads a handshake from the start of a stream. None if the bytes so far are right but too few; what follows
    /// the first [`Handshake::LEN`] bytes is not looked at.
    pub fn parse(stream: &[u8]) -> Result<Option<Handshake>, HandshakeError> {
        let head = Self::parse_head(stream)?;
        let peer_id = stream.get(PEER_ID_AT..).and_then(|rest| rest.first_chunk::<20>());
        Ok(head.zip(peer_id).map(|((reserved, info_hash), id)| Handshake { reserved, info_hash, peer_id: PeerId(*id) }))
    }

    /// Takes a handshake off a stream of payload; what follows stays. None, and nothing is taken, if the bytes so far
    /// are right but too few.
    pub fn take<P: Payload>(stream: &mut P) -> Result<Option<Handshake>, HandshakeError> {
        let mut prefix = [0; Self::LEN];
        let prefix = &mut prefix[..stream.len().min(Self::LEN)];
        stream.copy_prefix(prefix);
        let shake = Self::parse(prefix)?;
        if shake.is_some() {
            stream.split_to(Self::LEN);
        }
        Ok(shake)
    }

    /// Reads the part up to the info-hash. None if the bytes so far are right but too few.
    pub fn parse_head(stream: &[u8]) -> Result<Option<(Reserved, InfoHash)>, HandshakeError> {
        if let Some(at) = stream.iter().zip(PROTOCOL).position(|(got, want)| got != want) {
            return Err(HandshakeError::Protocol { at, got: stream[at] });
        }
        let reserved = stream.get(RESERVED_AT..).and_then(|rest| rest.first_chunk::<8>());
        let hash = stream.get(HASH_AT..).and_then(|rest| rest.first_chunk::<20>());
        Ok(reserved.zip(hash).map(|(reserved, hash)| (Reserved(*reserved), InfoHash(*hash))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn golden_bytes() {
        let reserved = Reserved::NONE.with_extended().with_fast().with_dht().with_v2();
        assert_eq!(reserved.0, [0, 0, 0, 0, 0, 0x10, 0, 0x15]);
        assert!(reserved.extended() && reserved.fast() && reserved.dht() && reserved.v2());
        let none = Reserved::NONE;
        assert!(!none.extended() && !none.fast() && !none.dht() && !none.v2());

        let shake = Handshake { reserved, info_hash: InfoHash([0xaa; 20]), peer_id: PeerId(*b"-SH0100-abcdefghijkl") };
        let mut golden = b"\x13BitTorrent protocol\0\0\0\0\0\x10\0\x15".to_vec();
        golden.extend([0xaa; 20]);
        golden.extend(b"-SH0100-abcdefghijkl");
        assert_eq!(shake.encode()[..], golden);
        assert_eq!(Handshake::parse(&golden), Ok(Some(shake)));
        golden.extend([0, 0, 0, 0]);
        assert_eq!(Handshake::parse(&golden), Ok(Some(shake)), "what follows is not its business");
    }

    #[test]
    fn fails_on_the_first_wrong_byte() {
        assert_eq!(Handshake::parse(b"G"), Err(HandshakeError::Protocol { at: 0, got: b'G' }));
        assert_eq!(Handshake::parse(b"\x13Bitt"), Err(HandshakeError::Protocol { at: 4, got: b't' }));
        assert_eq!(Handshake::parse(b""), Ok(None));
    }

    #[test]
    fn overruns_stay_in_the_stream() {
        let shake = Handshake { reserved: Reserved::NONE, info_hash: InfoHash([7; 20]), peer_id: PeerId([9; 20]) };
        let mut stream = shake.encode()[..60].to_vec();
        assert_eq!(Handshake::take(&mut stream), Ok(None));
        assert_eq!(stream.len(), 60);
        stream.extend(&shake.encode()[60..]);
        stream.extend([0, 0, 0, 1, 15]);
        assert_eq!(Handshake::take(&mut stream), Ok(Some(shake)));
        assert_eq!(stream, [0, 0, 0, 1, 15]);
        assert!(Handshake::take(&mut stream).is_err());
        assert_eq!(stream.len(), 5);
    }

    #[test]
    fn the_torrent_is_known_before_the_peer() {
        let shake = Handshake { reserved: Reserved::NONE, info_hash: InfoHash([7; 20]), peer_id: PeerId([9; 20]) };
        let bytes = shake.encode();
        for n in 0..Handshake::LEN {
            assert_eq!(Handshake::parse(&bytes[..n]), Ok(None));
            let head = (n >= Handshake::HEAD_LEN).then_some((Reserved::NONE, InfoHash([7; 20])));
            assert_eq!(Handshake::parse_head(&bytes[..n]), Ok(head));
        }
    }

    proptest! {
        #[test]
        fn round_trip(reserved: [u8; 8], hash: [u8; 20], id: [u8; 20]) {
            let shake = Handshake { reserved: Reserved(reserved), info_hash: InfoHash(hash), peer_id: PeerId(id) };
            prop_assert_eq!(Handshake::parse(&shake.encode()), Ok(Some(shake)));
        }

        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100), keep in 0usize..21) {
            let _ = Handshake::parse(&bytes);
            let mut mixed = PROTOCOL[..keep.min(20)].to_vec();
            mixed.extend(bytes);
            let _ = Handshake::parse(&mixed);
        }
    }
}
