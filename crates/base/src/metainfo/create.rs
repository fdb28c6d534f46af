//! Making torrents: v1, v2 and hybrid (BEP 3, 47, 52).
//!
//! It takes three steps. A [`Draft`] decides format, piece length and layout from names and lengths. Then every piece of
//! its plan is hashed on its own with a [`crate::PieceHasher`], in any order, by as many threads as there are; padding
//! counts as zeros. [`Draft::finish`] puts the digests together. Reading files is not done here.

use super::info::Info;
use super::{Layers, Metainfo, MetainfoError};
use crate::bencode::{Dict, Item};
use crate::merkle::{self, Hash};
use crate::{BLOCK_SIZE, Checks, FileEntry, FileIndex, FileKind, Geometry, Layout, PieceDigest, Plan};

/// What kind of torrent is made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// A hybrid, unless the padding of a folder would be 5% or more of its bytes: then v1.
    #[default]
    Auto,
    /// For every client.
    V1,
    /// For clients that know BEP 52.
    V2,
    /// For both.
    Hybrid,
}

/// One file that goes into a torrent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The names of folders and file below the torrent's name. Not used of a single file.
    pub path: Vec<Vec<u8>>,
    /// Bytes in it.
    pub len: u64,
    /// It has the executable attribute.
    pub executable: bool,
    /// It is a symbolic link to this path below the torrent's name.
    pub link: Option<Vec<Vec<u8>>>,
}

/// What a torrent is made of.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The name of the file, or of the folder.
    pub name: Vec<u8>,
    /// The torrent is one file, `sources[0]`, rather than a folder.
    pub single: bool,
    /// The files.
    pub sources: Vec<Source>,
    /// The format wanted.
    pub format: Format,
    /// The piece length wanted, in bytes; None chooses one by size.
    pub piece_length: Option<u64>,
    /// No DHT, peer exchange or local discovery (BEP 27).
    pub private: bool,
}

/// A torrent whose pieces are still to be hashed.
#[derive(Clone, Debug)]
pub struct Draft {
    name: Vec<u8>,
    single: bool,
    private: bool,
    /// In the order of the torrent.
    sources: Vec<Source>,
    /// For each file of the layout the place of its source in `sources`, and in the list that was given.
    places: Vec<Option<(usize, usize)>>,
    plan: Plan,
}

/// Padding below this share of the content makes a folder a hybrid.
const PADDING_MAX_PERCENT: u128 = 5;
/// To keep padding low, pieces are made no shorter than this many of them allow.
const PIECES_FOR_HYBRID_MAX: u64 = 1 << 16;

impl Draft {
    /// Decides format, piece length and layout.
    pub fn new(facts: Facts) -> Result<Self, MetainfoError> {
        let Facts { name, single, sources, format, piece_length, private } = facts;
        let mut order: Vec<usize> = (0..sources.len()).collect();
        order.sort_by(|a, b| sources[*a].path.cmp(&sources[*b].path));
        let sources: Vec<Source> = order.iter().map(|i| sources[*i].clone()).collect();
        check(&name, single, &sources)?;
        let (v1, v2, piece_length) = decide(single, &sources, format, piece_length)?;
        let (layout, places) = lay_out(single, &sources, v2.then_some(piece_length))?;
        let places = places.into_iter().map(|place| place.map(|i| (i, order[i]))).collect();
        let geometry = Geometry::new(layout.total(), piece_length, BLOCK_SIZE)?;
        // Not to check anything yet, but to say which hashes are wanted.
        let checks = Checks { sha1: v1.then(Default::default), merkle: v2.then(Default::default), sha256: None };
        Ok(Draft { name, single, private, sources, places, plan: Plan::new(geometry, layout, checks) })
    }

    /// What is to be hashed: make a [`crate::PieceHasher`] of it for each piece, and take its digest. The paths in it
    /// mean nothing; see [`Draft::source`].
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The place in [`Facts::sources`] of a file of the plan; None for padding.
    pub fn source(&self, file: FileIndex) -> Option<usize> {
        self.places.get(file.index()).copied().flatten().map(|(_, given)| given)
    }

