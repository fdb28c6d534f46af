//! The choker: whom to upload to (BEP 3).
//!
//! A plug: anything that names who is unchoked next can drive a torrent. [`TitForTat`] is for leechers, [`Seeding`] for
//! seeds; the lab tries others. A choker sees rates, never bytes, and decides; sending choke and unchoke is the torrent's.

mod seeding;
mod tit_for_tat;

#[cfg(test)]
mod tests;

pub use seeding::{FAST_TURN, SeedMode, Seeding, TURN_MAX, TURN_MIN, TURN_PIECES};
pub use tit_for_tat::{NEWCOMER, NEWCOMER_WEIGHT, OPTIMISTIC_TURN, TitForTat};

use crate::pieces::PeerSlot;
use base::{Instant, Rng};
use std::fmt;
use std::time::Duration;

/// Between two rechokes: long enough for TCP to reach its speed, and for a peer to answer in kind.
pub const RECHOKE: Duration = Duration::from_secs(10);

/// One peer as the choker sees it. Peers that aren't interested may be left out, unless they are unchoked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PeerView {
    /// Who it is.
    pub slot: PeerSlot,
    /// It wants something that we have.
    pub interested: bool,
    /// We let it ask.
    pub unchoked: bool,
    /// It was asked for blocks and sent none for a minute.
    pub snubbed: bool,
    /// Bytes a second from it to us, in blocks.
    pub download_rate: u64,
    /// Bytes a second from us to it, in blocks.
    pub upload_rate: u64,
    /// Bytes that we sent since it was unchoked; 0 while choked.
    pub uploaded_in_turn: u64,
    /// Bytes that we ever sent it.
    pub uploaded: u64,
    /// When it was last choked or unchoked; when it came, if it never was.
    pub changed_at: Instant,
    /// When it came.
    pub connected_at: Instant,
    /// How much of the torrent it has, in thousandths.
    pub complete_permille: u16,
}

/// What changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decisions {
    /// These may ask from now on.
    pub unchoke: Vec<PeerSlot>,
    /// These no longer may.
    pub choke: Vec<PeerSlot>,
}

/// Decides whom to upload to.
pub trait Choker: fmt::Debug + Send {
    /// Decides anew: every [`RECHOKE`], and at once when a slot fell free or the first peers became interested.
    fn rechoke(&mut self, now: Instant, peers: &[PeerView], rng: &mut Rng) -> Decisions;
}

/// How many peers are unchoked at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slots {
    /// So many.
    Fixed(usize),
    /// As many as the uplink feeds: with peers by rate of upload, the n-th must get `first + n * step` bytes a second to
    /// keep a slot open for another one. At least `min`.
    ByRate {
        /// What the fastest must get for a second slot.
        first: u64,
        /// What each further one must get more.
        step: u64,
        /// So many at least.
        min: usize,
    },
}

impl Default for Slots {
    fn default() -> Self {
        Slots::Fixed(8)
    }
}

impl Slots {
    /// Most slots by rate.
    pub const BY_RATE_MAX: usize = 500;

    /// How many there are now.
    pub fn count(&self, peers: &[PeerView]) -> usize {
        match *self {
            Slots::Fixed(n) => n,
            Slots::ByRate { first, step, min } => {
                let mut rates: Vec<u64> = peers.iter().filter(|p| p.unchoked).map(|p| p.upload_rate).collect();
                rates.sort_unstable_by(|a, b| b.cmp(a));
                let fed = rates
                    .iter()
                    .zip(0u64..)
                    .take_while(|(rate, n)| **rate >= first.saturating_add(step.saturating_mul(*n)));
                (fed.count() + 1).clamp(min, Self::BY_RATE_MAX.max(min))
            }
        }
    }
}

/// The changes that make exactly `chosen` unchoked.
fn changes(peers: &[PeerView], chosen: &[PeerSlot]) -> Decisions {
    let mut chosen = chosen.to_vec();
    chosen.sort_unstable();
    let is_chosen = |peer: &PeerView| chosen.binary_search(&peer.slot).is_ok();
    let slots = |f: &dyn Fn(&PeerView) -> bool| peers.iter().filter(|p| f(p)).map(|p| p.slot).collect();
    Decisions {
        unchoke: slots(&|peer| is_chosen(peer) && !peer.unchoked),
        choke: slots(&|peer| !is_chosen(peer) && peer.unchoked),
    }
}
