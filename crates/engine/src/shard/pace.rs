//! The pace of announces: thousands of torrents that start at once must not become a storm on their tracker.
//!
//! Who wants to announce reserves a place; places lie apart, but for a few that may be taken together. What one torrent
//! does with its place, with all of its trackers, is its own.

use base::Instant;
use std::time::Duration;

/// Time between two torrents that begin to announce.
const STEP: Duration = Duration::from_micros(1_000_000 / 64);
/// Time between two torrents that say good-bye.
const STEP_BYE: Duration = Duration::from_micros(1_000_000 / 2_000);
/// The last good-byes begin after so long, at whatever pace.
const BYES_WITHIN: Duration = Duration::from_secs(5);
/// Torrents that may begin at once after a time without any.
const BURST: u32 = 64;

/// When the next one may begin.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    next: Instant,
    next_bye: Instant,
}

impl Pace {
    /// Reserves a place to announce. It is now or later.
    pub(crate) fn reserve(&mut self, now: Instant) -> Instant {
        place(&mut self.next, STEP, now)
    }

    /// Reserves a place to say good-bye. It is now or a little later.
    pub(crate) fn reserve_bye(&mut self, now: Instant) -> Instant {
        place(&mut self.next_bye, STEP_BYE, now).min(now + BYES_WITHIN)
    }
}

fn place(next: &mut Instant, step: Duration, now: Instant) -> Instant {
    let at = (*next).max(now - step * (BURST - 1));
    *next = at + step;
    at.max(now)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_at_once_and_then_one_after_the_other() {
        let mut pace = Pace::default();
        let now = Instant::from_secs(100);
        let places: Vec<Instant> = (0..BURST + 64).map(|_| pace.reserve(now)).collect();
        assert!(places[..BURST as usize].iter().all(|at| *at == now), "{places:?}");
        assert_eq!(places[BURST as usize], now + STEP);
        assert_eq!(places.last(), Some(&(now + STEP * 64)));
        let later = Instant::from_secs(200);
        assert_eq!(
            (0..2 * BURST).filter(|_| pace.reserve(later) == later).count(),
            BURST as usize,
            "no more is saved up"
        );
    }

    #[test]
    fn good_byes_are_quick_and_never_late() {
        let (mut pace, now) = (Pace::default(), Instant::from_secs(100));
        let places: Vec<Instant> = (0..20_000).map(|_| pace.reserve_bye(now)).collect();
        assert!(places[..BURST as usize].iter().all(|at| *at == now));
        assert_eq!(places[BURST as usize + 1_999], now + Duration::from_secs(1));
        assert_eq!(places.last(), Some(&(now + BYES_WITHIN)));
        assert_eq!(pace.reserve(now), now, "announces have their own");
    }
}
