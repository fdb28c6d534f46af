//! What may be read of a stream: the engine's credit, as a gate that the reader waits at.

use std::sync::Arc;
use tokio::sync::{Notify, Semaphore};

/// The credit of one stream. Given by the loop, taken by the task that reads.
#[derive(Clone, Debug)]
pub(crate) struct Tap(Arc<(Semaphore, Notify)>);

/// The stream is not wanted any more.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed;

impl Tap {
    pub(crate) fn new(credit: u64) -> Self {
        Tap(Arc::new((Semaphore::new(permits(credit)), Notify::new())))
    }

    /// So many bytes more.
    pub(crate) fn open(&self, bytes: u64) {
        self.0.0.add_permits(permits(bytes));
    }

    /// Whoever waits, or comes, is told so.
    pub(crate) fn close(&self) {
        self.0.0.close();
        self.0.1.notify_one();
    }

    /// Waits until something may be read, and takes up to `want` bytes of credit.
    pub(crate) async fn take(&self, want: usize) -> Result<usize, Closed> {
        if want == 0 {
            return Ok(0);
        }
        self.0.0.acquire().await.map_err(|_| Closed)?.forget();
        // Nobody else takes from it.
        let more = self.0.0.available_permits().min(want - 1);
        match self.0.0.try_acquire_many(u32::try_from(more).unwrap_or(u32::MAX)) {
            Ok(taken) => {
                taken.forget();
                Ok(more + 1)
            }
            Err(_) => Ok(1),
        }
    }

    /// Waits until the stream is not wanted any more. For one waiter.
    pub(crate) async fn closed(&self) {
        self.0.1.notified().await;
    }
}

fn permits(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn takes_what_there_is_and_waits_for_more() {
        let tap = Tap::new(10);
        assert_eq!(tap.take(4).await, Ok(4));
        assert_eq!(tap.take(100).await, Ok(6));
        let waiter = tokio::spawn({
            let tap = tap.clone();
            async move { tap.take(100).await }
        });
        tokio::task::yield_now().await;
        tap.open(7);
        let got = waiter.await.unwrap().unwrap();
        assert!((1..=7).contains(&got));
        tap.close();
        assert_eq!(tap.take(1).await, Err(Closed));
        tap.closed().await;
    }
}
