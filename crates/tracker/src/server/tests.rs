//! The tracker by itself: who is told of whom, what is counted, what is forgotten, what strangers can't do.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use proptest::prelude::*;
use wire::tracker::http::{AnnounceReply, Reply, announce_url, parse_announce_reply, parse_scrape_reply, scrape_url};
use wire::tracker::udp as packets;
use wire::tracker::udp::Response;

use base::{PeerId, Rng};

use super::*;
use crate::world::{HASH, HASH_V2, addr};

const T0: Instant = Instant::from_secs(1_000_000);

fn server(config: Config) -> Server {
    Server::new(config, Rng::from_seed(1))
}

fn ask(port: u16, left: u64, event: AnnounceEvent) -> Announce {
    Announce {
        info_hash: HASH,
        peer_id: PeerId([b'x'; 20]),
        port,
        uploaded: 0,
        downloaded: 0,
        left,
        event,
        key: 0,
        numwant: None,
    }
}

fn query(announce: &Announce) -> String {
    announce_url("", announce, None).split_once('?').unwrap().1.to_owned()
}

fn http(server: &mut Server, now: Instant, ip: &str, announce: &Announce) -> AnnounceReply {
    let body = server.announce_http(now, &query(announce), ip.parse().unwrap());
    server.swarms.check_invariants();
    match parse_announce_reply(&body) {
        Ok(Reply::Answer(answer)) => answer,
        other => panic!("{other:?}"),
    }
}

fn peers(reply: &AnnounceReply) -> BTreeSet<SocketAddr> {
    reply.peers.iter().map(|p| p.addr).collect()
}

fn set(addrs: &[&str]) -> BTreeSet<SocketAddr> {
    addrs.iter().map(|a| addr(a)).collect()
}

fn refusal(server: &mut Server, query: &str, ip: &str) -> String {
    match parse_announce_reply(&server.announce_http(T0, query, ip.parse().unwrap())) {
        Ok(Reply::Failure(failure)) => failure.reason,
        other => panic!("{other:?}"),
    }
}

/// A connection id for `from`.
fn connect(server: &mut Server, now: Instant, from: SocketAddr) -> u64 {
    let mut out = Vec::new();
    assert!(server.udp(now, from, &packets::connect_request(1), &mut out));
    match Response::parse(&out, from.ip()) {
        Ok(Response::Connect { connection, transaction: 1 }) => connection,
        other => panic!("{other:?}"),
    }
}

fn udp(server: &mut Server, now: Instant, from: SocketAddr, announce: &Announce) -> Response {
    let connection = connect(server, now, from);
    let (mut request, mut reply) = (Vec::new(), Vec::new());
    packets::write_announce_request(connection, 2, announce, b"", &mut request);
    assert!(server.udp(now, from, &request, &mut reply));
    Response::parse(&reply, from.ip()).unwrap()
}

#[test]
fn leechers_hear_of_seeds_and_seeds_of_leechers() {
    let mut s = server(Config::default());
    http(&mut s, T0, "198.51.100.1", &ask(1, 0, AnnounceEvent::Started));
    let second = http(&mut s, T0, "198.51.100.2", &ask(2, 0, AnnounceEvent::Started));
    assert_eq!(peers(&second), set(&[]), "seeds are of no use to seeds");
    let third = http(&mut s, T0, "198.51.100.3", &ask(3, 9, AnnounceEvent::Started));
    assert_eq!(peers(&third), set(&["198.51.100.1:1", "198.51.100.2:2"]));
    assert_eq!((third.seeders, third.leechers, third.downloads), (Some(2), Some(1), Some(0)));
    assert_eq!(third.interval_min, Some(Duration::from_secs(60)));
    assert_eq!(third.external_ip, Some(addr("198.51.100.3:0").ip()));
    let partial = http(&mut s, T0, "198.51.100.4", &ask(4, 9, AnnounceEvent::Paused));
    assert_eq!(peers(&partial), set(&["198.51.100.3:3"]), "who wants nothing hears of those who do");
    assert_eq!((partial.seeders, partial.leechers), (Some(2), Some(2)));
    let again = http(&mut s, T0, "198.51.100.3", &ask(3, 9, AnnounceEvent::None));
    assert_eq!(peers(&again), set(&["198.51.100.1:1", "198.51.100.2:2", "198.51.100.4:4"]));
}

