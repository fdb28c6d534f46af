//! A fixed number of bits, most significant first in each byte, as BEP 3 sends them.

use std::fmt;

/// Which pieces somebody has, or any other set of small numbers. The length never changes.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Bitfield {
    bytes: Box<[u8]>,
    len: u32,
    ones: u32,
}

impl Bitfield {
    /// `len` bits, all zero.
    pub fn new(len: u32) -> Self {
        Bitfield { bytes: vec![0; (len as usize).div_ceil(8)].into(), len, ones: 0 }
    }

    /// `len` bits, all one.
    pub fn full(len: u32) -> Self {
        let mut bytes = vec![0xff; (len as usize).div_ceil(8)];
        if let (Some(last), spare @ 1..) = (bytes.last_mut(), bytes_spare(len)) {
            *last = 0xff << spare;
        }
        Bitfield { bytes: bytes.into(), len, ones: len }
    }

    /// Reads the bytes of a bitfield message. None if the length is wrong or a spare bit is set.
    pub fn from_bytes(bytes: &[u8], len: u32) -> Option<Self> {
        if bytes.len() != (len as usize).div_ceil(8) {
            return None;
        }
        let spare = bytes_spare(len);
        if spare > 0 && bytes.last().is_some_and(|b| b & ((1 << spare) - 1) != 0) {
            return None;
        }
        let ones = bytes.iter().map(|b| b.count_ones()).sum();
        Some(Bitfield { bytes: bytes.into(), len, ones })
    }

    /// The bytes as they go on the wire.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Number of bits.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// True if there are no bits at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Number of ones.
    pub fn count(&self) -> u32 {
        self.ones
    }

    /// True if every bit is one.
    pub fn is_full(&self) -> bool {
        self.ones == self.len
    }

    /// Bit `i`; false beyond the end.
    pub fn has(&self, i: u32) -> bool {
        i < self.len && self.bytes[i as usize / 8] & (0x80 >> (i % 8)) != 0
    }

    /// Sets bit `i`. True if it was zero before. Beyond the end nothing happens.
    pub fn set(&mut self, i: u32) -> bool {
        let new = i < self.len && !self.has(i);
        if new {
            self.bytes[i as usize / 8] |= 0x80 >> (i % 8);
            self.ones += 1;
        }
        new
    }

    /// Clears bit `i`. True if it was one before.
    pub fn clear(&mut self, i: u32) -> bool {
        let was = self.has(i);
        if was {
            self.bytes[i as usize / 8] &= !(0x80 >> (i % 8));
            self.ones -= 1;
        }
        was
    }

    /// The ones, ascending.
    pub fn ones(&self) -> impl Iterator<Item = u32> + '_ {
        self.bytes
            .iter()
            .enumerate()
            .filter(|(_, b)| **b != 0)
            .flat_map(|(i, b)| (0..8).filter(move |bit| b & (0x80 >> bit) != 0).map(move |bit| i as u32 * 8 + bit))
    }

    /// The zeros, ascending.
    pub fn zeros(&self) -> impl Iterator<Item = u32> + '_ {
        (0..self.len).filter(|i| !self.has(*i))
    }

    /// True if `other` has a one where this has a zero. Both must have the same length.
    pub fn lacks_any_of(&self, other: &Bitfield) -> bool {
        self.bytes.iter().zip(&other.bytes).any(|(a, b)| !a & b != 0)
    }
}

/// Unused bits of the last byte.
fn bytes_spare(len: u32) -> u32 {
    (8 - len % 8) % 8
}

impl fmt::Debug for Bitfield {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bitfield({}/{})", self.ones, self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn spare_bits_are_refused() {
        assert!(Bitfield::from_bytes(&[0xff, 0x80], 9).is_some());
        assert!(Bitfield::from_bytes(&[0xff, 0x81], 9).is_none());
        assert!(Bitfield::from_bytes(&[0xff], 9).is_none());
        assert_eq!(Bitfield::full(9).as_bytes(), [0xff, 0x80]);
        assert_eq!(Bitfield::full(16).as_bytes(), [0xff, 0xff]);
        assert!(Bitfield::full(0).is_full());
    }

    proptest! {
        #[test]
        fn behaves_like_a_set(len in 0u32..70, ops in proptest::collection::vec((0u32..80, any::<bool>()), 0..100)) {
            let mut bits = Bitfield::new(len);
            let mut model = std::collections::BTreeSet::new();
            for (i, on) in ops {
                let changed = if on { bits.set(i) } else { bits.clear(i) };
                let expected = if i >= len { false } else if on { model.insert(i) } else { model.remove(&i) };
                prop_assert_eq!(changed, expected);
            }
            prop_assert_eq!(bits.ones().collect::<Vec<_>>(), model.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(bits.count() as usize, model.len());
            prop_assert_eq!(bits.zeros().count() + model.len(), len as usize);
            prop_assert_eq!(Bitfield::from_bytes(bits.as_bytes(), len), Some(bits));
        }
    }
}
