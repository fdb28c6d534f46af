//! What strangers try: floods, forgeries, reflections, addresses that aim inside.

use super::*;
use crate::limiter::QUERIES_BURST;
use crate::machine::serve::{AMPLIFICATION_MAX, HELD_MAX};
use crate::queries::QUERIES_MAX;
use wire::krpc::{Mutable, Reply, code, nodes};

const T0: Instant = Instant::from_secs(1_000);
const ASKER: NodeId = NodeId([0x5a; 20]);

fn addr(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn node(config: Config) -> Dht {
    Dht::new(T0, config, &Snapshot::default(), Rng::from_seed(1))
}

/// A node that knows many, and keeps many peers of [`HASH`].
fn full() -> Dht {
    let mut dht = node(Config::default());
    dht.assume(T0, (0..500).map(|i| (NodeId::random(&mut Rng::from_seed(i)), public(i as usize))));
    let own = dht.stats(T0).v4.unwrap().id;
    for i in 0..400 {
        dht.peers.insert(T0, &own, HASH, public(1_000 + i), i % 2 == 0).unwrap();
    }
    dht
}

fn query(ask: Ask<'_>) -> Vec<u8> {
    let body = Body::Query(Query { id: ASKER, want: Want::default(), ask });
    Message { transaction: b"tx", version: None, read_only: false, ip: None, body }.encode()
}

fn drain(dht: &mut Dht) -> Vec<(SocketAddr, Vec<u8>)> {
    let datagrams = std::iter::from_fn(|| dht.poll()).filter_map(|output| match output {
        Output::Datagram { to, data } => Some((to, data)),
        _ => None,
    });
    datagrams.collect()
}

/// What is said at once to a datagram.
fn say(dht: &mut Dht, now: Instant, from: &str, data: &[u8]) -> Vec<(SocketAddr, Vec<u8>)> {
    dht.handle(now, Input::Datagram { from: addr(from), data: data.to_vec() });
    drain(dht)
}

#[track_caller]
fn reply(said: &[(SocketAddr, Vec<u8>)]) -> Reply<'_> {
    match Message::parse(&said.first().expect("an answer").1).unwrap().body {
        Body::Reply(reply) => *reply,
        other => panic!("{other:?}"),
    }
}

#[track_caller]
fn error(said: &[(SocketAddr, Vec<u8>)]) -> i64 {
    match Message::parse(&said.first().expect("an answer").1).unwrap().body {
        Body::Error(error) => error.code,
        other => panic!("{other:?}"),
    }
}

fn get_peers() -> Ask<'static> {
    Ask::GetPeers { info_hash: HASH, noseed: false, scrape: false }
}