    /// The torrent, from the digests of all pieces in order. Trackers and the rest are set on what comes back.
    pub fn finish(&self, digests: &[PieceDigest]) -> Result<Metainfo, MetainfoError> {
        if digests.len() != self.plan.geometry.piece_count() as usize {
            return Err(MetainfoError::Facts("there must be one digest for each piece"));
        }
        let mut info = Dict::new().with(b"name", &*self.name);
        info.insert(b"piece length", self.plan.geometry.piece_length());
        if self.private {
            info.insert(b"private", 1u8);
        }
        if self.plan.checks.sha1.is_some() {
            let hashes: Option<Vec<_>> = digests.iter().map(|d| d.sha1).collect();
            info.insert(b"pieces", hashes.ok_or(MetainfoError::Facts("a digest has no SHA-1"))?.concat());
            self.add_v1_files(&mut info);
        }
        let mut layers = Vec::new();
        if self.plan.checks.merkle.is_some() {
            let roots: Option<Vec<_>> = digests.iter().map(|d| d.merkle).collect();
            let roots = roots.ok_or(MetainfoError::Facts("a digest has no v2 root"))?;
            info.insert(b"meta version", 2u8);
            info.insert(b"file tree", self.file_tree(&roots, &mut layers)?);
        }
        let info = Info::parse(&info.encode())?;
        Ok(Metainfo::bare(info, Layers::computed(layers)))
    }

    fn add_v1_files<'a>(&'a self, info: &mut Dict<'a>) {
        if self.single {
            info.insert(b"length", self.sources[0].len);
            if self.sources[0].executable {
                info.insert(b"attr", "x");
            }
            return;
        }
        let files = self.plan.layout.files().iter().zip(&self.places).map(|(entry, place)| match place {
            Some((i, _)) => {
                let source = &self.sources[*i];
                Item::Dict(properties(source).with(b"length", source.len).with(b"path", bytes(&source.path)))
            }
            None => {
                let path = vec![Item::from(".pad"), Item::from(entry.len.to_string())];
                Item::Dict(Dict::new().with(b"attr", "p").with(b"length", entry.len).with(b"path", path))
            }
        });
        info.insert(b"files", files.collect::<Vec<_>>());
    }

    fn file_tree(&self, roots: &[Hash], layers: &mut Vec<(Hash, Box<[Hash]>)>) -> Result<Dict<'_>, MetainfoError> {
        let piece_length = self.plan.geometry.piece_length();
        let mut tree = Dict::new();
        for (entry, place) in self.plan.layout.files().iter().zip(&self.places) {
            let Some((i, _)) = place else { continue };
            let source = &self.sources[*i];
            let mut file = properties(source);
            if source.link.is_none() {
                file.insert(b"length", source.len);
            }
            if source.len > 0 {
                let first = (entry.offset / u64::from(piece_length)) as usize;
                let count = source.len.div_ceil(u64::from(piece_length)) as usize;
                let layer = &roots[first..first + count];
                let root = if count == 1 { layer[0] } else { merkle::layer_root(layer, piece_length) };
                if count > 1 {
                    layers.push((root, layer.into()));
                }
                file.insert(b"pieces root", root.to_vec());
            }
            let path = if self.single { std::slice::from_ref(&self.name) } else { &source.path[..] };
            plant(&mut tree, path, Dict::new().with(b"", file))?;
        }
        Ok(tree)
    }
}

/// Names that can be written, no two the same, no file where a folder is.
fn check(name: &[u8], single: bool, sources: &[Source]) -> Result<(), MetainfoError> {
    let good = |name: &[u8]| !matches!(name, b"" | b"." | b"..") && !name.iter().any(|b| matches!(b, b'/' | 0));
    if !good(name) {
        return Err(MetainfoError::Facts("it needs a name"));
    }
    if sources.is_empty() || (single && sources.len() != 1) {
        return Err(MetainfoError::NoFiles);
    }
    if sources.len() > Info::FILES_MAX {
        return Err(MetainfoError::ManyFiles);
    }
    if sources.iter().any(|s| s.link.is_some() && s.len > 0) || (single && sources[0].link.is_some()) {
        return Err(MetainfoError::Facts("a link has no bytes, and is no torrent by itself"));
    }
    if !single && sources.iter().any(|s| s.path.is_empty() || !s.path.iter().all(|c| good(c))) {
        return Err(MetainfoError::Facts("a file without a proper name"));
    }
    // Sorted, a path is followed by what lies below it.
    if sources.windows(2).any(|pair| pair[1].path.starts_with(&pair[0].path)) {
        return Err(MetainfoError::Facts("two files with the same path, or one within another"));
    }
    Ok(())
}

