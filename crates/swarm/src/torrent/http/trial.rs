//! Whether one more lane to a server helps: it is tried where the others run steadily, and kept where it brings more.

use crate::torrent::Torrent;
use base::{Instant, Payload};
use std::time::Duration;

/// A lane more has to bring this much more of the former rate, in percent, to be kept.
const LANE_GAIN_PERCENT: u64 = 15;
/// The rate is compared over this time.
const TRIAL: Duration = Duration::from_secs(2);
/// After a lane that did not help, until the next trial.
const TRIAL_PAUSE: Duration = Duration::from_secs(30);
/// Seconds of fetching that must be left for a trial.
const TRIAL_LEFT_SECS: u64 = 5;

/// Whether another lane would help.
#[derive(Clone, Copy, Debug)]
pub(super) struct Trial {
    /// Bytes since the last look, and when that was.
    pub(super) bytes: u64,
    pub(super) since: Instant,
    /// Bytes a second in the span before.
    pub(super) before: u64,
    /// A lane was added after that span.
    pub(super) added: bool,
    /// No lane more until then.
    pub(super) rest: Instant,
}

impl Trial {
    pub(super) const RESTED: Trial =
        Trial { bytes: 0, since: Instant::ZERO, before: 0, added: false, rest: Instant::ZERO };

    /// No lane more for a while: the last one did not help, or the server has too much to do.
    pub(super) fn pause(&mut self, now: Instant) {
        self.rest = now + TRIAL_PAUSE;
    }
}

impl<P: Payload> Torrent<P> {
    /// Sees whether the last lane helped, and tries another one.
    pub(super) fn try_lanes(&mut self, now: Instant) {
        let Some(http) = &mut self.http else { return };
        let left = self.open.as_ref().map_or(0, |o| o.picker.bytes_left());
        let all = http.rate(now).max(1);
        let mut surplus = Vec::new();
        for (at, server) in http.servers.iter_mut().enumerate() {
            let lanes = http.lanes.iter().filter(|l| l.server == at).count();
            let trial = &mut server.trial;
            let span = now - trial.since;
            if span < TRIAL {
                continue;
            }
            let (bytes, before) = (trial.bytes * 1000 / span.as_millis() as u64, trial.before);
            let steady = bytes * 10 <= before * 11 && before * 10 <= bytes * 11;
            let added = std::mem::replace(&mut trial.added, false);
            (trial.bytes, trial.since, trial.before) = (0, now, bytes);
            if added && bytes * 100 < before * (100 + LANE_GAIN_PERCENT) {
                server.lanes_wanted = server.lanes_wanted.saturating_sub(1).max(1);
                server.trial.pause(now);
                surplus.push(at);
                continue;
            }
            let may = server.lanes_wanted < server.source.lanes_max && !server.source.from_start && trial.rest <= now;
            let all_busy = lanes == usize::from(server.lanes_wanted);
            if may && all_busy && (steady || added) && bytes > 0 && left / all >= TRIAL_LEFT_SECS {
                server.lanes_wanted += 1;
                server.trial.added = true;
            }
        }
        for at in surplus {
            let newest = http.lanes.iter().filter(|l| l.server == at).map(|l| l.stream).max();
            if http.lanes_of(at) > usize::from(http.servers[at].lanes_wanted) {
                self.end_lanes(|lane| Some(lane.stream) == newest);
                return;
            }
        }
    }
}
