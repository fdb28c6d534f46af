//! What others ask, and what they are told.
//!
//! A query of five a second from one address is looked at (`limiter`). An answer has at most [`AMPLIFICATION_MAX`] times the bytes
//! of its question, since its sender may have forged the address; what does not fit is left out: peers first, then filters and nodes. A
//! stored item that does not fit waits until the asker has answered a ping from that address.

use std::net::SocketAddr;

use base::{Instant, NodeId, Scope};
use wire::krpc::{Ask, Body, ErrorReply, KrpcError, Message, Query, Reply, SEND_BYTES_MAX, Want, code, nodes};

use super::{Dht, Purpose};
use crate::items::{Item, Signed, immutable_target, mutable_target};
use crate::peers::Wanted;
use crate::table::K;

/// Most bytes of an answer for each byte of its question, to an address that has proven nothing.
pub(crate) const AMPLIFICATION_MAX: usize = 8;
/// Answers that wait for a proof.
pub(crate) const HELD_MAX: usize = 64;
/// Bytes of one peer in an answer: IPv4 and IPv6.
const VALUE_LEN: (usize, usize) = (8, 21);
/// Info-hashes in an answer (BEP 51).
const SAMPLES_MAX: usize = 20;
/// Seconds after which an indexer may ask again.
const SAMPLE_INTERVAL: u32 = 600;

/// A question for an item, whose answer waits.
#[derive(Debug)]
pub(super) struct Held {
    transaction: Vec<u8>,
    target: NodeId,
    seq: Option<i64>,
    want: Want,
    /// Bytes of the question.
    len: usize,
}

