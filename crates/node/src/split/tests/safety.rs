//! What a manifest alone can't make us do, and what is left when something goes wrong half way.

use super::*;
use crate::http::netrc::Netrc;
use base::Scope;

/// One part with all pieces at these places.
async fn one_part(stage: &Stage, places: &[&str]) -> Manifest {
    let mut manifest = stage.split(&["a"], 1).await.unwrap();
    let places = places.iter().map(|place| Place::parse(place).unwrap()).collect();
    manifest.parts = vec![Part { offset: 0, bytes: stage.body.len() as u64, places }];
    manifest
}

fn content(stage: &Stage, manifest: &Manifest, from: Option<&str>) -> Arc<Content> {
    let known = Targets::new(&stage.home(), &[]).unwrap();
    Arc::new(Content::new(manifest.clone(), known, from.map(|name| stage.path(name)).as_deref()).unwrap())
}

fn job(place: Place, from: Vec<Place>) -> Placing {
    Placing { part: 0, place, from, anew: false, vouched: true }
}

/// Why one part could not be placed.
async fn refused(content: &Arc<Content>, job: Placing) -> String {
    place(content, vec![job], &Arc::default(), pending(), |p| p.result.is_ok()).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_manifest_names_no_folder_of_which_the_user_knows_nothing() {
    let (stage, other) = (Stage::new(), tempfile::tempdir().unwrap());
    let folder = other.path().canonicalize().unwrap();
    let named = folder.join("x");
    let manifest = one_part(&stage, &[named.to_str().unwrap(), "b/y"]).await;
    let options = || Options { replicas: Some(2), ..Options::default() };
    let repaired = stage.repair(&manifest, options(), Some("f")).await;
    assert_eq!((repaired.restored, repaired.short), (1, 1), "what lies below the manifest is the user's");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0, "nothing is made where only the manifest says so");
    // With a part of this very file there, or named, it is another matter.
    let mut two = stage.split(&["a"], 1).await.unwrap();
    let place = |part: usize| Place::Path(folder.join(two.part_name(part)).display().to_string());
    let places: Vec<Place> = (0..two.parts.len()).map(place).collect();
    two.parts.iter_mut().zip(places).for_each(|(part, place)| part.places = vec![place]);
    let first = &stage.body[..two.parts[0].bytes as usize];
    fs::write(two.parts[0].places[0].to_string(), first).unwrap();
    let repaired = stage.repair(&two, Options::default(), Some("f")).await;
    assert_eq!((states(&repaired)[0], repaired.restored), (1, two.parts.len() - 1));
    let across = vec![Target::parse(folder.to_str().unwrap(), &stage.home()).unwrap()];
    let repaired = stage.repair(&manifest, Options { across, ..options() }, Some("f")).await;
    assert_eq!((repaired.restored, repaired.short), (2, 0));
    assert_eq!(fs::read(folder.join(manifest.part_name(0))).unwrap(), stage.body);
    // And it says what to do.
    let place = Place::Path("/nowhere/x".into());
    let error = refused(&content(&stage, &manifest, Some("f")), Placing { vouched: false, ..job(place, vec![]) }).await;
    assert!(error.contains("no part of this file is there") && error.contains("name it with --across"), "{error}");
}

#[tokio::test]
async fn a_manifest_aims_us_at_nothing_inside() {
    let stage = Stage::new();
    let shelf = Shelf::open(Manners::default()).await;
    // A query is for nobody on a local network, and a server that holds no part of the file gets none.
    let query = format!("{}inside/reboot?now", shelf.url);
    let manifest = one_part(&stage, &[&query, &format!("{}f", shelf.url)]).await;
    let repaired = stage.repair(&manifest, Options::default(), Some("f")).await;
    assert_eq!((states(&repaired), repaired.restored, repaired.lost.len()), ([0, 1, 0, 1], 0, 1));
    let asked = shelf.state.lock().unwrap().asked.clone();
    assert!(!asked.is_empty() && asked.iter().all(|a| !a.contains('?') && !a.contains("PUT")), "{asked:?}");
    let (_, state) = repaired.found[0].iter().find(|(place, _)| place.to_string() == query).unwrap();
    assert!(matches!(state, State::Unreachable(why) if why.contains("not for strangers to name")), "{state:?}");
    // What a server far away names is not looked at here at all.
    let known = Targets::new(&stage.home(), &[]).unwrap().told_by(Scope::Global);
    let far = Arc::new(Content::new(manifest.clone(), known, Some(&stage.path("f"))).unwrap());
    let repaired = repair(&far, &Options::default(), &Arc::default(), pending(), |_| {}).await.unwrap();
    assert_eq!(states(&repaired), [0, 0, 0, 2]);
    assert_eq!(shelf.state.lock().unwrap().asked, asked);
}

