//! One cell of the table: a client, its role, a format and a shape, tried for real.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::client::Kind;
use crate::content::{self, Empty, PIECE_LENGTH, Shape};
use crate::place::Place;
use crate::process::{self, PATIENCE};
use crate::python::Python;
use crate::shoal;
use crate::tracker::{Tracker, Via};

/// What the client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It has the content, and `shoal get` fetches it.
    Seeds,
    /// It fetches from `shoal seed`.
    Leeches,
}

/// The format of the .torrent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// BEP 3.
    V1,
    /// Both at once.
    Hybrid,
    /// BEP 52 alone.
    V2,
}

impl Format {
    /// As the command line calls it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::Hybrid => "hybrid",
            Self::V2 => "v2",
        }
    }

    /// The hash that peers and trackers know it by.
    #[must_use]
    pub fn wire_hash(self, created: &Value) -> &str {
        let field = if self == Self::V2 { "info_hash_v2" } else { "info_hash_v1" };
        created[field].as_str().unwrap_or_default()
    }
}

/// One cell.
#[derive(Clone, Copy, Debug)]
pub struct Cell {
    /// Whose program.
    pub client: Kind,
    /// What it does.
    pub role: Role,
    /// With which kind of torrent.
    pub format: Format,
    /// Of what.
    pub shape: Shape,
}

/// How long a client that cannot is watched not doing it.
const REFUSAL: Duration = Duration::from_secs(3);

impl Cell {
    /// Every cell there is.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let mut cells = Vec::new();
        for client in Kind::ALL {
            for role in [Role::Seeds, Role::Leeches] {
                for format in [Format::V1, Format::Hybrid, Format::V2] {
                    for shape in [Shape::File, Shape::Tree] {
                        cells.push(Self { client, role, format, shape });
                    }
                }
            }
        }
        cells
    }

    /// Its name among the tests.
    #[must_use]
    pub fn name(self) -> String {
        let role = match self.role {
            Role::Seeds => "seeds",
            Role::Leeches => "leeches",
        };
        let shape = match self.shape {
            Shape::File => "file",
            Shape::Tree => "tree",
        };
        format!("{}/{role}/{}/{shape}", self.client.name(), self.format.name())
    }

    /// Can the client do it at all?
    #[must_use]
    pub fn works(self) -> bool {
        match self.format {
            Format::V1 => true,
            Format::Hybrid => self.client.reads_hybrids(),
            Format::V2 => self.client.knows_v2(),
        }
    }

    /// Does the client store pad files here, as if they were files?
    #[must_use]
    pub fn stores_pads(self) -> bool {
        self.format == Format::Hybrid && self.shape == Shape::Tree && !self.client.knows_pads()
    }

    /// Tries it.
    ///
    /// # Errors
    /// When anything is not as the table says.
    pub fn run(self) -> Result<()> {
        let place = Place::new(&self.name())?;
        let content = self.shape.write(&place.sub("seed")?, self.seed())?;
        let via = if self.format == Format::Hybrid { Via::Udp } else { Via::Http };
        let torrent = place.folder.join("it.torrent");
        let created = create(&place, &content, &torrent, self.format, &Tracker::url(&place, via))?;
        if !self.works() {
            self.is_refused(&place, &torrent, &content, &created)?;
        } else if self.role == Role::Seeds {
            self.client_seeds(&place, &torrent, &content, &created)?;
        } else {
            self.client_leeches(&place, &torrent, &content, &created)?;
        }
        place.succeeded();
        Ok(())
    }

    /// Every cell has content of its own.
    fn seed(self) -> u64 {
        self.name().bytes().fold(1, |seed: u64, b| seed.wrapping_mul(131).wrapping_add(u64::from(b)))
    }

    fn client_seeds(self, place: &Place, torrent: &Path, content: &Path, created: &Value) -> Result<()> {
        if self.stores_pads() {
            write_pads(place, torrent)?;
        }
        let mut tracker = Tracker::start(place)?;
        let mut client = self.client.start(place)?;
        client.add(torrent, &place.folder.join("seed"))?;
        process::until(PATIENCE, "the client to have checked its data", || client.complete())?;
        let hash = self.format.wire_hash(created);
        tracker.await_counts(hash, "the client to announce itself as a seed", |c| c.complete == 1)?;
        let out = place.sub("out")?;
        let mut get = shoal::get(place, &torrent.to_string_lossy(), &out, &[])?;
        let done = shoal::complete(&mut get, PATIENCE)?;
        // What is padding counts for nobody.
        let (fetched, content_bytes) = (number(&done["bytes"])?, number(&created["bytes"])?);
        ensure!(fetched == content_bytes, "fetched {fetched} bytes of {content_bytes}");
        content::compare(content, &out.join(self.shape.name()), Empty::Present)?;
        let counts = tracker.scrape(hash)?;
        ensure!(counts.downloaded == 1 && counts.incomplete == 0, "after shoal completed and left: {counts:?}");
        Ok(())
    }

    fn client_leeches(self, place: &Place, torrent: &Path, content: &Path, created: &Value) -> Result<()> {
        let mut tracker = Tracker::start(place)?;
        let seed = shoal::seed(place, torrent, content, &[])?;
        let hash = self.format.wire_hash(created);
        tracker.await_counts(hash, "shoal to announce itself as a seed", |c| c.complete == 1)?;
        let mut client = self.client.start(place)?;
        let out = place.sub("out")?;
        client.add(torrent, &out)?;
        process::until(PATIENCE, "the client to have all of it", || client.complete())?;
        // Some say that they are complete slightly before their last write is in the file.
        let mut difference = Ok(());
        process::until(Duration::from_secs(10), "equal content", || {
            difference = content::compare(content, &out.join(self.shape.name()), self.client.makes_empty_files());
            Ok(difference.is_ok())
        })
        .or(difference)?;
        if self.client.tells_completion_at_once() {
            tracker.await_counts(hash, "the client to announce its completion", |c| c.downloaded == 1)?;
        }
        drop(seed);
        Ok(())
    }

    fn is_refused(self, place: &Place, torrent: &Path, content: &Path, created: &Value) -> Result<()> {
        let mut tracker = Tracker::start(place)?;
        let hash = self.format.wire_hash(created);
        let seeds = self.role == Role::Seeds;
        let _seed = if seeds { None } else { Some(shoal::seed(place, torrent, content, &[])?) };
        let mut client = self.client.start(place)?;
        let folder = place.sub(if seeds { "seed" } else { "out" })?;
        if client.add(torrent, &folder).is_err() {
            return Ok(());
        }
        let end = Instant::now() + REFUSAL;
        process::until(PATIENCE, "the end of the refusal", || {
            let works = if seeds { tracker.scrape(hash)?.complete > 0 } else { matches!(client.complete(), Ok(true)) };
            ensure!(!works, "{} can do this now: the table is out of date", self.client.name());
            Ok(Instant::now() > end)
        })
    }
}

