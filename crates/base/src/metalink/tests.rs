use super::*;
use crate::{GeometryError, PieceHasher, PieceIndex, WholeDigest};
use hash::{Sha1, Sha256};
use proptest::prelude::*;

/// As RFC 5854 shows one, with what others put around it.
const EXAMPLE: &str = r#"<?xml version="1.0" encoding="UTF-8"?>
<!-- made by hand -->
<metalink xmlns="urn:ietf:params:xml:ns:metalink" xmlns:x="http://a.example/x">
  <generator>maker/1.0</generator>
  <published>2009-05-15T12:23:23Z</published>
  <origin dynamic="true">http://a.example/file.meta4</origin>
  <file name="dir/example.ext">
    <size>300</size>
    <identity>Example</identity>
    <x:url>http://not.ours.example/</x:url>
    <copyright xmlns="http://a.example/x"><url>http://not.ours.example/</url></copyright>
    <hash type="md5">0123456789abcdef0123456789ABCDEF</hash>
    <hash type="sha-256">
      0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef
    </hash>
    <hash type="sha-1">000102030405060708090a0b0c0d0e0f10111213</hash>
    <hash type="whirlpool-of-tomorrow">+/=</hash>
    <pieces length="100" type="sha-1">
      <hash>0000000000000000000000000000000000000000</hash>
      <hash>1111111111111111111111111111111111111111</hash>
      <hash>2222222222222222222222222222222222222222</hash>
    </pieces>
    <url location="de" priority="5">ftp://b.example/example.ext</url>
    <url>http://c.example/a?b=1&amp;c=&#50;</url>
    <url location="fr" priority="1"><![CDATA[http://d.example/?a&b]]></url>
    <url priority="1">no address</url>
    <metaurl mediatype="torrent" priority="2" name="example.ext">http://a.example/example.ext.torrent</metaurl>
    <metaurl mediatype="application/zip">http://a.example/zip</metaurl>
    <signature mediatype="application/pgp-signature">-----</signature>
  </file>
</metalink>
"#;

fn around(file: &str) -> String {
    format!("<metalink xmlns='urn:ietf:params:xml:ns:metalink'>\n<file name='a'>\n{file}\n</file>\n</metalink>")
}

fn fault(text: &str) -> MetalinkFault {
    Metalink::parse(text.as_bytes()).expect_err(text).fault
}

#[test]
fn everything_that_it_says() {
    let read = Metalink::parse(EXAMPLE.as_bytes()).unwrap();
    assert_eq!(read.generator.as_deref(), Some("maker/1.0"));
    assert_eq!(read.published.as_deref(), Some("2009-05-15T12:23:23Z"));
    let origin = MetalinkOrigin { url: "http://a.example/file.meta4".into(), dynamic: true };
    assert_eq!(read.origin, Some(origin));
    let [file] = &read.files[..] else { panic!("one file") };
    assert_eq!((&*file.path, file.size), ("dir/example.ext", Some(300)));
    assert_eq!(file.sha256.map(|d| (d[0], d[31])), Some((0x01, 0xef)));
    assert_eq!(file.sha1.map(|d| (d[0], d[19])), Some((0, 0x13)));
    let others = [("md5", "0123456789abcdef0123456789ABCDEF"), ("whirlpool-of-tomorrow", "+/=")];
    assert_eq!(file.hashes, others.map(|(k, v)| (k.to_owned(), v.to_owned())));
    let pieces = PieceHashes::Sha1([[0; 20], [0x11; 20], [0x22; 20]].into());
    assert_eq!(file.pieces, Some(MetalinkPieces { length: 100, hashes: pieces }));
    let urls: Vec<_> = file.urls.iter().map(|u| (&*u.url, u.priority, u.location.as_deref())).collect();
    let best_first = [
        ("http://d.example/?a&b", Some(1), Some("fr")),
        ("ftp://b.example/example.ext", Some(5), Some("de")),
        ("http://c.example/a?b=1&c=2", None, None),
    ];
    assert_eq!(urls, best_first);
    let url = "http://a.example/example.ext.torrent".to_owned();
    assert_eq!(file.torrents, [MetalinkTorrent { url, priority: Some(2), name: Some("example.ext".into()) }]);
    assert_eq!(Metalink::parse(read.to_xml().as_bytes()).unwrap(), read);
    assert!(Metalink::is_likely(EXAMPLE.as_bytes()) && !Metalink::is_likely(b"<html>"));
    assert!(!Metalink::is_likely(b"d8:metalink"));
}

#[test]
fn other_ways_to_write_it() {
    let prefixed =
        "\u{feff}<m:metalink xmlns:m='urn:ietf:params:xml:ns:metalink'><m:file name='a'/><file name='b'/></m:metalink>";
    let read = Metalink::parse(prefixed.as_bytes()).unwrap();
    assert_eq!(read.files, [MetalinkFile { path: "a".into(), ..MetalinkFile::default() }], "b is in no namespace");
    // Of several kinds of pieces the better one is taken; kinds that nobody knows are none.
    let pieces = |kind, digit: &str, digits| {
        format!("<pieces length='1' type='{kind}'><hash>{}</hash></pieces>", digit.repeat(digits))
    };
    let all = [pieces("sha-1", "1", 40), pieces("sha-256", "2", 64), pieces("sha-1", "3", 40), pieces("new", "x", 1)];
    let read = Metalink::parse(around(&all.concat()).as_bytes()).unwrap();
    assert_eq!(read.files[0].pieces.as_ref().map(|p| &p.hashes), Some(&PieceHashes::Sha256([[0x22; 32]].into())));
}

#[test]
fn paths_stay_in_the_folder() {
    let files = [
        ("../../etc/passwd", "_/_/etc/passwd"),
        ("/etc/passwd", "etc/passwd"),
        ("a/./b//c", "a/b/c"),
        ("..\\..\\x", ".._.._x"),
        ("..", "_.1"),
        ("", "_.2"),
        ("x&#10;y&#x202e;gpj", "x_y_gpj"),
        ("a", "a.1"),
        ("etc/passwd", "etc/passwd.1"),
    ];
    let list: String = files.iter().map(|(raw, _)| format!("<file name=\"{raw}\"/>")).collect();
    let text = format!("<metalink xmlns=\"urn:ietf:params:xml:ns:metalink\">{list}</metalink>");
    let read = Metalink::parse(text.as_bytes()).unwrap();
    let paths: Vec<_> = read.files.iter().map(|f| &*f.path).collect();
    let safe: Vec<_> = files.iter().map(|(_, safe)| *safe).collect();
    assert_eq!(paths, safe);
    let long =
        format!("<metalink xmlns='urn:ietf:params:xml:ns:metalink'><file name='{}'/></metalink>", "d/".repeat(2000));
    let read = Metalink::parse(long.as_bytes()).unwrap();
    assert_eq!(read.files[0].path, "_long/0-d");
}

#[test]
fn faults_name_what_and_where() {
    let error = Metalink::parse(around("<size>-4</size>").as_bytes()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "broken Metalink, line 3: size is \"-4\", which is no number from 0 to 18446744073709551615"
    );
    for (file, part) in [
        ("<size>99999999999999999999</size>", "size is"),
        ("<size/>", "size is"),
        ("<size>1</size><size>1</size>", "a second size"),
        ("<hash type='sha-256'>00</hash>", "\"00\" is no digest of sha-256, which has 64"),
        ("<hash type='sha-1'>zz00000000000000000000000000000000000000</hash>", "no digest of sha-1"),
        ("<hash type='sha-512'>00</hash>", "no digest of sha-512, which has 128"),
        ("<pieces type='sha-1'/>", "the length of pieces is missing"),
        ("<pieces length='1'/>", "the type of pieces is missing"),
        ("<pieces length='0' type='sha-1'/>", "the length of pieces is \"0\""),
        ("<pieces length='4294967296' type='sha-1'/>", "the length of pieces is \"4294967296\""),
        ("<size>5</size><pieces length='2' type='sha-1'/>", "0 piece digests for 5 bytes in pieces of 2"),
        ("<url>&undefined;</url>", "the entity \"undefined\""),
        ("<url>&#xffffffff;</url>", "the entity"),
        ("<url>http://a.example/</urk>", "not XML"),
        ("<url", "not XML"),
    ] {
        let error = Metalink::parse(around(file).as_bytes()).expect_err(file).to_string();
        assert!(error.contains(part), "{file}: {error}");
    }
    let twice = format!("<hash type='sha-256'>{0}</hash><hash type='sha-256'>{0}</hash>", "0".repeat(64));
    assert_eq!(fault(&around(&twice)), MetalinkFault::Twice("sha-256 hash".into()));
    assert_eq!(fault("<html xmlns='urn:ietf:params:xml:ns:metalink'/>"), MetalinkFault::NotAMetalink("html".into()));
    assert!(matches!(fault("<metalink><file name='a'/></metalink>"), MetalinkFault::NotAMetalink(_)));
    assert!(matches!(fault(""), MetalinkFault::NotAMetalink(_)));
    assert_eq!(fault("<metalink version='3.0' xmlns='http://www.metalinker.org/'/>"), MetalinkFault::Version3);
    assert_eq!(fault("<metalink xmlns='urn:ietf:params:xml:ns:metalink'/>"), MetalinkFault::NoFiles);
    let nameless = "<metalink xmlns='urn:ietf:params:xml:ns:metalink'><file/></metalink>";
    assert_eq!(fault(nameless), MetalinkFault::Missing("the name of a file"));
    assert_eq!(Metalink::parse(b"<\xff").unwrap_err().fault, MetalinkFault::NotUtf8);
}

#[test]
fn entities_are_never_expanded() {
    let bomb = "<!DOCTYPE m [<!ENTITY a 'ha'><!ENTITY b '&a;&a;'>]><metalink xmlns='urn:ietf:params:xml:ns:metalink'><file name='&b;'/></metalink>";
    assert_eq!(fault(bomb), MetalinkFault::DocType);
    let undefined = "<metalink xmlns='urn:ietf:params:xml:ns:metalink'><file name='&b;'/></metalink>";
    assert!(matches!(fault(undefined), MetalinkFault::Xml(_)));
}

#[test]
fn limits() {
    assert_eq!(fault(&around(&"<x>".repeat(Metalink::DEPTH_MAX))), MetalinkFault::Deep);
    let text = format!("<size>{}</size>", "1".repeat(Metalink::TEXT_MAX + 1));
    assert_eq!(fault(&around(&text)), MetalinkFault::LongText { what: "size" });
    let blanks = format!("<size>{}7{0}</size>", " ".repeat(2 * Metalink::TEXT_MAX));
    assert_eq!(Metalink::parse(around(&blanks).as_bytes()).unwrap().files[0].size, Some(7));
    let name =
        format!("<metalink xmlns='urn:ietf:params:xml:ns:metalink'><file name='{}'/></metalink>", "n".repeat(5000));
    assert_eq!(fault(&name), MetalinkFault::LongText { what: "an attribute" });
    let urls = "<url>http://a.example/</url>".repeat(Metalink::URLS_MAX + 5);
    let long = format!("<url>http://b.example/{}</url>", "x".repeat(Metalink::URL_LEN_MAX));
    let read = Metalink::parse(around(&format!("{long}{urls}")).as_bytes()).unwrap();
    assert_eq!(read.files[0].urls.len(), Metalink::URLS_MAX);
    assert!(read.files[0].urls.iter().all(|u| u.url == "http://a.example/"), "what is too long is left out");
    let hashes: String = (0..50).map(|i| format!("<hash type='h{i}'>0</hash>")).collect();
    let read = Metalink::parse(around(&hashes).as_bytes()).unwrap();
    assert_eq!(read.files[0].hashes.len(), Metalink::HASHES_MAX);
    let many = "<file name='a'/>".repeat(Metalink::FILES_MAX + 1);
    let many = format!("<metalink xmlns='urn:ietf:params:xml:ns:metalink'>{many}</metalink>");
    assert_eq!(fault(&many), MetalinkFault::ManyFiles);
    let long = vec![b' '; Metalink::BYTES_MAX + 1];
    assert_eq!(Metalink::parse(&long).unwrap_err().fault, MetalinkFault::Long { is: long.len() });
}

#[test]
fn plans_check_what_can_be_checked() {
    let body: Vec<u8> = (0..250u8).collect();
    let digests = |piece: &[u8]| (Sha1::digest(piece), Sha256::digest(piece));
    let (sha1, sha256): (Vec<_>, Vec<_>) = body.chunks(100).map(digests).unzip();
    let file = |hashes| MetalinkFile {
        path: "dir/a".into(),
        sha256: Some(Sha256::digest(&body)),
        pieces: Some(MetalinkPieces { length: 100, hashes }),
        ..MetalinkFile::default()
    };
    for file in [file(PieceHashes::Sha1(sha1.into())), file(PieceHashes::Sha256(sha256.into()))] {
        let plan = file.plan(250).unwrap();
        assert_eq!((file.folder(), plan.layout.name(), plan.layout.is_single()), (Some("dir"), "a", true));
        assert_eq!(plan.whole, Some(WholeDigest::Sha256(Sha256::digest(&body))));
        assert_eq!(plan.compares_whole(), plan.checks.sha256.is_none(), "SHA-1 alone is not enough");
        for (i, piece) in body.chunks(100).enumerate() {
            let check = |bytes: &[u8]| {
                let mut hasher = PieceHasher::new(&plan, PieceIndex(i as u32));
                hasher.update(bytes);
                hasher.finish(&plan, PieceIndex(i as u32))
            };
            assert!(check(piece) && !check(&vec![0; piece.len()]));
        }
        assert!(matches!(file.plan(301).unwrap_err().fault, MetalinkFault::Pieces { have: 3, .. }));
    }
    let sized = MetalinkFile { path: "a".into(), size: Some(9), sha1: Some([1; 20]), ..MetalinkFile::default() };
    assert_eq!(sized.plan(8).unwrap_err().fault, MetalinkFault::Size { should: 9, is: 8 });
    let plan = sized.plan(9).unwrap();
    assert!(plan.layout.is_single() && plan.checks == crate::Checks::default());
    assert_eq!(plan.whole, Some(WholeDigest::Sha1([1; 20])));
    let huge = MetalinkFile { path: "a".into(), ..MetalinkFile::default() };
    assert!(matches!(huge.plan(u64::MAX).unwrap_err().fault, MetalinkFault::Geometry(GeometryError::Pieces(_))));
    assert_eq!(huge.plan(0).unwrap().geometry.piece_count(), 0);
}

#[test]
fn dates() {
    for (seconds, date) in [
        (0, "1970-01-01T00:00:00Z"),
        (951_782_399, "2000-02-28T23:59:59Z"),
        (951_782_400, "2000-02-29T00:00:00Z"),
        (4_107_542_400, "2100-03-01T00:00:00Z"),
        (1_795_464_000, "2026-11-23T20:00:00Z"),
    ] {
        assert_eq!(super::date(seconds), date);
    }
}

fn files() -> impl Strategy<Value = MetalinkFile> {
    let url = "[a-z]{1,5}://[!-~é]{1,20}";
    let priority = || proptest::option::of(1u32..=999_999);
    let urls = (url, priority(), proptest::option::of("[a-z]{2}")).prop_map(|(url, priority, location)| MetalinkUrl {
        url,
        priority,
        location,
    });
    let torrents = (url, priority(), proptest::option::of("[!-~é]{1,9}"))
        .prop_map(|(url, priority, name)| MetalinkTorrent { url, priority, name });
    let pieces = (1u32..5000, proptest::collection::vec(any::<[u8; 20]>(), 0..4), any::<bool>()).prop_map(
        |(length, hashes, wide)| {
            let wider = |h: &[u8; 20]| std::array::from_fn(|i| h[i % 20]);
            let hashes = match wide {
                true => PieceHashes::Sha256(hashes.iter().map(wider).collect()),
                false => PieceHashes::Sha1(hashes.into()),
            };
            MetalinkPieces { length, hashes }
        },
    );
    let digests = (any::<Option<u64>>(), any::<Option<[u8; 32]>>(), any::<Option<[u8; 20]>>());
    let lists = (proptest::collection::vec(urls, 0..4), proptest::collection::vec(torrents, 0..3));
    ("[ -.0-~é]{1,12}(/[ -.0-~é]{1,12}){0,2}", digests, proptest::option::of(pieces), lists).prop_map(
        |(path, (size, sha256, sha1), pieces, (mut urls, mut torrents))| {
            urls.sort_by_key(|u| u.priority.unwrap_or(999_999));
            torrents.sort_by_key(|t| t.priority.unwrap_or(999_999));
            let size = match &pieces {
                Some(p) => size.and(Some(p.hashes.len() as u64 * u64::from(p.length))),
                None => size,
            };
            let hashes = vec![("md5".to_owned(), "0".repeat(32))];
            MetalinkFile { path, size, sha256, sha1, hashes, pieces, urls, torrents }
        },
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read(mut files in proptest::collection::vec(files(), 1..4), generator in proptest::option::of("[!-~<&é]{1,20}")) {
        // Paths as reading makes them: safe, and no two the same.
        let raw: Vec<Vec<&[u8]>> = files.iter().map(|f| f.path.split('/').map(str::as_bytes).collect()).collect();
        let safe = crate::metainfo::names::distinct(&raw, crate::metainfo::names::Rules::HERE);
        files.iter_mut().zip(safe).for_each(|(file, path)| file.path = path.join("/"));
        let metalink = Metalink { files, generator, published: Some(super::date(7)), origin: None };
        prop_assert_eq!(Metalink::parse(metalink.to_xml().as_bytes()), Ok(metalink));
    }

    #[test]
    fn nothing_panics(text in "(<|>|/|&|;|'|\"| |=|metalink|file|name|size|hash|pieces|length|xmlns|urn:ietf:params:xml:ns:metalink|[a-z0-9]|#|!\\[CDATA\\[|\\]\\]>|<!--|-->|\\?){0,60}") {
        let _ = Metalink::parse(text.as_bytes());
        let _ = Metalink::parse(around(&text).as_bytes());
    }
}
