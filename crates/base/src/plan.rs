//! A plan says what is fetched: how many bytes, in which pieces and files, and what checks them.
//!
//! Torrents, Metalinks, split manifests and bare URLs all become plans; the engine and the hands know nothing else of them.

use crate::merkle::{self, Hash};
use crate::{Geometry, Layout, PieceIndex};
use sha1::{Digest, Sha1};
use sha2::Sha256;

/// What checks each piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// SHA-1 of each piece (BEP 3).
    pub sha1: Option<Box<[[u8; 20]]>>,
    /// Root of the SHA-256 tree under each piece (BEP 52). Bytes of padding are not under it.
    pub merkle: Option<Box<[Hash]>>,
}

/// What is fetched, and how it is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// How the bytes are cut.
    pub geometry: Geometry,
    /// The files they belong to.
    pub layout: Layout,
    /// What checks the pieces. Where a hybrid has both, both must hold.
    pub checks: Checks,
}

impl Plan {
    /// Bytes of `piece` that lie under its v2 tree: up to the end of the file that begins or continues there.
    pub fn merkle_len(&self, piece: PieceIndex) -> u32 {
        let len = u64::from(self.geometry.piece_len(piece));
        self.layout.spans(self.geometry.piece_offset(piece), len).next().map_or(0, |s| s.len as u32)
    }

    /// Leaves under the root of `piece`: those of a whole piece, or of a file that is shorter than one.
    pub fn merkle_width(&self, piece: PieceIndex) -> usize {
        let leaves = |bytes: u64| bytes.div_ceil(u64::from(merkle::LEAF_SIZE)).next_power_of_two() as usize;
        let whole = u64::from(self.geometry.piece_length());
        let file = self.layout.spans(self.geometry.piece_offset(piece), 1).next();
        file.map_or(1, |s| leaves(self.layout.files()[s.file.index()].len.min(whole)))
    }
}

/// Hashes one piece, bytes in order, and tells whether they are the right ones.
#[derive(Clone, Debug)]
pub struct PieceHasher {
    sha1: Option<Sha1>,
    tree: Option<Tree>,
    fed: u32,
}

#[derive(Clone, Debug)]
struct Tree {
    leaf: Sha256,
    in_leaf: u32,
    left: u32,
    leaves: Vec<Hash>,
}

impl PieceHasher {
    /// Begins `piece` of `plan`.
    pub fn new(plan: &Plan, piece: PieceIndex) -> Self {
        let tree = plan.checks.merkle.as_ref().map(|_| Tree {
            leaf: Sha256::new(),
            in_leaf: 0,
            left: plan.merkle_len(piece),
            leaves: Vec::new(),
        });
        PieceHasher { sha1: plan.checks.sha1.as_ref().map(|_| Sha1::new()), tree, fed: 0 }
    }

    /// Bytes hashed so far: the next ones start here within the piece.
    pub fn fed(&self) -> u32 {
        self.fed
    }

    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.fed += bytes.len() as u32;
        if let Some(h) = &mut self.sha1 {
            h.update(bytes);
        }
        if let Some(t) = &mut self.tree {
            t.update(bytes);
        }
    }

    /// True if all bytes of `piece` were fed and they match everything that `plan` has to check them with. A plan
    /// with nothing to check accepts any bytes.
    pub fn finish(self, plan: &Plan, piece: PieceIndex) -> bool {
        if self.fed != plan.geometry.piece_len(piece) {
            return false;
        }
        let digest = self.digest(plan, piece);
        let sha1 = plan.checks.sha1.as_ref().is_none_or(|all| all.get(piece.index()) == digest.sha1.as_ref());
        let merkle = plan.checks.merkle.as_ref().is_none_or(|all| all.get(piece.index()) == digest.merkle.as_ref());
        sha1 && merkle
    }

    /// The hashes of the bytes fed so far, which should be all of `piece`: what a torrent is made of. Of those kinds
    /// that `plan` checks.
    pub fn digest(self, plan: &Plan, piece: PieceIndex) -> PieceDigest {
        let merkle = self.tree.map(|t| merkle::root(&t.finish(), plan.merkle_width(piece), [0; 32]));
        PieceDigest { sha1: self.sha1.map(|h| h.finalize().into()), merkle }
    }
}

/// The hashes of one piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PieceDigest {
    /// SHA-1 of all its bytes (BEP 3).
    pub sha1: Option<[u8; 20]>,
    /// Root of the SHA-256 tree under it (BEP 52).
    pub merkle: Option<Hash>,
}

impl Tree {
    fn update(&mut self, bytes: &[u8]) {
        let mut bytes = &bytes[..bytes.len().min(self.left as usize)];
        self.left -= bytes.len() as u32;
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min((merkle::LEAF_SIZE - self.in_leaf) as usize));
            self.leaf.update(now);
            self.in_leaf += now.len() as u32;
            bytes = later;
            if self.in_leaf == merkle::LEAF_SIZE {
                self.leaves.push(self.leaf.finalize_reset().into());
                self.in_leaf = 0;
            }
        }
    }

    fn finish(mut self) -> Vec<Hash> {
        if self.in_leaf > 0 {
            self.leaves.push(self.leaf.finalize().into());
        }
        self.leaves
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileEntry, FileKind};

    fn plan(lens: &[(u64, bool)], piece_length: u64, checks: Checks) -> Plan {
        let files = lens.iter().map(|(len, pad)| FileEntry {
            path: "t/x".into(),
            offset: 0,
            len: *len,
            kind: if *pad { FileKind::Pad } else { FileKind::Content },
            executable: false,
        });
        let layout = Layout::folder("t".into(), files.collect()).expect("small");
        let geometry = Geometry::new(layout.total(), piece_length, crate::BLOCK_SIZE).expect("valid");
        Plan { geometry, layout, checks }
    }

    #[test]
    fn both_hashes_must_hold_and_padding_is_outside_the_tree() {
        let body = vec![0u8; 48 * 1024];
        // The root of 48 KiB of zeros, which are padded to a piece of 64 KiB.
        let root = [
            0x1c, 0xb5, 0xa2, 0x49, 0xf6, 0xe7, 0x21, 0x06, 0x0a, 0xae, 0x62, 0x3d, 0x21, 0xd3, 0xec, 0xa2, 0x30, 0x56,
            0xbd, 0xa8, 0xc1, 0x9e, 0x4e, 0x89, 0xf9, 0xa0, 0x86, 0x15, 0x15, 0x53, 0x71, 0x3d,
        ];
        let whole = [body, vec![0; 16 * 1024]].concat();
        let sha1: [u8; 20] = Sha1::digest(&whole).into();
        let checks = |sha1, root| Checks { sha1: Some(Box::new([sha1])), merkle: Some(Box::new([root])) };
        for (s, r, ok) in [(sha1, root, true), ([0; 20], root, false), (sha1, [0; 32], false)] {
            let p = plan(&[(48 << 10, false), (16 << 10, true)], 64 << 10, checks(s, r));
            let mut h = PieceHasher::new(&p, PieceIndex(0));
            whole.chunks(5000).for_each(|c| h.update(c));
            assert_eq!(h.finish(&p, PieceIndex(0)), ok);
        }
        let p = plan(&[(48 << 10, false), (16 << 10, true)], 64 << 10, checks(sha1, root));
        assert!(!PieceHasher::new(&p, PieceIndex(0)).finish(&p, PieceIndex(0)), "too few bytes");
        assert_eq!(p.merkle_width(PieceIndex(0)), 4);
    }
}