#[test]
fn events_move_peers() {
    let mut s = server(Config::default());
    http(&mut s, T0, "198.51.100.1", &ask(1, 9, AnnounceEvent::Started));
    let done = http(&mut s, T0, "198.51.100.1", &ask(1, 0, AnnounceEvent::Completed));
    assert_eq!((done.seeders, done.leechers, done.downloads), (Some(1), Some(0), Some(1)));
    let twice = http(&mut s, T0, "198.51.100.1", &ask(1, 0, AnnounceEvent::Completed));
    assert_eq!(twice.downloads, Some(1), "nobody completes twice");
    let gone = http(&mut s, T0, "198.51.100.1", &ask(1, 0, AnnounceEvent::Stopped));
    assert_eq!((gone.seeders, gone.leechers), (Some(0), Some(0)));
    let never = http(&mut s, T0, "198.51.100.7", &ask(7, 0, AnnounceEvent::Stopped));
    assert_eq!((never.seeders, s.totals().peers), (Some(0), 0));
}

#[test]
fn families_are_kept_apart() {
    let mut s = server(Config::default());
    http(&mut s, T0, "198.51.100.1", &ask(1, 0, AnnounceEvent::None));
    http(&mut s, T0, "2001:db8::1", &ask(1, 0, AnnounceEvent::None));
    assert_eq!(peers(&http(&mut s, T0, "198.51.100.2", &ask(2, 9, AnnounceEvent::None))), set(&["198.51.100.1:1"]));
    let v6 = http(&mut s, T0, "2001:db8::2", &ask(2, 9, AnnounceEvent::None));
    assert_eq!((peers(&v6), v6.seeders), (set(&["[2001:db8::1]:1"]), Some(1)));
    let mapped = http(&mut s, T0, "::ffff:198.51.100.3", &ask(3, 9, AnnounceEvent::None));
    assert_eq!(peers(&mapped), set(&["198.51.100.1:1", "198.51.100.2:2"]));
    assert_eq!(s.counts(HASH), Counts { seeders: 2, leechers: 3, downloads: 0 });
}

#[test]
fn numwant_is_obeyed_within_bounds() {
    let mut s = server(Config::default());
    for i in 0..500u16 {
        let left = if i < 100 { 0 } else { 9 };
        http(&mut s, T0, "198.51.100.1", &ask(1000 + i, left, AnnounceEvent::None));
    }
    let mut count = |numwant, left| {
        let reply = http(&mut s, T0, "198.51.100.2", &Announce { numwant, ..ask(1, left, AnnounceEvent::None) });
        let distinct = peers(&reply);
        assert_eq!(distinct.len(), reply.peers.len(), "nobody is named twice");
        let seeds = distinct.iter().filter(|a| a.port() < 1100).count();
        (distinct.len(), seeds)
    };
    assert_eq!(count(None, 9), (50, 25));
    assert_eq!(count(Some(0), 9), (0, 0));
    assert_eq!(count(Some(7), 9), (7, 3));
    assert_eq!(count(Some(10_000), 9), (200, 100));
    assert_eq!(count(Some(10_000), 0), (200, 0));
}

#[test]
fn choices_are_fair() {
    let mut s = server(Config::default());
    for i in 0..300u16 {
        http(&mut s, T0, "198.51.100.1", &ask(1000 + i, 9, AnnounceEvent::None));
    }
    let mut told = std::collections::BTreeMap::<u16, u32>::new();
    for _ in 0..600 {
        let reply = http(&mut s, T0, "198.51.100.1", &ask(1000, 9, AnnounceEvent::None));
        assert_eq!(reply.peers.len(), 50);
        reply.peers.iter().for_each(|p| *told.entry(p.addr.port()).or_default() += 1);
    }
    assert_eq!(told.len(), 299, "everybody but the asker");
    let (least, most) = (told.values().min().unwrap(), told.values().max().unwrap());
    assert!(*least > 50 && *most < 170, "about 100 times each: {least} to {most}");
}

#[test]
fn dictionaries_for_those_who_ask_for_them() {
    let mut s = server(Config::default());
    http(&mut s, T0, "2001:db8::1", &ask(1, 0, AnnounceEvent::None));
    let query = query(&ask(2, 9, AnnounceEvent::None)).replace("compact=1", "compact=0");
    let body = s.announce_http(T0, &query, addr("[2001:db8::2]:0").ip());
    let text = body.escape_ascii().to_string();
    assert!(text.contains("5:peersld2:ip11:2001:db8::14:porti1eee"), "{text}");
}

