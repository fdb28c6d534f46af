use super::*;
use crate::PieceHasher;
use crate::bencode::{Limits, parse};
use proptest::prelude::*;

/// Bytes that differ from file to file.
fn content(seed: usize, len: u64) -> Vec<u8> {
    (0..len).map(|i| (i * 7 + i / 251 + seed as u64 * 31) as u8).collect()
}

/// Hashes every piece of the draft as the hands would: the last piece first.
fn digests(draft: &Draft) -> Vec<PieceDigest> {
    let plan = draft.plan();
    let digest = |piece| {
        let mut hasher = PieceHasher::new(plan, piece);
        for span in plan.layout.spans(plan.geometry.piece_offset(piece), plan.geometry.piece_len(piece).into()) {
            let (from, to) = (span.offset as usize, (span.offset + span.len) as usize);
            match draft.source(span.file) {
                Some(source) => hasher.update(&content(source, span.offset + span.len)[from..to]),
                None => hasher.update(&vec![0; to - from]),
            }
        }
        hasher.digest(plan, piece)
    };
    let mut all: Vec<_> = plan.geometry.pieces().rev().map(digest).collect();
    all.reverse();
    all
}

fn folder(files: &[(&str, u64)], format: Format, piece_length: u64) -> Facts {
    let source = |(path, len): &(&str, u64)| Source {
        path: path.split('/').map(|c| c.as_bytes().to_vec()).collect(),
        len: *len,
        ..Source::default()
    };
    let sources = files.iter().map(source).collect();
    Facts { name: b"top".to_vec(), sources, format, piece_length: Some(piece_length), ..Facts::default() }
}

fn make(facts: Facts) -> Metainfo {
    let draft = Draft::new(facts).unwrap();
    draft.finish(&digests(&draft)).unwrap()
}

#[test]
fn a_hybrid_folder_is_sorted_and_padded() {
    let m = make(folder(&[("b", 20_000), ("a/z", 40_000), ("a/empty", 0), ("a/b", 16_384)], Format::Hybrid, 16_384));
    let files: Vec<_> = m.info.layout.files().iter().map(|f| (&*f.path, f.len)).collect();
    let expected =
        [("top/a/b", 16_384), ("top/a/empty", 0), ("top/a/z", 40_000), ("top/.pad/9152", 9_152), ("top/b", 20_000)];
    assert_eq!(files, expected);
    assert_eq!(m.info.layout.content_len(), 76_384);
    let plan = m.plan().unwrap();
    assert_eq!(plan.checks.sha1.map(|c| c.len()), Some(6));
    assert_eq!(plan.checks.merkle.map(|c| c.len()), Some(6));
    assert_eq!(m.layers.iter().count(), 2);
    assert_eq!(m.info.hashes.on_wire().count(), 2);
}

#[test]
fn v2_implies_the_same_padding() {
    let files = [("b", 20_000), ("a/z", 40_000), ("a/empty", 0), ("a/b", 16_384)];
    let v2 = make(folder(&files, Format::V2, 16_384));
    let hybrid = make(folder(&files, Format::Hybrid, 16_384));
    assert_eq!(v2.info.layout.total(), hybrid.info.layout.total());
    assert_eq!(v2.info.roots, hybrid.info.roots);
    assert_eq!(v2.layers, hybrid.layers);
    assert_eq!((v2.info.hashes.v1, v2.info.piece_hashes().is_none()), (None, true));
    assert!(v2.plan().is_some_and(|p| p.checks.sha1.is_none()));
}

