//! What nodes of the DHT send one another.

use base::{InfoHash, NodeId};
use wire::krpc::{
    Ask, Body, DATAGRAM_BYTES_MAX, KrpcError, Message, Mutable, Query, Reply, SALT_BYTES_MAX, TRANSACTION_BYTES_MAX,
    VALUE_BYTES_MAX, VALUES_MAX, Want, nodes,
};

use super::words;

const ID: NodeId = NodeId([1; 20]);
const HASH: InfoHash = InfoHash([2; 20]);

pub(super) fn krpc_examples() -> Vec<Vec<u8>> {
    let (mut four, mut six) = (Vec::new(), Vec::new());
    for addr in ["1.2.3.4:5", "[2001:db8::1]:6"] {
        nodes::push(ID, addr.parse().expect("an address"), &mut four, &mut six);
    }
    let values = ["1.2.3.4:5", "6.7.8.9:10"].map(|a| a.parse().expect("an address"));
    let mutable = Mutable { key: [3; 32], salt: b"salt", seq: 7, signature: [4; 64], cas: Some(6) };
    let asks = [
        Ask::Ping,
        Ask::FindNode { target: ID },
        Ask::GetPeers { info_hash: HASH, noseed: true, scrape: true },
        Ask::AnnouncePeer { info_hash: HASH, port: 6881, implied_port: true, seed: true, token: b"token" },
        Ask::Get { target: ID, seq: Some(5) },
        Ask::Put { token: b"token", value: b"l1:ai7ee", mutable: None },
        Ask::Put { token: b"token", value: b"5:value", mutable: Some(mutable) },
        Ask::SampleInfohashes { target: ID },
    ];
    let bare = |body| Message { transaction: b"aa", version: Some(*b"XX01"), read_only: false, ip: None, body };
    let mut all: Vec<_> =
        asks.map(|ask| bare(Body::Query(Query { id: ID, want: Want { v4: true, v6: true }, ask })).encode()).into();
    let found = Reply {
        nodes: Some(&four),
        nodes6: Some(&six),
        values: Some(values.into()),
        token: Some(b"token"),
        ..Reply::of(ID)
    };
    let item =
        Reply { value: Some(b"5:value"), key: Some([3; 32]), signature: Some([4; 64]), seq: Some(7), ..Reply::of(ID) };
    let counted = Reply { seeds: Some(&[5; 256]), peers: Some(&[6; 256]), ..Reply::of(ID) };
    let sampled = Reply { samples: Some(&[[7; 20]]), interval: Some(60), num: Some(1), ..Reply::of(ID) };
    for reply in [found, item, counted, sampled] {
        all.push(Message { ip: Some(values[0]), ..bare(Body::Reply(Box::new(reply))) }.encode());
    }
    all.push(b"d1:eli203e9:bad tokene1:t2:aa1:v4:LT\x01\x021:y1:ee".to_vec());
    all
}

pub(super) fn krpc(input: &[u8]) -> Result<String, String> {
    let message = match Message::parse(input) {
        Ok(message) => message,
        Err(error) => {
            if let KrpcError::Refused { transaction, .. } = error {
                assert!(transaction.len() <= TRANSACTION_BYTES_MAX);
            }
            return Err(words(error));
        }
    };
    assert!(input.len() <= DATAGRAM_BYTES_MAX && message.transaction.len() <= TRANSACTION_BYTES_MAX);
    let said = match &message.body {
        Body::Query(query) => {
            if let Ask::Put { value, mutable, .. } = query.ask {
                assert!(value.len() <= VALUE_BYTES_MAX);
                assert!(mutable.is_none_or(|m| m.salt.len() <= SALT_BYTES_MAX && m.seq >= 0));
            }
            query.ask.method().escape_ascii().to_string()
        }
        Body::Reply(reply) => {
            assert!(reply.values.as_ref().is_none_or(|v| v.len() <= VALUES_MAX));
            assert!(reply.value.is_none_or(|v| v.len() <= VALUE_BYTES_MAX));
            let counted = nodes::parse_v4(reply.nodes.unwrap_or_default()).count();
            assert_eq!(counted * nodes::V4_LEN, reply.nodes.map_or(0, <[u8]>::len), "whole nodes");
            format!("{} {} {}", reply.nodes.is_some(), reply.values.is_some(), reply.value.is_some())
        }
        Body::Error(error) => {
            assert!(!error.message.contains(char::is_control), "fit to be shown");
            "error".into()
        }
    };
    let bytes = message.encode();
    // A list of several strings may become longer by being written as it should be.
    if bytes.len() <= DATAGRAM_BYTES_MAX {
        assert_eq!(Message::parse(&bytes).as_ref(), Ok(&message), "written and read again");
    }
    Ok(said)
}
