//! The stream of one peer, cut into messages and blocks.
//!
//! The decoder is fed runs of [`Payload`] and splits blocks off them without looking inside: per piece message it
//! copies 17 bytes at most and makes two cuts. It holds only what is not yet a whole message, whose length was
//! checked against [`Limits`] before the first byte of it was kept; an idle decoder holds no heap. One decoder a
//! session, ten thousand sessions: a test measures its size.
//!
//! It does not decrypt, count rates, or know what was asked for.

use super::{
    BITFIELD_BYTES_MAX, BLOCK_HEADER_LEN, EXTENDED_BYTES_MAX, HASHES_MAX, HashRequest, Hashes, Message, MessageError,
    UNKNOWN_BYTES_MAX, id, u32_at,
};
use base::{BLOCK_SIZE, Payload};

/// The longest message that is decoded from the copied prefix alone: a request with its length and id.
const HEAD_LEN: usize = 17;
/// Length prefix and id.
const PREFIX_LEN: usize = 5;

/// How long the messages of a peer may be, in bytes. What has no field here has a fixed length or a constant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Payload of a piece message. 16 KiB on real networks, whole pieces in large labs.
    pub block_max: u32,
    /// Bytes of a bitfield.
    pub bitfield_max: u32,
    /// Payload of an extended message, without its id.
    pub extended_max: u32,
}

impl Default for Limits {
    /// For a torrent whose number of pieces is not known yet.
    fn default() -> Self {
        Limits { block_max: BLOCK_SIZE, bitfield_max: BITFIELD_BYTES_MAX, extended_max: EXTENDED_BYTES_MAX }
    }
}

impl Limits {
    /// For a torrent of `pieces` pieces in blocks of `block_size` bytes.
    pub fn of_torrent(pieces: u32, block_size: u32) -> Self {
        Limits { block_max: block_size, bitfield_max: pieces.div_ceil(8), ..Limits::default() }
    }
}

/// What a stream says next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event<P> {
    /// Anything but payload.
    Message(Message),
    /// A piece message, whole. Some clients send an empty one where they mean a reject.
    Block {
        /// Index of the piece, as the stranger said it.
        piece: u32,
        /// Offset in the piece, in bytes, as the stranger said it.
        begin: u32,
        /// The payload, at most [`Limits::block_max`] bytes.
        data: P,
    },
}

/// The header of a piece message whose payload is still coming.
#[derive(Clone, Copy, Debug)]
struct Pending {
    piece: u32,
    begin: u32,
    len: u32,
}

/// Cuts one peer's stream into events. After an error the stream is lost, and every call says so again.
#[derive(Debug)]
pub struct Decoder<P> {
    limits: Limits,
    pending: Option<Pending>,
    pub(super) buffer: P,
}

impl<P: Payload> Decoder<P> {
    /// A decoder at the start of a stream, behind the handshake.
    pub fn new(limits: Limits) -> Self {
        Decoder { limits, pending: None, buffer: P::default() }
    }

    /// Changes the limits for the messages that come; so once the metadata is there.
    pub fn set_limits(&mut self, limits: Limits) {
        self.limits = limits;
    }

    /// Puts more of the stream behind what is there. Call [`Decoder::poll`] until it says None before the next
    /// run: then no more than one message is ever held.
    pub fn feed(&mut self, run: P) {
        if self.buffer.is_empty() {
            self.buffer = run;
        } else if !run.is_empty() {
            self.buffer.append(run);
        }
    }

    /// The next event. None if it needs more bytes.
    pub fn poll(&mut self) -> Result<Option<Event<P>>, MessageError> {
        if self.pending.is_none() {
            let available = self.buffer.len().min(HEAD_LEN);
            if available < 4 {
                return Ok(None);
            }
            let mut head = [0; HEAD_LEN];
            self.buffer.copy_prefix(&mut head[..available]);
            let len = u32_at(&head, 0);
            if len == 0 {
                self.skip(4);
                return Ok(Some(Event::Message(Message::KeepAlive)));
            }
            if available < PREFIX_LEN {
                return Ok(None);
            }
            self.check(head[4], len)?;
            if head[4] != id::PIECE {
                return Ok(self.message(&head, len).map(Event::Message));
            }
            if available < BLOCK_HEADER_LEN {
                return Ok(None);
            }
            self.skip(BLOCK_HEADER_LEN);
            self.pending = Some(Pending { piece: u32_at(&head, 5), begin: u32_at(&head, 9), len: len - 9 });
        }
        Ok(self.block())
    }

    /// The block that is on its way: piece, begin, bytes received, bytes in all. For rates and snubbing.
    pub fn pending_block(&self) -> Option<(u32, u32, u32, u32)> {
        let Pending { piece, begin, len } = self.pending?;
        let received = u32::try_from(self.buffer.len()).unwrap_or(u32::MAX).min(len);
        Some((piece, begin, received, len))
    }

    /// Bytes held: those of an unfinished message, headers of blocks excepted.
    pub fn buffered(&self) -> usize {
        self.buffer.len()
    }

