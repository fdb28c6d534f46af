//! `shoal torrent`: make, show and check .torrent files, and print their magnets.

use crate::args::{CreateArgs, Format, MagnetArgs, ShowArgs, TorrentCommand, VerifyArgs};
use crate::failure::Failure;
use crate::say::{Voice, printable};
use crate::source::{self, Torrent, What};
use crate::{progress, signals, units};
use anyhow::{Context as _, bail};
use base::{Bitfield, Hex, Magnet, Metainfo};
use node::create::{self, CreateError, CreateOptions, Created};
use node::disk::check::{self, Options};
use node::disk::{FileCache, Place, Storage};
use serde::Serialize;
use std::io::Write as _;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Does what the command line says.
pub async fn run(command: TorrentCommand, voice: Voice) -> Result<(), Failure> {
    match command {
        TorrentCommand::Create(args) => create(args, voice).await,
        TorrentCommand::Show(args) => show(&args, voice).await,
        TorrentCommand::Verify(args) => verify(args, voice).await,
        TorrentCommand::Magnet(args) => magnet(&args, voice),
    }
}

/// What programs read of a torrent.
#[derive(Debug, Serialize)]
pub struct Summary {
    torrent: Option<String>,
    name: Option<String>,
    info_hash_v1: Option<String>,
    info_hash_v2: Option<String>,
    magnet: String,
    bytes: Option<u64>,
    pieces: Option<u32>,
    piece_length: Option<u32>,
    file_count: Option<usize>,
}

#[derive(Debug, Serialize)]
struct Details {
    #[serde(flatten)]
    summary: Summary,
    files: Option<Vec<File>>,
    trackers: Vec<String>,
    web_seeds: Vec<String>,
    private: Option<bool>,
    comment: Option<String>,
    created: Option<u64>,
}

#[derive(Debug, Serialize)]
struct File {
    path: String,
    bytes: u64,
}

impl Summary {
    fn of(metainfo: &Metainfo, path: &Path) -> Self {
        let (info, layout) = (&metainfo.info, &metainfo.info.layout);
        Summary {
            torrent: Some(path.to_string_lossy().into_owned()),
            name: Some(layout.name().to_owned()),
            info_hash_v1: info.hashes.v1.map(|h| h.to_string()),
            info_hash_v2: info.hashes.v2.map(|h| Hex(&h).to_string()),
            magnet: metainfo.magnet().to_string(),
            bytes: Some(layout.content_len()),
            pieces: Some(info.geometry.piece_count()),
            piece_length: Some(info.geometry.piece_length()),
            file_count: Some(layout.content().count()),
        }
    }

    fn of_magnet(magnet: &Magnet) -> Self {
        Summary {
            torrent: None,
            name: magnet.name.clone(),
            info_hash_v1: magnet.hashes.v1.map(|h| h.to_string()),
            info_hash_v2: magnet.hashes.v2.map(|h| Hex(&h).to_string()),
            magnet: magnet.to_string(),
            bytes: magnet.length,
            pieces: None,
            piece_length: None,
            file_count: None,
        }
    }

    /// The lines that people read.
    fn print(&self, voice: Voice) {
        let line = |name: &str, value: Option<String>| {
            if let Some(value) = value {
                voice.result(&format!("{name:<14}{}", printable(&value)));
            }
        };
        line("name", self.name.clone());
        line("torrent", self.torrent.clone());
        line("size", self.bytes.map(|n| format!("{} ({n} bytes)", units::bytes(n))));
        line("files", self.file_count.map(|n| n.to_string()));
        let pieces = self.pieces.zip(self.piece_length);
        line("pieces", pieces.map(|(n, length)| format!("{n} of {}", units::bytes(length.into()))));
        line("info-hash v1", self.info_hash_v1.clone());
        line("info-hash v2", self.info_hash_v2.clone());
        line("magnet", Some(self.magnet.clone()));
    }
}

/// Threads that hash, unless the user says otherwise: one a core.
pub fn threads(wanted: Option<NonZeroUsize>) -> usize {
    wanted.or_else(|| std::thread::available_parallelism().ok()).map_or(1, NonZeroUsize::get)
}

/// The format as the node calls it.
pub fn format(format: Format) -> base::metainfo::create::Format {
    match format {
        Format::Auto => base::metainfo::create::Format::Auto,
        Format::V1 => base::metainfo::create::Format::V1,
        Format::V2 => base::metainfo::create::Format::V2,
        Format::Hybrid => base::metainfo::create::Format::Hybrid,
    }
}

