//! What has come: bytes in order, and packets that wait for others before them.

use crate::seq::Seq;
use base::Payload;
use std::collections::VecDeque;

/// Packets beyond the first missing one that are kept; what is further ahead is dropped, and sent again by whoever sent it.
pub(crate) const REORDER_MAX: usize = wire::utp::SACK_LEN_MAX * 8;

/// What came of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// It was the next one.
    InOrder,
    /// It was the next one, and others had waited for it, or still wait for the one after it.
    Filled,
    /// It waits for others.
    Early,
    /// It has come before.
    Again,
    /// There is no room for it, or it makes no sense.
    Dropped,
}

/// The receiving half of a connection.
#[derive(Debug)]
pub(crate) struct Inbox<P> {
    /// The last packet before which none is missing.
    acked: Seq,
    /// What came beyond: place 0 is the packet after the first missing one.
    early: VecDeque<Option<P>>,
    early_bytes: usize,
    /// The last packet of all.
    end: Option<Seq>,
    /// Bytes that may still be delivered.
    credit: u64,
    /// Bytes in order that were not taken out.
    ready: P,
}

impl<P: Payload> Inbox<P> {
    /// One that waits for the packet after `acked`.
    pub(crate) fn new(acked: Seq, credit: u64) -> Self {
        Inbox { acked, early: VecDeque::new(), early_bytes: 0, end: None, credit, ready: P::default() }
    }

    /// The last packet before which none is missing.
    pub(crate) fn acked(&self) -> Seq {
        self.acked
    }

    /// Bytes for which there is room.
    pub(crate) fn window(&self) -> u32 {
        u32::try_from(self.credit.saturating_sub(self.early_bytes as u64)).unwrap_or(u32::MAX)
    }

    /// More may be delivered.
    pub(crate) fn grant(&mut self, bytes: u64) {
        self.credit = self.credit.saturating_add(bytes);
    }

    /// True if packets wait for others.
    pub(crate) fn has_early(&self) -> bool {
        !self.early.is_empty()
    }

    /// True if everything has come that ever will.
    pub(crate) fn is_finished(&self) -> bool {
        self.end == Some(self.acked)
    }

    /// Takes the bytes that are in order.
    pub(crate) fn take(&mut self) -> P {
        std::mem::take(&mut self.ready)
    }

    /// True if there are bytes to take.
    pub(crate) fn is_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Packet `seq` has come.
    pub(crate) fn put(&mut self, seq: Seq, data: P, last: bool) -> Taken {
        let ahead = usize::from(seq.since(self.acked));
        if ahead == 0 || ahead >= 0x8000 {
            return Taken::Again;
        }
        // Nothing comes after the end, and the end is where it was.
        let beyond = self.end.is_some_and(|end| usize::from(end.since(self.acked)) < ahead);
        let misplaced = last && (self.end.is_some_and(|end| end != seq) || self.early.len() >= ahead);
        if beyond || misplaced || ahead - 1 > REORDER_MAX {
            return Taken::Dropped;
        }
        if ahead > 1 && matches!(self.early.get(ahead - 2), Some(Some(_))) {
            return Taken::Again;
        }
        // Where others wait for it, it is not turned away for lack of the room that they take: nothing would ever move again. So
        // twice the credit may be here at most.
        let room = if ahead == 1 && self.has_early() { self.credit } else { self.window().into() };
        if data.len() as u64 > room {
            return Taken::Dropped;
        }
        if last {
            self.end = Some(seq);
        }
        if ahead > 1 {
            self.keep(ahead - 2, data);
            return Taken::Early;
        }
        self.deliver(data);
        if self.early.is_empty() {
            return Taken::InOrder;
        }
        // The place of the packet that has come; then all that waited for it alone.
        while let Some(Some(data)) = self.early.pop_front() {
            self.early_bytes -= data.len();
            self.deliver(data);
        }
        Taken::Filled
    }

    fn keep(&mut self, place: usize, data: P) {
        if self.early.len() <= place {
            self.early.resize(place + 1, None);
        }
        self.early_bytes += data.len();
        self.early[place] = Some(data);
    }

    fn deliver(&mut self, data: P) {
        self.acked = self.acked.plus(1);
        self.credit = self.credit.saturating_sub(data.len() as u64);
        if self.ready.is_empty() {
            self.ready = data;
        } else {
            self.ready.append(data);
        }
    }

    /// Which packets came beyond the first missing one, as a selective acknowledgement says it.
    pub(crate) fn sack(&self, out: &mut Vec<u8>) {
        out.clear();
        out.resize(self.early.len().div_ceil(32) * 4, 0);
        for (i, _) in self.early.iter().enumerate().filter(|(_, data)| data.is_some()) {
            out[i / 8] |= 1 << (i % 8);
        }
    }

