//! Real requests over loopback against a folder.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod common;

use common::Reply;
use std::net::SocketAddr;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use web::{AccessLog, Folder, FolderOptions, Limits, Serving};

struct Yard {
    dir: tempfile::TempDir,
    addr: SocketAddr,
}

impl Yard {
    async fn new(options: FolderOptions) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &[u8]| {
            let path = dir.path().join("www").join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        put("a.txt", b"hello");
        put("big.bin", &big());
        put("site/index.html", b"<p>index");
        put("sub/b <i>&.txt", b"b");
        put("sub/a:c", b"colon");
        put("sub/deep/x", b"x");
        put("empty", b"");
        put("style.css", b"identity");
        put("style.css.gz", b"gz form");
        put("style.css.br", b"br form");
        put(".secret/key", b"secret");
        put(".env", b"secret");
        put(".well-known/x", b"known");
        put("\u{e9} \u{4e16}.html", b"names");
        std::fs::write(dir.path().join("outside"), "secret").unwrap();
        let www = dir.path().join("www");
        symlink("../outside", www.join("out")).unwrap();
        symlink("/etc", www.join("etc")).unwrap();
        symlink("a.txt", www.join("in")).unwrap();
        symlink("loop", www.join("loop")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            www.join("pipe"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from(0o644),
            0,
        )
        .unwrap();
        let log = std::fs::File::create(dir.path().join("log")).unwrap();
        let log = Some(Arc::new(AccessLog::new(log, false).unwrap()));
        let limits = Limits { head_time: Duration::from_secs(2), ..Limits::default() };
        let serving = Serving { handler: Folder::new(&www, options).unwrap(), limits, log };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(web::serve(serving, vec![listener], std::future::pending()));
        Yard { dir, addr }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Reply {
        common::ask(self.addr, method, path, headers).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[]).await
    }
}

fn big() -> Vec<u8> {
    (0..3_000_000u32).map(|i| (i % 251) as u8).collect()
}

#[tokio::test]
async fn files_with_their_headers() {
    let yard = Yard::new(FolderOptions::default()).await;
    let file = yard.get("/a.txt").await;
    assert_eq!((file.status, &file.text()[..]), (200, "hello"));
    assert_eq!(file.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(file.header("content-length"), "5");
    assert_eq!(file.header("accept-ranges"), "bytes");
    assert!(file.header("date").ends_with(" GMT") && file.header("last-modified").ends_with(" GMT"));
    let etag = file.header("etag").to_owned();
    assert!(etag.starts_with('"') && etag.len() > 10, "strong: {etag}");
    assert_eq!(yard.ask("GET", "/a.txt", &[&format!("If-None-Match: {etag}")]).await.status, 304);
    let head = yard.ask("HEAD", "/big.bin", &[]).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "3000000", 0));
    assert!(yard.get("/big.bin").await.body == big());
    assert_eq!(yard.ask("HEAD", "/big.bin", &["Range: bytes=0-9"]).await.status, 200, "ranges are for GET");
    let part = yard.ask("GET", "/big.bin", &["Range: bytes=1000000-2999999"]).await;
    assert!(part.status == 206 && part.body == big()[1_000_000..]);
    let several = yard.ask("GET", "/big.bin", &["Range: bytes=0-9,-10"]).await;
    assert!(several.status == 206 && several.header("content-type").starts_with("multipart/byteranges"));
    assert_eq!(yard.ask("GET", "/empty", &["Range: bytes=0-"]).await.status, 416);
    assert_eq!((yard.get("/empty").await.status, yard.get("/empty").await.body.len()), (200, 0));
    assert_eq!(yard.get("/%C3%A9%20%E4%B8%96.html").await.text(), "names");
    assert_eq!(yard.get("/in").await.text(), "hello", "a link within the folder");
    assert_eq!(yard.get("/.well-known/x").await.text(), "known");
    // What is written anew has another name.
    std::fs::write(yard.dir.path().join("www/a.txt"), "other").unwrap();
    let new = yard.ask("GET", "/a.txt", &[&format!("If-None-Match: {etag}")]).await;
    assert!(new.status == 200 && new.text() == "other" && new.header("etag") != etag);
}

