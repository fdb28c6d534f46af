//! Slices of shared buffers, as the hands have them, and bytes that tell where they belong.

use base::Payload;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Slices(VecDeque<Bytes>, usize);

const PERIOD: usize = 65_521;

fn byte(i: u64) -> u8 {
    let i = i % PERIOD as u64;
    (i ^ (i >> 7) ^ (i >> 13)) as u8
}

thread_local! {
    static PAGE: Bytes = (0..PERIOD as u64 + (1 << 21)).map(byte).collect();
}

/// The bytes of a stream from `offset` on.
pub(crate) fn pattern(offset: u64, len: usize) -> Slices {
    let from = (offset % PERIOD as u64) as usize;
    Slices::from(PAGE.with(|page| page.slice(from..from + len)))
}

impl Slices {
    /// Compares with the bytes of a stream from `offset` on.
    pub(crate) fn check(&self, mut offset: u64) {
        for slice in &self.0 {
            let expect = pattern(offset, slice.len());
            assert!(expect.0[0] == slice, "wrong bytes at {offset}");
            offset += slice.len() as u64;
        }
    }
}

impl From<Bytes> for Slices {
    fn from(bytes: Bytes) -> Self {
        let len = bytes.len();
        Slices(if len == 0 { VecDeque::new() } else { [bytes].into() }, len)
    }
}

impl From<Vec<u8>> for Slices {
    fn from(bytes: Vec<u8>) -> Self {
        Bytes::from(bytes).into()
    }
}

impl Payload for Slices {
    fn len(&self) -> usize {
        self.1
    }

    fn split_to(&mut self, n: usize) -> Self {
        let mut out = Slices::default();
        while out.1 < n {
            let Some(first) = self.0.front_mut() else { panic!("split beyond the end") };
            let part = if first.len() <= n - out.1 { self.0.pop_front() } else { Some(first.split_to(n - out.1)) };
            out.append(part.map(Slices::from).unwrap_or_default());
        }
        self.1 -= n;
        out
    }

    fn advance(&mut self, n: usize) {
        let mut left = n;
        while left > 0 {
            let Some(first) = self.0.front_mut() else { panic!("beyond the end") };
            let now = left.min(first.len());
            first.advance(now);
            if first.is_empty() {
                self.0.pop_front();
            }
            left -= now;
        }
        self.1 -= n;
        if self.1 == 0 {
            self.0.clear();
        }
    }

    fn append(&mut self, more: Self) {
        self.1 += more.1;
        self.0.extend(more.0);
    }

    fn copy_prefix(&self, mut out: &mut [u8]) {
        for slice in &self.0 {
            let n = slice.len().min(out.len());
            out[..n].copy_from_slice(&slice[..n]);
            out = &mut out[n..];
        }
        assert!(out.is_empty(), "copied beyond the end");
    }
}
