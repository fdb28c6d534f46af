//! `--select GLOB`: which files are wanted.
//!
//! A pattern without a slash matches the names of files in any folder; one with a slash their paths below the torrent's
//! folder, where `*` stays within a folder and `**` does not.

use crate::failure::Failure;
use anyhow::bail;
use base::{FileEntry, Layout, Magnet};
use glob::{MatchOptions, Pattern};
use node::What;
use node::node::Select;
use std::sync::Arc;
use swarm::FilePriority;

/// The patterns of one command line; none: everything is wanted.
#[derive(Clone, Debug)]
pub struct Selection(Vec<Pattern>);

impl Selection {
    /// Reads the patterns.
    pub fn new(globs: &[String]) -> Result<Self, Failure> {
        let read = |glob: &String| {
            Pattern::new(glob).map_err(|e| Failure::usage(format!("--select {glob}: {} at {}", e.msg, e.pos)))
        };
        Ok(Selection(globs.iter().map(read).collect::<Result<_, _>>()?))
    }

    /// An error if nothing would be fetched.
    pub fn check(&self, layout: &Layout) -> anyhow::Result<()> {
        if !self.0.is_empty() && !layout.content().any(|(_, file)| self.wants(file)) {
            let globs: Vec<&str> = self.0.iter().map(Pattern::as_str).collect();
            bail!(
                "--select {}: no file of {} matches{}",
                globs.join(" "),
                layout.name(),
                if layout.is_single() { "; it is one file" } else { "; `shoal torrent show` lists them" }
            );
        }
        Ok(())
    }

    /// What the node is told: the patterns, or what a magnet says itself (BEP 53).
    pub fn as_select(&self, what: &What) -> Option<Select> {
        if !self.0.is_empty() {
            let selection = self.clone();
            return Some(Arc::new(move |layout| priorities(layout, |_, file| selection.wants(file))));
        }
        match what {
            What::Magnet(magnet) if !magnet.select.is_empty() => {
                let only = Magnet { select: magnet.select.clone(), ..Magnet::default() };
                Some(Arc::new(move |layout| priorities(layout, |index, _| only.selects(index))))
            }
            _ => None,
        }
    }

    fn wants(&self, file: &FileEntry) -> bool {
        let below = file.path.split_once('/').map_or(file.path.as_str(), |(_, below)| below);
        let name = file.path.rsplit('/').next().unwrap_or_default();
        let options =
            MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: false };
        self.0.iter().any(|glob| match glob.as_str().contains('/') {
            true => glob.matches_with(below, options) || glob.matches_with(&file.path, options),
            false => glob.matches_with(name, options),
        })
    }
}

fn priorities(layout: &Layout, wants: impl Fn(u32, &FileEntry) -> bool) -> Vec<FilePriority> {
    let one = |(index, file): (usize, &FileEntry)| match !file.is_pad() && wants(index as u32, file) {
        true => FilePriority::Normal,
        false => FilePriority::Skip,
    };
    layout.files().iter().enumerate().map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::FileKind;

    #[test]
    fn patterns_with_and_without_slashes() {
        let file =
            |path: &str| FileEntry { path: path.into(), offset: 0, len: 1, kind: FileKind::Content, executable: false };
        let layout =
            Layout::folder("t".into(), ["t/a.txt", "t/s/b.txt", "t/s/u/c.bin", "t/[x]"].map(file).into()).unwrap();
        let chosen = |globs: &[&str]| {
            let globs: Vec<String> = globs.iter().map(|g| (*g).to_owned()).collect();
            let selection = Selection::new(&globs).unwrap();
            layout.files().iter().filter(|f| selection.wants(f)).map(|f| f.path.as_str()).collect::<Vec<_>>()
        };
        assert_eq!(chosen(&["*.txt"]), ["t/a.txt", "t/s/b.txt"]);
        assert_eq!(chosen(&["s/*"]), ["t/s/b.txt"]);
        assert_eq!(chosen(&["s/**"]), ["t/s/b.txt", "t/s/u/c.bin"]);
        assert_eq!(chosen(&["t/a.txt", "c.???"]), ["t/a.txt", "t/s/u/c.bin"]);
        let none = Selection::new(&["nothing".into()]).unwrap();
        assert!(none.check(&layout).unwrap_err().to_string().contains("no file of t matches"));
        assert!(Selection::new(&[]).unwrap().check(&layout).is_ok());
        assert!(matches!(Selection::new(&["a[".into()]), Err(Failure::Usage(_))));
    }
}
