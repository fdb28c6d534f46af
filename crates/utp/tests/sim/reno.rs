//! A flow that knows only losses, as TCP Reno does: one packet more a round trip, half as many after a loss.

use base::Instant;
use std::time::Duration;

const SIZE: usize = 1_472;

/// What comes back.
#[derive(Clone, Copy, Debug)]
pub(crate) enum News {
    Arrived,
    Lost { sent: Instant },
}

#[derive(Debug)]
pub(crate) struct Reno {
    pub(crate) link: usize,
    back: Duration,
    window: f64,
    threshold: f64,
    in_flight: usize,
    halved: Instant,
    /// Bytes that arrived.
    pub(crate) arrived: u64,
    pub(crate) stopped: bool,
}

impl Reno {
    /// One that sends through `link`; acknowledgements take `back`.
    pub(crate) fn new(link: usize, back: Duration) -> Reno {
        let (window, threshold, in_flight, arrived) = (10.0, f64::MAX, 0, 0);
        Reno { link, back, window, threshold, in_flight, halved: Instant::ZERO, arrived, stopped: false }
    }

    pub(crate) fn wants(&self, _now: Instant) -> Option<usize> {
        (!self.stopped && (self.in_flight as f64) < self.window).then_some(SIZE)
    }

    pub(crate) fn sent(&mut self, now: Instant, arrives: Option<Instant>) -> Option<(Instant, News)> {
        self.in_flight += 1;
        Some(match arrives {
            Some(at) => (at + self.back, News::Arrived),
            // Those behind it tell of it about a round trip later.
            None => (now + self.back * 4, News::Lost { sent: now }),
        })
    }

    pub(crate) fn hear(&mut self, now: Instant, news: News) {
        self.in_flight -= 1;
        match news {
            News::Arrived => {
                self.arrived += SIZE as u64;
                self.window += if self.window < self.threshold { 1.0 } else { 1.0 / self.window };
            }
            News::Lost { sent } if sent > self.halved => {
                self.window = (self.window / 2.0).max(2.0);
                self.threshold = self.window;
                self.halved = now;
            }
            News::Lost { .. } => {}
        }
    }
}
