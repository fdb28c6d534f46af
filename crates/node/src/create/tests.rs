use super::*;
use std::os::unix::fs::symlink;
use std::sync::atomic::Ordering;

#[test]
fn a_tree_with_oddities() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("tree");
    std::fs::create_dir_all(top.join("sub")).unwrap();
    std::fs::write(top.join("b"), vec![1; 100_000]).unwrap();
    std::fs::write(top.join("sub/empty"), "").unwrap();
    std::fs::write(top.join("sub/\u{e9} \"x\""), "y").unwrap();
    symlink("../b", top.join("sub/link")).unwrap();
    symlink("/etc/passwd", top.join("out")).unwrap();
    symlink("..", top.join("sub/up")).unwrap();
    symlink("nowhere", top.join("broken")).unwrap();
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let mut told = 0;
        let options = CreateOptions { format, threads: 2, ..Default::default() };
        let meter = Meter::default();
        let created = create(&top, &options, &meter, |n| told = n).unwrap();
        let info = &created.metainfo.info;
        assert_eq!(meter.bytes.load(Ordering::Relaxed), told);
        let mut paths: Vec<_> = info.layout.content().map(|(_, f)| (f.path.as_str(), f.len)).collect();
        paths.sort();
        assert_eq!(
            paths,
            [("tree/b", 100_000), ("tree/sub/empty", 0), ("tree/sub/link", 100_000), ("tree/sub/\u{e9} \"x\"", 1)]
        );
        let mut skipped: Vec<_> =
            created.skipped.iter().map(|(p, _)| p.strip_prefix(&top).unwrap().to_str().unwrap()).collect();
        skipped.sort();
        assert_eq!(skipped, ["broken", "out", "sub/up"]);
        let back = Metainfo::parse(&created.metainfo.encode()).unwrap();
        assert_eq!(back.info.hashes, info.hashes);
        assert!(back.plan().is_some());
    }
}

#[test]
fn errors_name_the_path() {
    let dir = tempfile::tempdir().unwrap();
    let run = |path: &Path| create(path, &CreateOptions::default(), &Meter::default(), |_| {}).unwrap_err();
    assert!(run(&dir.path().join("none")).to_string().contains("none"));
    assert!(matches!(run(dir.path()), CreateError::Empty(_)));
    let file = dir.path().join("f");
    std::fs::write(&file, "x").unwrap();
    let meter = Meter::default();
    meter.stop.store(true, Ordering::Relaxed);
    assert!(matches!(create(&file, &CreateOptions::default(), &meter, |_| {}), Err(CreateError::Stopped)));
    // It shrinks between the walk and the reading.
    let grow = || std::fs::write(&file, "").unwrap();
    let result = create(&file, &CreateOptions::default(), &Meter::default(), |_| grow());
    assert!(matches!(result, Err(CreateError::Changed(path)) if path.ends_with("f")));
}

/// SHA-256 of what is in a file, by another hand.
fn digest(path: &Path) -> [u8; 32] {
    hash::Sha256::digest(&std::fs::read(path).unwrap())
}

