//! Splitting and repairing, on folders and on servers with all kinds of manners.

mod safety;
mod shelf;

use super::*;
use crate::disk::check::Meter;
use base::manifest::{Part, Place};
use base::placement;
use hash::Sha256;
use shelf::{Manners, Shelf};
use std::fs;
use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A folder with a file of ten pieces and a bit, and a place for its manifest.
struct Stage {
    dir: tempfile::TempDir,
    body: Vec<u8>,
}

const PIECE: u64 = 16 << 10;

impl Stage {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let body: Vec<u8> = (0..10 * PIECE as u32 + 5).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        fs::write(dir.path().join("f"), &body).unwrap();
        ["a", "b", "c"].iter().for_each(|name| fs::create_dir(dir.path().join(name)).unwrap());
        Stage { dir, body }
    }

    fn home(&self) -> PathBuf {
        self.dir.path().canonicalize().unwrap()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.home().join(name)
    }

    fn target(&self, text: &str) -> Target {
        let text = if text.contains("://") { text.to_owned() } else { self.path(text).display().to_string() };
        Target::parse(&text, &self.home()).unwrap()
    }

    fn targets(&self, all: &[&str]) -> Vec<Target> {
        all.iter().map(|text| self.target(text)).collect()
    }

    /// Splits the file as the command does.
    async fn split(&self, across: &[&str], replicas: usize) -> Result<Manifest, SplitError> {
        let targets = self.targets(across);
        let measured = measure(&self.path("f"), PIECE, &Meter::default(), |_| {})?;
        let Measured { geometry, sha256, pieces } = measured;
        let mut manifest = Manifest { name: "f".into(), geometry, sha256, pieces, parts: Vec::new() };
        let folders: Vec<&str> = targets.iter().map(|t| t.folder.as_str()).collect();
        let cut = placement::cut(&geometry, targets.len(), 100);
        let at = placement::place("f", &folders, replicas, &vec![Vec::new(); cut.len()]);
        let mut jobs = Vec::new();
        for (part, ((offset, bytes), at)) in cut.into_iter().zip(at).enumerate() {
            let name = manifest.part_name(part);
            let places: Vec<Place> = at.iter().map(|t| targets[*t].place(&name)).collect();
            let job =
                |place: &Place| Placing { part, place: place.clone(), from: Vec::new(), anew: false, vouched: true };
            jobs.extend(places.iter().map(job));
            manifest.parts.push(Part { offset, bytes, places });
        }
        let known = Targets::new(&self.home(), &targets)?;
        let content = Arc::new(Content::new(manifest.clone(), known, Some(&self.path("f")))?);
        let (moved, total) =
            (Arc::new(AtomicU64::new(0)), jobs.iter().map(|j| manifest.parts[j.part].bytes).sum::<u64>());
        place(&content, jobs, &moved, pending(), |placed| placed.result.is_ok()).await?;
        assert_eq!(moved.load(Ordering::Relaxed), total, "what is sent twice counts once");
        Ok(manifest)
    }

    async fn repair(&self, manifest: &Manifest, options: Options, from: Option<&str>) -> Repaired {
        let known = Targets::new(&self.home(), &options.across).unwrap();
        let from = from.map(|name| self.path(name));
        let content = Arc::new(Content::new(manifest.clone(), known, from.as_deref()).unwrap());
        repair(&content, &options, &Arc::default(), pending(), |_| {}).await.unwrap()
    }

    /// Puts the file together again from the first replicas of a manifest, all of them in folders.
    fn join(&self, manifest: &Manifest) -> Vec<u8> {
        let first = |part: &Part| fs::read(self.path(&part.places[0].to_string())).unwrap();
        manifest.parts.iter().flat_map(first).collect()
    }

    /// No temporary files are left.
    fn is_clean(&self) -> bool {
        let names = |dir: &str| fs::read_dir(self.path(dir)).unwrap().map(|e| e.unwrap().file_name());
        ["a", "b", "c"].iter().flat_map(|dir| names(dir)).all(|name| !name.to_string_lossy().starts_with('.'))
    }
}

