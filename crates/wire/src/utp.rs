//! Packets of the micro transport protocol (BEP 29).
//!
//! A datagram is a header of 20 bytes, a chain of extensions, and payload. Reading one looks at no payload and copies nothing:
//! [`Packet::parse`] needs only the bytes before it, and says where it begins. Extensions that nobody knows are skipped, as the
//! specification wants; one that other clients send beside the selective acknowledgement says why a connection is closed.
//!
//! Whether numbers are in range and a connection exists is decided in the room `utp`.

#[cfg(test)]
mod tests;

/// Bytes of a header without extensions.
pub const HEADER_LEN: usize = 20;
/// Most extensions of one packet; what has more is malformed. A probe of the path's size is padded with extensions of up to 255 bytes,
/// and the largest datagram holds as many as this.
pub const EXTENSIONS_MAX: usize = 260;
/// Most bytes of a selective acknowledgement: the largest multiple of four that a length byte holds.
pub const SACK_LEN_MAX: usize = 252;

const VERSION: u8 = 1;
const SELECTIVE_ACK: u8 = 1;
const CLOSE_REASON: u8 = 3;
/// Known to nobody, so that everybody skips it.
const PADDING: u8 = 0x70;

/// What a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Carries payload.
    Data,
    /// The sender will send nothing that comes after it.
    Fin,
    /// Acknowledges, and has no sequence number of its own.
    State,
    /// The connection is gone.
    Reset,
    /// Opens a connection.
    Syn,
}

impl Kind {
    fn of(number: u8) -> Option<Kind> {
        [Kind::Data, Kind::Fin, Kind::State, Kind::Reset, Kind::Syn].get(usize::from(number)).copied()
    }
}

/// The header that every packet has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// What it is.
    pub kind: Kind,
    /// Which connection between the two addresses.
    pub connection: u16,
    /// The sender's clock when it was sent, in microseconds, modulo 2^32.
    pub timestamp_us: u32,
    /// Difference between the receiver's clock and the timestamp of the last packet that came the other way.
    pub delay_us: u32,
    /// Bytes beyond the acknowledged ones that the sender of this packet has room for.
    pub window: u32,
    /// Number of this packet.
    pub seq: u16,
    /// The last packet before which none is missing.
    pub ack: u16,
}

/// A header and what its extensions say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The header.
    pub header: Header,
    /// Which packets came beyond the first missing one.
    pub sack: Option<Sack<'a>>,
    /// Why the connection is closed, as some clients say it (libtorrent's `close_reason_t`).
    pub close_reason: Option<u16>,
    /// Where the payload begins.
    pub payload_at: usize,
}

/// A selective acknowledgement: bit n stands for packet `ack + 2 + n`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sack<'a>(&'a [u8]);

/// Why bytes are no packet. The sender's fault; such datagrams are not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UtpError {
    /// It ends within the header or an extension.
    #[error("packet of {0} bytes ends too early")]
    Short(usize),
    /// Another version or an unknown kind: no packet of this protocol.
    #[error("packet that begins with {0:#04x} is not of this protocol")]
    Foreign(u8),
    /// More than [`EXTENSIONS_MAX`].
    #[error("packet with more than {EXTENSIONS_MAX} extensions")]
    Extensions,
    /// A selective acknowledgement whose length is not 4, 8, and so on.
    #[error("selective acknowledgement of {0} bytes")]
    Sack(usize),
}

/// True if a datagram that begins with `bytes` may be a packet: what else comes to the same socket (messages of the DHT begin
/// with `d`, those of trackers with a zero) is not.
pub fn is_packet(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER_LEN && bytes[0] & 0xf == VERSION && Kind::of(bytes[0] >> 4).is_some()
}

impl Header {
    /// Reads a header; answers the kind of its first extension, or 0, too.
    ///
    /// # Errors
    /// If it is too short, or of another protocol.
    pub fn parse(bytes: &[u8]) -> Result<(Header, u8), UtpError> {
        let Some(b) = bytes.first_chunk::<HEADER_LEN>() else { return Err(UtpError::Short(bytes.len())) };
        let kind = Kind::of(b[0] >> 4).filter(|_| b[0] & 0xf == VERSION).ok_or(UtpError::Foreign(b[0]))?;
        let header = Header {
            kind,
            connection: u16::from_be_bytes([b[2], b[3]]),
            timestamp_us: u32::from_be_bytes([b[4], b[5], b[6], b[7]]),
            delay_us: u32::from_be_bytes([b[8], b[9], b[10], b[11]]),
            window: u32::from_be_bytes([b[12], b[13], b[14], b[15]]),
            seq: u16::from_be_bytes([b[16], b[17]]),
            ack: u16::from_be_bytes([b[18], b[19]]),
        };
        Ok((header, b[1]))
    }

