use super::*;
use proptest::prelude::*;

fn header(kind: Kind) -> Header {
    Header {
        kind,
        connection: 0x0102,
        timestamp_us: 0x0304_0506,
        delay_us: 0x0708_090a,
        window: 0x0b0c_0d0e,
        seq: 0x0f10,
        ack: 0x1112,
    }
}

#[test]
fn a_header_is_laid_out_as_the_specification_says() {
    let expect = [0x41, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18];
    assert_eq!(header(Kind::Syn).encode(), expect);
    assert_eq!(Header::parse(&expect), Ok((header(Kind::Syn), 0)));
    for (kind, first) in [(Kind::Data, 0x01), (Kind::Fin, 0x11), (Kind::State, 0x21), (Kind::Reset, 0x31)] {
        assert_eq!(header(kind).encode()[0], first);
    }
}

#[test]
fn extensions_are_walked_and_unknown_ones_skipped() {
    let mut bytes = header(Kind::State).encode().to_vec();
    bytes[1] = 9;
    bytes.extend([1, 3, 7, 7, 7]); // unknown, then the acknowledgement
    bytes.extend([3, 4, 0b0000_0101, 0, 0, 0x80]); // then the reason
    bytes.extend([2, 4, 0, 0, 1, 2]); // then eight bits that nobody uses any more
    bytes.extend([0, 0]);
    bytes.extend(b"payload");
    let packet = Packet::parse(&bytes).unwrap();
    assert_eq!(packet.sack.unwrap().distances().collect::<Vec<_>>(), [2, 4, 33]);
    assert_eq!(packet.close_reason, Some(0x0102));
    assert_eq!(&bytes[packet.payload_at..], b"payload");
    for short in HEADER_LEN..packet.payload_at {
        assert_eq!(Packet::parse(&bytes[..short]), Err(UtpError::Short(short)));
    }
    // Nothing behind the extensions is needed.
    assert_eq!(Packet::parse(&bytes[..packet.payload_at]), Ok(packet));
}

#[test]
fn what_is_no_packet_is_refused() {
    assert_eq!(Packet::parse(&[0x21; 19]), Err(UtpError::Short(19)));
    for first in [0x00, 0x22, 0x51, b'd'] {
        let mut bytes = header(Kind::State).encode();
        bytes[0] = first;
        assert_eq!(Packet::parse(&bytes), Err(UtpError::Foreign(first)));
        assert!(!is_packet(&bytes));
    }
    for len in [0, 3, 5] {
        let mut bytes = header(Kind::State).encode().to_vec();
        bytes[1] = 1;
        bytes.extend([0, len as u8]);
        bytes.resize(bytes.len() + len, 0xff);
        assert_eq!(Packet::parse(&bytes), Err(UtpError::Sack(len)));
    }
    let chain = |n: usize| {
        let mut bytes = header(Kind::State).encode().to_vec();
        bytes[1] = 9;
        (1..n).for_each(|_| bytes.extend([9, 0]));
        bytes.extend([0, 0]);
        bytes
    };
    assert!(Packet::parse(&chain(EXTENSIONS_MAX)).is_ok());
    assert_eq!(Packet::parse(&chain(EXTENSIONS_MAX + 1)), Err(UtpError::Extensions));
    assert!(is_packet(&header(Kind::Syn).encode()) && !is_packet(&header(Kind::Syn).encode()[..19]));
}

proptest! {
    #[test]
    fn sacks_come_back(mask in proptest::collection::vec(any::<u8>(), 0..70)) {
        let mut mask: Vec<u8> = mask;
        mask.truncate(mask.len() / 4 * 4);
        let mut out = vec![1, 2];
        header(Kind::State).encode_sack(&mask, &mut out);
        let packet = Packet::parse(&out[2..]).unwrap();
        prop_assert_eq!(packet.header, header(Kind::State));
        prop_assert_eq!(packet.sack.map_or(&[][..], Sack::bytes), &mask[..]);
        prop_assert_eq!(packet.payload_at, out.len() - 2);
        let naive: Vec<u16> = (0..mask.len() * 8).filter(|i| mask[i / 8] >> (i % 8) & 1 == 1).map(|i| i as u16 + 2).collect();
        prop_assert_eq!(packet.sack.map_or(vec![], |s| s.distances().collect()), naive);
    }

    #[test]
    fn padding_is_as_long_as_it_says(padding in 0usize..66_000) {
        let mut out = Vec::new();
        header(Kind::Data).encode_padded(padding, &mut out);
        let packet = Packet::parse(&out).unwrap();
        prop_assert_eq!(packet.payload_at, HEADER_LEN + if padding < 2 { 0 } else { padding });
        prop_assert_eq!(out.len(), packet.payload_at);
        prop_assert_eq!((packet.header, packet.sack, packet.close_reason), (header(Kind::Data), None, None));
    }

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..300), first in 0u8..5) {
        let mut bytes = bytes;
        if let Some(b) = bytes.first_mut() {
            *b = first << 4 | 1;
        }
        if let Ok(packet) = Packet::parse(&bytes) {
            prop_assert!(is_packet(&bytes) && packet.payload_at <= bytes.len());
            prop_assert_eq!(Packet::parse(&bytes[..packet.payload_at]), Ok(packet));
        }
    }
}
