//! The piece layers of BEP 52: for each file longer than a piece, the root of every piece.

use super::{Info, MetainfoError};
use crate::bencode::Value;
use crate::merkle::{self, Hash};
use std::collections::BTreeMap;

/// Piece layers by the root of their file, each checked against it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Layers(BTreeMap<Hash, Box<[Hash]>>);

impl Layers {
    /// No layers, as in a v1 torrent or an info dictionary that came from a peer.
    pub fn none() -> Self {
        Layers::default()
    }

    /// Layers whose roots were computed from them.
    pub(super) fn computed(layers: Vec<(Hash, Box<[Hash]>)>) -> Self {
        Layers(layers.into_iter().collect())
    }

    /// Reads `piece layers`. Layers may be missing; one that is wrong, unknown or twice there is refused.
    pub(super) fn parse(dict: Option<Value<'_>>, info: &Info) -> Result<Self, MetainfoError> {
        let mut layers = Layers::default();
        let Some(dict) = dict.filter(|_| info.hashes.v2.is_some()) else { return Ok(layers) };
        let lengths: BTreeMap<_, _> = long_files(info).collect();
        for (key, value) in dict.entries().ok_or(MetainfoError::PieceLayer("dictionary of the wrong kind"))? {
            let root: Hash = key.try_into().map_err(|_| MetainfoError::PieceLayer("key of the wrong length"))?;
            let len = *lengths.get(&root).ok_or(MetainfoError::PieceLayer("of no file"))?;
            let hashes = value.as_bytes().ok_or(MetainfoError::PieceLayer("of the wrong kind"))?;
            let (hashes, rest) = hashes.as_chunks::<32>();
            if !rest.is_empty() {
                return Err(MetainfoError::PieceLayer("of the wrong length"));
            }
            let layer: Box<[Hash]> = hashes.into();
            if !layer_matches(&layer, &root, len, info) {
                return Err(MetainfoError::PieceLayer("that does not match its root"));
            }
            if layers.0.insert(root, layer).is_some() {
                return Err(MetainfoError::PieceLayer("twice"));
            }
        }
        Ok(layers)
    }

    /// Adds the layer of the file with this root, such as peers send it. False if no file needs it or it is wrong.
    pub fn insert(&mut self, root: Hash, layer: Box<[Hash]>, info: &Info) -> bool {
        let len = long_files(info).find(|(r, _)| *r == root).map(|(_, len)| len);
        let fits = len.is_some_and(|len| layer_matches(&layer, &root, len, info));
        if fits {
            self.0.insert(root, layer);
        }
        fits
    }

    /// The layer of the file with this root.
    pub fn layer(&self, root: &Hash) -> Option<&[Hash]> {
        self.0.get(root).map(|layer| &**layer)
    }

    /// All of them, by root.
    pub fn iter(&self) -> impl Iterator<Item = (&Hash, &[Hash])> {
        self.0.iter().map(|(root, layer)| (root, &**layer))
    }

    /// True if every file longer than a piece has its layer.
    pub fn is_complete(&self, info: &Info) -> bool {
        long_files(info).all(|(root, _)| self.0.contains_key(&root))
    }

    /// The roots of all pieces, in order. None if a layer is missing.
    pub(super) fn piece_roots(&self, info: &Info) -> Option<Box<[Hash]>> {
        let mut roots = Vec::with_capacity(info.geometry.piece_count() as usize);
        for (file, root) in info.layout.files().iter().zip(&info.roots) {
            match root {
                Some(root) if file.len > u64::from(info.geometry.piece_length()) => roots.extend(self.layer(root)?),
                Some(root) => roots.push(*root),
                None => {}
            }
        }
        debug_assert_eq!(roots.len(), info.geometry.piece_count() as usize, "v2 files begin with pieces");
        Some(roots.into())
    }
}

/// Root and length of the files that need a layer.
fn long_files(info: &Info) -> impl Iterator<Item = (Hash, u64)> + '_ {
    let files = info.layout.files().iter().zip(&info.roots);
    files.filter_map(|(f, root)| (f.len > u64::from(info.geometry.piece_length())).then_some(((*root)?, f.len)))
}

fn layer_matches(layer: &[Hash], root: &Hash, len: u64, info: &Info) -> bool {
    let piece = info.geometry.piece_length();
    let pieces = len.div_ceil(u64::from(piece));
    layer.len() as u64 == pieces && merkle::layer_root(layer, piece) == *root
}
