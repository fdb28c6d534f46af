//! Replies: written by trackers, read by clients.
//!
//! The writers put the keys down in order by themselves instead of building a tree: a tracker answers with them
//! thousands of times a second.

use super::super::{Counts, MESSAGE_CHARS_MAX, PEERS_MAX};
use crate::{compact, text};
use base::bencode::{self, Kind, Value};
use base::{InfoHash, PeerId};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Most bytes of a reply that are read, counted after decompression: whoever fetches stops there.
pub const RESPONSE_BYTES_MAX: usize = 1 << 20;
/// Most bytes of a tracker id, which is sent back in every announce.
const TRACKER_ID_BYTES_MAX: usize = 256;
/// Most torrents in the reply to a scrape.
const SCRAPED_MAX: usize = 1_000;
const LIMITS: bencode::Limits = bencode::Limits { input: RESPONSE_BYTES_MAX, depth: 10, tokens: 50_000 };

/// A reply that is what was asked for, or a refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply<T> {
    /// What was asked for.
    Answer(T),
    /// The tracker refuses.
    Failure(Failure),
}

/// A refusal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why, fit to be shown.
    pub reason: String,
    /// When to come back (BEP 31), if the tracker says so.
    pub retry: Option<Retry>,
}

/// When to come back to a tracker that refuses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Retry {
    /// Not before this time has passed; whole minutes on the wire.
    After(Duration),
    /// Never.
    Never,
}

/// What a tracker says to an announce. Every field but the peers may be missing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AnnounceReply {
    /// Time to the next announce.
    pub interval: Option<Duration>,
    /// Shortest time to the next announce.
    pub interval_min: Option<Duration>,
    /// Peers that have everything.
    pub seeders: Option<u32>,
    /// Peers that don't.
    pub leechers: Option<u32>,
    /// Downloads that were completed, ever.
    pub downloads: Option<u32>,
    /// What to call ourselves from now on.
    pub tracker_id: Option<Vec<u8>>,
    /// The address from which the tracker sees us (BEP 24).
    pub external_ip: Option<IpAddr>,
    /// Something that the user should read, fit to be shown.
    pub warning: Option<String>,
    /// Peers. Those named by host are left out: looking up names that strangers choose would let them aim us anywhere.
    pub peers: Vec<Peer>,
}

/// A peer in a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it listens.
    pub addr: SocketAddr,
    /// Its id, in lists that are not compact.
    pub peer_id: Option<PeerId>,
}

/// What a tracker says to a scrape, in the order of its reply.
pub type ScrapeReply = Vec<(InfoHash, Counts)>;

/// Why a reply can't be used. The tracker's fault, or that of something that only pretends to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplyError {
    /// It is not bencode: often a page for people.
    #[error(transparent)]
    Bencode(#[from] bencode::Error),
    /// It is bencode, but no reply of a tracker.
    #[error("the reply has no {0:?}")]
    Missing(&'static str),
}

/// Reads the body of the reply to an announce. Any dictionary will do: to a good-bye some trackers say nothing at all.
pub fn parse_announce_reply(body: &[u8]) -> Result<Reply<AnnounceReply>, ReplyError> {
    let doc = bencode::parse(body, &LIMITS)?;
    let root = doc.root();
    if let Some(failure) = failure(root)? {
        return Ok(Reply::Failure(failure));
    }
    let number = |key: &[u8]| root.find_u64(key).map(|n| u32::try_from(n).unwrap_or(u32::MAX));
    let seconds = |key: &[u8]| number(key).map(|n| Duration::from_secs(n.into()));
    Ok(Reply::Answer(AnnounceReply {
        interval: seconds(b"interval"),
        interval_min: seconds(b"min interval"),
        seeders: number(b"complete"),
        leechers: number(b"incomplete"),
        downloads: number(b"downloaded"),
        tracker_id: root.find_bytes(b"tracker id").filter(|id| id.len() <= TRACKER_ID_BYTES_MAX).map(<[u8]>::to_vec),
        external_ip: root.find_bytes(b"external ip").and_then(compact::parse_ip),
        warning: root.find_bytes(b"warning message").map(|w| text::printable(w, MESSAGE_CHARS_MAX)),
        peers: peers(root),
    }))
}

/// Reads the body of the reply to a scrape.
pub fn parse_scrape_reply(body: &[u8]) -> Result<Reply<ScrapeReply>, ReplyError> {
    let doc = bencode::parse(body, &LIMITS)?;
    let root = doc.root();
    if let Some(failure) = failure(root)? {
        return Ok(Reply::Failure(failure));
    }
    let files = root.find(b"files").and_then(|files| files.entries()).ok_or(ReplyError::Missing("files"))?;
    let counts = |file: Value<'_>| {
        let number = |key: &[u8]| file.find_u64(key).map_or(0, |n| u32::try_from(n).unwrap_or(u32::MAX));
        Counts { seeders: number(b"complete"), leechers: number(b"incomplete"), downloads: number(b"downloaded") }
    };
    let entry = |(hash, file): (&[u8], _)| Some((InfoHash(hash.try_into().ok()?), counts(file)));
    Ok(Reply::Answer(files.filter_map(entry).take(SCRAPED_MAX).collect()))
}

/// The refusal in a reply, if it is one.
fn failure(root: Value<'_>) -> Result<Option<Failure>, ReplyError> {
    if root.kind() != Kind::Dict {
        return Err(ReplyError::Missing("dictionary"));
    }
    let minutes = |n: u64| Retry::After(Duration::from_secs(n.min(u32::MAX.into()) * 60));
    Ok(root.find_bytes(b"failure reason").map(|reason| Failure {
        reason: text::printable(reason, MESSAGE_CHARS_MAX),
        retry: root.find(b"retry in").and_then(|retry| match retry.as_str() {
            Some("never") => Some(Retry::Never),
            Some(number) => number.parse().ok().map(minutes),
            None => retry.as_u64().map(minutes),
        }),
    }))
}

