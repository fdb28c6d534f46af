//! Announces over UDP (BEP 15, BEP 41): a connection id first, which is good for a minute, then the announce.

use std::net::SocketAddr;
use std::time::Duration;

use base::Instant;

use super::announce::{Announce, Refusal};
use super::tracker::{Event, Over};
use super::types::Output;
use super::{Client, codec};

/// Datagrams sent before an attempt counts as failed.
pub(super) const TRIES: u32 = 2;
/// Wait for the first answer; doubled for each repetition.
pub(super) const WAIT: Duration = Duration::from_secs(15);
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
        let announce = Announce::new(&self.config, &self.stats, leg, event, None);
        let Some(flight) = &mut leg.flight else { return };
        let Over::Udp { transaction, connecting, tries } = &mut flight.over else { return };
        let connection = self.connections.find(now, leg.to);
        if *tries == 0 || *connecting == connection.is_some() {
            // A repetition keeps its number, so that a late answer to the first one counts.
            *transaction = self.rng.next_u32();
        }
        *connecting = connection.is_none();
        flight.deadline = now + WAIT * (1 << *tries);
        let data = match connection {
            None => codec::udp_connect(*transaction),
            Some(connection) => {
                leg.sent |= event != Event::Stopped;
                let path = tracker.url.as_ref().map(|u| u.path_and_query()).unwrap_or_default();
                codec::udp_announce(connection, *transaction, &announce, path)
            }
        };
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
        match codec::udp_parse(data, to.is_ipv6()) {
            Some(codec::Udp::Connected(id)) if *connecting => {
                *tries = 0;
                self.connections.insert(now, to, id);
                self.send_udp(now, t, l);
            }
            Some(codec::Udp::Announced(answer)) if !*connecting => self.succeed(now, t, l, answer),
            Some(codec::Udp::Error(why)) => {
                // The tracker may have been restarted and know our connection id no more.
                self.connections.forget(to);
                self.fail(now, t, l, Refusal::new(why));
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
