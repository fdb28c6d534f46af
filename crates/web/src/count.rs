//! How many of something there are now.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many there are.
#[derive(Clone, Debug, Default)]
pub(crate) struct Count(Arc<AtomicUsize>);

/// One of them, as long as this lives.
#[derive(Debug)]
pub(crate) struct One(Arc<AtomicUsize>);

impl Count {
    /// One more.
    pub(crate) fn one(&self) -> One {
        self.0.fetch_add(1, Ordering::Relaxed);
        One(self.0.clone())
    }

    pub(crate) fn now(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for One {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_counts_while_it_lives() {
        let count = Count::default();
        let (one, other) = (count.one(), count.clone().one());
        assert_eq!(count.now(), 2);
        drop(one);
        assert_eq!(count.now(), 1);
        drop(other);
        assert_eq!(count.now(), 0);
    }
}