#[test]
fn both_names_of_a_hybrid_are_one_swarm() {
    let mut s = server(Config::default());
    assert!(s.alias(HASH_V2, HASH));
    assert!(!s.alias(InfoHash([9; 20]), HASH_V2), "no chains");
    assert!(!s.alias(HASH, HASH));
    let v2 = |port, left, event| Announce { info_hash: HASH_V2, ..ask(port, left, event) };
    http(&mut s, T0, "198.51.100.1", &ask(1, 0, AnnounceEvent::None));
    let both = http(&mut s, T0, "198.51.100.2", &v2(2, 9, AnnounceEvent::None));
    assert_eq!((peers(&both), both.seeders, both.leechers), (set(&["198.51.100.1:1"]), Some(1), Some(1)));
    assert_eq!((s.totals().swarms, s.counts(HASH), s.counts(HASH_V2).seeders), (1, s.counts(HASH_V2), 1));

    // Who knows both names hears under each of those that know it.
    let v1 = http(&mut s, T0, "198.51.100.2", &ask(2, 9, AnnounceEvent::None));
    assert_eq!(peers(&v1), set(&["198.51.100.1:1"]));
    http(&mut s, T0, "198.51.100.3", &v2(3, 9, AnnounceEvent::None));
    assert_eq!(peers(&http(&mut s, T0, "198.51.100.2", &v2(2, 9, AnnounceEvent::None))), set(&["198.51.100.3:3"]));
    assert_eq!(peers(&http(&mut s, T0, "198.51.100.2", &ask(2, 9, AnnounceEvent::None))), set(&["198.51.100.1:1"]));

    // Completed under both names is one download; gone under one is gone.
    http(&mut s, T0, "198.51.100.2", &ask(2, 0, AnnounceEvent::Completed));
    let done = http(&mut s, T0, "198.51.100.2", &v2(2, 0, AnnounceEvent::Completed));
    assert_eq!((done.seeders, done.downloads), (Some(2), Some(1)));
    http(&mut s, T0, "198.51.100.2", &v2(2, 0, AnnounceEvent::Stopped));
    assert_eq!(s.counts(HASH).seeders, 1);
    s.unalias(HASH_V2);
    assert_eq!(s.counts(HASH_V2), Counts::default());
}

#[test]
fn who_is_not_heard_of_is_forgotten() {
    let mut s = server(Config::default());
    let at = |s: u64| T0 + Duration::from_secs(s);
    http(&mut s, at(0), "198.51.100.1", &ask(1, 0, AnnounceEvent::None));
    http(&mut s, at(3000), "198.51.100.2", &ask(2, 0, AnnounceEvent::None));
    let sweep = |s: &mut Server, from: u64, to: u64| {
        (from..to).for_each(|t| s.tick(at(t)));
        s.swarms.check_invariants();
    };
    sweep(&mut s, 3000, 3600);
    assert_eq!(s.totals().peers, 2);
    let late = http(&mut s, at(4500), "198.51.100.3", &ask(3, 9, AnnounceEvent::None));
    assert_eq!(peers(&late), set(&["198.51.100.2:2"]), "left out even before it is swept");
    sweep(&mut s, 4500, 4600);
    assert_eq!(s.totals().peers, 2);
    assert!(s.deadline().is_some());
    sweep(&mut s, 9000, 9100);
    assert_eq!((s.totals().peers, s.totals().swarms, s.deadline()), (0, 0, None));
}

#[test]
fn access_lists() {
    let mut s = server(Config::default());
    assert!(s.alias(HASH_V2, HASH));
    let v2 = query(&Announce { info_hash: HASH_V2, ..ask(1, 0, AnnounceEvent::None) });
    let v1 = query(&ask(1, 0, AnnounceEvent::None));
    s.announce_http(T0, &v1, addr("198.51.100.1:0").ip());
    s.access_mut().deny.insert(HASH);
    let why = Refusal::NotServed.to_string();
    assert_eq!(refusal(&mut s, &v1, "198.51.100.1"), why);
    assert_eq!(refusal(&mut s, &v2, "198.51.100.1"), why, "by its other name neither");
    let scraped = s.scrape_http(&scrape_url("/announce", &[HASH]).unwrap()[8..], addr("198.51.100.1:0").ip());
    assert_eq!(parse_scrape_reply(&scraped), Ok(Reply::Answer(Vec::new())));
    assert!(
        matches!(udp(&mut s, T0, addr("198.51.100.1:5"), &ask(1, 0, AnnounceEvent::None)), Response::Error { message, .. } if message == why)
    );

    s.set_access(Access { allow: Some(BTreeSet::from([HASH])), ..Access::default() });
    for query in [&v1, &v2] {
        let body = s.announce_http(T0, query, addr("198.51.100.1:0").ip());
        assert!(matches!(parse_announce_reply(&body), Ok(Reply::Answer(_))));
    }
    s.set_access(Access { allow: Some(BTreeSet::new()), ..Access::default() });
    assert_eq!(refusal(&mut s, &v1, "198.51.100.1"), why);
}

