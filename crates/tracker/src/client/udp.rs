//! Announces over UDP (BEP 15, BEP 41): a connection id first, which is good for a minute, then the announce.

use std::net::SocketAddr;
use std::time::Duration;

use base::Instant;
use wire::tracker::AnnounceEvent;
use wire::tracker::http::{AnnounceReply, Peer};
use wire::tracker::udp::{self as wire_udp, Response};

use super::Client;
use super::announce::{Refusal, build};
use super::tracker::Over;
use super::types::Output;

/// Datagrams sent before an attempt counts as failed.
pub(super) const TRIES: u32 = 2;
/// Wait for the first answer; doubled for each repetition.
pub(super) const WAIT: Duration = Duration::from_secs(15);
/// The same for a good-bye, which has little time in all.
pub(super) const WAIT_STOPPED: Duration = Duration::from_secs(1);
/// Life of a connection id at the client.
const CONNECTION_LIFE: Duration = Duration::from_secs(60);
/// Connection ids remembered; the oldest makes room.
const CONNECTIONS_MAX: usize = 16;

/// Connection ids in use.
#[derive(Debug, Default)]
pub(super) struct Connections(Vec<(SocketAddr, u64, Instant)>);

impl Connections {
    pub(super) fn find(&self, now: Instant, to: SocketAddr) -> Option<u64> {
        self.0.iter().find(|c| c.0 == to && now < c.2).map(|c| c.1)
    }

    pub(super) fn insert(&mut self, now: Instant, to: SocketAddr, id: u64) {
        self.0.retain(|c| c.0 != to && now < c.2);
        if self.0.len() == CONNECTIONS_MAX {
            self.0.remove(0);
        }
        self.0.push((to, id, now + CONNECTION_LIFE));
    }

    pub(super) fn forget(&mut self, to: SocketAddr) {
        self.0.retain(|c| c.0 != to);
    }
}

impl Client {
    /// Sends what the flight of leg `l` needs next: a connect, or with a connection id the announce.
    pub(super) fn send_udp(&mut self, now: Instant, t: usize, l: usize) {
        let tracker = &mut self.trackers[t];
        let leg = &mut tracker.legs[l];
        let Some(event) = leg.flight.as_ref().map(|f| f.event) else { return };
        let announce = build(&self.config, &self.stats, leg, event);
        let Some(flight) = &mut leg.flight else { return };
        let Over::Udp { transaction, connecting, tries } = &mut flight.over else { return };
        let connection = self.connections.find(now, leg.to);
        if *tries == 0 || *connecting == connection.is_some() {
            // A repetition keeps its number, so that a late answer to the first one counts.
            *transaction = self.rng.next_u32();
        }
        *connecting = connection.is_none();
        let wait = if event == AnnounceEvent::Stopped { WAIT_STOPPED } else { WAIT };
        flight.deadline = now + wait * (1 << *tries);
        let mut data = Vec::new();
        match connection {
            None => data.extend(wire_udp::connect_request(*transaction)),
            Some(connection) => {
                leg.sent |= event != AnnounceEvent::Stopped;
                let path = tracker.url.as_ref().map(|u| u.path_and_query()).unwrap_or_default();
                wire_udp::write_announce_request(connection, *transaction, &announce, path.as_bytes(), &mut data);
            }
        }
        self.outputs.push_back(Output::Datagram { to: leg.to, data });
    }

    /// The leg, or the scrape, that waits for this datagram.
    pub(super) fn find_transaction(&self, from: SocketAddr, data: &[u8]) -> Option<Waiting> {
        let transaction = u32::from_be_bytes(*data.get(4..)?.first_chunk()?);
        self.trackers.iter().enumerate().find_map(|(t, tracker)| {
            let mut legs = tracker.legs.iter().enumerate();
            let leg = legs.find(|(_, leg)| {
                leg.to == from && leg.flight.as_ref().and_then(|f| f.over.transaction()) == Some(transaction)
            });
            let scrape = || {
                let mut all = tracker.scrapes.iter();
                all.position(|s| s.to == from && s.over.transaction() == Some(transaction))
            };
            leg.map(|(l, _)| Waiting::Leg(t, l)).or_else(|| scrape().map(|s| Waiting::Scrape(t, s)))
        })
    }

    pub(super) fn on_datagram(&mut self, now: Instant, from: SocketAddr, data: &[u8]) {
        match self.find_transaction(from, data) {
            Some(Waiting::Leg(t, l)) => self.on_udp_answer(now, t, l, data),
            Some(Waiting::Scrape(t, s)) => self.on_udp_scrape(now, t, s, data),
            None => {}
        }
    }

    fn on_udp_answer(&mut self, now: Instant, t: usize, l: usize, data: &[u8]) {
        let leg = &mut self.trackers[t].legs[l];
        let to = leg.to;
        let Some(Over::Udp { connecting, tries, .. }) = leg.flight.as_mut().map(|f| &mut f.over) else { return };
        match Response::parse(data, to.ip()) {
            Ok(Response::Connect { connection, .. }) if *connecting => {
                *tries = 0;
                self.connections.insert(now, to, connection);
                self.send_udp(now, t, l);
            }
            Ok(Response::Announce { interval, leechers, seeders, peers, .. }) if !*connecting => {
                let answer = AnnounceReply {
                    interval: Some(interval),
                    seeders: Some(seeders),
                    leechers: Some(leechers),
                    peers: peers.into_iter().map(|addr| Peer { addr, peer_id: None }).collect(),
                    ..AnnounceReply::default()
                };
                self.succeed(now, t, l, answer);
            }
            Ok(Response::Error { message, .. }) => {
                // The tracker may have been restarted and know our connection id no more.
                self.connections.forget(to);
                self.fail(now, t, l, Refusal::new(message));
            }
            _ => {}
        }
    }
}

/// What a datagram was waited for by: tracker, and leg or scrape of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Waiting {
    Leg(usize, usize),
    Scrape(usize, usize),
}
