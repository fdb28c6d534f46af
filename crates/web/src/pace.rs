//! How slowly the body of a request may come.

use std::time::Duration;
use tokio::time::Instant;

/// Bytes a second that a body has to come with, on average.
const RATE_MIN: u64 = 1 << 10;
/// Time in which it need not yet.
const GRACE: Duration = Duration::from_secs(60);

/// A body on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    began: Instant,
    patience: Duration,
    had: u64,
}

impl Pace {
    /// It begins now, and may never stand still for longer than `patience`.
    pub(crate) fn new(patience: Duration) -> Self {
        Pace { began: Instant::now(), patience, had: 0 }
    }

    /// Some of it came.
    pub(crate) fn took(&mut self, bytes: usize) {
        self.had += bytes as u64;
    }

    /// How long the next part may take from now on.
    pub(crate) fn wait(&self) -> Duration {
        let until = self.began + GRACE + Duration::from_secs(self.had / RATE_MIN);
        until.saturating_duration_since(Instant::now()).min(self.patience)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_body_neither_stops_nor_trickles() {
        let mut pace = Pace::new(Duration::from_secs(20));
        assert_eq!(pace.wait(), Duration::from_secs(20), "it may stand still for a while");
        for _ in 0..11 {
            tokio::time::advance(Duration::from_secs(5)).await;
            pace.took(1);
        }
        assert_eq!(pace.wait(), Duration::from_secs(5), "a byte now and then is not enough");
        pace.took(30 << 10);
        assert_eq!(pace.wait(), Duration::from_secs(20), "who sends enough is waited for");
        tokio::time::advance(Duration::from_secs(100)).await;
        assert_eq!(pace.wait(), Duration::ZERO);
    }
}