#[test]
fn what_is_made_is_what_its_own_reader_checks() {
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let facts = folder(&[("a", 70_000), ("b", 1), ("c", 32_768)], format, 32_768);
        let draft = Draft::new(facts).unwrap();
        let m = draft.finish(&digests(&draft)).unwrap();
        let plan = m.plan().unwrap();
        for piece in plan.geometry.pieces() {
            for flip in [false, true] {
                let mut hasher = PieceHasher::new(&plan, piece);
                for span in plan.layout.spans(plan.geometry.piece_offset(piece), plan.geometry.piece_len(piece).into())
                {
                    let mut bytes = match draft.source(span.file) {
                        Some(s) => content(s, span.offset + span.len)[span.offset as usize..].to_vec(),
                        None => vec![0; span.len as usize],
                    };
                    bytes[0] ^= u8::from(flip && !span.pad);
                    hasher.update(&bytes);
                }
                assert_eq!(hasher.finish(&plan, piece), !flip, "{format:?} {piece}");
            }
        }
    }
}

#[test]
fn auto_makes_a_hybrid_where_padding_stays_low() {
    let kinds = |facts: Facts| {
        let draft = Draft::new(facts).unwrap();
        (draft.plan.checks.sha1.is_some(), draft.plan.checks.merkle.is_some(), draft.plan.geometry.piece_length())
    };
    let auto = |files: &[(&str, u64)]| Facts { piece_length: None, ..folder(files, Format::Auto, 1) };
    let single = Facts { single: true, ..auto(&[("x", 5_000)]) };
    assert_eq!(kinds(single), (true, true, 16_384));
    assert_eq!(kinds(auto(&[("a", 10), ("b", 10)])), (true, false, 16_384), "two tiny files are mostly padding");
    assert_eq!(kinds(auto(&[("a", 100 << 20), ("b", 100 << 20)])), (true, true, 1 << 18));
    // 5% at the usual 256 KiB, less with shorter pieces.
    assert_eq!(kinds(auto(&[("a", (2 << 20) + 1), ("b", 100 << 20)])), (true, true, 1 << 17));
    let many: Vec<_> = (0..100).map(|i| (format!("{i}"), (2 << 20) + 1)).collect();
    let many: Vec<_> = many.iter().map(|(name, len)| (&**name, *len)).collect();
    assert_eq!(kinds(auto(&many)), (true, true, 1 << 16));
    assert_eq!(kinds(folder(&[("a", 100)], Format::Auto, 1000)), (true, false, 1000), "no piece length for v2");
}

#[test]
fn piece_lengths_grow_with_the_content() {
    for (content, length) in [
        (0, 16 << 10),
        (2_684_354, 16 << 10),
        (2_684_355, 32 << 10),
        (1 << 30, 512 << 10),
        (40 << 30, 2 << 20),
        (u64::MAX, 16 << 20),
    ] {
        assert_eq!(usual_piece_length(content), length, "{content}");
    }
}

#[test]
fn facts_that_make_no_torrent() {
    let err = |facts: Facts| Draft::new(facts).map(|_| ()).unwrap_err();
    let facts = |files: &[(&str, u64)]| folder(files, Format::Hybrid, 16_384);
    assert_eq!(err(facts(&[])), MetainfoError::NoFiles);
    assert!(matches!(err(facts(&[("a", 1), ("a", 1)])), MetainfoError::Facts(_)));
    assert!(matches!(err(facts(&[("a", 1), ("a/b", 1), ("a.c", 1)])), MetainfoError::Facts(_)));
    assert!(matches!(err(facts(&[("../a", 1)])), MetainfoError::Facts(_)));
    assert!(matches!(err(Facts { name: b"..".to_vec(), ..facts(&[("a", 1)]) }), MetainfoError::Facts(_)));
    assert_eq!(err(folder(&[("a", 1)], Format::V2, 20_000)), MetainfoError::PieceLengthV2(20_000));
    assert!(matches!(err(folder(&[("a", u64::MAX / 2)], Format::V1, 16_384)), MetainfoError::Geometry(_)));
    assert_eq!(err(folder(&[("a", u64::MAX), ("b", 1)], Format::V1, 16_384)), MetainfoError::TooLong);
    let draft = Draft::new(facts(&[("a", 1)])).unwrap();
    assert!(matches!(draft.finish(&[]), Err(MetainfoError::Facts(_))));
    assert!(matches!(draft.finish(&[PieceDigest::default()]), Err(MetainfoError::Facts(_))));
}

