//! Hands work from thread to thread in batches: whoever wakes up finds all that has gathered, and nobody is woken
//! who is awake.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// A queue whose reader takes everything at once. What is in it is bounded by those who fill it: disk jobs by the
/// engine's [`engine::Config::disk_backlog_max`], reads by one for each connection.
#[derive(Debug)]
pub(crate) struct Mailbox<T> {
    inner: Mutex<Inner<T>>,
    wake: Condvar,
}

#[derive(Debug)]
struct Inner<T> {
    queue: Vec<T>,
    sleeping: bool,
    closed: bool,
}

impl<T> Default for Mailbox<T> {
    fn default() -> Self {
        Mailbox { inner: Mutex::new(Inner { queue: Vec::new(), sleeping: false, closed: false }), wake: Condvar::new() }
    }
}

impl<T> Mailbox<T> {
    /// Puts all of `work` in. It is left empty.
    pub(crate) fn put(&self, work: &mut Vec<T>) {
        let mut inner = self.lock();
        if inner.queue.is_empty() {
            std::mem::swap(&mut inner.queue, work);
        } else {
            inner.queue.append(work);
        }
        if std::mem::take(&mut inner.sleeping) {
            drop(inner);
            self.wake.notify_one();
        }
    }

    /// Takes all into `out`, which must be empty, and waits until there is something. False: closed and empty.
    pub(crate) fn take(&self, out: &mut Vec<T>) -> bool {
        let mut inner = self.lock();
        while inner.queue.is_empty() {
            if inner.closed {
                return false;
            }
            inner.sleeping = true;
            inner = self.wake.wait(inner).unwrap_or_else(PoisonError::into_inner);
        }
        inner.sleeping = false;
        std::mem::swap(&mut inner.queue, out);
        true
    }

    /// Lets the reader end once it has taken everything.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.wake.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Inner<T>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What gathers for the network loop, and the bell that wakes it.
pub(crate) struct Inbox<T> {
    queue: Mutex<Vec<T>>,
    waiting: AtomicBool,
    bell: Bell,
}

/// Wakes the loop from any thread.
pub(crate) type Bell = std::sync::Arc<dyn Fn() + Send + Sync>;

impl<T> Inbox<T> {
    pub(crate) fn new(bell: Bell) -> Self {
        Inbox { queue: Mutex::default(), waiting: AtomicBool::new(false), bell }
    }

    /// Puts all of `news` in, and rings unless somebody did so already.
    pub(crate) fn put(&self, news: &mut Vec<T>) {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).append(news);
        if !self.waiting.swap(true, Ordering::AcqRel) {
            (self.bell)();
        }
    }

    /// Puts one in.
    pub(crate) fn put_one(&self, news: T) {
        self.put(&mut vec![news]);
    }

    /// Puts all of it behind what is in `out`. Costs next to nothing if there is nothing.
    pub(crate) fn take(&self, out: &mut Vec<T>) {
        // Cleared before the queue is looked at: what comes after it rings again.
        if self.waiting.swap(false, Ordering::AcqRel) {
            let queue = &mut *self.queue.lock().unwrap_or_else(PoisonError::into_inner);
            if out.is_empty() {
                std::mem::swap(queue, out);
            } else {
                out.append(queue);
            }
        }
    }
}

impl<T> std::fmt::Debug for Inbox<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inbox").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    #[test]
    fn all_of_it_arrives_once() {
        let mailbox = Arc::new(Mailbox::default());
        let reader = std::thread::spawn({
            let mailbox = mailbox.clone();
            move || {
                let (mut all, mut batch) = (Vec::new(), Vec::new());
                while mailbox.take(&mut batch) {
                    all.append(&mut batch);
                }
                all
            }
        });
        for i in 0..100 {
            mailbox.put(&mut vec![i * 2, i * 2 + 1]);
        }
        mailbox.close();
        assert_eq!(reader.join().unwrap(), (0..200).collect::<Vec<_>>());
    }

    #[test]
    fn the_bell_rings_once_for_many() {
        let rung = Arc::new(AtomicUsize::new(0));
        let inbox = Inbox::new({
            let rung = rung.clone();
            Arc::new(move || {
                rung.fetch_add(1, Ordering::Relaxed);
            })
        });
        let mut out = Vec::new();
        inbox.take(&mut out);
        inbox.put_one(1);
        inbox.put(&mut vec![2, 3]);
        inbox.take(&mut out);
        assert_eq!((out, rung.load(Ordering::Relaxed)), (vec![1, 2, 3], 1));
        inbox.put_one(4);
        assert_eq!(rung.load(Ordering::Relaxed), 2);
    }
}