#[test]
fn nobody_is_sent_more_than_eight_times_what_he_sent() {
    let mut dht = full();
    let item = Item::signed(&[5; 32], b"", 1, [b"996:".as_slice(), &[b'x'; 996]].concat()).unwrap();
    let own = dht.stats(T0).v4.unwrap().id;
    dht.items.put(T0, &own, item.clone(), None).unwrap();
    let target = NodeId([1; 20]);
    let asks = [
        Ask::Ping,
        Ask::FindNode { target },
        get_peers(),
        Ask::GetPeers { info_hash: HASH, noseed: true, scrape: true },
        Ask::Get { target: item.target(), seq: None },
        Ask::Get { target, seq: None },
        Ask::SampleInfohashes { target },
        Ask::Unknown { method: b"x", target: None },
        Ask::Unknown { method: b"x", target: Some(target) },
        Ask::Put { token: b"wrong", value: b"i1e", mutable: None },
    ];
    let mut now = T0;
    let mut largest: f64 = 0.0;
    for (i, ask) in asks.into_iter().enumerate() {
        for want in [Want::default(), Want { v4: true, v6: true }] {
            let body = Body::Query(Query { id: ASKER, want, ask: ask.clone() });
            let question = Message { transaction: b"t", version: None, read_only: false, ip: None, body }.encode();
            // From somebody who never answers, until every timeout is over.
            let from = SocketAddr::from(([9, 9, i as u8, 9], 5));
            let mut sent = 0;
            let mut count = |said: Vec<(SocketAddr, Vec<u8>)>| {
                sent += said.iter().filter(|(to, _)| *to == from).map(|(_, data)| data.len()).sum::<usize>();
            };
            count(say(&mut dht, now, &from.to_string(), &question));
            for _ in 0..30 {
                now += Duration::from_secs(1);
                dht.handle(now, Input::Tick);
                count(drain(&mut dht));
            }
            largest = largest.max(sent as f64 / question.len() as f64);
            // What is asked in return (is a new node there? will it answer?) is two pings at most.
            assert!(sent <= AMPLIFICATION_MAX * question.len() + 2 * 80, "{sent} bytes for {ask:?}");
        }
    }
    assert!(largest > 6.0, "the bound is used: {largest}");
    // Queries that can't be read, too.
    for bad in [&b"d1:q4:ping1:t1:a1:y1:qe"[..], b"d1:ade1:q9:find_node1:t1:a1:y1:qe"] {
        let said = say(&mut dht, now, "9.9.99.9:5", bad);
        assert!(said.iter().map(|(_, data)| data.len()).sum::<usize>() <= AMPLIFICATION_MAX * bad.len());
        assert_eq!(error(&said), code::PROTOCOL);
    }
}

#[test]
fn one_address_asks_five_times_a_second() {
    let mut dht = full();
    let question = query(get_peers());
    let mut answers = 0;
    for ms in 0..10_000 {
        let said = say(&mut dht, T0 + Duration::from_millis(ms), "9.9.9.9:5", &question);
        answers += said.iter().filter(|(to, _)| *to == addr("9.9.9.9:5")).count();
    }
    // And one ping, since it might be a node.
    assert!(answers <= QUERIES_BURST as usize + 50 + 3, "{answers} answers in ten seconds");
    let counts = dht.stats(T0).counts;
    assert!(counts.limited > 9_900, "{counts:?}");
}

#[test]
fn all_together_get_so_many_bytes() {
    let mut dht = full();
    let question = query(get_peers());
    let mut bytes = 0;
    for i in 0..50_000usize {
        let now = T0 + Duration::from_micros(100 * i as u64); // five seconds
        bytes += say(&mut dht, now, &public(i).to_string(), &question).iter().map(|(_, d)| d.len()).sum::<usize>();
    }
    let allowed = 6 * Config::default().answer_bytes_per_s as usize;
    assert!(bytes <= allowed + 10_000, "{bytes} bytes in five seconds");
}

#[test]
fn a_flood_of_forgeries_costs_bounded_memory() {
    let mut dht = full();
    dht.handle(T0, lookup(1));
    let mut rng = Rng::from_seed(9);
    let mut token = [0; 8];
    for i in 0..40_000u32 {
        let now = T0 + Duration::from_micros(u64::from(i) * 500);
        let from = SocketAddr::from((std::net::Ipv4Addr::from(0x0900_0000 + i * 37), 1 + (i % 60_000) as u16));
        rng.fill(&mut token);
        let id = NodeId::random(&mut rng);
        let info_hash = InfoHash(id.0);
        let data = match i % 6 {
            0 => query(Ask::FindNode { target: id }),
            1 => query(Ask::AnnouncePeer { info_hash, port: 1, implied_port: true, seed: false, token: &token }),
            2 => query(Ask::Put { token: &token, value: b"i1e", mutable: None }),
            3 => query(Ask::Get { target: id, seq: None }),
            4 => {
                let body = Body::Reply(Box::new(Reply { nodes: Some(&[7; 26 * 20]), ..Reply::of(id) }));
                Message { transaction: &token[..4], version: None, read_only: false, ip: None, body }.encode()
            }
            _ => token.to_vec(),
        };
        dht.handle(now, Input::Datagram { from, data });
        while dht.poll().is_some() {}
    }
    let stats = dht.stats(T0);
    assert!(stats.queries <= QUERIES_MAX && dht.held <= HELD_MAX && stats.lookups <= 32, "{stats:?}");
    assert_eq!((stats.stored_torrents, stats.stored_items, dht.items.len()), (1, 0, 0));
    let v4 = dht.v4.as_ref().unwrap();
    assert!(v4.greetings.len() <= GREETINGS_MAX && v4.table.len() <= 500);
    assert!(v4.table.keepsakes().all(|(_, a)| a.ip().to_string().starts_with("20.")), "no forgery is a node");
    assert!(dht.out.capacity() <= 10_000 && stats.counts.unasked > 6_000 && stats.counts.malformed > 6_000);
}

