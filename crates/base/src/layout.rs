//! Files laid one behind the other over the run of bytes that [`crate::Geometry`] cuts (BEP 3, BEP 47, BEP 52).

use crate::FileIndex;

/// What the bytes of a file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileKind {
    /// Content, stored on disk.
    Content,
    /// Padding: zeros that align the next file (BEP 47). Never stored, never asked of peers who don't know pad files.
    Pad,
    /// A symbolic link to this path within the torrent (BEP 47). It has no bytes.
    Symlink(String),
}

/// One file of a torrent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileEntry {
    /// Sanitised path below the output folder, with `/` between its parts; it begins with the torrent's name.
    pub path: String,
    /// Where it starts, in bytes from the beginning of the torrent.
    pub offset: u64,
    /// Bytes in it.
    pub len: u64,
    /// Content, padding or a link.
    pub kind: FileKind,
    /// Has the executable attribute (BEP 47).
    pub executable: bool,
}

impl FileEntry {
    /// True for padding.
    pub fn is_pad(&self) -> bool {
        self.kind == FileKind::Pad
    }
}

/// All files of a torrent, in order, without gaps between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    name: String,
    single: bool,
    files: Vec<FileEntry>,
}

/// Part of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The file.
    pub file: FileIndex,
    /// Where the part starts within the file, in bytes.
    pub offset: u64,
    /// Bytes in the part.
    pub len: u64,
    /// The file is padding: read as zeros, written nowhere.
    pub pad: bool,
}

impl Layout {
    /// One file, whose path is its name.
    pub fn single(name: String, len: u64, executable: bool) -> Self {
        let file = FileEntry { path: name.clone(), offset: 0, len, kind: FileKind::Content, executable };
        Layout { name, single: true, files: vec![file] }
    }

    /// A folder. The offsets of `files` are set here, one behind the other; the paths must be sanitised and begin
    /// with `name`. None if the lengths overflow.
    pub fn folder(name: String, mut files: Vec<FileEntry>) -> Option<Self> {
        let mut at: u64 = 0;
        for f in &mut files {
            f.offset = at;
            at = at.checked_add(f.len)?;
        }
        Some(Layout { name, single: false, files })
    }

    /// The torrent's name: of its file, or of its folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True if the torrent is one file rather than a folder.
    pub fn is_single(&self) -> bool {
        self.single
    }

    /// All entries, padding included.
    pub fn files(&self) -> &[FileEntry] {
        &self.files
    }

    /// The entries that people know of: no padding.
    pub fn content(&self) -> impl Iterator<Item = (FileIndex, &FileEntry)> {
        self.files.iter().enumerate().filter(|(_, f)| !f.is_pad()).map(|(i, f)| (FileIndex(i as u32), f))
    }

    /// Bytes in all, padding included.
    pub fn total(&self) -> u64 {
        self.files.last().map_or(0, |f| f.offset + f.len)
    }

    /// Bytes of content: what a user would call the size.
    pub fn content_len(&self) -> u64 {
        self.content().map(|(_, f)| f.len).sum()
    }

    /// Bytes of content, padding left out, among the `len` bytes at `offset`.
    pub fn content_in(&self, offset: u64, len: u64) -> u64 {
        self.spans(offset, len).filter(|s| !s.pad).map(|s| s.len).sum()
    }

    /// The parts of files under `len` bytes at `offset`, in order; files of no bytes are left out.
    pub fn spans(&self, offset: u64, len: u64) -> impl Iterator<Item = Span> + '_ {
        let end = offset.saturating_add(len).min(self.total());
        let first = self.files.partition_point(|f| f.offset + f.len <= offset);
        self.files[first..]
            .iter()
            .enumerate()
            .take_while(move |(_, f)| f.offset < end && offset < end)
            .filter(|(_, f)| f.len > 0)
            .map(move |(i, f)| {
                let from = offset.max(f.offset);
                let to = end.min(f.offset + f.len);
                Span { file: FileIndex((first + i) as u32), offset: from - f.offset, len: to - from, pad: f.is_pad() }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn layout(lens: &[u64]) -> Layout {
        let files = lens.iter().enumerate().map(|(i, len)| FileEntry {
            path: format!("t/{i}"),
            offset: 0,
            len: *len,
            kind: if i % 3 == 2 { FileKind::Pad } else { FileKind::Content },
            executable: false,
        });
        Layout::folder("t".into(), files.collect()).expect("small")
    }

    proptest! {
        #[test]
        fn spans_cover_the_range_once(lens in proptest::collection::vec(0u64..20, 0..12), from in 0u64..150, len in 0u64..150) {
            let l = layout(&lens);
            let mut at = from;
            for s in l.spans(from, len) {
                let f = &l.files()[s.file.index()];
                prop_assert_eq!(f.offset + s.offset, at);
                prop_assert!(s.len > 0 && s.offset + s.len <= f.len);
                prop_assert_eq!(s.pad, f.is_pad());
                at += s.len;
            }
            let end = (from + len).min(l.total());
            prop_assert_eq!(at.max(from), end.max(from));
        }
    }

    #[test]
    fn overflow_is_refused() {
        let file = |len| FileEntry { path: "t/a".into(), offset: 0, len, kind: FileKind::Content, executable: false };
        assert!(Layout::folder("t".into(), vec![file(u64::MAX), file(2)]).is_none());
    }
}
