//! Every format against inputs that are almost right: valid samples with bytes flipped, cut out, doubled, and spliced
//! with each other. Arbitrary bytes rarely get past the first check of a parser; these do.
//!
//! What is asserted is that nothing panics, that what is accepted keeps the named limits, and that what is accepted
//! means the same after it was written and read again.

use base::{BLOCK_SIZE, InfoHash, PeerId};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;
use wire::extended::{
    ExtendedHandshake, Extension, METADATA_BYTES_MAX, Metadata, PEX_PEERS_MAX, PeerIds, Pex, PexFlags, PexPeer,
    metadata_piece_len,
};
use wire::message::{HashRequest, Hashes};
use wire::tracker::{Announce, AnnounceEvent, Counts, MESSAGE_CHARS_MAX, PEERS_MAX, http, udp};
use wire::{Decoder, Event, Handshake, Limits, Message, Reserved, block_header, encode};

/// What happens to a sample on its way.
#[derive(Clone, Debug)]
enum Damage {
    /// A byte becomes another.
    Replace(usize, u8),
    /// A bit flips.
    Flip(usize, u8),
    /// Bytes vanish.
    Cut(usize, usize),
    /// Bytes come twice.
    Double(usize, usize),
    /// A digit becomes another, so that lengths and numbers go wrong while the notation stays right.
    Digit(usize, u8),
}

fn any_damage() -> impl Strategy<Value = Damage> {
    let at = || 0usize..4096;
    prop_oneof![
        (at(), any::<u8>()).prop_map(|(at, byte)| Damage::Replace(at, byte)),
        (at(), 0u8..8).prop_map(|(at, bit)| Damage::Flip(at, bit)),
        (at(), 1usize..20).prop_map(|(at, n)| Damage::Cut(at, n)),
        (at(), 1usize..20).prop_map(|(at, n)| Damage::Double(at, n)),
        (at(), 0u8..10).prop_map(|(at, digit)| Damage::Digit(at, digit)),
    ]
}

fn damage(bytes: &mut Vec<u8>, all: &[Damage]) {
    for one in all {
        if bytes.is_empty() {
            return;
        }
        let len = bytes.len();
        match *one {
            Damage::Replace(at, byte) => bytes[at % len] = byte,
            Damage::Flip(at, bit) => bytes[at % len] ^= 1 << bit,
            Damage::Cut(at, n) => drop(bytes.drain(at % len..(at % len + n).min(len))),
            Damage::Double(at, n) => {
                let part = bytes[at % len..(at % len + n).min(len)].to_vec();
                bytes.splice(at % len..at % len, part);
            }
            Damage::Digit(at, digit) => {
                let digits: Vec<_> = (0..len).filter(|i| bytes[*i].is_ascii_digit()).collect();
                if let Some(i) = digits.get(at % digits.len().max(1)) {
                    bytes[*i] = b'0' + digit;
                }
            }
        }
    }
}

/// One of `samples`, or two of them cut and joined, then damaged.
fn hostile(samples: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let n = samples.len();
    (0..n, 0..n, any::<[u16; 2]>(), any::<bool>(), proptest::collection::vec(any_damage(), 0..6)).prop_map(
        move |(a, b, [i, j], splice, all)| {
            let (a, b) = (&samples[a], &samples[b]);
            let mut bytes = match splice {
                true => [&a[..usize::from(i) % (a.len() + 1)], &b[usize::from(j) % (b.len() + 1)..]].concat(),
                false => a.clone(),
            };
            damage(&mut bytes, &all);
            bytes
        },
    )
}

fn addr(i: u8) -> SocketAddr {
    match i % 2 {
        0 => SocketAddr::from(([192, 0, 2, i], 6881)),
        _ => SocketAddr::from(([0x2001, 0xdb8, 0, 0, 0, 0, 0, i.into()], 6881)),
    }
}

fn handshakes() -> Vec<Vec<u8>> {
    let reserved = Reserved::NONE.with_extended().with_fast();
    let shake = Handshake { reserved, info_hash: InfoHash([1; 20]), peer_id: PeerId([2; 20]) };
    vec![shake.encode().to_vec(), [&shake.encode()[..], &[0, 0, 0, 1, 15]].concat()]
}

fn streams() -> Vec<Vec<u8>> {
    let request = HashRequest { root: [7; 32], base_layer: 0, index: 0, length: 2, proof_layers: 1 };
    let messages = [
        Message::Bitfield([0xff; 40].into()),
        Message::Extended { id: 0, payload: extended().swap_remove(0).into() },
        Message::HaveAll,
        Message::AllowedFast(3),
        Message::Unchoke,
        Message::KeepAlive,
        Message::Request { piece: 1, begin: 0, len: BLOCK_SIZE },
        Message::HashRequest(request.into()),
        Message::Hashes(Hashes { request, hashes: [[8; 32]; 3].into() }.into()),
        Message::Port(6881),
        Message::Have(9),
    ];
    let mut stream = Vec::new();
    messages.iter().for_each(|message| encode(message, &mut stream));
    let mut blocks = block_header(1, 2, 300).to_vec();
    blocks.resize(blocks.len() + 300, 3);
    let both = [&blocks[..], &stream, &blocks].concat();
    vec![stream, blocks, both]
}

