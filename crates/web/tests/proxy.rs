//! What is handed to a server behind, and what comes back: the rules for gateways, with a server behind that is played here.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod common;

use common::Reply;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use web::{Folder, FolderOptions, Proxied, Serving};

const PATIENCE: Duration = Duration::from_secs(1);

/// A site with a server behind `/app`, and what that saw.
struct Gate {
    addr: SocketAddr,
    seen: Arc<Mutex<Vec<String>>>,
    dir: tempfile::TempDir,
}

impl Gate {
    /// Behind is who answers each request with what `answer` makes of it, and closes the connection.
    async fn new(answer: impl Fn(&str) -> Vec<u8> + Send + 'static) -> Self {
        let behind = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (at, seen) = (behind.local_addr().unwrap(), Arc::new(Mutex::new(Vec::new())));
        let noted = seen.clone();
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = behind.accept().await.unwrap();
                let mut request = Vec::new();
                while !is_whole(&request) && stream.read_buf(&mut request).await.unwrap_or(0) > 0 {}
                let request = String::from_utf8_lossy(&request).into_owned();
                let said = answer(&request);
                noted.lock().unwrap().push(request);
                tokio::spawn(async move {
                    let _ = stream.write_all(&said).await;
                });
            }
        });
        let (addr, dir) = serve(&[&format!("/app=http://{at}")]).await;
        Gate { addr, seen, dir }
    }

    /// Behind is who says `answer` to everything.
    async fn saying(answer: &'static str) -> Self {
        Gate::new(move |_| answer.as_bytes().to_vec()).await
    }

    async fn raw(&self, request: &str) -> Reply {
        common::raw(self.addr, request.as_bytes()).await
    }

    async fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Reply {
        common::ask(self.addr, method, path, headers).await
    }

    /// The last request that went through, in small letters.
    fn last(&self) -> String {
        self.seen.lock().unwrap().last().cloned().unwrap_or_default().to_lowercase()
    }

    fn count(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn serve(routes: &[&str]) -> (SocketAddr, tempfile::TempDir) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("app")).unwrap();
    std::fs::write(dir.path().join("app/x"), "a file").unwrap();
    let folder = Folder::new(dir.path(), FolderOptions::default()).unwrap();
    let own = addr.to_string();
    let routes = routes.iter().map(|route| route.replace("SELF", &own).parse().unwrap()).collect();
    let handler = Proxied::new(folder, routes, PATIENCE, 100_000);
    tokio::spawn(web::serve(Serving::new(handler), vec![listener], std::future::pending()));
    (addr, dir)
}

/// Its head is here, and the body that belongs to it.
fn is_whole(raw: &[u8]) -> bool {
    let text = String::from_utf8_lossy(raw).to_lowercase();
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    match head.split_once("content-length: ") {
        Some((_, rest)) => rest.lines().next().and_then(|n| n.parse().ok()).is_some_and(|n: usize| body.len() >= n),
        None => !head.contains("transfer-encoding: chunked") || body.ends_with("0\r\n\r\n"),
    }
}

const FINE: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nfine";

