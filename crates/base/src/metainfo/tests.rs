//! Torrents that nobody should have made, and what becomes of them.

use super::names::Rules;
use super::*;
use crate::bencode::{Dict, Item, Quirk};
use crate::merkle::{Hash, layer_root};
use crate::{FileIndex, FileKind};
use proptest::prelude::*;

fn list(items: &[&str]) -> Item<'static> {
    Item::List(items.iter().map(|s| Item::from((*s).to_owned())).collect())
}

/// A v1 info dictionary of `total` bytes in pieces of 16 KiB.
fn v1(total: u64) -> Dict<'static> {
    let pieces = total.div_ceil(16_384) as usize;
    Dict::new().with(b"name", "n").with(b"piece length", 16_384u32).with(b"pieces", vec![7; 20 * pieces])
}

fn v1_folder(paths: &[&[&str]]) -> Dict<'static> {
    let files = paths.iter().map(|path| Dict::new().with(b"length", 1u8).with(b"path", list(path)).into());
    v1(paths.len() as u64).with(b"files", Item::List(files.collect()))
}

/// A v2 info dictionary with these entries at the top of its tree.
fn v2(files: &[(&'static str, Dict<'static>)]) -> Dict<'static> {
    let tree = files.iter().cloned().fold(Dict::new(), |tree, (name, file)| tree.with(name.as_bytes(), leaf(file)));
    Dict::new().with(b"name", "n").with(b"piece length", 16_384u32).with(b"meta version", 2u8).with(b"file tree", tree)
}

fn leaf(file: Dict<'static>) -> Dict<'static> {
    Dict::new().with(b"", file)
}

fn file(len: u64, root: Hash) -> Dict<'static> {
    Dict::new().with(b"length", len).with(b"pieces root", root.to_vec())
}

fn torrent(info: &Dict<'_>) -> Result<Metainfo, MetainfoError> {
    Metainfo::parse(&Dict::new().with(b"info", Item::Raw(info.encode().into())).encode())
}

fn with_layers(info: &Dict<'_>, layers: &[(Vec<u8>, Vec<u8>)]) -> Result<Metainfo, MetainfoError> {
    let layers = layers.iter().cloned().fold(Dict::new(), |d, (root, layer)| d.with(root, layer));
    Metainfo::parse(&Dict::new().with(b"info", Item::Raw(info.encode().into())).with(b"piece layers", layers).encode())
}

fn paths(info: &Dict<'_>, rules: Rules) -> Vec<String> {
    let info = Info::parse_with(&info.encode(), rules).unwrap();
    info.layout.files().iter().map(|f| f.path.clone()).collect()
}

#[test]
fn the_info_hash_is_over_the_bytes_as_received() {
    // Unsorted keys and a leading zero: no encoder writes them so.
    let info = b"d6:lengthi05e4:name1:n6:pieces20:aaaaaaaaaaaaaaaaaaaa12:piece lengthi16384e3:zzzi1ee";
    let m = Metainfo::parse(&[b"d4:info", &info[..], b"e"].concat()).unwrap();
    assert_eq!(*m.info.raw, info[..]);
    assert_eq!(m.info.hashes.v1.map(|h| h.to_string()).as_deref(), Some("00d9fcab67f285ea84e5f40079a33d1181fc3f35"));
    assert!(m.info.hashes.match_info(info));
    assert_eq!(m.info.warnings, [Warning::Bencode(Quirk::LeadingZero, 9), Warning::Bencode(Quirk::UnsortedKeys, 56)]);
    assert_eq!(m.info.layout.total(), 5);
}

#[test]
fn names_are_sanitised_never_refused() {
    let deep: Vec<&str> = vec!["d"; 3000];
    let long = "x".repeat(300);
    let evil = v1_folder(&[
        &["..", "..", "etc", "passwd"],
        &["/etc/passwd"],
        &["a\\..\\b"],
        &["", "."],
        &[&long],
        &deep,
        &["\u{202e}gpj"],
        &["\0\u{1b}[2J"],
    ])
    .with(b"name", "../up");
    let paths = paths(&evil, Rules::Posix);
    assert_eq!(paths[..4], [".._up/_/_/etc/passwd", ".._up/_etc_passwd", ".._up/a_.._b", ".._up/_/_.1"]);
    assert_eq!(paths[4].len(), ".._up/".len() + names::NAME_MAX);
    assert_eq!(paths[5..], [".._up/_long/5-d", ".._up/_gpj", ".._up/__[2J"]);
    let info = Info::parse(&evil.encode()).unwrap();
    assert_eq!(info.warnings.len(), 8);
    assert_eq!(info.raw_path(FileIndex(1)), [b"../up".to_vec(), b"/etc/passwd".to_vec()]);
}

