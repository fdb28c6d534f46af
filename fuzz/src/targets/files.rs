//! What lies in files and links: bencode, metainfo, magnets, Metalinks, split manifests.

use std::fmt::Write;
use std::path::{Component, Path};

use base::bencode::{self, Kind, Limits, Value};
use base::manifest::{Part, Place};
use base::metainfo::create::{Draft, Facts, Format, Source};
use base::metalink::{MetalinkFile, MetalinkPieces, MetalinkTorrent, MetalinkUrl, PieceHashes};
use base::{Info, Magnet, Manifest, Metainfo, Metalink, PieceHasher, PieceIndex, Plan};

use super::words;

pub(super) fn bencode_examples() -> Vec<Vec<u8>> {
    ["d3:bar4:spam3:fooi42ee", "li-1e0:dee", "d1:ad1:bd1:cli0eeeee", "i0e", "4:spam"]
        .map(|s| s.as_bytes().to_vec())
        .into()
}

pub(super) fn bencode(input: &[u8]) -> Result<String, String> {
    let doc = bencode::parse(input, &Limits::TORRENT).map_err(words)?;
    let mut shape = String::new();
    walk(doc.root(), input, &mut shape);
    assert_eq!(doc.root().span(), 0..doc.consumed(), "the root is all that was read");
    // What was read is read again as the same, and without what follows it.
    let again = bencode::parse(&input[..doc.consumed()], &Limits::TORRENT).map_err(words)?;
    assert_eq!(again.root().raw(), doc.root().raw());
    for (quirk, at) in doc.quirks() {
        assert!(*at <= input.len());
        shape = format!("{shape}{quirk:?}");
    }
    Ok(shape)
}

fn walk(value: Value<'_>, input: &[u8], shape: &mut String) {
    assert_eq!(&input[value.span()], value.raw());
    let few = shape.len() < 64;
    match value.kind() {
        Kind::List => value.items().into_iter().flatten().for_each(|item| walk(item, input, shape)),
        Kind::Dict => value.entries().into_iter().flatten().for_each(|(key, item)| {
            assert!(value.find(key).is_some());
            walk(item, input, shape);
        }),
        other if few => write!(shape, "{other:?}").unwrap_or_default(),
        _ => {}
    }
}

fn torrent(single: bool, format: Format) -> Metainfo {
    let path = |name: &str| name.split('/').map(|part| part.as_bytes().to_vec()).collect();
    let source = |name: &str, len| Source { path: path(name), len, ..Source::default() };
    let sources = if single {
        vec![Source { len: 70_000, ..Source::default() }]
    } else {
        vec![source("a", 40_000), source("b/empty", 0), source("b/c", 16_384), source("d é", 1)]
    };
    let facts = Facts { name: b"name".to_vec(), single, sources, format, piece_length: Some(32_768), private: false };
    let draft = Draft::new(facts).expect("facts that are right");
    let digests: Vec<_> = (0..draft.plan().geometry.piece_count()).map(|i| digest(draft.plan(), i)).collect();
    let mut metainfo = draft.finish(&digests).expect("one digest for each piece");
    metainfo.trackers = vec![vec!["http://a.example/announce".into()], vec!["udp://b.example:1/announce".into()]];
    metainfo.web_seeds = vec!["http://c.example/".into()];
    metainfo.comment = Some("a comment".into());
    metainfo
}

fn digest(plan: &Plan, index: u32) -> base::PieceDigest {
    let piece: PieceIndex = plan.geometry.piece(index).expect("a piece of the plan");
    let mut hasher = PieceHasher::new(plan, piece);
    hasher.update(&vec![7; plan.geometry.piece_len(piece) as usize]);
    hasher.digest(plan, piece)
}

fn torrents() -> Vec<Metainfo> {
    let formats = [Format::V1, Format::V2, Format::Hybrid];
    formats.into_iter().flat_map(|f| [torrent(true, f), torrent(false, f)]).collect()
}