#[test]
fn stored_is_only_with_a_token_for_this_and_from_there() {
    let mut dht = node(Config::default());
    let announce = |token: &[u8], port| {
        query(Ask::AnnouncePeer { info_hash: HASH, port, implied_port: port == 0, seed: false, token })
    };
    let said = say(&mut dht, T0, "9.9.9.9:5", &query(get_peers()));
    let token = reply(&said).token.unwrap().to_vec();
    assert_eq!(error(&say(&mut dht, T0, "9.9.9.8:5", &announce(&token, 1))), code::PROTOCOL, "another address");
    assert_eq!(error(&say(&mut dht, T0, "9.9.9.9:5", &announce(b"", 1))), code::PROTOCOL);
    let elsewhere =
        Ask::AnnouncePeer { info_hash: InfoHash([8; 20]), port: 1, implied_port: false, seed: false, token: &token };
    assert_eq!(error(&say(&mut dht, T0, "9.9.9.9:5", &query(elsewhere))), code::PROTOCOL, "another torrent");
    let late = T0 + Duration::from_secs(601);
    assert_eq!(error(&say(&mut dht, late, "9.9.9.9:5", &announce(&token, 1))), code::PROTOCOL, "too late");
    assert_eq!(dht.stats(T0).stored_peers, 0);
    assert_eq!(reply(&say(&mut dht, T0, "9.9.9.9:6", &announce(&token, 77))).id, dht.stats(T0).v4.unwrap().id);
    assert!(dht.peers.has(HASH, addr("9.9.9.9:1").ip()));
    let said = say(&mut dht, T0, "8.8.8.8:5", &query(get_peers()));
    assert_eq!(reply(&said).values, Some(vec![addr("9.9.9.9:77")]));
}

#[test]
fn puts_are_judged() {
    let mut dht = node(Config::default());
    let item = Item::signed(&[5; 32], b"", 4, b"i1e".to_vec()).unwrap();
    let said = say(&mut dht, T0, "9.9.9.9:5", &query(Ask::Get { target: item.target(), seq: None }));
    let token = reply(&said).token.unwrap().to_vec();
    let s = item.mutable.clone().unwrap();
    let mut put = |change: fn(&mut Mutable<'_>), value: &[u8]| {
        let mut mutable = Mutable { key: s.key, salt: &s.salt, seq: s.seq, signature: s.signature, cas: None };
        change(&mut mutable);
        let question = query(Ask::Put { token: &token, value, mutable: Some(mutable) });
        let said = say(&mut dht, T0, "9.9.9.9:5", &question);
        match Message::parse(&said[0].1).unwrap().body {
            Body::Error(error) => Some(error.code),
            _ => None,
        }
    };
    assert_eq!(put(|m| m.signature[0] ^= 1, b"i1e"), Some(code::SIGNATURE));
    assert_eq!(put(|_| {}, b"i2e"), Some(code::SIGNATURE));
    assert_eq!(put(|m| m.key[0] ^= 1, b"i1e"), Some(code::PROTOCOL), "the token is for another target");
    assert_eq!(put(|_| {}, b"i1e"), None);
    assert_eq!(put(|m| m.cas = Some(9), b"i1e"), Some(code::CAS_MISMATCH));
    // Who has this one already is told its number alone.
    for (seq, expected) in [(None, true), (Some(3), true), (Some(4), false)] {
        let said = say(&mut dht, T0, "9.9.9.9:5", &query(Ask::Get { target: item.target(), seq }));
        let reply = reply(&said);
        assert_eq!((reply.seq, reply.value.is_some(), reply.signature.is_some()), (Some(4), expected, expected));
    }
}