fn deep() -> Options {
    Options { deep: true, ..Options::default() }
}

fn states(repaired: &Repaired) -> [usize; 4] {
    let count = |is: fn(&State) -> bool| repaired.found.iter().flatten().filter(|(_, s)| is(s)).count();
    [
        count(|s| *s == State::Good),
        count(|s| *s == State::Missing),
        count(|s| matches!(s, State::Altered(_))),
        count(|s| matches!(s, State::Unreachable(_))),
    ]
}

#[test]
fn measures_what_is_there() {
    let stage = Stage::new();
    let (meter, mut told) = (Meter::default(), 0);
    let measured = measure(&stage.path("f"), PIECE, &meter, |total| told = total).unwrap();
    assert_eq!(measured.sha256, Sha256::digest(&stage.body));
    let pieces: Vec<_> = stage.body.chunks(PIECE as usize).map(Sha256::digest).collect();
    assert_eq!(*measured.pieces, *pieces);
    assert_eq!((told, meter.bytes.load(Ordering::Relaxed)), (stage.body.len() as u64, stage.body.len() as u64));
    let fault =
        |name: &str, piece| measure(&stage.path(name), piece, &Meter::default(), |_| {}).unwrap_err().to_string();
    assert!(fault("none", PIECE).contains("none"));
    assert!(fault("a", PIECE).contains("no regular file"));
    assert!(fault("f", 0).contains("piece length of 0 bytes"));
    let cut = measure(&stage.path("f"), PIECE, &Meter::default(), |_| fs::write(stage.path("f"), "x").unwrap());
    assert!(cut.unwrap_err().to_string().contains("has changed while it was read"));
    meter.stop.store(true, Ordering::Relaxed);
    fs::write(stage.path("f"), &stage.body).unwrap();
    assert!(matches!(measure(&stage.path("f"), PIECE, &meter, |_| {}), Err(SplitError::Stopped)));
}

#[test]
fn targets_are_servers_or_folders() {
    let stage = Stage::new();
    let parse = |text: &str| Target::parse(text, &stage.home());
    for (text, folder, place) in [
        ("http://h", "http://h/", "http://h/n%20o.000"),
        ("HTTP://Name:pass%20word@H:80/a%20b", "http://h/a%20b/", "http://h/a%20b/n%20o.000"),
        ("https://h/../x/", "https://h/x/", "https://h/x/n%20o.000"),
    ] {
        let target = parse(text).unwrap();
        assert_eq!((&*target.folder, &*target.place("n o.000").to_string()), (folder, place));
        assert!(!format!("{target:?}").contains("pass"), "{target:?}");
    }
    assert_eq!(stage.target("a").folder, "a/");
    assert_eq!(stage.target("a").place("n"), Place::Path("a/n".into()));
    assert_eq!(stage.target(".").place("n"), Place::Path("n".into()));
    let inner = Target::parse(&stage.home().display().to_string(), &stage.path("a")).unwrap();
    assert_eq!(inner.folder, format!("{}/", stage.home().display()), "no way up: from the root");
    for (text, said) in [
        ("http://u:secret@h/x?y", "http://h/x?y: parts are put below it"),
        ("http://u:secret@/x", "broken URL"),
        ("http://h/#x", "below it"),
        ("ftp://h/x", "a target is a folder, or a server"),
        ("/no/such/folder", "none to make it in; a target is a folder: make /no/such first"),
        ("/dev/null", "it is no folder"),
    ] {
        let error = parse(text).unwrap_err().to_string();
        assert!(error.contains(said) && !error.contains("secret"), "{text}: {error}");
    }
    fs::create_dir(stage.path("x\u{202e}y")).unwrap();
    assert!(
        parse(&stage.path("x\u{202e}y").display().to_string()).unwrap_err().to_string().contains("control characters")
    );
    let twice = Targets::new(&stage.home(), &stage.targets(&["a", "b", "a/../a"])).unwrap_err();
    assert_eq!(twice.to_string(), "a/ is named twice; replicas there would die together");
}

