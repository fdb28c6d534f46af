//! Golden queries and replies, oddities of real trackers, round trips, arbitrary bytes.

use super::*;
use crate::compact;
use crate::tracker::{Announce, AnnounceEvent, Counts, LEFT_UNKNOWN, MESSAGE_CHARS_MAX, PEERS_MAX};
use base::{InfoHash, PeerId};
use proptest::prelude::*;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

fn announce() -> Announce {
    Announce {
        info_hash: InfoHash(*b"\x12\x34\x56\x78\x9a\xbc\xde\xf1\x23\x45\x67\x89\xab\xcd\xef\x12\x34\x56\x78\x9a"),
        peer_id: PeerId(*b"-SH0100-abc def&=%12"),
        port: 6881,
        uploaded: 1,
        downloaded: 2,
        left: 3,
        event: AnnounceEvent::Started,
        key: 0xbeef,
        numwant: Some(200),
    }
}

const QUERY: &str = "info_hash=%124Vx%9A%BC%DE%F1%23Eg%89%AB%CD%EF%124Vx%9A&peer_id=-SH0100-abc%20def%26%3D%2512\
    &port=6881&uploaded=1&downloaded=2&left=3&key=0000BEEF&event=started&numwant=200&compact=1&no_peer_id=1";

fn addr(text: &str) -> SocketAddr {
    text.parse().expect("address")
}

#[test]
fn announce_urls() {
    let check = |tracker: &str, id: Option<&[u8]>, start: &str, end: &str| {
        assert_eq!(announce_url(tracker, &announce(), id), format!("{start}{QUERY}{end}"));
    };
    check("http://t/announce", None, "http://t/announce?", "");
    check("http://t/announce?", None, "http://t/announce?", "");
    check("http://t/announce?passkey=a%20b", None, "http://t/announce?passkey=a%20b&", "");
    check("http://t/announce?passkey=a&", None, "http://t/announce?passkey=a&", "");
    check("http://t/announce#part", Some(b"i d\xff"), "http://t/announce?", "&trackerid=i%20d%FF");
    let quiet = Announce { event: AnnounceEvent::None, numwant: None, ..announce() };
    let url = announce_url("http://t/a", &quiet, None);
    assert!(!url.contains("event") && !url.contains("numwant"), "{url}");
}

#[test]
fn scrape_urls() {
    let url = |tracker| scrape_url(tracker, &[InfoHash(*b"xxxxxxxxxxxxxxxxxxxx"), InfoHash(*b"yyyyyyyyyyyyyyyyyyyy")]);
    let both = "info_hash=xxxxxxxxxxxxxxxxxxxx&info_hash=yyyyyyyyyyyyyyyyyyyy";
    assert_eq!(url("http://tracker/announce"), Some(format!("http://tracker/scrape?{both}")));
    assert_eq!(url("http://t/x/announce.php?k=v"), Some(format!("http://t/x/scrape.php?k=v&{both}")));
    assert_eq!(url("http://t/announce?x=/announce"), Some(format!("http://t/scrape?x=/announce&{both}")));
    assert_eq!(url("http://t/a"), None);
    assert_eq!(url("http://t/announce/x"), None);
    assert_eq!(url("http://t/x?announce"), None);
    assert_eq!(url("announce"), None);
}

#[test]
fn requests_are_read() {
    let expected = AnnounceRequest { announce: announce(), compact: true, peer_ids: false, ip: None };
    assert_eq!(parse_announce(QUERY), Ok(expected));

    let ids = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb";
    let least = parse_announce(&format!("{ids}&port=1")).expect("valid");
    assert_eq!((least.announce.left, least.announce.numwant, least.announce.key), (LEFT_UNKNOWN, None, 0));
    assert!(least.compact && least.peer_ids);

    let odd = format!(
        "&&=&x&{ids}&port=0&left=-1&uploaded=&downloaded=99999999999999999999&numwant=-1&event=empty&compact=0\
        &key=zz&ip=2001%3Adb8%3A%3A1&port=5&no_peer_id=0"
    );
    let odd = parse_announce(&odd).expect("valid");
    assert_eq!((odd.announce.port, odd.announce.left, odd.announce.downloaded), (0, LEFT_UNKNOWN, u64::MAX));
    assert_eq!((odd.announce.numwant, odd.announce.event), (None, AnnounceEvent::None));
    assert_eq!(odd.ip, Some("2001:db8::1".parse().expect("address")));
    assert!(!odd.compact && odd.peer_ids && odd.announce.key != 0);
    for (name, event) in [
        ("paused", AnnounceEvent::Paused),
        ("stopped", AnnounceEvent::Stopped),
        ("completed", AnnounceEvent::Completed),
    ] {
        let request = parse_announce(&format!("{ids}&port=1&event={name}")).expect("valid");
        assert_eq!(request.announce.event, event);
    }
}

