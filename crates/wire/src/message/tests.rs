//! Golden bytes of the BEPs, limits, and the decoder against arbitrary bytes and arbitrary cuts.

use super::*;
use base::{BLOCK_SIZE, Payload};
use proptest::prelude::*;

/// Everything that the decoder says about `stream`, fed in runs that end at `cuts`.
fn decode(stream: &[u8], cuts: &[usize], limits: Limits) -> (Vec<Event<Vec<u8>>>, Option<MessageError>) {
    let mut decoder = Decoder::new(limits);
    let mut events = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([stream.len()]) {
        let to = to.clamp(from, stream.len());
        decoder.feed(stream[from..to].to_vec());
        from = to;
        loop {
            match decoder.poll() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(error) => return (events, Some(error)),
            }
        }
    }
    (events, None)
}

fn decode_one(stream: &[u8]) -> Event<Vec<u8>> {
    let (mut events, error) = decode(stream, &[], Limits::default());
    assert_eq!(error, None);
    assert_eq!(events.len(), 1, "{events:?}");
    events.remove(0)
}

fn request_of_hashes() -> HashRequest {
    HashRequest { root: [3; 32], base_layer: 7, index: 512, length: 512, proof_layers: 9 }
}

#[test]
fn golden_bytes() {
    let hashes = Hashes { request: request_of_hashes(), hashes: vec![[1; 32], [2; 32]].into() };
    let tree = [&[3; 32][..], &[0, 0, 0, 7, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 0, 9]].concat();
    let cases: Vec<(Message, Vec<u8>)> = vec![
        (Message::KeepAlive, vec![0, 0, 0, 0]),
        (Message::Choke, vec![0, 0, 0, 1, 0]),
        (Message::Unchoke, vec![0, 0, 0, 1, 1]),
        (Message::Interested, vec![0, 0, 0, 1, 2]),
        (Message::NotInterested, vec![0, 0, 0, 1, 3]),
        (Message::Have(0x01020304), vec![0, 0, 0, 5, 4, 1, 2, 3, 4]),
        (Message::Bitfield([0xff, 0x80].into()), vec![0, 0, 0, 3, 5, 0xff, 0x80]),
        (
            Message::Request { piece: 1, begin: 0x4000, len: 0x4000 },
            vec![0, 0, 0, 13, 6, 0, 0, 0, 1, 0, 0, 0x40, 0, 0, 0, 0x40, 0],
        ),
        (
            Message::Cancel { piece: 1, begin: 0, len: 0x4000 },
            vec![0, 0, 0, 13, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0x40, 0],
        ),
        (Message::Port(6881), vec![0, 0, 0, 3, 9, 0x1a, 0xe1]),
        (Message::Suggest(9), vec![0, 0, 0, 5, 13, 0, 0, 0, 9]),
        (Message::HaveAll, vec![0, 0, 0, 1, 14]),
        (Message::HaveNone, vec![0, 0, 0, 1, 15]),
        (Message::Reject { piece: 1, begin: 0, len: 1 }, vec![0, 0, 0, 13, 16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]),
        (Message::AllowedFast(1059), vec![0, 0, 0, 5, 17, 0, 0, 4, 0x23]),
        (Message::Extended { id: 0, payload: (*b"de").into() }, vec![0, 0, 0, 4, 20, 0, b'd', b'e']),
        (Message::HashRequest(request_of_hashes().into()), [&[0, 0, 0, 49, 21][..], &tree].concat()),
        (Message::Hashes(hashes.into()), [&[0, 0, 0, 113, 22][..], &tree, &[1; 32], &[2; 32]].concat()),
        (Message::HashReject(request_of_hashes().into()), [&[0, 0, 0, 49, 23][..], &tree].concat()),
    ];
    for (message, bytes) in cases {
        let mut out = Vec::new();
        encode(&message, &mut out);
        assert_eq!(out, bytes, "{message:?}");
        assert_eq!(decode_one(&bytes), Event::Message(message));
    }
}

#[test]
fn a_block_is_split_off() {
    let mut stream = block_header(5, 0x8000, 4).to_vec();
    assert_eq!(stream, [0, 0, 0, 13, 7, 0, 0, 0, 5, 0, 0, 0x80, 0]);
    stream.extend(b"data");
    assert_eq!(decode_one(&stream), Event::Block { piece: 5, begin: 0x8000, data: b"data".to_vec() });
    let empty = block_header(5, 0, 0);
    assert_eq!(decode_one(&empty), Event::Block { piece: 5, begin: 0, data: Vec::new() });
}

