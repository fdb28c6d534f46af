//! The messages of the DHT: bencoded queries, replies and errors in single datagrams (KRPC).
//!
//! BEP 5, with IPv6 (32), scrapes (33), external addresses (42), read-only nodes (43), stored items (44) and samples of info-hashes
//! (51). [`Message::parse`] reads a datagram without copying what is in it; [`Message::encode`] writes canonically.
//!
//! It is strict where something is stored or believed: ids, targets, keys and signatures have their lengths, and a put must be
//! canonical, or what was signed would not be what others read. It is lenient with what people run: unsorted keys, lists with a
//! tail, values of other types where nothing depends on them, errors that are a bare string, addresses without a port in `ip`.
//! A query that can't be served but could be answered is [`KrpcError::Refused`], with the error to send back.
//!
//! Whether a token is genuine, an id fits an address and a signature its item is decided in the room `dht`.

pub mod bloom;
pub mod nodes;
mod parse;
mod write;

#[cfg(test)]
mod tests;

pub use bloom::Bloom;
pub use write::signed_bytes;

use base::{InfoHash, NodeId};
use std::net::SocketAddr;

/// Most bytes of a datagram that is read. BEP 32 asks for 1,024, libtorrent sends up to 1,400.
pub const DATAGRAM_BYTES_MAX: usize = 2_048;
/// Most bytes of a datagram that is sent: what passes every network in one piece.
pub const SEND_BYTES_MAX: usize = 1_400;
/// Lists and dictionaries within each other, as in libtorrent.
pub const DEPTH_MAX: usize = 10;
/// Bencoded values in a datagram, as in libtorrent.
pub const TOKENS_MAX: usize = 500;
/// Most bytes of a transaction id, which is ours to repeat. All known clients use 2 to 8.
pub const TRANSACTION_BYTES_MAX: usize = 32;
/// Most bytes of a write token. All known clients use 4 to 20.
pub const TOKEN_BYTES_MAX: usize = 64;
/// Most bytes of a stored value, bencoded (BEP 44).
pub const VALUE_BYTES_MAX: usize = 1_000;
/// Most bytes of a salt (BEP 44).
pub const SALT_BYTES_MAX: usize = 64;
/// Most peers taken from one reply.
pub const VALUES_MAX: usize = 200;
/// Most bytes of the name of an unknown query that are kept.
pub const METHOD_BYTES_MAX: usize = 32;
/// Most characters of an error message that are kept.
pub const ERROR_CHARS_MAX: usize = 100;

/// One datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message<'a> {
    /// Chosen by who asked, repeated by who answers.
    pub transaction: &'a [u8],
    /// Two letters of the client and its version, if it says.
    pub version: Option<[u8; 4]>,
    /// In a query: its sender answers none itself, and is no node to be remembered (BEP 43).
    pub read_only: bool,
    /// In an answer: the address of who asked, as the answerer sees it (BEP 42). Port 0 where only the IP was said.
    pub ip: Option<SocketAddr>,
    /// What it says.
    pub body: Body<'a>,
}

/// What a datagram says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body<'a> {
    /// A question.
    Query(Query<'a>),
    /// The answer to one. Boxed, since questions are as common and much smaller.
    Reply(Box<Reply<'a>>),
    /// A refusal.
    Error(ErrorReply),
}

/// A question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query<'a> {
    /// Who asks.
    pub id: NodeId,
    /// Which families of nodes to answer with; neither means the family of the datagram (BEP 32).
    pub want: Want,
    /// What is asked.
    pub ask: Ask<'a>,
}

/// Families of nodes wanted in the answer (BEP 32).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Want {
    /// IPv4.
    pub v4: bool,
    /// IPv6.
    pub v6: bool,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask<'a> {
    /// Are you there?
    Ping,
    /// Who is close to this point?
    FindNode {
        /// The point.
        target: NodeId,
    },
    /// Who shares this torrent, or is close to it?
    GetPeers {
        /// The torrent.
        info_hash: InfoHash,
        /// Peers that still download are wanted rather than seeds (BEP 33).
        noseed: bool,
        /// The filters of all peers are wanted (BEP 33).
        scrape: bool,
    },
    /// I share this torrent.
    AnnouncePeer {
        /// The torrent.
        info_hash: InfoHash,
        /// The port that accepts connections; 0 if only the one of this datagram is known.
        port: u16,
        /// The port of this datagram counts instead.
        implied_port: bool,
        /// The sender has everything (BEP 33).
        seed: bool,
        /// From the answer to a [`Ask::GetPeers`].
        token: &'a [u8],
    },
    /// What is stored here (BEP 44)?
    Get {
        /// The name of the item.
        target: NodeId,
        /// Only a mutable item newer than this is wanted.
        seq: Option<i64>,
    },
    /// Store this (BEP 44).
    Put {
        /// From the answer to a [`Ask::Get`].
        token: &'a [u8],
        /// The value as it is bencoded, [`VALUE_BYTES_MAX`] at most.
        value: &'a [u8],
        /// What makes it mutable.
        mutable: Option<Mutable<'a>>,
    },
    /// Which torrents do you know of (BEP 51)?
    SampleInfohashes {
        /// Nodes close to this point are wanted beside.
        target: NodeId,
    },
    /// A query of another day. With a target it is answered like [`Ask::FindNode`], as libtorrent does.
    Unknown {
        /// Its name, cut off at [`METHOD_BYTES_MAX`].
        method: &'a [u8],
        /// Its `target` or `info_hash`.
        target: Option<NodeId>,
    },
}