pub(super) fn metainfo_examples() -> Vec<Vec<u8>> {
    torrents().iter().map(Metainfo::encode).collect()
}

pub(super) fn metainfo(input: &[u8]) -> Result<String, String> {
    let metainfo = Metainfo::parse(input).map_err(words)?;
    check_info(&metainfo.info);
    let encoded = metainfo.encode();
    let again = Metainfo::parse(&encoded).expect("what we write we read");
    assert_eq!(again.info.hashes, metainfo.info.hashes, "the info dictionary is passed on as it came");
    assert_eq!(again.trackers, metainfo.trackers);
    let magnet: Magnet = metainfo.magnet().to_string().parse().expect("a magnet of ours");
    assert_eq!(magnet.hashes, metainfo.info.hashes);
    Ok(format!("{:?}{:?}", metainfo.warnings.first(), metainfo.info.warnings.first()))
}

pub(super) fn info_examples() -> Vec<Vec<u8>> {
    torrents().iter().map(|m| m.info.raw.to_vec()).collect()
}

pub(super) fn info(input: &[u8]) -> Result<String, String> {
    let info = Info::parse(input).map_err(words)?;
    check_info(&info);
    Ok(format!("{:?}", info.warnings.first()))
}

/// Nothing that a stranger writes names a path outside the output folder, or a layout that does not add up.
fn check_info(info: &Info) {
    assert!(plain(info.layout.name()), "the name {:?}", info.layout.name());
    let mut at = 0;
    for file in info.layout.files() {
        let path = Path::new(&file.path);
        let safe = path.components().all(|c| matches!(c, Component::Normal(_)));
        assert!(safe && !file.path.contains('\0'), "the path {:?}", file.path);
        assert_eq!(file.offset, at, "files follow one another");
        at += file.len;
    }
    assert_eq!(at, info.layout.total());
}

fn plain(name: &str) -> bool {
    !name.is_empty() && name != "." && name != ".." && !name.contains(['/', '\0'])
}

pub(super) fn magnet_examples() -> Vec<Vec<u8>> {
    let own = torrents().into_iter().map(|m| m.magnet().to_string().into_bytes());
    let other = "magnet:?xt=urn:btih:NB2HI4DTHIXS65DIMFXGWIDPMZ2GK3TF&dn=a%20b&tr.1=http%3a%2f%2fa&xl=1&x.pe=1.2.3.4:5&so=0,2,4-6&ws=http://b";
    own.chain([other.as_bytes().to_vec()]).collect()
}

pub(super) fn magnet(input: &[u8]) -> Result<String, String> {
    let text = std::str::from_utf8(input).map_err(|_| "no text".to_owned())?;
    let magnet: Magnet = text.parse().map_err(words)?;
    let again: Magnet = magnet.to_string().parse().expect("what we write we read");
    assert_eq!(again, magnet);
    Ok(format!("{} {} {}", magnet.trackers.is_empty(), magnet.web_seeds.is_empty(), magnet.peers.is_empty()))
}

