//! What can be wrong with a Metalink, and where.

use super::Metalink;
use std::fmt;

/// Why a Metalink can't be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MetalinkError {
    /// The line, from 1; 0 if it is about the whole.
    pub line: u32,
    /// What is wrong.
    pub fault: MetalinkFault,
}

/// What is wrong with a Metalink.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetalinkFault {
    /// It is longer than [`Metalink::BYTES_MAX`].
    #[error("{is} bytes; at most {max} are read", max = Metalink::BYTES_MAX)]
    Long {
        /// Bytes in it.
        is: usize,
    },
    /// It is no UTF-8.
    #[error("it is not in UTF-8")]
    NotUtf8,
    /// It is no XML.
    #[error("not XML: {0}")]
    Xml(String),
    /// It is XML, but no Metalink.
    #[error("no Metalink: the outermost element is {0:?}")]
    NotAMetalink(String),
    /// It is a Metalink of another version.
    #[error("a Metalink of version 3; version 4 (RFC 5854) is known")]
    Version3,
    /// It has a document type declaration, which is where attacks by entities begin.
    #[error("a document type declaration, which Metalinks don't have")]
    DocType,
    /// An entity other than those that XML itself has.
    #[error("the entity {0:?}, which XML does not define")]
    Entity(String),
    /// Elements are nested deeper than [`Metalink::DEPTH_MAX`].
    #[error("elements more than {max} deep", max = Metalink::DEPTH_MAX)]
    Deep,
    /// A text is longer than [`Metalink::TEXT_MAX`].
    #[error("{what} is longer than {max} bytes", max = Metalink::TEXT_MAX)]
    LongText {
        /// Which text.
        what: &'static str,
    },
    /// It has no files.
    #[error("it names no files")]
    NoFiles,
    /// It has more than [`Metalink::FILES_MAX`] files.
    #[error("more than {max} files", max = Metalink::FILES_MAX)]
    ManyFiles,
    /// Something that a file has once is there twice.
    #[error("a second {0}")]
    Twice(String),
    /// Something is missing.
    #[error("{0} is missing")]
    Missing(&'static str),
    /// A number is none, or out of range.
    #[error("{what} is {is:?}, which is no number from {min} to {max}")]
    Number {
        /// Which number.
        what: &'static str,
        /// What is there.
        is: String,
        /// The least.
        min: u64,
        /// The most.
        max: u64,
    },
    /// A digest has not the digits that its kind has.
    #[error("{is:?} is no digest of {kind}, which has {digits} hexadecimal digits")]
    Digest {
        /// The hash function.
        kind: String,
        /// What is there.
        is: String,
        /// How many digits there should be.
        digits: usize,
    },
    /// There are not as many piece digests as pieces.
    #[error("{have} piece digests for {size} bytes in pieces of {length}")]
    Pieces {
        /// Digests that are there.
        have: usize,
        /// The size of the file.
        size: u64,
        /// Bytes in a piece.
        length: u32,
    },
    /// A file has another size than its Metalink says.
    #[error("the size is {should}, but there are {is} bytes")]
    Size {
        /// What the Metalink says.
        should: u64,
        /// What is there.
        is: u64,
    },
    /// The pieces can't be.
    #[error(transparent)]
    Geometry(#[from] crate::GeometryError),
}

impl fmt::Display for MetalinkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "broken Metalink: {}", self.fault),
            line => write!(f, "broken Metalink, line {line}: {}", self.fault),
        }
    }
}

impl std::error::Error for MetalinkError {}

impl From<MetalinkFault> for MetalinkError {
    fn from(fault: MetalinkFault) -> Self {
        MetalinkError { line: 0, fault }
    }
}
