//! How much may be on the way: a window that fills the path and keeps its queue short (LEDBAT, RFC 6817, and BEP 29).
//!
//! While packets wait less than the target, the window grows by up to [`GAIN`] bytes a round trip. Above it, it shrinks in
//! proportion to itself, as LEDBAT++ (draft-irtf-iccrg-ledbat-plus-plus) does it: with a fixed step a large window would take
//! a minute to make room for a TCP connection. Losses halve it. It begins by doubling each round trip, until packets wait or
//! are lost.
//!
//! A queue that is shorter than the target would never be seen to be too long, and such a path would be shared with TCP as equals. So a
//! loss says how long the queue is, and the target is half of that from then on.
//!
//! A flow that fills its path for as long as delays are remembered would take its own queue for the path, and build another one
//! on top of it. So before the base delay may rise, the queue is emptied once ([`Ledbat::drain`]).

use base::Instant;
use std::time::Duration;

/// How long packets may wait in queues because of us, where queues are long.
const TARGET: Duration = Duration::from_millis(100);
/// How long they may wait where queues are so short that packets are lost before: a part of what they waited then, within bounds.
const TARGET_PART: f64 = 0.5;
const TARGET_MIN: Duration = Duration::from_millis(10);
/// After so long without a loss the target is doubled again, up to [`TARGET`].
const TARGET_AGAIN: Duration = Duration::from_secs(60);
/// Part of the longest wait that is forgotten in a round trip.
const FORGET: f64 = 0.25;
/// Most bytes that the window grows in a round trip.
const GAIN: f64 = 3_000.0;
/// The window at the beginning, in bytes: four packets of the usual size.
const FIRST: f64 = 4.0 * 1_452.0;
/// Largest window, in bytes: what an acknowledging liar gets at most.
pub(crate) const WINDOW_MAX: usize = 8 << 20;
/// Smallest window because packets wait, in bytes (RFC 6817): with less, whoever waits for a request would wait for long.
const YIELDED: f64 = 2.0 * 1_452.0;
/// Smallest window because packets are lost, in bytes: two of the smallest packets.
const WINDOW_MIN: f64 = 2.0 * crate::PACKET_MIN as f64;
/// The window is halved no more often than this, or than every other round trip where those are shorter: a receiver within the
/// same machine that can't keep up would lose half of everything for as long as this.
const HALVE_INTERVAL: Duration = Duration::from_millis(100);
/// The slow start ends at this part of the target: what was sent meanwhile is still to come.
const SLOW_START_PART: f64 = 0.75;
/// Largest part of the window that is given up in a round trip because packets wait.
const SHRINK_MAX: f64 = 0.5;
/// The window while the queue is emptied, in bytes.
const DRAIN_WINDOW: f64 = 2.0 * 1_452.0;

/// The window of one connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ledbat {
    window: f64,
    /// The slow start ends here at the latest.
    threshold: f64,
    slow_start: bool,
    /// When it was last halved.
    halved: Option<Instant>,
    /// How long packets may wait, and the longest that they waited lately, in seconds.
    target: f64,
    longest: f64,
    /// When the target is doubled.
    target_again: Instant,
    /// It is kept small until then.
    drains_until: Option<Instant>,
}

impl Default for Ledbat {
    fn default() -> Self {
        Ledbat {
            window: FIRST,
            threshold: WINDOW_MAX as f64,
            slow_start: true,
            halved: None,
            target: TARGET.as_secs_f64(),
            longest: 0.0,
            target_again: Instant::NEVER,
            drains_until: None,
        }
    }
}

impl Ledbat {
    /// Bytes that may be on the way.
    pub(crate) fn window(&self) -> usize {
        if self.drains_until.is_some() { DRAIN_WINDOW.min(self.window) as usize } else { self.window as usize }
    }