#[test]
fn bad_requests_are_refused() {
    let error = |query: &str| parse_announce(query).expect_err("invalid");
    let hash = "info_hash=aaaaaaaaaaaaaaaaaaaa";
    let ids = "info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb";
    assert_eq!(error(""), QueryError::Missing("info_hash"));
    assert_eq!(error("info_hash=a"), QueryError::Invalid("info_hash"));
    assert_eq!(error("info_hash=aaaaaaaaaaaaaaaaaaa%"), QueryError::Invalid("info_hash"));
    assert_eq!(error(hash), QueryError::Missing("peer_id"));
    assert_eq!(error(ids), QueryError::Missing("port"));
    for port in ["", "-1", "65536", "http"] {
        assert_eq!(error(&format!("{ids}&port={port}")), QueryError::Invalid("port"));
    }
    assert_eq!(error(&format!("{ids}&port=1&left=x")), QueryError::Invalid("left"));
    assert_eq!(error(&"x".repeat(QUERY_BYTES_MAX + 1)), QueryError::TooLong);
    assert_eq!(QueryError::Missing("port").to_string(), "no port in the request");
}

#[test]
fn scrapes_are_read() {
    let two = parse_scrape("info_hash=xxxxxxxxxxxxxxxxxxxx&x=y&info_hash=%00yyyyyyyyyyyyyyyyyyy");
    assert_eq!(two, Ok(vec![InfoHash([b'x'; 20]), InfoHash(*b"\0yyyyyyyyyyyyyyyyyyy")]));
    assert_eq!(parse_scrape(""), Ok(vec![]));
    assert_eq!(parse_scrape("info_hash=x"), Err(QueryError::Invalid("info_hash")));
    let many = ["info_hash=xxxxxxxxxxxxxxxxxxxx"; SCRAPE_HASHES_MAX + 1].join("&");
    assert_eq!(parse_scrape(&many), Err(QueryError::TooLong));
}

