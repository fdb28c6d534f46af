//! Queues that are mostly empty: a machine says much at once and then nothing for minutes, and there are thousands of them.

use std::collections::VecDeque;

/// Entries whose memory an empty queue keeps.
pub const QUEUE_KEPT: usize = 4;

/// Takes the first entry of a queue. A queue that is found empty gives back its memory, but for a few entries.
pub fn pop_or_trim<T>(queue: &mut VecDeque<T>) -> Option<T> {
    let first = queue.pop_front();
    if first.is_none() && queue.capacity() > QUEUE_KEPT {
        queue.shrink_to(QUEUE_KEPT);
    }
    first
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
    }
}
