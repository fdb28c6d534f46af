//! What describes the bytes: torrents, digests, Metalinks, mirrors, web seeds.

use crate::common;
use crate::world::{Fake, NASTY, content, item, sha256, yard};
use base::Metainfo;
use base::Metalink;
use base::PieceHasher;
use base::metainfo::create::Draft;
use base::metainfo::create::Facts;
use base::metainfo::create::Format;
use base::metainfo::create::Source;
use std::sync::Arc;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use web::Allowed;
use web::Mirror;
use web::MirrorRules;
use web::Mirrors;
use web::Serving;
use web::Site;

#[tokio::test]
async fn torrents_and_the_tracker() {
    let yard = yard().await;
    let reply = yard.get("/f/tree.torrent").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/x-bittorrent"));
    assert_eq!(Metainfo::parse(&reply.body).unwrap().info.layout.name(), "tree");
    assert_eq!(yard.get("/announce?info_hash=%00x").await.text(), "announce info_hash=%00x 127.0.0.1");
    assert_eq!(yard.get("/scrape?a").await.text(), "scrape a");
}

#[tokio::test]
async fn digests_are_of_the_whole() {
    let yard = yard().await;
    let text = sha256(&content(4, 1000));
    for (method, range, status) in [("GET", None, 200), ("HEAD", None, 200), ("GET", Some("Range: bytes=5-9"), 206)] {
        let reply = yard.ask(method, "/f/one.bin", &Vec::from_iter(range)).await;
        assert_eq!(reply.status, status);
        assert_eq!(reply.header("digest"), format!("SHA-256={text}"));
        assert_eq!(reply.header("repr-digest"), format!("sha-256=:{text}:"));
    }
    let several = yard.ask("GET", "/f/one.bin", &["Range: bytes=0-1,5-6"]).await;
    assert_eq!(several.header("digest"), format!("SHA-256={text}"));
    let member = yard.get("/f/tree/sub/b%20b.bin").await;
    assert_eq!(member.header("digest"), format!("SHA-256={}", sha256(&content(2, 2_000_000))));
    let link = "</f/tree.torrent>; rel=describedby; type=\"application/x-bittorrent\"; name=\"sub/b b.bin\"";
    assert_eq!(member.header("link"), link, "the Metalink is of the whole folder");
    for (path, headers, status) in
        [("/f/one.bin", "Range: bytes=1000-", 416), ("/f/one.bin", "If-Match: \"x\"", 412), ("/f/tree", "X: y", 200)]
    {
        let reply = yard.ask("GET", path, &[headers]).await;
        assert_eq!((reply.status, reply.header("digest"), reply.header("repr-digest")), (status, "", ""), "{path}");
    }
}