#[test]
fn each_file_is_hashed_whole_beside_its_pieces() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("tree");
    std::fs::create_dir_all(top.join("sub")).unwrap();
    let body = |n: usize| (0..n).map(|i| (i * i % 253) as u8).collect::<Vec<_>>();
    let files = [("a", 0), ("b", 1), ("c", 16_384), ("d", 400_001), ("sub/e", 65_536), ("sub/f", 7), ("z", 0)];
    for (name, len) in files {
        std::fs::write(top.join(name), body(len)).unwrap();
    }
    for (format, threads) in [(Format::V1, 1), (Format::V1, 3), (Format::V2, 2), (Format::Hybrid, 4)] {
        let options =
            CreateOptions { format, threads, piece_length: Some(32_768), digests: true, ..Default::default() };
        let created = create(&top, &options, &Meter::default(), |_| {}).unwrap();
        let paths = created.metainfo.info.layout.content().map(|(_, f)| f.path.clone());
        let right: Vec<_> = paths.map(|path| digest(&dir.path().join(path))).collect();
        assert_eq!(created.digests, right, "{format:?} by {threads}");
        assert_eq!(created.look.files.len(), files.len());
        // The torrent is the same with and without.
        let without = create(&top, &CreateOptions { digests: false, ..options }, &Meter::default(), |_| {}).unwrap();
        assert_eq!(without.metainfo.info.hashes, created.metainfo.info.hashes);
        assert!(without.digests.is_empty());
    }
    // A piece that is longer than what a thread holds.
    std::fs::write(top.join("d"), body(40 << 20)).unwrap();
    let options = CreateOptions { piece_length: Some(32 << 20), digests: true, threads: 2, ..Default::default() };
    let created = create(&top.join("d"), &options, &Meter::default(), |_| {}).unwrap();
    assert_eq!(created.digests, [digest(&top.join("d"))]);
    let plain = create(&top.join("d"), &CreateOptions { digests: false, ..options }, &Meter::default(), |_| {});
    assert_eq!(plain.unwrap().metainfo.info.hashes, created.metainfo.info.hashes);
}

#[test]
fn whoever_fails_lets_nobody_wait() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("f");
    std::fs::write(&file, vec![1; 1 << 20]).unwrap();
    let options = CreateOptions { piece_length: Some(16_384), digests: true, threads: 4, ..Default::default() };
    let shrink = || std::fs::write(&file, vec![1; 600_000]).unwrap();
    let result = create(&file, &options, &Meter::default(), |_| shrink());
    assert!(matches!(result, Err(CreateError::Changed(path)) if path.ends_with("f")));
}

/// Goes on until the clock that times of change are taken from does.
fn next_step(dir: &Path) {
    let probe = dir.join("probe");
    let now = || {
        std::fs::write(&probe, "x").unwrap();
        changed(&probe.metadata().unwrap())
    };
    let first = now();
    while now() == first {}
}

#[test]
fn a_look_tells_what_changed() {
    let dir = tempfile::tempdir().unwrap();
    let top = dir.path().join("tree");
    std::fs::create_dir_all(top.join("sub")).unwrap();
    std::fs::write(top.join("a"), "a").unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    let print = || look(&top, false, &stop).unwrap().fingerprint;
    let first = print();
    assert_eq!(print(), first);
    let change = |what: &dyn Fn()| {
        let before = print();
        next_step(dir.path());
        what();
        assert_ne!(print(), before);
    };
    change(&|| std::fs::write(top.join("a"), "b").unwrap());
    change(&|| std::fs::write(top.join("sub/new"), "").unwrap());
    change(&|| std::fs::rename(top.join("sub/new"), top.join("sub/newer")).unwrap());
    change(&|| std::fs::remove_file(top.join("sub/newer")).unwrap());
    let (shown, hidden) = (look(&top, true, &stop).unwrap(), look(&top, false, &stop).unwrap());
    assert_eq!(shown.fingerprint, hidden.fingerprint);
    change(&|| std::fs::write(top.join("sub/.hidden"), "").unwrap());
    assert_eq!(look(&top, true, &stop).unwrap().fingerprint, shown.fingerprint);
    let options = CreateOptions { leave_hidden: true, ..CreateOptions::default() };
    let created = create(&top, &options, &Meter::default(), |_| {}).unwrap();
    assert_eq!(created.metainfo.info.layout.content().count(), 1);
    // The same length, and the time of writing put back.
    let written = std::fs::metadata(top.join("a")).unwrap().modified().unwrap();
    change(&|| {
        std::fs::write(top.join("a"), "c").unwrap();
        std::fs::File::options().write(true).open(top.join("a")).unwrap().set_modified(written).unwrap();
    });
}
