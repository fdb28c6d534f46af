//! What peers say after the handshake (BEP 3, 6, 10; the hash messages of BEP 52): a length of four bytes, an id of
//! one, and what the id asks for.
//!
//! [`Message`] is everything but the payload of a piece message. That one never becomes a `Message`: the
//! [`Decoder`] splits it off the stream as an [`Event::Block`], and whoever sends one writes [`block_header`] and
//! lets the bytes follow from where they are. Numbers are passed on as they came: whether a piece exists, a
//! bitfield fits or a block was asked for is decided by the session.

mod decoder;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Event, Limits};

/// Bytes of a piece message before its payload.
pub const BLOCK_HEADER_LEN: usize = 13;
/// Most bytes of a bitfield while the number of pieces is unknown: 2^21 pieces, the most that any torrent has.
pub const BITFIELD_BYTES_MAX: u32 = (1 << 21) / 8;
/// Most bytes of an extended message: the widest peer exchange that clients accept. Metadata pieces need 17 KiB.
pub const EXTENDED_BYTES_MAX: u32 = 512 * 1024;
/// Most hashes in one message. 512 is the most that may be asked for (BEP 52), some clients ask for whole layers of
/// a piece, and a proof is at most one hash a layer.
pub const HASHES_MAX: u32 = 8192 + 64;
/// Most bytes of a message with an unknown id; they are skipped.
pub const UNKNOWN_BYTES_MAX: u32 = 16 * 1024;

pub(crate) mod id {
    pub(crate) const CHOKE: u8 = 0;
    pub(crate) const UNCHOKE: u8 = 1;
    pub(crate) const INTERESTED: u8 = 2;
    pub(crate) const NOT_INTERESTED: u8 = 3;
    pub(crate) const HAVE: u8 = 4;
    pub(crate) const BITFIELD: u8 = 5;
    pub(crate) const REQUEST: u8 = 6;
    pub(crate) const PIECE: u8 = 7;
    pub(crate) const CANCEL: u8 = 8;
    pub(crate) const PORT: u8 = 9;
    pub(crate) const SUGGEST: u8 = 13;
    pub(crate) const HAVE_ALL: u8 = 14;
    pub(crate) const HAVE_NONE: u8 = 15;
    pub(crate) const REJECT: u8 = 16;
    pub(crate) const ALLOWED_FAST: u8 = 17;
    pub(crate) const EXTENDED: u8 = 20;
    pub(crate) const HASH_REQUEST: u8 = 21;
    pub(crate) const HASHES: u8 = 22;
    pub(crate) const HASH_REJECT: u8 = 23;
}

/// One message, payload of pieces excepted. Small: what is long or rare sits in a box.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Nothing, so that the connection lives.
    KeepAlive,
    /// Requests will not be answered.
    Choke,
    /// Requests will be answered.
    Unchoke,
    /// The sender would like to download.
    Interested,
    /// The sender needs nothing.
    NotInterested,
    /// The sender has one more piece.
    Have(u32),
    /// The pieces that the sender has, as raw bytes: [`base::Bitfield::from_bytes`] judges length and spare bits.
    Bitfield(Box<[u8]>),
    /// Asks for `len` bytes at `begin` of `piece`.
    Request {
        /// Index of the piece.
        piece: u32,
        /// Offset in the piece, in bytes.
        begin: u32,
        /// Bytes wanted.
        len: u32,
    },
    /// Takes a request back.
    Cancel {
        /// Index of the piece.
        piece: u32,
        /// Offset in the piece, in bytes.
        begin: u32,
        /// Bytes that were wanted.
        len: u32,
    },
    /// The UDP port of the sender's DHT node (BEP 5).
    Port(u16),
    /// Downloading this piece would be convenient (BEP 6).
    Suggest(u32),
    /// The sender has every piece (BEP 6).
    HaveAll,
    /// The sender has no piece (BEP 6).
    HaveNone,
    /// A request will not be answered (BEP 6).
    Reject {
        /// Index of the piece.
        piece: u32,
        /// Offset in the piece, in bytes.
        begin: u32,
        /// Bytes that were wanted.
        len: u32,
    },
    /// This piece may be asked for while choked (BEP 6).
    AllowedFast(u32),
    /// A message of the extension protocol (BEP 10): 0 is its handshake, others as the receiver named them in it.
    Extended {
        /// Which extension.
        id: u8,
        /// What it says; see [`crate::extended`].
        payload: Box<[u8]>,
    },
    /// Asks for hashes of a file's tree (BEP 52).
    HashRequest(Box<HashRequest>),
    /// The answer to a hash request.
    Hashes(Box<Hashes>),
    /// The refusal of a hash request.
    HashReject(Box<HashRequest>),
    /// A message that we don't know; its body was skipped.
    Unknown {
        /// Its id.
        id: u8,
        /// Bytes after the id.
        len: u32,
    },
}

/// Which hashes of a file's tree are meant (BEP 52). All numbers are as the stranger sent them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HashRequest {
    /// The root that names the file.
    pub root: [u8; 32],
    /// Layers above the leaves at which the hashes start.
    pub base_layer: u32,
    /// First hash, counted in the base layer.
    pub index: u32,
    /// Number of hashes of the base layer.
    pub length: u32,
    /// Layers of proof.
    pub proof_layers: u32,
}

