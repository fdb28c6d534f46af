//! Scrapes: the counts of the torrent, asked of each tracker that works (BEP 48, BEP 15).
//!
//! A scrape is a courtesy: it is asked once, redirects aren't followed, and failing has no consequences.

use base::{InfoHash, Instant, JobId};
use wire::tracker::Counts;
use wire::tracker::http::{Reply, parse_scrape_reply, scrape_url};
use wire::tracker::udp::{self as wire_udp, Response};

use super::tracker::{Over, Scrape};
use super::types::{HttpReply, Output, State};
use super::{Client, udp};
use crate::url::Scheme;

impl Client {
    /// Asks the active tracker of each tier, once at a time.
    pub(super) fn scrape(&mut self, now: Instant) {
        for i in 0..self.tiers.len() {
            let Some(t) = self.tiers[i].active else { continue };
            let tracker = &self.trackers[t];
            let Some(to) = tracker.legs.iter().find(|leg| leg.started && leg.fails == 0).map(|leg| leg.to) else {
                continue;
            };
            let Some(url) = tracker.url.clone().filter(|_| tracker.scrapes.is_empty()) else { continue };
            let deadline = now + udp::WAIT;
            if url.scheme == Scheme::Udp {
                let over = Over::Udp { transaction: 0, connecting: true, tries: 0 };
                self.trackers[t].scrapes.push(Scrape { to, deadline, over });
                self.send_udp_scrape(now, t, 0);
            } else if let Some(text) = scrape_url(url.as_str(), &self.config.hashes) {
                let job = self.job();
                self.trackers[t].scrapes.push(Scrape { to, deadline, over: Over::Http { job, url, redirects: 0 } });
                self.outputs.push_back(Output::Fetch { job, url: text, to });
            }
        }
    }

    pub(super) fn advance_scrapes(&mut self, now: Instant, t: usize) {
        self.trackers[t].scrapes.retain(|s| now < s.deadline);
    }

    fn send_udp_scrape(&mut self, now: Instant, t: usize, s: usize) {
        let scrape = &mut self.trackers[t].scrapes[s];
        let id = self.rng.next_u32();
        let connection = self.connections.find(now, scrape.to);
        scrape.over = Over::Udp { transaction: id, connecting: connection.is_none(), tries: 0 };
        let mut data = Vec::new();
        match connection {
            None => data.extend(wire_udp::connect_request(id)),
            Some(connection) => wire_udp::write_scrape_request(connection, id, &self.config.hashes, &mut data),
        }
        self.outputs.push_back(Output::Datagram { to: scrape.to, data });
    }

    pub(super) fn on_udp_scrape(&mut self, now: Instant, t: usize, s: usize, data: &[u8]) {
        let scrape = &self.trackers[t].scrapes[s];
        let (to, connecting) = (scrape.to, matches!(scrape.over, Over::Udp { connecting: true, .. }));
        match Response::parse(data, to.ip()) {
            Ok(Response::Connect { connection, .. }) if connecting => {
                self.connections.insert(now, to, connection);
                self.send_udp_scrape(now, t, s);
            }
            Ok(Response::Scrape { counts, .. }) if !connecting => {
                self.trackers[t].scrapes.remove(s);
                let counted = self.config.hashes.iter().copied().zip(counts).collect();
                self.scraped(t, counted);
            }
            Ok(Response::Error { .. }) => drop(self.trackers[t].scrapes.remove(s)),
            _ => {}
        }
    }

    pub(super) fn on_fetched_scrape(&mut self, job: JobId, result: Result<HttpReply, String>) {
        let found = self
            .trackers
            .iter()
            .enumerate()
            .find_map(|(t, tracker)| Some((t, tracker.scrapes.iter().position(|s| s.over.has_job(job))?)));
        let Some((t, s)) = found else { return };
        self.trackers[t].scrapes.remove(s);
        let parsed = result.map(|reply| parse_scrape_reply(&reply.body));
        if let Ok(Ok(Reply::Answer(counts))) = parsed {
            let ours = counts.into_iter().filter(|(hash, _)| self.config.hashes.contains(hash)).collect();
            self.scraped(t, ours);
        }
    }

    fn scraped(&mut self, t: usize, counts: Vec<(InfoHash, Counts)>) {
        for (info_hash, Counts { seeders, leechers, downloads }) in counts {
            let tracker = &mut self.trackers[t];
            // The larger of both hashes: most trackers count a hybrid's two as two torrents.
            tracker.seeders = tracker.seeders.max(Some(seeders));
            tracker.leechers = tracker.leechers.max(Some(leechers));
            let url = tracker.text.clone();
            self.outputs.push_back(Output::Scraped { url, info_hash, seeders, leechers, downloads });
        }
        self.set_state(t, State::Working);
    }
}
