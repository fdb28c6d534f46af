//! How slowly the body of a request may come.

use crate::body::part;
use axum::body::{Body, Bytes};
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

/// Why there is no more of it.
#[derive(Debug)]
pub(crate) enum Late {
    /// It stands still, or trickles.
    Slow,
    /// It broke off.
    Broken(axum::Error),
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

    /// The next part; None at the end.
    ///
    /// # Errors
    /// If it comes too slowly, or breaks off.
    pub(crate) async fn next(&mut self, body: &mut Body) -> Result<Option<Bytes>, Late> {
        let next = tokio::time::timeout(self.wait(), part(body)).await.map_err(|_| Late::Slow)?;
        let next = next.map_err(Late::Broken)?;
        self.took(next.as_ref().map_or(0, Bytes::len));
        Ok(next)
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
    use futures_util::{StreamExt as _, stream};
    use std::io;

    #[tokio::test(start_paused = true)]
    async fn parts_come_in_time_or_not_at_all() {
        let patience = Duration::from_secs(20);
        let body = |bytes: usize, each: u64| {
            Body::from_stream(stream::unfold(0, move |n| async move {
                tokio::time::sleep(Duration::from_secs(each)).await;
                (n < 20).then(|| (Ok::<_, io::Error>(Bytes::from(vec![0; bytes])), n + 1))
            }))
        };
        let read = async |mut body: Body| {
            let (mut pace, mut all) = (Pace::new(patience), 0);
            while let Some(bytes) = pace.next(&mut body).await? {
                all += bytes.len();
            }
            Ok::<_, Late>(all)
        };
        assert_eq!(read(body(11 << 10, 10)).await.unwrap(), 20 * (11 << 10), "as fast as it must be");
        assert!(matches!(read(body(1, 10)).await, Err(Late::Slow)), "a byte now and then");
        assert!(matches!(read(body(1 << 20, 21)).await, Err(Late::Slow)), "longer silent than it may be");
        let broken = stream::iter([Ok(Bytes::from("half")), Err(io::Error::other("gone"))]);
        assert!(matches!(read(Body::from_stream(broken.boxed())).await, Err(Late::Broken(_))));
    }

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