/// Whether there is a v1 and a v2 half, and the piece length.
fn decide(
    single: bool,
    sources: &[Source],
    format: Format,
    piece_length: Option<u64>,
) -> Result<(bool, bool, u64), MetainfoError> {
    let content = sources.iter().try_fold(0u64, |sum, s| sum.checked_add(s.len)).ok_or(MetainfoError::TooLong)?;
    let usual = piece_length.unwrap_or_else(|| usual_piece_length(content));
    Geometry::new(0, usual, BLOCK_SIZE)?;
    let fits_v2 = usual.is_power_of_two() && usual >= u64::from(merkle::LEAF_SIZE);
    match format {
        Format::V1 => Ok((true, false, usual)),
        Format::V2 | Format::Hybrid if !fits_v2 => Err(MetainfoError::PieceLengthV2(usual)),
        Format::V2 => Ok((false, true, usual)),
        Format::Hybrid => Ok((true, true, usual)),
        Format::Auto if !fits_v2 => Ok((true, false, usual)),
        Format::Auto if single => Ok((true, true, usual)),
        Format::Auto => {
            let smallest = if piece_length.is_some() { usual } else { u64::from(merkle::LEAF_SIZE) };
            let mut candidate = usual;
            while candidate == usual || (candidate >= smallest && content / candidate <= PIECES_FOR_HYBRID_MAX) {
                let padding = u128::from(padding(sources, candidate));
                if padding * 100 < u128::from(content) * PADDING_MAX_PERCENT || padding == 0 {
                    return Ok((true, true, candidate));
                }
                candidate /= 2;
            }
            Ok((true, false, usual))
        }
    }
}

/// A power of two of 16 KiB to 16 MiB that grows with the square root of the content, so that the torrent and its pieces
/// grow alike: 2,048 pieces of 512 KiB for 1 GiB. As libtorrent does.
pub fn usual_piece_length(content: u64) -> u64 {
    // A length of 16 KiB x 2^n serves up to a hundredth of its square.
    let serves = |length: &u64| u128::from(*length).pow(2) / 100 >= u128::from(content);
    (14..24).map(|n| 1u64 << n).find(serves).unwrap_or(1 << 24)
}

/// Bytes of padding between these files.
fn padding(sources: &[Source], piece_length: u64) -> u64 {
    let mut lens = sources.iter().map(|s| s.len).filter(|len| *len > 0);
    // The last file needs none.
    lens.next_back();
    lens.map(|len| len.next_multiple_of(piece_length) - len).fold(0, u64::saturating_add)
}

/// The files one behind the other, each at the beginning of a piece if a piece length is given.
fn lay_out(
    single: bool,
    sources: &[Source],
    align: Option<u64>,
) -> Result<(Layout, Vec<Option<usize>>), MetainfoError> {
    if single {
        return Ok((Layout::single("_".to_owned(), sources[0].len, false), vec![Some(0)]));
    }
    let entry = |path: String, len, kind| FileEntry { path, offset: 0, len, kind, executable: false };
    let (mut files, mut places, mut due) = (Vec::new(), Vec::new(), 0);
    for (i, source) in sources.iter().enumerate() {
        if source.len > 0 {
            if due > 0 {
                files.push(entry(format!("_/.pad/{due}"), due, FileKind::Pad));
                places.push(None);
            }
            due = align.map_or(0, |align| source.len.next_multiple_of(align) - source.len);
        }
        files.push(entry(format!("_/{i}"), source.len, FileKind::Content));
        places.push(Some(i));
    }
    Ok((Layout::folder("_".to_owned(), files).ok_or(MetainfoError::TooLong)?, places))
}

fn properties(source: &Source) -> Dict<'_> {
    let attr = match (source.executable, &source.link) {
        (_, Some(_)) => Some("l"),
        (true, None) => Some("x"),
        (false, None) => None,
    };
    let link = source.link.as_ref().map(|link| bytes(link));
    Dict::new().with_some(b"attr", attr).with_some(b"symlink path", link)
}

fn bytes(list: &[Vec<u8>]) -> Item<'_> {
    Item::List(list.iter().map(|c| Item::from(&**c)).collect())
}

/// Puts `leaf` at `path` below `tree`.
fn plant<'a>(tree: &mut Dict<'a>, path: &'a [Vec<u8>], leaf: Dict<'a>) -> Result<(), MetainfoError> {
    let Some((last, folders)) = path.split_last() else { return Err(MetainfoError::Facts("a file without a name")) };
    let mut at = tree;
    for folder in folders {
        at = match at.entry((&**folder).into(), || Item::Dict(Dict::new())) {
            Item::Dict(dict) => dict,
            _ => return Err(MetainfoError::Facts("a file within a file")),
        };
    }
    at.insert(&**last, leaf);
    Ok(())
}

#[cfg(test)]
mod tests;