    /// The bytes of a packet without extensions.
    pub fn encode(&self) -> [u8; HEADER_LEN] {
        let mut b = [0; HEADER_LEN];
        b[0] = (self.kind as u8) << 4 | VERSION;
        b[2..4].copy_from_slice(&self.connection.to_be_bytes());
        b[4..8].copy_from_slice(&self.timestamp_us.to_be_bytes());
        b[8..12].copy_from_slice(&self.delay_us.to_be_bytes());
        b[12..16].copy_from_slice(&self.window.to_be_bytes());
        b[16..18].copy_from_slice(&self.seq.to_be_bytes());
        b[18..20].copy_from_slice(&self.ack.to_be_bytes());
        b
    }

    /// Writes the packet with a selective acknowledgement, which is cut at [`SACK_LEN_MAX`]; an empty one is left out.
    /// Its length is to be a multiple of four.
    pub fn encode_sack(&self, sack: &[u8], out: &mut Vec<u8>) {
        let sack = &sack[..sack.len().min(SACK_LEN_MAX)];
        debug_assert!(sack.len().is_multiple_of(4), "{} bytes", sack.len());
        let mut header = self.encode();
        if sack.is_empty() {
            return out.extend_from_slice(&header);
        }
        header[1] = SELECTIVE_ACK;
        out.extend_from_slice(&header);
        out.extend_from_slice(&[0, sack.len() as u8]);
        out.extend_from_slice(sack);
    }

    /// Writes the packet with extensions that mean nothing, so that payload begins `padding` bytes later. Padding of one byte
    /// can't be; it is left out.
    pub fn encode_padded(&self, padding: usize, out: &mut Vec<u8>) {
        let mut header = self.encode();
        if padding < 2 {
            return out.extend_from_slice(&header);
        }
        header[1] = PADDING;
        out.extend_from_slice(&header);
        let mut left = padding;
        while left > 0 {
            // Never leaves a single byte, which no extension is as short as.
            let len = if left == 258 { 254 } else { (left - 2).min(255) };
            left -= len + 2;
            out.extend_from_slice(&[if left == 0 { 0 } else { PADDING }, len as u8]);
            out.resize(out.len() + len, 0);
        }
    }
}

impl<'a> Packet<'a> {
    /// Reads what comes before the payload. `bytes` may end there.
    ///
    /// # Errors
    /// If it is no packet.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, UtpError> {
        let (header, mut extension) = Header::parse(bytes)?;
        let mut packet = Packet { header, sack: None, close_reason: None, payload_at: HEADER_LEN };
        for _ in 0..EXTENSIONS_MAX {
            if extension == 0 {
                return Ok(packet);
            }
            let at = packet.payload_at;
            let Some(&[next, len]) = bytes.get(at..at + 2).and_then(|b| b.first_chunk()) else {
                return Err(UtpError::Short(bytes.len()));
            };
            let end = at + 2 + usize::from(len);
            let body = bytes.get(at + 2..end).ok_or(UtpError::Short(bytes.len()))?;
            match extension {
                SELECTIVE_ACK if body.is_empty() || !body.len().is_multiple_of(4) => {
                    return Err(UtpError::Sack(body.len()));
                }
                SELECTIVE_ACK => packet.sack = Some(Sack(body)),
                CLOSE_REASON => {
                    packet.close_reason = body.first_chunk::<4>().map(|b| u16::from_be_bytes([b[2], b[3]]));
                }
                _ => {}
            }
            (packet.payload_at, extension) = (end, next);
        }
        if extension == 0 { Ok(packet) } else { Err(UtpError::Extensions) }
    }
}

impl<'a> Sack<'a> {
    /// The mask.
    pub fn bytes(self) -> &'a [u8] {
        self.0
    }

    /// Distances of the packets that came from the acknowledged one, ascending: 2 at least.
    pub fn distances(self) -> impl Iterator<Item = u16> + 'a {
        self.0.iter().enumerate().flat_map(|(i, byte)| {
            let mut bits = *byte;
            std::iter::from_fn(move || {
                let n = bits.trailing_zeros();
                bits &= bits.wrapping_sub(1);
                (n < 8).then_some((i * 8) as u16 + n as u16 + 2)
            })
        })
    }
}
