//! Fetching the info dictionary from peers, in pieces of 16 KiB (BEP 9).
//!
//! Nothing can be checked before the last piece is here, so liars are found by exclusion: the first try takes pieces
//! from everybody; once one has failed, each further try takes all of them from a single peer, and a wrong hash names
//! the culprit. Memory is claimed as bytes come, never by what a stranger says the size is.

use crate::pieces::PeerSlot;
use base::Instant;
use std::collections::BTreeMap;
use std::time::Duration;
use wire::extended::{METADATA_PIECE_LEN, metadata_piece_count};

/// Requests open to one peer.
const PER_PEER: usize = 4;
/// A request that takes longer is given to somebody else.
const TIMEOUT: Duration = Duration::from_secs(15);

/// One try at the info dictionary.
#[derive(Debug, Default)]
pub(crate) struct MetadataFetch {
    size: u32,
    parts: BTreeMap<u32, (PeerSlot, Box<[u8]>)>,
    asked: BTreeMap<u32, (PeerSlot, Instant)>,
    solo: bool,
    /// The only peer of this try, once one was bad.
    only: Option<PeerSlot>,
}

/// A whole dictionary, not checked yet.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) bytes: Vec<u8>,
    /// The peer that all of it came from, if there was only one.
    pub(crate) sender: Option<PeerSlot>,
}

impl MetadataFetch {
    /// Pieces to ask `peer` for, which says that the dictionary has `size` bytes. They count as asked.
    pub(crate) fn ask(&mut self, now: Instant, peer: PeerSlot, size: u32) -> Vec<u32> {
        self.forget_late(now);
        if self.parts.is_empty() && self.asked.is_empty() {
            self.size = size;
            self.only = self.solo.then_some(peer);
        }
        if size != self.size || self.only.is_some_and(|only| only != peer) {
            return Vec::new();
        }
        let open = self.asked.values().filter(|(p, _)| *p == peer).count();
        let missing =
            (0..metadata_piece_count(size)).filter(|i| !self.parts.contains_key(i) && !self.asked.contains_key(i));
        let pick: Vec<u32> = missing.take(PER_PEER.saturating_sub(open)).collect();
        self.asked.extend(pick.iter().map(|i| (*i, (peer, now))));
        pick
    }

    /// Takes a piece that `peer` was asked for. The whole dictionary, if it was the last.
    pub(crate) fn received(&mut self, peer: PeerSlot, piece: u32, data: &[u8]) -> Option<Candidate> {
        if self.asked.get(&piece).is_none_or(|(p, _)| *p != peer) {
            return None;
        }
        let last = metadata_piece_count(self.size).checked_sub(1)?;
        let want = if piece == last { self.size - last * METADATA_PIECE_LEN } else { METADATA_PIECE_LEN };
        if data.len() != want as usize {
            return None;
        }
        self.asked.remove(&piece);
        self.parts.insert(piece, (peer, data.into()));
        if self.parts.len() as u32 <= last {
            return None;
        }
        let parts = std::mem::take(&mut self.parts);
        let first = parts.values().next().map(|(p, _)| *p);
        let sender = first.filter(|f| parts.values().all(|(p, _)| p == f));
        let bytes = parts.into_values().flat_map(|(_, b)| b.into_vec()).collect();
        Some(Candidate { bytes, sender })
    }

    /// The dictionary of the last try had a wrong hash.
    pub(crate) fn was_bad(&mut self) {
        *self = MetadataFetch { solo: true, ..Default::default() };
    }

    /// `peer` is gone or won't give any.
    pub(crate) fn gone(&mut self, peer: PeerSlot) {
        self.asked.retain(|_, (p, _)| *p != peer);
        if self.only == Some(peer) {
            *self = MetadataFetch { solo: true, ..Default::default() };
        } else if self.asked.is_empty() {
            // Whoever named this size may have been the only one to believe in it.
            self.parts.clear();
        }
    }

    /// Takes back what was asked too long ago. True if anything was.
    pub(crate) fn forget_late(&mut self, now: Instant) -> bool {
        let before = self.asked.len();
        self.asked.retain(|_, (_, at)| now - *at < TIMEOUT);
        if self.asked.is_empty() && before > 0 {
            *self = MetadataFetch { solo: self.solo, ..Default::default() };
        }
        self.asked.len() < before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: PeerSlot = PeerSlot(1);
    const B: PeerSlot = PeerSlot(2);

    #[test]
    fn pieces_come_from_everybody_at_first_and_from_one_after_a_lie() {
        let mut f = MetadataFetch::default();
        let size = 5 * METADATA_PIECE_LEN + 10;
        assert_eq!(f.ask(Instant::ZERO, A, size), [0, 1, 2, 3]);
        assert_eq!(f.ask(Instant::ZERO, B, size + 1), [0u32; 0], "another size waits");
        assert_eq!(f.ask(Instant::ZERO, B, size), [4, 5]);
        let full = [7; METADATA_PIECE_LEN as usize];
        assert_eq!(f.received(B, 0, &full), None, "not asked of B");
        assert_eq!(f.received(B, 5, &full), None, "wrong length");
        for i in 0..4 {
            assert_eq!(f.received(A, i, &full), None);
        }
        assert_eq!(f.received(B, 4, &full), None);
        let whole = f.received(B, 5, &[7; 10]).expect("complete");
        assert_eq!((whole.bytes.len(), whole.sender), (size as usize, None));
        f.was_bad();
        assert_eq!(f.ask(Instant::ZERO, B, 10), [0]);
        assert_eq!(f.ask(Instant::ZERO, A, 10), [0u32; 0], "B alone now");
        let whole = f.received(B, 0, &[1; 10]).expect("complete");
        assert_eq!(whole.sender, Some(B));
    }

    #[test]
    fn silence_frees_the_pieces() {
        let mut f = MetadataFetch::default();
        assert_eq!(f.ask(Instant::ZERO, A, 10), [0]);
        assert_eq!(f.ask(Instant::from_secs(14), B, 10), [0u32; 0]);
        assert_eq!(f.ask(Instant::from_secs(15), B, 20), [0, 1].map(|i: u32| i)[..1]);
        f.gone(B);
        assert_eq!(f.ask(Instant::from_secs(15), A, 10), [0]);
    }
}
