//! What is left of the rate that the gate has lent to a shard, in one direction.

/// Bytes that may be moved. Without a limit they never end.
#[derive(Debug)]
pub(crate) struct Lease {
    limited: bool,
    left: u64,
    /// Bytes moved beyond it, to be paid from the next ones.
    debt: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// There is some left, or nothing to move.
    Content,
    /// More is needed, and the gate does not know yet.
    Wishing,
    /// The gate was asked.
    Asked,
}

impl Lease {
    pub(crate) fn new(limit: Option<u64>) -> Self {
        Lease { limited: limit.is_some(), left: 0, debt: 0, state: State::Content }
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.limited
    }

    /// Bytes that may be moved now.
    pub(crate) fn left(&self) -> u64 {
        if self.limited { self.left } else { u64::MAX }
    }

    /// Bytes were moved, perhaps some more than were left.
    pub(crate) fn take(&mut self, bytes: u64) {
        if self.limited {
            self.debt += bytes.saturating_sub(self.left);
            self.left = self.left.saturating_sub(bytes);
        }
    }

    /// Bytes were taken, and not moved after all.
    pub(crate) fn give_back(&mut self, bytes: u64) {
        if self.limited {
            let paid = self.debt.min(bytes);
            self.debt -= paid;
            self.left = self.left.saturating_add(bytes - paid);
        }
    }

    /// The gate has lent more.
    pub(crate) fn lend(&mut self, bytes: u64) {
        self.give_back(bytes);
        self.state = if self.debt > 0 { State::Wishing } else { State::Content };
    }

    /// More is needed.
    pub(crate) fn wish(&mut self) {
        if self.state == State::Content {
            self.state = State::Wishing;
        }
    }

    /// More would be moved if there were any.
    pub(crate) fn is_wanting(&self) -> bool {
        self.state != State::Content
    }

    /// True once for each wish: the gate has to be asked now.
    pub(crate) fn must_ask(&mut self) -> bool {
        let wishing = self.state == State::Wishing;
        if wishing {
            self.state = State::Asked;
        }
        wishing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_moved_ahead_is_paid_first() {
        let mut lease = Lease::new(Some(1000));
        assert_eq!((lease.left(), lease.must_ask()), (0, false));
        lease.wish();
        assert!(lease.must_ask() && !lease.must_ask());
        lease.wish();
        assert!(!lease.must_ask(), "asked already");
        lease.lend(100);
        lease.take(350);
        assert_eq!(lease.left(), 0);
        lease.wish();
        assert!(lease.must_ask());
        lease.lend(100);
        assert!(lease.left() == 0 && lease.must_ask(), "the debt is not paid yet");
        lease.lend(200);
        assert_eq!((lease.left(), lease.must_ask()), (50, false));
    }

    #[test]
    fn without_a_limit_there_is_always_more() {
        let mut lease = Lease::new(None);
        lease.take(u64::MAX);
        assert_eq!((lease.left(), lease.is_limited()), (u64::MAX, false));
    }
}