pub(super) fn metalink_examples() -> Vec<Vec<u8>> {
    let url = |url: &str, priority| MetalinkUrl { url: url.into(), priority, location: Some("de".into()) };
    let file = |path: &str, hashes| MetalinkFile {
        path: path.into(),
        size: Some(2_000),
        sha256: Some([1; 32]),
        sha1: Some([2; 20]),
        hashes: vec![("md5".into(), "0".repeat(32))],
        pieces: Some(MetalinkPieces { length: 1_000, hashes }),
        urls: vec![url("http://a.example/x", Some(1)), url("http://b.example/x?a=1&b=2", None)],
        torrents: vec![MetalinkTorrent { url: "http://a.example/x.torrent".into(), ..MetalinkTorrent::default() }],
    };
    let files = vec![
        file("name", PieceHashes::Sha1([[3; 20], [4; 20]].into())),
        file("a/b c", PieceHashes::Sha256([[5; 32], [6; 32]].into())),
    ];
    let published = Some(base::metalink::date(1_795_464_000));
    let ours = Metalink { files, published, ..Metalink::default() }.to_xml().into_bytes();
    let other = r#"<m:metalink xmlns:m='urn:ietf:params:xml:ns:metalink'><m:origin dynamic="true">http://a</m:origin>
        <m:file name='../a'><x:size xmlns:x='y'/><m:url><![CDATA[ http://a?&amp; ]]>&#65;&lt;</m:url></m:file></m:metalink>"#;
    vec![ours, other.as_bytes().to_vec()]
}

pub(super) fn metalink(input: &[u8]) -> Result<String, String> {
    let metalink = Metalink::parse(input).map_err(words)?;
    let mut paths = std::collections::BTreeSet::new();
    for file in &metalink.files {
        let safe = Path::new(&file.path).components().all(|c| matches!(c, Component::Normal(_)));
        assert!(safe && !file.path.contains('\0'), "the path {:?}", file.path);
        assert!(paths.insert(&file.path), "the path {:?} twice", file.path);
        if let Some(plan) = file.size.and_then(|size| file.plan(size).ok()) {
            assert_eq!(Some(plan.layout.total()), file.size);
        }
    }
    let again = Metalink::parse(metalink.to_xml().as_bytes()).expect("what we write we read");
    assert_eq!(again.files.len(), metalink.files.len());
    let urls = |m: &Metalink| m.files.iter().flat_map(|f| f.urls.clone()).collect::<Vec<_>>();
    assert_eq!(urls(&again), urls(&metalink));
    Ok(format!("{} {}", metalink.files.len(), metalink.origin.is_some()))
}

pub(super) fn manifest_examples() -> Vec<Vec<u8>> {
    let place = |text: &str| Place::parse(text).expect("a place");
    let manifest = Manifest {
        name: "a \"name\"".into(),
        geometry: Manifest::geometry(2_500, 1_000).expect("three pieces"),
        sha256: [7; 32],
        pieces: [[1; 32], [2; 32], [3; 32]].into(),
        parts: vec![
            Part { offset: 0, bytes: 2_000, places: vec![place("http://a.example:80/x/n.000"), place("/b/n.000")] },
            Part { offset: 2_000, bytes: 500, places: vec![place("b c/n.001"), place("./file:n.001")] },
        ],
    };
    let ours = manifest.to_json();
    let others = ours.replace("b c/", "file:///b%20c/").replace("\"version\"", "\"more\": [{}], \"version\"");
    vec![ours.into_bytes(), others.into_bytes()]
}

pub(super) fn manifest(input: &[u8]) -> Result<String, String> {
    let manifest = Manifest::parse(input).map_err(words)?;
    assert!(plain(&manifest.name), "the name {:?}", manifest.name);
    let plan = manifest.plan();
    assert_eq!(plan.checks.sha256.as_ref().map(|d| d.len()), Some(plan.geometry.piece_count() as usize));
    let mut at = 0;
    for part in &manifest.parts {
        assert!(part.offset == at && part.bytes > 0, "parts follow one another");
        at += part.bytes;
        for place in &part.places {
            if let Place::Path(path) = place {
                let up = Path::new(path).components().any(|c| matches!(c, Component::ParentDir));
                assert!(!up && !path.contains('\0'), "the path {path:?}");
            }
            assert!(place.url("http://m/d/m").is_none_or(|url| url.starts_with("http") || url.starts_with("HTTP")));
        }
    }
    assert_eq!(at, plan.layout.total());
    assert_eq!(Manifest::parse(manifest.to_json().as_bytes()).as_ref(), Ok(&manifest), "what we write we read");
    Ok(format!("{} {}", manifest.parts.len(), manifest.by_folder().len()))
}