#[test]
fn names_without_a_name_are_the_hash() {
    for name in ["", ".", ".."] {
        let info = v1(5).with(b"length", 5u8).with(b"name", name);
        let m = torrent(&info).unwrap();
        assert_eq!(m.info.layout.name(), m.info.hashes.v1.unwrap().to_string());
    }
    let utf8 = v1(5).with(b"length", 5u8).with(b"name", b"\xe9\xff").with(b"name.utf-8", "\u{e9}");
    assert_eq!(torrent(&utf8).unwrap().info.layout.name(), "\u{e9}");
}

#[test]
fn names_that_collide_get_numbers() {
    let info = v1_folder(&[&["a"], &["a"], &["A"], &["a", "b"], &["x/y"], &["x_y"]]);
    assert_eq!(paths(&info, Rules::Posix), ["n/a.1", "n/a.2", "n/A", "n/a/b", "n/x_y", "n/x_y.1"]);
    assert_eq!(paths(&info, Rules::Windows), ["n/a.1", "n/a.2", "n/A.3", "n/a/b", "n/x_y", "n/x_y.1"]);
}

#[test]
fn reserved_names_where_they_are_reserved() {
    let info = v1_folder(&[&["con"], &["aux.txt", "b"], &["c."]]);
    assert_eq!(paths(&info, Rules::Posix), ["n/con", "n/aux.txt/b", "n/c."]);
    assert_eq!(paths(&info, Rules::Windows), ["n/_con", "n/_aux.txt/b", "n/c"]);
}

#[test]
fn links_never_leave_the_torrent() {
    let link = |path: &[&str], target: &[&str]| {
        let dict = Dict::new().with(b"attr", "l").with(b"path", list(path)).with(b"symlink path", list(target));
        Item::Dict(dict.with(b"length", 0u8))
    };
    let file = Item::Dict(Dict::new().with(b"length", 5u8).with(b"path", list(&["d", "f"])));
    let files = vec![
        file,
        link(&["ok"], &["d", "f"]),
        link(&["folder"], &["d"]),
        link(&["through"], &["folder", "f"]),
        link(&["up"], &["..", "..", "etc", "passwd"]),
        link(&["absolute"], &["/etc/passwd"]),
        link(&["self"], &["self"]),
        link(&["ping"], &["pong"]),
        link(&["pong"], &["ping"]),
        link(&["root"], &[]),
        // A file below a link: the link makes way for a folder.
        link(&["trap"], &["d"]),
        Item::Dict(Dict::new().with(b"length", 0u8).with(b"path", list(&["trap", "f"]))),
    ];
    let info = torrent(&v1(5).with(b"files", files)).unwrap().info;
    let kinds: Vec<_> = info.layout.files().iter().map(|f| (&f.path[2..], f.kind.clone())).collect();
    let to = |target: &str| FileKind::Symlink(target.to_owned());
    assert_eq!(kinds[1..4], [("ok", to("n/d/f")), ("folder", to("n/d")), ("through", to("n/folder/f"))]);
    assert!(kinds[4..10].iter().all(|(_, kind)| *kind == FileKind::Content), "{kinds:?}");
    assert_eq!(kinds[10..], [("trap.1", to("n/d")), ("trap/f", FileKind::Content)]);
    let outside = |w: &&Warning| matches!(w, Warning::LinkOutside(_));
    assert_eq!(info.warnings.iter().filter(outside).count(), 6);
}