/// The first question that a lookup of `dht` asks, as who was asked sees it.
fn first_question(dht: &mut Dht) -> (SocketAddr, Vec<u8>) {
    dht.handle(T0, lookup(1));
    let (to, data) = drain(dht).into_iter().next().expect("a question");
    let transaction = Message::parse(&data).unwrap().transaction.to_vec();
    (to, transaction)
}

fn answer(transaction: &[u8], reply: Reply<'_>) -> Vec<u8> {
    Message { transaction, version: None, read_only: false, ip: None, body: Body::Reply(Box::new(reply)) }.encode()
}

fn told(dht: &mut Dht) -> (Vec<SocketAddr>, Vec<SocketAddr>) {
    let (mut peers, mut asked) = (Vec::new(), Vec::new());
    while let Some(output) = dht.poll() {
        match output {
            Output::Peers { addrs, .. } => peers.extend(addrs),
            Output::Datagram { to, .. } => asked.push(to),
            _ => {}
        }
    }
    (peers, asked)
}

#[test]
fn only_who_was_asked_answers() {
    let mut dht = node(Config::default());
    dht.assume(T0, [(NodeId([1; 20]), public(1))]);
    let (to, transaction) = first_question(&mut dht);
    let values = Some(vec![addr("9.9.9.9:9")]);
    let good = answer(&transaction, Reply { values, ..Reply::of(NodeId([1; 20])) });
    for from in [public(2), SocketAddr::new(to.ip(), 99)] {
        dht.handle(T0, Input::Datagram { from, data: good.clone() });
        assert_eq!(told(&mut dht), (vec![], vec![]), "{from}");
    }
    let mut forged = transaction.clone();
    forged[0] ^= 1;
    dht.handle(T0, Input::Datagram { from: to, data: answer(&forged, Reply::of(NodeId([1; 20]))) });
    assert_eq!(dht.stats(T0).counts.unasked, 3);
    dht.handle(T0, Input::Datagram { from: to, data: good.clone() });
    assert_eq!(told(&mut dht).0, [addr("9.9.9.9:9")]);
    dht.handle(T0, Input::Datagram { from: to, data: good });
    assert_eq!((told(&mut dht), dht.stats(T0).counts.unasked), ((vec![], vec![]), 4), "once");
}

#[test]
fn who_answers_under_another_id_is_not_believed() {
    let mut dht = node(Config::default());
    dht.assume(T0, [(NodeId([1; 20]), public(1))]);
    let (to, transaction) = first_question(&mut dht);
    let values = Some(vec![addr("9.9.9.9:9")]);
    dht.handle(
        T0,
        Input::Datagram { from: to, data: answer(&transaction, Reply { values, ..Reply::of(NodeId([7; 20])) }) },
    );
    assert_eq!(told(&mut dht), (vec![], vec![]));
    assert!(dht.v4.as_ref().unwrap().table.keepsakes().all(|(id, _)| id != NodeId([7; 20])));
}

