//! Chance, given at birth: every machine gets its own stream, derived from a seed and a label.
//!
//! ChaCha8, so that what strangers see of it (peer ids, transaction ids, tokens) tells them nothing about
//! what comes next, and so that a seed means the same on every platform.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng as _, SeedableRng};

/// A seeded stream of random numbers. Not `Clone`: two users of one stream would be correlated; see [`Rng::fork`].
#[derive(Debug)]
pub struct Rng {
    seed: [u8; 32],
    /// Made when it is first drawn from: it is ten times as large as its seed, and most of thousands of torrents never draw.
    stream: Option<Box<ChaCha8Rng>>,
}

impl Rng {
    /// A stream from 32 bytes of entropy. Real nodes draw them from the system.
    pub fn from_entropy(seed: [u8; 32]) -> Self {
        Rng { seed, stream: None }
    }

    /// The stream that belongs to `seed`. For the lab and for tests.
    pub fn from_seed(seed: u64) -> Self {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&seed.to_le_bytes());
        Rng::from_entropy(bytes)
    }

    /// A new independent stream, whose values depend on this one's state and on `label`.
    pub fn fork(&mut self, label: u64) -> Rng {
        let mut bytes = [0; 32];
        self.fill(&mut bytes);
        for (b, l) in bytes.iter_mut().zip(label.to_le_bytes()) {
            *b ^= l;
        }
        Rng::from_entropy(bytes)
    }

    fn stream(&mut self) -> &mut ChaCha8Rng {
        self.stream.get_or_insert_with(|| Box::new(ChaCha8Rng::from_seed(self.seed)))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.stream().next_u64()
    }

    /// The next 32 bits.
    pub fn next_u32(&mut self) -> u32 {
        self.stream().next_u32()
    }

    /// Fills `out` with random bytes.
    pub fn fill(&mut self, out: &mut [u8]) {
        self.stream().fill_bytes(out);
    }

    /// A number in `0..n`; 0 when `n` is 0. The bias (under n / 2^64) does not matter for choices.
    pub fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(n)) >> 64) as u64
    }

    /// An index into something of `len` entries; 0 when `len` is 0.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }

    /// True once in `n` times on average.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    /// A number in `0.0..1.0`.
    pub fn unit(&mut self) -> f64 {
        (self.next_u64() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Shuffles `items` uniformly (Fisher-Yates).
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.index(i + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_reproducible_and_forks_differ() {
        let (mut a, mut b) = (Rng::from_seed(7), Rng::from_seed(7));
        assert_eq!(a.next_u64(), b.next_u64());
        let (mut fa, mut fb) = (a.fork(1), b.fork(2));
        assert_ne!(fa.next_u64(), fb.next_u64());
        assert!((0..1000).all(|_| a.below(10) < 10));
        assert_eq!(a.below(0), 0);
    }
}
