//! What changes on disk, and what appears there.

use crate::common;
use crate::world::{Fake, NASTY, content, item, sha256, torrent, yard};
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use web::Serving;
use web::Site;
use web::Unmade;

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