#[test]
fn nobody_outside_aims_inside() {
    let inside = ["127.0.0.1:80", "10.1.2.3:80", "192.168.0.1:80", "169.254.169.254:80", "0.0.0.0:80", "8.8.8.8:0"];
    let check = |teller: SocketAddr, expected: &[&str]| {
        let mut dht = node(Config::default());
        dht.assume(T0, [(NodeId([1; 20]), teller)]);
        let (to, transaction) = first_question(&mut dht);
        let (mut list, mut six) = (Vec::new(), Vec::new());
        for (i, a) in inside.iter().chain(&["8.8.4.4:80"]).enumerate() {
            nodes::push(NodeId([i as u8 + 10; 20]), addr(a), &mut list, &mut six);
        }
        let values = Some(inside.iter().chain(&["8.8.4.4:80"]).map(|a| addr(a)).collect());
        let reply = Reply { nodes: Some(&list), values, ..Reply::of(NodeId([1; 20])) };
        dht.handle(T0, Input::Datagram { from: to, data: answer(&transaction, reply) });
        let (mut peers, mut asked) = told(&mut dht);
        // And whoever is greeted later.
        for s in 1..10 {
            dht.handle(T0 + Duration::from_secs(s), Input::Tick);
            asked.extend(told(&mut dht).1);
        }
        asked.retain(|a| *a != to);
        [&mut peers, &mut asked].into_iter().for_each(|list| {
            list.sort();
            list.dedup();
        });
        let expected: Vec<_> = expected.iter().map(|a| addr(a)).collect();
        assert_eq!((peers, asked), (expected.clone(), expected), "told by {teller}");
        assert!(dht.stats(T0).counts.refused_addrs > 0);
    };
    check(public(1), &["8.8.4.4:80"]);
    check(addr("192.168.0.9:5"), &["8.8.4.4:80", "10.1.2.3:80", "192.168.0.1:80"]);
    check(local(1), &["8.8.4.4:80", "10.1.2.3:80", "127.0.0.1:80", "169.254.169.254:80", "192.168.0.1:80"]);
}

#[test]
fn datagrams_from_nowhere_are_dropped() {
    let mut dht = node(Config { v6: false, ..Config::default() });
    for from in ["0.0.0.0:5", "9.9.9.9:0", "224.0.0.1:5", "[2001:db8::1]:5"] {
        assert_eq!(say(&mut dht, T0, from, &query(Ask::Ping)), [], "{from}");
    }
    assert_eq!(dht.stats(T0).counts.nowhere, 4);
    // The other notation of IPv4 is IPv4.
    assert_eq!(say(&mut dht, T0, "[::ffff:9.9.9.9]:5", &query(Ask::Ping))[0].0, addr("9.9.9.9:5"));
}

#[test]
fn who_only_asks_answers_nobody() {
    let mut dht = node(Config { read_only: true, ..Config::default() });
    for ask in [Ask::Ping, Ask::FindNode { target: ASKER }, get_peers()] {
        assert_eq!(say(&mut dht, T0, "9.9.9.9:5", &query(ask)), []);
    }
    assert_eq!(say(&mut dht, T0, "9.9.9.9:5", b"d1:q4:ping1:t1:a1:y1:qe"), []);
    dht.assume(T0, [(NodeId([1; 20]), public(1))]);
    dht.handle(T0, lookup(1));
    let said = drain(&mut dht);
    assert!(Message::parse(&said[0].1).unwrap().read_only);
}

#[test]
fn answers_name_the_address_that_asked_and_few_samples() {
    let mut dht = full();
    let said = say(&mut dht, T0, "9.9.9.9:5", &query(Ask::SampleInfohashes { target: ASKER }));
    assert_eq!(Message::parse(&said[0].1).unwrap().ip, Some(addr("9.9.9.9:5")));
    let reply = reply(&said);
    assert_eq!((reply.samples, reply.num, reply.interval), (Some(&[HASH.0][..]), Some(1), Some(600)));
    assert_eq!(nodes::parse_v4(reply.nodes.unwrap()).count(), 8);
    let said = say(&mut dht, T0, "9.9.9.9:5", &query(Ask::Unknown { method: b"vote", target: None }));
    assert_eq!(error(&said), code::METHOD_UNKNOWN);
}

#[test]
fn so_many_jobs() {
    let mut dht = node(Config::default());
    let jobs = crate::machine::jobs::JOBS_MAX as u64;
    (0..jobs + 3).for_each(|job| dht.handle(T0, lookup(job)));
    let refused = std::iter::from_fn(|| dht.poll())
        .filter(|o| matches!(o, Output::Done { summary, .. } if summary.refused.is_some()));
    assert_eq!((refused.count(), dht.stats(T0).jobs as u64), (3, jobs));
}