fn answer(body: &[u8]) -> AnnounceReply {
    match parse_announce_reply(body) {
        Ok(Reply::Answer(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_example_of_bep_7() {
    let reply = answer(b"d8:intervali1800e5:peers6:iiiipp6:peers618:iiiiiiiiiiiiiiiippe");
    assert_eq!(reply.interval, Some(Duration::from_secs(1800)));
    let peers: Vec<_> = reply.peers.iter().map(|p| p.addr).collect();
    assert_eq!(peers, [addr("105.105.105.105:28784"), addr("[6969:6969:6969:6969:6969:6969:6969:6969]:28784")]);
}

#[test]
fn golden_replies() {
    let reply = AnnounceReply {
        interval: Some(Duration::from_secs(1800)),
        interval_min: Some(Duration::from_secs(60)),
        seeders: Some(0),
        leechers: Some(12),
        downloads: Some(345),
        tracker_id: Some(b"id".to_vec()),
        external_ip: Some([10, 0, 0, 1].into()),
        warning: Some("careful".into()),
        peers: Vec::new(),
    };
    let peer = Peer { addr: addr("1.2.3.4:5"), peer_id: None };
    let named = Peer { addr: addr("[::1]:6"), peer_id: Some(PeerId([b'p'; 20])) };

    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    [peer, named].iter().for_each(|p| compact::push(p.addr, &mut v4, &mut v6));
    let mut out = Vec::new();
    write_announce_reply(&reply, PeerList::Compact { v4: &v4, v6: &v6 }, &mut out);
    let golden = b"d8:completei0e10:downloadedi345e11:external ip4:\x0a\0\0\x0110:incompletei12e8:intervali1800e\
        12:min intervali60e5:peers6:\x01\x02\x03\x04\0\x056:peers618:\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x06\
        10:tracker id2:id15:warning message7:carefule";
    assert_eq!(out.escape_ascii().to_string(), golden.escape_ascii().to_string());
    let plain = Peer { peer_id: None, ..named };
    assert_eq!(answer(&out), AnnounceReply { peers: vec![peer, plain], ..reply.clone() });

    out.clear();
    write_announce_reply(&AnnounceReply::default(), PeerList::Dictionaries(&[peer, named]), &mut out);
    let golden: &[u8] = b"d5:peersld2:ip7:1.2.3.44:porti5eed2:ip3:::17:peer id20:pppppppppppppppppppp4:porti6eeee";
    assert_eq!(out.escape_ascii().to_string(), golden.escape_ascii().to_string());
    assert_eq!(answer(&out).peers, [peer, named]);

    out.clear();
    write_announce_reply(&AnnounceReply::default(), PeerList::Compact { v4: &[], v6: &[] }, &mut out);
    assert_eq!(out, b"d5:peers0:e");
}

#[test]
fn failures() {
    let check = |failure: &Failure, golden: &[u8]| {
        let mut out = Vec::new();
        write_failure(failure, &mut out);
        assert_eq!(out.escape_ascii().to_string(), golden.escape_ascii().to_string());
        assert_eq!(parse_announce_reply(&out), Ok(Reply::Failure(failure.clone())));
        assert_eq!(parse_scrape_reply(&out), Ok(Reply::Failure(failure.clone())));
    };
    let mut failure = Failure { reason: "Overloaded".into(), retry: None };
    check(&failure, b"d14:failure reason10:Overloadede");
    failure.retry = Some(Retry::After(Duration::from_secs(300)));
    check(&failure, b"d14:failure reason10:Overloaded8:retry ini5ee");
    failure.retry = Some(Retry::Never);
    check(&failure, b"d14:failure reason10:Overloaded8:retry in5:nevere");

    // As BEP 31 writes it, with a string.
    let body = b"d14:failure reason1:x8:retry in1:5e";
    let minutes = Retry::After(Duration::from_secs(300));
    assert_eq!(parse_announce_reply(body), Ok(Reply::Failure(Failure { reason: "x".into(), retry: Some(minutes) })));
}

#[test]
fn text_of_trackers_is_made_harmless() {
    let mut body = b"d14:failure reason6:\x1b[2Jx\n".to_vec();
    body.push(b'e');
    let Ok(Reply::Failure(failure)) = parse_announce_reply(&body) else { panic!("no failure") };
    assert_eq!(failure.reason, "\u{fffd}[2Jx\u{fffd}");
    let long = format!("d14:failure reason{}:{}e", 5000, "x".repeat(5000));
    let Ok(Reply::Failure(failure)) = parse_announce_reply(long.as_bytes()) else { panic!("no failure") };
    assert_eq!(failure.reason.len(), MESSAGE_CHARS_MAX);
}

#[test]
fn odd_replies_are_let_pass() {
    let reply = answer(b"d8:completei-1e8:interval4:soon5:peersld2:ip9:localhost4:porti1eed2:ip7:1.2.3.4ed2:ip7:1.2.3.44:porti70000eei7eee");
    assert_eq!(reply, AnnounceReply::default());
    assert_eq!(answer(b"d5:peersi7ee"), AnnounceReply::default());
    assert_eq!(answer(b"de"), AnnounceReply::default());
    let many = format!("d5:peers{}:{}e\r\n", 6 * PEERS_MAX + 60, "abcdef".repeat(PEERS_MAX + 10));
    assert_eq!(answer(many.as_bytes()).peers.len(), PEERS_MAX);
    let long_id = format!("d5:peers0:10:tracker id300:{}e", "x".repeat(300));
    assert_eq!(answer(long_id.as_bytes()).tracker_id, None);
}

#[test]
fn what_is_no_reply_is_refused() {
    assert!(matches!(parse_announce_reply(b"<html>"), Err(ReplyError::Bencode(_))));
    assert!(matches!(parse_announce_reply(b""), Err(ReplyError::Bencode(_))));
    assert!(matches!(parse_announce_reply(&vec![b'l'; RESPONSE_BYTES_MAX + 1]), Err(ReplyError::Bencode(_))));
    assert_eq!(parse_announce_reply(b"le"), Err(ReplyError::Missing("dictionary")));
    assert_eq!(parse_scrape_reply(b"de"), Err(ReplyError::Missing("files")));
}

#[test]
fn the_example_of_bep_48() {
    let body = b"d5:filesd20:xxxxxxxxxxxxxxxxxxxxd8:completei11e10:downloadedi13772e10:incompletei19ee\
        20:yyyyyyyyyyyyyyyyyyyyd8:completei21e10:downloadedi206e10:incompletei20eeee";
    let x = (InfoHash([b'x'; 20]), Counts { seeders: 11, leechers: 19, downloads: 13772 });
    let y = (InfoHash([b'y'; 20]), Counts { seeders: 21, leechers: 20, downloads: 206 });
    assert_eq!(parse_scrape_reply(body), Ok(Reply::Answer(vec![x, y])));
    let mut out = Vec::new();
    write_scrape_reply(&mut vec![y, x, x], &mut out);
    assert_eq!(out.escape_ascii().to_string(), body.escape_ascii().to_string());
    let odd = b"d5:filesd3:abcd8:completei1ee20:xxxxxxxxxxxxxxxxxxxxi3eee";
    assert_eq!(parse_scrape_reply(odd), Ok(Reply::Answer(vec![(x.0, Counts::default())])));
}

fn any_event() -> impl Strategy<Value = AnnounceEvent> {
    prop_oneof![
        Just(AnnounceEvent::None),
        Just(AnnounceEvent::Completed),
        Just(AnnounceEvent::Started),
        Just(AnnounceEvent::Stopped),
        Just(AnnounceEvent::Paused),
    ]
}

proptest! {
    #[test]
    fn announces_round_trip(
        ids: ([u8; 20], [u8; 20]), port: u16, numbers: (u64, u64, u64), event in any_event(), key: u32, numwant: Option<u32>,
    ) {
        let announce = Announce {
            info_hash: InfoHash(ids.0), peer_id: PeerId(ids.1), port, uploaded: numbers.0, downloaded: numbers.1,
            left: numbers.2, event, key, numwant,
        };
        let url = announce_url("http://t/announce?x=y", &announce, Some(b"&port=7"));
        let (_, query) = url.split_once('?').expect("query");
        prop_assert_eq!(parse_announce(query).map(|r| r.announce), Ok(announce));
    }

    #[test]
    fn replies_round_trip(
        numbers: (Option<u32>, Option<u32>, Option<u32>), times: (Option<u32>, Option<u32>),
        tracker_id in proptest::option::of(proptest::collection::vec(any::<u8>(), 0..20)), external_ip: Option<IpAddr>,
        warning in proptest::option::of("[ -~äµ]{0,20}"),
        mut peers in proptest::collection::vec((any::<IpAddr>(), any::<u16>(), any::<Option<[u8; 20]>>()), 0..10), compact: bool,
    ) {
        peers.sort_by_key(|(ip, ..)| ip.is_ipv6());
        let peers: Vec<_> = peers.into_iter().map(|(ip, port, id)| Peer {
            addr: SocketAddr::new(ip, port), peer_id: id.map(PeerId).filter(|_| !compact),
        }).collect();
        let seconds = |n: Option<u32>| n.map(|n| Duration::from_secs(n.into()));
        let reply = AnnounceReply {
            interval: seconds(times.0), interval_min: seconds(times.1), seeders: numbers.0, leechers: numbers.1,
            downloads: numbers.2, tracker_id, external_ip, warning, peers,
        };
        let (mut v4, mut v6) = (Vec::new(), Vec::new());
        reply.peers.iter().for_each(|p| compact::push(p.addr, &mut v4, &mut v6));
        let list = if compact { PeerList::Compact { v4: &v4, v6: &v6 } } else { PeerList::Dictionaries(&reply.peers) };
        let mut out = Vec::new();
        write_announce_reply(&reply, list, &mut out);
        let doc = base::bencode::parse(&out, &base::bencode::Limits::MESSAGE).expect("bencode");
        prop_assert_eq!(doc.quirks(), &[]);
        prop_assert_eq!(answer(&out), reply);
    }

    #[test]
    fn never_panics(
        query in "[a-z0-9_%&=+äé]{0,80}", body in proptest::collection::vec(any::<u8>(), 0..80),
        value in prop_oneof!["i-?[0-9]{1,22}e", "4:abcd", "le", "ld2:ip7:1.2.3.44:porti5eee", "de"],
    ) {
        let _ = (parse_announce(&query), parse_scrape(&query), announce_url(&query, &announce(), None), scrape_url(&query, &[]));
        let _ = parse_announce(&format!("info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=1&{query}"));
        let _ = (parse_announce_reply(&body), parse_scrape_reply(&body));
        for key in ["complete", "external ip", "failure reason", "files", "interval", "peers", "peers6", "retry in", "tracker id"] {
            let body = format!("d{}:{key}{value}e", key.len());
            let _ = (parse_announce_reply(body.as_bytes()), parse_scrape_reply(body.as_bytes()));
        }
    }
}
