//! The tracker over UDP (BEP 15): connection ids first, then announces and scrapes.
//!
//! What has no genuine connection id is answered at most with as many bytes as it has itself: a connect with 16 bytes for 16, anything
//! else not at all.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use base::{InfoHash, Instant};
use wire::compact::{V4_LEN, V6_LEN};
use wire::tracker::udp::{self, ANNOUNCE_REPLY_LEN, Request};

use super::Server;

/// Longest reply, in bytes: one packet on any common path.
const REPLY_LEN_MAX: usize = 1400;

impl Server {
    /// Answers a datagram: appends the reply to `out`. False if there is none.
    pub fn udp(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], out: &mut Vec<u8>) -> bool {
        let answered = self.answer_udp(now, from, datagram, out);
        if !answered {
            self.totals.ignored += 1;
        }
        answered
    }

    fn answer_udp(&mut self, now: Instant, from: SocketAddr, datagram: &[u8], out: &mut Vec<u8>) -> bool {
        let ip = from.ip().to_canonical();
        // Nobody sends from port 0, and an answer to it goes nowhere.
        if from.port() == 0 {
            return false;
        }
        match Request::parse(datagram) {
            Ok(Request::Connect { transaction }) => {
                out.extend(udp::connect_reply(transaction, self.ids.make(now, ip)));
                true
            }
            Ok(Request::Announce { connection, transaction, announce, ip: claimed, .. }) => {
                if !self.ids.prove(now, ip, connection) {
                    return false;
                }
                let asker = self.believed(ip, claimed.map(IpAddr::V4));
                let peer_len = if ip.is_ipv4() { V4_LEN } else { V6_LEN };
                let start = out.len();
                // The head is written when the counts are known; until then its place is kept.
                out.extend([0; ANNOUNCE_REPLY_LEN]);
                let peers_max = (REPLY_LEN_MAX - ANNOUNCE_REPLY_LEN) / peer_len;
                match self.announce(now, asker, &announce, peers_max, out) {
                    Ok(counts) => {
                        let interval = Duration::from_secs(self.interval().into());
                        let mut head = Vec::with_capacity(ANNOUNCE_REPLY_LEN);
                        udp::write_announce_reply(transaction, interval, counts.leechers, counts.seeders, &mut head);
                        out[start..start + ANNOUNCE_REPLY_LEN].copy_from_slice(&head);
                    }
                    Err(refusal) => {
                        out.truncate(start);
                        udp::write_error(transaction, &refusal.to_string(), out);
                    }
                }
                true
            }
            Ok(Request::Scrape { connection, transaction, hashes }) => {
                if !self.ids.prove(now, ip, connection) {
                    return false;
                }
                self.totals.scrapes += 1;
                let hashes = &hashes[..hashes.len().min(self.config.scrape_max)];
                let counts = hashes.iter().map(|hash| self.scrape_one(InfoHash(*hash), ip).unwrap_or_default());
                udp::write_scrape_reply(transaction, counts, out);
                true
            }
            Err(_) => false,
        }
    }
}
