//! Magnet links: a torrent by its hash alone (BEP 9, selection of BEP 53, v2 hashes of BEP 52).
//!
//! Read as leniently as clients do (`&amp;`, numbered keys such as `tr.1`, hexadecimal or base32); written in one form.
//! Nothing is resolved or contacted here. Names are freed of control characters, but they are no paths: the metainfo
//! decides those.

use crate::{Hex, InfoHash, InfoHashes, percent};
use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

/// What a magnet link says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Magnet {
    /// The hashes that name the torrent: at least one.
    pub hashes: InfoHashes,
    /// The name to show until the metadata is there (`dn`).
    pub name: Option<String>,
    /// Bytes of content (`xl`).
    pub length: Option<u64>,
    /// Tracker URLs (`tr`), each a tier of its own.
    pub trackers: Vec<String>,
    /// Web seed URLs (`ws`).
    pub web_seeds: Vec<String>,
    /// Peers, as `host:port` (`x.pe`).
    pub peers: Vec<String>,
    /// Indices of the files to fetch (`so`); empty means all.
    pub select: Vec<RangeInclusive<u32>>,
}

/// Why a text is no usable magnet link.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MagnetError {
    /// It does not begin with `magnet:?`.
    #[error("not a magnet link: it must begin with magnet:?")]
    Scheme,
    /// Longer than [`Magnet::BYTES_MAX`].
    #[error("magnet link of {0} bytes; the limit is 65,536")]
    Long(usize),
    /// It has no `xt` that names a torrent.
    #[error("magnet link without a torrent's hash (xt=urn:btih:... or xt=urn:btmh:...)")]
    NoHash,
    /// A hash has the wrong length or wrong digits.
    #[error(
        "magnet link with a broken hash {0:?}: 40 hexadecimal or 32 base32 digits follow btih, 1220 and 64 follow btmh"
    )]
    BadHash(String),
}

impl Magnet {
    /// Longest magnet link read.
    pub const BYTES_MAX: usize = 1 << 16;
    /// Most trackers, web seeds, peers and ranges of files taken from one link, each; more are left out.
    pub const ENTRIES_MAX: usize = 200;

    /// A magnet link with nothing but these hashes.
    pub fn new(hashes: InfoHashes) -> Self {
        Magnet { hashes, ..Magnet::default() }
    }

    /// True if the file with this index is to be fetched.
    pub fn selects(&self, file: u32) -> bool {
        self.select.is_empty() || self.select.iter().any(|range| range.contains(&file))
    }

    fn topic(&mut self, value: &str) -> Result<(), MagnetError> {
        let bad = || MagnetError::BadHash(value.chars().take(100).collect());
        if let Some(hash) = strip(value, "urn:btih:") {
            let hash = hex(hash).or_else(|| base32(hash)).ok_or_else(bad)?;
            self.hashes.v1.get_or_insert(InfoHash(hash));
        } else if let Some(hash) = strip(value, "urn:btmh:") {
            // A multihash: 0x12 is SHA-256, 0x20 its length.
            let hash = hash.strip_prefix("1220").and_then(hex).ok_or_else(bad)?;
            self.hashes.v2.get_or_insert(hash);
        }
        Ok(())
    }
}

impl FromStr for Magnet {
    type Err = MagnetError;

    fn from_str(text: &str) -> Result<Self, MagnetError> {
        let text = text.trim();
        if text.len() > Magnet::BYTES_MAX {
            return Err(MagnetError::Long(text.len()));
        }
        let query = strip(text, "magnet:?").ok_or(MagnetError::Scheme)?;
        let (mut magnet, mut bad) = (Magnet::default(), None);
        for pair in query.split('&') {
            let (key, raw) = pair.split_once('=').unwrap_or((pair, ""));
            // Links copied out of HTML; and numbered keys, as in "tr.1".
            let key = key.strip_prefix("amp;").unwrap_or(key).to_ascii_lowercase();
            let key = key.strip_suffix(|c: char| c.is_ascii_digit()).map_or(&*key, numbered);
            let Ok(value) = String::from_utf8(percent::decode(raw.as_bytes())) else { continue };
            match key {
                "xt" => bad = magnet.topic(&value).err().or(bad),
                // Only names are written by form encoders that turn a blank into a plus.
                "dn" => magnet.name = clean_name(&percent::decode(raw.replace('+', " ").as_bytes())),
                "xl" => magnet.length = value.parse().ok(),
                "tr" => push(&mut magnet.trackers, value, is_url),
                "ws" | "as" => push(&mut magnet.web_seeds, value, is_url),
                "x.pe" => push(&mut magnet.peers, value, is_host_port),
                "so" => magnet.select = ranges(&value),
                _ => {}
            }
        }
        match (magnet.hashes.is_empty(), bad) {
            (true, Some(bad)) => Err(bad),
            (true, None) => Err(MagnetError::NoHash),
            _ => Ok(magnet),
        }
    }
}

