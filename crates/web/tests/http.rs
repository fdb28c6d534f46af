//! Real requests over loopback against a site that shares a folder and a file.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod common;

use base::metainfo::create::{Draft, Facts, Format, Source};
use base::{InfoHashes, Metainfo, Metalink, PieceHasher};
use common::Reply;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use web::{Allowed, Answer, Hashed, Item, Live, Mirror, MirrorRules, Mirrors, Serving, Site, Swarm, SwarmPeer, Unmade};

const NASTY: &str = "<b>&\"'.html";

struct Fake;

impl Live for Fake {
    fn swarm(&self, _: InfoHashes) -> Answer<'_, Option<Swarm>> {
        let peer = SwarmPeer {
            address: "192.0.2.77:5".into(),
            client: "<script>alert(1)</script>".into(),
            percent: 50.0,
            uploaded: 1,
            rate_up: 2,
        };
        Box::pin(async { Some(Swarm { uploaded: 1, rate_up: 2, peers: vec![peer] }) })
    }

    fn announce(&self, query: &str, from: SocketAddr) -> Answer<'_, Vec<u8>> {
        let answer = format!("announce {query} {}", from.ip()).into_bytes();
        Box::pin(async { answer })
    }

    fn scrape(&self, query: &str, _: SocketAddr) -> Answer<'_, Vec<u8>> {
        let answer = format!("scrape {query}").into_bytes();
        Box::pin(async { answer })
    }
}

/// What is shared, and where it is served.
struct Yard {
    dir: tempfile::TempDir,
    addr: SocketAddr,
    site: Arc<Site>,
}

fn content(n: u8, len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 ^ n).collect()
}

/// The torrent of these files, hashed in memory.
fn torrent(name: &str, files: &[(&str, Vec<u8>)], single: bool) -> Metainfo {
    let mut sorted: Vec<_> = files.to_vec();
    sorted.sort_by(|a, b| a.0.split('/').cmp(b.0.split('/')));
    let source = |(path, bytes): &(&str, Vec<u8>)| Source {
        path: path.split('/').map(|p| p.as_bytes().to_vec()).collect(),
        len: bytes.len() as u64,
        ..Source::default()
    };
    let facts = Facts {
        name: name.as_bytes().to_vec(),
        single,
        sources: sorted.iter().map(source).collect(),
        format: Format::V1,
        ..Facts::default()
    };
    let draft = Draft::new(facts).unwrap();
    let all: Vec<u8> = sorted.iter().flat_map(|(_, bytes)| bytes.clone()).collect();
    let plan = draft.plan();
    let digest = |piece| {
        let at = plan.geometry.piece_offset(piece) as usize;
        let mut hasher = PieceHasher::new(plan, piece);
        hasher.update(&all[at..at + plan.geometry.piece_len(piece) as usize]);
        hasher.digest(plan, piece)
    };
    draft.finish(&plan.geometry.pieces().map(digest).collect::<Vec<_>>()).unwrap()
}

fn item(name: &str, metainfo: &Metainfo, root: &Path) -> Item {
    let bytes = metainfo.encode().into();
    let files = metainfo.info.layout.content().map(|(_, file)| match metainfo.info.layout.is_single() {
        true => root.to_owned(),
        false => root.parent().unwrap().join(&file.path),
    });
    let files: Vec<_> = files.collect();
    let hashed = Hashed {
        files: files.iter().map(|path| std::fs::metadata(path).unwrap()).collect(),
        digests: files.iter().map(|path| hash::Sha256::digest(&std::fs::read(path).unwrap())).collect(),
    };
    Item::new(name.into(), metainfo, bytes, metainfo.magnet().to_string(), root, &hashed).unwrap()
}

