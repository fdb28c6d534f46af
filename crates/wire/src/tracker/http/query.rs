//! Requests: built by clients, read by trackers.

use super::super::{Announce, AnnounceEvent, LEFT_UNKNOWN};
use crate::percent;
use base::{InfoHash, PeerId};
use std::fmt::Write;
use std::net::IpAddr;

/// Longest query string that a tracker reads, in bytes.
pub const QUERY_BYTES_MAX: usize = 8 * 1024;
/// Most torrents in one scrape.
pub const SCRAPE_HASHES_MAX: usize = 100;

/// An announce as a tracker receives it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AnnounceRequest {
    /// What is announced.
    pub announce: Announce,
    /// Peers are wanted in 6 and 18 bytes (BEP 23): so unless the client says `compact=0`.
    pub compact: bool,
    /// Peer ids are wanted beside the addresses; there is room for them only where `compact` is false.
    pub peer_ids: bool,
    /// The address that the client says it has. To be ignored from anybody who is not inside: it would let any client
    /// aim a swarm at a victim (BEP 7).
    pub ip: Option<IpAddr>,
}

/// What is wrong with a request. Always the client's fault; the text is fit for a failure reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// A parameter that must be there is missing.
    #[error("no {0} in the request")]
    Missing(&'static str),
    /// A parameter's value is not what it must be.
    #[error("{0} in the request is not valid")]
    Invalid(&'static str),
    /// Longer than [`QUERY_BYTES_MAX`], or a scrape of more than [`SCRAPE_HASHES_MAX`] torrents.
    #[error("the request is too long")]
    TooLong,
}

/// The URL to fetch for an announce to the tracker at `tracker_url`, whose own query, if it has one, is kept.
/// `tracker_id` is what the tracker called us the last time.
pub fn announce_url(tracker_url: &str, announce: &Announce, tracker_id: Option<&[u8]>) -> String {
    let mut url = with_query(tracker_url);
    url.push_str("info_hash=");
    percent::encode(&announce.info_hash.0, &mut url);
    url.push_str("&peer_id=");
    percent::encode(&announce.peer_id.0, &mut url);
    let Announce { port, uploaded, downloaded, left, key, .. } = announce;
    const INFALLIBLE: &str = "writing to a string does not fail";
    write!(url, "&port={port}&uploaded={uploaded}&downloaded={downloaded}&left={left}&key={key:08X}")
        .expect(INFALLIBLE);
    url.push_str(match announce.event {
        AnnounceEvent::None => "",
        AnnounceEvent::Completed => "&event=completed",
        AnnounceEvent::Started => "&event=started",
        AnnounceEvent::Stopped => "&event=stopped",
        AnnounceEvent::Paused => "&event=paused",
    });
    if let Some(numwant) = announce.numwant {
        write!(url, "&numwant={numwant}").expect(INFALLIBLE);
    }
    url.push_str("&compact=1&no_peer_id=1");
    if let Some(id) = tracker_id {
        url.push_str("&trackerid=");
        percent::encode(id, &mut url);
    }
    url
}

/// The URL to fetch for a scrape. None where the tracker's URL does not allow it (BEP 48): the last part of its path
/// must begin with `announce`.
pub fn scrape_url(tracker_url: &str, hashes: &[InfoHash]) -> Option<String> {
    let path_end = tracker_url.find(['?', '#']).unwrap_or(tracker_url.len());
    let (path, rest) = tracker_url.split_at(path_end);
    let (parents, last) = path.rsplit_once('/')?;
    let tail = last.strip_prefix("announce")?;
    let mut url = with_query(&format!("{parents}/scrape{tail}{rest}"));
    for (i, hash) in hashes.iter().enumerate() {
        url.push_str(if i == 0 { "info_hash=" } else { "&info_hash=" });
        percent::encode(&hash.0, &mut url);
    }
    Some(url)
}

/// `url` without its fragment, ready for parameters to be appended.
fn with_query(url: &str) -> String {
    let url = url.split('#').next().unwrap_or_default();
    let mut out = String::with_capacity(url.len() + 320);
    out.push_str(url);
    if !url.contains('?') {
        out.push('?');
    } else if !url.ends_with(['?', '&']) {
        out.push('&');
    }
    out
}

/// Reads the query string of an announce, without the question mark. Of parameters that come twice the first counts,
/// unknown ones are ignored.
pub fn parse_announce(query: &str) -> Result<AnnounceRequest, QueryError> {
    if query.len() > QUERY_BYTES_MAX {
        return Err(QueryError::TooLong);
    }
    let value = |key: &'static str| pairs(query).find(|(k, _)| *k == key).map(|(_, v)| v);
    let required = |key| value(key).ok_or(QueryError::Missing(key));
    let id = |key| percent::decode_array::<20>(required(key)?).ok_or(QueryError::Invalid(key));
    // Some clients write negative numbers for what they don't know or have counted too far.
    let number = |key, unknown: u64| match value(key).filter(|v| !v.is_empty()) {
        Some(text) => match text.parse::<i128>() {
            Ok(n) => Ok(u64::try_from(n).unwrap_or(if n < 0 { unknown } else { u64::MAX })),
            Err(_) => Err(QueryError::Invalid(key)),
        },
        None => Ok(unknown),
    };
    let announce = Announce {
        info_hash: InfoHash(id("info_hash")?),
        peer_id: PeerId(id("peer_id")?),
        port: required("port")?.parse().map_err(|_| QueryError::Invalid("port"))?,
        uploaded: number("uploaded", 0)?,
        downloaded: number("downloaded", 0)?,
        left: number("left", LEFT_UNKNOWN)?,
        event: match value("event") {
            Some("completed") => AnnounceEvent::Completed,
            Some("started") => AnnounceEvent::Started,
            Some("stopped") => AnnounceEvent::Stopped,
            Some("paused") => AnnounceEvent::Paused,
            _ => AnnounceEvent::None,
        },
        key: value("key").map(key).unwrap_or_default(),
        numwant: value("numwant").and_then(|v| v.parse().ok()),
    };
    Ok(AnnounceRequest {
        announce,
        compact: value("compact") != Some("0"),
        peer_ids: value("no_peer_id") != Some("1"),
        ip: value("ip").and_then(text).and_then(|ip| ip.parse().ok()),
    })
}

/// Reads the query string of a scrape, without the question mark. No torrent at all means all of them, which a
/// tracker may refuse.
pub fn parse_scrape(query: &str) -> Result<Vec<InfoHash>, QueryError> {
    if query.len() > QUERY_BYTES_MAX {
        return Err(QueryError::TooLong);
    }
    let mut hashes = Vec::new();
    for (_, value) in pairs(query).filter(|(key, _)| *key == "info_hash") {
        if hashes.len() == SCRAPE_HASHES_MAX {
            return Err(QueryError::TooLong);
        }
        hashes.push(InfoHash(percent::decode_array(value).ok_or(QueryError::Invalid("info_hash"))?));
    }
    Ok(hashes)
}

fn pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

fn text(value: &str) -> Option<String> {
    String::from_utf8(percent::decode(value).collect::<Option<_>>()?).ok()
}

/// Clients write eight hex digits, or anything else that stays the same; that is folded into a number (FNV-1a).
fn key(value: &str) -> u32 {
    match u32::from_str_radix(value, 16) {
        Ok(key) => key,
        Err(_) => value.bytes().fold(0x811c_9dc5, |hash, b| (hash ^ u32::from(b)).wrapping_mul(0x0100_0193)),
    }
}
