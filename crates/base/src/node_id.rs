//! Where a node, a torrent or an item is in the key space of the DHT (BEP 5), and how far apart two of them are.

use std::fmt;

use crate::{Hex, InfoHash, Rng};

/// A point of the key space: 160 bits. Distance is XOR.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub [u8; 20]);

impl NodeId {
    /// Bits of an id.
    pub const BITS: usize = 160;

    /// An id drawn by chance.
    pub fn random(rng: &mut Rng) -> NodeId {
        let mut id = [0; 20];
        rng.fill(&mut id);
        NodeId(id)
    }

    /// The distance to `other`; smaller is closer. Only its order means anything.
    pub fn distance(&self, other: &NodeId) -> NodeId {
        let mut out = self.0;
        out.iter_mut().zip(other.0).for_each(|(a, b)| *a ^= b);
        NodeId(out)
    }

    /// How many of the first bits are the same: 160 for equal ids.
    pub fn shared_bits(&self, other: &NodeId) -> usize {
        let distance = self.distance(other).0;
        let zeros = distance.iter().take_while(|b| **b == 0).count();
        zeros * 8 + distance.get(zeros).map_or(0, |b| b.leading_zeros() as usize)
    }

    /// The first `shared` bits of this id, the next one turned around, and what follows drawn by chance: a point that shares exactly
    /// `shared` bits with this one. With 160 it is this one.
    pub fn random_at(&self, shared: usize, rng: &mut Rng) -> NodeId {
        let mut out = NodeId::random(rng).0;
        for bit in 0..NodeId::BITS.min(shared + 1) {
            let (byte, mask) = (bit / 8, 0x80 >> (bit % 8));
            let ours = self.0[byte] & mask;
            let wanted = if bit == shared { ours ^ mask } else { ours };
            out[byte] = out[byte] & !mask | wanted;
        }
        NodeId(out)
    }
}

impl From<InfoHash> for NodeId {
    fn from(hash: InfoHash) -> Self {
        NodeId(hash.0)
    }
}

impl fmt::Display for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distance_and_shared_bits() {
        let (zero, mut one) = (NodeId([0; 20]), NodeId([0; 20]));
        assert_eq!(zero.shared_bits(&one), 160);
        one.0[19] = 1;
        assert_eq!(zero.shared_bits(&one), 159);
        assert_eq!(zero.distance(&one), one);
        one.0[0] = 0x40;
        assert_eq!(zero.shared_bits(&one), 1);
    }

    #[test]
    fn random_points_share_as_many_bits_as_was_asked() {
        let mut rng = Rng::from_seed(3);
        for shared in 0..NodeId::BITS {
            let id = NodeId::random(&mut rng);
            assert_eq!(id.shared_bits(&id.random_at(shared, &mut rng)), shared);
        }
        let id = NodeId::random(&mut rng);
        assert_eq!(id.random_at(160, &mut rng), id);
    }
}