#[test]
fn progress_of_a_block_is_visible() {
    let mut decoder = Decoder::new(Limits::default());
    decoder.feed(block_header(1, 2, 10)[..12].to_vec());
    assert_eq!(decoder.poll(), Ok(None));
    assert_eq!(decoder.pending_block(), None);
    decoder.feed(vec![2]);
    assert_eq!(decoder.poll(), Ok(None));
    assert_eq!(decoder.pending_block(), Some((1, 2, 0, 10)));
    decoder.feed(vec![7; 9]);
    assert_eq!(decoder.poll(), Ok(None));
    assert_eq!(decoder.pending_block(), Some((1, 2, 9, 10)));
    decoder.feed(vec![7; 3]);
    assert_eq!(decoder.pending_block(), Some((1, 2, 10, 10)));
    assert_eq!(decoder.poll(), Ok(Some(Event::Block { piece: 1, begin: 2, data: vec![7; 10] })));
    assert_eq!(decoder.pending_block(), None);
    assert_eq!(decoder.buffered(), 2);
}

#[test]
fn unknown_messages_are_skipped() {
    let stream = [0, 0, 0, 3, 99, 1, 2, 0, 0, 0, 1, 1];
    let (events, error) = decode(&stream, &[], Limits::default());
    assert_eq!(error, None);
    let expected = [Message::Unknown { id: 99, len: 2 }, Message::Unchoke].map(Event::Message);
    assert_eq!(events, expected);
}

/// Lengths that don't fit are refused at the fifth byte, before anything of the body is kept.
#[test]
fn wrong_lengths_are_refused_at_once() {
    let limits = Limits { block_max: 16384, bitfield_max: 2, extended_max: 100 };
    let refuse = |len: u32, id: u8| {
        let mut decoder = Decoder::<Vec<u8>>::new(limits);
        decoder.feed([&len.to_be_bytes()[..], &[id]].concat());
        let error = decoder.poll().expect_err("wrong length");
        assert_eq!(decoder.poll(), Err(error), "the stream stays lost");
        error
    };
    for (len, id) in [(2, 0), (2, 14), (4, 4), (6, 4), (2, 9), (12, 6), (14, 8), (14, 16), (8, 7), (1, 20), (48, 21)] {
        assert_eq!(refuse(len, id), MessageError::Length { id, len });
    }
    for len in [50, 49 + 33] {
        assert_eq!(refuse(len, 22), MessageError::Length { id: 22, len });
    }
    for (len, id, max) in [
        (16384 + 10, 7, 16384 + 9),
        (u32::MAX, 7, 16384 + 9),
        (4, 5, 3),
        (103, 20, 102),
        (1 + 48 + 32 * (HASHES_MAX + 1), 22, 1 + 48 + 32 * HASHES_MAX),
        (UNKNOWN_BYTES_MAX + 2, 200, UNKNOWN_BYTES_MAX + 1),
        (u32::MAX, 255, UNKNOWN_BYTES_MAX + 1),
    ] {
        assert_eq!(refuse(len, id), MessageError::TooLong { id, len, max });
    }
}

#[test]
fn limits_follow_the_torrent() {
    let mut decoder = Decoder::<Vec<u8>>::new(Limits::default());
    decoder.set_limits(Limits::of_torrent(9, BLOCK_SIZE));
    decoder.feed(vec![0, 0, 0, 3, 5, 0xff, 0x80, 0, 0, 0, 4, 5]);
    assert!(matches!(decoder.poll(), Ok(Some(Event::Message(Message::Bitfield(_))))));
    assert_eq!(decoder.poll(), Err(MessageError::TooLong { id: 5, len: 4, max: 3 }));
    // The widest limits do not overflow.
    decoder.set_limits(Limits { block_max: u32::MAX, bitfield_max: u32::MAX, extended_max: u32::MAX });
    assert_eq!(decoder.poll(), Ok(None));
}

#[test]
fn an_idle_decoder_is_small_and_holds_no_heap() {
    assert!(size_of::<Decoder<Vec<u8>>>() <= size_of::<Vec<u8>>() + 32);
    assert!(size_of::<Message>() <= 24);
    let mut decoder = Decoder::<Vec<u8>>::new(Limits::default());
    let mut stream = block_header(0, 0, 3).to_vec();
    stream.extend([1, 2, 3, 0, 0, 0, 1, 0, 0, 0, 0, 0]);
    decoder.feed(stream);
    while decoder.poll().expect("valid").is_some() {}
    assert_eq!((decoder.buffered(), decoder.buffer.capacity()), (0, 0));
}

/// A payload that counts what was read of it, as the lab's would refuse to be read.
#[derive(Clone, Debug, Default)]
struct Counted {
    bytes: Vec<u8>,
    read: std::rc::Rc<std::cell::Cell<usize>>,
}

impl Payload for Counted {
    fn len(&self) -> usize {
        self.bytes.len()
    }
    fn split_to(&mut self, n: usize) -> Self {
        Counted { bytes: self.bytes.drain(..n).collect(), read: self.read.clone() }
    }
    fn append(&mut self, more: Self) {
        self.bytes.extend(more.bytes);
    }
    fn copy_prefix(&self, out: &mut [u8]) {
        self.read.set(self.read.get() + out.len());
        out.copy_from_slice(&self.bytes[..out.len()]);
    }
}