#[tokio::test]
async fn what_an_earlier_run_left_is_looked_at_byte_by_byte() {
    let stage = Stage::new();
    let manifest = one_part(&stage, &["a/x"]).await;
    let mut body = stage.body.clone();
    body[7 * PIECE as usize + 9] ^= 1;
    fs::write(stage.path("b/x"), &body).unwrap();
    fs::write(stage.path("c/x"), &stage.body).unwrap();
    let content = content(&stage, &manifest, Some("f"));
    let mut found = Vec::new();
    let jobs = ["b/x", "c/x"].map(|p| job(Place::Path(p.into()), vec![])).to_vec();
    let told = |placed: &Placed| {
        found.push((placed.placing.place.to_string(), placed.result.clone()));
        true
    };
    place(&content, jobs, &Arc::default(), pending(), told).await.unwrap();
    found.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(found, [("b/x".to_owned(), Ok(false)), ("c/x".to_owned(), Ok(true))]);
    assert!(fs::read(stage.path("b/x")).unwrap() == stage.body);
}

#[tokio::test]
async fn work_that_dies_is_no_success() {
    let stage = Stage::new();
    let mut manifest = one_part(&stage, &["a/x"]).await;
    // No manifest that was read is like this: it makes a task panic.
    manifest.parts[0].offset = u64::MAX;
    let content = content(&stage, &manifest, Some("f"));
    let jobs = vec![job(Place::Path("b/x".into()), vec![])];
    let result = place(&content, jobs, &Arc::default(), pending(), |_| true).await;
    assert!(matches!(result, Err(SplitError::Died(_))), "{result:?}");
}

#[tokio::test]
async fn folders_are_made_if_there_is_one_to_make_them_in() {
    let stage = Stage::new();
    let target = stage.target("new");
    assert_eq!(
        (&*target.folder, stage.path("new").exists()),
        ("new/", false),
        "reading the command line makes nothing"
    );
    let known = Targets::new(&stage.home(), &[]).unwrap();
    reach(&known, &target, "x").await.unwrap();
    reach(&known, &target, "x").await.unwrap();
    assert_eq!(fs::read_dir(stage.path("new")).unwrap().count(), 0);
    fs::write(stage.path("taken"), "").unwrap();
    let inner = Target::parse(stage.path("later").to_str().unwrap(), &stage.home()).unwrap();
    fs::write(stage.path("later"), "").unwrap();
    let error = reach(&known, &inner, "x").await.unwrap_err().to_string();
    assert!(error.contains("can't place parts on later/"), "{error}");
    for name in ["taken/x", "none/x", "none/.."] {
        let error = Target::parse(stage.path(name).to_str().unwrap(), &stage.home()).unwrap_err().to_string();
        assert!(error.contains("a target is a folder: make ") || error.contains("Not a directory"), "{error}");
    }
}

#[tokio::test]
async fn passwords_come_from_the_file_that_holds_them() {
    let stage = Stage::new();
    let closed = Shelf::open(Manners { login: Some("Basic YWRhOmxvdmVsYWNl"), ..Manners::default() }).await;
    let manifest = stage.split(&[&closed.url.replace("http://", "http://ada:lovelace@")], 1).await.unwrap();
    for (netrc, seen) in [
        ("machine 127.0.0.1 login ada password lovelace", [8, 0, 0, 0]),
        ("machine 127.0.0.2 login ada password lovelace default login ada password lovelace", [0, 0, 0, 8]),
    ] {
        let known = Targets::new(&stage.home(), &[]).unwrap().with_logins(Netrc::parse(netrc).unwrap());
        let content = Arc::new(Content::new(manifest.clone(), known, None).unwrap());
        let repaired = repair(&content, &Options::default(), &Arc::default(), pending(), |_| {}).await.unwrap();
        assert_eq!(states(&repaired), seen, "{netrc}");
    }
}

#[tokio::test]
async fn what_is_stopped_leaves_nothing_half_written() {
    let stage = Stage::new();
    let shelf = Shelf::open(Manners { falls_silent_after: Some(4), ..Manners::default() }).await;
    let url = format!("{}x", shelf.url);
    shelf.state.lock().unwrap().kept.insert("/d/x".into(), stage.body.clone());
    let manifest = one_part(&stage, &[&url]).await;
    let content = content(&stage, &manifest, None);
    let jobs = vec![job(Place::Path("b/x".into()), manifest.parts[0].places.clone())];
    // Some pieces have come, the next one never does.
    let moved = Arc::default();
    let result = place(&content, jobs, &moved, shelf.silent.notified(), |_| true).await;
    assert!(matches!(result, Err(SplitError::Stopped)), "{result:?}");
    assert_eq!(moved.load(Ordering::Relaxed), 4 * PIECE);
    assert!(stage.is_clean() && !stage.path("b/x").exists());
    let stopped = repair(&content, &Options::default(), &Arc::default(), std::future::ready(()), |_| {}).await;
    assert!(matches!(stopped, Err(SplitError::Stopped)));
}