#[tokio::test]
async fn folders_lose_parts_and_get_them_back() {
    let stage = Stage::new();
    let manifest = stage.split(&["a", "b", "c"], 2).await.unwrap();
    assert_eq!(manifest.parts.len(), 11, "eleven pieces are too few for eight parts each");
    assert!(stage.join(&manifest) == stage.body && stage.is_clean());
    assert_eq!(Manifest::parse(manifest.to_json().as_bytes()).unwrap(), manifest);
    let good = stage.repair(&manifest, deep(), None).await;
    assert_eq!((states(&good), good.restored, &good.manifest), ([22, 0, 0, 0], 0, &manifest));
    // One is gone, one is cut short, one has a bit flipped, one is a folder.
    let path = |part: usize| stage.path(&manifest.parts[part].places[0].to_string());
    fs::remove_file(path(0)).unwrap();
    fs::write(path(1), "short").unwrap();
    let mut bytes = fs::read(path(2)).unwrap();
    bytes[77] ^= 4;
    fs::write(path(2), bytes).unwrap();
    fs::remove_file(path(3)).unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, path(3), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let repaired = stage.repair(&manifest, Options::default(), None).await;
    assert_eq!((states(&repaired), repaired.restored), ([18, 1, 3, 0], 4), "nobody waits for a pipe");
    assert!(repaired.lost.is_empty() && repaired.short == 0);
    assert_eq!(repaired.manifest, manifest, "all is where it was");
    assert_eq!(states(&stage.repair(&repaired.manifest, deep(), None).await), [22, 0, 0, 0]);
    assert!(stage.join(&manifest) == stage.body && stage.is_clean());
    // A whole target is gone: it is a folder that can't be made again, so that its parts go to the two others.
    fs::remove_dir_all(stage.path("c")).unwrap();
    fs::write(stage.path("c"), "").unwrap();
    let repaired = stage.repair(&manifest, Options::default(), None).await;
    assert_eq!((repaired.lost.len(), repaired.short), (0, 0));
    assert!(repaired.manifest.parts.iter().all(|part| part.places.len() == 2));
    assert_eq!(repaired.manifest.by_folder().into_keys().collect::<Vec<_>>(), ["a/", "b/"]);
    assert_eq!(stage.join(&repaired.manifest), stage.body);
}

#[tokio::test]
async fn what_is_lost_everywhere_has_a_name_and_comes_back_from_the_file() {
    let stage = Stage::new();
    let manifest = stage.split(&["a", "b"], 1).await.unwrap();
    let gone = manifest.parts[4].places[0].to_string();
    fs::remove_file(stage.path(&gone)).unwrap();
    let repaired = stage.repair(&manifest, Options::default(), None).await;
    assert_eq!(repaired.lost, [Lost { part: 4, name: manifest.part_name(4) }]);
    assert_eq!(repaired.manifest, manifest, "its place stays: it may come back");
    // Another file of the same length is not the file.
    fs::write(stage.path("other"), vec![0; stage.body.len()]).unwrap();
    assert_eq!(stage.repair(&manifest, Options::default(), Some("other")).await.lost.len(), 1);
    assert!(stage.is_clean() && !stage.path(&gone).exists());
    let repaired = stage.repair(&manifest, Options::default(), Some("f")).await;
    assert_eq!((repaired.restored, repaired.lost.len()), (1, 0));
    assert_eq!(stage.join(&manifest), stage.body);
    let known = Targets::new(&stage.home(), &[]).unwrap();
    fs::write(stage.path("other"), "").unwrap();
    let other = Content::new(manifest, known, Some(&stage.path("other"))).unwrap_err();
    assert!(other.to_string().contains("has not the length"), "{other}");
}