#[test]
fn payload_is_never_read() {
    let read = std::rc::Rc::new(std::cell::Cell::new(0));
    let mut decoder = Decoder::new(Limits::default());
    let mut blocks = 0;
    for piece in 0..64 {
        let mut bytes = block_header(piece, 0, BLOCK_SIZE).to_vec();
        bytes.resize(bytes.len() + BLOCK_SIZE as usize, 9);
        for run in bytes.chunks(5000) {
            decoder.feed(Counted { bytes: run.to_vec(), read: read.clone() });
            while let Some(event) = decoder.poll().expect("valid") {
                assert!(matches!(event, Event::Block { data, .. } if data.len() == BLOCK_SIZE as usize));
                blocks += 1;
            }
        }
    }
    assert_eq!(blocks, 64);
    assert_eq!(read.get(), 64 * 17, "the header alone, once a block");
}

fn any_message() -> impl Strategy<Value = Message> {
    let bytes = || proptest::collection::vec(any::<u8>(), 0..80).prop_map(Vec::into_boxed_slice);
    let hash_request = || {
        any::<([u8; 32], u32, u32, u32, u32)>().prop_map(|(root, base_layer, index, length, proof_layers)| {
            HashRequest { root, base_layer, index, length, proof_layers }
        })
    };
    prop_oneof![
        Just(Message::KeepAlive),
        Just(Message::Choke),
        Just(Message::Unchoke),
        Just(Message::Interested),
        Just(Message::NotInterested),
        Just(Message::HaveAll),
        Just(Message::HaveNone),
        any::<u32>().prop_map(Message::Have),
        any::<u32>().prop_map(Message::Suggest),
        any::<u32>().prop_map(Message::AllowedFast),
        any::<u16>().prop_map(Message::Port),
        any::<(u32, u32, u32)>().prop_map(|(piece, begin, len)| Message::Request { piece, begin, len }),
        any::<(u32, u32, u32)>().prop_map(|(piece, begin, len)| Message::Cancel { piece, begin, len }),
        any::<(u32, u32, u32)>().prop_map(|(piece, begin, len)| Message::Reject { piece, begin, len }),
        bytes().prop_map(Message::Bitfield),
        (any::<u8>(), bytes()).prop_map(|(id, payload)| Message::Extended { id, payload }),
        hash_request().prop_map(|r| Message::HashRequest(r.into())),
        hash_request().prop_map(|r| Message::HashReject(r.into())),
        (hash_request(), proptest::collection::vec(any::<[u8; 32]>(), 0..4))
            .prop_map(|(request, hashes)| Message::Hashes(Hashes { request, hashes: hashes.into() }.into())),
    ]
}

/// A message, or a block of a piece.
fn any_event() -> impl Strategy<Value = Event<Vec<u8>>> {
    let data = proptest::collection::vec(any::<u8>(), 0..200);
    prop_oneof![
        any_message().prop_map(Event::Message),
        (any::<u32>(), any::<u32>(), data).prop_map(|(piece, begin, data)| Event::Block { piece, begin, data }),
    ]
}

fn write(event: &Event<Vec<u8>>, out: &mut Vec<u8>) {
    match event {
        Event::Message(message) => encode(message, out),
        Event::Block { piece, begin, data } => {
            out.extend(block_header(*piece, *begin, data.len() as u32));
            out.extend_from_slice(data);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn round_trip_at_any_cut(
        events in proptest::collection::vec(any_event(), 0..12),
        mut cuts in proptest::collection::vec(0usize..1500, 0..12),
    ) {
        let mut stream = Vec::new();
        events.iter().for_each(|event| write(event, &mut stream));
        cuts.sort_unstable();
        prop_assert_eq!(decode(&stream, &cuts, Limits::default()), (events.clone(), None));
        let every_byte: Vec<usize> = (0..stream.len()).collect();
        prop_assert_eq!(decode(&stream, &every_byte, Limits::default()), (events, None));
    }

    /// Streams that go wrong somewhere say the same before it, wherever they are cut.
    #[test]
    fn arbitrary_bytes_never_panic_and_cuts_do_not_matter(
        events in proptest::collection::vec(any_event(), 0..4),
        garbage in proptest::collection::vec(prop_oneof![Just(0u8), 0u8..24, any::<u8>()], 0..300),
    ) {
        let mut stream = Vec::new();
        events.iter().for_each(|event| write(event, &mut stream));
        stream.extend(garbage);
        let every_byte: Vec<usize> = (0..stream.len()).collect();
        let limits = Limits { block_max: 64, bitfield_max: 64, extended_max: 64 };
        let whole = decode(&stream, &[], limits);
        prop_assert_eq!(decode(&stream, &every_byte, limits), whole);
    }
}
