//! Merkle trees of BEP 52: SHA-256, leaves of 16 KiB, padded with zero hashes to a power of two.

use sha2::{Digest, Sha256};

/// Bytes under one leaf.
pub const LEAF_SIZE: u32 = 16 * 1024;

/// A SHA-256 digest.
pub type Hash = [u8; 32];

/// The hash of two children.
pub fn parent(left: &Hash, right: &Hash) -> Hash {
    let mut h = Sha256::new();
    h.update(left);
    h.update(right);
    h.finalize().into()
}

/// The root over `nodes`, padded on the right to `width` nodes (a power of two, at least `nodes.len()`) with `pad`.
/// Leaves are padded with zeros, higher layers with the root of a subtree of zeros of their height: see [`pad`].
pub fn root(nodes: &[Hash], width: usize, mut pad: Hash) -> Hash {
    debug_assert!(width.is_power_of_two() && nodes.len() <= width);
    let mut level = nodes.to_vec();
    let mut width = width;
    while width > 1 {
        if level.len() % 2 == 1 {
            level.push(pad);
        }
        for i in 0..level.len() / 2 {
            level[i] = parent(&level[2 * i], &level[2 * i + 1]);
        }
        level.truncate(level.len() / 2);
        pad = parent(&pad, &pad);
        width /= 2;
    }
    level.first().copied().unwrap_or(pad)
}

/// The root of a file over its piece layer: one root for each piece of `piece_length` bytes, a power of two.
pub fn layer_root(layer: &[Hash], piece_length: u32) -> Hash {
    let height = (piece_length / LEAF_SIZE).max(1).ilog2();
    root(layer, layer.len().next_power_of_two(), pad(height))
}

/// The root of a subtree of zero leaves that is `height` levels above the leaves.
pub fn pad(height: u32) -> Hash {
    (0..height).fold([0; 32], |h, _| parent(&h, &h))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hex;
    use proptest::prelude::*;

    /// The leaves under `data`.
    fn leaves(data: &[u8]) -> Vec<Hash> {
        data.chunks(LEAF_SIZE as usize).map(|leaf| Sha256::digest(leaf).into()).collect()
    }

    fn text(hash: Hash) -> String {
        Hex(&hash).to_string()
    }

    /// Roots that other programs compute too.
    #[test]
    fn known_roots() {
        assert_eq!(text(pad(1)), "f5a5fd42d16a20302798ef6ed309979b43003d2320d9f0e8ea9831a92759fb4b");
        let zeros = leaves(&[0; 48 << 10]);
        let two = root(&zeros[..2], 2, [0; 32]);
        assert_eq!(text(two), "c36d0dd6a886e1fce758b6b5c531b703a1f21e8f6453785c390931cf8fa8a76d");
        assert_eq!(text(root(&zeros, 4, [0; 32])), "1cb5a249f6e721060aae623d21d3eca23056bda8c19e4e89f9a086151553713d");
        assert_eq!(root(&zeros[..1], 1, [0; 32]), zeros[0], "a file of one leaf is its own root");
        assert_eq!(root(&[], 4, [0; 32]), pad(2));
    }

    proptest! {
        /// However the tree is cut into pieces, the root over the piece layer is that over all leaves.
        #[test]
        fn the_root_of_the_layer_is_the_root(seed: u8, count in 2..40usize, height in 0..4u32) {
            let leaves: Vec<Hash> = (0..count).map(|i| Sha256::digest([seed, i as u8]).into()).collect();
            let per_piece = 1 << height;
            prop_assume!(count > per_piece);
            let layer: Vec<Hash> = leaves.chunks(per_piece).map(|piece| root(piece, per_piece, [0; 32])).collect();
            let whole = root(&leaves, count.next_power_of_two(), [0; 32]);
            prop_assert_eq!(layer_root(&layer, LEAF_SIZE << height), whole);
        }
    }
}
