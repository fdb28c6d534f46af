//! Between the machine's words and the sentences of `wire::tracker`.

use std::net::SocketAddr;
use std::time::Duration;

use base::InfoHash;
use base::bencode;

use super::announce::{Announce, Answer, Refusal};
use super::tracker::Event;
use crate::url::Url;

/// Counts of one torrent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) seeders: u32,
    pub(super) leechers: u32,
    pub(super) downloads: u32,
}

/// What a datagram says.
#[derive(Debug)]
pub(super) enum Udp {
    Connected(u64),
    Announced(Answer),
    Scraped(Vec<Counts>),
    Error(String),
}

fn escape(bytes: &[u8]) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~".contains(&b);
    bytes.iter().map(|b| if plain(*b) { char::from(*b).to_string() } else { format!("%{b:02X}") }).collect()
}

pub(super) fn http_announce(url: &Url, a: &Announce<'_>) -> String {
    let mut text = format!(
        "{}{}info_hash={}&peer_id={}&port={}&uploaded={}&downloaded={}&left={}&corrupt=0&key={:08X}&numwant={}&compact=1&no_peer_id=1&supportcrypto=1",
        url.as_str(),
        if url.query().is_some() { '&' } else { '?' },
        escape(&a.info_hash.0),
        escape(&a.peer_id.0),
        a.port,
        a.uploaded,
        a.downloaded,
        a.left,
        a.key,
        a.numwant
    );
    match a.event {
        Event::None => {}
        Event::Started => text.push_str("&event=started"),
        Event::Completed => text.push_str("&event=completed"),
        Event::Stopped => text.push_str("&event=stopped"),
        Event::Paused => text.push_str("&event=paused"),
    }
    if let Some(id) = a.tracker_id {
        text.push_str(&format!("&trackerid={}", escape(id)));
    }
    text
}

pub(super) fn http_answer(body: &[u8]) -> Result<Answer, Refusal> {
    let doc = bencode::parse(body, &bencode::Limits::MESSAGE).map_err(|e| Refusal::new(e.to_string()))?;
    let root = doc.root();
    if let Some(why) = root.find_bytes(b"failure reason") {
        return Err(Refusal {
            why: String::from_utf8_lossy(why).into_owned(),
            retry: Some(Duration::ZERO),
            by_tracker: true,
        });
    }
    let seconds = |key| root.find_u64(key).map(Duration::from_secs);
    let peers = root.find_bytes(b"peers").unwrap_or_default();
    let peers6 = root.find_bytes(b"peers6").unwrap_or_default();
    Ok(Answer {
        interval: seconds(b"interval"),
        interval_min: seconds(b"min interval"),
        peers: wire::compact::parse_v4(peers).chain(wire::compact::parse_v6(peers6)).collect(),
        ..Answer::default()
    })
}

pub(super) fn http_scrape(_url: &Url, _hashes: &[InfoHash]) -> Option<String> {
    None
}

pub(super) fn http_scraped(_body: &[u8]) -> Vec<(InfoHash, Counts)> {
    Vec::new()
}

pub(super) fn udp_connect(transaction: u32) -> Vec<u8> {
    let mut out = 0x417_2710_1980_u64.to_be_bytes().to_vec();
    out.extend(0u32.to_be_bytes());
    out.extend(transaction.to_be_bytes());
    out
}

pub(super) fn udp_announce(connection: u64, transaction: u32, a: &Announce<'_>, _path: &str) -> Vec<u8> {
    let mut out = connection.to_be_bytes().to_vec();
    out.extend(1u32.to_be_bytes());
    out.extend(transaction.to_be_bytes());
    out.extend(a.info_hash.0);
    out.extend(a.peer_id.0);
    for n in [a.downloaded, a.left, a.uploaded] {
        out.extend(n.to_be_bytes());
    }
    let event = match a.event {
        Event::None | Event::Paused => 0u32,
        Event::Completed => 1,
        Event::Started => 2,
        Event::Stopped => 3,
    };
    for n in [event, 0, a.key, a.numwant] {
        out.extend(n.to_be_bytes());
    }
    out.extend(a.port.to_be_bytes());
    out
}

pub(super) fn udp_scrape(connection: u64, transaction: u32, hashes: &[InfoHash]) -> Vec<u8> {
    let mut out = connection.to_be_bytes().to_vec();
    out.extend(2u32.to_be_bytes());
    out.extend(transaction.to_be_bytes());
    hashes.iter().for_each(|h| out.extend(h.0));
    out
}

pub(super) fn udp_parse(data: &[u8], v6: bool) -> Option<Udp> {
    let word = |at: usize| data.get(at..)?.first_chunk().map(|b| u32::from_be_bytes(*b));
    match word(0)? {
        0 => Some(Udp::Connected((u64::from(word(8)?) << 32) | u64::from(word(12)?))),
        1 => {
            let list = data.get(20..)?;
            let peers: Vec<SocketAddr> =
                if v6 { wire::compact::parse_v6(list).collect() } else { wire::compact::parse_v4(list).collect() };
            Some(Udp::Announced(Answer {
                interval: Some(Duration::from_secs(word(8)?.into())),
                leechers: word(12),
                seeders: word(16),
                peers,
                ..Answer::default()
            }))
        }
        3 => Some(Udp::Error(String::from_utf8_lossy(&data[8..]).into_owned())),
        _ => None,
    }
}