#[test]
fn links_and_attributes_are_kept() {
    let mut facts = folder(&[("dir/a", 100), ("run", 5), ("link", 0)], Format::Hybrid, 16_384);
    facts.sources[1].executable = true;
    facts.sources[2].link = Some(vec![b"dir".to_vec(), b"a".to_vec()]);
    for format in [Format::V1, Format::V2, Format::Hybrid] {
        let m = make(Facts { format, ..facts.clone() });
        let files = m.info.layout.files();
        let link = files.iter().find(|f| f.path == "top/link").unwrap();
        assert_eq!(link.kind, FileKind::Symlink("top/dir/a".into()), "{format:?}");
        assert!(files.iter().find(|f| f.path == "top/run").unwrap().executable);
        assert_eq!(m.info.warnings, []);
    }
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let name = proptest::sample::select(vec!["a", "B", "b", "c.txt", "\u{e9}", " x "]);
    let path = proptest::collection::vec(name, 1..4).prop_map(|p| p.join("/"));
    let files =
        proptest::collection::vec((path, prop_oneof![Just(0u64), 1..70_000u64, Just(16_384), Just(65_536)]), 1..6);
    let format = proptest::sample::select(vec![Format::Auto, Format::V1, Format::V2, Format::Hybrid]);
    (files, format, 14..17u32, any::<(bool, bool)>()).prop_map(|(mut files, format, bits, (single, private))| {
        files.sort();
        files.dedup_by(|b, a| format!("{}/", b.0).starts_with(&format!("{}/", a.0)));
        files.truncate(if single { 1 } else { files.len() });
        let files: Vec<_> = files.iter().map(|(p, l)| (&**p, *l)).collect();
        Facts { single, private, ..folder(&files, format, 1 << bits) }
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_made_is_read_back(facts in any_facts(), comment in proptest::option::of("[a-z\n]{1,9}"), date: Option<u32>) {
        // Sorted strings are not sorted paths: names that lie within each other may be left.
        let Ok(draft) = Draft::new(facts.clone()) else { return Ok(()) };
        let mut made = draft.finish(&digests(&draft)).unwrap();
        made.trackers = vec![vec!["http://a/announce".into(), "udp://b:1".into()], vec!["udp://c:2".into()]];
        made.web_seeds = vec!["http://w/".into()];
        made.nodes = vec![("h".into(), 1)];
        made.comment = comment;
        made.creation_date = date.map(u64::from);
        let bytes = made.encode();
        let doc = parse(&bytes, &Limits::TORRENT).unwrap();
        prop_assert_eq!(doc.quirks(), []);
        let read = Metainfo::parse(&bytes).unwrap();
        prop_assert_eq!(&read, &made);
        prop_assert_eq!(read.info.private, facts.private);
        prop_assert_eq!(read.info.layout.is_single(), facts.single);
        prop_assert_eq!(read.info.layout.content().count(), facts.sources.len());
        let total: u64 = facts.sources.iter().map(|s| s.len).sum();
        prop_assert_eq!(read.info.layout.content_len(), total);
        let plan = read.plan().unwrap();
        prop_assert_eq!((&plan.geometry, plan.layout.total()), (&draft.plan().geometry, draft.plan().layout.total()));
        // The files as read are the sources that the draft named.
        for (i, file) in plan.layout.files().iter().enumerate() {
            let source = draft.source(FileIndex(i as u32)).map(|s| &facts.sources[s]);
            prop_assert_eq!(source.map(|s| s.len), (!file.is_pad()).then_some(file.len));
            if let (Some(source), false) = (source, facts.single) {
                let path = source.path.iter().fold("top".to_owned(), |p, c| p + "/" + std::str::from_utf8(c).unwrap());
                prop_assert_eq!(&file.path, &path);
            }
        }
        prop_assert_eq!(made.magnet().to_string().parse(), Ok(made.magnet()));
    }
}
