//! Tests of split manifests.

use super::*;
use crate::{Hex, PieceHasher, PieceIndex};
use hash::Sha256;
use proptest::prelude::*;

/// A file of 250 bytes in pieces of 100, in two parts on two servers.
fn example() -> Manifest {
    let body: Vec<u8> = (0..250u8).collect();
    let place = |text: &str| Place::parse(text).unwrap();
    Manifest {
        name: "disk.iso".into(),
        geometry: Manifest::geometry(250, 100).unwrap(),
        sha256: Sha256::digest(&body),
        pieces: body.chunks(100).map(Sha256::digest).collect(),
        parts: vec![
            Part {
                offset: 0,
                bytes: 200,
                places: vec![place("http://a.example/p/disk.iso.000"), place("b/disk.iso.000")],
            },
            Part { offset: 200, bytes: 50, places: vec![place("b/disk.iso.001")] },
        ],
    }
}

/// The example with one text in it replaced by another.
fn with(old: &str, new: &str) -> Result<Manifest, ManifestError> {
    let json = example().to_json();
    assert_eq!(json.matches(old).count(), 1, "{old} in {json}");
    Manifest::parse(json.replace(old, new).as_bytes())
}

#[test]
fn what_is_written_reads_like_the_documentation() {
    let digests: String = example().pieces.iter().map(|d| Hex(d).to_string()).collect();
    let json = format!(
        r#"{{
 "format": "shoal-split",
 "version": 1,
 "name": "disk.iso",
 "bytes": 250,
 "piece_length": 100,
 "sha256": "{}",
 "pieces": "{digests}",
 "parts": [
  {{"number": 0, "offset": 0, "bytes": 200, "places": ["http://a.example/p/disk.iso.000", "b/disk.iso.000"]}},
  {{"number": 1, "offset": 200, "bytes": 50, "places": ["b/disk.iso.001"]}}
 ]
}}
"#,
        Hex(&example().sha256)
    );
    assert_eq!(example().to_json(), json);
    assert_eq!(Manifest::parse(json.as_bytes()), Ok(example()));
    assert!(Manifest::is_likely(json.as_bytes()));
    for other in ["d4:infod", "<html>\"shoal-split\"", "{\"format\": \"other\"}", "", "\"shoal-split\""] {
        assert!(!Manifest::is_likely(other.as_bytes()), "{other}");
    }
}

#[test]
fn a_plan_checks_pieces_and_the_whole() {
    let plan = example().plan();
    assert_eq!((plan.layout.name(), plan.layout.total(), plan.geometry.piece_count()), ("disk.iso", 250, 3));
    assert_eq!(plan.whole, Some(WholeDigest::Sha256(example().sha256)));
    let good = |bytes: &[u8]| {
        let mut hasher = PieceHasher::new(&plan, PieceIndex(2));
        hasher.update(bytes);
        hasher.finish(&plan, PieceIndex(2))
    };
    let last: Vec<u8> = (200..250u8).collect();
    assert!(good(&last) && !good(&[0; 50]));
}

