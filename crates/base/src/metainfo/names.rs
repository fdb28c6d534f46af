//! File names of strangers, made safe to write: sanitised, never refused (BEP 3, BEP 47).
//!
//! A path is a list of components. Each becomes a name that can't leave its folder, confuse a terminal or exceed what
//! file systems hold; then no two files share a path, and no file lies where a folder must be. Names that are safe
//! already stay as they are, byte for byte, so that a tree arrives as it was shared: on POSIX systems case counts and
//! `aux.c` is a name like any other.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

/// What a file system can't hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Anything but `/`, zero bytes, and what could mislead people.
    Posix,
    /// No device names, no `<>:"|?*`, no dots or blanks at the end, and case does not count.
    Windows,
}

impl Rules {
    /// The rules of the platform this was built for.
    pub const HERE: Rules = if cfg!(windows) { Rules::Windows } else { Rules::Posix };

    /// What two names are compared by.
    fn key(self, name: &str) -> String {
        match self {
            Rules::Posix => name.to_owned(),
            Rules::Windows => name.to_lowercase(),
        }
    }
}

/// Longest name of a file or folder, in bytes.
pub const NAME_MAX: usize = 255;
/// Longest name of a torrent, in bytes: `.part` fits behind it.
pub const TOP_MAX: usize = 250;
/// Longest whole path, in bytes; deeper trees are flattened.
pub const PATH_MAX: usize = 2048;

/// The safe name for one component of a path, at most `max` bytes long.
pub fn component(raw: &[u8], rules: Rules, max: usize) -> String {
    let mut name = String::with_capacity(raw.len());
    for chunk in raw.utf8_chunks() {
        name.extend(chunk.valid().chars().map(|c| if is_safe(c, rules) { c } else { '_' }));
        if !chunk.invalid().is_empty() {
            name.push('_');
        }
    }
    if rules == Rules::Windows {
        name.truncate(name.trim_end_matches(['.', ' ']).len());
        if is_device(&name) {
            name.insert(0, '_');
        }
    }
    if matches!(&*name, "" | "." | "..") {
        name = "_".to_owned();
    }
    shorten(&mut name, max);
    name
}

/// At least one safe component, each at most `max` bytes long, for the path of file `index`. Paths too long for any file
/// system are flattened.
pub(super) fn path(raw: &[&[u8]], index: usize, rules: Rules, max: usize) -> Vec<String> {
    let bytes: usize = raw.iter().map(|c| c.len() + 1).sum();
    let last = raw.last().copied().unwrap_or_default();
    if bytes > PATH_MAX {
        let last = component(last, rules, NAME_MAX / 2);
        return vec!["_long".to_owned(), format!("{index}-{last}")];
    }
    match raw {
        [] => vec!["_".to_owned()],
        raw => raw.iter().map(|c| component(c, rules, max)).collect(),
    }
}

/// Safe paths for files with these, no two the same, and no file where a folder must be. Each name leaves room for `.part`
/// behind it.
pub(crate) fn distinct(raw: &[Vec<&[u8]>], rules: Rules) -> Vec<Vec<String>> {
    let mut tree = Tree::new(rules);
    let mut paths: Vec<_> = raw.iter().enumerate().map(|(i, raw)| path(raw, i, rules, TOP_MAX)).collect();
    let folder = |path: &Vec<String>, tree: &mut Tree| {
        path[..path.len() - 1].iter().fold(0, |parent, folder| tree.folder(parent, folder))
    };
    let parents: Vec<u32> = paths.iter().map(|path| folder(path, &mut tree)).collect();
    for (i, (path, parent)) in paths.iter_mut().zip(parents).enumerate() {
        let last = path.last_mut().expect("a safe path has a component");
        *last = tree.file(parent, last, i);
    }
    paths
}

/// True for characters that command terminals, turn the direction of writing, or can't be seen, and so dress one name up as
/// another. Joiners (200c, 200d) are none of them: languages and emoji need them.
pub(crate) fn misleads(c: char) -> bool {
    match c {
        '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{feff}' => true,
        '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' => true,
        c => c.is_control(),
    }
}

