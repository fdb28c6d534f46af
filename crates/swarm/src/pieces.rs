//! Who somebody is to this torrent, and which pieces they have.
//!
//! A session keeps one [`Pieces`] for its peer. Nothing and everything cost no memory: they are most of the
//! peers of a young or an old swarm, and a seed is counted in constant time (BEP 6 has messages for both).

use base::{Bitfield, PieceIndex};

/// A peer, an HTTP source or any other supplier of one torrent, as the picker and the choker name it.
///
/// Blocks remember their sender until their piece is verified, long after the sender may be gone: number suppliers by
/// counting up, don't use a number again while an open piece may hold a block of its first bearer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PeerSlot(pub u32);

impl PeerSlot {
    /// Largest number that names a peer: two bits of each block's word are its state.
    pub const MAX: PeerSlot = PeerSlot((1 << 30) - 2);

    /// The number as an index into a slice.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// Which pieces a peer has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Pieces {
    /// None at all, or none told yet.
    #[default]
    None,
    /// Every piece: a seed.
    All,
    /// Those whose bit is one.
    Some(Bitfield),
}

impl Pieces {
    /// What a bitfield says: empty and full ones become [`Pieces::None`] and [`Pieces::All`].
    pub fn from_bitfield(bits: Bitfield) -> Self {
        match bits.count() {
            0 => Pieces::None,
            n if n == bits.len() => Pieces::All,
            _ => Pieces::Some(bits),
        }
    }

    /// True if `piece` is among them.
    pub fn has(&self, piece: PieceIndex) -> bool {
        match self {
            Pieces::None => false,
            Pieces::All => true,
            Pieces::Some(bits) => bits.has(piece.0),
        }
    }

    /// True if there are none.
    pub fn is_none(&self) -> bool {
        matches!(self, Pieces::None)
    }

    /// True if it is a seed.
    pub fn is_all(&self) -> bool {
        matches!(self, Pieces::All)
    }

    /// How many of `piece_count` pieces there are.
    pub fn count(&self, piece_count: u32) -> u32 {
        match self {
            Pieces::None => 0,
            Pieces::All => piece_count,
            Pieces::Some(bits) => bits.count(),
        }
    }

    /// Adds `piece` of a torrent of `piece_count` pieces. True if it is new (tell [`crate::picker::Picker::peer_has`]).
    /// The last one turns the set into [`Pieces::All`]; the picker needs no word of that.
    pub fn set(&mut self, piece: PieceIndex, piece_count: u32) -> bool {
        if piece.0 >= piece_count {
            return false;
        }
        if self.is_none() {
            *self = Pieces::Some(Bitfield::new(piece_count));
        }
        let Pieces::Some(bits) = self else { return false };
        let new = bits.set(piece.0);
        if bits.is_full() {
            *self = Pieces::All;
        }
        new
    }

    /// Takes `piece` away (BEP 54). True if it was there (tell [`crate::picker::Picker::peer_lost`]).
    pub fn clear(&mut self, piece: PieceIndex, piece_count: u32) -> bool {
        if piece.0 >= piece_count {
            return false;
        }
        if self.is_all() {
            *self = Pieces::Some(Bitfield::full(piece_count));
        }
        let Pieces::Some(bits) = self else { return false };
        let was = bits.clear(piece.0);
        if bits.count() == 0 {
            *self = Pieces::None;
        }
        was
    }
}

/// True if `a` and `b`, of the same length, share a one. Word by word: 2^21 pieces are 32,768 steps at worst.
pub(crate) fn any_common(a: &Bitfield, b: &Bitfield) -> bool {
    let (a, a_rest) = a.as_bytes().as_chunks::<8>();
    let (b, b_rest) = b.as_bytes().as_chunks::<8>();
    a.iter().zip(b).any(|(a, b)| u64::from_ne_bytes(*a) & u64::from_ne_bytes(*b) != 0)
        || a_rest.iter().zip(b_rest).any(|(a, b)| a & b != 0)
}

/// The ones of `a` (and of `b`, if given) from bit `from` on, ascending; zero words cost one step for 64 bits.
pub(crate) fn ones_common<'a>(a: &'a Bitfield, b: Option<&'a Bitfield>, from: u32) -> impl Iterator<Item = u32> + 'a {
    let first = from / 64;
    (first..a.len().div_ceil(64)).flat_map(move |at| {
        let mut word = word(a, at) & b.map_or(u64::MAX, |b| self::word(b, at));
        if at == first {
            word &= u64::MAX >> (from % 64);
        }
        std::iter::from_fn(move || {
            let bit = word.leading_zeros();
            (bit < 64).then(|| {
                word &= !(1 << (63 - bit));
                at * 64 + bit
            })
        })
    })
}

/// Bits `64 * at` to `64 * at + 63`, the first as the most significant.
fn word(bits: &Bitfield, at: u32) -> u64 {
    let bytes = bits.as_bytes().get(at as usize * 8..).unwrap_or_default();
    match bytes.first_chunk::<8>() {
        Some(chunk) => u64::from_be_bytes(*chunk),
        None => bytes.iter().enumerate().fold(0, |word, (i, b)| word | u64::from(*b) << (56 - 8 * i)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn sets_grow_into_all_and_shrink_to_none() {
        let mut pieces = Pieces::None;
        assert!(pieces.set(PieceIndex(1), 2));
        assert!(!pieces.set(PieceIndex(1), 2));
        assert!(!pieces.set(PieceIndex(2), 2));
        assert!(!pieces.has(PieceIndex(0)) && pieces.has(PieceIndex(1)));
        assert!(pieces.set(PieceIndex(0), 2));
        assert!(pieces.is_all());
        assert!(pieces.clear(PieceIndex(0), 2) && pieces.clear(PieceIndex(1), 2));
        assert!(pieces.is_none());
    }

    proptest! {
        #[test]
        fn word_scans_agree_with_bits(len in 1u32..200, a in any::<[u64; 4]>(), b in any::<[u64; 4]>(), from in 0u32..210) {
            let fill = |words: [u64; 4]| {
                let mut bits = Bitfield::new(len);
                (0..len).filter(|i| words[*i as usize / 64] >> (i % 64) & 1 != 0).for_each(|i| { bits.set(i); });
                bits
            };
            let (a, b) = (fill(a), fill(b));
            let expected: Vec<u32> = (from..len).filter(|i| a.has(*i) && b.has(*i)).collect();
            prop_assert_eq!(ones_common(&a, Some(&b), from).collect::<Vec<_>>(), expected);
            prop_assert_eq!(ones_common(&a, None, 0).collect::<Vec<_>>(), a.ones().collect::<Vec<_>>());
            prop_assert_eq!(any_common(&a, &b), a.ones().any(|i| b.has(i)));
        }
    }
}
