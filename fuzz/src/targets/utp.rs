//! Packets of the micro transport protocol.

use wire::utp::{Header, Kind, Packet, Sack};

use super::words;

fn header(kind: Kind) -> Header {
    Header { kind, connection: 7, timestamp_us: 1_000, delay_us: 2_000, window: 65_536, seq: 0xffff, ack: 1 }
}

pub(super) fn packet_examples() -> Vec<Vec<u8>> {
    let (mut acked, mut padded) = (Vec::new(), Vec::new());
    header(Kind::State).encode_sack(&[0b101, 0, 0, 0x80, 1, 2, 3, 4], &mut acked);
    header(Kind::Data).encode_padded(300, &mut padded);
    padded.extend_from_slice(b"payload");
    let mut closing = header(Kind::Fin).encode().to_vec();
    closing[1] = 3;
    closing.extend([0, 4, 0, 0, 0, 7]);
    vec![header(Kind::Syn).encode().to_vec(), header(Kind::Reset).encode().to_vec(), acked, padded, closing]
}

pub(super) fn packet(input: &[u8]) -> Result<String, String> {
    let packet = Packet::parse(input).map_err(words)?;
    assert!(packet.payload_at <= input.len() && wire::utp::is_packet(input));
    assert_eq!(Packet::parse(&input[..packet.payload_at]), Ok(packet), "payload is not looked at");
    let mut again = Vec::new();
    packet.header.encode_sack(packet.sack.map_or(&[], Sack::bytes), &mut again);
    let back = Packet::parse(&again).expect("what was written");
    assert_eq!((back.header, back.sack), (packet.header, packet.sack));
    let kind = packet.header.kind;
    Ok(format!("{kind:?} {} {}", packet.sack.is_some(), packet.close_reason.is_some()))
}
