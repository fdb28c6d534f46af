//! A plan says what is fetched: how many bytes, in which pieces and files, and what checks them.
//!
//! Torrents, Metalinks, split manifests and bare URLs all become plans; the engine and the hands know nothing else of them.

use crate::merkle::{self, Hash};
use crate::{Geometry, Layout, PieceIndex};
use hash::{Feed, Sha1, Sha256, update_all};

/// What checks each piece.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checks {
    /// SHA-1 of each piece (BEP 3).
    pub sha1: Option<Box<[[u8; 20]]>>,
    /// Root of the SHA-256 tree under each piece (BEP 52). Bytes of padding are not under it.
    pub merkle: Option<Box<[Hash]>>,
    /// SHA-256 of each piece as it is (Metalink, RFC 5854).
    pub sha256: Option<Box<[[u8; 32]]>>,
}

/// One digest of all bytes, which can be compared only when they are all here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WholeDigest {
    /// Of SHA-256.
    Sha256([u8; 32]),
    /// Of SHA-1.
    Sha1([u8; 20]),
}

/// Hashes all bytes in order, and tells whether they have the digest.
#[derive(Clone, Debug)]
pub enum WholeHasher {
    /// By SHA-256.
    Sha256(Sha256, [u8; 32]),
    /// By SHA-1.
    Sha1(Sha1, [u8; 20]),
}

impl WholeHasher {
    /// Begins to hash what should have this digest.
    pub fn new(digest: WholeDigest) -> Self {
        match digest {
            WholeDigest::Sha256(digest) => WholeHasher::Sha256(Sha256::new(), digest),
            WholeDigest::Sha1(digest) => WholeHasher::Sha1(Sha1::new(), digest),
        }
    }

    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            WholeHasher::Sha256(hasher, _) => hasher.update(bytes),
            WholeHasher::Sha1(hasher, _) => hasher.update(bytes),
        }
    }

    /// True if the bytes are the right ones.
    pub fn finish(self) -> bool {
        match self {
            WholeHasher::Sha256(hasher, digest) => hasher.finish() == digest,
            WholeHasher::Sha1(hasher, digest) => hasher.finish() == digest,
        }
    }
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
    /// What checks all bytes together, padding left out: for what names no pieces, and for those that name both. It is compared
    /// at the end unless the digests of pieces are as good ([`Plan::compares_whole`]).
    pub whole: Option<WholeDigest>,
}

impl Plan {
    /// A plan whose pieces alone are checked.
    pub fn new(geometry: Geometry, layout: Layout, checks: Checks) -> Self {
        Plan { geometry, layout, checks, whole: None }
    }

    /// True if pieces can be checked as they come; else the bytes are believed, and what checks them, if anything, is
    /// [`Plan::whole`].
    pub fn checks_pieces(&self) -> bool {
        let Checks { sha1, merkle, sha256 } = &self.checks;
        sha1.is_some() || merkle.is_some() || sha256.is_some()
    }

    /// True if the digest of the whole tells more than those of the pieces: they are none, or of SHA-1, which can be forged.
    pub fn compares_whole(&self) -> bool {
        self.whole.is_some() && self.checks.sha256.is_none() && self.checks.merkle.is_none()
    }

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
    sha256: Option<Sha256>,
    fed: u32,
}

#[derive(Clone, Debug)]
struct Tree {
    leaf: Sha256,
    left: u32,
    leaves: Vec<Hash>,
}

impl PieceHasher {
    /// Begins `piece` of `plan`.
    pub fn new(plan: &Plan, piece: PieceIndex) -> Self {
        let tree = plan.checks.merkle.as_ref().map(|_| Tree {
            leaf: Sha256::new(),
            left: plan.merkle_len(piece),
            leaves: Vec::new(),
        });
        let sha1 = plan.checks.sha1.as_ref().map(|_| Sha1::new());
        PieceHasher { sha1, tree, sha256: plan.checks.sha256.as_ref().map(|_| Sha256::new()), fed: 0 }
    }

    /// Bytes hashed so far: the next ones start here within the piece.
    pub fn fed(&self) -> u32 {
        self.fed
    }

    /// Hashes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        PieceHasher::update_all(&mut [(self, &[bytes])]);
    }

    /// Hashes the next bytes of several pieces, each in parts, side by side: much faster than one after the other.
    pub fn update_all(pieces: &mut [(&mut PieceHasher, &[&[u8]])]) {
        for (piece, parts) in pieces.iter_mut() {
            piece.fed += parts.iter().map(|p| p.len() as u32).sum::<u32>();
        }
        update_all(pieces.iter_mut().filter_map(|(p, parts)| Some(Feed::new(p.sha1.as_mut()?, parts))));
        update_all(pieces.iter_mut().filter_map(|(p, parts)| Some(Feed::new(p.sha256.as_mut()?, parts))));
        // The leaves of one tree lie side by side, too.
        let mut trees = Vec::new();
        for (piece, parts) in pieces.iter_mut() {
            if let Some(tree) = &mut piece.tree {
                let leaves = tree.cut(parts);
                trees.push((tree, leaves));
            }
        }
        let leaves = trees.iter_mut().flat_map(|(_, leaves)| leaves.iter_mut());
        update_all(leaves.map(|(hasher, parts)| Feed::new(hasher, parts)));
        for (tree, leaves) in trees {
            tree.take(leaves.into_iter().map(|(hasher, _)| hasher));
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
        let sha256 = plan.checks.sha256.as_ref().is_none_or(|all| all.get(piece.index()) == digest.sha256.as_ref());
        sha1 && merkle && sha256
    }

    /// The hashes of the bytes fed so far, which should be all of `piece`: what a torrent is made of. Of those kinds
    /// that `plan` checks.
    pub fn digest(self, plan: &Plan, piece: PieceIndex) -> PieceDigest {
        let merkle = self.tree.map(|t| merkle::root(&t.finish(), plan.merkle_width(piece), [0; 32]));
        PieceDigest { sha1: self.sha1.map(Sha1::finish), merkle, sha256: self.sha256.map(Sha256::finish) }
    }
}