#[test]
fn bad_announces_get_a_reason() {
    let mut s = server(Config::default());
    assert_eq!(refusal(&mut s, &query(&ask(0, 0, AnnounceEvent::None)), "198.51.100.1"), Refusal::Port.to_string());
    assert_eq!(refusal(&mut s, &query(&ask(1, 0, AnnounceEvent::None)), "0.0.0.0"), Refusal::Address.to_string());
    assert_eq!(refusal(&mut s, "", "198.51.100.1"), "no info_hash in the request");
    assert_eq!(refusal(&mut s, "info_hash=x", "198.51.100.1"), "info_hash in the request is not valid");
    assert_eq!(refusal(&mut s, &"x".repeat(10_000), "198.51.100.1"), "the request is too long");
    assert!(s.scrape_http("", addr("198.51.100.1:0").ip()).starts_with(b"d14:failure reason"));
    assert_eq!((s.totals().announces, s.totals().refused), (0, 6));
}

#[test]
fn the_address_is_the_senders() {
    let announce = ask(1, 0, AnnounceEvent::None);
    let claim = format!("{}&ip=8.8.8.8", query(&announce));
    let told = |config: Config, from: &str| {
        let mut s = server(config);
        s.announce_http(T0, &claim, from.parse().unwrap());
        peers(&http(&mut s, T0, "10.0.0.9", &ask(2, 9, AnnounceEvent::None)))
    };
    assert_eq!(told(Config::default(), "198.51.100.1"), set(&["198.51.100.1:1"]));
    assert_eq!(told(Config::default(), "10.0.0.1"), set(&["10.0.0.1:1"]));
    let trusting = Config { trust_local_ip: true, ..Config::default() };
    assert_eq!(told(trusting.clone(), "198.51.100.1"), set(&["198.51.100.1:1"]));
    assert_eq!(told(trusting, "10.0.0.1"), set(&["8.8.8.8:1"]));
}

#[test]
fn peers_inside_are_named_to_askers_inside() {
    let told = |own: Option<&str>, asker: &str| {
        let own_v4 = own.map(|ip| ip.parse().unwrap());
        let mut s = server(Config { own_v4, ..Config::default() });
        for (i, ip) in ["127.0.0.1", "10.0.0.1", "198.51.100.1"].iter().enumerate() {
            http(&mut s, T0, ip, &ask(i as u16 + 1, 0, AnnounceEvent::None));
        }
        peers(&http(&mut s, T0, asker, &ask(9, 9, AnnounceEvent::None)))
    };
    assert_eq!(told(None, "127.0.0.2"), set(&["127.0.0.1:1", "10.0.0.1:2", "198.51.100.1:3"]));
    assert_eq!(told(None, "10.0.0.2"), set(&["10.0.0.1:2", "198.51.100.1:3"]));
    assert_eq!(told(None, "8.8.8.8"), set(&["198.51.100.1:3"]));
    // This machine's address in place of loopback, where that can be reached.
    assert_eq!(told(Some("10.0.0.7"), "10.0.0.2"), set(&["10.0.0.7:1", "10.0.0.1:2", "198.51.100.1:3"]));
    assert_eq!(told(Some("10.0.0.7"), "8.8.8.8"), set(&["198.51.100.1:3"]));
    assert_eq!(told(Some("192.0.2.7"), "8.8.8.8"), set(&["192.0.2.7:1", "198.51.100.1:3"]));
    assert_eq!(told(Some("192.0.2.7"), "127.0.0.2"), set(&["127.0.0.1:1", "10.0.0.1:2", "198.51.100.1:3"]));
}