#[test]
fn v1_faults() {
    let err = |info: Dict<'_>| torrent(&info).map(|m| m.info.layout).unwrap_err();
    let single = || v1(5).with(b"length", 5u8);
    assert!(torrent(&single()).is_ok());
    assert_eq!(err(single().with(b"piece length", 0u8)), MetainfoError::Geometry(crate::GeometryError::PieceLength(0)));
    assert_eq!(err(single().with(b"piece length", -1i64)), MetainfoError::Key("piece length"));
    assert!(matches!(err(single().with(b"piece length", (512u64 << 20) + 1)), MetainfoError::Geometry(_)));
    assert_eq!(err(v1(5)), MetainfoError::Key("length"));
    assert_eq!(err(v1(5).with(b"length", -5i64)), MetainfoError::Key("length"));
    assert_eq!(err(single().with(b"pieces", vec![0; 19])), MetainfoError::Pieces { have: 19, pieces: 1 });
    assert_eq!(err(single().with(b"pieces", vec![0; 40])), MetainfoError::Pieces { have: 40, pieces: 1 });
    assert_eq!(err(single().with(b"pieces", 5u8)), MetainfoError::Key("pieces"));
    assert_eq!(err(single().with(b"name", 5u8)), MetainfoError::Key("name"));
    assert_eq!(err(single().with(b"meta version", 3u8)), MetainfoError::Version(3));
    assert!(matches!(err(v1(0).with(b"length", i64::MAX)), MetainfoError::Geometry(_)));
    assert_eq!(err(v1(0).with(b"files", list(&[]))), MetainfoError::NoFiles);
    assert_eq!(err(v1_folder(&[&[]])), MetainfoError::Key("path"));
    let huge = || Item::Dict(Dict::new().with(b"length", i64::MAX).with(b"path", list(&["a"])));
    assert_eq!(err(v1(0).with(b"files", vec![huge(), huge(), huge()])), MetainfoError::TooLong);
    assert_eq!(Metainfo::parse(b"le").unwrap_err(), MetainfoError::NotATorrent);
    assert_eq!(Metainfo::parse(b"de").unwrap_err(), MetainfoError::NotATorrent);
    assert!(matches!(Metainfo::parse(b"<html>"), Err(MetainfoError::Bencode(_))));
}

#[test]
fn v1_padding_is_known_by_attribute_and_by_name() {
    let entry = |len: u64, path: &[&str], attr: &'static str| {
        Item::Dict(Dict::new().with(b"length", len).with(b"path", list(path)).with(b"attr", attr))
    };
    let bare = Item::Dict(Dict::new().with(b"length", 4u8).with(b"attr", "p"));
    let files = vec![
        entry(1, &["a"], "x"),
        entry(3, &[".pad", "3"], "p"),
        entry(4, &["_____padding_file_0_if you see this"], ""),
        bare,
        entry(1, &["a"], "hp"),
    ];
    let info = torrent(&v1(13).with(b"files", files)).unwrap().info;
    let pads: Vec<_> = info.layout.files().iter().map(|f| f.is_pad()).collect();
    assert_eq!(pads, [false, true, true, true, true]);
    assert!(info.layout.files()[0].executable);
    assert_eq!((info.layout.content_len(), info.layout.total()), (1, 13));
}

/// A root over a layer of two pieces of 16 KiB.
fn two_pieces() -> (Hash, Vec<u8>) {
    let layer = [[1; 32], [2; 32]];
    (layer_root(&layer, 16_384), layer.concat())
}

#[test]
fn v2_faults() {
    let err = |info: Dict<'_>| torrent(&info).map(|m| m.info.layout).unwrap_err();
    let tree = |fault| MetainfoError::FileTree(fault);
    let good = || v2(&[("f", file(5, [1; 32]))]);
    assert!(torrent(&good()).is_ok());
    assert_eq!(err(good().with(b"piece length", 20_000u32)), MetainfoError::PieceLengthV2(20_000));
    assert_eq!(err(good().with(b"piece length", 8192u32)), MetainfoError::PieceLengthV2(8192));
    assert!(matches!(err(good().with(b"piece length", 1u64 << 62)), MetainfoError::Geometry(_)));
    assert_eq!(err(v2(&[("f", file(5, [0; 32]))])), tree("a file without a root"));
    assert_eq!(err(v2(&[("f", Dict::new().with(b"length", 5u8))])), tree("a file without a root"));
    assert_eq!(err(v2(&[("f", file(5, [1; 32]).with(b"pieces root", vec![1; 31]))])), tree("a file without a root"));
    assert_eq!(err(v2(&[("f", Dict::new())])), tree("a file without a length"));
    assert_eq!(err(v2(&[("f", file(5, [1; 32]).with(b"attr", "p"))])), tree("a pad file"));
    assert_eq!(err(v2(&[("", file(5, [1; 32]))])), tree("an empty name"));
    let lengths = v2(&[("a", file(5, [1; 32])), ("b", file(6, [1; 32]))]);
    assert_eq!(err(lengths), tree("one root for files of different lengths"));
    assert!(torrent(&v2(&[("a", file(5, [1; 32])), ("b", file(5, [1; 32]))])).is_ok(), "identical files");
    assert_eq!(err(good().with(b"file tree", 1u8)), MetainfoError::Key("file tree"));
    assert_eq!(err(good().with(b"file tree", Dict::new())), MetainfoError::NoFiles);
    assert_eq!(err(good().with(b"file tree", Dict::new().with(b"a", 1u8))), tree("something that is no folder"));
    let unsorted = Item::Raw(b"d1:bd0:d6:lengthi0eee1:ad0:d6:lengthi0eeee".into());
    assert!(matches!(err(good().with(b"file tree", unsorted)), MetainfoError::NotCanonical(Quirk::UnsortedKeys, _)));
    let nested = (0..200).fold(leaf(file(5, [1; 32])), |inner, _| Dict::new().with(b"d", inner));
    assert!(matches!(err(good().with(b"file tree", nested)), MetainfoError::Bencode(_)));
    let many = v2(&[("f", file(40_000_000_000_000, [1; 32]))]);
    assert!(matches!(err(many), MetainfoError::Geometry(_)));
}