    /// What has to hold at any time.
    #[cfg(test)]
    pub(crate) fn check_invariants(&self) {
        assert!(self.early.len() <= REORDER_MAX);
        assert!(self.early.back().is_none_or(Option::is_some));
        assert_eq!(self.early_bytes, self.early.iter().flatten().map(Payload::len).sum::<usize>());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn inbox(acked: u16, credit: u64) -> Inbox<Vec<u8>> {
        Inbox::new(Seq(acked), credit)
    }

    proptest! {
        #[test]
        fn any_order_is_put_in_order(start: u16, order in Just((0..60u16).collect::<Vec<_>>()).prop_shuffle(), again in 0usize..60) {
            let mut inbox = inbox(start, 60 * 3);
            let mut out = Vec::new();
            for (i, n) in order.iter().enumerate() {
                let seq = Seq(start).plus(n + 1);
                let data = vec![*n as u8; usize::from(*n % 4)];
                inbox.put(seq, data, *n == 59);
                let twice = order[again.min(i)];
                prop_assert_eq!(inbox.put(Seq(start).plus(twice + 1), vec![9; 3], twice == 59), Taken::Again);
                inbox.check_invariants();
                out.extend(inbox.take());
                // The selective acknowledgement tells exactly what is here.
                let mut sack = Vec::new();
                inbox.sack(&mut sack);
                let here: Vec<u16> = order[..=i].iter().copied().filter(|n| Seq(start).plus(n + 1).since(inbox.acked()) < 0x8000 && Seq(start).plus(n + 1) != inbox.acked()).collect();
                let told = (0..sack.len() * 8).filter(|b| sack[b / 8] >> (b % 8) & 1 == 1).count();
                prop_assert_eq!(told, here.len());
            }
            prop_assert!(inbox.is_finished() && !inbox.has_early());
            let expect: Vec<u8> = (0..60u8).flat_map(|n| vec![n; usize::from(n % 4)]).collect();
            prop_assert_eq!(inbox.window() as usize, 60 * 3 - expect.len());
            prop_assert_eq!(out, expect);
        }
    }

    #[test]
    fn what_is_beyond_the_window_is_dropped() {
        let mut inbox = inbox(0xfffe, 10);
        assert_eq!(inbox.put(Seq(0), vec![1; 6], false), Taken::Early);
        assert_eq!(inbox.window(), 4);
        assert_eq!(inbox.put(Seq(1), vec![2; 5], false), Taken::Dropped);
        assert_eq!(inbox.put(Seq(0xffff), vec![0; 11], false), Taken::Dropped);
        assert_eq!(inbox.put(Seq(0xffff), vec![0; 4], false), Taken::Filled);
        assert_eq!((inbox.window(), inbox.take().len()), (0, 10));
        assert_eq!(inbox.put(Seq(1), vec![2; 1], false), Taken::Dropped);
        inbox.grant(1);
        assert_eq!(inbox.put(Seq(1), vec![2; 1], false), Taken::InOrder);
    }

    #[test]
    fn what_others_wait_for_is_not_turned_away() {
        let mut inbox = inbox(0, 10);
        assert_eq!(inbox.put(Seq(2), vec![1; 10], false), Taken::Early);
        assert_eq!(inbox.window(), 0);
        assert_eq!(inbox.put(Seq(1), vec![0; 10], false), Taken::Filled);
        assert_eq!((inbox.window(), inbox.take().len()), (0, 20));
        assert_eq!(inbox.put(Seq(3), vec![1; 1], false), Taken::Dropped);
    }

    #[test]
    fn packets_far_ahead_are_not_kept() {
        let mut inbox = inbox(0, u64::MAX);
        let furthest = REORDER_MAX as u16 + 1;
        assert_eq!(inbox.put(Seq(furthest), vec![1], false), Taken::Early);
        assert_eq!(inbox.put(Seq(furthest + 1), vec![1], false), Taken::Dropped);
        assert_eq!(inbox.put(Seq(0x7fff), vec![1], false), Taken::Dropped);
        assert_eq!(inbox.put(Seq(0x8000), vec![1], false), Taken::Again);
        inbox.check_invariants();
        let mut sack = Vec::new();
        inbox.sack(&mut sack);
        assert_eq!((sack.len(), sack.last()), (wire::utp::SACK_LEN_MAX, Some(&0x80)));
    }

    #[test]
    fn nothing_comes_after_the_end_and_the_end_stays() {
        let mut inbox = inbox(0, 100);
        assert_eq!(inbox.put(Seq(3), vec![], true), Taken::Early);
        assert_eq!(inbox.put(Seq(4), vec![1], false), Taken::Dropped);
        assert_eq!(inbox.put(Seq(2), vec![], true), Taken::Dropped);
        assert_eq!(inbox.put(Seq(1), vec![1], false), Taken::Filled);
        assert!(!inbox.is_finished() && inbox.has_early());
        assert_eq!(inbox.put(Seq(2), vec![1], false), Taken::Filled);
        assert!(inbox.is_finished());
        assert_eq!(inbox.put(Seq(3), vec![], true), Taken::Again);
        // An end before what has come already is a lie.
        let mut inbox = super::tests::inbox(0, 100);
        assert_eq!(inbox.put(Seq(5), vec![1], false), Taken::Early);
        assert_eq!(inbox.put(Seq(3), vec![], true), Taken::Dropped);
        assert_eq!(inbox.put(Seq(1), vec![], true), Taken::Dropped);
    }
}