#[test]
fn limits() {
    let mut s = server(Config { swarms_max: 2, swarm_peers_max: 3, peers_max: 5, ..Config::default() });
    let other = |n, port| Announce { info_hash: InfoHash([n; 20]), ..ask(port, 9, AnnounceEvent::None) };
    for port in 1..=5 {
        http(&mut s, T0, "198.51.100.1", &other(1, port));
    }
    assert_eq!(s.totals().peers, 3);
    let told = http(&mut s, T0, "198.51.100.2", &other(1, 9));
    assert_eq!(told.peers.len(), 3, "told of others, but not remembered");
    http(&mut s, T0, "198.51.100.1", &other(2, 1));
    assert_eq!(refusal(&mut s, &query(&other(3, 1)), "198.51.100.1"), Refusal::Full.to_string());
    http(&mut s, T0, "198.51.100.1", &other(2, 2));
    http(&mut s, T0, "198.51.100.1", &other(2, 3));
    assert_eq!((s.totals().peers, s.totals().swarms), (5, 2));
}

#[test]
fn udp_like_http() {
    let mut s = server(Config::default());
    for (i, from) in [("198.51.100.1:5"), ("[2001:db8::1]:5")].iter().enumerate() {
        udp(&mut s, T0, addr(from), &ask(1, 0, AnnounceEvent::Started));
        let other = SocketAddr::new(addr(from).ip(), 77);
        let Response::Announce { transaction: 2, interval, leechers: 1, seeders: 1, peers } =
            udp(&mut s, T0, other, &ask(2, 9, AnnounceEvent::Started))
        else {
            panic!("no answer")
        };
        assert_eq!(peers, [SocketAddr::new(other.ip(), 1)]);
        assert!(interval >= Duration::from_secs(1800) && interval <= Duration::from_secs(1800 * 9 / 8));
        assert_eq!(s.totals().peers, 2 * (i + 1));
    }
    let from = addr("198.51.100.1:5");
    let connection = connect(&mut s, T0, from);
    let (mut request, mut reply) = (Vec::new(), Vec::new());
    packets::write_scrape_request(connection, 3, &[HASH_V2, HASH], &mut request);
    assert!(s.udp(T0, from, &request, &mut reply));
    let counts = vec![Counts::default(), Counts { seeders: 1, leechers: 1, downloads: 0 }];
    assert_eq!(Response::parse(&reply, from.ip()), Ok(Response::Scrape { transaction: 3, counts }));
}

#[test]
fn replies_fit_a_packet() {
    let mut s = server(Config::default());
    for port in 1..=400 {
        http(&mut s, T0, "198.51.100.1", &ask(port, 9, AnnounceEvent::None));
        http(&mut s, T0, "2001:db8::1", &ask(port, 9, AnnounceEvent::None));
    }
    for from in [addr("198.51.100.2:5"), addr("[2001:db8::2]:5")] {
        let connection = connect(&mut s, T0, from);
        let (mut request, mut reply) = (Vec::new(), Vec::new());
        let announce = Announce { numwant: Some(1000), ..ask(1, 9, AnnounceEvent::None) };
        packets::write_announce_request(connection, 2, &announce, b"", &mut request);
        assert!(s.udp(T0, from, &request, &mut reply));
        assert!(reply.len() > 1200 && reply.len() <= 1400, "{}", reply.len());
    }
}

#[test]
fn nothing_without_a_genuine_connection_id() {
    let mut s = server(Config::default());
    let (me, other) = (addr("198.51.100.1:5"), addr("198.51.100.2:5"));
    let connection = connect(&mut s, T0, me);
    let mut request = Vec::new();
    packets::write_announce_request(connection, 2, &ask(1, 0, AnnounceEvent::None), b"", &mut request);
    let mut reply = Vec::new();
    assert!(!s.udp(T0, other, &request, &mut reply), "somebody else's");
    assert!(!s.udp(T0 + Duration::from_secs(200), me, &request, &mut reply), "too old");
    request[0] ^= 1;
    assert!(!s.udp(T0, me, &request, &mut reply), "guessed");
    assert_eq!((reply.len(), s.totals().peers, s.totals().ignored), (0, 0, 3));
    assert!(!s.udp(T0, addr("198.51.100.1:0"), &packets::connect_request(1), &mut reply));
}

