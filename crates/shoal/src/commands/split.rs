//! `shoal split`: a file in parts on several targets, and the repair of one.

use crate::args::{CutArgs, SplitArgs, SplitCommand};
use crate::failure::Failure;
use crate::progress::{self, Far};
use crate::say::{Voice, printable};
use crate::{signals, units};
use anyhow::{Context as _, bail, ensure};
use base::manifest::{Manifest, Part};
use base::metainfo::create::usual_piece_length;
use base::metainfo::names::{self, Rules};
use base::placement;
use node::http::netrc::Netrc;
use node::split::{self, Content, Placing, SplitError, Target, Targets, Trouble};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

mod repair;

/// Shortest piece, in bytes: what is asked for at once.
const PIECE_MIN: u64 = 16 << 10;

/// Does what the command line says.
pub async fn run(args: SplitArgs, voice: Voice) -> Result<(), Failure> {
    match (args.command, args.cut) {
        (Some(SplitCommand::Repair(args)), _) => repair::run(&args, voice).await,
        (None, Some(cut)) => self::cut(&cut, args.logins.read()?, voice).await,
        (None, None) => Err(Failure::usage("name the file, and the targets with --across; see --help")),
    }
}

/// A part that is where it belongs.
#[derive(Serialize)]
#[serde(tag = "event", rename = "placed")]
struct PlacedLine<'a> {
    part: usize,
    place: String,
    target: &'a str,
    /// It was there before.
    found: bool,
}

/// A target, and what it holds now.
#[derive(Serialize)]
struct TargetLine {
    target: String,
    parts: usize,
    bytes: u64,
}

#[derive(Serialize)]
#[serde(tag = "event", rename = "complete")]
struct Done {
    manifest: String,
    name: String,
    bytes: u64,
    sha256: String,
    pieces: u32,
    piece_length: u32,
    parts: usize,
    replicas: usize,
    seconds: f64,
    targets: Vec<TargetLine>,
}

/// Cuts a file, places its parts, and writes the manifest.
async fn cut(args: &CutArgs, logins: Netrc, voice: Voice) -> Result<(), Failure> {
    let started = Instant::now();
    let shown = args.file.display();
    let len = args.file.metadata().with_context(|| format!("can't read {shown}"))?.len();
    let raw = args.file.file_name().with_context(|| format!("{shown} has no name; name a file"))?;
    let name = names::component(raw.as_encoded_bytes(), Rules::HERE, names::TOP_MAX);
    let replicas = args.replicas.get();
    if replicas > Manifest::REPLICAS_MAX {
        return Err(Failure::usage(format!("{replicas} replicas; the limit is {}", Manifest::REPLICAS_MAX)));
    }
    if replicas > args.across.len() {
        let has = args.across.len();
        return Err(Failure::usage(format!("{replicas} replicas need {replicas} targets; --across names {has}")));
    }
    let piece_length = args.piece_length.map_or_else(|| usual_piece_length(len), |size| size.0);
    if piece_length < PIECE_MIN {
        return Err(Failure::usage(format!("--piece-length is {piece_length} bytes; the least is 16KiB")));
    }
    let output = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{name}.split.json")));
    let home = home(&output)?;
    let targets = args.across.iter().map(|text| Target::parse(text, &home)).collect::<Result<Vec<_>, _>>()?;
    let known = Targets::new(&home, &targets)?.with_logins(logins);
    for target in &targets {
        split::reach(&known, target, &name).await?;
    }
    let manifest = measure(&args.file, name, piece_length, voice).await?;
    may_replace(&output, &manifest)?;
    // For thousands of parts this takes a while.
    let planned = tokio::task::spawn_blocking(move || {
        let (manifest, jobs) = assign(manifest, &targets, replicas);
        // Better now than when somebody needs it.
        Manifest::parse(manifest.to_json().as_bytes()).context("the manifest would be beyond what can be read")?;
        anyhow::Ok((manifest, jobs))
    });
    let (manifest, jobs) = planned.await.context("placing the parts died")??;
    let content = Arc::new(Content::new(manifest.clone(), known, Some(&args.file))?);
    let total = jobs.iter().map(|job| manifest.parts[job.part].bytes).sum();
    let moved = Arc::new(AtomicU64::new(0));
    let work = split::place(&content, jobs, &moved, signals::stop(), |placed| {
        if let Ok(found) = placed.result {
            let Placing { part, place, .. } = &placed.placing;
            voice.object(&PlacedLine { part: *part, place: place.to_string(), target: place.folder(), found });
        }
        placed.result.is_ok()
    });
    let far = || Far { what: "placing", bytes: moved.load(Ordering::Relaxed), total };
    progress::followed(voice, far, work).await.map_err(failure)?;
    split::save(&manifest, &output)?;
    let done = Done {
        manifest: output.to_string_lossy().into_owned(),
        bytes: len,
        sha256: base::Hex(&manifest.sha256).to_string(),
        pieces: manifest.geometry.piece_count(),
        piece_length: manifest.geometry.piece_length(),
        parts: manifest.parts.len(),
        replicas,
        seconds: started.elapsed().as_secs_f64(),
        targets: by_target(&manifest),
        name: manifest.name,
    };
    voice.object(&done);
    tell(&done, voice);
    Ok(())
}