async fn yard() -> Yard {
    let dir = tempfile::tempdir().unwrap();
    let files = [
        ("a.txt", content(1, 100)),
        ("sub/b b.bin", content(2, 2_000_000)),
        ("sub/empty", vec![]),
        (NASTY, content(3, 9)),
    ];
    for (path, bytes) in &files {
        let path = dir.path().join("tree").join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    std::fs::write(dir.path().join("one.bin"), content(4, 1000)).unwrap();
    std::fs::write(dir.path().join("secret"), "secret").unwrap();
    let site = Arc::new(Site::new(Arc::new(Fake), "http://h.example:1".into()));
    site.add(item("tree", &torrent("tree", &files, false), &dir.path().join("tree")));
    let one = torrent("one.bin", &[("one.bin", content(4, 1000))], true);
    site.add(item("one.bin", &one, &dir.path().join("one.bin")));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(web::serve(Serving::new(site.clone()), vec![listener], std::future::pending()));
    Yard { dir, addr, site }
}

impl Yard {
    async fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Reply {
        common::ask(self.addr, method, path, headers).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[]).await
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }
}

#[tokio::test]
async fn a_file_with_ranges_and_conditions() {
    let yard = yard().await;
    let whole = yard.get("/f/one.bin").await;
    assert_eq!((whole.status, &whole.body), (200, &content(4, 1000)));
    assert_eq!(whole.header("accept-ranges"), "bytes");
    assert_eq!(whole.header("content-type"), "application/octet-stream");
    let etag = whole.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.len() == 42, "{etag}");
    let head = yard.ask("HEAD", "/f/one.bin", &["Range: bytes=0-1"]).await;
    assert_eq!((head.status, head.header("content-length")), (200, "1000"), "ranges are for GET alone");
    assert_eq!(
        whole.header("link"),
        "</f/one.bin.torrent>; rel=describedby; type=\"application/x-bittorrent\", \
         </f/one.bin.meta4>; rel=describedby; type=\"application/metalink4+xml\""
    );

    let part = yard.ask("GET", "/f/one.bin", &["Range: bytes=990-2000", &format!("If-Range: {etag}")]).await;
    assert_eq!((part.status, part.header("content-range")), (206, "bytes 990-999/1000"));
    assert_eq!(part.body, content(4, 1000)[990..]);
    let stale = yard.ask("GET", "/f/one.bin", &["Range: bytes=990-", "If-Range: \"x\""]).await;
    assert_eq!((stale.status, stale.body.len()), (200, 1000));
    let beyond = yard.ask("GET", "/f/one.bin", &["Range: bytes=1000-"]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, "bytes */1000"));
    let several = yard.ask("GET", "/f/one.bin", &["Range: bytes=0-1,5-6"]).await;
    assert_eq!(several.status, 206);
    let boundary = several.header("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
    let part = |span: &str| {
        format!("--{boundary}\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes {span}/1000\r\n\r\n")
    };
    let (first, second) = (part("0-1").into_bytes(), part("5-6").into_bytes());
    let end = format!("\r\n--{boundary}--\r\n");
    let all = [&first[..], &content(4, 1000)[..2], b"\r\n", &second, &content(4, 1000)[5..7], end.as_bytes()];
    assert_eq!(several.body, all.concat());
    assert_eq!(several.header("content-length"), several.body.len().to_string());
    let known = yard.ask("GET", "/f/one.bin", &[&format!("If-None-Match: {etag}")]).await;
    assert_eq!((known.status, known.body.len(), known.header("etag")), (304, 0, &*etag));
    let other = yard.ask("GET", "/f/one.bin", &["If-Match: \"x\""]).await;
    assert_eq!(other.status, 412);
    let head = yard.ask("HEAD", "/f/one.bin", &[]).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "1000", 0));
    assert_eq!(yard.ask("POST", "/f/one.bin", &["Content-Length: 0"]).await.status, 405);
}

