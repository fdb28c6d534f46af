//! The bytes of a file, of a folder and of its files; pages; and no way out.

use crate::world::{NASTY, content, yard};
use tokio::io::AsyncReadExt as _;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use web::Mirror;
use web::Mirrors;

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
