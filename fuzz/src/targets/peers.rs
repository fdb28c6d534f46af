//! What peers send: handshakes, messages, extensions.

use base::{InfoHash, PeerId};
use wire::extended::{
    ExtendedHandshake, Extension, METADATA_BYTES_MAX, METADATA_PIECE_LEN, Metadata, PeerIds, Pex, parse_dont_have,
};
use wire::{Decoder, Event, Handshake, Limits, Message, Reserved, block_header, encode};

use super::words;

/// The limits of a torrent of 1,000 pieces.
fn limits() -> Limits {
    Limits::of_torrent(1_000, base::BLOCK_SIZE)
}

pub(super) fn handshake_examples() -> Vec<Vec<u8>> {
    let reserved = [Reserved::NONE, Reserved::NONE.with_extended().with_fast().with_dht().with_v2()];
    let shake =
        |reserved| Handshake { reserved, info_hash: InfoHash([1; 20]), peer_id: PeerId([2; 20]) }.encode().to_vec();
    reserved.map(shake).into()
}

pub(super) fn handshake(input: &[u8]) -> Result<String, String> {
    let shake = Handshake::parse(input).map_err(words)?;
    // The head alone, and any cut of the stream, say the same.
    let cut = &input[..input.len().min(Handshake::LEN - 1)];
    assert_eq!(Handshake::parse(cut).map_err(words)?, None, "a part of a handshake is none");
    let mut stream = input.to_vec();
    assert_eq!(Handshake::take(&mut stream).map_err(words)?, shake);
    let Some(shake) = shake else { return Ok("more".into()) };
    assert_eq!(shake.encode(), input[..Handshake::LEN]);
    assert_eq!(stream, input[Handshake::LEN..]);
    let reserved = shake.reserved;
    Ok(format!("{} {} {} {}", reserved.extended(), reserved.fast(), reserved.dht(), reserved.v2()))
}

pub(super) fn message_examples() -> Vec<Vec<u8>> {
    let messages = [
        Message::KeepAlive,
        Message::Unchoke,
        Message::Have(7),
        Message::Bitfield(vec![0xff; 125].into()),
        Message::Request { piece: 1, begin: 16_384, len: 16_384 },
        Message::Cancel { piece: 1, begin: 0, len: 16_384 },
        Message::HaveAll,
        Message::Reject { piece: 1, begin: 0, len: 1 },
        Message::AllowedFast(3),
        Message::Port(6881),
    ];
    let mut all = Vec::new();
    for message in &messages {
        encode(message, &mut all);
    }
    all.extend(block_header(1, 0, 5));
    all.extend(b"block");
    // An extended message, a hash request, and an unknown one.
    all.extend(b"\0\0\0\x04\x14\0de");
    all.extend([0, 0, 0, 49, 21].iter().chain(&[1; 48]));
    all.extend(b"\0\0\0\x03\x63xx");
    vec![all, block_header(0, 0, 0).to_vec()]
}

pub(super) fn message(input: &[u8]) -> Result<String, String> {
    let (whole, error) = decode(input, input.len().max(1));
    let (parts, same) = decode(input, 7);
    assert_eq!((&whole, &error), (&parts, &same), "how a stream is cut must not matter");
    // What was understood is written and read again as the same.
    let mut written = Vec::new();
    for event in &whole {
        match event {
            Event::Message(message) => encode(message, &mut written),
            Event::Block { piece, begin, data } => {
                assert!(data.len() <= base::BLOCK_SIZE as usize);
                written.extend(block_header(*piece, *begin, data.len() as u32));
                written.extend(data);
            }
        }
    }
    let known = |event: &&Event<_>| !matches!(event, Event::Message(Message::Unknown { .. })); // which can't be written
    assert_eq!(decode(&written, written.len().max(1)), (whole.iter().filter(known).cloned().collect(), None));
    let last = whole.last().map(|event| match event {
        Event::Message(message) => format!("{message:?}").chars().take_while(|c| c.is_alphanumeric()).collect(),
        Event::Block { .. } => "Block".to_owned(),
    });
    error.map_or(Ok(format!("{last:?}")), |error| Err(format!("{last:?} {error}")))
}

type Decoded = (Vec<Event<Vec<u8>>>, Option<String>);

fn decode(stream: &[u8], step: usize) -> Decoded {
    let mut decoder = Decoder::new(limits());
    let mut events = Vec::new();
    for run in stream.chunks(step) {
        decoder.feed(run.to_vec());
        loop {
            match decoder.poll() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error.to_string())),
            }
        }
        assert!(decoder.buffered() <= (512 << 10) + 64, "a decoder holds one message at most");
    }
    (events, None)
}

pub(super) fn extended_examples() -> Vec<Vec<u8>> {
    let full = ExtendedHandshake {
        ids: PeerIds::local(Extension::ALL),
        port: Some(6881),
        client: Some("client é".into()),
        request_queue: Some(2_000),
        metadata_size: Some(20_000),
        ..ExtendedHandshake::default()
    };
    let pex = b"d5:added12:\x01\x02\x03\x04\x1a\xe1\x05\x06\x07\x08\x1a\xe17:added.f2:\0\x027:dropped0:e".to_vec();
    vec![full.encode(), pex, b"\0\0\0\x07".to_vec()]
}

pub(super) fn extended(input: &[u8]) -> Result<String, String> {
    let have = parse_dont_have(input);
    let pex = Pex::parse(input);
    let shake = ExtendedHandshake::parse(input);
    if let Ok(pex) = &pex {
        let again = Pex::parse(&pex.encode()).expect("what we write we read");
        assert_eq!(again.added.len(), pex.added.len());
    }
    if let Ok(shake) = &shake {
        assert!(shake.metadata_size.is_none_or(|n| n <= METADATA_BYTES_MAX));
        let again = ExtendedHandshake::parse(&shake.encode()).expect("what we write we read");
        assert_eq!(&again, shake);
        return Ok(format!("{:?}", shake.client.is_some()));
    }
    if have.is_ok() || pex.is_ok() {
        return Ok(format!("{} {}", have.is_ok(), pex.is_ok()));
    }
    shake.map(|_| String::new()).map_err(words)
}

pub(super) fn metadata_examples() -> Vec<Vec<u8>> {
    let data = vec![b'x'; METADATA_PIECE_LEN as usize];
    [
        Metadata::Request { piece: 3 },
        Metadata::Data { piece: 0, total_size: METADATA_PIECE_LEN, data: &data },
        Metadata::Data { piece: 1, total_size: METADATA_PIECE_LEN + 5, data: b"short" },
        Metadata::Reject { piece: 0 },
    ]
    .map(|m| m.encode())
    .into()
}

pub(super) fn metadata(input: &[u8]) -> Result<String, String> {
    let metadata = Metadata::parse(input).map_err(words)?;
    if let Metadata::Data { piece, total_size, data } = metadata {
        assert!(data.len() <= METADATA_PIECE_LEN as usize && total_size <= METADATA_BYTES_MAX);
        let end = u64::from(piece) * u64::from(METADATA_PIECE_LEN) + data.len() as u64;
        assert!(end <= u64::from(total_size), "a piece ends within the whole");
    }
    if metadata != Metadata::Unknown {
        assert_eq!(Metadata::parse(&metadata.encode()).map_err(words)?, metadata);
    }
    let kind = format!("{metadata:?}");
    Ok(kind.split(' ').next().unwrap_or_default().to_owned())
}
