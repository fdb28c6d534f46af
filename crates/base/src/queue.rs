//! Queues that are mostly empty: a machine says much at once and then nothing for minutes, and there are thousands of them.

use std::collections::VecDeque;

/// Entries whose memory an empty queue keeps when it is trimmed.
pub const QUEUE_KEPT: usize = 4;
/// Entries whose memory an empty queue keeps until then.
pub const QUEUE_KEPT_BUSY: usize = 64;

/// Takes the first entry of a queue. One that is found empty and has room for a great many gives back its memory.
pub fn pop_or_trim<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front();
    if first.is_none() && queue.capacity() > QUEUE_KEPT_BUSY {
        queue.shrink_to(QUEUE_KEPT);
    }
    first
}

/// Gives back the memory of a queue that is empty, but for a few entries: now and then, not each time that it runs empty, or
/// a busy one allocates all the time.
pub fn trim<T>(queue: &mut VecDeque<T>) {
    if queue.is_empty() && queue.capacity() > QUEUE_KEPT {
        queue.shrink_to(QUEUE_KEPT);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_queue_is_small() {
        let mut queue: VecDeque<u32> = (0..100).collect();
        assert_eq!(pop_or_trim(&mut queue), Some(0));
        assert!(queue.capacity() >= 99);
        while pop_or_trim(&mut queue).is_some() {}
        assert!(queue.capacity() < 8);
        let mut queue: VecDeque<u32> = (0..40).collect();
        while pop_or_trim(&mut queue).is_some() {}
        assert!(queue.capacity() >= 40, "a busy queue is not made anew");
        trim(&mut queue);
        assert!(queue.capacity() < 8);
    }
}