#[tokio::test]
async fn requests_are_written_down() {
    let yard = Yard::new(FolderOptions::default()).await;
    yard.get("/a.txt?x=1").await;
    yard.ask("HEAD", "/a.txt", &[]).await;
    yard.get("/big.bin").await;
    yard.get("/missing").await;
    let wanted = [
        "\"GET /a.txt?x=1 HTTP/1.1\" 200 5",
        "\"HEAD /a.txt HTTP/1.1\" 200 -",
        "\"GET /big.bin HTTP/1.1\" 200 3000000",
        "\"GET /missing HTTP/1.1\" 404 36",
    ];
    let mut log = String::new();
    for _ in 0..500 {
        log = std::fs::read_to_string(yard.dir.path().join("log")).unwrap();
        if log.lines().count() == wanted.len() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let lines: Vec<_> = log.lines().collect();
    assert_eq!(lines.len(), wanted.len(), "{log}");
    for (line, want) in lines.iter().zip(wanted) {
        assert!(line.starts_with("127.0.0.0 - - [") && line.ends_with(want), "{line} should end with {want}");
    }
}

// RFC 9112 9.5: who is let go is let go in order
#[tokio::test]
async fn who_says_nothing_is_let_go() {
    use tokio::io::AsyncReadExt as _;
    let yard = Yard::new(FolderOptions::default()).await;
    let mut silent = tokio::net::TcpStream::connect(yard.addr).await.unwrap();
    let mut slow = tokio::net::TcpStream::connect(yard.addr).await.unwrap();
    tokio::io::AsyncWriteExt::write_all(&mut slow, b"GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ").await.unwrap();
    for stream in [&mut silent, &mut slow] {
        let mut answer = Vec::new();
        let end = tokio::time::timeout(Duration::from_secs(20), stream.read_to_end(&mut answer)).await;
        assert!(end.is_ok(), "still open");
    }
    let head = format!("GET / HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "x".repeat(1_000_000));
    assert_eq!(common::raw(yard.addr, head.as_bytes()).await.status, 431);
}

#[tokio::test]
async fn methods() {
    let yard = Yard::new(FolderOptions::default()).await;
    for (method, path, status) in [
        ("OPTIONS", "/a.txt", 204),
        ("OPTIONS", "*", 204),
        ("POST", "/a.txt", 405),
        ("PUT", "/n", 405),
        ("DELETE", "/a.txt", 405),
    ] {
        let answer = yard.ask(method, path, &[]).await;
        assert_eq!((answer.status, answer.header("allow")), (status, "GET, HEAD, OPTIONS"), "{method} {path}");
    }
    assert_eq!(yard.ask("BREW", "/a.txt", &[]).await.status, 501);
    assert!(Path::exists(&yard.dir.path().join("www/a.txt")));
}

#[tokio::test]
async fn folders_have_an_index_or_a_listing() {
    let yard = Yard::new(FolderOptions::default()).await;
    assert_eq!(yard.get("/site/").await.text(), "<p>index");
    let moved = yard.get("/site?x=1").await;
    assert_eq!((moved.status, moved.header("location")), (301, "/site/?x=1"));
    assert_eq!(yard.get("/site?x=%C3%A9").await.header("location"), "/site/?x=%C3%A9");
    assert_eq!(
        common::raw(yard.addr, "GET /site?x=\u{e9} HTTP/1.0\r\n\r\n".as_bytes()).await.header("location"),
        "/site/?x=%C3%A9"
    );
    assert_eq!(yard.get("//sub").await.header("location"), "/sub/", "never another host");
    let page = yard.ask("GET", "/sub/", &["Accept: text/html"]).await;
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let text = page.text();
    assert!(text.contains("href=\"./b%20%3Ci%3E%26.txt\"") && !text.contains("<i>"), "escaped: {text}");
    assert!(text.contains("href=\"./a:c\"") && text.contains("href=\"./deep/\"") && text.contains("href=\"../\""));
    assert!(page.header("content-security-policy").contains("default-src 'none'"));
    assert!(yard.get("/.shoal/page.css").await.text().contains("body"));
    let list = yard.ask("GET", "/", &["Accept: application/json"]).await;
    let list: serde_json::Value = serde_json::from_slice(&list.body).unwrap();
    let names: Vec<_> = list["entries"].as_array().unwrap().iter().map(|e| e["name"].as_str().unwrap()).collect();
    let want = [
        "site",
        "sub",
        "a.txt",
        "big.bin",
        "empty",
        "in",
        "style.css",
        "style.css.br",
        "style.css.gz",
        "\u{e9} \u{4e16}.html",
    ];
    assert_eq!(names, want, "neither what is hidden, nor what leads out, nor pipes");
    // Who copies a site follows links alone, so each listing comes once.
    assert!(!text.contains("?sort") && !text.contains("/f/"), "{text}");
    assert!(text.contains("<form id=\"sort\">") && text.contains("name=\"sort\" value=\"size\""), "{text}");
    assert!(page.header("content-security-policy").contains("form-action 'self'"), "or browsers send none of them");
    let turned = yard.get("/sub/?sort=size").await.text();
    assert!(turned.contains("value=\"-size\"") && turned.contains("value=\"time\""), "{turned}");
    assert_eq!(yard.get("/?sort=-size").await.text(), yard.get("/?sort=size&order=desc").await.text());
    let biggest = yard.get("/?sort=-size&format=json").await;
    let biggest: serde_json::Value = serde_json::from_slice(&biggest.body).unwrap();
    assert_eq!(
        (&biggest["entries"][2]["name"], &biggest["entries"][2]["bytes"]),
        (&"big.bin".into(), &3_000_000.into())
    );
    assert_eq!(biggest["entries"][0]["type"], "folder");

    let closed = Yard::new(FolderOptions { listing: false, ..FolderOptions::default() }).await;
    assert_eq!((closed.get("/").await.status, closed.get("/site/").await.status), (403, 200));
}

#[tokio::test]
async fn forms_that_are_compressed_already() {
    let yard = Yard::new(FolderOptions::default()).await;
    let ask = async |accept: &str| yard.ask("GET", "/style.css", &[&format!("Accept-Encoding: {accept}")]).await;
    let plain = yard.get("/style.css").await;
    assert_eq!(
        (&plain.text()[..], plain.header("content-encoding"), plain.header("vary")),
        ("identity", "", "accept-encoding")
    );
    let gz = ask("gzip").await;
    assert_eq!((&gz.text()[..], gz.header("content-encoding")), ("gz form", "gzip"));
    assert_eq!((gz.header("content-type"), gz.header("vary")), ("text/css; charset=utf-8", "accept-encoding"));
    assert_ne!(gz.header("etag"), plain.header("etag"));
    let br = ask("gzip, br, zstd").await;
    assert_eq!((&br.text()[..], br.header("content-encoding")), ("br form", "br"));
    assert_eq!(ask("gzip;q=0").await.text(), "identity");
    let part = yard.ask("GET", "/style.css", &["Accept-Encoding: gzip", "Range: bytes=0-1"]).await;
    assert_eq!((part.status, &part.text()[..]), (206, "id"));
    // A form that is older than the file is of another file.
    let old = std::time::SystemTime::now() - std::time::Duration::from_secs(100);
    std::fs::File::open(yard.dir.path().join("www/style.css.br")).unwrap().set_modified(old).unwrap();
    assert_eq!(ask("br").await.text(), "identity");
}

#[tokio::test]
async fn files_that_clients_write() {
    use tokio::io::AsyncWriteExt as _;
    let yard = Yard::new(FolderOptions { write: Some(100_000), ..FolderOptions::default() }).await;
    let put = async |path: &str, headers: &str, body: &str| {
        let request = format!(
            "PUT {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        common::raw(yard.addr, request.as_bytes()).await
    };
    let new = put("/new/deep/n%20n.txt", "", "first").await;
    assert_eq!(new.status, 201);
    assert_eq!(yard.get("/new/deep/n%20n.txt").await.header("etag"), new.header("etag"));
    let again = put("/new/deep/n%20n.txt", "", "second").await;
    assert_eq!((again.status, &yard.get("/new/deep/n%20n.txt").await.text()[..]), (204, "second"));
    assert_eq!(put("/a.txt", "If-None-Match: *\r\n", "x").await.status, 412);
    assert_eq!(put("/a.txt", &format!("If-Match: {}\r\n", new.header("etag")), "x").await.status, 412);
    assert_eq!(put("/a.txt", "If-Match: \"\u{e9}\"\r\n", "x").await.status, 412, "no text, and yet a condition");
    assert_eq!(put("/a.txt", "If-None-Match: \"x\"\r\nIf-None-Match: *\r\n", "x").await.status, 412, "all lines count");
    assert_eq!(put("/made/for/nothing", "If-Match: *\r\n", "x").await.status, 412);
    assert_eq!(yard.get("/made/").await.status, 404);
    assert_eq!(put("/none", "If-Match: *\r\n", "x").await.status, 412);
    assert_eq!(yard.get("/a.txt").await.text(), "hello");
    let tag = yard.get("/a.txt").await.header("etag").to_owned();
    assert_eq!(put("/a.txt", &format!("If-Match: {tag}\r\n"), "mine").await.status, 204);
    for (path, headers, status) in [
        ("/sub/", "", 409),
        ("/sub", "", 409),
        ("/", "", 409),
        ("/a.txt/b", "", 409),
        ("/.hidden", "", 403),
        ("/x/.git/config", "", 403),
        ("/../evil", "", 403),
        ("/%2e%2e/evil", "", 403),
        ("/etc/evil", "", 409),
        ("/part", "Content-Range: bytes 0-0/5\r\n", 400),
    ] {
        assert_eq!(put(path, headers, "x").await.status, status, "{path}");
    }
    assert_eq!(put("/big", "", &"x".repeat(100_001)).await.status, 413);
    let chunked = format!(
        "PUT /big HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n{:x}\r\n{}\r\n0\r\n\r\n",
        100_001,
        "x".repeat(100_001)
    );
    assert_eq!(common::raw(yard.addr, chunked.as_bytes()).await.status, 413);
    assert_eq!(put("/out", "", "x").await.status, 204, "the link itself is replaced");
    assert_eq!(std::fs::read_to_string(yard.dir.path().join("outside")).unwrap(), "secret");
    // A link that leads to a file of the folder is that file to whoever reads it, and can be replaced by whoever has read that.
    std::os::unix::fs::symlink("deep/x", yard.dir.path().join("www/sub/link")).unwrap();
    let tag = yard.get("/sub/link").await.header("etag").to_owned();
    assert_eq!(put("/sub/link", "If-Match: \"x\"\r\n", "x").await.status, 412);
    assert_eq!(put("/sub/link", "If-None-Match: *\r\n", "x").await.status, 412);
    assert_eq!(put("/sub/link", &format!("If-Match: {tag}\r\n"), "linked").await.status, 204);
    assert_eq!(
        (yard.get("/sub/link").await.text(), yard.get("/sub/deep/x").await.text()),
        ("linked".into(), "x".into())
    );
    // Folders come with the whole file.
    for body in ["Content-Length: 9\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\nx\r\n"] {
        let head = "PUT /not/yet/there HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
        let mut stream = tokio::net::TcpStream::connect(yard.addr).await.unwrap();
        stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut raw = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut raw).await;
        assert!(!yard.dir.path().join("www/not").exists(), "{body:?}");
    }
    assert_eq!(put("/not/yet/there", "", "whole").await.status, 201);
    assert_eq!(yard.get("/not/yet/there").await.text(), "whole");
    // What breaks off leaves nothing behind.
    let mut stream = tokio::net::TcpStream::connect(yard.addr).await.unwrap();
    stream.write_all(b"PUT /sub/half HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf").await.unwrap();
    let drafts = || {
        std::fs::read_dir(yard.dir.path().join("www/sub"))
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().starts_with(".shoal-put"))
            .count()
    };
    for _ in 0..500 {
        if drafts() == 1 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    drop(stream);
    for _ in 0..500 {
        if drafts() == 0 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!((drafts(), yard.get("/sub/half").await.status), (0, 404));
    assert_eq!(yard.ask("OPTIONS", "/", &[]).await.header("allow"), "GET, HEAD, OPTIONS, PUT");
}

#[tokio::test]
async fn there_is_no_way_out() {
    let yard = Yard::new(FolderOptions::default()).await;
    for path in [
        "/../outside",
        "/..%2foutside",
        "/%2e%2e/outside",
        "/sub/../../outside",
        "/sub/%2e%2e%2f%2e%2e%2foutside",
        "/..%5coutside",
        "/%252e%252e/outside",
        "/..%c0%afoutside",
        "/a.txt%00",
        "//etc/hostname",
        "/out",
        "/etc/hostname",
        "/etc/",
        "/loop",
        "/pipe",
        "/.env",
        "/.secret/key",
        "/sub/../.env",
        "/a.txt/",
        "/a.txt/b",
        "/sub/.",
        "/missing",
        &format!("/{}", "x".repeat(300)),
        &format!("/{}", "x/".repeat(3000)),
    ] {
        let answer = yard.get(path).await;
        let fine = path == "/sub/.";
        assert_eq!(matches!(answer.status, 400 | 404), !fine, "{path}: {}", answer.status);
        assert!(!answer.text().contains("secret"), "{path}");
    }
    let loose = Yard::new(FolderOptions { follow: true, ..FolderOptions::default() }).await;
    assert_eq!(loose.get("/out").await.text(), "secret");
    assert_eq!(loose.get("/../outside").await.status, 400);
}

#[tokio::test]
async fn requests_that_are_not_what_they_seem() {
    let yard = Yard::new(FolderOptions::default()).await;
    let status = async |text: &str| common::raw(yard.addr, text.as_bytes()).await.status;
    assert_eq!(status("GET /a.txt HTTP/1.1\r\nConnection: close\r\n\r\n").await, 400, "no host");
    assert_eq!(status("GET /a.txt HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n").await, 400);
    assert_eq!(status("GET /a.txt HTTP/1.0\r\n\r\n").await, 200);
    for smuggled in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
    ] {
        let request = format!("POST /a.txt HTTP/1.1\r\nHost: x\r\n{smuggled}GET /.env HTTP/1.1\r\nHost: x\r\n\r\n");
        let answer = common::raw(yard.addr, request.as_bytes()).await;
        let answers = answer.text().matches("HTTP/1.1").count();
        assert!(answer.status >= 400 && answers == 0, "{smuggled:?}: {} and {answers} more", answer.status);
    }
}

/// Answers one behind the other on one connection, some of files that the socket fetches, some from memory, read slowly.
#[tokio::test]
async fn answers_follow_each_other_to_whoever_reads_slowly() {
    let yard = Yard::new(FolderOptions::default()).await;
    let mut stream = tokio::net::TcpStream::connect(yard.addr).await.unwrap();
    let ask = |path: &str, more: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n{more}\r\n");
    let requests = [
        ask("/big.bin", ""),
        ask("/a.txt", ""),
        ask("/big.bin", "Range: bytes=100000-1999999\r\n"),
        ask("/big.bin", "Range: bytes=0-9,500000-899999,-10\r\n"),
        ask("/missing", ""),
        ask("/big.bin", "Connection: close\r\n"),
    ];
    stream.write_all(requests.concat().as_bytes()).await.unwrap();
    let mut raw = Vec::new();
    loop {
        let before = raw.len();
        let mut some = vec![0; 50_000];
        let n = stream.read(&mut some).await.unwrap();
        raw.extend(&some[..n]);
        if raw.len() == before {
            break;
        }
        tokio::task::yield_now().await;
    }
    let mut rest = &raw[..];
    for wanted in [&big()[..], b"hello", &big()[100_000..2_000_000]] {
        let end = rest.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
        assert!(rest[end..].starts_with(wanted));
        rest = &rest[end + wanted.len()..];
    }
    let end = rest.windows(4).position(|w| w == b"\r\n\r\n").unwrap() + 4;
    assert!(String::from_utf8_lossy(&rest[..end]).contains("multipart/byteranges"));
    let large = rest.windows(400_000).position(|w| w[..9] == big()[500_000..500_009] && w == &big()[500_000..900_000]);
    rest = &rest[large.unwrap() + 400_000..];
    assert!(String::from_utf8_lossy(&rest[..2000]).contains("404 Not Found"));
    assert!(rest.ends_with(&big()));
}

#[tokio::test]
async fn a_file_that_becomes_shorter_breaks_off() {
    let yard = Yard::new(FolderOptions::default()).await;
    let path = yard.dir.path().join("www/big.bin");
    std::fs::write(&path, vec![7; 60_000_000]).unwrap();
    let mut stream = tokio::net::TcpStream::connect(yard.addr).await.unwrap();
    stream.write_all(b"GET /big.bin HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut raw = vec![0; 1000];
    stream.read_exact(&mut raw).await.unwrap();
    std::fs::File::options().write(true).open(&path).unwrap().set_len(30_000_000).unwrap();
    let _ = stream.read_to_end(&mut raw).await;
    let reply = common::parse(&raw).unwrap();
    assert!(reply.status == 200 && !reply.whole && reply.body.iter().all(|b| *b == 7), "{}", reply.body.len());
}