    /// Is a message of this id and length (id included) to be accepted? Asked before any of its body is awaited.
    fn check(&self, id: u8, len: u32) -> Result<(), MessageError> {
        let (least, most) = match id {
            id::CHOKE | id::UNCHOKE | id::INTERESTED | id::NOT_INTERESTED | id::HAVE_ALL | id::HAVE_NONE => (1, 1),
            id::HAVE | id::SUGGEST | id::ALLOWED_FAST => (5, 5),
            id::PORT => (3, 3),
            id::REQUEST | id::CANCEL | id::REJECT => (13, 13),
            id::HASH_REQUEST | id::HASH_REJECT => (1 + HashRequest::LEN as u32, 1 + HashRequest::LEN as u32),
            id::PIECE => (9, self.limits.block_max.saturating_add(9)),
            id::BITFIELD => (1, self.limits.bitfield_max.saturating_add(1)),
            id::EXTENDED => (2, self.limits.extended_max.saturating_add(2)),
            id::HASHES => (1 + HashRequest::LEN as u32, 1 + HashRequest::LEN as u32 + 32 * HASHES_MAX),
            _ => (1, 1 + UNKNOWN_BYTES_MAX),
        };
        if len < least || (least == most && len > most) {
            return Err(MessageError::Length { id, len });
        }
        if len > most {
            return Err(MessageError::TooLong { id, len, max: most });
        }
        if id == id::HASHES && !(len - least).is_multiple_of(32) {
            return Err(MessageError::Length { id, len });
        }
        Ok(())
    }

    /// A message other than piece, whose length was checked. None while it is incomplete.
    fn message(&mut self, head: &[u8; HEAD_LEN], len: u32) -> Option<Message> {
        let total = 4 + len as usize;
        if self.buffer.len() < total {
            return None;
        }
        let number = |i: usize| u32_at(head, PREFIX_LEN + 4 * i);
        // All but a few messages are in the head: nothing is cut out for them.
        let short = match head[4] {
            id::CHOKE => Message::Choke,
            id::UNCHOKE => Message::Unchoke,
            id::INTERESTED => Message::Interested,
            id::NOT_INTERESTED => Message::NotInterested,
            id::HAVE_ALL => Message::HaveAll,
            id::HAVE_NONE => Message::HaveNone,
            id::HAVE => Message::Have(number(0)),
            id::SUGGEST => Message::Suggest(number(0)),
            id::ALLOWED_FAST => Message::AllowedFast(number(0)),
            id::PORT => Message::Port(u16::from_be_bytes([head[5], head[6]])),
            id::REQUEST => Message::Request { piece: number(0), begin: number(1), len: number(2) },
            id::CANCEL => Message::Cancel { piece: number(0), begin: number(1), len: number(2) },
            id::REJECT => Message::Reject { piece: number(0), begin: number(1), len: number(2) },
            _ => return Some(self.long_message(head, total)),
        };
        self.skip(total);
        Some(short)
    }

    /// A message with a body, all of which is here.
    fn long_message(&mut self, head: &[u8; HEAD_LEN], total: usize) -> Message {
        let mut whole = self.take(total);
        match head[4] {
            id::BITFIELD => Message::Bitfield(body(&mut whole, PREFIX_LEN)),
            id::EXTENDED => Message::Extended { id: head[5], payload: body(&mut whole, PREFIX_LEN + 1) },
            id::HASH_REQUEST => Message::HashRequest(Box::new(hash_request(&mut whole))),
            id::HASH_REJECT => Message::HashReject(Box::new(hash_request(&mut whole))),
            id::HASHES => {
                let request = hash_request(&mut whole);
                let bytes = body(&mut whole, 0);
                let hashes = bytes.as_chunks::<32>().0.into();
                Message::Hashes(Box::new(Hashes { request, hashes }))
            }
            id => Message::Unknown { id, len: total as u32 - 5 },
        }
    }

    /// The pending block, once all of it is there.
    fn block(&mut self) -> Option<Event<P>> {
        let Pending { piece, begin, len } = self.pending?;
        if self.buffer.len() < len as usize {
            return None;
        }
        self.pending = None;
        let data = self.take(len as usize);
        Some(Event::Block { piece, begin, data })
    }

    /// Drops `n` bytes that are there.
    fn skip(&mut self, n: usize) {
        if n == self.buffer.len() {
            self.buffer = P::default();
        } else {
            self.buffer.advance(n);
        }
    }

    /// Takes `n` bytes that are there. Taking all of them leaves a fresh buffer, which holds no heap.
    fn take(&mut self, n: usize) -> P {
        if n == self.buffer.len() { std::mem::take(&mut self.buffer) } else { self.buffer.split_to(n) }
    }
}

/// What follows the first `skip` bytes of `message`, copied.
fn body<P: Payload>(message: &mut P, skip: usize) -> Box<[u8]> {
    message.split_to(skip);
    let mut out = vec![0; message.len()];
    message.copy_prefix(&mut out);
    out.into()
}

/// Takes prefix and request off a message that was checked to hold both.
fn hash_request<P: Payload>(message: &mut P) -> HashRequest {
    message.split_to(PREFIX_LEN);
    let mut bytes = [0; HashRequest::LEN];
    message.split_to(HashRequest::LEN).copy_prefix(&mut bytes);
    HashRequest::parse(&bytes)
}
