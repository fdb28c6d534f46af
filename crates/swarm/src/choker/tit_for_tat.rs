//! Tit for tat, for who still downloads: uploads go to those who upload to us the fastest (BEP 3).
//!
//! Most slots go to the best by measured rate. The others are optimistic: they find better partners, and give newcomers
//! something to begin with. An optimistic slot goes to a random peer for 30 s (three rechokes: it needs two to show what
//! it can), newcomers three times as likely. Slots that nobody earned, as at the start, are optimistic too: a peer
//! that sends nothing keeps no slot while others wait.
//!
//! Deliberately not here: more for those who give more (PropShare, FairTorrent, BitTyrant); the lab compares them.

use super::{Choker, Decisions, PeerView, Slots, changes};
use crate::pieces::PeerSlot;
use base::{Instant, Rng};
use std::cmp::Reverse;
use std::time::Duration;

/// How long an optimistic slot stays with one peer.
pub const OPTIMISTIC_TURN: Duration = Duration::from_secs(30);
/// For so long a peer counts as a newcomer.
pub const NEWCOMER: Duration = Duration::from_secs(60);
/// So much more likely than others is a newcomer to get an optimistic slot.
pub const NEWCOMER_WEIGHT: u64 = 3;

/// The standard choker of a leecher.
#[derive(Clone, Debug, Default)]
pub struct TitForTat {
    slots: Slots,
    /// Who has an optimistic slot, and since when.
    optimistic: Vec<(PeerSlot, Instant)>,
}

impl TitForTat {
    /// Tit for tat over so many slots, of which one in five, and at least one, is optimistic.
    pub fn new(slots: Slots) -> Self {
        TitForTat { slots, optimistic: Vec::new() }
    }

    /// Who has an optimistic slot.
    pub fn optimistic(&self) -> impl Iterator<Item = PeerSlot> + '_ {
        self.optimistic.iter().map(|(slot, _)| *slot)
    }
}

impl Choker for TitForTat {
    fn rechoke(&mut self, now: Instant, peers: &[PeerView], rng: &mut Rng) -> Decisions {
        let slots = self.slots.count(peers);
        let reserved = (slots / 5).max(1).min(slots);
        let mut best: Vec<&PeerView> =
            peers.iter().filter(|p| p.interested && !p.snubbed && p.download_rate > 0).collect();
        best.sort_by_key(|p| (Reverse(p.download_rate), !p.unchoked, p.slot));
        best.truncate(slots - reserved);
        let mut chosen: Vec<PeerSlot> = best.iter().map(|p| p.slot).collect();
        chosen.sort_unstable();

        // Those who may have an optimistic slot: interested, and without one of the others.
        let mut waiting: Vec<&PeerView> =
            peers.iter().filter(|p| p.interested && chosen.binary_search(&p.slot).is_err()).collect();
        let free = (slots - chosen.len()).min(waiting.len());
        let mut kept = Vec::new();
        for (slot, since) in std::mem::take(&mut self.optimistic) {
            let stays = kept.len() < free && now < since + OPTIMISTIC_TURN;
            if stays && let Some(at) = waiting.iter().position(|p| p.slot == slot) {
                waiting.swap_remove(at);
                kept.push((slot, since));
            }
        }
        self.optimistic = kept;
        // Whoever just had its turn waits, as long as there are others.
        let (mut after, mut waiting): (Vec<_>, Vec<_>) = waiting.into_iter().partition(|p| p.unchoked);
        while self.optimistic.len() < free {
            let from = if waiting.is_empty() { &mut after } else { &mut waiting };
            let Some(peer) = draw(now, from, rng) else { break };
            self.optimistic.push((peer.slot, now));
        }
        chosen.extend(self.optimistic());
        changes(peers, &chosen)
    }
}

/// Takes one at random, newcomers with more weight.
fn draw<'a>(now: Instant, from: &mut Vec<&'a PeerView>, rng: &mut Rng) -> Option<&'a PeerView> {
    let weight = |p: &PeerView| if now.since(p.connected_at) < NEWCOMER { NEWCOMER_WEIGHT } else { 1 };
    let mut at = rng.below(from.iter().map(|p| weight(p)).sum());
    let chosen = from.iter().position(|p| match at.checked_sub(weight(p)) {
        Some(rest) => {
            at = rest;
            false
        }
        None => true,
    })?;
    Some(from.swap_remove(chosen))
}