fn is_safe(c: char, rules: Rules) -> bool {
    match c {
        '/' | '\\' => false,
        c if misleads(c) => false,
        '<' | '>' | ':' | '"' | '|' | '?' | '*' => rules == Rules::Posix,
        _ => true,
    }
}

/// The names of devices, with any extension.
fn is_device(name: &str) -> bool {
    let stem = name.split('.').next().unwrap_or_default().trim_end().to_ascii_uppercase();
    match stem.as_bytes() {
        b"CON" | b"PRN" | b"AUX" | b"NUL" | b"CLOCK$" => true,
        [b'C', b'O', b'M', d] | [b'L', b'P', b'T', d] => d.is_ascii_digit(),
        _ => false,
    }
}

/// Cuts `name` down to `max` bytes, keeping a short extension.
fn shorten(name: &mut String, max: usize) {
    if name.len() <= max {
        return;
    }
    let extension = name.rfind('.').filter(|dot| *dot > 0 && name.len() - dot <= 12).map(|dot| name[dot..].to_owned());
    let extension = extension.unwrap_or_default();
    name.truncate(name.floor_char_boundary(max - extension.len()));
    name.push_str(&extension);
}

/// All folders and files of one torrent, as a tree of safe names.
#[derive(Debug)]
pub(super) struct Tree {
    rules: Rules,
    /// By folder and name; the folder 0 is the outermost.
    nodes: BTreeMap<(u32, String), Node>,
    folders: u32,
    /// The number last put behind a name that was taken already.
    numbers: BTreeMap<(u32, String), u32>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Node {
    Folder(u32),
    /// A file, by its place in the list that the caller keeps.
    File(usize),
}

impl Tree {
    pub(super) fn new(rules: Rules) -> Self {
        Tree { rules, nodes: BTreeMap::new(), folders: 0, numbers: BTreeMap::new() }
    }

    /// The folder `name` within `parent`. All folders must be added before the first file.
    pub(super) fn folder(&mut self, parent: u32, name: &str) -> u32 {
        let new = self.folders + 1;
        match self.nodes.entry((parent, self.rules.key(name))).or_insert(Node::Folder(new)) {
            Node::Folder(id) if *id == new => self.folders = new,
            Node::Folder(id) => return *id,
            Node::File(_) => debug_assert!(false, "folders come first"),
        }
        new
    }

    /// Puts a file into `parent` and says under what name: another one if it is taken.
    pub(super) fn file(&mut self, parent: u32, name: &str, index: usize) -> String {
        if self.take(parent, name, index) {
            return name.to_owned();
        }
        let counter = (parent, self.rules.key(name));
        loop {
            let number = self.numbers.entry(counter.clone()).or_insert(0);
            *number += 1;
            let other = numbered(name, *number);
            if self.take(parent, &other, index) {
                return other;
            }
        }
    }

    /// True if the name was free.
    fn take(&mut self, parent: u32, name: &str, index: usize) -> bool {
        match self.nodes.entry((parent, self.rules.key(name))) {
            Entry::Vacant(free) => {
                free.insert(Node::File(index));
                true
            }
            Entry::Occupied(_) => false,
        }
    }

