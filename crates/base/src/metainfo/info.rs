//! The info dictionary: files, pieces and what checks them.

use super::layout::{LaidOut, RawFile, RawKind, lay_out};
use super::names::{self, Rules};
use super::{Layers, MetainfoError, Warning};
use crate::bencode::{self, Kind, Limits, Value};
use crate::merkle::{Hash, LEAF_SIZE};
use crate::{BLOCK_SIZE, Checks, FileIndex, Geometry, Hex, InfoHash, InfoHashes, Layout, Plan, percent};
use sha1::{Digest, Sha1};
use sha2::Sha256;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// An info dictionary, as received and as understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Info {
    /// The bytes as received; the hashes are over them.
    pub raw: Arc<[u8]>,
    /// The hashes of the versions that it is of.
    pub hashes: InfoHashes,
    /// How its bytes are cut.
    pub geometry: Geometry,
    /// Its files, padding included. That of a v2 torrent, which is implied, too.
    pub layout: Layout,
    /// Roots of the v2 trees, for each file of the layout; None for empty files and padding. Empty for v1.
    pub roots: Vec<Option<Hash>>,
    /// No DHT, peer exchange or local discovery (BEP 27).
    pub private: bool,
    /// What was let pass.
    pub warnings: Vec<Warning>,
    /// Where the v1 piece hashes are in `raw`.
    pieces: Option<Range<usize>>,
    raw_name: Vec<u8>,
    raw_paths: BTreeMap<FileIndex, Vec<Vec<u8>>>,
}

impl Info {
    /// Most files read from one torrent.
    pub const FILES_MAX: usize = 500_000;

    /// Reads an info dictionary.
    pub fn parse(raw: &[u8]) -> Result<Self, MetainfoError> {
        Info::parse_with(raw, Rules::HERE)
    }

    /// The same, with file names for the systems that `rules` are of.
    pub fn parse_with(raw: &[u8], rules: Rules) -> Result<Self, MetainfoError> {
        let doc = bencode::parse(raw, &Limits::TORRENT)?;
        let info = doc.root();
        if info.kind() != Kind::Dict {
            return Err(MetainfoError::NotATorrent);
        }
        let raw = info.raw();
        let v2 = match info.find_int(b"meta version") {
            Some(2) => true,
            None | Some(..=1) => false,
            Some(version) => return Err(MetainfoError::Version(version)),
        };
        // The order of the keys is the order of the files: clients that sort and clients that don't must agree.
        if let (true, Some((quirk, at))) = (v2, doc.quirks().first()) {
            return Err(MetainfoError::NotCanonical(*quirk, *at));
        }
        let piece_length = info.find_u64(b"piece length").ok_or(MetainfoError::Key("piece length"))?;
        if v2 && (!piece_length.is_power_of_two() || piece_length < u64::from(LEAF_SIZE)) {
            return Err(MetainfoError::PieceLengthV2(piece_length));
        }
        // Refused here already: padding is computed from it.
        Geometry::new(0, piece_length, BLOCK_SIZE)?;

        let pieces = info.find(b"pieces").map(|p| p.bytes_span().ok_or(MetainfoError::Key("pieces"))).transpose()?;
        let has_files = info.find(b"files").is_some() || info.find(b"length").is_some();
        let v1 = !v2 || (pieces.is_some() && has_files);
        let mut warnings: Vec<_> = doc.quirks().iter().map(|(quirk, at)| Warning::Bencode(*quirk, *at)).collect();
        if v2 && !v1 && (pieces.is_some() || has_files) {
            warnings.push(Warning::HalfHybrid);
        }
        let pieces = pieces.filter(|_| v1);
        let hashes = InfoHashes {
            v1: v1.then(|| InfoHash(Sha1::digest(raw).into())),
            v2: v2.then(|| Sha256::digest(raw).into()),
        };

        let raw_name = info.find_bytes(b"name.utf-8").or_else(|| info.find_bytes(b"name"));
        let raw_name = raw_name.ok_or(MetainfoError::Key("name"))?;
        let (files, single) = match (v1, v2) {
            (true, false) => v1_files(info, raw_name)?,
            (false, _) => v2_files(info, raw_name, piece_length)?,
            (true, true) => hybrid_files(info, raw_name, piece_length)?,
        };
        if files.is_empty() {
            return Err(MetainfoError::NoFiles);
        }
        if files.len() > Info::FILES_MAX {
            return Err(MetainfoError::ManyFiles);
        }
        let name = match names::component(raw_name, rules, names::TOP_MAX) {
            blank if blank == "_" && raw_name != b"_" => name_from_hash(&hashes),
            name => name,
        };
        let LaidOut { layout, raw_paths, warnings: more } = match single {
            true => single_file(name, &files[0]),
            false => lay_out(&name, &files, rules)?,
        };
        warnings.extend(more);
        let geometry = Geometry::new(layout.total(), piece_length, BLOCK_SIZE)?;
        if v1 {
            let (have, pieces) = (pieces.clone().ok_or(MetainfoError::Key("pieces"))?.len(), geometry.piece_count());
            if have != pieces as usize * 20 {
                return Err(MetainfoError::Pieces { have, pieces });
            }
        }
        let roots = if v2 { files.iter().map(|f| f.root).collect() } else { Vec::new() };
        let private = info.find_int(b"private").is_some_and(|p| p != 0);
        let (raw, raw_name) = (Arc::from(raw), raw_name.to_vec());
        Ok(Info { raw, hashes, geometry, layout, roots, private, warnings, pieces, raw_name, raw_paths })
    }