/// What a put says of a mutable item beside its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mutable<'a> {
    /// The public key.
    pub key: [u8; 32],
    /// Tells items of one key apart, [`SALT_BYTES_MAX`] at most; mostly empty.
    pub salt: &'a [u8],
    /// Counts up with each new value; not negative.
    pub seq: i64,
    /// Over [`signed_bytes`].
    pub signature: [u8; 64],
    /// Store only over the value with this number.
    pub cas: Option<i64>,
}

/// The answer to a question. What belongs to no question of ours is None or empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply<'a> {
    /// Who answers.
    pub id: NodeId,
    /// Nodes with IPv4 addresses, for [`nodes::parse_v4`].
    pub nodes: Option<&'a [u8]>,
    /// Nodes with IPv6 addresses, for [`nodes::parse_v6`].
    pub nodes6: Option<&'a [u8]>,
    /// Peers, [`VALUES_MAX`] at most. None where the key is missing: nothing is known of the torrent.
    pub values: Option<Vec<SocketAddr>>,
    /// Allows to store here.
    pub token: Option<&'a [u8]>,
    /// The [`Bloom`] filter of all seeds of the torrent (BEP 33).
    pub seeds: Option<&'a [u8; bloom::BLOOM_LEN]>,
    /// All other peers of it.
    pub peers: Option<&'a [u8; bloom::BLOOM_LEN]>,
    /// A stored value as it is bencoded, [`VALUE_BYTES_MAX`] at most (BEP 44).
    pub value: Option<&'a [u8]>,
    /// The key of a mutable item.
    pub key: Option<[u8; 32]>,
    /// Its signature.
    pub signature: Option<[u8; 64]>,
    /// Its number; alone where the asker has the newest value.
    pub seq: Option<i64>,
    /// Some info-hashes that are known here (BEP 51).
    pub samples: Option<&'a [[u8; 20]]>,
    /// Seconds after which other samples are given.
    pub interval: Option<u32>,
    /// Info-hashes known in all.
    pub num: Option<u32>,
}

impl Reply<'_> {
    /// An answer that says nothing but who answers.
    pub fn of(id: NodeId) -> Self {
        Reply {
            id,
            nodes: None,
            nodes6: None,
            values: None,
            token: None,
            seeds: None,
            peers: None,
            value: None,
            key: None,
            signature: None,
            seq: None,
            samples: None,
            interval: None,
            num: None,
        }
    }
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorReply {
    /// One of [`code`], or another.
    pub code: i64,
    /// Why, fit to be shown, [`ERROR_CHARS_MAX`] at most.
    pub message: String,
}

/// The codes of errors (BEP 5, BEP 44).
pub mod code {
    /// Something else.
    pub const GENERIC: i64 = 201;
    /// The answerer can't.
    pub const SERVER: i64 = 202;
    /// Malformed query, bad arguments, bad token.
    pub const PROTOCOL: i64 = 203;
    /// No such query.
    pub const METHOD_UNKNOWN: i64 = 204;
    /// A value longer than [`super::VALUE_BYTES_MAX`].
    pub const VALUE_TOO_BIG: i64 = 205;
    /// The signature is not the key's.
    pub const SIGNATURE: i64 = 206;
    /// A salt longer than [`super::SALT_BYTES_MAX`].
    pub const SALT_TOO_BIG: i64 = 207;
    /// `cas` names another value than is stored.
    pub const CAS_MISMATCH: i64 = 301;
    /// What is stored is newer.
    pub const SEQ_TOO_OLD: i64 = 302;
}

/// Why a datagram is no message. Always the sender's fault.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KrpcError<'a> {
    /// Not bencode, or beyond [`DATAGRAM_BYTES_MAX`], [`DEPTH_MAX`] or [`TOKENS_MAX`].
    #[error(transparent)]
    Bencode(#[from] base::bencode::Error),
    /// Bencode, but no message that could be answered.
    #[error("no message of the DHT: {0}")]
    Other(&'static str),
    /// A query that is answered with an error.
    #[error("query refused ({code}): {what}")]
    Refused {
        /// To be repeated in the answer.
        transaction: &'a [u8],
        /// One of [`code`].
        code: i64,
        /// Why.
        what: &'static str,
    },
}

/// False for datagrams that can't be of the DHT, told by one byte: what else arrives at the same port (uTP, UDP trackers)
/// never begins with a `d`.
pub fn is_krpc(datagram: &[u8]) -> bool {
    datagram.first() == Some(&b'd')
}
