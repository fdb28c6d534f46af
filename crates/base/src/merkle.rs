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