#[test]
fn piece_layers_must_match() {
    let (root, layer) = two_pieces();
    let info = v2(&[("f", file(20_000, root))]);
    let err = |key: Vec<u8>, value: Vec<u8>| with_layers(&info, &[(key, value)]).map(|_| ()).unwrap_err();
    let m = with_layers(&info, &[(root.to_vec(), layer.clone())]).unwrap();
    assert_eq!(m.plan().unwrap().checks.merkle.as_deref(), Some([[1; 32], [2; 32]].as_slice()));
    let bare = torrent(&info).unwrap();
    assert_eq!((bare.plan(), &*bare.warnings), (None, [Warning::NoLayers].as_slice()));
    let fault = |fault| MetainfoError::PieceLayer(fault);
    assert_eq!(err(vec![1; 32], layer.clone()), fault("of no file"));
    assert_eq!(err(vec![1; 31], layer.clone()), fault("key of the wrong length"));
    assert_eq!(err(root.to_vec(), layer[..63].to_vec()), fault("of the wrong length"));
    assert_eq!(err(root.to_vec(), layer[..32].to_vec()), fault("that does not match its root"));
    assert_eq!(err(root.to_vec(), vec![0; 64]), fault("that does not match its root"));
    let twice = [b"d32:", &root[..], b"64:", &layer, b"32:", &root[..], b"64:", &layer, b"e"].concat();
    let twice =
        Dict::new().with(b"info", Item::Raw(info.encode().into())).with(b"piece layers", Item::Raw(twice.into()));
    assert_eq!(Metainfo::parse(&twice.encode()).map(|_| ()), Err(fault("twice")));
    // A file of one piece needs no layer, and may have none.
    let short = v2(&[("f", file(16_384, root))]);
    assert_eq!(with_layers(&short, &[(root.to_vec(), layer)]).map(|_| ()), Err(fault("of no file")));
    assert!(torrent(&short).unwrap().plan().is_some());
}

#[test]
fn layers_can_come_later() {
    let (root, _) = two_pieces();
    let mut m = torrent(&v2(&[("f", file(20_000, root))])).unwrap();
    assert!(!m.layers.insert(root, Box::new([[2; 32], [1; 32]]), &m.info));
    assert!(!m.layers.insert([9; 32], Box::new([[1; 32], [2; 32]]), &m.info));
    assert!(m.layers.insert(root, Box::new([[1; 32], [2; 32]]), &m.info));
    assert!(m.layers.is_complete(&m.info) && m.plan().is_some());
}

#[test]
fn v2_layout() {
    let info = v2(&[("a", file(5, [1; 32])), ("b", Dict::new().with(b"length", 0u8)), ("c", file(6, [2; 32]))]);
    let info = torrent(&info).unwrap().info;
    let files: Vec<_> = info.layout.files().iter().map(|f| (f.len, f.is_pad())).collect();
    assert_eq!(files, [(5, false), (0, false), (16_379, true), (6, false)], "no padding at the end");
    assert!(!torrent(&v2(&[("x", file(5, [1; 32]))])).unwrap().info.layout.is_single());
    let single = torrent(&v2(&[("n", file(5, [1; 32]))])).unwrap().info.layout;
    assert!(single.is_single() && single.files()[0].path == "n");
}