fn extended() -> Vec<Vec<u8>> {
    let hello = ExtendedHandshake {
        ids: PeerIds::local(Extension::ALL),
        port: Some(6881),
        client: Some("Shoal".into()),
        your_ip: Some(Ipv4Addr::LOCALHOST.into()),
        request_queue: Some(2000),
        metadata_size: Some(40_000),
        upload_only: Some(false),
        ..Default::default()
    };
    let peers = |n: u8| (0..n).map(|i| PexPeer { addr: addr(i), flags: PexFlags::UTP });
    let pex = Pex { added: peers(40).collect(), dropped: (0..20).map(addr).collect() };
    let data = [5; 40_000 - 2 * 16_384];
    vec![
        hello.encode(),
        pex.encode(),
        Metadata::Request { piece: 2 }.encode(),
        Metadata::Data { piece: 2, total_size: 40_000, data: &data }.encode(),
        Metadata::Data { piece: 0, total_size: 5, data: b"d1:ae" }.encode(),
        Metadata::Reject { piece: 2 }.encode(),
    ]
}

fn announce() -> Announce {
    Announce {
        info_hash: InfoHash([0xa1; 20]),
        peer_id: PeerId(*b"-SH0100-abcdefghijkl"),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: AnnounceEvent::Started,
        key: 4,
        numwant: Some(5),
    }
}

fn queries() -> Vec<Vec<u8>> {
    let hashes = [InfoHash([0xb2; 20]), InfoHash([b'x'; 20])];
    let urls = [http::announce_url("", &announce(), Some(b"id")), http::scrape_url("/announce", &hashes).expect("url")];
    urls.iter().map(|url| url.split_once('?').expect("query").1.into()).collect()
}

fn replies() -> Vec<Vec<u8>> {
    let reply = http::AnnounceReply {
        interval: Some(Duration::from_secs(1800)),
        interval_min: Some(Duration::from_secs(60)),
        seeders: Some(1),
        external_ip: Some(Ipv4Addr::LOCALHOST.into()),
        warning: Some("w".into()),
        tracker_id: Some(vec![9; 8]),
        ..Default::default()
    };
    let peers: Vec<_> = (0..30).map(|i| http::Peer { addr: addr(i), peer_id: Some(PeerId([i; 20])) }).collect();
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    peers.iter().for_each(|p| wire::compact::push(p.addr, &mut v4, &mut v6));
    let mut out = vec![Vec::new(); 4];
    http::write_announce_reply(&reply, http::PeerList::Compact { v4: &v4, v6: &v6 }, &mut out[0]);
    http::write_announce_reply(&reply, http::PeerList::Dictionaries(&peers), &mut out[1]);
    let counts = Counts { seeders: 1, leechers: 2, downloads: 3 };
    let mut entries = vec![(InfoHash([1; 20]), counts), (InfoHash([2; 20]), counts)];
    http::write_scrape_reply(&mut entries, &mut out[2]);
    let retry = Some(http::Retry::After(Duration::from_secs(60)));
    http::write_failure(&http::Failure { reason: "no".into(), retry }, &mut out[3]);
    out
}

fn datagrams() -> Vec<Vec<u8>> {
    let mut out = vec![udp::connect_request(1).to_vec(), udp::connect_reply(1, 2).to_vec()];
    let mut write = |f: &dyn Fn(&mut Vec<u8>)| {
        let mut packet = Vec::new();
        f(&mut packet);
        out.push(packet);
    };
    write(&|out| udp::write_announce_request(1, 2, &announce(), b"/announce?key=1", out));
    write(&|out| udp::write_scrape_request(1, 2, &[InfoHash([1; 20]); 3], out));
    write(&|out| {
        udp::write_announce_reply(1, Duration::from_secs(1800), 2, 3, out);
        out.extend([1; 6 * 20]);
    });
    write(&|out| udp::write_scrape_reply(1, [Counts::default(); 3], out));
    write(&|out| udp::write_error(1, "no", out));
    out
}

/// Encodes what a decoder said; what was skipped is gone.
fn write(events: &[Event<Vec<u8>>]) -> Vec<u8> {
    let mut out = Vec::new();
    for event in events {
        match event {
            Event::Message(message) => encode(message, &mut out),
            Event::Block { piece, begin, data } => {
                out.extend(block_header(*piece, *begin, data.len() as u32));
                out.extend_from_slice(data);
            }
        }
    }
    out
}

