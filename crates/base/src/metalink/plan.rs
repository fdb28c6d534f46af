//! What is fetched, from what a Metalink says about a file.

use super::{MetalinkError, MetalinkFault, MetalinkFile, MetalinkPieces, PieceHashes};
use crate::metainfo::create::usual_piece_length;
use crate::{BLOCK_SIZE, Checks, Geometry, Layout, Plan, WholeDigest};

impl MetalinkPieces {
    /// Whether there are as many digests as a file of `size` bytes has pieces.
    pub(super) fn check(&self, size: u64) -> Result<(), MetalinkFault> {
        match size.div_ceil(u64::from(self.length)) == self.hashes.len() as u64 {
            true => Ok(()),
            false => Err(MetalinkFault::Pieces { have: self.hashes.len(), size, length: self.length }),
        }
    }
}

impl MetalinkFile {
    /// One digest of all bytes: the best that there is.
    pub fn whole(&self) -> Option<WholeDigest> {
        self.sha256.map(WholeDigest::Sha256).or(self.sha1.map(WholeDigest::Sha1))
    }

    /// Its digests of pieces if it has any, checked by the engine as they come, and its digest of the whole, which is
    /// compared at the end where the pieces have none of SHA-256.
    /// `size` is what a server says, for files whose Metalink says nothing.
    ///
    /// # Errors
    /// If `size` is not what the Metalink says, or does not fit the digests of pieces; or there would be too many pieces.
    pub fn plan(&self, size: u64) -> Result<Plan, MetalinkError> {
        if let Some(should) = self.size.filter(|should| *should != size) {
            return Err(MetalinkFault::Size { should, is: size }.into());
        }
        let mut checks = Checks::default();
        if let Some(pieces) = &self.pieces {
            pieces.check(size)?;
            match &pieces.hashes {
                PieceHashes::Sha1(all) => checks.sha1 = Some(all.clone()),
                PieceHashes::Sha256(all) => checks.sha256 = Some(all.clone()),
            }
        }
        let length = self.pieces.as_ref().map_or(usual_piece_length(size), |pieces| u64::from(pieces.length));
        let geometry = Geometry::new(size, length, BLOCK_SIZE).map_err(MetalinkFault::from)?;
        Ok(Plan { whole: self.whole(), ..Plan::new(geometry, self.layout(size), checks) })
    }

    /// The folder below the output folder that it is in, if it is in one. Others of the same Metalink may be there, too.
    pub fn folder(&self) -> Option<&str> {
        self.path.rsplit_once('/').map(|(folder, _)| folder)
    }

    /// The file alone: what it shares folders with is fetched by itself.
    fn layout(&self, size: u64) -> Layout {
        let name = self.path.rsplit('/').next().unwrap_or(&self.path);
        Layout::single(name.to_owned(), size, false)
    }
}