#[test]
fn unknown_fields_are_skipped_and_known_ones_are_not_optional() {
    assert_eq!(with("\"bytes\": 250", "\"x\": [{\"y\": null}], \"bytes\": 250"), Ok(example()));
    assert_eq!(with("\"number\": 1", "\"number\": 1, \"etag\": 7"), Ok(example()));
    for (old, new, part) in [
        (" \"name\": \"disk.iso\",\n", "", "missing field `name`"),
        ("\"number\": 1, ", "", "missing field `number`"),
        ("\"bytes\": 250", "\"bytes\": 250, \"bytes\": 250", "duplicate field `bytes`"),
        ("\"bytes\": 250", "\"bytes\": -250", "invalid value: integer `-250`, expected u64"),
        ("\"bytes\": 250", "\"bytes\": 250.5", "floating point `250.5`"),
        ("\"bytes\": 250", "\"bytes\": NaN", "expected value at line 5"),
        ("\"bytes\": 250", "\"bytes\": 1e400", "number out of range"),
        ("\"bytes\": 250", "\"bytes\": 18446744073709551616", "expected u64"),
        ("\"bytes\": 250", "\"bytes\": \"250\"", "expected u64"),
        ("\n ]\n}", "\n ]\n", "EOF"),
        ("\n ]\n}", "\n ]\n}}", "trailing characters"),
    ] {
        let error = with(old, new).expect_err(new).to_string();
        assert!(error.starts_with("broken split manifest: ") && error.contains(part), "{new}: {error}");
    }
    let error = with("\"shoal-split\"", "\"tar\"").unwrap_err();
    assert_eq!(error.to_string(), "no split manifest: its format is \"tar\", and should be \"shoal-split\"");
    // What a later version looks like inside is not for this one to judge.
    let later = Manifest::parse(br#"{"format":"shoal-split","version":2}"#).unwrap_err();
    assert_eq!(later, ManifestError::Version(2));
    assert!(Manifest::parse(b"\xff{}").is_err() && Manifest::parse(b"").is_err());
    let byte_order_mark = format!("\u{feff}{}", example().to_json());
    assert_eq!(Manifest::parse(byte_order_mark.as_bytes()), Ok(example()));
}

#[test]
fn what_contradicts_itself_is_refused() {
    let last = ",\n  {\"number\": 1, \"offset\": 200, \"bytes\": 50, \"places\": [\"b/disk.iso.001\"]}";
    for (old, new, said) in [
        ("\"piece_length\": 100", "\"piece_length\": 0", "piece length of 0 bytes; it must be between 1 and 512 MiB"),
        ("\"piece_length\": 100", "\"piece_length\": 99999999999", "piece length of 99999999999 bytes"),
        ("\"piece_length\": 100", "\"piece_length\": 50", "192 characters of piece digests; 5 pieces need 64 each"),
        ("\"bytes\": 250", "\"bytes\": 18446744073709551615", "184467440737095517 pieces; the limit"),
        ("\"bytes\": 250", "\"bytes\": 90000000", "900000 pieces; the limit of split manifests is 524288"),
        ("\"bytes\": 250", "\"bytes\": 201", "part 1 of 50 bytes at 200 goes beyond the end"),
        ("\"bytes\": 250", "\"bytes\": 260", "part 1 of 50 bytes at 200 does not end where a piece ends"),
        (last, "", "its parts have 200 bytes, and the file 250"),
        ("\"number\": 1", "\"number\": 2", "part 1 is numbered 2"),
        (
            "\"offset\": 200",
            "\"offset\": 100",
            "part 1 begins at byte 100, which is before byte 200 where the one before it ends: they overlap",
        ),
        (
            "\"offset\": 200",
            "\"offset\": 201",
            "part 1 begins at byte 201, which is behind byte 200 where the one before it ends: there is a gap",
        ),
        ("\"offset\": 0", "\"offset\": 1", "part 0 begins at byte 1, which is behind byte 0"),
        ("\"bytes\": 200", "\"bytes\": 150", "part 0 of 150 bytes at 0 does not end where a piece ends"),
        ("\"bytes\": 200", "\"bytes\": 0", "part 0 of 0 bytes at 0 is empty"),
        ("\"bytes\": 200", "\"bytes\": 18446744073709551600", "goes beyond the end"),
        ("\"b/disk.iso.001\"", "\"b/disk.iso.000\"", "\"b/disk.iso.000\" is said twice, the second time of part 1"),
        ("\"b/disk.iso.001\"", "\"./b/disk.iso.000\"", "is said twice"),
        ("\"sha256\": \"", "\"sha256\": \"0", "which is no SHA-256"),
        ("\"pieces\": \"", "\"pieces\": \"0", "193 characters of piece digests"),
    ] {
        let error = with(old, new).expect_err(new).to_string();
        assert!(error.contains(said), "{new}: {error}");
    }
    let digest = Hex(&example().pieces[1]).to_string();
    assert_eq!(with(&digest, &format!("é{}", &digest[2..])), Err(ManifestError::Digest(1)));
    // One piece is the whole, and nothing is nothing.
    let whole = Sha256::digest(b"x");
    let one = Manifest {
        geometry: Manifest::geometry(1, 100).unwrap(),
        sha256: whole,
        pieces: [whole].into(),
        parts: vec![Part { offset: 0, bytes: 1, places: vec![] }],
        ..example()
    };
    assert_eq!(Manifest::parse(one.to_json().as_bytes()), Ok(one.clone()));
    let other = Manifest { sha256: [0; 32], ..one };
    assert_eq!(Manifest::parse(other.to_json().as_bytes()), Err(ManifestError::Disagree));
    let none = Manifest {
        geometry: Manifest::geometry(0, 100).unwrap(),
        sha256: Sha256::digest(b""),
        pieces: [].into(),
        parts: vec![],
        ..example()
    };
    assert_eq!(Manifest::parse(none.to_json().as_bytes()), Ok(none.clone()));
    let other = Manifest { sha256: [0; 32], ..none };
    assert_eq!(Manifest::parse(other.to_json().as_bytes()), Err(ManifestError::Disagree));
}

#[test]
fn names_are_made_safe_and_places_are_refused() {
    assert_eq!(with("\"disk.iso\"", "\"../../etc/passwd\\u0000\"").unwrap().name, ".._.._etc_passwd_");
    let error = with("\"disk.iso\"", &format!("\"{}\"", "n".repeat(5000))).unwrap_err().to_string();
    assert!(error.contains("the name is longer than 4096 bytes"), "{error}");
    use PlaceFault::*;
    for (place, fault) in [
        ("", Empty),
        ("../x", Up),
        ("a/../../x", Up),
        ("/a/../x", Up),
        ("..", Up),
        ("a/", NoFile),
        ("/", NoFile),
        (".", NoFile),
        ("a\u{0}b", Control),
        ("a\u{1b}[2J", Control),
        ("a\u{202e}b", Control),
        ("http://h/a\nb", Control),
        ("http://h/../x", Up),
        ("http://h/a/%2e%2E/x", Up),
        ("http://h/a/./x", Up),
        ("http://h/a\\..\\x", Character),
        ("http://h/a b", Character),
        ("http://h/a#b", Character),
        ("http://u:p@h/a", Password),
        ("http://u@h/a", Password),
        ("http:///a", Host),
        ("http://:80/a", Host),
        ("http://h:99999/a", Host),
        ("http://h:x/a", Host),
        ("http://h", NoFile),
        ("http://h?x", NoFile),
        ("http://h/", NoFile),
        ("HTTPS://h/a/?x", NoFile),
        ("ftp://h/a", Scheme),
        ("javascript://h/a", Scheme),
        ("file://h/a", Host),
        ("file:a", Host),
        ("file:///a?b", Character),
        ("file:///a/%2e%2e/b", Up),
        ("file:///a%00b", Control),
        ("file:///a%ffb", Control),
        ("file:///a/", NoFile),
    ] {
        assert_eq!(Place::parse(place), Err(fault), "{place:?}");
    }
    assert_eq!(Place::parse(&"x".repeat(2049)), Err(Long));
    let error = with("\"b/disk.iso.001\"", "\"b/../disk\"").unwrap_err().to_string();
    assert_eq!(error, "broken split manifest: part 1 is at \"b/../disk\": it has a \"..\" in it");
}

#[test]
fn places_are_urls_or_paths() {
    let path = |p: &str| Place::Path(p.to_owned());
    for (text, place) in [
        ("http://h:80/a?b=/c", Place::Url("http://h:80/a?b=/c".into())),
        ("https://[::1]:8/a", Place::Url("https://[::1]:8/a".into())),
        ("http://[::1]/a", Place::Url("http://[::1]/a".into())),
        ("/mnt/a b", path("/mnt/a b")),
        ("file:///mnt/a%20b", path("/mnt/a b")),
        ("file://localhost/a", path("/a")),
        ("file:/a", path("/a")),
        ("Film: the %20 end.mkv", path("Film: the %20 end.mkv")),
        ("./a//b:", path("a//b:")),
        (".//././/etc/passwd", path("etc/passwd")),
        ("./file:a", path("file:a")),
    ] {
        let read = Place::parse(text).expect(text);
        assert_eq!(read, place);
        assert_eq!(Place::parse(&read.written()), Ok(read), "{text}");
    }
    for (place, folder) in
        [("http://h/a/b?c/d", "http://h/a/"), ("http://h/b", "http://h/"), ("/b", "/"), ("b", "./"), ("a/b", "a/")]
    {
        assert_eq!(Place::parse(place).unwrap().folder(), folder);
    }
    let by_folder: Vec<_> = example().by_folder().into_iter().map(|(f, p)| (f.to_owned(), p.len())).collect();
    assert_eq!(by_folder, [("b/".to_owned(), 2), ("http://a.example/p/".to_owned(), 1)]);
    for (place, manifest, url) in [
        ("a b/c:", "http://h/x/m.json?q=/z#/f", Some("http://h/x/a%20b/c%3A")),
        ("a", "http://h", Some("http://h/a")),
        ("http://g/a", "http://h/m", Some("http://g/a")),
        ("/etc/passwd", "http://h/m", None),
    ] {
        assert_eq!(Place::parse(place).unwrap().url(manifest).as_deref(), url);
    }
}

#[test]
fn limits() {
    assert_eq!(
        Manifest::parse(&vec![b' '; Manifest::BYTES_MAX + 1]),
        Err(ManifestError::Long(Manifest::BYTES_MAX + 1))
    );
    let places = |n: usize| (0..n).map(|i| format!("\"p{i}/x\"")).collect::<Vec<_>>().join(",");
    let at = |n| with("[\"b/disk.iso.001\"]", &format!("[{}]", places(n)));
    assert_eq!(at(Manifest::REPLICAS_MAX).unwrap().parts[1].places.len(), Manifest::REPLICAS_MAX);
    let error = at(Manifest::REPLICAS_MAX + 1).unwrap_err().to_string();
    assert!(error.contains("more than 64 in a list at line"), "{error}");
    let many = |parts: usize, folders: usize| {
        let geometry = Manifest::geometry(parts as u64, 1).unwrap();
        let place = |i| Place::Path(format!("{}/{i}", i % folders));
        let part = |i| Part { offset: i as u64, bytes: 1, places: vec![place(i)] };
        let pieces = vec![[7; 32]; parts].into();
        let manifest = Manifest { geometry, pieces, parts: (0..parts).map(part).collect(), ..example() };
        Manifest::parse(manifest.to_json().as_bytes())
    };
    assert_eq!(many(Manifest::PARTS_MAX, Manifest::TARGETS_MAX).unwrap().parts.len(), Manifest::PARTS_MAX);
    assert!(many(Manifest::PARTS_MAX + 1, 1).unwrap_err().to_string().contains("more than 65536 in a list"));
    assert_eq!(many(300, Manifest::TARGETS_MAX + 1), Err(ManifestError::Targets(Manifest::TARGETS_MAX + 1)));
    let deep = format!("\"x\": {}{}, \"bytes\": 250", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(with("\"bytes\": 250", &deep), Ok(example()), "what is skipped is no recursion");
    assert_eq!(Manifest::geometry(1 << 20, 1), Err(ManifestError::Pieces(1 << 20)));
}

#[test]
fn parts_have_names() {
    let manifest = Manifest { sha256: [0xab; 32], ..example() };
    assert_eq!(manifest.part_name(7), "disk.iso.abababab.007");
    assert_eq!(manifest.part_name(12345), "disk.iso.abababab.12345");
    let long = Manifest { name: "\u{e9}".repeat(125), ..manifest }.part_name(65535);
    assert!(long.len() <= 250 && long.ends_with("\u{e9}.abababab.65535"), "{long}");
}

fn manifests() -> impl Strategy<Value = Manifest> {
    let place = "(https?://[a-z0-9.]{1,9}(:[0-9]{1,4})?/[!$-.0-9A-Z_a-zé]{1,9}|/?([ -~é]{1,9}/)?[!-.0-~é\"\\\\]{1,9})";
    let parts = proptest::collection::vec((1u64..5, proptest::collection::vec(place, 0..4)), 1..6);
    ("[ -~é\\\\]{1,40}", 1u64..100, 1u64..100, any::<[u8; 32]>(), parts).prop_map(
        |(name, length, last, sha256, raw)| {
            let last = last.min(length);
            let (mut at, mut parts, mut seen) = (0, Vec::new(), std::collections::BTreeSet::new());
            let count = raw.len();
            for (i, (pieces, places)) in raw.into_iter().enumerate() {
                let bytes = if i + 1 == count { (pieces - 1) * length + last } else { pieces * length };
                let places =
                    places.iter().filter_map(|p| Place::parse(p).ok()).filter(|p| seen.insert(p.clone())).collect();
                parts.push(Part { offset: at, bytes, places });
                at += bytes;
            }
            let geometry = Manifest::geometry(at, length).unwrap();
            let pieces: Box<[[u8; 32]]> = (0..geometry.piece_count()).map(|i| [i as u8; 32]).collect();
            let sha256 = if pieces.len() == 1 { pieces[0] } else { sha256 };
            let name = crate::metainfo::names::component(name.as_bytes(), crate::metainfo::names::Rules::HERE, 250);
            Manifest { name, geometry, sha256, pieces, parts }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(manifest in manifests()) {
        prop_assert_eq!(Manifest::parse(manifest.to_json().as_bytes()), Ok(manifest));
    }

    #[test]
    fn places_never_lead_up(text in "(http://h|file:|//|/|\\.|\\.\\.|%2e|%2F|%|\\\\|a|:|\\?|#| |@|[0-9]){0,12}") {
        if let Ok(place) = Place::parse(&text) {
            prop_assert_eq!(Place::parse(&place.written()), Ok(place.clone()));
            if let Place::Path(path) = &place {
                prop_assert!(path.split('/').all(|part| part != ".."), "{}", path);
            }
            if let Some(url) = place.url("http://m/d/m.json") {
                prop_assert!(url.starts_with("http://"), "{}", url);
            }
        }
    }
}
