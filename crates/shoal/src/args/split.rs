//! The flags of `shoal split`.

use super::LoginArgs;
use crate::units::Size;
use clap::{Args, Subcommand};
use std::num::NonZeroUsize;
use std::path::PathBuf;

/// `shoal split`.
#[derive(Args, Debug)]
#[command(
    subcommand_negates_reqs = true,
    override_usage = "shoal split [OPTIONS] <FILE> --across <TARGET>...\n       shoal split repair [OPTIONS] <MANIFEST>"
)]
pub struct SplitArgs {
    /// Something else than cutting a file.
    #[command(subcommand)]
    pub command: Option<SplitCommand>,
    /// Cutting a file.
    #[command(flatten)]
    pub cut: Option<CutArgs>,
    /// Servers that ask for a password.
    #[command(flatten)]
    pub logins: LoginArgs,
}

/// What else there is to do.
#[derive(Debug, Subcommand)]
pub enum SplitCommand {
    /// Look at every part of a split file, and restore those that are lost
    Repair(RepairArgs),
}

/// `shoal split FILE`.
#[derive(Args, Debug)]
pub struct CutArgs {
    /// The file
    pub file: PathBuf,
    /// Where parts go: folders, which are made where their parent is there, and servers that take files (PUT), perhaps as
    /// http://NAME:PASSWORD@HOST/FOLDER/
    #[arg(long, value_name = "TARGET", num_args = 1.., required = true)]
    pub across: Vec<String>,
    /// Where to write the manifest, which says where the parts are [default: NAME.split.json in the current folder]
    #[arg(short, long, value_name = "MANIFEST")]
    pub output: Option<PathBuf>,
    /// Bytes in a piece, which is what is checked; parts are made of pieces [default: by size]
    #[arg(long, value_name = "SIZE")]
    pub piece_length: Option<Size>,
    /// Targets that each part goes to
    #[arg(long, value_name = "N", default_value = "1")]
    pub replicas: NonZeroUsize,
}

/// `shoal split repair`.
#[derive(Args, Debug)]
pub struct RepairArgs {
    /// The manifest: a file, or its URL
    #[arg(value_name = "MANIFEST")]
    pub manifest: String,
    /// Where to write the new manifest [default: over the old one, or NAME.split.json in the current folder for one from a URL]
    #[arg(short, long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// More targets, as for `split`; and those of the manifest that parts should go to although none of this file is there now
    #[arg(long, value_name = "TARGET", num_args = 1..)]
    pub across: Vec<String>,
    /// Check all bytes of every part, rather than a piece of each
    #[arg(long)]
    pub deep: bool,
    /// The file itself, for parts that are lost everywhere
    #[arg(long, value_name = "FILE")]
    pub from: Option<PathBuf>,
    /// Targets that each part should be on [default: as now]
    #[arg(long, value_name = "N")]
    pub replicas: Option<NonZeroUsize>,
    /// Servers that ask for a password.
    #[command(flatten)]
    pub logins: LoginArgs,
}