#[tokio::test]
async fn a_metalink_says_the_same_as_the_torrent() {
    let yard = yard().await;
    let reply = yard.get("/f/one.bin.meta4").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "application/metalink4+xml"));
    let [file] = &Metalink::parse(&reply.body).unwrap().files[..] else { panic!("one file") };
    assert_eq!((&*file.path, file.size), ("one.bin", Some(1000)));
    assert_eq!(file.sha256, Some(hash::Sha256::digest(&content(4, 1000))));
    let torrent = Metainfo::parse(&yard.get("/f/one.bin.torrent").await.body).unwrap().plan().unwrap();
    assert_eq!(file.plan(1000).unwrap().checks, torrent.checks, "the same pieces");
    assert_eq!(file.urls[0].url, "http://h.example:1/f/one.bin");
    assert_eq!(file.torrents[0].url, "http://h.example:1/f/one.bin.torrent");
    let known = yard.ask("GET", "/f/one.bin.meta4", &[&format!("If-None-Match: {}", reply.header("etag"))]).await;
    assert_eq!(known.status, 304);

    let mirror = Mirror { base: "http://m.example".into(), priority: Some(1), location: Some("de".into()) };
    yard.site.mirrored_by(Mirrors(vec![mirror]));
    let folder = Metalink::parse(&yard.get("/f/tree.meta4").await.body).unwrap();
    let paths: Vec<_> = folder.files.iter().map(|f| (&*f.path, f.size)).collect();
    let all =
        [(&*format!("tree/{NASTY}"), 9), ("tree/a.txt", 100), ("tree/sub/b b.bin", 2_000_000), ("tree/sub/empty", 0)];
    assert_eq!(paths, all.map(|(path, size)| (path, Some(size))));
    let big = &folder.files[2];
    let urls: Vec<_> = big.urls.iter().map(|u| (&*u.url, u.priority)).collect();
    let both = [("http://m.example/f/tree/sub/b%20b.bin", Some(1)), ("http://h.example:1/f/tree/sub/b%20b.bin", None)];
    assert_eq!(urls, both);
    assert_eq!(big.torrents[0].name.as_deref(), Some("tree/sub/b b.bin"), "as aria2 looks for it");
    assert_eq!((big.sha256, &big.pieces), (Some(hash::Sha256::digest(&content(2, 2_000_000))), &None));
    let links = yard.get("/f/tree/a.txt").await;
    assert!(links.header("link").ends_with(", <http://m.example/f/tree/a.txt>; rel=duplicate; pri=1; geo=de"));
    let changed = yard.ask("GET", "/f/one.bin.meta4", &[&format!("If-None-Match: {}", reply.header("etag"))]).await;
    assert_eq!(changed.status, 200, "it names a mirror more");
}

#[tokio::test]
async fn what_mirrors_say_is_judged() {
    let yard = yard().await;
    let near = MirrorRules { allowed: Allowed::Near, ..MirrorRules::default() };
    let site = Arc::new(Site::new(Arc::new(Fake), "http://h.example:1".into()).with_mirrors(near));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = listener.local_addr().unwrap();
    tokio::spawn(web::serve(Serving::new(site), vec![listener], std::future::pending()));
    const HEAD: &str = "POST /~/mirrors HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let post = async |body: &[u8]| {
        let head = format!("{HEAD}Content-Length: {}\r\n\r\n", body.len());
        common::raw(open, &[head.as_bytes(), body].concat()).await
    };
    for broken in [&b""[..], b"{", b"[]", b"{\"url\":5}", b"\xff\xfe", b"{\"url\":\"http://m\",\"items\":{\"a\":1}}"] {
        assert_eq!(post(broken).await.status, 400, "{}", String::from_utf8_lossy(broken));
    }
    assert_eq!(post(b"{\"url\":\"http://127.0.0.1:1\",\"items\":{}}").await.status, 200);
    let through = format!("{HEAD}X-Forwarded-For: 127.0.0.1\r\nContent-Length: 1000\r\n\r\n");
    assert_eq!(common::raw(open, through.as_bytes()).await.status, 403, "nobody knows who that is");
    // Nobody may, unless somebody says so, and hears of it before the body comes.
    let reply = common::raw(yard.addr, format!("{HEAD}Content-Length: 1000\r\n\r\n").as_bytes()).await;
    assert!(reply.status == 403 && reply.text().contains("--mirrors"), "{}", reply.text());
    // Those who say that they will register and do not keep few places.
    let mut idle = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let mut stream = TcpStream::connect(open).await.unwrap();
        stream.write_all(format!("{HEAD}Content-Length: 1000\r\n\r\n{{").as_bytes()).await.unwrap();
        idle.spawn(async move {
            let mut status = [0; 12];
            stream.read_exact(&mut status).await.map(|_| status)
        });
    }
    // All but 16 hear so at once; who has a place hears nothing until its time is over, which is another answer.
    for _ in 0..34 {
        assert_eq!(&idle.join_next().await.unwrap().unwrap().unwrap(), b"HTTP/1.1 503");
    }
    assert_eq!(post(b"{}").await.status, 503);
    drop(idle);
    for (method, path, status, allow) in [
        ("GET", "/~/mirrors", 405, "POST"),
        ("POST", "/~/items", 405, "GET, HEAD, OPTIONS"),
        ("OPTIONS", "/f/one.bin", 204, "GET, HEAD, OPTIONS"),
        ("BREW", "/f/one.bin", 501, ""),
    ] {
        let refused = yard.ask(method, path, &[]).await;
        assert_eq!((refused.status, refused.header("allow")), (status, allow), "{method} {path}");
    }
    let list: Vec<web::Facts> = serde_json::from_slice(&yard.get("/~/items").await.body).unwrap();
    let [one, tree] = &list[..] else { panic!("{list:?}") };
    assert_eq!((&*one.name, one.bytes, one.single, one.files), ("one.bin", 1000, true, 1));
    assert_eq!(yard.get("/f/one.bin").await.header("etag"), format!("\"{}\"", one.tag));
    assert_eq!((&*tree.name, tree.single, tree.files), ("tree", false, 4));
    assert_eq!(yard.get("/f/one.bin?here").await.body, content(4, 1000));
}

