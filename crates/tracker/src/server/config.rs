//! What a tracker may be told at birth and later: times, limits, who may use it.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use base::InfoHash;

/// Other names of swarms that a tracker keeps at most.
pub const ALIASES_MAX: usize = 1 << 20;

/// Times and limits of a tracker. The default suits a public one of a million torrents.
#[derive(Clone, Debug)]
pub struct Config {
    /// Time after which clients shall come back. Each is told up to an eighth more, so that they don't come all at once.
    pub interval: Duration,
    /// Time before which clients shall not come back.
    pub interval_min: Duration,
    /// Peers told where an announce does not say how many it wants.
    pub numwant_default: u32,
    /// Most peers told in one answer.
    pub numwant_max: u32,
    /// Most torrents. Further ones are refused.
    pub swarms_max: usize,
    /// Most peers of one torrent. Further ones are told of others, but not remembered.
    pub swarm_peers_max: usize,
    /// Most peers in all (16 bytes each over IPv4, 28 over IPv6, and up to as much again for finding them). Further ones are told
    /// of others, but not remembered.
    pub peers_max: usize,
    /// Most hashes that one scrape is answered.
    pub scrape_max: usize,
    /// Which torrents are served.
    pub access: Access,
    /// Does the `ip` parameter count? Only ever if the announce comes from loopback or from within the network, where a proxy or a
    /// test may stand; strangers could aim a swarm at anybody.
    pub trust_local_ip: bool,
    /// This machine's address as others reach it. A peer on this machine announces itself from loopback, which says nothing
    /// to others: they are told this address instead, or where it is not known nothing of that peer.
    pub own_v4: Option<Ipv4Addr>,
    /// The same over IPv6.
    pub own_v6: Option<Ipv6Addr>,
    /// Key of the connection ids over UDP; drawn at birth if there is none. Workers behind one port must share it.
    pub connection_secret: Option<[u8; 16]>,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            interval: Duration::from_secs(30 * 60),
            interval_min: Duration::from_secs(60),
            numwant_default: 50,
            numwant_max: 200,
            swarms_max: 1 << 20,
            swarm_peers_max: 1 << 20,
            peers_max: 1 << 24,
            scrape_max: 74,
            access: Access::default(),
            trust_local_ip: false,
            own_v4: None,
            own_v6: None,
            connection_secret: None,
        }
    }
}

impl Config {
    /// For a few torrents of one's own, whose users wait in front of them: clients come back every minute, or after
    /// five seconds if they lack peers.
    pub fn small() -> Self {
        Config {
            interval: Duration::from_secs(60),
            interval_min: Duration::from_secs(5),
            swarms_max: 1 << 14,
            swarm_peers_max: 1 << 16,
            peers_max: 1 << 20,
            ..Config::default()
        }
    }
}

/// Which torrents a tracker serves. What is denied is denied even if it is allowed too.
#[derive(Clone, Debug, Default)]
pub struct Access {
    /// Only these, if there is a list.
    pub allow: Option<BTreeSet<InfoHash>>,
    /// Never these.
    pub deny: BTreeSet<InfoHash>,
}

impl Access {
    /// Is this torrent served?
    pub fn permits(&self, hash: InfoHash) -> bool {
        !self.deny.contains(&hash) && self.allow.as_ref().is_none_or(|list| list.contains(&hash))
    }

    /// Reads a list as files hold them: a hash of 40 hexadecimal digits at the start of a line, anything behind it, `#`
    /// before comments. Or the number of the first line that is neither.
    pub fn parse_list(text: &str) -> Result<BTreeSet<InfoHash>, usize> {
        let mut list = BTreeSet::new();
        for (i, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or_default();
            let Some(word) = line.split_whitespace().next() else { continue };
            list.insert(parse_hash(word).ok_or(i + 1)?);
        }
        Ok(list)
    }
}

/// 40 hexadecimal digits, or 64: then it is a v2 hash, which trackers know by its first 20 bytes (BEP 52).
fn parse_hash(word: &str) -> Option<InfoHash> {
    if !matches!(word.len(), 40 | 64) || !word.bytes().all(|b| b.is_ascii_hexdigit()) {
        return None;
    }
    let mut hash = [0; 20];
    for (byte, digits) in hash.iter_mut().zip(word.as_bytes().as_chunks::<2>().0) {
        *byte = u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()?;
    }
    Some(InfoHash(hash))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let (one, two) = ("00".repeat(20), "AB".repeat(32));
        let list = Access::parse_list(&format!("# ours\n{one} a name\n\n  {two}  # v2\n")).unwrap();
        assert_eq!(list, BTreeSet::from([InfoHash([0; 20]), InfoHash([0xab; 20])]));
        assert_eq!(Access::parse_list(&format!("{one}\nnonsense")), Err(2));
        assert_eq!(Access::parse_list(&"é".repeat(20)), Err(1));
    }

    #[test]
    fn deny_goes_before_allow() {
        let (a, b, c) = (InfoHash([1; 20]), InfoHash([2; 20]), InfoHash([3; 20]));
        let mut access = Access { allow: Some(BTreeSet::from([a, b])), deny: BTreeSet::from([b]) };
        assert!(access.permits(a) && !access.permits(b) && !access.permits(c));
        access.allow = None;
        assert!(access.permits(a) && !access.permits(b) && access.permits(c));
    }
}