impl fmt::Display for Magnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut before = "magnet:?";
        let mut pair = |f: &mut fmt::Formatter<'_>, key: &str, value: &dyn fmt::Display| {
            let result = write!(f, "{before}{key}={value}");
            before = "&";
            result
        };
        if let Some(hash) = &self.hashes.v1 {
            pair(f, "xt", &format_args!("urn:btih:{hash}"))?;
        }
        if let Some(hash) = &self.hashes.v2 {
            pair(f, "xt", &format_args!("urn:btmh:1220{}", Hex(hash)))?;
        }
        if let Some(name) = &self.name {
            pair(f, "dn", &percent::encode(name.as_bytes(), b""))?;
        }
        if let Some(length) = self.length {
            pair(f, "xl", &length)?;
        }
        for (key, values) in [("tr", &self.trackers), ("ws", &self.web_seeds), ("x.pe", &self.peers)] {
            for value in values {
                pair(f, key, &percent::encode(value.as_bytes(), b":[]"))?;
            }
        }
        if !self.select.is_empty() {
            let range = |r: &RangeInclusive<u32>| match (r.start(), r.end()) {
                (a, b) if a == b => a.to_string(),
                (a, b) => format!("{a}-{b}"),
            };
            pair(f, "so", &self.select.iter().map(range).collect::<Vec<_>>().join(","))?;
        }
        Ok(())
    }
}

/// `tr.12` without its number; what ends in digits for another reason stays.
fn numbered(key: &str) -> &str {
    let stem = key.trim_end_matches(|c: char| c.is_ascii_digit());
    stem.strip_suffix('.').unwrap_or(key)
}

/// The rest behind a prefix of any case.
fn strip<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (head, tail) = text.split_at_checked(prefix.len())?;
    head.eq_ignore_ascii_case(prefix).then_some(tail)
}

fn push(list: &mut Vec<String>, value: String, good: fn(&str) -> bool) {
    if list.len() < Magnet::ENTRIES_MAX && good(&value) && !list.contains(&value) {
        list.push(value);
    }
}

/// A scheme and something behind it, without blanks and control characters. Who contacts it checks the rest.
fn is_url(value: &str) -> bool {
    let tidy = !value.chars().any(|c| c.is_control() || c.is_whitespace());
    tidy && value.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty())
}

fn is_host_port(value: &str) -> bool {
    let tidy = !value.chars().any(|c| c.is_control() || c.is_whitespace() || c == '/');
    tidy && value.rsplit_once(':').is_some_and(|(h, port)| !h.is_empty() && port.parse::<u16>().is_ok_and(|p| p > 0))
}

fn clean_name(bytes: &[u8]) -> Option<String> {
    let name: String = String::from_utf8_lossy(bytes).chars().filter(|c| !c.is_control()).collect();
    let name = name.trim();
    (!name.is_empty()).then(|| name.to_owned())
}

fn hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|d| d[0] << 4 | d[1]).collect();
    if digits.len() == 2 * N { bytes.try_into().ok() } else { None }
}

/// 32 base32 digits (RFC 4648) are the 20 bytes of a v1 hash.
fn base32(text: &str) -> Option<[u8; 20]> {
    if text.len() != 32 {
        return None;
    }
    let mut out = Vec::with_capacity(20);
    for group in text.as_bytes().chunks_exact(8) {
        let bits = group.iter().try_fold(0u64, |bits, c| match c.to_ascii_uppercase() {
            c @ b'A'..=b'Z' => Some(bits << 5 | u64::from(c - b'A')),
            c @ b'2'..=b'7' => Some(bits << 5 | u64::from(c - b'2' + 26)),
            _ => None,
        })?;
        out.extend_from_slice(&bits.to_be_bytes()[3..]);
    }
    out.try_into().ok()
}

