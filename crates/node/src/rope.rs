//! A run of stream bytes as slices of the buffers that the sockets were read into: nothing is copied on the way from
//! the kernel to the file.
//!
//! Two slices, what a block that straddles two buffers needs, lie in the rope itself; only more of them need the heap.
//! It does not own the buffers: see [`crate::pool`].

use base::Payload;
use bytes::{Buf as _, Bytes};
use std::collections::VecDeque;

/// Reference-counted slices, one behind the other. No slice in it is empty, and the places are filled in order.
#[derive(Clone, Default)]
pub struct Rope {
    first: Bytes,
    second: Bytes,
    more: VecDeque<Bytes>,
    len: usize,
}

impl Rope {
    /// The slices in order.
    pub fn slices(&self) -> impl Iterator<Item = &Bytes> {
        [&self.first, &self.second].into_iter().filter(|s| !s.is_empty()).chain(&self.more)
    }

    /// Puts one slice behind the others.
    pub fn push(&mut self, slice: Bytes) {
        if slice.is_empty() {
            return;
        }
        self.len += slice.len();
        if self.first.is_empty() {
            self.first = slice;
        } else if self.second.is_empty() {
            self.second = slice;
        } else {
            self.more.push_back(slice);
        }
    }

    /// All bytes in one run, copied. For small messages and tests.
    pub fn to_vec(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.len);
        self.slices().for_each(|s| out.extend_from_slice(s));
        out
    }

    /// Takes the first slice out.
    fn shift(&mut self) -> Bytes {
        let next = std::mem::take(&mut self.second);
        if let Some(after) = self.more.pop_front() {
            self.second = after;
        }
        let slice = std::mem::replace(&mut self.first, next);
        self.len -= slice.len();
        slice
    }
}

impl From<Bytes> for Rope {
    fn from(slice: Bytes) -> Self {
        let mut rope = Rope::default();
        rope.push(slice);
        rope
    }
}

impl Payload for Rope {
    fn len(&self) -> usize {
        self.len
    }

    fn split_to(&mut self, n: usize) -> Self {
        assert!(n <= self.len, "split at {n} of {}", self.len);
        let mut out = Rope::default();
        while out.len < n {
            let left = n - out.len;
            if self.first.len() <= left {
                out.push(self.shift());
            } else {
                out.push(self.first.split_to(left));
                self.len -= left;
            }
        }
        out
    }

    fn advance(&mut self, n: usize) {
        assert!(n <= self.len, "{n} of {} dropped", self.len);
        let mut left = n;
        while left > 0 {
            if self.first.len() <= left {
                left -= self.shift().len();
            } else {
                self.first.advance(left);
                self.len -= left;
                left = 0;
            }
        }
    }

    fn append(&mut self, mut more: Self) {
        while !more.is_empty() {
            self.push(more.shift());
        }
    }

    fn copy_prefix(&self, mut out: &mut [u8]) {
        for slice in self.slices() {
            let (now, later) = out.split_at_mut(slice.len().min(out.len()));
            now.copy_from_slice(&slice[..now.len()]);
            out = later;
            if out.is_empty() {
                break;
            }
        }
    }
}

impl std::fmt::Debug for Rope {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Rope({} bytes in {})", self.len, self.slices().count())
    }
}

/// By content, however it is cut.
impl PartialEq for Rope {
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len && self.slices().flat_map(|s| s.iter()).eq(other.slices().flat_map(|s| s.iter()))
    }
}

impl Eq for Rope {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]
        #[test]
        fn behaves_like_plain_bytes(parts in proptest::collection::vec(0usize..9, 0..8), cuts in proptest::collection::vec(0usize..12, 0..8)) {
            let mut next = 0u8;
            let (mut rope, mut model) = (Rope::default(), Vec::new());
            for n in parts {
                let bytes: Vec<u8> = (0..n).map(|_| { next = next.wrapping_add(1); next }).collect();
                model.extend_from_slice(&bytes);
                rope.append(Rope::from(Bytes::from(bytes)));
            }
            for cut in cuts {
                let n = cut.min(model.len());
                let mut prefix = vec![0; n];
                rope.copy_prefix(&mut prefix);
                let mut rest = rope.clone();
                Payload::advance(&mut rest, n);
                let head = Payload::split_to(&mut model, n);
                prop_assert_eq!(rest.to_vec(), model.clone());
                let got = rope.split_to(n);
                prop_assert_eq!(&prefix, &head);
                prop_assert_eq!(got.to_vec(), head);
                prop_assert_eq!(Payload::len(&rope), model.len());
                prop_assert!(rope.slices().all(|s| !s.is_empty()));
            }
            prop_assert_eq!(rope.to_vec(), model);
        }
    }

    #[test]
    fn equal_however_it_is_cut() {
        let mut a = Rope::from(Bytes::from_static(b"ab"));
        a.push(Bytes::from_static(b"c"));
        assert_eq!(a, Rope::from(Bytes::from_static(b"abc")));
        assert_ne!(a, Rope::from(Bytes::from_static(b"abd")));
    }
}
