//! The reader.

use super::{
    Ask, Body, DATAGRAM_BYTES_MAX, DEPTH_MAX, ERROR_CHARS_MAX, ErrorReply, KrpcError, METHOD_BYTES_MAX, Message,
    Mutable, Query, Reply, SALT_BYTES_MAX, TOKEN_BYTES_MAX, TOKENS_MAX, TRANSACTION_BYTES_MAX, VALUE_BYTES_MAX,
    VALUES_MAX, Want, code, nodes,
};
use crate::{compact, text};
use base::bencode::{self, Kind, Limits, Quirk, Value};
use base::{InfoHash, NodeId};
use std::net::SocketAddr;

const LIMITS: Limits = Limits { input: DATAGRAM_BYTES_MAX, depth: DEPTH_MAX, tokens: TOKENS_MAX };

impl<'a> Message<'a> {
    /// Reads a datagram.
    pub fn parse(datagram: &'a [u8]) -> Result<Self, KrpcError<'a>> {
        let doc = bencode::parse(datagram, &LIMITS)?;
        let at = At { datagram, root: doc.root() };
        let transaction = at.bytes(at.root.find(b"t")).ok_or(KrpcError::Other("no transaction id"))?;
        if transaction.len() > TRANSACTION_BYTES_MAX {
            return Err(KrpcError::Other("a transaction id that is too long"));
        }
        let body = match at.root.find_bytes(b"y") {
            Some(b"q") => {
                let canonical = doc.quirks().iter().all(|(quirk, _)| *quirk == Quirk::TrailingBytes);
                let refused = |(code, what)| KrpcError::Refused { transaction, code, what };
                Body::Query(at.query(canonical).map_err(refused)?)
            }
            Some(b"r") => Body::Reply(Box::new(at.reply().ok_or(KrpcError::Other("a reply without id"))?)),
            Some(b"e") => Body::Error(at.error()),
            _ => return Err(KrpcError::Other("neither query nor reply nor error")),
        };
        let version = at.root.find_bytes(b"v").and_then(|v| v.first_chunk::<4>().copied());
        let read_only = at.root.find_int(b"ro") == Some(1);
        let ip = at.root.find_bytes(b"ip").and_then(parse_addr);
        Ok(Message { transaction, version, read_only, ip, body })
    }
}

/// Why a query is refused.
type Refusal = (i64, &'static str);

/// A datagram, and the outermost dictionary in it.
struct At<'a, 'd> {
    datagram: &'a [u8],
    root: Value<'d>,
}

impl<'a> At<'a, '_> {
    /// The content of a string, for as long as the datagram lives.
    fn bytes(&self, value: Option<Value<'_>>) -> Option<&'a [u8]> {
        self.datagram.get(value?.bytes_span()?)
    }

    fn raw(&self, value: Value<'_>) -> Option<&'a [u8]> {
        self.datagram.get(value.span())
    }

    fn query(&self, canonical: bool) -> Result<Query<'a>, Refusal> {
        let method = self.bytes(self.root.find(b"q")).ok_or((code::PROTOCOL, "no name of a query"))?;
        let args = self.root.find_dict(b"a").ok_or((code::PROTOCOL, "no arguments"))?;
        let point = |key: &[u8], what| args.find(key).and_then(|v| v.as_array::<20>()).ok_or((code::PROTOCOL, what));
        let id = NodeId(point(b"id", "an id of 20 bytes is missing")?);
        let target = || point(b"target", "a target of 20 bytes is missing").map(NodeId);
        let info_hash = || point(b"info_hash", "an info_hash of 20 bytes is missing").map(InfoHash);
        let flag = |key: &[u8]| args.find_int(key) == Some(1);
        let ask = match method {
            b"ping" => Ask::Ping,
            b"find_node" => Ask::FindNode { target: target()? },
            b"get_peers" => Ask::GetPeers { info_hash: info_hash()?, noseed: flag(b"noseed"), scrape: flag(b"scrape") },
            b"announce_peer" => {
                let implied_port = args.find_int(b"implied_port").is_some_and(|n| n != 0);
                let port = args.find_int(b"port").and_then(|n| u16::try_from(n).ok()).unwrap_or(0);
                if port == 0 && !implied_port {
                    return Err((code::PROTOCOL, "a port from 1 to 65535 is missing"));
                }
                let (info_hash, token) = (info_hash()?, self.token(args)?);
                Ask::AnnouncePeer { info_hash, port, implied_port, seed: flag(b"seed"), token }
            }
            b"get" => Ask::Get { target: target()?, seq: args.find_int(b"seq") },
            b"put" => self.put(args, canonical)?,
            b"sample_infohashes" => Ask::SampleInfohashes { target: target()? },
            _ => {
                let target = target().or_else(|_| info_hash().map(NodeId::from)).ok();
                Ask::Unknown { method: &method[..method.len().min(METHOD_BYTES_MAX)], target }
            }
        };
        Ok(Query { id, want: want(args), ask })
    }

    fn token(&self, args: Value<'_>) -> Result<&'a [u8], Refusal> {
        let token = self.bytes(args.find(b"token")).filter(|t| t.len() <= TOKEN_BYTES_MAX);
        token.ok_or((code::PROTOCOL, "no token, or not one of ours"))
    }

    fn put(&self, args: Value<'_>, canonical: bool) -> Result<Ask<'a>, Refusal> {
        // Others would read a value otherwise than its signer wrote it.
        if !canonical {
            return Err((code::PROTOCOL, "a put that is not canonical bencode"));
        }
        let token = self.token(args)?;
        let value = args.find(b"v").and_then(|v| self.raw(v)).ok_or((code::PROTOCOL, "no v to store"))?;
        if value.len() > VALUE_BYTES_MAX {
            return Err((code::VALUE_TOO_BIG, "v is longer than 1000 bytes"));
        }
        let salt = self.bytes(args.find(b"salt")).unwrap_or_default();
        if salt.len() > SALT_BYTES_MAX {
            return Err((code::SALT_TOO_BIG, "salt is longer than 64 bytes"));
        }
        let mutable = if args.find(b"k").is_none() && args.find(b"sig").is_none() {
            None
        } else {
            let bad = |what| (code::PROTOCOL, what);
            let key = args.find(b"k").and_then(|v| v.as_array()).ok_or(bad("a k of 32 bytes is missing"))?;
            let signature = args.find(b"sig").and_then(|v| v.as_array()).ok_or(bad("a sig of 64 bytes is missing"))?;
            let seq = args.find_int(b"seq").filter(|n| *n >= 0).ok_or(bad("a seq from 0 to 2^63 - 1 is missing"))?;
            Some(Mutable { key, salt, seq, signature, cas: args.find_int(b"cas") })
        };
        Ok(Ask::Put { token, value, mutable })
    }

    fn reply(&self) -> Option<Reply<'a>> {
        let r = self.root.find_dict(b"r")?;
        let list = |key: &[u8], len: usize| self.bytes(r.find(key)).map(|list| &list[..list.len() / len * len]);
        let count = |key: &[u8]| r.find_u64(key).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
        Some(Reply {
            id: NodeId(r.find(b"id")?.as_array()?),
            nodes: list(b"nodes", nodes::V4_LEN),
            nodes6: list(b"nodes6", nodes::V6_LEN),
            values: r.find_list(b"values").map(values),
            token: self.bytes(r.find(b"token")).filter(|t| t.len() <= TOKEN_BYTES_MAX),
            seeds: self.bytes(r.find(b"BFsd")).and_then(|b| b.try_into().ok()),
            peers: self.bytes(r.find(b"BFpe")).and_then(|b| b.try_into().ok()),
            value: r.find(b"v").and_then(|v| self.raw(v)).filter(|v| v.len() <= VALUE_BYTES_MAX),
            key: r.find(b"k").and_then(|v| v.as_array()),
            signature: r.find(b"sig").and_then(|v| v.as_array()),
            seq: r.find_int(b"seq").filter(|n| *n >= 0),
            samples: self.bytes(r.find(b"samples")).map(|list| list.as_chunks().0),
            interval: count(b"interval"),
            num: count(b"num"),
        })
    }

    /// Most send a number and a text; some only one of them, or a bare string.
    fn error(&self) -> ErrorReply {
        let (mut code, mut message) = (code::GENERIC, &b""[..]);
        let mut take = |value: Value<'_>| match value.kind() {
            Kind::Int => code = value.as_int().unwrap_or(code),
            Kind::Bytes => message = self.bytes(Some(value)).unwrap_or(message),
            _ => {}
        };
        match self.root.find(b"e") {
            Some(list) if list.kind() == Kind::List => list.items().into_iter().flatten().take(2).for_each(&mut take),
            Some(value) => take(value),
            None => {}
        }
        ErrorReply { code, message: text::printable(message, ERROR_CHARS_MAX) }
    }
}

fn want(args: Value<'_>) -> Want {
    let mut want = Want::default();
    for family in args.find_list(b"want").and_then(|list| list.items()).into_iter().flatten() {
        want.v4 |= family.as_bytes() == Some(b"n4");
        want.v6 |= family.as_bytes() == Some(b"n6");
    }
    want
}

/// Peers: a string each. Old clients put several IPv4 addresses into one string.
fn values(list: Value<'_>) -> Vec<SocketAddr> {
    let mut out = Vec::new();
    for value in list.items().into_iter().flatten() {
        let bytes = value.as_bytes().unwrap_or_default();
        let room = VALUES_MAX - out.len();
        match bytes.len() {
            compact::V6_LEN => out.extend(compact::parse_v6(bytes).take(room)),
            len if len % compact::V4_LEN == 0 => out.extend(compact::parse_v4(bytes).take(room)),
            _ => {}
        }
    }
    out
}

/// An address in 6 or 18 bytes, or without its port in 4 or 16.
fn parse_addr(bytes: &[u8]) -> Option<SocketAddr> {
    match bytes.len() {
        compact::V4_LEN => compact::parse_v4(bytes).next(),
        compact::V6_LEN => compact::parse_v6(bytes).next(),
        _ => compact::parse_ip(bytes).map(|ip| SocketAddr::new(ip, 0)),
    }
}
