//! The bytes of shared files, read while they are sent.
//!
//! A file is opened beneath its folder, so that nothing that happens to the folder meanwhile leads out of it, and it is
//! looked at again for every chunk: what changed since it was hashed is not sent under its old name. A response that
//! meets such a file in the middle breaks off, which every client notices.

use crate::beneath::open_file;
use crate::body::{Read, Stored};
use crate::item::Item;
use crate::tar;
use std::fs::File;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

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
    open: Mutex<Option<(usize, Arc<File>)>>,
}

impl Stored for Reader {
    fn read_at_once(&self, at: u64, into: &mut [u8]) -> io::Result<Read> {
        match self.part(at, into.len() as u64) {
            tar::Part::Bytes(bytes) => {
                into[..bytes.len()].copy_from_slice(&bytes);
                Ok(Read::Bytes(bytes.len()))
            }
            tar::Part::File { file: index, range } => {
                let Some(file) = self.opened(index) else { return Ok(Read::Slow) };
                let into = &mut into[..(range.end - range.start) as usize];
                let read = file.read_at_once(range.start, into).map_err(shortened).and_then(|read| {
                    self.look(index, &file)?;
                    Ok(read)
                });
                read.map_err(|error| self.named(error))
            }
        }
    }

    fn read_slowly(&self, at: u64, into: &mut [u8]) -> io::Result<()> {
        self.fill(at, into).map_err(|error| self.named(error))
    }
}

/// It can only have become shorter.
fn shortened(error: io::Error) -> ContentError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => ContentError::Changed,
        _ => ContentError::Read(error),
    }
}

impl Reader {
    /// Opens the file, or looks at all of them: blocking.
    pub(crate) fn open(item: Arc<Item>, content: Content) -> Result<Self, ContentError> {
        let reader = Reader { item, content, open: Mutex::default() };
        match content {
            Content::File(file) => reader.file(file).map(drop)?,
            Content::Tar => reader.look_at_all()?,
            Content::Zeros(_) => {}
        }
        Ok(reader)
    }

    fn named(&self, error: ContentError) -> io::Error {
        io::Error::other(format!("{}: {error}", self.item.name))
    }

    fn fill(&self, at: u64, into: &mut [u8]) -> Result<(), ContentError> {
        let mut done = 0;
        while done < into.len() {
            let left = &mut into[done..];
            done += match self.part(at + done as u64, left.len() as u64) {
                tar::Part::Bytes(bytes) => {
                    left[..bytes.len()].copy_from_slice(&bytes);
                    bytes.len()
                }
                tar::Part::File { file: index, range } => {
                    let left = &mut left[..(range.end - range.start) as usize];
                    let file = self.file(index)?;
                    file.read_slowly(range.start, left).map_err(shortened)?;
                    self.look(index, &file)?;
                    left.len()
                }
            };
        }
        Ok(())
    }

    /// What was just read may have been written meanwhile.
    fn look(&self, index: usize, file: &File) -> Result<(), ContentError> {
        match self.item.files[index].is_unchanged(&file.metadata()?) {
            true => Ok(()),
            false => Err(ContentError::Changed),
        }
    }

    fn part(&self, from: u64, max: u64) -> tar::Part {
        match self.content {
            Content::File(file) => tar::Part::File { file, range: from..from + max },
            Content::Tar => self.item.tar.part(from, max),
            Content::Zeros(_) => tar::Part::Bytes(vec![0; max as usize]),
        }
    }

    /// The file, if it is the one that is open.
    fn opened(&self, index: usize) -> Option<Arc<File>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.as_ref().filter(|(open, _)| *open == index).map(|(_, file)| file.clone())
    }

    /// The file, open and unchanged.
    fn file(&self, index: usize) -> Result<Arc<File>, ContentError> {
        let file = match self.opened(index) {
            Some(file) => file,
            None => {
                let file = Arc::new(open_file(&self.item.root, &self.item.files[index].disk)?);
                *self.open.lock().unwrap_or_else(PoisonError::into_inner) = Some((index, file.clone()));
                file
            }
        };
        self.look(index, &file)?;
        Ok(file)
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