    /// `acked` bytes arrived, of `in_flight` that were on the way, and packets wait for `queueing`. `full` says that the window
    /// was used up: otherwise nothing is known about a larger one.
    pub(crate) fn acked(&mut self, now: Instant, acked: usize, in_flight: usize, queueing: Duration, full: bool) {
        if let Some(until) = self.drains_until {
            if now < until {
                return;
            }
            self.drains_until = None;
        }
        // The part of a round trip that this is.
        let part = acked as f64 / in_flight.max(acked).max(1) as f64;
        self.longest = (self.longest * (1.0 - FORGET * part)).max(queueing.as_secs_f64());
        if now >= self.target_again {
            self.set_target(now, self.target * 2.0);
        }
        let off = 1.0 - queueing.as_secs_f64() / self.target;
        if self.slow_start && (1.0 - off > SLOW_START_PART || self.window >= self.threshold) {
            self.slow_start = false;
        }
        if off < 0.0 {
            let less = self.window * (1.0 - part * (-off).min(SHRINK_MAX));
            self.window = less.max(self.window.min(YIELDED));
        } else if full && self.slow_start {
            self.window = (self.window + acked as f64).min(self.threshold);
        } else if full {
            self.window += part * GAIN * off;
        }
        self.window = self.window.clamp(WINDOW_MIN, WINDOW_MAX as f64);
    }

    /// A packet was lost, where round trips take `rtt`. True if the window was halved for it.
    pub(crate) fn lost(&mut self, now: Instant, rtt: Duration) -> bool {
        if self.halved.is_some_and(|at| now.since(at) < HALVE_INTERVAL.min(2 * rtt)) {
            return false;
        }
        self.halved = Some(now);
        self.set_target(now, self.longest * TARGET_PART);
        self.window = (self.window / 2.0).max(WINDOW_MIN);
        self.threshold = self.window;
        self.slow_start = false;
        true
    }

    fn set_target(&mut self, now: Instant, seconds: f64) {
        let (least, most) = (TARGET_MIN.as_secs_f64(), TARGET.as_secs_f64());
        self.target = seconds.clamp(least, most);
        self.target_again = if self.target < most { now + TARGET_AGAIN } else { Instant::NEVER };
    }

    /// Nothing arrives any more: begin again with one packet of `packet` bytes.
    pub(crate) fn timed_out(&mut self, now: Instant, packet: usize) {
        self.threshold = (self.window / 2.0).max(WINDOW_MIN);
        self.window = (packet as f64).clamp(WINDOW_MIN, self.window.max(WINDOW_MIN));
        self.slow_start = true;
        self.halved = Some(now);
    }