/// The hashes of one piece.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PieceDigest {
    /// SHA-1 of all its bytes (BEP 3).
    pub sha1: Option<[u8; 20]>,
    /// Root of the SHA-256 tree under it (BEP 52).
    pub merkle: Option<Hash>,
    /// SHA-256 of all its bytes.
    pub sha256: Option<[u8; 32]>,
}

impl Tree {
    /// Cuts what comes next into leaves; the first one may have begun before, the last one may go on.
    fn cut<'a>(&mut self, parts: &[&'a [u8]]) -> Vec<(Sha256, Vec<&'a [u8]>)> {
        let mut leaves = vec![(std::mem::take(&mut self.leaf), Vec::new())];
        let mut room = merkle::LEAF_SIZE as usize - leaves[0].0.fed() as usize;
        for part in parts {
            let mut part = &part[..part.len().min(self.left as usize)];
            self.left -= part.len() as u32;
            while !part.is_empty() {
                if room == 0 {
                    leaves.push((Sha256::new(), Vec::new()));
                    room = merkle::LEAF_SIZE as usize;
                }
                let (now, later) = part.split_at(part.len().min(room));
                if let Some((_, parts)) = leaves.last_mut() {
                    parts.push(now);
                }
                room -= now.len();
                part = later;
            }
        }
        leaves
    }

    /// Takes back what [`Tree::cut`] gave, fed.
    fn take(&mut self, leaves: impl Iterator<Item = Sha256>) {
        for leaf in leaves {
            if leaf.fed() == u64::from(merkle::LEAF_SIZE) {
                self.leaves.push(leaf.finish());
            } else {
                self.leaf = leaf;
            }
        }
    }

    fn finish(mut self) -> Vec<Hash> {
        if self.leaf.fed() > 0 {
            self.leaves.push(self.leaf.finish());
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
        Plan::new(geometry, layout, checks)
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
        let sha1 = Sha1::digest(&whole);
        let checks = |sha1, root| Checks { sha1: Some(Box::new([sha1])), merkle: Some(Box::new([root])), sha256: None };
        for (s, r, ok) in [(sha1, root, true), ([0; 20], root, false), (sha1, [0; 32], false)] {
            let p = plan(&[(48 << 10, false), (16 << 10, true)], 64 << 10, checks(s, r));
            let mut h = PieceHasher::new(&p, PieceIndex(0));
            whole.chunks(5000).for_each(|c| h.update(c));
            assert_eq!(h.finish(&p, PieceIndex(0)), ok);
        }
        // Side by side with others, and cut anywhere.
        let p = plan(&[(48 << 10, false), (16 << 10, true)], 64 << 10, checks(sha1, root));
        let mut many: Vec<_> = (0..7).map(|_| PieceHasher::new(&p, PieceIndex(0))).collect();
        for go in whole.chunks(20_000) {
            let parts: Vec<Vec<&[u8]>> = (0..7).map(|i| go.chunks(3000 + 17 * i).collect()).collect();
            let mut pieces: Vec<_> = many.iter_mut().zip(&parts).map(|(h, p)| (h, &p[..])).collect();
            PieceHasher::update_all(&mut pieces);
        }
        assert!(many.into_iter().all(|h| h.finish(&p, PieceIndex(0))));
        assert!(!PieceHasher::new(&p, PieceIndex(0)).finish(&p, PieceIndex(0)), "too few bytes");
        assert_eq!(p.merkle_width(PieceIndex(0)), 4);
    }

    #[test]
    fn flat_sha256_of_pieces_must_hold_too() {
        let (first, last) = ([7; 100], [8; 50]);
        let right = [Sha256::digest(&first), Sha256::digest(&last)];
        let p = plan(&[(150, false)], 100, Checks { sha256: Some(Box::new(right)), ..Checks::default() });
        let good = |bytes: &[u8], piece| {
            let mut h = PieceHasher::new(&p, PieceIndex(piece));
            bytes.chunks(33).for_each(|c| h.update(c));
            h.finish(&p, PieceIndex(piece))
        };
        assert!(good(&first, 0) && good(&last, 1));
        assert!(!good(&[9; 100], 0) && !good(&first[..50], 1));
    }

    #[test]
    fn one_digest_of_all() {
        for digest in [WholeDigest::Sha256(Sha256::digest(b"abc")), WholeDigest::Sha1(Sha1::digest(b"abc"))] {
            for (bytes, right) in [("abc", true), ("abd", false), ("ab", false)] {
                let mut hasher = WholeHasher::new(digest);
                bytes.as_bytes().chunks(2).for_each(|part| hasher.update(part));
                assert_eq!(hasher.finish(), right, "{bytes}");
            }
        }
    }
}