/// Makes the torrent of `path`, with a bar. What was left out is told.
pub async fn make(path: &Path, options: CreateOptions, voice: Voice) -> Result<Created, Failure> {
    let owned = path.to_owned();
    let what = format!("hashing {}", printable(&path.file_name().unwrap_or_default().to_string_lossy()));
    let made = progress::metered(voice, &what, signals::stop(), move |meter, total| {
        create::create(&owned, &options, meter, total)
    });
    let mut made = match made.await? {
        Err(CreateError::Stopped) => return Err(Failure::Interrupted),
        made => made.map_err(|e| advice(e, path))?,
    };
    for (path, why) in &made.skipped {
        voice.warn(&format!("{} is left out: {why}", path.display()));
    }
    made.metainfo.created_by = Some(concat!("Shoal ", env!("CARGO_PKG_VERSION")).to_owned());
    made.metainfo.creation_date = SystemTime::now().duration_since(UNIX_EPOCH).ok().map(|d| d.as_secs());
    Ok(made)
}

fn advice(error: CreateError, path: &Path) -> anyhow::Error {
    match error {
        CreateError::Metainfo(error) => {
            anyhow::Error::new(error).context(format!("can't make a torrent of {}", path.display()))
        }
        error => error.into(),
    }
}

/// A URL of a tracker or a web seed, as far as can be told without asking it.
pub fn check_url(flag: &str, url: &str, schemes: &[&str]) -> Result<(), Failure> {
    let known = schemes.iter().any(|s| {
        url.split_once("://").is_some_and(|(scheme, rest)| scheme.eq_ignore_ascii_case(s) && !rest.is_empty())
    });
    match known && !url.chars().any(|c| c.is_control() || c.is_whitespace()) {
        true => Ok(()),
        false => Err(Failure::usage(format!(
            "{flag} {url}: a URL is wanted that begins with {}://",
            schemes.join(":// or ")
        ))),
    }
}

/// Schemes of trackers.
pub const TRACKERS: [&str; 3] = ["http", "https", "udp"];

async fn create(args: CreateArgs, voice: Voice) -> Result<(), Failure> {
    args.tracker.iter().try_for_each(|url| check_url("--tracker", url, &TRACKERS))?;
    args.web_seed.iter().try_for_each(|url| check_url("--web-seed", url, &["http", "https"]))?;
    let options = CreateOptions {
        format: format(args.format),
        piece_length: args.piece_length.map(|s| s.0),
        name: args.name,
        private: args.private,
        threads: threads(args.threads),
        digests: false,
        leave_hidden: false,
    };
    let mut metainfo = make(&args.path, options, voice).await?.metainfo;
    metainfo.trackers = args.tracker.into_iter().map(|url| vec![url]).collect();
    metainfo.web_seeds = args.web_seed;
    metainfo.comment = args.comment;
    let output = args.output.unwrap_or_else(|| PathBuf::from(format!("{}.torrent", metainfo.info.layout.name())));
    write(&output, &metainfo.encode())?;
    let summary = Summary::of(&metainfo, &output);
    voice.object(&summary);
    summary.print(voice);
    Ok(())
}

/// Writes a file beside its place first, so that no half of one ever lies there.
pub fn write(path: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let failed = || format!("can't write {}", path.display());
    let Some(name) = path.file_name() else { bail!("can't write {}: it names no file", path.display()) };
    let mut part = name.to_owned();
    part.push(format!(".{}.part", std::process::id()));
    let part = path.with_file_name(part);
    let written = std::fs::File::create_new(&part).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_all()?;
        std::fs::rename(&part, path)
    });
    if written.is_err() {
        // What failed is told; the rest of it is of no use.
        let _ = std::fs::remove_file(&part);
    }
    written.with_context(failed)
}