impl Dht {
    pub(super) fn serve(
        &mut self,
        now: Instant,
        from: SocketAddr,
        transaction: &[u8],
        query: Query<'_>,
        read_only: bool,
        len: usize,
    ) {
        // BEP 43: nothing is answered. A ping that an answer waits for is an exception, or we would never get long items.
        let proves = matches!(query.ask, Ask::Ping) && self.queries.is_asked(from);
        if self.config.read_only && !proves {
            return;
        }
        if !self.limiter.allows(now, from) {
            self.counts.limited += 1;
            return;
        }
        if let Some(family) = self.family_mut(from).filter(|_| !read_only) {
            family.hear_of(query.id, from);
        }
        self.heard_at = Some(now);
        let max = (len * AMPLIFICATION_MAX).min(SEND_BYTES_MAX);
        let answer = match query.ask {
            Ask::Ping => self.answer(from, transaction, Answer::default(), max),
            Ask::FindNode { target } | Ask::Unknown { target: Some(target), .. } => {
                let answer = self.nodes_for(now, from, &target, query.want);
                self.answer(from, transaction, answer, max)
            }
            Ask::Unknown { target: None, .. } => {
                self.error(from, transaction, code::METHOD_UNKNOWN, "no such query here")
            }
            Ask::GetPeers { info_hash, noseed, scrape } => {
                let mut answer = self.nodes_for(now, from, &info_hash.into(), query.want);
                let (v4, scope) = (from.is_ipv4(), scope(from));
                if !self.peers.is_full(now, info_hash, v4) {
                    answer.token = Some(self.tokens.make(now, from.ip(), &info_hash.into()));
                }
                if scrape {
                    answer.blooms = self.peers.blooms(now, info_hash, v4);
                }
                let wanted = Wanted { v4, scope, noseed, max: SEND_BYTES_MAX / VALUE_LEN.0 };
                answer.values = self.peers.pick(now, &mut self.rng, info_hash, wanted);
                self.answer(from, transaction, answer, max)
            }
            Ask::SampleInfohashes { target } => {
                let mut answer = self.nodes_for(now, from, &target, query.want);
                answer.samples = Some((self.peers.sample(&mut self.rng, SAMPLES_MAX), self.peers.torrents()));
                self.answer(from, transaction, answer, max)
            }
            Ask::AnnouncePeer { info_hash, port, implied_port, seed, token } => {
                let port = if implied_port { from.port() } else { port };
                let addr = SocketAddr::new(from.ip(), port);
                let own = self.own_id(from);
                if !self.tokens.prove(now, from.ip(), &info_hash.into(), token) {
                    self.error(from, transaction, code::PROTOCOL, "the token is not one of ours, or too old")
                } else if self.peers.insert(now, &own, info_hash, addr, seed).is_err() {
                    self.error(from, transaction, code::SERVER, "no room for more peers")
                } else {
                    self.answer(from, transaction, Answer::default(), max)
                }
            }
            Ask::Get { target, seq } => {
                let held = Held { transaction: transaction.to_vec(), target, seq, want: query.want, len };
                return self.serve_item(now, from, held);
            }
            Ask::Put { token, value, mutable } => {
                let target = mutable.map_or_else(|| immutable_target(value), |m| mutable_target(&m.key, m.salt));
                let signed = |m: wire::krpc::Mutable<'_>| Signed {
                    key: m.key,
                    salt: m.salt.to_vec(),
                    seq: m.seq,
                    signature: m.signature,
                };
                let cas = mutable.and_then(|m| m.cas);
                let item = Item { value: value.to_vec(), mutable: mutable.map(signed) };
                let own = self.own_id(from);
                if !self.tokens.prove(now, from.ip(), &target, token) {
                    self.error(from, transaction, code::PROTOCOL, "the token is not one of ours, or too old")
                } else if let Err((code, what)) = self.items.put(now, &own, item, cas) {
                    self.error(from, transaction, code, what)
                } else {
                    self.answer(from, transaction, Answer::default(), max)
                }
            }
        };
        self.say(now, from, answer);
    }

    /// Answers a query that could not be read to its end.
    pub(super) fn refuse(&mut self, now: Instant, from: SocketAddr, error: &KrpcError<'_>, len: usize) {
        self.counts.malformed += 1;
        let KrpcError::Refused { transaction, code, what } = error else { return };
        if self.config.read_only {
            return;
        }
        if !self.limiter.allows(now, from) {
            self.counts.limited += 1;
            return;
        }
        let answer = self.error(from, transaction, *code, what);
        if answer.len() <= len * AMPLIFICATION_MAX {
            self.say(now, from, answer);
        }
    }

    /// Answers with an item, at once or when the asker has shown that he receives at his address.
    fn serve_item(&mut self, now: Instant, from: SocketAddr, held: Held) {
        let whole = self.item_answer(now, from, &held, SEND_BYTES_MAX);
        let fits = whole.len() <= held.len * AMPLIFICATION_MAX;
        let proven = || self.family(from).is_some_and(|f| f.table.is_proven(now, from));
        if fits || proven() {
            return self.say(now, from, whole);
        }
        let bounded = (held.len * AMPLIFICATION_MAX).min(SEND_BYTES_MAX);
        if self.held >= HELD_MAX {
            let answer = self.item_answer(now, from, &held, bounded);
            return self.say(now, from, answer);
        }
        if self.ask(now, from, None, Ask::Ping, Purpose::Prove(Box::new(held))) {
            self.held += 1;
        }
    }

    /// The asker has proven himself, or has not in time.
    pub(super) fn release(&mut self, now: Instant, from: SocketAddr, held: &Held, proven: bool) {
        self.held = self.held.saturating_sub(1);
        let max = if proven { SEND_BYTES_MAX } else { (held.len * AMPLIFICATION_MAX).min(SEND_BYTES_MAX) };
        let answer = self.item_answer(now, from, held, max);
        self.say(now, from, answer);
    }

    fn item_answer(&mut self, now: Instant, from: SocketAddr, held: &Held, max: usize) -> Vec<u8> {
        let mut answer = self.nodes_for(now, from, &held.target, held.want);
        answer.token = Some(self.tokens.make(now, from.ip(), &held.target));
        answer.item = self.items.find(now, &held.target).cloned().map(|item| {
            let newest = item.mutable.as_ref().is_some_and(|s| held.seq.is_some_and(|seq| seq >= s.seq));
            (item, newest)
        });
        self.answer(from, &held.transaction, answer, max)
    }

    fn own_id(&self, from: SocketAddr) -> NodeId {
        self.family(from).map_or(NodeId([0; 20]), |f| f.table.own())
    }

    fn nodes_for(&self, now: Instant, from: SocketAddr, target: &NodeId, want: Want) -> Answer {
        let unsaid = !want.v4 && !want.v6;
        let closest = |family: &Option<super::Family>| {
            family.as_ref().map(|f| f.table.closest_good(now, target, K, scope(from))).unwrap_or_default()
        };
        let v4 = (want.v4 || (unsaid && from.is_ipv4())).then(|| closest(&self.v4));
        let v6 = (want.v6 || (unsaid && from.is_ipv6())).then(|| closest(&self.v6));
        Answer { nodes: v4, nodes6: v6, ..Answer::default() }
    }

    /// The bytes of an answer, with as much as fits into `max`.
    fn answer(&self, from: SocketAddr, transaction: &[u8], mut answer: Answer, max: usize) -> Vec<u8> {
        let mut values = answer.values.take();
        loop {
            let bytes = self.encode(from, transaction, &answer, None);
            if bytes.len() <= max {
                let value_len = if from.is_ipv4() { VALUE_LEN.0 } else { VALUE_LEN.1 };
                let room = (max - bytes.len()).saturating_sub(b"6:valuesle".len()) / value_len;
                if let Some(values) = values.as_mut().filter(|_| room > 0) {
                    values.truncate(room);
                    return self.encode(from, transaction, &answer, Some(values));
                }
                return bytes;
            }
            if !answer.shrink() {
                return bytes;
            }
        }
    }

    fn encode(
        &self,
        from: SocketAddr,
        transaction: &[u8],
        answer: &Answer,
        values: Option<&Vec<SocketAddr>>,
    ) -> Vec<u8> {
        let (mut four, mut six) = (Vec::new(), Vec::new());
        for (id, addr) in answer.nodes.iter().chain(&answer.nodes6).flatten() {
            nodes::push(*id, *addr, &mut four, &mut six);
        }
        let mut reply = Reply::of(self.own_id(from));
        reply.nodes = answer.nodes.as_ref().map(|_| &four[..]);
        reply.nodes6 = answer.nodes6.as_ref().map(|_| &six[..]);
        reply.token = answer.token.as_ref().map(<[u8; 8]>::as_slice);
        reply.values = values.cloned();
        if let Some((seeds, peers)) = &answer.blooms {
            (reply.seeds, reply.peers) = (Some(&seeds.0), Some(&peers.0));
        }
        if let Some((samples, known)) = &answer.samples {
            reply.samples = Some(samples);
            reply.num = Some(u32::try_from(*known).unwrap_or(u32::MAX));
            reply.interval = Some(SAMPLE_INTERVAL);
        }
        if let Some((item, newest)) = &answer.item {
            reply.seq = item.mutable.as_ref().map(|s| s.seq);
            if !newest {
                reply.value = Some(&item.value);
                reply.key = item.mutable.as_ref().map(|s| s.key);
                reply.signature = item.mutable.as_ref().map(|s| s.signature);
            }
        }
        self.message(from, transaction, Body::Reply(Box::new(reply)))
    }

    fn error(&self, from: SocketAddr, transaction: &[u8], code: i64, what: &str) -> Vec<u8> {
        self.message(from, transaction, Body::Error(ErrorReply { code, message: what.into() }))
    }

    fn message(&self, from: SocketAddr, transaction: &[u8], body: Body<'_>) -> Vec<u8> {
        Message { transaction, version: self.config.version, read_only: false, ip: Some(from), body }.encode()
    }

    fn say(&mut self, now: Instant, to: SocketAddr, answer: Vec<u8>) {
        if self.limiter.spend(now, answer.len()) {
            self.counts.answered += 1;
            self.send(to, answer);
        } else {
            self.counts.limited += 1;
        }
    }
}

