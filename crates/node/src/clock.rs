//! The clock of one node: microseconds since it was started, from the system's monotonic clock.

use base::Instant;

/// Reads the time for the machines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    zero: std::time::Instant,
}

impl Clock {
    /// A clock that starts now, a second after [`Instant::ZERO`], so that "a second ago" exists.
    pub(crate) fn start() -> Self {
        Clock { zero: std::time::Instant::now() }
    }

    /// The time.
    pub(crate) fn now(&self) -> Instant {
        Instant::from_secs(1) + self.zero.elapsed()
    }

    /// How long to sleep until `deadline`: zero if it has come.
    pub(crate) fn until(&self, deadline: Instant) -> std::time::Duration {
        deadline.since(self.now())
    }
}
