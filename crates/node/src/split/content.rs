//! Good pieces, from wherever they can be had: the file itself, or replicas. Each is checked before it is used.

use super::location::{Location, Reader, Trouble, blocking};
use super::server::Server;
use super::{SplitError, Targets, folder};
use base::manifest::Part;
use base::{Manifest, PieceIndex};
use bytes::Bytes;
use hash::Sha256;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A split file: what the manifest says of it, and how to get at it.
#[derive(Clone, Debug)]
pub struct Content {
    pub(super) manifest: Arc<Manifest>,
    pub(super) targets: Targets,
    pub(super) reader: Reader,
    file: Option<(PathBuf, Arc<File>)>,
}

impl Content {
    /// The content of `manifest`, whose bytes are in `file`, if that is given, and at the places that it names.
    ///
    /// # Errors
    /// If the file can't be opened, or has another length.
    pub fn new(manifest: Manifest, targets: Targets, file: Option<&Path>) -> Result<Self, SplitError> {
        let open = |path: &Path| {
            let failed = |t: Trouble| SplitError::Read(path.to_owned(), std::io::Error::other(t));
            let (file, len) = folder::open(path).map_err(failed)?;
            match len == manifest.geometry.total() {
                true => Ok((path.to_owned(), Arc::new(file))),
                false => Err(SplitError::File(path.to_owned(), "has not the length that the manifest says")),
            }
        };
        let file = file.map(open).transpose()?;
        let server = Server::new(targets.logins().clone());
        Ok(Content { manifest: Arc::new(manifest), targets, reader: Reader { server }, file })
    }

    /// What the manifest says.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Can pieces be had without any replica?
    pub(super) fn has_file(&self) -> bool {
        self.file.is_some()
    }

    /// The pieces of a part.
    pub(super) fn pieces(&self, part: &Part) -> Range<u32> {
        let length = u64::from(self.manifest.geometry.piece_length());
        (part.offset / length) as u32..(part.offset + part.bytes).div_ceil(length) as u32
    }

    /// The piece with this index of a part, good: from the file, or else from the first of `replicas` that has it good.
    pub(super) async fn piece(&self, part: &Part, index: u32, replicas: &[Location]) -> Result<Bytes, Trouble> {
        let nowhere = || Trouble::Content(format!("piece {index} is good nowhere"));
        let geometry = &self.manifest.geometry;
        let piece = geometry.piece(index).ok_or_else(nowhere)?;
        let (offset, len) = (geometry.piece_offset(piece), u64::from(geometry.piece_len(piece)));
        let mut why = nowhere();
        if let Some((path, file)) = &self.file {
            let file = file.clone();
            match blocking(move || folder::read(&file, offset, len)).await {
                Ok(bytes) if self.is_good(piece, &bytes).await => return Ok(bytes),
                _ => {
                    why = Trouble::Content(format!(
                        "{} has changed since it was hashed: piece {index} differs",
                        path.display()
                    ))
                }
            }
        }
        for replica in replicas {
            match self.reader.read(replica, offset - part.offset, len).await {
                Ok(bytes) if self.is_good(piece, &bytes).await => return Ok(bytes),
                // The next one may have it.
                _ => {}
            }
        }
        Err(why)
    }

    /// Are these the bytes of that piece?
    pub(super) async fn is_good(&self, piece: PieceIndex, bytes: &Bytes) -> bool {
        let (bytes, should) = (bytes.clone(), self.manifest.pieces.get(piece.index()).copied());
        blocking(move || Ok(Some(Sha256::digest(&bytes)) == should)).await == Ok(true)
    }
}
