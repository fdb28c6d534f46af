//! The extension protocol (BEP 10) and the extensions of it that we speak: metadata (BEP 9), peer exchange
//! (BEP 11) and don't-have (BEP 54).
//!
//! Each side names in its handshake the ids under which it wants to be sent each extension. So the ids that we
//! receive are ours ([`Extension::from_local`]), and those that we send come from the peer's handshake
//! ([`PeerIds`]). Here are the bytes alone: when to ask, whom to tell and what to believe is decided elsewhere.

mod handshake;
mod metadata;
mod pex;

pub use handshake::{ExtendedHandshake, METADATA_BYTES_MAX, PeerIds};
pub use metadata::{METADATA_PIECE_LEN, Metadata, metadata_piece_count, metadata_piece_len};
pub use pex::{PEX_PEERS_MAX, Pex, PexFlags, PexPeer};

use crate::message::EXTENDED_BYTES_MAX;
use base::bencode;

/// Limits of the dictionaries in extended messages. A handshake of today's clients has about 60 values.
const LIMITS: bencode::Limits = bencode::Limits { input: EXTENDED_BYTES_MAX as usize, depth: 10, tokens: 2_000 };

/// The id under which every peer is sent the handshake.
pub const HANDSHAKE_ID: u8 = 0;

/// An extension that we speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extension {
    /// `ut_metadata`: the info dictionary, for those who came by magnet (BEP 9).
    Metadata,
    /// `ut_pex`: addresses of other peers (BEP 11).
    Pex,
    /// `lt_donthave`: a piece was lost (BEP 54).
    DontHave,
}

impl Extension {
    /// All of them.
    pub const ALL: [Extension; 3] = [Extension::Metadata, Extension::Pex, Extension::DontHave];

    /// Its name in the handshake.
    pub const fn name(self) -> &'static str {
        match self {
            Extension::Metadata => "ut_metadata",
            Extension::Pex => "ut_pex",
            Extension::DontHave => "lt_donthave",
        }
    }

    /// The id under which we ask to be sent it, the same on every connection.
    pub const fn local(self) -> u8 {
        self as u8 + 1
    }

    /// The extension of a message that a peer sent us under `id`; None for the handshake and for ids that we never
    /// gave out.
    pub fn from_local(id: u8) -> Option<Extension> {
        Extension::ALL.into_iter().find(|e| e.local() == id)
    }
}

/// What is wrong with an extended message. Always the fault of the peer that sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExtendedError {
    /// The message is not bencode.
    #[error(transparent)]
    Bencode(#[from] bencode::Error),
    /// A key is missing, or its value is not what it must be.
    #[error("extended message without a valid {0:?}")]
    Key(&'static str),
    /// A message of fixed length has another one, or a metadata piece has not the bytes that its index asks for.
    #[error("extended message with {0} bytes where others belong")]
    Length(usize),
}

/// The payload of a don't-have message (BEP 54): the index of the piece that its sender lost.
pub fn dont_have(piece: u32) -> [u8; 4] {
    piece.to_be_bytes()
}

/// Reads the payload of a don't-have message: the index of the piece, as the stranger sent it.
pub fn parse_dont_have(payload: &[u8]) -> Result<u32, ExtendedError> {
    payload.try_into().map(u32::from_be_bytes).map_err(|_| ExtendedError::Length(payload.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_ids_are_distinct() {
        assert_eq!(Extension::from_local(HANDSHAKE_ID), None);
        assert_eq!(Extension::from_local(200), None);
        for e in Extension::ALL {
            assert_eq!(Extension::from_local(e.local()), Some(e));
        }
    }

    #[test]
    fn dont_have_is_four_bytes() {
        assert_eq!(dont_have(0x01020304), [1, 2, 3, 4]);
        assert_eq!(parse_dont_have(&[1, 2, 3, 4]), Ok(0x01020304));
        assert_eq!(parse_dont_have(&[1, 2, 3]), Err(ExtendedError::Length(3)));
        assert_eq!(parse_dont_have(&[1, 2, 3, 4, 5]), Err(ExtendedError::Length(5)));
    }
}
