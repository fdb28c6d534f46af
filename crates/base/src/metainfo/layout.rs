//! From the files as the torrent lists them to a [`Layout`] with safe and distinct paths.

use super::names::{self, Node, Rules, Tree};
use super::{MetainfoError, Warning};
use crate::merkle::Hash;
use crate::{FileEntry, FileIndex, FileKind, Layout};
use std::collections::BTreeMap;

/// One file as the torrent lists it.
#[derive(Clone, Debug)]
pub(super) struct RawFile<'a> {
    /// Components below the torrent's name.
    pub(super) path: Vec<&'a [u8]>,
    pub(super) len: u64,
    pub(super) kind: RawKind<'a>,
    pub(super) executable: bool,
    /// Root of the v2 tree, for files that are not empty.
    pub(super) root: Option<Hash>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum RawKind<'a> {
    Content,
    Pad,
    /// The components of the target, from the torrent's outermost folder.
    Link(Vec<&'a [u8]>),
}

/// What [`lay_out`] finds out.
pub(super) struct LaidOut {
    pub(super) layout: Layout,
    /// Components as the torrent has them, of the files that are stored under another path.
    pub(super) raw_paths: BTreeMap<FileIndex, Vec<Vec<u8>>>,
    pub(super) warnings: Vec<Warning>,
}

/// Links that lead to links: how many are followed to find out whether the end is within the torrent.
const HOPS_MAX: usize = 8;
/// Warnings kept of one kind of trouble; more say nothing new.
const WARNINGS_MAX: usize = 50;

/// A folder called `name`, which is safe already, with these files in it.
pub(super) fn lay_out(name: &str, files: &[RawFile<'_>], rules: Rules) -> Result<LaidOut, MetainfoError> {
    let mut tree = Tree::new(rules);
    let mut paths: Vec<Vec<String>> =
        files.iter().enumerate().map(|(i, f)| names::path(&f.path, i, rules, names::NAME_MAX)).collect();
    let mut parents = Vec::with_capacity(files.len());
    for (path, file) in paths.iter().zip(files) {
        let folders = if file.kind == RawKind::Pad { &[] } else { &path[..path.len() - 1] };
        parents.push(folders.iter().fold(0, |parent, folder| tree.folder(parent, folder)));
    }
    let mut links = BTreeMap::new();
    for (i, file) in files.iter().enumerate().filter(|(_, f)| f.kind != RawKind::Pad) {
        let last = paths[i].last_mut().expect("a safe path has a component");
        *last = tree.file(parents[i], last, i);
        if let RawKind::Link(target) = &file.kind {
            links.insert(i, safe_target(target, rules));
        }
    }
    let (mut raw_paths, mut warnings) = (BTreeMap::new(), Vec::new());
    let (mut renamed, mut outside) = (0, 0);
    let mut entries = Vec::with_capacity(files.len());
    for (i, (file, path)) in files.iter().zip(&paths).enumerate() {
        let index = FileIndex(i as u32);
        let kind = match (&file.kind, links.get(&i)) {
            (RawKind::Pad, _) => FileKind::Pad,
            (RawKind::Link(_), Some(target)) if is_inside(target, &tree, &links) => {
                FileKind::Symlink(format!("{name}/{}", target.join("/")))
            }
            (RawKind::Link(_), _) => {
                warn(&mut warnings, &mut outside, Warning::LinkOutside(index));
                FileKind::Content
            }
            (RawKind::Content, _) => FileKind::Content,
        };
        let same = path.len() == file.path.len() && path.iter().zip(&file.path).all(|(a, b)| a.as_bytes() == *b);
        if !same && kind != FileKind::Pad {
            warn(&mut warnings, &mut renamed, Warning::Renamed(index));
            raw_paths.insert(index, file.path.iter().map(|c| c.to_vec()).collect());
        }
        let path = format!("{name}/{}", path.join("/"));
        entries.push(FileEntry { path, offset: 0, len: file.len, kind, executable: file.executable });
    }
    let layout = Layout::folder(name.to_owned(), entries).ok_or(MetainfoError::TooLong)?;
    Ok(LaidOut { layout, raw_paths, warnings })
}

fn warn(warnings: &mut Vec<Warning>, count: &mut usize, warning: Warning) {
    *count += 1;
    if *count <= WARNINGS_MAX {
        warnings.push(warning);
    }
}

/// The target of a link. `.` and `..` are left out, as in other clients: targets begin at the outermost folder.
fn safe_target(target: &[&[u8]], rules: Rules) -> Vec<String> {
    let named = target.iter().filter(|c| !matches!(**c, b"." | b".." | b""));
    named.map(|c| names::component(c, rules, names::NAME_MAX)).collect()
}

/// True if `target` is a file or folder of the torrent, other links on the way followed.
fn is_inside(target: &[String], tree: &Tree, links: &BTreeMap<usize, Vec<String>>) -> bool {
    let mut todo: Vec<&String> = target.iter().rev().collect();
    let (mut folder, mut hops) = (0, 0);
    while let Some(name) = todo.pop() {
        match tree.find(folder, name) {
            Some(Node::Folder(id)) => folder = id,
            Some(Node::File(i)) => match links.get(&i) {
                Some(_) if hops == HOPS_MAX => return false,
                Some(next) => {
                    hops += 1;
                    folder = 0;
                    todo.extend(next.iter().rev());
                }
                None => return todo.is_empty(),
            },
            None => return false,
        }
    }
    folder != 0
}