    /// Whether an info dictionary says that only trackers and the user may name peers (BEP 27). Not where it is broken.
    pub fn is_private(raw: &[u8]) -> bool {
        bencode::parse(raw, &Limits::TORRENT).is_ok_and(|doc| doc.root().find_int(b"private").is_some_and(|p| p != 0))
    }

    /// SHA-1 of each piece. None without a v1 half.
    pub fn piece_hashes(&self) -> Option<impl ExactSizeIterator<Item = [u8; 20]>> {
        let hashes = self.raw[self.pieces.clone()?].chunks_exact(20);
        Some(hashes.map(|h| h.try_into().expect("chunks of 20 bytes")))
    }

    /// What is fetched, and how it is checked. None where only a v2 tree could check some piece and its layer is missing.
    pub fn plan(&self, layers: &Layers) -> Option<Plan> {
        let sha1 = self.piece_hashes().map(Iterator::collect);
        let merkle = self.hashes.v2.and_then(|_| layers.piece_roots(self));
        let checked = self.geometry.piece_count() == 0 || sha1.is_some() || merkle.is_some();
        let checks = Checks { sha1, merkle, sha256: None };
        checked.then(|| Plan::new(self.geometry, self.layout.clone(), checks))
    }

    /// The path of a file as the torrent has it, below the output folder. Differs from that in the layout where names
    /// were unsafe. To find data that exists already; never to write to, nor to read from outside of its folder.
    pub fn raw_path(&self, file: FileIndex) -> Vec<Vec<u8>> {
        let mut path = vec![self.raw_name.clone()];
        if !self.layout.is_single() {
            path.extend(self.below(file));
        }
        path
    }

    /// Where a web seed has a file (BEP 19): names go into the URL as the torrent has them.
    pub fn web_seed_url(&self, base: &str, file: FileIndex) -> String {
        let encode = |c: &Vec<u8>| percent::encode(c, b"!$&'()*+,;=:@");
        let name = encode(&self.raw_name);
        match (self.layout.is_single(), base.ends_with('/')) {
            (true, false) => base.to_owned(),
            (true, true) => format!("{base}{name}"),
            (false, slash) => {
                let path = self.below(file).iter().map(encode).collect::<Vec<_>>().join("/");
                format!("{base}{}{name}/{path}", if slash { "" } else { "/" })
            }
        }
    }