// RFC 9110 7.6.1: fields that Connection names are not handed on
// RFC 9110 7.6.1: Connection is not handed on, but made anew
// RFC 9110 7.6.1: fields known to be of one connection are not handed on
// RFC 9110 7.6.3: requests that are handed on say Via
// RFC 9112 2.3: what is handed on has the version that is spoken here
#[tokio::test]
async fn requests_are_told_anew() {
    let gate = Gate::saying(
        "HTTP/1.0 200 OK\r\nConnection: X-Mine\r\nX-Mine: 1\r\nKeep-Alive: timeout=5\r\nX-Other: 2\r\n\r\nfine",
    )
    .await;
    let headers = [
        "Connection: X-Own, close",
        "X-Own: 1",
        "Keep-Alive: timeout=5",
        "TE: trailers",
        "Proxy-Connection: keep-alive",
        "Proxy-Authorization: Basic eDp5",
        "Upgrade: h2c",
        "HTTP2-Settings: AAMAAABkAAQAAP__",
        "X-Forwarded-For: 10.0.0.9",
        "X-Forwarded-User: root",
        "X_Forwarded_For: 10.0.0.9",
        "X-Original-URL: /10.0.0.9",
        "Proxy: http://10.0.0.9",
        "Via: 1.0 before",
        "Cookie: kept=1",
    ];
    let reply = gate.ask("GET", "/app/x?y=%2F", &headers).await;
    assert_eq!((reply.status, reply.text().as_str(), reply.header("x-other")), (200, "fine", "2"));
    assert!(reply.header("x-mine").is_empty() && reply.header("keep-alive").is_empty(), "{:?}", reply.headers);
    let seen = gate.last();
    assert!(seen.starts_with("get /app/x?y=%2f http/1.1\r\n"), "{seen}");
    for gone in
        ["x-own", "keep-alive", "\r\nte:", "\r\nproxy", "upgrade", "http2", "10.0.0.9", "root", "\r\nconnection: x"]
    {
        assert!(!seen.contains(gone), "{gone} in {seen}");
    }
    assert!(seen.contains("\r\ncookie: kept=1\r\n") && seen.contains("\r\nx-forwarded-for: 127.0.0.1\r\n"), "{seen}");
    assert!(seen.contains("\r\nvia: 1.0 before\r\nvia: 1.1 shoal-"), "{seen}");
    let raw = "GET /app/x HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n";
    let mut stream = TcpStream::connect(gate.addr).await.unwrap();
    stream.write_all(raw.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.0 200 ") && answer.ends_with("\r\n\r\nfine"), "{answer}");
    let seen = gate.last();
    assert!(seen.contains("\r\nvia: 1.0 shoal-") && seen.starts_with("get /app/x http/1.1\r\n"), "{seen}");
    let raw = common::raw(gate.addr, b"GET /app/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await;
    assert_eq!(raw.status, 200);
    let mut stream = TcpStream::connect(gate.addr).await.unwrap();
    stream.write_all(b"GET /app/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    answer.clear();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
}

// RFC 9110 7.8: Upgrade in HTTP/1.0 is ignored
// RFC 9110 7.8: who hands on Upgrade names it in Connection
#[tokio::test]
async fn only_web_sockets_of_http_1_1_change_the_protocol() {
    let gate = Gate::saying(FINE).await;
    for (version, protocol, passes) in [("1.1", "websocket", true), ("1.0", "websocket", false), ("1.1", "h2c", false)]
    {
        let request = format!(
            "GET /app/x HTTP/{version}\r\nHost: x\r\nConnection: close, Upgrade\r\nUpgrade: {protocol}\r\n\r\n"
        );
        assert_eq!(gate.raw(&request).await.status, 200);
        let seen = gate.last();
        assert_eq!(seen.contains("\r\nupgrade: websocket\r\n"), passes, "{seen}");
        assert_eq!(seen.contains("\r\nconnection: upgrade\r\n"), passes, "{seen}");
    }
    let unasked =
        Gate::saying("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n").await;
    assert_eq!(unasked.ask("GET", "/app/x", &[]).await.status, 502);
}

// RFC 9110 7.6: what comes round in a circle ends
#[tokio::test]
async fn a_server_that_is_its_own_server_behind() {
    let (addr, _dir) = serve(&["/app=http://SELF"]).await;
    assert_eq!(common::ask(addr, "GET", "/app/x", &[]).await.status, 508);
}

// RFC 9110 7.6.2: Max-Forwards counts down, and what has none left is answered here
#[tokio::test]
async fn how_far_a_request_may_go() {
    let gate = Gate::saying(FINE).await;
    let last = gate.ask("OPTIONS", "/app/x", &["Max-Forwards: 0"]).await;
    assert!(last.status == 204 && last.header("allow").contains("OPTIONS") && gate.count() == 0);
    assert_eq!(gate.ask("OPTIONS", "/app/x", &["Max-Forwards: 7"]).await.status, 200);
    assert!(gate.last().contains("\r\nmax-forwards: 6\r\n"), "{}", gate.last());
    for (method, path) in [("TRACE", "/app/x"), ("CONNECT", "app:80")] {
        assert_eq!(gate.ask(method, path, &["Max-Forwards: 7"]).await.status, 405, "{method}");
    }
    assert_eq!(gate.count(), 1, "neither is handed on");
}

// RFC 9112 6.3: a length beside chunks is not handed on
// RFC 9112 6.3: an answer from behind whose length is none is a 502
// RFC 9112 5.2: folded lines from behind are a 502, or made one
#[tokio::test]
async fn answers_are_told_anew() {
    let both = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n";
    let twice = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 4\r\n\r\nfine";
    for answer in [both, twice, FINE] {
        let reply = Gate::saying(answer).await.ask("GET", "/app/x", &[]).await;
        assert!(reply.text() == "fine" && reply.whole, "{answer}");
    }
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\nfine",
        "HTTP/1.1 200 OK\r\nContent-Length: 4\r\nContent-Length: 5\r\n\r\nfine",
        "HTTP/1.1 200 OK\r\nX-Folded: one\r\n two\r\nContent-Length: 4\r\n\r\nfine",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nfine\r\n0\r\n\r\n",
        "no HTTP\r\n\r\n",
        "",
    ] {
        assert_eq!(Gate::saying(answer).await.ask("GET", "/app/x", &[]).await.status, 502, "{answer:?}");
    }
    let cut = Gate::saying("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\nhalf").await;
    assert!(!cut.ask("GET", "/app/x", &[]).await.whole);
    let head = Gate::saying("HTTP/1.1 200 OK\r\nContent-Length: 40\r\n\r\n").await.ask("HEAD", "/app/x", &[]).await;
    assert_eq!((head.status, head.header("content-length"), head.body.len()), (200, "40", 0));
    let same = "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 40\r\n\r\n";
    let same = Gate::saying(same).await.ask("GET", "/app/x", &[]).await;
    assert_eq!((same.status, same.header("etag"), same.body.len()), (304, "\"a\"", 0));
}

#[tokio::test]
async fn paths_mean_the_same_on_both_sides() {
    let gate = Gate::saying(FINE).await;
    assert!(gate.dir.path().join("app/x").exists());
    // The file of that name is never the answer.
    for path in ["/app/x", "/%61pp/x", "//app/x", "/%61%70p//x"] {
        assert_eq!(gate.ask("GET", path, &[]).await.text(), "fine", "{path}");
        assert!(gate.last().starts_with(&format!("get {path} http/1.1\r\n")), "as it was written");
    }
    let count = gate.count();
    for path in [
        "/app/../x",
        "/app/%2e%2e/x",
        "/app/..%2fx",
        "/app/%2e%2e%5cx",
        "/app/..;a=b/x",
        "/./app/x",
        "/app/x%00",
        "/x/../app/x",
    ] {
        assert_eq!(gate.ask("GET", path, &[]).await.status, 400, "{path}");
    }
    assert_eq!(gate.count(), count);
}

#[tokio::test]
async fn bodies_that_go_wrong() {
    let gate = Gate::saying(FINE).await;
    let head = "POST /app/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n";
    let post = async |rest: &str| gate.raw(&format!("{head}{rest}")).await.status;
    assert_eq!(post("Content-Length: 5\r\n\r\nhello").await, 200);
    assert!(gate.last().ends_with("\r\n\r\nhello"));
    assert_eq!(post("Content-Length: 100001\r\n\r\n").await, 413);
    assert_eq!(post("Content-Length: 5\r\n\r\nhel").await, 408, "it stands still");
    assert_eq!(post("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nx\r\n").await, 400, "no chunk");
}

#[tokio::test]
async fn a_client_may_take_its_time() {
    let long = Arc::new(vec![b'x'; 20_000_000]);
    let body = long.clone();
    let gate = Gate::new(move |_| {
        [format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len()).as_bytes(), &body[..]].concat()
    })
    .await;
    let mut stream = TcpStream::connect(gate.addr).await.unwrap();
    stream.write_all(b"GET /app/x HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut raw = vec![0; 1_000_000];
    stream.read_exact(&mut raw).await.unwrap();
    // Longer than a server may be silent: it was not.
    tokio::time::sleep(PATIENCE * 2).await;
    stream.read_to_end(&mut raw).await.unwrap();
    let reply = common::parse(&raw).unwrap();
    assert!(reply.whole && reply.body.len() == long.len(), "{} bytes", reply.body.len());
    let silent = Gate::saying("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel").await;
    assert!(!silent.ask("GET", "/app/x", &[]).await.whole);
}