#[test]
fn both_halves_of_a_hybrid_must_agree() {
    let entry = |len: u64, name: &str| Item::Dict(Dict::new().with(b"length", len).with(b"path", list(&[name])));
    let pad =
        |len: u64| Item::Dict(Dict::new().with(b"length", len).with(b"path", list(&[".pad", "x"])).with(b"attr", "p"));
    let hybrid = |files: Vec<Item<'static>>, pieces: usize| {
        let info = v2(&[("a", file(5, [1; 32])), ("b", file(6, [2; 32]))]);
        torrent(&info.with(b"files", files).with(b"pieces", vec![0; 20 * pieces]))
    };
    let good = hybrid(vec![entry(5, "a"), pad(16_379), entry(6, "b")], 2).unwrap();
    assert_eq!(good.info.hashes.on_wire().count(), 2);
    assert_eq!(good.info.roots, [Some([1; 32]), None, Some([2; 32])]);
    assert!(hybrid(vec![entry(5, "a"), pad(16_379), entry(6, "b"), pad(16_378)], 2).is_ok(), "padded at the end");
    for (fault, files, pieces) in [
        ("order", vec![entry(6, "b"), pad(16_378), entry(5, "a")], 2),
        ("length", vec![entry(5, "a"), pad(16_379), entry(7, "b")], 2),
        ("name", vec![entry(5, "a"), pad(16_379), entry(6, "B")], 2),
        ("no padding", vec![entry(5, "a"), entry(6, "b")], 1),
        ("wrong padding", vec![entry(5, "a"), pad(16_378), entry(6, "b")], 2),
        ("a piece of padding too much", vec![entry(5, "a"), pad(32_763), entry(6, "b")], 3),
        ("too much padding at the end", vec![entry(5, "a"), pad(16_379), entry(6, "b"), pad(40_000)], 4),
        ("padding first", vec![pad(16_384), entry(5, "a"), pad(16_379), entry(6, "b")], 3),
        ("missing in v1", vec![entry(5, "a")], 1),
        ("missing in v2", vec![entry(5, "a"), pad(16_379), entry(6, "b"), pad(16_378), entry(1, "c")], 3),
    ] {
        assert!(matches!(hybrid(files, pieces), Err(MetainfoError::LayoutsDiffer(_))), "{fault}");
    }
    let half = v2(&[("f", file(5, [1; 32]))]).with(b"pieces", vec![0; 20]);
    let half = torrent(&half).unwrap().info;
    assert_eq!((half.hashes.v1, &*half.warnings), (None, [Warning::HalfHybrid].as_slice()));
}

#[test]
fn trackers_seeds_and_texts() {
    let outer = |dict: Dict<'static>| {
        Metainfo::parse(&dict.with(b"info", v1(5).with(b"length", 5u8).with(b"private", 1u8)).encode()).unwrap()
    };
    let tiers = vec![list(&["http://a/announce", "http://a/announce", "bad"]), list(&[]), Item::from(" udp://b:1 ")];
    let m = outer(
        Dict::new()
            .with(b"announce", "http://unused/")
            .with(b"announce-list", tiers)
            .with(b"url-list", "http://w/x")
            .with(b"comment", "a\x1b[31m\nb")
            .with(b"created by", "")
            .with(b"creation date", 1_700_000_000u64)
            .with(
                b"nodes",
                vec![Item::List(vec!["h".into(), 5u8.into()]), Item::List(vec!["h".into(), 99_999u32.into()])],
            ),
    );
    assert_eq!(m.trackers, [vec!["http://a/announce"], vec!["udp://b:1"]]);
    assert_eq!(m.web_seeds, ["http://w/x"]);
    assert_eq!(m.comment.as_deref(), Some("a[31m\nb"));
    assert_eq!((m.created_by.as_deref(), m.creation_date), (None, Some(1_700_000_000)));
    assert_eq!(m.nodes, [("h".to_owned(), 5)]);
    assert!(m.info.private);
    let m = outer(Dict::new().with(b"announce", "http://a/").with(b"announce-list", vec![list(&[])]));
    assert_eq!(m.trackers, [["http://a/"]]);
    let flood: Vec<_> = (0..1000).map(|i| Item::from(format!("http://{i}/"))).collect();
    let m = outer(Dict::new().with(b"announce-list", vec![Item::List(flood.clone())]).with(b"url-list", flood));
    assert_eq!((m.trackers[0].len(), m.web_seeds.len()), (Metainfo::URLS_MAX, Metainfo::URLS_MAX));
}

