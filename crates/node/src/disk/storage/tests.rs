use super::*;
use base::{Checks, Geometry, Layout};
use proptest::prelude::*;

pub(crate) fn plan(files: &[(&str, u64, FileKind)], piece_length: u64) -> Arc<Plan> {
    let entry = |(path, len, kind): &(&str, u64, FileKind)| FileEntry {
        path: format!("t/{path}"),
        offset: 0,
        len: *len,
        kind: kind.clone(),
        executable: path.ends_with(".sh"),
    };
    let layout = Layout::folder("t".into(), files.iter().map(entry).collect()).unwrap();
    let geometry = Geometry::new(layout.total(), piece_length, 16).unwrap();
    Arc::new(Plan::new(geometry, layout, Checks::default()))
}

fn storage(plan: Arc<Plan>, dir: &Path) -> Storage {
    Storage::new(plan, Place::new(dir, "top"), Arc::new(FileCache::new(2)))
}

#[test]
fn writes_lie_over_files_and_padding_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        ("a", 10, FileKind::Content),
        (".pad/6", 6, FileKind::Pad),
        ("sub/run.sh", 5, FileKind::Content),
        ("sub/empty", 0, FileKind::Content),
        ("sub/deep/link", 0, FileKind::Symlink("t/a".into())),
        ("b", 20, FileKind::Content),
    ];
    let s = storage(plan(&files, 64), dir.path());
    s.prepare(|_| true).unwrap();
    let top = dir.path().join("top");
    assert_eq!(std::fs::metadata(top.join("sub/empty")).unwrap().len(), 0);
    assert_eq!(std::fs::read_link(top.join("sub/deep/link")).unwrap(), Path::new("../../a"));
    assert!(!top.join("a").exists(), "made when its first byte comes");
    let body: Vec<u8> = (1..=41).collect();
    s.write(8, &[&body[8..11], &body[11..20], &body[20..41]]).unwrap();
    s.write(0, &[&body[..8]]).unwrap();
    assert_eq!(std::fs::read(top.join("a")).unwrap(), body[..10]);
    assert_eq!(std::fs::read(top.join("sub/run.sh")).unwrap(), body[16..21]);
    assert_eq!(std::fs::read(top.join("b")).unwrap(), body[21..41]);
    assert!(!top.join(".pad").exists());
    use std::os::unix::fs::PermissionsExt as _;
    assert_ne!(std::fs::metadata(top.join("sub/run.sh")).unwrap().permissions().mode() & 0o100, 0);
    let mut back = vec![9; 41];
    s.read(0, &mut back).unwrap();
    let mut expect = body.clone();
    expect[10..16].fill(0);
    assert_eq!(back, expect);
    s.sync().unwrap();
}

#[test]
fn missing_and_short_files_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let s = storage(plan(&[("a", 10, FileKind::Content), ("b", 10, FileKind::Content)], 16), dir.path());
    s.prepare(|_| true).unwrap();
    let mut buf = [0; 20];
    let err = s.read(0, &mut buf).unwrap_err();
    assert!(err.is_missing() && err.to_string().contains("top/a"), "{err}");
    std::fs::write(dir.path().join("top/a"), "0123456789").unwrap();
    std::fs::write(dir.path().join("top/b"), "01234").unwrap();
    let err = s.read(0, &mut buf).unwrap_err();
    assert!(err.is_missing() && err.to_string().contains("shorter"), "{err}");
    s.read(0, &mut buf[..15]).unwrap();
    assert_eq!(s.stamp(FileIndex(1)).unwrap().size, 5);
}

#[test]
fn a_longer_file_is_not_cut_and_a_removed_one_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let s = storage(plan(&[("a", 10, FileKind::Content)], 16), dir.path());
    s.prepare(|_| true).unwrap();
    let path = dir.path().join("top/a");
    std::fs::write(&path, "0123456789ABC").unwrap();
    s.write(0, &[b"x"]).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), b"x123456789ABC");
    s.still_there(PieceIndex(0)).unwrap();
    std::fs::remove_file(&path).unwrap();
    assert!(s.still_there(PieceIndex(0)).unwrap_err().to_string().contains("removed"));
}

#[test]
fn never_renames_over_something() {
    let dir = tempfile::tempdir().unwrap();
    let s = storage(plan(&[("a", 10, FileKind::Content)], 16), dir.path());
    s.prepare(|_| true).unwrap();
    s.write(0, &[b"0123456789"]).unwrap();
    std::fs::create_dir(dir.path().join("final")).unwrap();
    assert!(s.rename(&Place::new(dir.path(), "final")).is_err());
    s.rename(&Place::new(dir.path(), "other")).unwrap();
    assert_eq!(std::fs::read(dir.path().join("other/a")).unwrap(), b"0123456789");
    s.close();
    s.write(3, &[b"x"]).unwrap();
    assert_eq!(std::fs::read(dir.path().join("other/a")).unwrap(), b"012x456789");
}

#[test]
fn holes_have_no_data() {
    let dir = tempfile::tempdir().unwrap();
    let s = storage(plan(&[("a", 1 << 20, FileKind::Content)], 1 << 19), dir.path());
    s.prepare(|_| true).unwrap();
    assert!(!s.has_data(0, 1 << 20));
    s.write(1 << 19, &[b"x"]).unwrap();
    assert!(s.has_data(0, 1 << 20) && s.has_data(1 << 19, 1 << 19));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn what_was_written_is_read(lens in proptest::collection::vec(0u64..40, 1..6), cuts in proptest::collection::vec(1usize..30, 0..10)) {
        let dir = tempfile::tempdir().unwrap();
        let names: Vec<String> = (0..lens.len()).map(|i| format!("f{i}")).collect();
        let files: Vec<_> = names.iter().zip(&lens).map(|(n, l)| (n.as_str(), *l, FileKind::Content)).collect();
        let s = storage(plan(&files, 32), dir.path());
        s.prepare(|_| true).unwrap();
        let total: u64 = lens.iter().sum();
        let body: Vec<u8> = (0..total).map(|i| i as u8 ^ 0x5a).collect();
        let (mut slices, mut rest) = (Vec::new(), &body[..]);
        for cut in cuts {
            let (now, later) = rest.split_at(cut.min(rest.len()));
            slices.push(now);
            rest = later;
        }
        slices.push(rest);
        s.write(0, &slices).unwrap();
        let mut back = vec![0; body.len()];
        s.read(0, &mut back).unwrap();
        prop_assert_eq!(back, body);
    }
}
