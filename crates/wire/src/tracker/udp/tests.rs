//! Golden packets of BEP 15 and 41, round trips, arbitrary bytes.

use super::*;
use proptest::prelude::*;

const V4: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const V6: IpAddr = IpAddr::V6(std::net::Ipv6Addr::LOCALHOST);

fn announce() -> Announce {
    Announce {
        info_hash: InfoHash([0xaa; 20]),
        peer_id: PeerId([0xbb; 20]),
        port: 6881,
        uploaded: 3,
        downloaded: 1,
        left: 2,
        event: AnnounceEvent::Started,
        key: 0x01020304,
        numwant: None,
    }
}

#[test]
fn connecting() {
    let request = connect_request(0x0a0b0c0d);
    assert_eq!(request, [0, 0, 4, 0x17, 0x27, 0x10, 0x19, 0x80, 0, 0, 0, 0, 10, 11, 12, 13]);
    assert_eq!(Request::parse(&request), Ok(Request::Connect { transaction: 0x0a0b0c0d }));
    let reply = connect_reply(7, 0x0102030405060708);
    assert_eq!(reply, [0, 0, 0, 0, 0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7, 8]);
    assert_eq!(Response::parse(&reply, V4), Ok(Response::Connect { transaction: 7, connection: 0x0102030405060708 }));
    let mut alien = request;
    alien[0] = 1;
    assert_eq!(Request::parse(&alien), Err(UdpError::Protocol));
}

#[test]
fn announcing() {
    let mut packet = Vec::new();
    write_announce_request(0x11, 0x22, &announce(), b"", &mut packet);
    let golden = [
        &[0, 0, 0, 0, 0, 0, 0, 0x11, 0, 0, 0, 1, 0, 0, 0, 0x22][..],
        &[0xaa; 20],
        &[0xbb; 20],
        &[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3],
        &[0, 0, 0, 2, 0, 0, 0, 0, 1, 2, 3, 4, 0xff, 0xff, 0xff, 0xff, 0x1a, 0xe1],
    ]
    .concat();
    assert_eq!(packet, golden);
    assert_eq!(packet.len(), ANNOUNCE_LEN);
    let Ok(Request::Announce { connection: 0x11, transaction: 0x22, announce: back, ip: None, options }) =
        Request::parse(&packet)
    else {
        panic!("{:?}", Request::parse(&packet))
    };
    assert_eq!(back, announce());
    assert_eq!(options.url_data(), None);

    packet[84..88].copy_from_slice(&[1, 2, 3, 4]);
    assert!(
        matches!(Request::parse(&packet), Ok(Request::Announce { ip: Some(ip), .. }) if ip.octets() == [1, 2, 3, 4])
    );
    for len in [0, 1, 15, 16, 97] {
        assert_eq!(Request::parse(&packet[..len]), Err(UdpError::Short(len)));
    }
    packet[11] = 9;
    assert_eq!(Request::parse(&packet), Err(UdpError::Action(9)));
}

#[test]
fn options_of_bep_41() {
    let url = |bytes: &[u8]| Options(bytes).url_data();
    let dir = Some(b"/dir?a=b&c=d".to_vec());
    assert_eq!(url(b"\x02\x0c/dir?a=b&c=d"), dir);
    assert_eq!(url(b"\x02\x0c/dir?a=b&c=d\x01\x01\x00"), dir);
    assert_eq!(url(b"\x02\x04/dir\x07\x02xx\x02\x08?a=b&c=d"), dir, "chunks, and an option of the future between");
    assert_eq!(url(b"\x02\0"), Some(Vec::new()));
    assert_eq!(url(b""), None);
    assert_eq!(url(b"\x02"), None);
    assert_eq!(url(b"\x02\x05abcd"), None, "cut off");
    assert_eq!(url(b"\0\x02\x01a"), None, "behind the end");

    let mut packet = Vec::new();
    write_announce_request(1, 2, &announce(), b"/dir?a=b&c=d", &mut packet);
    assert_eq!(packet[ANNOUNCE_LEN..], *b"\x02\x0c/dir?a=b&c=d");
    packet.truncate(0);
    write_announce_request(1, 2, &announce(), &[b'x'; 5000], &mut packet);
    let Ok(Request::Announce { options, .. }) = Request::parse(&packet) else { panic!("no announce") };
    assert_eq!(options.url_data(), Some(vec![b'x'; URL_DATA_BYTES_MAX]));
    let flood = [&[2, 255][..], &[b'y'; 255]].concat().repeat(10);
    assert_eq!(url(&flood), Some(vec![b'y'; URL_DATA_BYTES_MAX]));
}

