//! How fast lanes are: bytes a second of one thread, for each number of messages at once.
#![allow(
    clippy::print_stdout,
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it measures, for the terminal"
)]

use hash::{Feed, Hasher, Kind, Sha1Kind, Sha256Kind, update_all};
use std::time::{Duration, Instant};

/// Bytes of one message: together they stay in the cache, as pieces do that were just received.
const LEN: usize = 256 << 10;

fn run<K: Kind>(name: &str) {
    let body: Vec<u8> = (0..8 * LEN).map(|i| (i * 7 + i / 977) as u8).collect();
    for lanes in [1, 2, 3, 4, 8] {
        let messages: Vec<[&[u8]; 1]> = body.chunks(LEN).take(lanes).map(|m| [m]).collect();
        let best = (0..40).map(|_| {
            let mut hashers = vec![Hasher::<K>::new(); lanes];
            let begin = Instant::now();
            update_all(hashers.iter_mut().zip(&messages).map(|(h, m)| Feed::new(h, m)));
            std::hint::black_box(hashers);
            begin.elapsed()
        });
        let best = best.min().unwrap_or(Duration::MAX);
        println!("{name}, {lanes} at once: {:.2} GB/s", (lanes * LEN) as f64 / best.as_secs_f64() / 1e9);
    }
}

fn main() {
    run::<Sha1Kind>("SHA-1");
    run::<Sha256Kind>("SHA-256");
}