    /// The components below the torrent's folder.
    fn below(&self, file: FileIndex) -> Vec<Vec<u8>> {
        self.raw_paths.get(&file).cloned().unwrap_or_else(|| {
            let path = self.layout.files().get(file.index()).map_or("", |f| f.path.as_str());
            path.split('/').skip(1).map(|c| c.as_bytes().to_vec()).collect()
        })
    }
}

fn name_from_hash(hashes: &InfoHashes) -> String {
    hashes.on_wire().next().map(|hash| Hex(&hash.0).to_string()).unwrap_or_default()
}

fn single_file(name: String, file: &RawFile<'_>) -> LaidOut {
    let executable = file.executable;
    LaidOut { layout: Layout::single(name, file.len, executable), raw_paths: BTreeMap::new(), warnings: Vec::new() }
}

type Files<'a> = (Vec<RawFile<'a>>, bool);

/// The files of a v1 torrent, and whether it is a single one.
fn v1_files<'a>(info: Value<'a>, name: &'a [u8]) -> Result<Files<'a>, MetainfoError> {
    let Some(list) = info.find(b"files") else {
        return Ok((vec![RawFile { path: vec![name], ..v1_file(info, true)? }], true));
    };
    let list = list.items().ok_or(MetainfoError::Key("files"))?;
    Ok((list.take(Info::FILES_MAX + 1).map(|f| v1_file(f, false)).collect::<Result<_, _>>()?, false))
}

fn v1_file<'a>(file: Value<'a>, single: bool) -> Result<RawFile<'a>, MetainfoError> {
    let attr = file.find_bytes(b"attr").unwrap_or_default();
    let link = file.find(b"symlink path").filter(|_| attr.contains(&b'l') && !single);
    let link = link.map(|l| components(l).ok_or(MetainfoError::Key("symlink path"))).transpose()?;
    let len = match link {
        Some(_) => 0,
        None => file.find_u64(b"length").ok_or(MetainfoError::Key("length"))?,
    };
    let path = file.find_list(b"path.utf-8").or_else(|| file.find(b"path"));
    let path = match path.filter(|_| !single) {
        Some(path) => components(path).ok_or(MetainfoError::Key("path"))?,
        None => Vec::new(),
    };
    // BitComet's padding has no attribute, but names that nothing else has.
    let pad = !single && (attr.contains(&b'p') || path.last().is_some_and(|c| c.starts_with(b"_____padding_file_")));
    if path.is_empty() && !pad && !single {
        return Err(MetainfoError::Key("path"));
    }
    let kind = match (pad, link) {
        (true, _) => RawKind::Pad,
        (_, Some(target)) => RawKind::Link(target),
        _ => RawKind::Content,
    };
    Ok(RawFile { path, len, kind, executable: attr.contains(&b'x'), root: None })
}

fn components<'a>(list: Value<'a>) -> Option<Vec<&'a [u8]>> {
    list.items()?.map(|c| c.as_bytes()).collect()
}

/// The files of a v2 torrent, with the padding that it implies between them, and whether it is a single one.
fn v2_files<'a>(info: Value<'a>, name: &[u8], piece_length: u64) -> Result<Files<'a>, MetainfoError> {
    let files = file_tree(info)?;
    let single = matches!(&files[..], [file] if file.path == [name] && file.kind == RawKind::Content);
    let mut padded = Vec::with_capacity(files.len() * 2);
    let mut due = 0;
    for file in files {
        if file.len > 0 {
            if due > 0 {
                let kind = RawKind::Pad;
                padded.push(RawFile { path: vec![b".pad"], len: due, kind, executable: false, root: None });
            }
            due = file.len.next_multiple_of(piece_length) - file.len;
        }
        padded.push(file);
    }
    Ok((padded, single))
}