#[test]
fn answers_to_announces() {
    let mut packet = Vec::new();
    write_announce_reply(7, Duration::from_secs(1800), 3, 4, &mut packet);
    assert_eq!(packet, [0, 0, 0, 1, 0, 0, 0, 7, 0, 0, 7, 8, 0, 0, 0, 3, 0, 0, 0, 4]);
    assert_eq!(packet.len(), ANNOUNCE_REPLY_LEN);
    let peers = |packet: &[u8], from| match Response::parse(packet, from) {
        Ok(Response::Announce { transaction: 7, interval, leechers: 3, seeders: 4, peers }) => {
            assert_eq!(interval, Duration::from_secs(1800));
            peers
        }
        other => panic!("{other:?}"),
    };
    assert_eq!(peers(&packet, V4), []);
    packet.extend([1, 2, 3, 4, 0, 5, 6, 7, 8, 9, 0, 10, 1, 2, 3, 4, 0, 5, 0xff]);
    let five: SocketAddr = "1.2.3.4:5".parse().expect("address");
    assert_eq!(peers(&packet, V4), [five, "6.7.8.9:10".parse().expect("address"), five]);
    assert_eq!(peers(&packet, V6), ["[102:304:5:607:809:a:102:304]:5".parse::<SocketAddr>().expect("address")]);
    let mapped = IpAddr::V6(Ipv4Addr::LOCALHOST.to_ipv6_mapped());
    assert_eq!(peers(&packet, mapped).len(), 3, "an IPv4 packet on a socket of both families");
    packet.resize(64 * 1024, 1);
    assert_eq!(peers(&packet, V4).len(), PEERS_MAX);
    assert_eq!(Response::parse(&packet[..19], V4), Err(UdpError::Short(19)));
}

#[test]
fn scraping() {
    let mut packet = Vec::new();
    write_scrape_request(1, 2, &[InfoHash([3; 20]), InfoHash([4; 20])], &mut packet);
    let golden = [&[0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 2][..], &[3; 20], &[4; 20]].concat();
    assert_eq!(packet, golden);
    packet.push(0);
    let both = Request::Scrape { connection: 1, transaction: 2, hashes: &[[3; 20], [4; 20]] };
    assert_eq!(Request::parse(&packet), Ok(both));
    packet.resize(16 + 20 * 100, 5);
    assert!(matches!(Request::parse(&packet), Ok(Request::Scrape { hashes, .. }) if hashes.len() == SCRAPE_HASHES_MAX));

    let mut reply = Vec::new();
    let counts = [Counts { seeders: 1, downloads: 2, leechers: 3 }, Counts::default()];
    write_scrape_reply(9, counts, &mut reply);
    assert_eq!(reply[..20], [0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3]);
    assert_eq!(Response::parse(&reply, V4), Ok(Response::Scrape { transaction: 9, counts: counts.to_vec() }));
}

#[test]
fn refusals() {
    let mut packet = Vec::new();
    write_error(9, "no", &mut packet);
    assert_eq!(packet, [0, 0, 0, 3, 0, 0, 0, 9, b'n', b'o']);
    assert_eq!(Response::parse(&packet, V4), Ok(Response::Error { transaction: 9, message: "no".into() }));
    packet.extend(b"\x1b[2J");
    let Ok(Response::Error { message, .. }) = Response::parse(&packet, V4) else { panic!("no error") };
    assert_eq!(message, "no\u{fffd}[2J");
    assert_eq!(Response::parse(&[0, 0, 0, 4, 0, 0, 0, 0], V4), Err(UdpError::Action(4)));
    assert_eq!(Response::parse(&[0; 7], V4), Err(UdpError::Short(7)));
}

proptest! {
    #[test]
    fn announces_round_trip(
        ids: (u64, u32), hashes: ([u8; 20], [u8; 20]), port: u16, numbers: (u64, u64, u64), event in 0usize..5, key: u32,
        numwant in proptest::option::of(0..=i32::MAX as u32), url in proptest::collection::vec(any::<u8>(), 0..600),
    ) {
        use AnnounceEvent::{Completed, None as Nothing, Paused, Started, Stopped};
        let event = [Nothing, Completed, Started, Stopped, Paused][event];
        let announce = Announce {
            info_hash: InfoHash(hashes.0), peer_id: PeerId(hashes.1), port, uploaded: numbers.0, downloaded: numbers.1,
            left: numbers.2, event, key, numwant,
        };
        let mut packet = Vec::new();
        write_announce_request(ids.0, ids.1, &announce, &url, &mut packet);
        let Ok(Request::Announce { connection, transaction, announce: back, ip, options }) = Request::parse(&packet) else {
            return Err(TestCaseError::fail("no announce"));
        };
        prop_assert_eq!((connection, transaction, back, ip), (ids.0, ids.1, announce, None));
        prop_assert_eq!(options.url_data().unwrap_or_default(), url);
    }

    #[test]
    fn never_panics(action in 0u32..5, bytes in proptest::collection::vec(any::<u8>(), 0..200), from: IpAddr) {
        let _ = (Request::parse(&bytes), Response::parse(&bytes, from), Options(&bytes).url_data());
        let request = [&bytes[..bytes.len().min(8)], &action.to_be_bytes(), &bytes].concat();
        if let Ok(Request::Announce { options, .. }) = Request::parse(&request) {
            let _ = options.url_data();
        }
        let _ = Response::parse(&[&action.to_be_bytes()[..], &bytes].concat(), from);
    }
}
