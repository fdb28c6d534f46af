//! The bytes of shared files, read while they are sent.
//!
//! A file is opened beneath its folder, so that nothing that happens to the folder meanwhile leads out of it, and it is
//! looked at again for every chunk: what changed since it was hashed is not sent under its old name. A response that
//! meets such a file in the middle breaks off, which every client notices.

use crate::beneath::open_file;
use crate::body::{CHUNK, Source};
use crate::item::Item;
use crate::tar;
use axum::body::Bytes;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

/// What is to be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Content {
    /// One file.
    File(usize),
    /// All of them, as a tar stream.
    Tar,
    /// So many zeros: padding.
    Zeros(u64),
}

/// Why a file can't be sent.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    /// It is gone, or can't be read.
    #[error("can't read it: {0}")]
    Read(#[from] io::Error),
    /// It is another file now.
    #[error("it has changed on disk since it was shared; whoever shares it must share it again")]
    Changed,
}

/// The bytes of one response.
#[derive(Debug)]
pub(crate) struct Reader {
    item: Arc<Item>,
    content: Content,
    open: Option<(usize, File)>,
}

impl Source for Reader {
    fn read(&mut self, range: Range<u64>) -> io::Result<Bytes> {
        self.next(range).map_err(|error| io::Error::other(format!("{}: {error}", self.item.name)))
    }
}

impl Reader {
    /// Opens the file, or looks at all of them: blocking.
    pub(crate) fn open(item: Arc<Item>, content: Content) -> Result<Self, ContentError> {
        let mut reader = Reader { item, content, open: None };
        match content {
            Content::File(file) => reader.file(file).map(drop)?,
            Content::Tar => reader.look_at_all()?,
            Content::Zeros(_) => {}
        }
        Ok(reader)
    }

    /// The next bytes, at least one.
    fn next(&mut self, left: Range<u64>) -> Result<Bytes, ContentError> {
        let mut chunk = Vec::new();
        let want = (left.end - left.start).min(CHUNK);
        while (chunk.len() as u64) < want {
            let max = want - chunk.len() as u64;
            let before = chunk.len();
            match self.part(left.start + before as u64, max) {
                tar::Part::Bytes(bytes) => chunk.extend(bytes),
                tar::Part::File { file, range } => {
                    chunk.resize(before + (range.end - range.start) as usize, 0);
                    self.file(file)?.read_exact_at(&mut chunk[before..], range.start).map_err(|e| match e.kind() {
                        io::ErrorKind::UnexpectedEof => ContentError::Changed,
                        _ => ContentError::Read(e),
                    })?;
                }
            }
        }
        // Once more: what was just read may have been written meanwhile.
        if let Some((file, open)) = &self.open
            && !self.item.files[*file].is_unchanged(&open.metadata()?)
        {
            return Err(ContentError::Changed);
        }
        Ok(Bytes::from(chunk))
    }

    fn part(&self, from: u64, max: u64) -> tar::Part {
        match self.content {
            Content::File(file) => tar::Part::File { file, range: from..from + max },
            Content::Tar => self.item.tar.part(from, max),
            Content::Zeros(_) => tar::Part::Bytes(vec![0; max as usize]),
        }
    }

    /// The file, open and unchanged.
    fn file(&mut self, index: usize) -> Result<&File, ContentError> {
        let entry = &self.item.files[index];
        if self.open.as_ref().is_none_or(|(open, _)| *open != index) {
            self.open = Some((index, open_file(&self.item.root, &entry.disk)?));
        }
        match &self.open {
            Some((_, file)) if entry.is_unchanged(&file.metadata()?) => Ok(file),
            _ => Err(ContentError::Changed),
        }
    }

    /// Before a stream of many files begins: it should not break off for what is known now.
    fn look_at_all(&self) -> Result<(), ContentError> {
        for file in &self.item.files {
            let full =
                if file.disk.as_os_str().is_empty() { self.item.root.clone() } else { self.item.root.join(&file.disk) };
            if !file.is_unchanged(&std::fs::metadata(full)?) {
                return Err(ContentError::Changed);
            }
        }
        Ok(())
    }
}