#[tokio::test]
async fn the_files_of_a_folder() {
    let yard = yard().await;
    let file = yard.get("/f/tree/sub/b%20b.bin").await;
    assert_eq!((file.status, file.body.len()), (200, 2_000_000));
    assert_eq!(file.body, content(2, 2_000_000));
    assert_eq!(file.header("content-disposition"), "inline; filename=\"b b.bin\"; filename*=UTF-8''b%20b.bin");
    let text = yard.get("/f/tree/a.txt").await;
    assert_eq!(text.header("content-type"), "text/plain; charset=utf-8");
    let empty = yard.get("/f/tree/sub/empty").await;
    assert_eq!((empty.status, empty.body.len()), (200, 0));
    let nasty = yard.get("/f/tree/%3Cb%3E&%22'.html?download").await;
    assert_eq!((nasty.status, nasty.body.len()), (200, 9));
    assert!(
        nasty
            .header("content-disposition")
            .starts_with("attachment; filename=\"<b>&_'.html\"; filename*=UTF-8''%3Cb%3E")
    );
    assert!(nasty.header("content-security-policy").starts_with("sandbox"));
}

#[tokio::test]
async fn a_folder_is_one_tar_stream() {
    let yard = yard().await;
    let whole = yard.get("/f/tree?download").await;
    assert_eq!((whole.status, whole.header("content-type")), (200, "application/x-tar"));
    assert!(whole.header("content-disposition").contains("attachment; filename=\"tree.tar\""));
    let tar = yard.path("x.tar");
    std::fs::write(&tar, &whole.body).unwrap();
    let out = yard.path("out");
    std::fs::create_dir(&out).unwrap();
    let status = std::process::Command::new("tar").arg("-xf").arg(&tar).arg("-C").arg(&out).status().unwrap();
    assert!(status.success());
    assert_eq!(std::fs::read(out.join("tree/sub/b b.bin")).unwrap(), content(2, 2_000_000));
    assert_eq!(std::fs::read(out.join("tree").join(NASTY)).unwrap(), content(3, 9));
    for (from, to) in [(0, 0), (500, 1_600), (1_000_000, 2_000_900), (whole.body.len() - 5, whole.body.len() - 1)] {
        let part = yard.ask("GET", "/f/tree", &[&format!("Range: bytes={from}-{to}")]).await;
        assert_eq!((part.status, &part.body[..]), (206, &whole.body[from..=to]));
        assert_eq!(part.header("etag"), whole.header("etag"));
    }
}

#[tokio::test]
async fn pages_are_for_browsers_and_escaped() {
    let yard = yard().await;
    const HTML: &[&str] = &["Accept: text/html,application/xhtml+xml,*/*;q=0.8"];
    let page = yard.ask("GET", "/f/tree", HTML).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    assert!(page.header("link").contains("</f/tree.torrent>"));
    let text = page.text();
    assert!(text.contains("http://h.example:1/f/tree") && text.contains("magnet:?xt=urn:btih:"), "{text}");
    assert!(!text.contains("<b>&") && !text.contains("<script>alert"), "{text}");
    assert!(text.contains("192.0.2.77:5"), "this machine sees whole addresses");
    assert!(yard.ask("GET", "/", HTML).await.text().contains("href=\"/f/one.bin\""));
    // Bytes for browsers too, if they say so; and whoever asks for a range wants bytes.
    assert_eq!(yard.ask("GET", "/f/one.bin?download", HTML).await.body.len(), 1000);
    assert_eq!(yard.ask("GET", "/f/one.bin", &[HTML[0], "Range: bytes=0-4"]).await.body.len(), 5);
    assert_eq!(yard.ask("GET", "/f/one.bin", &["Accept: text/html;q=0"]).await.body.len(), 1000);
    assert!(yard.get("/~/page.css").await.text().contains("prefers-color-scheme"));
    assert!(yard.get("/~/page.js").await.header("content-type").starts_with("text/javascript"));
    let peers = yard.get("/~/peers/tree").await;
    assert!(peers.text().contains("\"rate_up\":2") && peers.text().contains("\"servers\":[]"), "{}", peers.text());
    assert!(peers.text().contains("192.0.2.77"), "who is on this machine sees them");
    // Who comes through a server on this machine is not on it.
    for header in ["X-Forwarded-For: 127.0.0.1", "Forwarded: for=127.0.0.1", "X-Real-IP: 127.0.0.1", "Via: 1.1 front"] {
        for path in ["/~/peers/tree", "/f/tree"] {
            let seen = yard.ask("GET", path, &[header, "Accept: text/html"]).await;
            assert!(seen.status == 200 && !seen.text().contains("192.0.2.77"), "{header}: {}", seen.text());
        }
    }
    let mirror = Mirror { base: "http://m.example".into(), priority: None, location: None };
    yard.site.mirrored_by(Mirrors(vec![mirror]));
    let peers = yard.get("/~/peers/tree").await.text();
    assert!(peers.contains("\"servers\":[\"http://m.example/f/tree\"]"), "{peers}");
}

