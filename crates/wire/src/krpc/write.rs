//! The writer. Keys are written in their order; a property test reads everything again and looks for quirks.

use super::bloom::BLOOM_LEN;
use super::{Ask, Body, ErrorReply, Message, Query, Reply, Want};
use crate::compact;
use std::net::SocketAddr;

impl Message<'_> {
    /// The bytes, canonical.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Writer(Vec::with_capacity(256));
        out.0.push(b'd');
        match &self.body {
            Body::Query(query) => out.dict("a", |out| arguments(query, out)),
            Body::Error(error) => out.error(error),
            Body::Reply(_) => {}
        }
        if let Some(ip) = self.ip {
            out.bytes("ip", &addr_bytes(ip));
        }
        match &self.body {
            Body::Query(query) => out.bytes("q", query.ask.method()),
            Body::Reply(reply) => out.dict("r", |out| results(reply, out)),
            Body::Error(_) => {}
        }
        out.flag("ro", self.read_only);
        out.bytes("t", self.transaction);
        out.some("v", self.version.as_ref().map(<[u8; 4]>::as_slice));
        let kind = match self.body {
            Body::Query(_) => b"q",
            Body::Reply(_) => b"r",
            Body::Error(_) => b"e",
        };
        out.bytes("y", kind);
        out.0.push(b'e');
        out.0
    }
}

impl Ask<'_> {
    /// What the query is called on the wire.
    pub fn method(&self) -> &[u8] {
        match self {
            Ask::Ping => b"ping",
            Ask::FindNode { .. } => b"find_node",
            Ask::GetPeers { .. } => b"get_peers",
            Ask::AnnouncePeer { .. } => b"announce_peer",
            Ask::Get { .. } => b"get",
            Ask::Put { .. } => b"put",
            Ask::SampleInfohashes { .. } => b"sample_infohashes",
            Ask::Unknown { method, .. } => method,
        }
    }
}

fn arguments(query: &Query<'_>, out: &mut Writer) {
    let id = &query.id.0;
    match &query.ask {
        Ask::Ping => out.bytes("id", id),
        Ask::FindNode { target } | Ask::SampleInfohashes { target } => {
            out.bytes("id", id);
            out.bytes("target", &target.0);
        }
        Ask::GetPeers { info_hash, noseed, scrape } => {
            out.bytes("id", id);
            out.bytes("info_hash", &info_hash.0);
            out.flag("noseed", *noseed);
            out.flag("scrape", *scrape);
        }
        Ask::AnnouncePeer { info_hash, port, implied_port, seed, token } => {
            out.bytes("id", id);
            out.flag("implied_port", *implied_port);
            out.bytes("info_hash", &info_hash.0);
            out.int("port", i64::from(*port));
            out.flag("seed", *seed);
            out.bytes("token", token);
        }
        Ask::Get { target, seq } => {
            out.bytes("id", id);
            out.some_int("seq", *seq);
            out.bytes("target", &target.0);
        }
        Ask::Put { token, value, mutable } => {
            out.some_int("cas", mutable.and_then(|m| m.cas));
            out.bytes("id", id);
            if let Some(m) = mutable {
                out.bytes("k", &m.key);
                out.some("salt", Some(m.salt).filter(|s| !s.is_empty()));
                out.int("seq", m.seq);
                out.bytes("sig", &m.signature);
            }
            out.bytes("token", token);
            out.raw("v", value);
        }
        Ask::Unknown { target, .. } => {
            out.bytes("id", id);
            out.some("target", target.as_ref().map(|t| t.0.as_slice()));
        }
    }
    let Want { v4, v6 } = query.want;
    if v4 || v6 {
        out.key("want");
        out.0.push(b'l');
        out.0.extend_from_slice(if v4 { b"2:n4" } else { b"" });
        out.0.extend_from_slice(if v6 { b"2:n6" } else { b"" });
        out.0.push(b'e');
    }
}

fn results(reply: &Reply<'_>, out: &mut Writer) {
    out.some("BFpe", reply.peers.map(<[u8; BLOOM_LEN]>::as_slice));
    out.some("BFsd", reply.seeds.map(<[u8; BLOOM_LEN]>::as_slice));
    out.bytes("id", &reply.id.0);
    out.some_int("interval", reply.interval.map(i64::from));
    out.some("k", reply.key.as_ref().map(<[u8; 32]>::as_slice));
    out.some("nodes", reply.nodes);
    out.some("nodes6", reply.nodes6);
    out.some_int("num", reply.num.map(i64::from));
    out.some("samples", reply.samples.map(<[[u8; 20]]>::as_flattened));
    out.some_int("seq", reply.seq);
    out.some("sig", reply.signature.as_ref().map(<[u8; 64]>::as_slice));
    out.some("token", reply.token);
    if let Some(value) = reply.value {
        out.raw("v", value);
    }
    if let Some(values) = &reply.values {
        out.key("values");
        out.0.push(b'l');
        values.iter().for_each(|addr| out.string(&addr_bytes(*addr)));
        out.0.push(b'e');
    }
}

fn addr_bytes(addr: SocketAddr) -> Vec<u8> {
    match addr {
        SocketAddr::V4(addr) => compact::v4(addr).to_vec(),
        SocketAddr::V6(addr) => compact::v6(addr).to_vec(),
    }
}

/// What the signature of a mutable item is over (BEP 44): the salt if there is one, the number, and the value as it is bencoded.
pub fn signed_bytes(salt: &[u8], seq: i64, value: &[u8]) -> Vec<u8> {
    let mut out = Writer(Vec::with_capacity(salt.len() + value.len() + 40));
    out.some("salt", Some(salt).filter(|s| !s.is_empty()));
    out.int("seq", seq);
    out.raw("v", value);
    out.0
}

struct Writer(Vec<u8>);

impl Writer {
    fn string(&mut self, bytes: &[u8]) {
        self.0.extend(bytes.len().to_string().bytes());
        self.0.push(b':');
        self.0.extend_from_slice(bytes);
    }

    fn key(&mut self, key: &str) {
        self.string(key.as_bytes());
    }

    fn bytes(&mut self, key: &str, bytes: &[u8]) {
        self.key(key);
        self.string(bytes);
    }

    fn some(&mut self, key: &str, bytes: Option<&[u8]>) {
        if let Some(bytes) = bytes {
            self.bytes(key, bytes);
        }
    }

    fn int(&mut self, key: &str, n: i64) {
        self.key(key);
        self.0.extend(format!("i{n}e").bytes());
    }

    fn some_int(&mut self, key: &str, n: Option<i64>) {
        if let Some(n) = n {
            self.int(key, n);
        }
    }

    /// Flags that are not set are not written.
    fn flag(&mut self, key: &str, set: bool) {
        if set {
            self.int(key, 1);
        }
    }

    /// What is bencoded already.
    fn raw(&mut self, key: &str, value: &[u8]) {
        self.key(key);
        self.0.extend_from_slice(value);
    }

    fn dict(&mut self, key: &str, content: impl FnOnce(&mut Writer)) {
        self.key(key);
        self.0.push(b'd');
        content(self);
        self.0.push(b'e');
    }

    fn error(&mut self, error: &ErrorReply) {
        self.key("e");
        self.0.extend(format!("li{}e", error.code).bytes());
        self.string(error.message.as_bytes());
        self.0.push(b'e');
    }
}
