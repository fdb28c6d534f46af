//! Chokers for who has everything and can't be paid back.
//!
//! What a seed should do depends on what it is for. To get data out fast, it serves who takes it fastest: that fills the
//! uplink, but a few fast takers hold all slots, give nothing back, and everybody else waits ([`SeedMode::Fastest`]).
//! To be fair it gives turns ([`SeedMode::RoundRobin`]); but if a turn ends after so many bytes, fast peers end theirs soon and
//! slow ones sit on their slots, until all slots are slow and the uplink idles at 60% (libtorrent#1171, whose answer is to rank
//! by rate within a turn; a slow peer still never ends its own).
//!
//! So the default, [`SeedMode::Balanced`], ends a turn by bytes or by time, whichever comes first, and splits the slots: one
//! half is kept by those who took the most since the last rechoke, the other half takes turns, longest waiting first. The
//! fast half fills the uplink; the other serves everybody within (waiting / half the slots) turns of at most three minutes,
//! finds new fast takers, and spreads pieces over many peers. A fast slot wears out: after ten minutes the rate of who holds
//! it counts half, after twenty a quarter, so that it goes on to others of about the same speed, and never to a slow one.

use super::{Choker, Decisions, PeerView, Slots, changes};
use crate::pieces::PeerSlot;
use base::{Instant, Rng};
use std::cmp::Reverse;
use std::time::Duration;

/// A turn lasts at least so long, or no peer reaches its speed.
pub const TURN_MIN: Duration = Duration::from_secs(60);
/// A turn lasts at most so long, however little was taken.
pub const TURN_MAX: Duration = Duration::from_secs(180);
/// After so long in a fast slot the rate of a peer counts half, after twice as long a quarter.
pub const FAST_TURN: Duration = Duration::from_secs(600);
/// A turn ends after so many pieces.
pub const TURN_PIECES: u64 = 20;

/// Whom a seed serves first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SeedMode {
    /// Half of the slots to the fastest, half by turns.
    #[default]
    Balanced,
    /// All slots by turns.
    RoundRobin,
    /// Those who take the fastest.
    Fastest,
    /// Those who have nearly nothing or nearly everything ("Improving BitTorrent: A Simple Approach", Chow et al. 2008): the
    /// first need something to give, the last become seeds; who is in the middle has enough partners.
    AntiLeech,
}

/// The standard choker of a seed.
#[derive(Clone, Debug)]
pub struct Seeding {
    mode: SeedMode,
    slots: Slots,
    turn_bytes: u64,
}

impl Seeding {
    /// Seeds over so many slots a torrent of so long pieces.
    pub fn new(mode: SeedMode, slots: Slots, piece_length: u32) -> Self {
        Seeding { mode, slots, turn_bytes: TURN_PIECES * u64::from(piece_length) }
    }

    /// True if the turn of an unchoked peer is over.
    fn is_turn_over(&self, now: Instant, peer: &PeerView) -> bool {
        let held = now.since(peer.changed_at);
        peer.unchoked && held >= TURN_MIN && (peer.uploaded_in_turn >= self.turn_bytes || held >= TURN_MAX)
    }

    /// Lower comes first: those in their turn, then those who wait, the longest first, then those whose turn is over.
    fn turn_key(&self, now: Instant, peer: &PeerView) -> (u8, Reverse<u64>, Instant) {
        match (peer.unchoked, self.is_turn_over(now, peer)) {
            (true, false) => (0, Reverse(peer.upload_rate), peer.changed_at),
            (false, _) => (1, Reverse(0), peer.changed_at),
            (true, true) => (2, Reverse(peer.upload_rate), peer.changed_at),
        }
    }
}

impl Choker for Seeding {
    fn rechoke(&mut self, now: Instant, peers: &[PeerView], rng: &mut Rng) -> Decisions {
        let slots = self.slots.count(peers);
        let mut order: Vec<&PeerView> = peers.iter().filter(|p| p.interested).collect();
        rng.shuffle(&mut order);
        // A choked peer may still be read from a socket's buffer: that is no rate.
        let rate = |p: &PeerView| if p.unchoked { p.upload_rate } else { 0 };
        let mut chosen: Vec<PeerSlot> = Vec::with_capacity(slots);
        match self.mode {
            SeedMode::RoundRobin => order.sort_by_key(|p| self.turn_key(now, p)),
            SeedMode::Fastest => order.sort_by_key(|p| (Reverse(rate(p)), p.changed_at)),
            SeedMode::AntiLeech => {
                order.sort_by_key(|p| (Reverse(p.complete_permille.abs_diff(500)), p.changed_at));
            }
            SeedMode::Balanced => {
                let worn = |p: &PeerView| rate(p) >> (now.since(p.changed_at).as_secs() / FAST_TURN.as_secs()).min(2);
                order.sort_by_key(|p| Reverse(worn(p)));
                chosen.extend(order.iter().filter(|p| rate(p) > 0).take(slots / 2).map(|p| p.slot));
                order.retain(|p| !chosen.contains(&p.slot));
                order.sort_by_key(|p| self.turn_key(now, p));
            }
        }
        chosen.extend(order.iter().take(slots.saturating_sub(chosen.len())).map(|p| p.slot));
        changes(peers, &chosen)
    }
}