// RFC 9110 13.1.3: If-Modified-Since is ignored where no date is known
// RFC 9110 13.1.4: If-Unmodified-Since is ignored where no date is known
#[tokio::test]
async fn what_has_no_date() {
    let yard = yard().await;
    let torrent = yard.get("/f/tree.torrent").await;
    assert_eq!((torrent.status, torrent.header("last-modified")), (200, ""));
    for condition in
        ["If-Modified-Since: Tue, 31 Dec 2199 23:59:59 GMT", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT"]
    {
        assert_eq!(yard.ask("GET", "/f/tree.torrent", &[condition]).await.status, 200, "{condition}");
    }
}

// RFC 9110 13.1.5: If-Range is ignored where there are no ranges
#[tokio::test]
async fn what_has_no_ranges() {
    let yard = yard().await;
    let page = yard.ask("GET", "/~/page.css", &["Range: bytes=0-1", "If-Range: \"x\""]).await;
    assert_eq!((page.status, page.body.len() > 2), (200, true));
    let same = yard.ask("GET", "/~/page.css", &["Range: bytes=0-1"]).await;
    assert_eq!((same.status, same.body), (200, page.body));
}

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
async fn there_is_no_way_out() {
    let yard = yard().await;
    for path in [
        "/f/tree/../secret",
        "/f/tree/%2e%2e/secret",
        "/f/tree/..%2fsecret",
        "/f/tree/..%5csecret",
        "/f/tree/%252e%252e/secret",
        "/f/tree//a.txt",
        "/f/tree/./a.txt",
        "/f/tree/a.txt%00",
        "/f//etc/hostname",
        "/f/%2fetc%2fhostname",
        "/f/tree/sub",
        "/f/tree/sub/",
        "/f/one.bin/other",
        "/f/../secret",
        "/f/%ff",
        "/secret",
        "/~/peers/none",
    ] {
        assert_eq!(yard.get(path).await.status, 404, "{path}");
    }
}

/// The base64 of a SHA-256.
fn sha256(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::prelude::BASE64_STANDARD.encode(hash::Sha256::digest(bytes))
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

#[tokio::test]
async fn what_changed_loses_its_digests_until_they_are_made_anew() {
    let yard = yard().await;
    let etag = yard.get("/f/tree/a.txt").await.header("etag").to_owned();
    let body = content(7, 101);
    std::fs::write(yard.path("tree/a.txt"), &body).unwrap();
    let reply = yard.ask("GET", "/f/tree/a.txt", &[&format!("If-None-Match: {etag}")]).await;
    assert_eq!((reply.status, &reply.body), (200, &body), "the old tag confirms nothing");
    assert_ne!(reply.header("etag"), etag);
    for header in ["digest", "repr-digest", "link"] {
        assert_eq!(reply.header(header), "", "{header} speaks of other bytes");
    }
    for path in ["/f/tree.torrent", "/f/tree.meta4", "/f/tree"] {
        let reply = yard.get(path).await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, "2"), "{path}");
    }
    assert_eq!(yard.get("/f/tree/sub/b%20b.bin").await.body, content(2, 2_000_000));
    let page = yard.ask("GET", "/f/tree", &["Accept: text/html"]).await.text();
    assert!(page.contains("being made") && page.contains("refresh"), "{page}");
    assert!(yard.get("/").await.text().contains("being hashed"));
    assert_eq!(yard.get("/~/peers/tree").await.status, 404);
    // Whoever runs the site is told, and makes it anew.
    yard.site.work().await;
    let unmade = yard.site.unmade();
    assert_eq!((unmade.len(), &*unmade[0].name, &unmade[0].root), (1, "tree", &yard.path("tree")));
    let files =
        [("a.txt", body), ("sub/b b.bin", content(2, 2_000_000)), ("sub/empty", vec![]), (NASTY, content(3, 9))];
    yard.site.add(item("tree", &torrent("tree", &files, false), &yard.path("tree")));
    assert_eq!(yard.get("/f/tree.torrent").await.status, 200);
    assert_eq!(yard.get("/f/tree/a.txt").await.header("digest"), format!("SHA-256={}", sha256(&files[0].1)));
    assert!(yard.site.unmade().is_empty());
    // A link put in its place that leads out of the folder.
    std::fs::remove_file(yard.path("tree/a.txt")).unwrap();
    std::os::unix::fs::symlink("../secret", yard.path("tree/a.txt")).unwrap();
    let reply = yard.get("/f/tree/a.txt").await;
    assert!(reply.status >= 400 && !reply.text().contains("secret"), "{}", reply.text());
}