/// The lines that people read.
fn tell(done: &Done, voice: Voice) {
    let Done { parts, replicas, .. } = done;
    let times = if *replicas == 1 { String::new() } else { format!(", each on {replicas} targets") };
    voice.result(&format!("{}: {} in {parts} parts{times}", printable(&done.name), units::bytes(done.bytes)));
    for TargetLine { target, parts, bytes } in &done.targets {
        voice.result(&format!("  {parts} parts, {} on {}", units::bytes(*bytes), printable(target)));
    }
    voice.result(&format!("the manifest is {}", printable(&done.manifest)));
}

/// What each target of a manifest holds.
fn by_target(manifest: &Manifest) -> Vec<TargetLine> {
    let line = |(folder, parts): (&str, Vec<(usize, _)>)| TargetLine {
        target: folder.to_owned(),
        parts: parts.len(),
        bytes: parts.iter().map(|(part, _)| manifest.parts[*part].bytes).sum(),
    };
    manifest.by_folder().into_iter().map(line).collect()
}

/// The folder of a manifest, which relative places begin in.
fn home(manifest: &Path) -> anyhow::Result<PathBuf> {
    let folder = manifest.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    folder.canonicalize().with_context(|| format!("can't write {}: there is no such folder", manifest.display()))
}

/// The digests of the file, in a manifest without parts.
async fn measure(path: &Path, name: String, piece_length: u64, voice: Voice) -> Result<Manifest, Failure> {
    let (owned, what) = (path.to_owned(), format!("hashing {}", printable(&name)));
    let measured = progress::metered(voice, &what, signals::stop(), move |meter, total| {
        split::measure(&owned, piece_length, meter, total)
    });
    let m = measured.await?.map_err(failure)?;
    Ok(Manifest { name, geometry: m.geometry, sha256: m.sha256, pieces: m.pieces, parts: Vec::new() })
}

/// A manifest is all that knows where parts are: that of another file is not written over.
fn may_replace(path: &Path, manifest: &Manifest) -> anyhow::Result<()> {
    let shown = path.display();
    let is_there = path.try_exists().with_context(|| format!("can't write {shown}"))?;
    if !is_there {
        return Ok(());
    }
    match read(path) {
        Ok(old) if old.sha256 == manifest.sha256 => Ok(()),
        Ok(_) => bail!("{shown} is the manifest of another file; name another with -o, or remove it"),
        Err(_) => bail!("{shown} is there already and no split manifest; name another with -o"),
    }
}

/// Cuts, and decides where each part goes.
fn assign(manifest: Manifest, targets: &[Target], replicas: usize) -> (Manifest, Vec<Placing>) {
    let cut = placement::cut(&manifest.geometry, targets.len(), Manifest::PARTS_MAX);
    let folders: Vec<&str> = targets.iter().map(|target| target.folder.as_str()).collect();
    let at = placement::place(&manifest.name, &folders, replicas, &vec![Vec::new(); cut.len()]);
    let (mut parts, mut jobs) = (Vec::new(), Vec::new());
    for (part, ((offset, bytes), at)) in cut.into_iter().zip(at).enumerate() {
        let file = manifest.part_name(part);
        let places: Vec<_> = at.iter().map(|target| targets[*target].place(&file)).collect();
        let job =
            |place: &_| Placing { part, place: Clone::clone(place), from: Vec::new(), anew: false, vouched: true };
        jobs.extend(places.iter().map(job));
        parts.push(Part { offset, bytes, places });
    }
    (Manifest { parts, ..manifest }, jobs)
}

/// What is there already stays, and counts the next time.
fn failure(error: SplitError) -> Failure {
    match &error {
        SplitError::Stopped => Failure::Interrupted,
        SplitError::Place { trouble: Trouble::Content(_), .. } => error.into(),
        SplitError::Place { .. } => anyhow::anyhow!("{error}; the same command goes on where this one stopped").into(),
        _ => error.into(),
    }
}

/// Reads the manifest in a file.
fn read(path: &Path) -> anyhow::Result<Manifest> {
    let shown = path.display();
    let metadata = std::fs::metadata(path).with_context(|| format!("can't read {shown}"))?;
    ensure!(metadata.is_file(), "{shown} is no file; name a split manifest");
    ensure!(
        metadata.len() <= Manifest::BYTES_MAX as u64,
        "{shown} is no split manifest: it has {}, and {} is the limit",
        units::bytes(metadata.len()),
        units::bytes(Manifest::BYTES_MAX as u64)
    );
    let bytes = std::fs::read(path).with_context(|| format!("can't read {shown}"))?;
    Manifest::parse(&bytes).with_context(|| shown.to_string())
}

/// A count of each of some words, for people: `3 missing, 1 altered`.
fn counted(counts: &BTreeMap<&str, usize>) -> String {
    let words: Vec<String> = counts.iter().map(|(word, n)| format!("{n} {word}")).collect();
    words.join(", ")
}