#[test]
fn workers_with_one_secret_accept_each_others_ids() {
    let config = Config { connection_secret: Some([5; 16]), ..Config::default() };
    let (mut a, mut b) = (Server::new(config.clone(), Rng::from_seed(1)), Server::new(config, Rng::from_seed(2)));
    let from = addr("198.51.100.1:5");
    assert_eq!(connect(&mut a, T0, from), connect(&mut b, T0, from));
}

/// An announce by peer `who` of 60, over IPv4 or IPv6.
fn step() -> impl Strategy<Value = (u8, u8, u64, u8, u64, Option<u32>)> {
    (0u8..3, 0u8..60, 0u64..2, 0u8..5, 0u64..900, proptest::option::of(0u32..60))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(128) })]

    #[test]
    fn like_a_naive_tracker(steps in proptest::collection::vec(step(), 0..300)) {
        let mut s = server(Config::default());
        let mut now = T0;
        // (torrent, address) -> (takes, last heard of)
        let mut model = std::collections::BTreeMap::<(u8, SocketAddr), (bool, Instant)>::new();
        for (torrent, who, left, event, wait, numwant) in steps {
            now += Duration::from_secs(wait);
            // A whole sweep: choices among many may come out short of those that are due to be swept.
            s.swarms.sweep(10, s.seen_from(now));
            let event = [AnnounceEvent::None, AnnounceEvent::Started, AnnounceEvent::Completed, AnnounceEvent::Stopped, AnnounceEvent::Paused][event as usize];
            let from = if who % 2 == 0 { format!("198.51.100.{who}") } else { format!("2001:db8::{who}") };
            let me = SocketAddr::new(from.parse().unwrap(), 1000);
            let announce = Announce { info_hash: InfoHash([torrent; 20]), numwant, ..ask(1000, left, event) };
            let reply = http(&mut s, now, &from, &announce);
            if event == AnnounceEvent::Stopped {
                model.remove(&(torrent, me));
                prop_assert!(reply.peers.is_empty());
                continue;
            }
            let takes = left > 0 && event != AnnounceEvent::Paused;
            model.insert((torrent, me), (takes, now));
            let alive = |at: &Instant| now.since(*at) <= Duration::from_secs(4050);
            let others = model.iter().filter(|((t, a), (_, at))| *t == torrent && *a != me && a.is_ipv4() == me.is_ipv4() && alive(at));
            let useful: BTreeSet<_> = others.filter(|(_, (other_takes, _))| takes || *other_takes).map(|((_, a), _)| *a).collect();
            let told = peers(&reply);
            prop_assert_eq!(told.len(), reply.peers.len());
            prop_assert!(told.is_subset(&useful), "{:?} of {:?}", told, useful);
            prop_assert_eq!(told.len(), useful.len().min(numwant.unwrap_or(50) as usize));
        }
        let far = now + Duration::from_secs(10_000);
        (0..100).for_each(|i| s.tick(far + Duration::from_secs(5 * i)));
        prop_assert_eq!(s.totals().peers, 0);
    }

    #[test]
    fn no_datagram_panics_or_amplifies(
        datagrams in proptest::collection::vec((0u32..5, proptest::collection::vec(any::<u8>(), 0..120), any::<bool>(), any::<SocketAddr>()), 0..20),
    ) {
        let mut s = server(Config::default());
        for port in 1..100 {
            http(&mut s, T0, "198.51.100.1", &ask(port, 9, AnnounceEvent::None));
        }
        for (action, bytes, protocol, from) in datagrams {
            let id = if protocol { packets::PROTOCOL_ID } else { 7 };
            let datagram = [&id.to_be_bytes()[..], &action.to_be_bytes(), &bytes].concat();
            for datagram in [&datagram, &bytes] {
                let mut reply = Vec::new();
                let answered = s.udp(T0, from, datagram, &mut reply);
                prop_assert_eq!(answered, !reply.is_empty());
                prop_assert!(reply.len() <= datagram.len());
            }
        }
        prop_assert_eq!(s.totals().peers, 99);
    }

    #[test]
    fn no_query_panics(query in "[a-z_=&%0-9]{0,100}", ip: IpAddr) {
        let mut s = server(Config::default());
        for query in [query.clone(), format!("info_hash=aaaaaaaaaaaaaaaaaaaa&peer_id=bbbbbbbbbbbbbbbbbbbb&port=1&{query}")] {
            prop_assert!(s.announce_http(T0, &query, ip).starts_with(b"d"));
            prop_assert!(s.scrape_http(&query, ip).starts_with(b"d"));
        }
    }
}