#[tokio::test]
async fn each_way_to_ask_notices_a_change() {
    for path in ["/f/one.bin.torrent", "/f/one.bin.meta4", "/f/one.bin"] {
        let yard = yard().await;
        // The same length, and the time of writing put back.
        let file = std::fs::File::options().write(true).open(yard.path("one.bin")).unwrap();
        let written = file.metadata().unwrap().modified().unwrap();
        std::fs::write(yard.path("one.bin"), content(9, 1000)).unwrap();
        file.set_modified(written - std::time::Duration::from_secs(1)).unwrap();
        file.set_modified(written).unwrap();
        let reply = yard.get(path).await;
        match path {
            "/f/one.bin" => assert_eq!((reply.header("digest"), &reply.body), ("", &content(9, 1000))),
            _ => assert_eq!(reply.status, 503, "{path}"),
        }
        assert_eq!(yard.site.unmade().len(), 1);
    }
}

#[tokio::test]
async fn what_changes_while_it_is_sent_breaks_off() {
    // More than the buffers of a connection hold.
    const LEN: usize = 16 << 20;
    for path in ["/f/big.bin", "/f/wood"] {
        let yard = yard().await;
        let bytes = content(5, LEN);
        std::fs::create_dir(yard.path("wood")).unwrap();
        for path in ["big.bin", "wood/tree"] {
            std::fs::write(yard.path(path), &bytes).unwrap();
        }
        let big = torrent("big.bin", &[("big.bin", bytes.clone())], true);
        yard.site.add(item("big.bin", &big, &yard.path("big.bin")));
        let wood = torrent("wood", &[("tree", bytes.clone())], false);
        yard.site.add(item("wood", &wood, &yard.path("wood")));
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(64 << 10).unwrap();
        let mut client = socket.connect(yard.addr).await.unwrap();
        client.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await.unwrap();
        let mut got = vec![0; 1 << 16];
        client.read_exact(&mut got).await.unwrap();
        for path in ["big.bin", "wood/tree"] {
            let file = std::fs::File::options().write(true).open(yard.path(path)).unwrap();
            std::os::unix::fs::FileExt::write_all_at(&file, &vec![0xff; 1 << 20], LEN as u64 - (1 << 20)).unwrap();
        }
        // It ends, too early, however it does so.
        let _ = client.read_to_end(&mut got).await;
        assert!(got.len() < LEN && got.starts_with(b"HTTP/1.1 200"), "{path}: {} bytes", got.len());
        assert!(!got.ends_with(&[0xff; 16]), "{path}");
    }
}