    /// What is at `name` within `parent`.
    pub(super) fn find(&self, parent: u32, name: &str) -> Option<Node> {
        self.nodes.get(&(parent, self.rules.key(name))).copied()
    }
}

/// `a.txt` with 2 is `a.2.txt`.
fn numbered(name: &str, number: u32) -> String {
    let dot = name.rfind('.').filter(|dot| *dot > 0).unwrap_or(name.len());
    let (stem, extension) = name.split_at(dot);
    let room = NAME_MAX.saturating_sub(extension.len() + 12);
    let stem = &stem[..stem.floor_char_boundary(room)];
    let mut other = format!("{stem}.{number}{extension}");
    // Only an extension of nearly the whole name can still be too long; its end is the least of it.
    other.truncate(other.floor_char_boundary(NAME_MAX));
    other
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn posix(raw: &[u8]) -> String {
        component(raw, Rules::Posix, NAME_MAX)
    }

    #[test]
    fn safe_names_stay_as_they_are() {
        for name in [
            "a",
            ".hidden",
            "...",
            "aux.c",
            "What? (1999): x*.mkv",
            "caf\u{e9}",
            "a b ",
            "\u{1f468}\u{200d}\u{1f469}",
            "100%",
        ] {
            assert_eq!(posix(name.as_bytes()), name);
        }
    }

    #[test]
    fn nothing_leaves_its_folder_or_misleads() {
        for (raw, name) in [
            (b"..".as_slice(), "_"),
            (b".", "_"),
            (b"", "_"),
            (b"/etc/passwd", "_etc_passwd"),
            (b"..\\..\\x", ".._.._x"),
            (b"a\0b\x1b[31m\n", "a_b_[31m_"),
            (b"a\xff\xfeb", "a__b"),
            ("x\u{202e}gpj.exe".as_bytes(), "x_gpj.exe"),
            ("\u{85}".as_bytes(), "_"),
        ] {
            assert_eq!(posix(raw), name);
        }
    }

    #[test]
    fn windows_has_more_to_mind() {
        for (raw, name) in [
            ("con", "_con"),
            ("NUL.txt", "_NUL.txt"),
            ("com1", "_com1"),
            ("comma", "comma"),
            ("a:b", "a_b"),
            ("end. .", "end"),
            ("...", "_"),
            ("C:", "C_"),
        ] {
            assert_eq!(component(raw.as_bytes(), Rules::Windows, NAME_MAX), name);
        }
    }

    #[test]
    fn long_names_keep_their_extension() {
        let name = posix(format!("{}.torrent", "\u{e9}".repeat(200)).as_bytes());
        assert!(name.len() <= NAME_MAX && name.len() >= NAME_MAX - 1 && name.ends_with("\u{e9}.torrent"));
        assert_eq!(posix(&[b'x'; 300]).len(), NAME_MAX);
    }

    #[test]
    fn taken_names_get_a_number() {
        let mut tree = Tree::new(Rules::Windows);
        let folder = tree.folder(0, "Dir");
        assert_eq!(tree.folder(0, "dir"), folder);
        assert_eq!(tree.file(0, "dir", 0), "dir.1");
        assert_eq!(tree.file(folder, "a.txt", 1), "a.txt");
        assert_eq!(tree.file(folder, "A.txt", 2), "A.1.txt");
        assert_eq!(tree.file(folder, "a.1.TXT", 3), "a.1.1.TXT");
        assert_eq!(tree.find(folder, "A.TXT"), Some(Node::File(1)));
        let mut tree = Tree::new(Rules::Posix);
        assert_eq!(
            (tree.file(0, "a", 0), tree.file(0, "A", 1), tree.file(0, "a", 2)),
            ("a".into(), "A".into(), "a.1".into())
        );
    }

    proptest! {
        #[test]
        fn every_name_is_safe(raw in proptest::collection::vec(any::<u8>(), 0..400), windows: bool, twice in 1..3usize) {
            let rules = if windows { Rules::Windows } else { Rules::Posix };
            let name = component(&raw, rules, NAME_MAX);
            prop_assert!(!name.is_empty() && name.len() <= NAME_MAX);
            prop_assert!(name != "." && name != "..");
            prop_assert!(!name.contains(['/', '\\', '\0']) && !name.chars().any(char::is_control));
            let mut tree = Tree::new(rules);
            let names: Vec<_> = (0..=twice).map(|i| tree.file(0, &name, i)).collect();
            prop_assert!(names.iter().all(|n| n.len() <= NAME_MAX));
            prop_assert_ne!(&names[0], &names[1]);
        }
    }
}