#[test]
fn web_seeds_are_asked_by_the_names_of_the_torrent() {
    let single = torrent(&v1(5).with(b"length", 5u8).with(b"name", "a b%/\u{e9}")).unwrap().info;
    assert_eq!(single.web_seed_url("http://w/file", FileIndex(0)), "http://w/file");
    assert_eq!(single.web_seed_url("http://w/", FileIndex(0)), "http://w/a%20b%25%2F%C3%A9");
    let folder = torrent(&v1_folder(&[&["d", "a?#"], &["x\\y"]])).unwrap().info;
    assert_eq!(folder.web_seed_url("http://w", FileIndex(0)), "http://w/n/d/a%3F%23");
    assert_eq!(folder.web_seed_url("http://w/", FileIndex(1)), "http://w/n/x%5Cy");
}

#[test]
fn torrents_of_empty_files_have_no_pieces() {
    let m = torrent(&v1(0).with(b"length", 0u8)).unwrap();
    assert_eq!(m.plan().map(|p| p.geometry.piece_count()), Some(0));
    let m = torrent(&v2(&[("f", Dict::new().with(b"length", 0u8))])).unwrap();
    assert_eq!(m.plan().map(|p| p.geometry.piece_count()), Some(0));
}

fn samples() -> Vec<Vec<u8>> {
    let (root, layer) = two_pieces();
    let link = Dict::new().with(b"attr", "l").with(b"symlink path", list(&["a"]));
    let v2 = v2(&[("a", file(20_000, root)), ("b", file(7, [3; 32])), ("l", link)]);
    let layers = Dict::new().with(root.to_vec(), layer);
    let wrap = |info: Dict<'_>| {
        let outer = Dict::new().with(b"announce", "http://a/").with(b"info", Item::Raw(info.encode().into()));
        outer.with(b"url-list", list(&["http://w/"])).with(b"piece layers", layers.clone()).encode()
    };
    vec![wrap(v1_folder(&[&["a", "b"], &["c"]])), wrap(v1(5).with(b"length", 5u8)), wrap(v2)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn damaged_torrents_never_panic_it(which in 0..3usize, edits in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..6), cut in 0..40usize) {
        let mut bytes = samples().swap_remove(which);
        for (at, byte) in edits {
            let at = at.index(bytes.len());
            match byte {
                // Digits matter most: lengths and numbers.
                0..200 => bytes[at] = b"0123456789dlie:-"[usize::from(byte) % 16],
                200..230 => { bytes.remove(at); }
                _ => bytes.insert(at, byte),
            }
        }
        bytes.truncate(bytes.len() - if cut > 30 { cut } else { 0 });
        if let Ok(m) = Metainfo::parse(&bytes) {
            let plan = m.plan();
            prop_assert!(m.info.layout.files().iter().all(|f| !f.path.split('/').any(|c| matches!(c, "" | "." | ".."))));
            prop_assert!(m.info.layout.total() == m.info.geometry.total());
            prop_assert!(plan.is_some() || m.info.hashes.v2.is_some());
            let _ = (m.magnet().to_string(), Metainfo::parse(&m.encode()));
        }
    }

    #[test]
    fn odd_paths_stay_within_the_folder_and_apart(
        paths in proptest::collection::vec(proptest::collection::vec("[aA./\\\\\u{202e} ]{0,3}", 1..4), 1..12), windows: bool,
    ) {
        let paths: Vec<Vec<&str>> = paths.iter().map(|p| p.iter().map(|c| &**c).collect()).collect();
        let slices: Vec<&[&str]> = paths.iter().map(|p| &**p).collect();
        let info = v1_folder(&slices).with(b"name", paths[0][0].to_owned());
        let rules = if windows { Rules::Windows } else { Rules::Posix };
        let info = Info::parse_with(&info.encode(), rules).unwrap();
        let mut seen = std::collections::BTreeSet::new();
        for f in info.layout.files() {
            let inside = f.path.strip_prefix(info.layout.name()).is_some_and(|rest| rest.starts_with('/'));
            let plain = !f.path.split('/').any(|c| matches!(c, "" | "." | ".."));
            prop_assert!(inside && plain && !f.path.contains(['\\', '\u{202e}']), "path {:?}", f.path);
            let key = if windows { f.path.to_lowercase() } else { f.path.clone() };
            // No file twice, none at the place of a folder.
            prop_assert!(seen.insert(key.clone()));
            let folder = key + "/";
            prop_assert!(!info.layout.files().iter().any(|g| g.path.starts_with(&folder)));
        }
    }
}
