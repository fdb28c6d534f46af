//! The metadata extension (BEP 9): the info dictionary in pieces of 16 KiB, for those who know its hash alone.
//!
//! A data message is a dictionary followed by the raw piece. It is checked against the size that it names itself;
//! that this is the size that was agreed on, and that the piece was asked for, the session checks.

use super::{ExtendedError, LIMITS, METADATA_BYTES_MAX};
use base::bencode::{Dict, parse_prefix};

/// Bytes of every piece of the metadata but perhaps the last.
pub const METADATA_PIECE_LEN: u32 = 16 * 1024;

/// A message of the metadata extension. The dictionary may have more keys; they are ignored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Metadata<'a> {
    /// Asks for a piece.
    Request {
        /// Its index, as the stranger sent it: [`metadata_piece_len`] says whether it exists.
        piece: u32,
    },
    /// A piece. Its length fits its index and the size that the message names.
    Data {
        /// Its index, below the number of pieces.
        piece: u32,
        /// Bytes of the whole metadata, at most [`METADATA_BYTES_MAX`], as the sender says.
        total_size: u32,
        /// The bytes.
        data: &'a [u8],
    },
    /// The sender won't give a piece.
    Reject {
        /// Its index, as the stranger sent it.
        piece: u32,
    },
    /// A message of a later protocol, to be ignored.
    Unknown,
}

impl<'a> Metadata<'a> {
    /// Reads the payload of an extended message.
    pub fn parse(payload: &'a [u8]) -> Result<Self, ExtendedError> {
        let doc = parse_prefix(payload, &LIMITS)?;
        let root = doc.root();
        let number = |key: &'static str| {
            let n = root.find_u64(key.as_bytes()).and_then(|n| u32::try_from(n).ok());
            n.ok_or(ExtendedError::Key(key))
        };
        let kind = root.find_int(b"msg_type").ok_or(ExtendedError::Key("msg_type"))?;
        Ok(match kind {
            0 => Metadata::Request { piece: number("piece")? },
            1 => {
                let (piece, total_size) = (number("piece")?, number("total_size")?);
                if !(1..=METADATA_BYTES_MAX).contains(&total_size) {
                    return Err(ExtendedError::Key("total_size"));
                }
                let data = doc.rest();
                let len = metadata_piece_len(total_size, piece).ok_or(ExtendedError::Key("piece"))?;
                if data.len() != len as usize {
                    return Err(ExtendedError::Length(data.len()));
                }
                Metadata::Data { piece, total_size, data }
            }
            2 => Metadata::Reject { piece: number("piece")? },
            _ => Metadata::Unknown,
        })
    }

    /// The payload of an extended message. Nothing for `Unknown`, which can't be sent.
    pub fn encode(&self) -> Vec<u8> {
        let head = |kind: u8, piece: u32| Dict::new().with(b"msg_type", kind).with(b"piece", piece);
        match *self {
            Metadata::Request { piece } => head(0, piece).encode(),
            Metadata::Data { piece, total_size, data } => {
                let mut out = head(1, piece).with(b"total_size", total_size).encode();
                out.extend_from_slice(data);
                out
            }
            Metadata::Reject { piece } => head(2, piece).encode(),
            Metadata::Unknown => Vec::new(),
        }
    }
}

/// Pieces of metadata of `size` bytes.
pub fn metadata_piece_count(size: u32) -> u32 {
    size.div_ceil(METADATA_PIECE_LEN)
}