/// `0,2,4-7`; what is not understood is left out.
fn ranges(text: &str) -> Vec<RangeInclusive<u32>> {
    let range = |part: &str| {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let (from, to): (u32, u32) = (from.parse().ok()?, to.parse().ok()?);
        (from <= to).then_some(from..=to)
    };
    text.split(',').filter_map(range).take(Magnet::ENTRIES_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEX: &str = "0123456789abcdef0123456789abcdef01234567";

    fn parse(text: &str) -> Magnet {
        text.parse().unwrap()
    }

    #[test]
    fn both_notations_of_a_hash() {
        let hex = parse(&format!("magnet:?xt=urn:btih:{HEX}"));
        assert_eq!(hex.hashes.v1.map(|h| h.to_string()).as_deref(), Some(HEX));
        assert_eq!(parse("MAGNET:?xt=URN:BTIH:AERUKZ4JVPG66AJDIVTYTK6N54ASGRLH"), hex);
        assert_eq!(parse("magnet:?xt=urn%3Abtih%3Aaerukz4jvpg66ajdivtytk6n54asgrlh"), hex);
        let v2 = parse(&format!("magnet:?xt=urn:btmh:1220{HEX}{}", &HEX[..24]));
        assert_eq!((v2.hashes.v1, v2.hashes.on_wire().count()), (None, 1));
    }

    #[test]
    fn everything_that_a_link_can_say() {
        let text = format!(
            "magnet:?xt=urn:btih:{HEX}&dn=a+b%2Bc%00%1b&amp;tr=http%3A%2F%2Ft%2Fa%3Fx%3D1%2526&tr.1=udp://u:1&tr=udp://u:1\
             &ws=http://w/f+g&xl=77&x.pe=[::1]:6881&x.pe=host:0&x.pe=10.0.0.1:5&so=0,2,9-7,4-6,x&unknown=1&&="
        );
        let m = parse(&text);
        assert_eq!(m.name.as_deref(), Some("a b+c"));
        assert_eq!(m.trackers, ["http://t/a?x=1%26", "udp://u:1"]);
        assert_eq!(m.web_seeds, ["http://w/f+g"]);
        assert_eq!(m.length, Some(77));
        assert_eq!(m.peers, ["[::1]:6881", "10.0.0.1:5"]);
        assert_eq!(m.select, [0..=0, 2..=2, 4..=6]);
        assert!(m.selects(5) && !m.selects(1));
        assert_eq!(parse(&m.to_string()), m);
    }

    #[test]
    fn what_is_refused() {
        let err = |text: &str| text.parse::<Magnet>().unwrap_err();
        assert_eq!(err("http://x"), MagnetError::Scheme);
        assert_eq!(err(""), MagnetError::Scheme);
        assert_eq!(err("magnet:?dn=x"), MagnetError::NoHash);
        assert_eq!(err("magnet:?xt=urn:sha1:abc"), MagnetError::NoHash);
        assert!(matches!(err("magnet:?xt=urn:btih:abc"), MagnetError::BadHash(_)));
        assert!(matches!(err(&format!("magnet:?xt=urn:btmh:1114{HEX}")), MagnetError::BadHash(_)));
        assert!(matches!(err(&"magnet:?".repeat(10_000)), MagnetError::Long(_)));
        let many = (0..1000).map(|i| format!("&tr=udp://t:{i}")).collect::<String>();
        assert_eq!(parse(&format!("magnet:?xt=urn:btih:{HEX}{many}")).trackers.len(), Magnet::ENTRIES_MAX);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            v1 in proptest::option::of(any::<[u8; 20]>()), v2: [u8; 32], name in proptest::option::of("[a-z +%&=/\u{e9}]{0,8}z"),
            length in proptest::option::of(any::<u64>()), tracker in "[a-z]{3}://[a-z+%&=/#?]{1,20}", a in 0u32..9, b in 0u32..9,
        ) {
            let name = name.map(|n| n.trim().to_owned());
            let hashes = InfoHashes { v1: v1.map(InfoHash), v2: Some(v2) };
            let m = Magnet { name, length, trackers: vec![tracker], select: vec![a..=a + b], ..Magnet::new(hashes) };
            prop_assert_eq!(m.to_string().parse::<Magnet>(), Ok(m));
        }

        #[test]
        fn strangers_never_panic_it(text in "(magnet:\\?)?(xt=urn:bt[im]h:(1220)?[0-9a-f]{0,64}|[a-z.0-9]{0,4}=|&|%[0-9a-f]{0,2}|.){0,30}") {
            let _ = text.parse::<Magnet>();
        }
    }
}
