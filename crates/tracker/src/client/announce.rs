//! One announce: sent, answered, timed out, failed.

use std::time::Duration;

use base::{Instant, may_use};
use wire::tracker::http::{AnnounceReply, Failure, Retry};
use wire::tracker::{Announce, AnnounceEvent};

use super::tracker::{Flight, Leg, Over, backoff, canonical};
use super::types::{Config, Output, State, Stats};
use super::{Client, INTERVAL_MAX, Mode, interval_min, scope, udp};
use crate::url::Scheme;

/// Interval assumed when a tracker names none.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(1800);

/// Why an announce was not answered.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) why: String,
    /// When to come back (BEP 31): zero if the tracker does not say, None for never.
    pub(super) retry: Option<Duration>,
}

/// What leg `leg` has to say.
pub(super) fn build(config: &Config, stats: &Stats, leg: &Leg, event: AnnounceEvent) -> Announce {
    let silent = event == AnnounceEvent::Stopped || !stats.wants_peers;
    Announce {
        info_hash: config.hashes[leg.hash],
        peer_id: config.peer_id,
        port: if leg.to.is_ipv4() { config.port_v4 } else { config.port_v6 },
        uploaded: stats.uploaded,
        downloaded: stats.downloaded,
        left: stats.left,
        event,
        key: config.key,
        numwant: Some(if silent { 0 } else { config.numwant }),
    }
}

impl Refusal {
    pub(super) fn new(why: impl Into<String>) -> Self {
        Refusal { why: why.into(), retry: Some(Duration::ZERO) }
    }

    pub(super) fn by_tracker(failure: Failure) -> Self {
        let retry = match failure.retry {
            None => Some(Duration::ZERO),
            Some(Retry::After(time)) => Some(time),
            Some(Retry::Never) => None,
        };
        Refusal { why: failure.reason, retry }
    }
}

impl Client {
    /// Sends an announce of leg `l` of tracker `t`.
    pub(super) fn send(&mut self, now: Instant, t: usize, l: usize, event: AnnounceEvent) {
        let url = self.trackers[t].url.clone().expect("only usable trackers have legs");
        let over = match url.scheme {
            Scheme::Udp => Over::Udp { transaction: 0, connecting: true, tries: 0 },
            _ => Over::Http { job: self.job(), url, redirects: 0 },
        };
        let leg = &mut self.trackers[t].legs[l];
        leg.last = now;
        leg.flight = Some(Flight { event, deadline: Instant::NEVER, over });
        match self.trackers[t].legs[l].flight.as_ref().map(|f| &f.over) {
            Some(Over::Udp { .. }) => self.send_udp(now, t, l),
            _ => self.send_http(now, t, l),
        }
    }

    /// A flight was not answered in time.
    pub(super) fn on_timeout(&mut self, now: Instant, t: usize, l: usize) {
        let flight = self.trackers[t].legs[l].flight.as_mut().expect("only flights time out");
        if let Over::Udp { tries, .. } = &mut flight.over {
            *tries += 1;
            if *tries < udp::TRIES {
                return self.send_udp(now, t, l);
            }
        }
        self.fail(now, t, l, Refusal::new("no answer"));
    }

    /// A flight was answered.
    pub(super) fn succeed(&mut self, now: Instant, t: usize, l: usize, answer: AnnounceReply) {
        let tracker = &mut self.trackers[t];
        let leg = &mut tracker.legs[l];
        let Some(flight) = leg.flight.take() else { return };
        if flight.event == AnnounceEvent::Stopped {
            leg.reset();
            return;
        }
        if flight.event == AnnounceEvent::Completed {
            leg.completed_due = false;
        }
        let floor = interval_min(leg.to);
        let interval = answer.interval.unwrap_or(INTERVAL_DEFAULT).clamp(floor, INTERVAL_MAX);
        leg.interval_min = answer.interval_min.unwrap_or(floor).clamp(floor, interval);
        (leg.started, leg.fails, leg.not_before) = (true, 0, Instant::ZERO);
        leg.next = if leg.completed_due { now } else { now + interval };
        let (to, hash) = (leg.to, leg.hash);

        tracker.fails = 0;
        tracker.message = answer.warning;
        tracker.seeders = answer.seeders.or(tracker.seeders);
        tracker.leechers = answer.leechers.or(tracker.leechers);
        if answer.tracker_id.is_some() {
            tracker.tracker_id = answer.tracker_id;
        }

        let told_by = scope(to);
        let mut addrs: Vec<_> = answer.peers.into_iter().map(|p| canonical(p.addr)).collect();
        addrs.retain(|a| may_use(*a, told_by));
        addrs.sort_unstable();
        addrs.dedup();
        if !addrs.is_empty() {
            let (url, info_hash) = (tracker.text.clone(), self.config.hashes[hash]);
            self.outputs.push_back(Output::Peers { url, told_by, info_hash, addrs });
        }
        if let Some(ip) = answer.external_ip {
            self.outputs.push_back(Output::ExternalIp { ip, from: to });
        }
        self.promote(t);
        self.set_state(t, State::Working);
    }

    /// A flight failed, or was refused.
    pub(super) fn fail(&mut self, now: Instant, t: usize, l: usize, refusal: Refusal) {
        let stopping = matches!(self.mode, Mode::Stopping { .. });
        let tracker = &mut self.trackers[t];
        let leg = &mut tracker.legs[l];
        leg.flight = None;
        leg.fails = leg.fails.saturating_add(1);
        leg.not_before = refusal.retry.map_or(Instant::NEVER, |retry| now + retry);
        leg.next = (now + backoff(leg.fails)).max(leg.not_before);
        tracker.rotate(l);
        tracker.message = Some(refusal.why);
        if !stopping && !tracker.has_failed() {
            let state = tracker.state;
            self.set_state(t, state);
        }
    }

    /// BEP 12: whoever answers is asked first from now on.
    fn promote(&mut self, t: usize) {
        let order = &mut self.tiers[self.trackers[t].tier].order;
        if let Some(at) = order.iter().position(|other| *other == t) {
            order[..=at].rotate_right(1);
        }
    }
}