#[tokio::test]
async fn what_has_no_torrent_yet_is_given_as_it_is() {
    let yard = yard().await;
    for (name, single) in [("one.bin", true), ("tree", false)] {
        yard.site.remove(name);
        yard.site.begin(Unmade { name: name.into(), root: yard.path(name), single, leave_hidden: true });
    }
    std::fs::write(yard.path("tree/.hidden"), "x").unwrap();
    assert_eq!(yard.get("/f/tree/.hidden").await.status, 404);
    let part = yard.ask("GET", "/f/one.bin", &["Range: bytes=5-9"]).await;
    assert_eq!((part.status, &part.body[..], part.header("link")), (206, &content(4, 1000)[5..10], ""));
    assert_eq!(yard.get("/f/tree/sub/b%20b.bin").await.body, content(2, 2_000_000));
    for path in
        ["/f/tree/../secret", "/f/tree/%2e%2e/secret", "/f/tree//a.txt", "/f/tree/sub", "/f/tree/", "/f/tree/no"]
    {
        assert_eq!(yard.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn what_a_finder_finds_is_shared_when_it_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("late.txt"), "late").unwrap();
    let root = dir.path().to_owned();
    let finder: web::Finder = Arc::new(move |name| Some(root.join(name)).filter(|_| name == "late.txt"));
    let site = Arc::new(Site::new(Arc::new(Fake), "http://h.example".into()).with_finder(finder));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let handler = web::WithSite { site: Some(site.clone()), handler: Elsewhere };
    tokio::spawn(web::serve(Serving::new(handler), vec![listener], std::future::pending()));
    let get = |path: &'static str| common::ask(addr, "GET", path, &[]);
    assert_eq!(get("/f/none").await.status, 404);
    assert!(!site.knows("late.txt") && site.unmade().is_empty());
    assert_eq!(get("/f/late.txt.meta4").await.status, 503);
    assert_eq!(get("/f/late.txt").await.text(), "late");
    site.work().await;
    assert_eq!((site.unmade().len(), site.knows("late.txt")), (1, true));
    for (path, here) in
        [("/", false), ("/x", false), ("/fx", false), ("/f/", true), ("/announce?x", true), ("/~/page.css", true)]
    {
        assert_eq!(get(path).await.text() != "elsewhere", here, "{path}");
    }
    let missing = get("/f/none").await.text();
    assert!(missing.contains("/f/ lists what is"), "{missing}");
}

#[tokio::test]
async fn the_first_listing_names_what_is_shared_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("sub")).unwrap();
    let site = Arc::new(Site::new(Arc::new(Fake), "http://h.example".into()));
    let folder = web::Folder::new(dir.path(), web::FolderOptions::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let handler = web::WithSite { site: Some(site.clone()), handler: folder };
    tokio::spawn(web::serve(Serving::new(handler), vec![listener], std::future::pending()));
    let links = async |path: &'static str| common::ask(addr, "GET", path, &[]).await.text().contains("href=\"/f/\"");
    assert!(!links("/").await, "nothing is shared");
    site.begin(Unmade { name: "sub".into(), root: dir.path().join("sub"), single: false, leave_hidden: true });
    assert!(links("/").await && !links("/sub/").await);
}

struct Elsewhere;

impl web::Handler for Elsewhere {
    async fn answer(&self, _: axum::extract::Request, _: SocketAddr) -> axum::response::Response {
        axum::response::Response::new("elsewhere".into())
    }
}

#[tokio::test]
async fn names_are_unique() {
    let yard = yard().await;
    for (wanted, free) in [
        ("tree", "tree-2"),
        ("one.bin", "one-2.bin"),
        ("new", "new"),
        ("tree.torrent", "tree-2.torrent"),
        ("tree.meta4", "tree-2.meta4"),
        (".hidden", ".hidden"),
    ] {
        assert_eq!(yard.site.free_name(wanted), free);
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused() {
    let yard = yard().await;
    let mut stream = TcpStream::connect(yard.addr).await.unwrap();
    let mut refused = stream.write_all(b"GET / HTTP/1.1\r\n").await.is_err();
    for _ in 0..100 {
        refused |= stream.write_all(&[b'x'; 4096]).await.is_err();
    }
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert!(refused || answer.starts_with(b"HTTP/1.1 4"), "{}", String::from_utf8_lossy(&answer));
}