fn peers(root: Value<'_>) -> Vec<Peer> {
    let plain = |addr| Peer { addr, peer_id: None };
    let mut out = Vec::new();
    if let Some(list) = root.find(b"peers") {
        match list.items() {
            Some(items) => out.extend(items.filter_map(peer).take(PEERS_MAX)),
            None => out.extend(compact::parse_v4(list.as_bytes().unwrap_or_default()).take(PEERS_MAX).map(plain)),
        }
    }
    let list6 = root.find_bytes(b"peers6").unwrap_or_default();
    out.extend(compact::parse_v6(list6).take(PEERS_MAX).map(plain));
    out
}

/// A peer in a list that is not compact; None for one that has no address.
fn peer(entry: Value<'_>) -> Option<Peer> {
    let ip: IpAddr = entry.find_str(b"ip")?.parse().ok()?;
    let port = u16::try_from(entry.find_u64(b"port")?).ok()?;
    let peer_id = entry.find(b"peer id").and_then(|id| id.as_array()).map(PeerId);
    Some(Peer { addr: SocketAddr::new(ip, port), peer_id })
}

/// Peers for a reply, as the client wants them.
#[derive(Clone, Copy, Debug)]
pub enum PeerList<'a> {
    /// Concatenated 6 and 18 bytes each: [`compact::push`].
    Compact {
        /// IPv4.
        v4: &'a [u8],
        /// IPv6.
        v6: &'a [u8],
    },
    /// Dictionaries, with those ids that are given.
    Dictionaries(&'a [Peer]),
}

/// Appends the body of the reply to an announce. The list of peers is `peers`; [`AnnounceReply::peers`] is not looked at.
pub fn write_announce_reply(reply: &AnnounceReply, peers: PeerList<'_>, out: &mut Vec<u8>) {
    let seconds = |time: Option<Duration>| time.map(|t| t.as_secs());
    out.push(b'd');
    number(b"complete", reply.seeders.map(u64::from), out);
    number(b"downloaded", reply.downloads.map(u64::from), out);
    if let Some(ip) = reply.external_ip {
        bytes(b"external ip", out);
        bytes(&compact::ip(ip), out);
    }
    number(b"incomplete", reply.leechers.map(u64::from), out);
    number(b"interval", seconds(reply.interval), out);
    number(b"min interval", seconds(reply.interval_min), out);
    bytes(b"peers", out);
    match peers {
        PeerList::Compact { v4, v6 } => {
            bytes(v4, out);
            if !v6.is_empty() {
                bytes(b"peers6", out);
                bytes(v6, out);
            }
        }
        PeerList::Dictionaries(list) => {
            out.push(b'l');
            list.iter().for_each(|peer| write_peer(peer, out));
            out.push(b'e');
        }
    }
    if let Some(id) = &reply.tracker_id {
        bytes(b"tracker id", out);
        bytes(id, out);
    }
    if let Some(warning) = &reply.warning {
        bytes(b"warning message", out);
        bytes(warning.as_bytes(), out);
    }
    out.push(b'e');
}

fn write_peer(peer: &Peer, out: &mut Vec<u8>) {
    out.push(b'd');
    bytes(b"ip", out);
    bytes(peer.addr.ip().to_string().as_bytes(), out);
    if let Some(id) = peer.peer_id {
        bytes(b"peer id", out);
        bytes(&id.0, out);
    }
    number(b"port", Some(peer.addr.port().into()), out);
    out.push(b'e');
}

/// Appends the body of the reply to a scrape. Sorts `entries`, since their hashes are keys; of those that come twice
/// the first counts.
pub fn write_scrape_reply(entries: &mut Vec<(InfoHash, Counts)>, out: &mut Vec<u8>) {
    entries.sort_by_key(|(hash, _)| *hash);
    entries.dedup_by_key(|(hash, _)| *hash);
    out.push(b'd');
    bytes(b"files", out);
    out.push(b'd');
    for (hash, counts) in entries {
        bytes(&hash.0, out);
        out.push(b'd');
        number(b"complete", Some(counts.seeders.into()), out);
        number(b"downloaded", Some(counts.downloads.into()), out);
        number(b"incomplete", Some(counts.leechers.into()), out);
        out.push(b'e');
    }
    out.extend(b"ee");
}

/// Appends the body of a refusal, for announces and scrapes alike.
pub fn write_failure(failure: &Failure, out: &mut Vec<u8>) {
    out.push(b'd');
    bytes(b"failure reason", out);
    bytes(failure.reason.as_bytes(), out);
    match failure.retry {
        Some(Retry::After(time)) => number(b"retry in", Some(time.as_secs().div_ceil(60)), out),
        Some(Retry::Never) => {
            bytes(b"retry in", out);
            bytes(b"never", out);
        }
        None => {}
    }
    out.push(b'e');
}

fn bytes(content: &[u8], out: &mut Vec<u8>) {
    digits(content.len() as u64, out);
    out.push(b':');
    out.extend_from_slice(content);
}

fn number(key: &[u8], value: Option<u64>, out: &mut Vec<u8>) {
    if let Some(value) = value {
        bytes(key, out);
        out.push(b'i');
        digits(value, out);
        out.push(b'e');
    }
}

/// Decimal digits without the machinery of formatting.
fn digits(mut value: u64, out: &mut Vec<u8>) {
    let mut text = [0; 20];
    let mut at = text.len();
    loop {
        at -= 1;
        text[at] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    out.extend_from_slice(&text[at..]);
}