#[tokio::test]
async fn two_damaged_replicas_make_a_good_one() {
    let stage = Stage::new();
    let mut manifest = stage.split(&["a", "b"], 2).await.unwrap();
    // One part with all pieces, at two places.
    let places: Vec<Place> = ["a", "b"].iter().map(|t| stage.target(t).place(&manifest.part_name(0))).collect();
    manifest.parts = vec![Part { offset: 0, bytes: stage.body.len() as u64, places }];
    for (target, byte) in [("a", 3), ("b", 5 * PIECE as usize)] {
        let mut body = stage.body.clone();
        body[byte] ^= 1;
        fs::write(stage.path(target).join(manifest.part_name(0)), body).unwrap();
    }
    let repaired = stage.repair(&manifest, deep(), None).await;
    assert_eq!((states(&repaired), repaired.restored), ([0, 0, 2, 0], 2));
    assert_eq!(stage.join(&repaired.manifest), stage.body);
}

#[tokio::test]
async fn a_manifest_does_not_say_which_files_are_overwritten() {
    let stage = Stage::new();
    let mut manifest = stage.split(&["a", "b"], 2).await.unwrap();
    fs::write(stage.path("c/precious"), "mine").unwrap();
    manifest.parts[0].places[0] = Place::parse("c/precious").unwrap();
    let repaired = stage.repair(&manifest, Options::default(), None).await;
    assert_eq!(fs::read(stage.path("c/precious")).unwrap(), b"mine");
    assert_eq!(repaired.restored, 1);
    assert!(repaired.manifest.parts[0].places.contains(&stage.target("c").place(&manifest.part_name(0))));
}

#[tokio::test]
async fn a_file_that_changes_is_not_placed() {
    let stage = Stage::new();
    let manifest = stage.split(&["a"], 1).await.unwrap();
    let part = |place: &str| Placing {
        part: 1,
        place: Place::parse(place).unwrap(),
        from: vec![],
        anew: false,
        vouched: true,
    };
    let content = Content::new(manifest, Targets::new(&stage.home(), &[]).unwrap(), Some(&stage.path("f"))).unwrap();
    let content = Arc::new(content);
    let fails = async |to: &str, said: &str| {
        let error = place(&content, vec![part(to)], &Arc::default(), pending(), |p| p.result.is_ok())
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains(said) && error.contains("part 1"), "{to}: {error}");
    };
    fails("none/x", "there is no such folder").await;
    let mut body = stage.body.clone();
    body[20_000] ^= 1;
    fs::write(stage.path("f"), body).unwrap();
    let shelf = Shelf::open(Manners::default()).await;
    for to in ["b/x", &format!("{}x", shelf.url)] {
        fails(to, "f has changed since it was hashed: piece 1 differs").await;
    }
    assert!(stage.is_clean() && !stage.path("b/x").exists() && shelf.names().is_empty());
}