fn scope(from: SocketAddr) -> Scope {
    Scope::of(from.ip()).unwrap_or(Scope::Global)
}

/// What is in an answer.
#[derive(Debug, Default)]
struct Answer {
    nodes: Option<Vec<(NodeId, SocketAddr)>>,
    nodes6: Option<Vec<(NodeId, SocketAddr)>>,
    token: Option<[u8; 8]>,
    values: Option<Vec<SocketAddr>>,
    blooms: Option<(wire::krpc::Bloom, wire::krpc::Bloom)>,
    samples: Option<(Vec<[u8; 20]>, usize)>,
    /// An item, and whether the asker has this one or a newer.
    item: Option<(Item, bool)>,
}

impl Answer {
    /// Leaves something out; false if there is nothing left to be left out.
    fn shrink(&mut self) -> bool {
        if let Some((samples, _)) = self.samples.as_mut().filter(|(samples, _)| !samples.is_empty()) {
            samples.truncate(samples.len() / 2);
            return true;
        }
        // The farther nodes first, as far as half of them; then what is longer than any question; then all nodes.
        let mut lists = [self.nodes.as_mut(), self.nodes6.as_mut()];
        if let Some(list) = lists.iter_mut().flatten().find(|list| list.len() > K / 2) {
            list.truncate(K / 2);
            return true;
        }
        if self.blooms.take().is_some() || self.item.take().is_some() {
            return true;
        }
        if let Some(list) = lists.iter_mut().flatten().find(|list| !list.is_empty()) {
            list.truncate(list.len() / 2);
            return true;
        }
        false
    }
}