#[tokio::test]
async fn web_seeds_lead_to_the_files() {
    let yard = yard().await;
    let layout = |path: &str| {
        let yard = &yard;
        let path = path.to_owned();
        async move { Metainfo::parse(&yard.get(&path).await.body).unwrap().info.layout }
    };
    let (one, tree) = (layout("/f/one.bin.torrent").await, layout("/f/tree.torrent").await);
    assert_eq!(yard.site.web_seed("one.bin", &one), "http://h.example:1/f/one.bin");
    assert_eq!(yard.site.web_seed("tree", &tree), "http://h.example:1/f/");
    assert_eq!(yard.site.web_seed("t 2", &tree), "http://h.example:1/~/seed/t%202/");
    assert_eq!(yard.get("/~/seed/tree/whatever/sub/b%20b.bin").await.body, content(2, 2_000_000));
    assert_eq!(yard.get("/f/one.bin/one.bin").await.body, content(4, 1000), "as libtorrent asks for v2");
    for path in ["/~/seed/tree", "/~/seed/tree/a.txt", "/~/seed/none/x/a.txt", "/~/seed/tree/x/../../secret"] {
        assert_eq!(yard.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn padding_is_zeros() {
    let yard = yard().await;
    let source = |path: &str, len| Source { path: vec![path.as_bytes().to_vec()], len, ..Source::default() };
    let facts = Facts {
        name: b"padded".to_vec(),
        sources: vec![source("a", 10_000), source("b", 5)],
        format: Format::Hybrid,
        piece_length: Some(16_384),
        ..Facts::default()
    };
    let draft = Draft::new(facts).unwrap();
    let hash = |piece| {
        let mut hasher = PieceHasher::new(draft.plan(), piece);
        hasher.update(&vec![0; draft.plan().geometry.piece_len(piece) as usize]);
        hasher.digest(draft.plan(), piece)
    };
    let digests: Vec<_> = draft.plan().geometry.pieces().map(hash).collect();
    std::fs::create_dir(yard.path("padded")).unwrap();
    std::fs::write(yard.path("padded/a"), content(1, 10_000)).unwrap();
    std::fs::write(yard.path("padded/b"), content(1, 5)).unwrap();
    yard.site.add(item("padded", &draft.finish(&digests).unwrap(), &yard.path("padded")));
    let pad = yard.get("/f/padded/.pad/6384").await;
    assert_eq!((pad.status, pad.body), (200, vec![0; 6384]));
    let part = yard.ask("GET", "/f/padded/.pad/6384", &["Range: bytes=6380-"]).await;
    assert_eq!((part.status, part.body), (206, vec![0; 4]));
    for path in ["/f/padded/.pad/6383", "/f/padded/.pad/", "/f/padded/.pad/99999999999999999", "/f/tree/.pad/6384"] {
        assert_eq!(yard.get(path).await.status, 404, "{path}");
    }
}
