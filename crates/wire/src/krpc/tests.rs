//! Golden messages, what real clients do otherwise, what is refused, and properties.

use super::*;
use base::bencode;
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

const ID: NodeId = NodeId(*b"abcdefghij0123456789");
const OTHER: NodeId = NodeId(*b"mnopqrstuvwxyz123456");

fn query(ask: Ask<'_>) -> Message<'_> {
    let body = Body::Query(Query { id: ID, want: Want::default(), ask });
    Message { transaction: b"aa", version: None, read_only: false, ip: None, body }
}

fn reply(reply: Reply<'_>) -> Message<'_> {
    Message { transaction: b"aa", version: None, read_only: false, ip: None, body: Body::Reply(Box::new(reply)) }
}

#[track_caller]
fn check(message: &Message<'_>, golden: &[u8]) {
    assert_eq!(message.encode().escape_ascii().to_string(), golden.escape_ascii().to_string());
    assert_eq!(Message::parse(golden).as_ref(), Ok(message));
}

#[track_caller]
fn parsed(datagram: &[u8]) -> Message<'_> {
    match Message::parse(datagram) {
        Ok(message) => message,
        Err(error) => panic!("{error}"),
    }
}

#[track_caller]
fn refused(datagram: &[u8]) -> (i64, &'static str) {
    match Message::parse(datagram) {
        Err(KrpcError::Refused { transaction, code, what }) => {
            assert_eq!(transaction, b"aa");
            (code, what)
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_examples_of_bep_5() {
    check(&query(Ask::Ping), b"d1:ad2:id20:abcdefghij0123456789e1:q4:ping1:t2:aa1:y1:qe");
    check(&reply(Reply::of(OTHER)), b"d1:rd2:id20:mnopqrstuvwxyz123456e1:t2:aa1:y1:re");
    check(
        &query(Ask::FindNode { target: OTHER }),
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz123456e1:q9:find_node1:t2:aa1:y1:qe",
    );
    let info_hash = InfoHash(OTHER.0);
    check(
        &query(Ask::GetPeers { info_hash, noseed: false, scrape: false }),
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz123456e1:q9:get_peers1:t2:aa1:y1:qe",
    );
    let values = ["97.120.106.101:11893", "105.100.104.116:28269"].map(|a| a.parse().unwrap());
    check(
        &reply(Reply { token: Some(b"aoeusnth"), values: Some(values.into()), ..Reply::of(ID) }),
        b"d1:rd2:id20:abcdefghij01234567895:token8:aoeusnth6:valuesl6:axje.u6:idhtnmee1:t2:aa1:y1:re",
    );
    check(
        &query(Ask::AnnouncePeer { info_hash, port: 6881, implied_port: true, seed: false, token: b"aoeusnth" }),
        b"d1:ad2:id20:abcdefghij012345678912:implied_porti1e9:info_hash20:mnopqrstuvwxyz1234564:porti6881e\
        5:token8:aoeusnthe1:q13:announce_peer1:t2:aa1:y1:qe",
    );
    let error = Body::Error(ErrorReply { code: 201, message: "A Generic Error Ocurred".into() });
    check(
        &Message { transaction: b"aa", version: None, read_only: false, ip: None, body: error },
        b"d1:eli201e23:A Generic Error Ocurrede1:t2:aa1:y1:ee",
    );
}

#[test]
fn extensions_at_the_top() {
    let mut message = query(Ask::FindNode { target: OTHER });
    (message.read_only, message.version) = (true, Some(*b"LT\x01\x02"));
    if let Body::Query(query) = &mut message.body {
        query.want = Want { v4: true, v6: true };
    }
    check(
        &message,
        b"d1:ad2:id20:abcdefghij01234567896:target20:mnopqrstuvwxyz1234564:wantl2:n42:n6ee1:q9:find_node2:roi1e1:t2:aa\
        1:v4:LT\x01\x021:y1:qe",
    );
    let mut message = reply(Reply { nodes: Some(b""), nodes6: Some(&[7; 38]), ..Reply::of(ID) });
    message.ip = Some("1.2.3.4:5".parse().unwrap());
    let golden = [
        &b"d2:ip6:\x01\x02\x03\x04\0\x051:rd2:id20:abcdefghij01234567895:nodes0:6:nodes638:"[..],
        &[7; 38],
        b"e1:t2:aa1:y1:re",
    ];
    check(&message, &golden.concat());
    assert!(is_krpc(&message.encode()) && !is_krpc(b"") && !is_krpc(&[0x41, 2]));
}

#[test]
fn stored_items() {
    check(
        &query(Ask::Get { target: OTHER, seq: Some(4) }),
        b"d1:ad2:id20:abcdefghij01234567893:seqi4e6:target20:mnopqrstuvwxyz123456e1:q3:get1:t2:aa1:y1:qe",
    );
    check(
        &query(Ask::Put { token: b"tk", value: b"12:Hello World!", mutable: None }),
        b"d1:ad2:id20:abcdefghij01234567895:token2:tk1:v12:Hello World!e1:q3:put1:t2:aa1:y1:qe",
    );
    let mutable = Mutable { key: [1; 32], salt: b"foobar", seq: 1, signature: [2; 64], cas: Some(0) };
    let golden = [
        &b"d1:ad3:casi0e2:id20:abcdefghij01234567891:k32:"[..],
        &[1; 32],
        b"4:salt6:foobar3:seqi1e3:sig64:",
        &[2; 64],
        b"5:token2:tk1:vli1ei2eee1:q3:put1:t2:aa1:y1:qe",
    ];
    check(&query(Ask::Put { token: b"tk", value: b"li1ei2ee", mutable: Some(mutable) }), &golden.concat());
    assert_eq!(signed_bytes(b"", 1, b"12:Hello World!"), b"3:seqi1e1:v12:Hello World!");
    assert_eq!(signed_bytes(b"foobar", 1, b"12:Hello World!"), b"4:salt6:foobar3:seqi1e1:v12:Hello World!");
}

#[test]
fn samples() {
    check(
        &reply(Reply {
            interval: Some(600),
            num: Some(2),
            samples: Some(&[[1; 20], [2; 20]]),
            nodes: Some(b""),
            ..Reply::of(ID)
        }),
        &[
            &b"d1:rd2:id20:abcdefghij01234567898:intervali600e5:nodes0:3:numi2e7:samples40:"[..],
            &[1; 20],
            &[2; 20],
            b"e1:t2:aa1:y1:re",
        ]
        .concat(),
    );
}

#[test]
fn what_real_clients_do_otherwise() {
    // Keys out of order, bytes behind the end, a node list with a tail, flags of other types, values in one string.
    let sloppy = b"d1:y1:r1:t2:aa1:rd5:nodes30:0123456789012345678901234567896:valuesl12:\x01\x02\x03\x04\0\x05\x06\x07\x08\x09\0\
        \x0a5:shorti7ee5:tokeni5e2:id20:abcdefghij0123456789ee\r\n";
    let message = parsed(sloppy);
    let Body::Reply(r) = message.body else { panic!("a reply") };
    assert_eq!((r.nodes.map(<[u8]>::len), r.token), (Some(26), None));
    assert_eq!(r.values.unwrap(), ["1.2.3.4:5", "6.7.8.9:10"].map(|a| a.parse().unwrap()));
    // Errors as a bare string, as a number alone, as nothing at all, and with what would repaint a terminal.
    for (e, code, text) in [
        (&b"1:e3:bad"[..], 201, "bad"),
        (b"1:eli203ee", 203, ""),
        (b"1:eli203e3:a\x1bbe", 203, "a\u{fffd}b"),
        (b"", 201, ""),
    ] {
        let datagram = [b"d", e, b"1:t2:aa1:y1:ee"].concat();
        assert_eq!(parsed(&datagram).body, Body::Error(ErrorReply { code, message: text.into() }));
    }
    // An external address without its port; one of an impossible length.
    for (ip, expected) in [(&b"4:\x01\x02\x03\x04"[..], Some("1.2.3.4:0".parse().unwrap())), (b"5:12345", None)] {
        let datagram = [b"d2:ip", ip, b"1:rd2:id20:abcdefghij0123456789e1:t2:aa1:y1:re"].concat();
        assert_eq!(parsed(&datagram).ip, expected);
    }
    // `want` may list what nobody knows yet; queries of another day may name a target.
    let message = parsed(
        b"d1:ad2:id20:abcdefghij01234567899:info_hash20:mnopqrstuvwxyz1234564:wantl2:n82:n6i3eee1:q4:vote1:t2:aa1:y1:qe",
    );
    let ask = Ask::Unknown { method: b"vote", target: Some(OTHER) };
    assert_eq!(message.body, Body::Query(Query { id: ID, want: Want { v4: false, v6: true }, ask }));
}

#[test]
fn queries_that_are_answered_with_an_error() {
    let with =
        |args: &str, method: &str| format!("d1:ad{args}e1:q{}:{method}1:t2:aa1:y1:qe", method.len()).into_bytes();
    const ME: &str = "2:id20:abcdefghij0123456789";
    let check = |args: String, method: &str, code: i64, word: &str| {
        let (found, what) = refused(&with(&args, method));
        assert!(found == code && what.contains(word), "{method} {args}: {found} {what}");
    };
    check("".into(), "ping", 203, "id");
    check("2:id19:abcdefghij012345678".into(), "ping", 203, "id");
    check(ME.into(), "find_node", 203, "target");
    check(ME.into(), "get_peers", 203, "info_hash");
    let hash = "9:info_hash20:mnopqrstuvwxyz123456";
    check(format!("{ME}{hash}5:token1:x"), "announce_peer", 203, "port");
    check(format!("{ME}{hash}4:porti65536e5:token1:x"), "announce_peer", 203, "port");
    check(format!("{ME}{hash}4:porti1e"), "announce_peer", 203, "token");
    check(format!("{ME}{hash}4:porti1e5:token65:{}", "x".repeat(65)), "announce_peer", 203, "token");
    check(format!("{ME}5:token1:x"), "put", 203, "no v");
    check(format!("{ME}5:token1:x1:v998:{}", "x".repeat(998)), "put", 205, "1000");
    let signed = |salt: usize, seq: &str| {
        let (k, sig) = ("k".repeat(32), "s".repeat(64));
        format!("{ME}1:k32:{k}4:salt{salt}:{}3:seqi{seq}e3:sig64:{sig}5:token1:x1:vi1e", "s".repeat(salt))
    };
    check(signed(65, "1"), "put", 207, "salt");
    check(signed(64, "-1"), "put", 203, "seq");
    check(signed(0, "9223372036854775808"), "put", 203, "canonical");
    check(format!("{ME}1:k3:abc5:token1:x1:vi1e"), "put", 203, "k of 32");
    check(format!("{ME}3:sig3:abc5:token1:x1:vi1e"), "put", 203, "k of 32");
    check(format!("{ME}5:token1:x1:vi01e"), "put", 203, "canonical");
    check(format!("{ME}1:vd1:bi1e1:ai1ee5:token1:x"), "put", 203, "canonical");
    assert_eq!(refused(b"d1:q4:ping1:t2:aa1:y1:qe").0, 203);
    assert_eq!(refused(b"d1:ade1:t2:aa1:y1:qe").0, 203);
    assert!(Message::parse(&with(&signed(64, "0"), "put")).is_ok());
}

#[test]
fn what_is_no_message() {
    let nothing = |datagram: &[u8]| match Message::parse(datagram) {
        Err(error @ (KrpcError::Bencode(_) | KrpcError::Other(_))) => error.to_string(),
        other => panic!("{other:?}"),
    };
    assert!(nothing(b"").contains("unexpected end"));
    assert!(nothing(b"i1e").contains("transaction"));
    assert!(nothing(b"d1:y1:qe").contains("transaction"));
    assert!(nothing(format!("d1:t33:{}1:y1:qe", "x".repeat(33)).as_bytes()).contains("transaction"));
    assert!(nothing(b"d1:t2:aae").contains("neither"));
    assert!(nothing(b"d1:t2:aa1:y1:xe").contains("neither"));
    assert!(nothing(b"d1:rd2:id3:abce1:t2:aa1:y1:re").contains("id"));
    assert!(nothing(&[b'd'; DATAGRAM_BYTES_MAX + 1]).contains("larger"));
    assert!(nothing(&[b'l'; DEPTH_MAX + 1]).contains("deep"));
    let flood = [b"l".as_slice(), &b"0:".repeat(TOKENS_MAX), b"e"].concat();
    assert!(nothing(&flood).contains("larger"));
}

#[test]
fn lists_of_peers_end_at_their_limit() {
    let peers = b"6:\x01\x02\x03\x04\0\x05".repeat(VALUES_MAX + 30);
    let datagram = [b"d1:rd2:id20:abcdefghij01234567896:valuesl".as_slice(), &peers, b"ee1:t2:aa1:y1:re"].concat();
    let Body::Reply(r) = parsed(&datagram).body else { panic!("a reply") };
    assert_eq!(r.values.unwrap().len(), VALUES_MAX);
    // A value that is too long is no value.
    let value = format!("1:v998:{}", "x".repeat(998));
    let datagram = format!("d1:rd2:id20:abcdefghij0123456789{value}e1:t2:aa1:y1:re");
    let Body::Reply(r) = parsed(datagram.as_bytes()).body else { panic!("a reply") };
    assert_eq!(r.value, None);
}

/// Everything that a message may hold, so that borrowed ones can be made of it.
#[derive(Clone, Debug)]
struct Parts {
    kind: u8,
    id: [u8; 20],
    target: [u8; 20],
    bytes: Vec<u8>,
    short: Vec<u8>,
    flags: [bool; 8],
    n: i64,
    port: u16,
    key: [u8; 32],
    list: Vec<[u8; 20]>,
    peers: Vec<(bool, u128, u16)>,
    some: Option<u32>,
}

fn parts() -> impl Strategy<Value = Parts> {
    let a = (0..11u8, any::<[u8; 20]>(), any::<[u8; 20]>(), vec(any::<u8>(), 0..300), vec(any::<u8>(), 0..32));
    let b = (any::<[bool; 8]>(), 0..=i64::MAX, 1..=u16::MAX, any::<[u8; 32]>(), vec(any::<[u8; 20]>(), 0..9));
    let c = (vec(any::<(bool, u128, u16)>(), 0..9), option::of(any::<u32>()));
    (a, b, c).prop_map(|((kind, id, target, bytes, short), (flags, n, port, key, list), (peers, some))| Parts {
        kind,
        id,
        target,
        bytes,
        short,
        flags,
        n,
        port,
        key,
        list,
        peers,
        some,
    })
}

impl Parts {
    fn peers(&self) -> Vec<SocketAddr> {
        let addr = |(six, ip, port): (bool, u128, u16)| match six {
            true => SocketAddr::from((std::net::Ipv6Addr::from(ip), port)),
            false => SocketAddr::from((std::net::Ipv4Addr::from(ip as u32), port)),
        };
        self.peers.iter().copied().map(addr).collect()
    }

    fn body<'a>(&'a self, value: &'a [u8], signature: [u8; 64], bloom: &'a [u8; 256]) -> Body<'a> {
        let [a, b, c, d, e, f, g, h] = self.flags;
        let (target, info_hash) = (NodeId(self.target), InfoHash(self.target));
        let seq = a.then_some(self.n);
        let mutable = b.then_some(Mutable { key: self.key, salt: &self.short, seq: self.n, signature, cas: seq });
        let ask = match self.kind {
            0 => Ask::Ping,
            1 => Ask::FindNode { target },
            2 => Ask::GetPeers { info_hash, noseed: a, scrape: b },
            3 => Ask::AnnouncePeer { info_hash, port: self.port, implied_port: a, seed: b, token: &self.short },
            4 => Ask::Get { target, seq },
            5 => Ask::Put { token: &self.short, value, mutable },
            6 => Ask::SampleInfohashes { target },
            7 => Ask::Unknown { method: b"vote", target: a.then_some(target) },
            8 => {
                return Body::Error(ErrorReply {
                    code: self.n,
                    message: crate::text::printable(&self.bytes, ERROR_CHARS_MAX),
                });
            }
            _ => {
                return Body::Reply(Box::new(Reply {
                    id: NodeId(self.id),
                    nodes: a.then(|| &self.bytes[..self.bytes.len() / 26 * 26]),
                    nodes6: b.then(|| &self.bytes[..self.bytes.len() / 38 * 38]),
                    values: c.then(|| self.peers()),
                    token: d.then_some(&self.short),
                    seeds: e.then_some(bloom),
                    peers: f.then_some(bloom),
                    value: g.then_some(value),
                    key: h.then_some(self.key),
                    signature: a.then_some(signature),
                    seq: b.then_some(self.n),
                    samples: c.then_some(&self.list),
                    interval: self.some,
                    num: self.some,
                }));
            }
        };
        Body::Query(Query { id: NodeId(self.id), want: Want { v4: c, v6: d }, ask })
    }
}

proptest! {
    #[test]
    fn round_trip(p in parts()) {
        let value = bencode::Item::from(p.bytes.clone()).encode();
        let (signature, bloom) = ([p.key[0]; 64], [p.key[1]; 256]);
        let message = Message {
            transaction: &p.short,
            version: p.flags[0].then_some([1, 2, 3, 4]),
            read_only: p.flags[1],
            ip: p.peers().first().copied(),
            body: p.body(&value, signature, &bloom),
        };
        let bytes = message.encode();
        let doc = bencode::parse(&bytes, &bencode::Limits::DATAGRAM).unwrap();
        prop_assert_eq!(doc.quirks(), &[], "not canonical: {}", bytes.escape_ascii());
        prop_assert_eq!(Message::parse(&bytes), Ok(message));
    }

    #[test]
    fn never_panics(bytes in vec(any::<u8>(), 0..100), p in parts(), at in any::<u16>(), with in any::<u8>()) {
        let _ = Message::parse(&bytes);
        let (value, signature, bloom) = (b"i1e", [1; 64], [2; 256]);
        let body = p.body(value, signature, &bloom);
        let mut bytes = Message { transaction: b"t", version: None, read_only: false, ip: None, body }.encode();
        let at = usize::from(at) % bytes.len();
        bytes[at] = with;
        let _ = Message::parse(&bytes);
        let _ = Message::parse(&bytes[..at]);
    }

    #[test]
    fn nodes_round_trip(list in vec((any::<[u8; 20]>(), any::<std::net::IpAddr>(), any::<u16>()), 0..20)) {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        let list: Vec<_> = list.into_iter().map(|(id, ip, port)| (NodeId(id), SocketAddr::new(ip, port))).collect();
        list.iter().for_each(|(id, addr)| nodes::push(*id, *addr, &mut four, &mut six));
        let back: Vec<_> = nodes::parse_v4(&four).chain(nodes::parse_v6(&six)).collect();
        let (v4, v6): (Vec<_>, Vec<_>) = list.into_iter().partition(|(_, addr)| addr.is_ipv4());
        prop_assert_eq!(back, [v4, v6].concat());
    }
}