fn decode(stream: &[u8], run: usize, limits: Limits) -> (Vec<Event<Vec<u8>>>, bool) {
    let mut decoder = Decoder::new(limits);
    let mut events = Vec::new();
    for run in stream.chunks(run) {
        decoder.feed(run.to_vec());
        loop {
            match decoder.poll() {
                Ok(Some(event)) => events.push(event),
                Ok(None) => break,
                Err(_) => return (events, false),
            }
        }
        if let Some((_, _, received, len)) = decoder.pending_block() {
            assert!(received <= len && len <= limits.block_max);
        }
    }
    (events, true)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn handshake(bytes in hostile(handshakes())) {
        if let Ok(Some(shake)) = Handshake::parse(&bytes) {
            prop_assert_eq!(&shake.encode()[..], &bytes[..Handshake::LEN]);
        }
    }

    #[test]
    fn peer_stream(bytes in hostile(streams()), run in 1usize..400) {
        let limits = Limits { block_max: 300, bitfield_max: 40, extended_max: 4096 };
        let (events, whole) = decode(&bytes, run, limits);
        prop_assert_eq!(&decode(&bytes, 1, limits), &(events.clone(), whole));
        for event in &events {
            match event {
                Event::Block { data, .. } => prop_assert!(data.len() <= 300),
                Event::Message(Message::Bitfield(bits)) => prop_assert!(bits.len() <= 40),
                Event::Message(Message::Extended { payload, .. }) => prop_assert!(payload.len() <= 4096),
                Event::Message(_) => {}
            }
        }
        let known: Vec<_> = events.into_iter().filter(|e| !matches!(e, Event::Message(Message::Unknown { .. }))).collect();
        prop_assert_eq!(decode(&write(&known), usize::MAX, limits), (known, true));
    }

    #[test]
    fn extended_messages(bytes in hostile(extended())) {
        if let Ok(hello) = ExtendedHandshake::parse(&bytes) {
            prop_assert!(hello.metadata_size.is_none_or(|size| (1..=METADATA_BYTES_MAX).contains(&size)));
            prop_assert!(hello.client.as_ref().is_none_or(|name| !name.chars().any(char::is_control)));
            prop_assert_eq!(ExtendedHandshake::parse(&hello.encode()), Ok(hello));
        }
        if let Ok(pex) = Pex::parse(&bytes) {
            prop_assert!(pex.added.len() <= 2 * PEX_PEERS_MAX && pex.dropped.len() <= 2 * PEX_PEERS_MAX);
        }
        if let Ok(message) = Metadata::parse(&bytes) {
            if let Metadata::Data { piece, total_size, data } = message {
                prop_assert_eq!(metadata_piece_len(total_size, piece), Some(data.len() as u32));
            }
            if message != Metadata::Unknown {
                let again = message.encode();
                prop_assert_eq!(Metadata::parse(&again), Ok(message));
            }
        }
    }

    #[test]
    fn tracker_requests(bytes in hostile(queries())) {
        let query = String::from_utf8_lossy(&bytes);
        if let Ok(request) = http::parse_announce(&query) {
            let url = http::announce_url("?", &request.announce, None);
            prop_assert_eq!(http::parse_announce(&url[1..]).map(|r| r.announce), Ok(request.announce));
        }
        if let Ok(hashes) = http::parse_scrape(&query) {
            prop_assert!(hashes.len() <= http::SCRAPE_HASHES_MAX);
        }
    }

    #[test]
    fn tracker_replies(bytes in hostile(replies())) {
        if let Ok(http::Reply::Answer(reply)) = http::parse_announce_reply(&bytes) {
            prop_assert!(reply.peers.len() <= 2 * PEERS_MAX);
        }
        for failed in [http::parse_announce_reply(&bytes).map(|_| ()), http::parse_scrape_reply(&bytes).map(|_| ())] {
            prop_assert!(failed.is_ok() || !failed.expect_err("checked").to_string().is_empty());
        }
        if let Ok(http::Reply::Failure(failure)) = http::parse_scrape_reply(&bytes) {
            prop_assert!(failure.reason.chars().count() <= MESSAGE_CHARS_MAX);
            prop_assert!(!failure.reason.chars().any(char::is_control));
        }
    }

    #[test]
    fn tracker_datagrams(bytes in hostile(datagrams()), from: IpAddr) {
        match udp::Request::parse(&bytes) {
            Ok(udp::Request::Announce { connection, transaction, announce, options, .. }) => {
                let url = options.url_data().unwrap_or_default();
                prop_assert!(url.len() <= udp::URL_DATA_BYTES_MAX);
                let mut again = Vec::new();
                udp::write_announce_request(connection, transaction, &announce, &url, &mut again);
                let same = matches!(udp::Request::parse(&again), Ok(udp::Request::Announce { announce: a, .. }) if a == announce);
                prop_assert!(same);
            }
            Ok(udp::Request::Scrape { hashes, .. }) => prop_assert!(hashes.len() <= udp::SCRAPE_HASHES_MAX),
            _ => {}
        }
        match udp::Response::parse(&bytes, from) {
            Ok(udp::Response::Announce { peers, .. }) => prop_assert!(peers.len() <= PEERS_MAX),
            Ok(udp::Response::Scrape { counts, .. }) => prop_assert!(counts.len() <= udp::SCRAPE_HASHES_MAX),
            Ok(udp::Response::Error { message, .. }) => prop_assert!(!message.chars().any(char::is_control)),
            _ => {}
        }
    }
}
