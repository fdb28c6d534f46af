//! When peers hear of a piece that became good.
//!
//! Each have is said to everybody, but not to everybody at once: thousands of pieces times fifty peers are most of all messages,
//! and a message by itself costs more than its nine bytes. A have leaves at once where somebody may act on it:
//!
//! - whoever lacks the piece and is not interested in us may become so;
//! - whoever lacks it and is not choked may ask for it;
//! - a piece that hardly anybody has changes what all who lack it ask others for: they hear of it, too.
//!
//! A peer that is interested, and choked, can do nothing with it but count; one that has the piece not even that. They hear of
//! it together with the next thing that is said to them (an unchoke, for one), or once there are several, or after a while. Every
//! have is said in the end: when we are complete, all that is left is said.

use super::Torrent;
use crate::Output;
use crate::pieces::PeerSlot;
use base::{Instant, Payload, PieceIndex};
use std::time::Duration;

/// A have waits no longer than this for company with a peer that lacks the piece.
pub(super) const NEWS_WAIT: Duration = Duration::from_secs(60);
/// Nor for more others than this.
const NEWS_MAX: usize = 32;
/// Or than this part of all pieces: in a small torrent each of them tells much.
const NEWS_SHARE: u32 = 16;
/// A piece is rare if so many peers have it, or fewer.
const RARE_MAX: u32 = 2;

/// Haves that wait, in one torrent.
#[derive(Debug)]
pub(super) struct News {
    /// When they are said to all.
    pub(super) due: Instant,
    /// Where in the log of haves the first stands of those that wait for it.
    from: usize,
}

impl News {
    pub(super) const NONE: News = News { due: Instant::NEVER, from: 0 };
}

impl<P: Payload> Torrent<P> {
    /// A piece became good, and is in the log: whom does it concern?
    pub(super) fn tell_of_piece(&mut self, now: Instant, piece: PieceIndex) {
        let Some(open) = &self.open else { return };
        let (said, pieces) = (open.have_log.len(), open.plan.geometry.piece_count());
        let rare = open.picker.availability(piece) <= RARE_MAX;
        let woken = self.sessions.wake_all(rare, |s| !s.pieces.has(piece));
        self.out.extend(woken.map(|conn| Output::Wake { conn }));
        if self.news.due == Instant::NEVER {
            self.news = News { due: now + NEWS_WAIT, from: said - 1 };
            self.tick_at = self.tick_at.min(self.news.due);
        }
        if said - self.news.from >= NEWS_MAX.min((pieces / NEWS_SHARE) as usize) {
            self.tell_all();
        }
    }

    /// Says all haves that wait to those who lack anything.
    pub(super) fn tell_all(&mut self) {
        let Some(open) = &self.open else { return };
        let said = open.have_log.len();
        let woken = self.sessions.wake_all(true, |s| (s.have_cursor as usize) < said && !s.pieces.is_all());
        self.out.extend(woken.map(|conn| Output::Wake { conn }));
        self.news = News::NONE;
    }

    /// A peer lost its interest, as far as it knows: perhaps it does not know all.
    pub(super) fn tell_the_rest(&mut self, slot: PeerSlot) {
        let said = self.open.as_ref().map_or(0, |open| open.have_log.len());
        if self.sessions.get(slot).is_some_and(|s| (s.have_cursor as usize) < said && !s.pieces.is_all()) {
            self.wake(slot);
        }
    }
}