/// Hashes of a file's tree: those of the base layer, then the uncles, the one nearest to the root last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hashes {
    /// What they answer.
    pub request: HashRequest,
    /// The hashes.
    pub hashes: Box<[[u8; 32]]>,
}

/// What is wrong with a message. Always the fault of the peer that sent it; the stream can't be followed further.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MessageError {
    /// A message whose length does not fit its id.
    #[error("message {id} says it has {len} bytes, which it can't have")]
    Length {
        /// The message's id.
        id: u8,
        /// Bytes after the length prefix.
        len: u32,
    },
    /// A message longer than its kind may be here.
    #[error("message {id} has {len} bytes, more than the {max} allowed")]
    TooLong {
        /// The message's id.
        id: u8,
        /// Bytes after the length prefix.
        len: u32,
        /// Most that are accepted.
        max: u32,
    },
}

/// The first 13 bytes of a piece message; `len` bytes of the piece, from `begin` on, follow.
pub fn block_header(piece: u32, begin: u32, len: u32) -> [u8; BLOCK_HEADER_LEN] {
    let mut out = [0; BLOCK_HEADER_LEN];
    let total = len.checked_add(9).expect("blocks are far shorter than 4 GiB");
    out[..4].copy_from_slice(&total.to_be_bytes());
    out[4] = id::PIECE;
    out[5..9].copy_from_slice(&piece.to_be_bytes());
    out[9..].copy_from_slice(&begin.to_be_bytes());
    out
}

/// Appends the bytes of `message` to `out`. `Unknown` has no body that could be sent, and appends nothing.
pub fn encode(message: &Message, out: &mut Vec<u8>) {
    match message {
        Message::KeepAlive => out.extend([0; 4]),
        Message::Choke => bare(id::CHOKE, out),
        Message::Unchoke => bare(id::UNCHOKE, out),
        Message::Interested => bare(id::INTERESTED, out),
        Message::NotInterested => bare(id::NOT_INTERESTED, out),
        Message::HaveAll => bare(id::HAVE_ALL, out),
        Message::HaveNone => bare(id::HAVE_NONE, out),
        Message::Have(piece) => numbers(id::HAVE, &[*piece], out),
        Message::Suggest(piece) => numbers(id::SUGGEST, &[*piece], out),
        Message::AllowedFast(piece) => numbers(id::ALLOWED_FAST, &[*piece], out),
        Message::Request { piece, begin, len } => numbers(id::REQUEST, &[*piece, *begin, *len], out),
        Message::Cancel { piece, begin, len } => numbers(id::CANCEL, &[*piece, *begin, *len], out),
        Message::Reject { piece, begin, len } => numbers(id::REJECT, &[*piece, *begin, *len], out),
        Message::Port(port) => {
            prefix(id::PORT, 2, out);
            out.extend(port.to_be_bytes());
        }
        Message::Bitfield(bytes) => {
            prefix(id::BITFIELD, bytes.len(), out);
            out.extend_from_slice(bytes);
        }
        Message::Extended { id: sub, payload } => {
            prefix(id::EXTENDED, 1 + payload.len(), out);
            out.push(*sub);
            out.extend_from_slice(payload);
        }
        Message::HashRequest(request) => hash_request(id::HASH_REQUEST, request, 0, out),
        Message::HashReject(request) => hash_request(id::HASH_REJECT, request, 0, out),
        Message::Hashes(answer) => {
            hash_request(id::HASHES, &answer.request, answer.hashes.len(), out);
            out.extend_from_slice(answer.hashes.as_flattened());
        }
        Message::Unknown { .. } => {}
    }
}

fn prefix(id: u8, body: usize, out: &mut Vec<u8>) {
    let len = u32::try_from(1 + body).expect("messages are far shorter than 4 GiB");
    let [a, b, c, d] = len.to_be_bytes();
    out.extend_from_slice(&[a, b, c, d, id]);
}

fn bare(id: u8, out: &mut Vec<u8>) {
    prefix(id, 0, out);
}

fn numbers(id: u8, numbers: &[u32], out: &mut Vec<u8>) {
    prefix(id, 4 * numbers.len(), out);
    for n in numbers {
        out.extend_from_slice(&n.to_be_bytes());
    }
}

fn hash_request(id: u8, request: &HashRequest, hashes: usize, out: &mut Vec<u8>) {
    prefix(id, HashRequest::LEN + 32 * hashes, out);
    out.extend(request.root);
    let HashRequest { base_layer, index, length, proof_layers, .. } = *request;
    out.extend([base_layer, index, length, proof_layers].into_iter().flat_map(u32::to_be_bytes));
}

impl HashRequest {
    /// Bytes on the wire, after the id.
    pub const LEN: usize = 48;

    fn parse(body: &[u8; Self::LEN]) -> Self {
        let number = |at| u32_at(body, at);
        let mut root = [0; 32];
        root.copy_from_slice(&body[..32]);
        HashRequest { root, base_layer: number(32), index: number(36), length: number(40), proof_layers: number(44) }
    }
}

/// The big-endian number at `at`; the caller knows that four bytes are there.
fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}
