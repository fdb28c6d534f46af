//! The tracker over HTTP (BEP 3, 7, 23, 48): query strings in, bodies out. Every answer goes with status 200, refusals too,
//! as clients expect.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base::Instant;
use wire::compact;
use wire::tracker::http::{
    AnnounceReply, Failure, Peer, PeerList, parse_announce, parse_scrape, write_announce_reply, write_failure,
    write_scrape_reply,
};

use super::Server;

impl Server {
    /// Answers `GET /announce?QUERY` that came `from` this address: the body of the reply.
    pub fn announce_http(&mut self, now: Instant, query: &str, from: IpAddr) -> Vec<u8> {
        let request = match parse_announce(query) {
            Ok(request) => request,
            Err(e) => return self.refuse(&e),
        };
        let asker = self.believed(from, request.ip);
        let mut list = Vec::new();
        let counts = match self.announce(now, asker, &request.announce, usize::MAX, &mut list) {
            Ok(counts) => counts,
            Err(refusal) => return failure(&refusal),
        };
        let reply = AnnounceReply {
            interval: Some(Duration::from_secs(self.interval().into())),
            interval_min: Some(self.config.interval_min),
            seeders: Some(counts.seeders),
            leechers: Some(counts.leechers),
            downloads: Some(counts.downloads),
            external_ip: Some(from.to_canonical()),
            ..AnnounceReply::default()
        };
        let mut out = Vec::with_capacity(list.len() + 160);
        let v4 = asker.to_canonical().is_ipv4();
        if request.compact {
            let (v4, v6): (&[u8], &[u8]) = if v4 { (&list, &[]) } else { (&[], &list) };
            write_announce_reply(&reply, PeerList::Compact { v4, v6 }, &mut out);
        } else {
            let plain = |addr: SocketAddr| Peer { addr, peer_id: None };
            let peers: Vec<_> = match v4 {
                true => compact::parse_v4(&list).map(plain).collect(),
                false => compact::parse_v6(&list).map(plain).collect(),
            };
            write_announce_reply(&reply, PeerList::Dictionaries(&peers), &mut out);
        }
        out
    }

    /// Answers `GET /scrape?QUERY`: the body of the reply. Torrents that are unknown or not served are left out.
    pub fn scrape_http(&mut self, query: &str, from: IpAddr) -> Vec<u8> {
        let hashes = match parse_scrape(query) {
            Ok(hashes) if hashes.is_empty() => return self.refuse(&"name the torrents to scrape: info_hash=..."),
            Ok(hashes) => hashes,
            Err(e) => return self.refuse(&e),
        };
        self.totals.scrapes += 1;
        let asked = hashes.into_iter().take(self.config.scrape_max);
        let mut entries = asked.filter_map(|hash| Some((hash, self.scrape_one(hash, from)?))).collect();
        let mut out = Vec::new();
        write_scrape_reply(&mut entries, &mut out);
        out
    }

    /// The address that counts: the sender's, or what it claims if it is inside and that was configured.
    pub(super) fn believed(&self, from: IpAddr, claimed: Option<IpAddr>) -> IpAddr {
        let inside = || base::Scope::of(from).is_some_and(|scope| scope.is_local());
        claimed.filter(|_| self.config.trust_local_ip && inside()).unwrap_or(from)
    }

    fn refuse(&mut self, why: &impl ToString) -> Vec<u8> {
        self.totals.refused += 1;
        failure(why)
    }
}

fn failure(why: &impl ToString) -> Vec<u8> {
    let mut out = Vec::new();
    write_failure(&Failure { reason: why.to_string(), retry: None }, &mut out);
    out
}