    /// Keeps the window small until `until`, so that the queue runs empty.
    pub(crate) fn drain(&mut self, until: Instant) {
        self.drains_until = Some(until);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MSS: usize = 1_452;

    fn ms(n: u64) -> Duration {
        Duration::from_millis(n)
    }

    /// A round trip in which all of the window is acknowledged, packet by packet.
    fn round(ledbat: &mut Ledbat, now: Instant, queueing: Duration) {
        let window = ledbat.window();
        (0..window / MSS).for_each(|_| ledbat.acked(now, MSS, window, queueing, true));
    }

    #[test]
    fn it_doubles_then_grows_by_the_gain() {
        let mut ledbat = Ledbat::default();
        assert_eq!(ledbat.window(), 4 * MSS);
        for packets in [8, 16, 32, 64] {
            round(&mut ledbat, Instant::ZERO, ms(10));
            assert_eq!(ledbat.window(), packets * MSS);
        }
        // The delay ends the slow start; half way to the target it grows by half the gain.
        ledbat.acked(Instant::ZERO, MSS, 64 * MSS, ms(80), true);
        let before = ledbat.window();
        round(&mut ledbat, Instant::ZERO, ms(50));
        let grown = ledbat.window() - before;
        assert!((1_400..=1_500).contains(&grown), "{grown}");
    }

    #[test]
    fn above_the_target_it_shrinks_in_proportion_and_never_to_nothing() {
        let mut ledbat = Ledbat { window: 1e6, slow_start: false, ..Ledbat::default() };
        round(&mut ledbat, Instant::ZERO, ms(110));
        assert!((890_000..920_000).contains(&ledbat.window()), "{}", ledbat.window());
        (0..100).for_each(|_| ledbat.acked(Instant::ZERO, 300, 300, ms(5_000), true));
        assert_eq!(ledbat.window(), 2 * MSS);
        (0..100).for_each(|s| _ = ledbat.lost(Instant::from_secs(s), ms(1)));
        assert_eq!(ledbat.window(), WINDOW_MIN as usize);
        ledbat.acked(Instant::ZERO, 300, 300, ms(5_000), true);
        assert_eq!(ledbat.window(), WINDOW_MIN as usize);
    }

    #[test]
    fn losses_halve_it_once_in_a_while_and_end_the_slow_start() {
        let mut ledbat = Ledbat { window: 80_000.0, ..Ledbat::default() };
        assert!(ledbat.lost(Instant::from_millis(10), ms(200)));
        assert!(!ledbat.lost(Instant::from_millis(109), ms(200)));
        assert_eq!(ledbat.window(), 40_000);
        assert!(ledbat.lost(Instant::from_millis(110), ms(200)));
        assert_eq!(ledbat.window(), 20_000);
        assert!(!ledbat.lost(Instant::from_millis(111), ms(1)) && ledbat.lost(Instant::from_millis(112), ms(1)));
        round(&mut ledbat, Instant::ZERO, ms(0));
        assert!(ledbat.window() < 14_000, "no doubling any more");
    }

    #[test]
    fn after_a_timeout_it_doubles_up_to_half_of_what_it_was() {
        let mut ledbat = Ledbat { window: 80_000.0, slow_start: false, ..Ledbat::default() };
        ledbat.timed_out(Instant::ZERO, MSS);
        assert_eq!(ledbat.window(), MSS);
        (0..5).for_each(|_| round(&mut ledbat, Instant::ZERO, ms(0)));
        assert!((40_000..44_000).contains(&ledbat.window()), "{}", ledbat.window());
        round(&mut ledbat, Instant::ZERO, ms(0));
        assert!(ledbat.window() < 47_000, "no doubling any more");
    }

    #[test]
    fn a_short_queue_lowers_the_target_for_a_while() {
        let mut ledbat = Ledbat { window: 100_000.0, slow_start: false, ..Ledbat::default() };
        let mut shrinks = |s: u64, queueing, lost: bool| {
            let now = Instant::from_secs(s);
            if lost {
                ledbat.acked(now, MSS, 100 * MSS, queueing, true);
                ledbat.lost(now, ms(100));
            }
            let before = ledbat.window();
            ledbat.acked(now, MSS, MSS, queueing, true);
            ledbat.window() < before
        };
        assert!(!shrinks(0, ms(39), false));
        // Packets waited for 40 ms, and then were lost.
        assert!(shrinks(1, ms(40), true));
        assert!(shrinks(2, ms(21), false) && !shrinks(2, ms(19), false));
        assert!(shrinks(60, ms(39), false) && !shrinks(61, ms(39), false), "doubled after a minute");
        assert!(shrinks(62, ms(41), false));
        // However short the queue is, some waiting is chance.
        (0..100).for_each(|_| _ = shrinks(70, ms(0), false));
        shrinks(71, ms(0), true);
        assert!(!shrinks(72, ms(9), false) && shrinks(72, ms(11), false));
        assert!(!shrinks(1_000, ms(15), false) && !shrinks(2_000, ms(30), false) && !shrinks(3_000, ms(70), false));
    }

    #[test]
    fn what_was_not_used_does_not_grow() {
        let mut ledbat = Ledbat::default();
        (0..100).for_each(|_| ledbat.acked(Instant::ZERO, MSS, MSS, ms(0), false));
        assert_eq!(ledbat.window(), 4 * MSS);
        (0..100_000).for_each(|_| ledbat.acked(Instant::ZERO, MSS, MSS, ms(0), true));
        assert_eq!(ledbat.window(), WINDOW_MAX);
    }

    #[test]
    fn draining_is_short_and_forgets_nothing() {
        let mut ledbat = Ledbat { window: 500_000.0, slow_start: false, ..Ledbat::default() };
        ledbat.drain(Instant::from_millis(200));
        assert_eq!(ledbat.window(), 2 * MSS);
        ledbat.acked(Instant::from_millis(100), MSS, 2 * MSS, ms(300), true);
        assert_eq!(ledbat.window(), 2 * MSS);
        ledbat.acked(Instant::from_millis(200), MSS, 2 * MSS, ms(0), true);
        assert!(ledbat.window() >= 500_000);
    }
}
