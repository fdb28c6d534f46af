//! The flags of `shoal torrent`.

use super::Format;
use crate::units::Size;
use clap::{Args, Subcommand};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// Make, show and check .torrent files.
#[derive(Debug, Subcommand)]
pub enum TorrentCommand {
    /// Make a .torrent of a file or a folder
    Create(CreateArgs),
    /// Print what a .torrent or a magnet says
    Show(ShowArgs),
    /// Check data against a .torrent, piece by piece
    Verify(VerifyArgs),
    /// Print the magnet of a .torrent
    Magnet(MagnetArgs),
}

/// `shoal torrent create`.
#[derive(Args, Debug)]
pub struct CreateArgs {
    /// The file or the folder
    pub path: PathBuf,
    /// Where to write it [default: NAME.torrent in the current folder]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// Which version of the format; auto: a hybrid where that costs little
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
    /// Bytes in a piece: a power of two from 16 KiB [default: by size]
    #[arg(long, value_name = "SIZE")]
    pub piece_length: Option<Size>,
    /// A tracker; repeated: one more tier
    #[arg(long, value_name = "URL")]
    pub tracker: Vec<String>,
    /// A web server that has the data
    #[arg(long, value_name = "URL")]
    pub web_seed: Vec<String>,
    /// Only the trackers may name peers
    #[arg(long)]
    pub private: bool,
    /// A remark for people
    #[arg(long, value_name = "TEXT")]
    pub comment: Option<String>,
    /// Another name than the path's
    #[arg(long)]
    pub name: Option<String>,
    /// Threads that hash [default: one a core]
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,
}

/// `shoal torrent show`.
#[derive(Args, Debug)]
pub struct ShowArgs {
    /// A .torrent file or a magnet
    #[arg(value_name = "FILE or MAGNET")]
    pub source: String,
}

/// `shoal torrent verify`.
#[derive(Args, Debug)]
pub struct VerifyArgs {
    /// The .torrent
    pub file: PathBuf,
    /// The content itself, file or folder
    pub data: PathBuf,
}

/// `shoal torrent magnet`.
#[derive(Args, Debug)]
pub struct MagnetArgs {
    /// The .torrent
    pub file: PathBuf,
}