/// Bytes of `piece` of metadata of `size` bytes; None if there is no such piece.
pub fn metadata_piece_len(size: u32, piece: u32) -> Option<u32> {
    let rest = size.checked_sub(piece.checked_mul(METADATA_PIECE_LEN)?)?;
    (rest > 0).then(|| rest.min(METADATA_PIECE_LEN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_examples_of_bep_9() {
        let request = b"d8:msg_typei0e5:piecei0ee";
        assert_eq!(Metadata::parse(request), Ok(Metadata::Request { piece: 0 }));
        assert_eq!(Metadata::Request { piece: 0 }.encode(), request);
        let reject = b"d8:msg_typei2e5:piecei0ee";
        assert_eq!(Metadata::parse(reject), Ok(Metadata::Reject { piece: 0 }));
        assert_eq!(Metadata::Reject { piece: 0 }.encode(), reject);

        let bytes = [b'x'; 3425];
        let data = [&b"d8:msg_typei1e5:piecei0e10:total_sizei3425ee"[..], &bytes].concat();
        let message = Metadata::Data { piece: 0, total_size: 3425, data: &bytes };
        assert_eq!(Metadata::parse(&data), Ok(message));
        assert_eq!(message.encode(), data);
        assert_eq!(Metadata::parse(b"d8:msg_typei7ee"), Ok(Metadata::Unknown));
    }

    /// An index equal to the number of pieces read one piece too far in a real client.
    #[test]
    fn there_is_no_piece_behind_the_last() {
        for size in [1, METADATA_PIECE_LEN - 1, METADATA_PIECE_LEN, METADATA_PIECE_LEN + 1, METADATA_BYTES_MAX] {
            let count = metadata_piece_count(size);
            let total: u32 = (0..count).map(|i| metadata_piece_len(size, i).expect("within")).sum();
            assert_eq!(total, size);
            assert_eq!(metadata_piece_len(size, count), None);
            assert_eq!(metadata_piece_len(size, u32::MAX), None);
            let behind = Metadata::Data { piece: count, total_size: size, data: &[] }.encode();
            assert_eq!(Metadata::parse(&behind), Err(ExtendedError::Key("piece")));
        }
        assert_eq!(metadata_piece_len(0, 0), None);
    }

    #[test]
    fn bad_messages_are_refused() {
        let error = |bytes: &[u8]| Metadata::parse(bytes).expect_err("invalid");
        assert_eq!(error(b"de"), ExtendedError::Key("msg_type"));
        assert_eq!(error(b"d8:msg_typei0ee"), ExtendedError::Key("piece"));
        assert_eq!(error(b"d8:msg_typei0e5:piecei-1ee"), ExtendedError::Key("piece"));
        assert_eq!(error(b"d8:msg_typei0e5:piecei4294967296ee"), ExtendedError::Key("piece"));
        assert_eq!(error(b"d8:msg_typei1e5:piecei0ee"), ExtendedError::Key("total_size"));
        assert_eq!(error(b"d8:msg_typei1e5:piecei0e10:total_sizei0ee"), ExtendedError::Key("total_size"));
        assert_eq!(error(b"d8:msg_typei1e5:piecei0e10:total_sizei4294967295ee"), ExtendedError::Key("total_size"));
        assert_eq!(error(b"d8:msg_typei1e5:piecei0e10:total_sizei5eeabcd"), ExtendedError::Length(4));
        assert_eq!(error(b"d8:msg_typei1e5:piecei0e10:total_sizei5eeabcdef"), ExtendedError::Length(6));
        assert!(matches!(error(b"d8:msg_type"), ExtendedError::Bencode(_)));
    }

    proptest! {
        #[test]
        fn round_trip(piece in 0u32..3, last in 1u32..40) {
            let total_size = 2 * METADATA_PIECE_LEN + last;
            let data = vec![7; metadata_piece_len(total_size, piece).expect("within") as usize];
            let message = Metadata::Data { piece, total_size, data: &data };
            let bytes = message.encode();
            prop_assert_eq!(Metadata::parse(&bytes), Ok(message));
        }

        #[test]
        fn never_panics(kind: i64, piece: i64, total: i64, rest in proptest::collection::vec(any::<u8>(), 0..50)) {
            let _ = Metadata::parse(&rest);
            let mut bytes = format!("d8:msg_typei{kind}e5:piecei{piece}e10:total_sizei{total}ee").into_bytes();
            bytes.extend(rest);
            let _ = Metadata::parse(&bytes);
        }
    }
}