fn number(value: &Value) -> Result<u64> {
    value.as_u64().with_context(|| format!("{value} is no number"))
}

/// Makes a .torrent with `shoal torrent create`; gives what that printed.
///
/// # Errors
/// When it fails, or prints what is not so.
pub fn create(place: &Place, content: &Path, torrent: &Path, format: Format, tracker: &str) -> Result<Value> {
    let (path, out, piece) = (content.to_string_lossy(), torrent.to_string_lossy(), PIECE_LENGTH.to_string());
    let args = [
        "torrent",
        "create",
        &path,
        "-o",
        &out,
        "--format",
        format.name(),
        "--piece-length",
        &piece,
        "--tracker",
        tracker,
    ];
    let created = shoal::ask(place, &args)?;
    ensure!(created["piece_length"] == PIECE_LENGTH, "asked for pieces of {PIECE_LENGTH}: {created}");
    ensure!(
        created["info_hash_v1"].is_null() == (format == Format::V2),
        "the wrong hashes for {}: {created}",
        format.name()
    );
    ensure!(
        created["info_hash_v2"].is_null() == (format == Format::V1),
        "the wrong hashes for {}: {created}",
        format.name()
    );
    Ok(created)
}

/// A client that knows no pad files can seed such a torrent only when they are there.
fn write_pads(place: &Place, torrent: &Path) -> Result<()> {
    let shown = Python::offline(&place.folder)?.ask("show", &json!({"torrent": torrent}))?;
    let files = shown["files"].as_array().context("no list of files")?;
    let mut pads = 0;
    for file in files.iter().filter(|f| f["pad"] == true) {
        let path: PathBuf = place.folder.join("seed").join(file["path"].as_str().context("a pad file without path")?);
        let bytes =
            file["bytes"].as_u64().and_then(|n| usize::try_from(n).ok()).context("a pad file without length")?;
        fs::create_dir_all(path.parent().context("a pad file without folder")?)
            .context("cannot make the folder of pads")?;
        fs::write(path, vec![0; bytes]).context("cannot write a pad file")?;
        pads += 1;
    }
    ensure!(pads > 0, "a hybrid of a tree without pad files tests nothing");
    Ok(())
}