/// The files of a hybrid: those of its v1 half, with the roots of its v2 half, if they agree.
fn hybrid_files<'a>(info: Value<'a>, name: &'a [u8], piece_length: u64) -> Result<Files<'a>, MetainfoError> {
    let (mut files, single) = v1_files(info, name)?;
    let tree = file_tree(info)?;
    let mut v2 = tree.into_iter().filter(|f| f.len > 0);
    // Where this v1 file begins, and where the next v2 file must.
    let (mut at, mut due): (u64, u64) = (0, 0);
    for file in &mut files {
        let end = at.checked_add(file.len).ok_or(MetainfoError::TooLong)?;
        if file.len > 0 && file.kind == RawKind::Content {
            let twin = v2.next().ok_or(MetainfoError::LayoutsDiffer("a v2 file is missing"))?;
            if twin.path != file.path || twin.len != file.len {
                return Err(MetainfoError::LayoutsDiffer("paths or lengths"));
            }
            if at != due {
                return Err(MetainfoError::LayoutsDiffer("padding that does not reach the next piece, or too far"));
            }
            file.root = twin.root;
            due = end.checked_next_multiple_of(piece_length).ok_or(MetainfoError::TooLong)?;
        }
        at = end;
    }
    match v2.next() {
        Some(_) => Err(MetainfoError::LayoutsDiffer("a v1 file is missing")),
        // The last file may be padded or not.
        None if at > due => Err(MetainfoError::LayoutsDiffer("too much padding at the end")),
        None => Ok((files, single)),
    }
}

fn file_tree<'a>(info: Value<'a>) -> Result<Vec<RawFile<'a>>, MetainfoError> {
    let tree = info.find_dict(b"file tree").ok_or(MetainfoError::Key("file tree"))?;
    let mut files = Vec::new();
    walk(tree, &mut Vec::new(), &mut files)?;
    let mut lengths = BTreeMap::new();
    for (root, len) in files.iter().filter_map(|f| Some((f.root?, f.len))) {
        if *lengths.entry(root).or_insert(len) != len {
            return Err(MetainfoError::FileTree("one root for files of different lengths"));
        }
    }
    Ok(files)
}

/// Adds the files below `folder`. The recursion is as deep as bencode may be nested.
fn walk<'a>(folder: Value<'a>, path: &mut Vec<&'a [u8]>, files: &mut Vec<RawFile<'a>>) -> Result<(), MetainfoError> {
    for (name, value) in folder.entries().ok_or(MetainfoError::FileTree("something that is no folder"))? {
        if name.is_empty() {
            return Err(MetainfoError::FileTree("an empty name"));
        }
        path.push(name);
        let mut entries = value.entries().ok_or(MetainfoError::FileTree("something that is no folder"))?;
        match (entries.next(), entries.next()) {
            (Some((b"", file)), None) => files.push(v2_file(file, path)?),
            _ => walk(value, path, files)?,
        }
        path.pop();
        if files.len() > Info::FILES_MAX {
            return Err(MetainfoError::ManyFiles);
        }
    }
    Ok(())
}

fn v2_file<'a>(file: Value<'a>, path: &[&'a [u8]]) -> Result<RawFile<'a>, MetainfoError> {
    let attr = file.find_bytes(b"attr").unwrap_or_default();
    if attr.contains(&b'p') {
        return Err(MetainfoError::FileTree("a pad file"));
    }
    let link = file.find(b"symlink path").filter(|_| attr.contains(&b'l'));
    let kind = match link {
        Some(link) => RawKind::Link(components(link).ok_or(MetainfoError::FileTree("a broken link"))?),
        None => RawKind::Content,
    };
    let len = match kind {
        RawKind::Content => file.find_u64(b"length").ok_or(MetainfoError::FileTree("a file without a length"))?,
        _ => 0,
    };
    let root = match len {
        0 => None,
        _ => {
            let root = file.find(b"pieces root").and_then(|r| r.as_array()).filter(|root| *root != [0; 32]);
            Some(root.ok_or(MetainfoError::FileTree("a file without a root"))?)
        }
    };
    Ok(RawFile { path: path.to_vec(), len, kind, executable: attr.contains(&b'x'), root })
}