#[tokio::test]
async fn servers_take_parts_and_keep_them() {
    let stage = Stage::new();
    let busy = Shelf::open(Manners { refuses: (2, 503), ..Manners::default() }).await;
    let simple = Shelf::open(Manners { simple: true, ..Manners::default() }).await;
    let manifest = stage.split(&["a", &busy.url, &simple.url], 2).await.unwrap();
    assert!(busy.names().iter().chain(&simple.names()).all(|name| name.starts_with("/d/f.")));
    assert_eq!(states(&stage.repair(&manifest, deep(), None).await), [22, 0, 0, 0]);
    // The same once more finds everything where it is.
    let before = busy.state.lock().unwrap().puts;
    assert_eq!(stage.split(&["a", &busy.url, &simple.url], 2).await.unwrap(), manifest);
    assert_eq!(busy.state.lock().unwrap().puts, before);
    // One forgets all, the other spoils all: what the folder has, and what is in the manifest, is restored as far as it goes.
    let gone = busy.names().len();
    busy.state.lock().unwrap().kept.clear();
    let refused = stage.repair(&manifest, Options::default(), None).await;
    assert_eq!((refused.restored, refused.short), (0, gone), "nobody but the manifest says that parts belong there");
    let named = Options { across: stage.targets(&[&busy.url]), ..Options::default() };
    let repaired = stage.repair(&manifest, named, None).await;
    assert_eq!((states(&repaired), repaired.restored), ([22 - gone, gone, 0, 0], gone));
    simple.spoil();
    let named = Options { across: stage.targets(&[&simple.url]), ..deep() };
    let repaired = stage.repair(&manifest, named, None).await;
    assert_eq!(repaired.restored, simple.names().len());
    assert_eq!(states(&stage.repair(&manifest, deep(), None).await), [22, 0, 0, 0]);
    // A server dies, and a new one takes its place.
    drop(busy);
    let fresh = Shelf::open(Manners::default()).await;
    let options = Options { across: stage.targets(&[&fresh.url]), ..Options::default() };
    let repaired = stage.repair(&manifest, options, None).await;
    assert_eq!((states(&repaired)[3], repaired.restored, repaired.short), (gone, gone, 0));
    assert!((6..=9).contains(&fresh.names().len()), "evenly: {}", fresh.names().len());
    assert_eq!(repaired.manifest.by_folder().len(), 3);
}

#[tokio::test]
async fn what_servers_refuse_is_told_with_what_to_try() {
    let stage = Stage::new();
    let login = "Basic YWRhOmxvdmVsYWNl";
    for (status, said) in [
        (405, "405 Method Not Allowed: it takes no files there; start it so that it does"),
        (413, "413 Payload Too Large: the part is too large for it; raise its limit"),
        (409, "409 Conflict: the folder may not be there"),
        (507, "507 Insufficient Storage: there is no room for it"),
        (403, "403 Forbidden; name the target with a name and a password that may"),
        (302, "302 Found; it sends us to nowhere"),
        (503, "503 Service Unavailable"),
    ] {
        let shelf = Shelf::open(Manners { refuses: (100, status), ..Manners::default() }).await;
        let error = stage.split(&[&shelf.url], 1).await.unwrap_err().to_string();
        assert!(error.contains(said) && error.contains(&format!("can't place part 0 on {}: ", shelf.url)), "{error}");
        let tries = if status == 503 { TRIES } else { 1 };
        assert_eq!(shelf.state.lock().unwrap().puts, tries, "{status}");
    }
    let liar = Shelf::open(Manners { lies: true, ..Manners::default() }).await;
    let error = stage.split(&[&liar.url], 1).await.unwrap_err().to_string();
    assert!(error.contains("it took the part, but gives other bytes than it got"), "{error}");
    let closed = Shelf::open(Manners { login: Some(login), ..Manners::default() }).await;
    let known = Targets::new(&stage.home(), &[]).unwrap();
    let error = reach(&known, &stage.target(&closed.url), "x").await.unwrap_err().to_string();
    assert!(error.contains("401 Unauthorized; name the target with a name and a password"), "{error}");
    let with = closed.url.replace("http://", "http://ada:lovelace@");
    let manifest = stage.split(&[&with], 1).await.unwrap();
    assert!(!manifest.to_json().contains("lovelace") && manifest.to_json().contains(&closed.url));
    // Without the password nothing can be said, and nothing is thrown away; with it all is well.
    let repaired = stage.repair(&manifest, Options::default(), None).await;
    assert_eq!((states(&repaired), &repaired.manifest), ([0, 0, 0, 8], &manifest));
    let options = Options { across: stage.targets(&[&with]), ..Options::default() };
    assert_eq!(states(&stage.repair(&manifest, options, None).await), [8, 0, 0, 0]);
    let (dead, target) = (closed.url.clone(), stage.target(&closed.url));
    drop(closed);
    let error = reach(&known, &target, "x").await.unwrap_err().to_string();
    assert!(error.contains(&format!("can't place parts on {dead}: ")), "{error}");
}