async fn show(args: &ShowArgs, voice: Voice) -> Result<(), Failure> {
    let mut found = source::find(&node::http::client::Web::default(), &args.source).await?;
    let what = match found.len() {
        1 => found.remove(0).what,
        n => return Err(anyhow::anyhow!("{} names {n} files, and no torrent of all of them", args.source).into()),
    };
    let details = match what {
        What::Plain(_) | What::Endless { .. } => {
            return Err(anyhow::anyhow!("{} is no torrent, and names none", args.source).into());
        }
        What::Magnet(magnet) => Details {
            summary: Summary::of_magnet(&magnet),
            files: None,
            trackers: magnet.trackers,
            web_seeds: magnet.web_seeds,
            private: None,
            comment: None,
            created: None,
        },
        What::Torrent(torrent) => {
            let metainfo = torrent.metainfo;
            let file = |f: &base::FileEntry| File { path: f.path.clone(), bytes: f.len };
            for warning in metainfo.warnings.iter().chain(&metainfo.info.warnings) {
                voice.note(&format!("note: {warning}"));
            }
            Details {
                summary: Summary::of(&metainfo, Path::new(&args.source)),
                files: Some(metainfo.info.layout.content().map(|(_, f)| file(f)).collect()),
                trackers: metainfo.trackers.into_iter().flatten().collect(),
                web_seeds: metainfo.web_seeds,
                private: Some(metainfo.info.private),
                comment: metainfo.comment,
                created: metainfo.creation_date,
            }
        }
    };
    voice.object(&details);
    details.summary.print(voice);
    let list = |name: &str, values: &[String]| {
        values.iter().for_each(|v| voice.result(&format!("{name:<14}{}", printable(v))))
    };
    list("tracker", &details.trackers);
    list("web seed", &details.web_seeds);
    list("private", &Vec::from_iter(details.private.filter(|p| *p).map(|_| "only its trackers name peers".to_owned())));
    list("comment", &Vec::from_iter(details.comment));
    for file in details.files.iter().flatten() {
        voice.result(&format!("{:>10}  {}", units::bytes(file.bytes), printable(&file.path)));
    }
    Ok(())
}

fn magnet(args: &MagnetArgs, voice: Voice) -> Result<(), Failure> {
    let torrent = source::read(&args.file)?;
    voice.object(&Summary::of(&torrent.metainfo, &args.file));
    voice.result(&torrent.metainfo.magnet().to_string());
    Ok(())
}

#[derive(Debug, Serialize)]
struct Verified {
    pieces: u32,
    good: u32,
    bad: Vec<u32>,
}

async fn verify(args: VerifyArgs, voice: Voice) -> Result<(), Failure> {
    let torrent = source::read(&args.file)?;
    let storage = storage(&torrent, &args.data)?;
    let geometry = storage.plan().geometry;
    let options = Options { threads: threads(None), skip_holes: false, find_blocks: false };
    let all = Bitfield::full(geometry.piece_count());
    let what = format!("checking {}", printable(torrent.metainfo.info.layout.name()));
    let total = torrent.metainfo.info.layout.total();
    let report = progress::metered(voice, &what, signals::stop(), move |meter, say| {
        say(total);
        check::check(&storage, &all, options, meter)
    });
    let report = report.await?.context("can't check it")?;
    if signals::stopping() {
        return Err(Failure::Interrupted);
    }
    let bad: Vec<u32> = (0..geometry.piece_count()).filter(|piece| !report.good.has(*piece)).collect();
    let verified = Verified { pieces: geometry.piece_count(), good: report.good.count(), bad };
    voice.object(&verified);
    if verified.bad.is_empty() {
        voice.result(&format!("all {} pieces are good", verified.pieces));
        return Ok(());
    }
    let shown: Vec<String> = verified.bad.iter().take(20).map(u32::to_string).collect();
    let more = if verified.bad.len() > shown.len() { ", ..." } else { "" };
    let (bad, pieces) = (verified.bad.len(), verified.pieces);
    Err(anyhow::anyhow!("{bad} of {pieces} pieces of {} are bad: {}{more}", args.data.display(), shown.join(", "))
        .into())
}

/// The data of a torrent, where the user says that it is.
fn storage(torrent: &Torrent, data: &Path) -> anyhow::Result<Storage> {
    let metadata = std::fs::metadata(data).with_context(|| format!("can't read {}", data.display()))?;
    let layout = &torrent.metainfo.info.layout;
    match (layout.is_single(), metadata.is_dir()) {
        (true, true) => bail!("{} is a folder, and the torrent is of one file; name the file", data.display()),
        (false, false) => bail!("{} is a file, and the torrent is of a folder; name the folder", data.display()),
        _ => {}
    }
    let plan = torrent.metainfo.plan().context("the torrent has no piece layers: its pieces can't be checked")?;
    let storage = Storage::new(Arc::new(plan), place(data)?, Arc::new(FileCache::new(64)));
    Ok(storage.with_own_names(&torrent.metainfo.info))
}

/// The folder that `data` is in, and its name there; also of `.` and the like.
pub fn place(data: &Path) -> anyhow::Result<Place> {
    let whole = match data.file_name() {
        Some(_) => std::path::absolute(data)?,
        None => data.canonicalize().with_context(|| format!("can't read {}", data.display()))?,
    };
    match (whole.parent(), whole.file_name()) {
        (Some(parent), Some(name)) => Ok(Place::new(parent, name)),
        _ => bail!("{} can't be the data of a torrent: it has no name", data.display()),
    }
}
