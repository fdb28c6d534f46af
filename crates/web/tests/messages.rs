//! What RFC 9112 asks of an HTTP/1.1 server, and RFC 9111 of one whose answers are kept, over a real socket. docs/HTTP.md is made
//! from the lines above the tests.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod common;

use common::yard::Yard;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

const CLOSE: &str = "Host: x\r\nConnection: close\r\n\r\n";

/// A good request that ends the connection: whatever is answered behind a bad one shows by it.
fn last() -> String {
    format!("GET /style.css HTTP/1.1\r\n{CLOSE}")
}

/// The only answer is this one, and the connection is closed behind it.
async fn refused(yard: &Yard, request: impl AsRef<[u8]>, statuses: &[&str]) {
    let mut all = request.as_ref().to_vec();
    all.extend_from_slice(last().as_bytes());
    let answers = yard.statuses(&all).await;
    let fine = answers.len() == 1 && statuses.contains(&&answers[0][..]);
    assert!(fine, "{:?}: {answers:?}", String::from_utf8_lossy(request.as_ref()));
}

// RFC 9112 2.2: messages are read as bytes
#[tokio::test]
async fn bytes_not_text() {
    let yard = Yard::new().await;
    assert_eq!(
        yard.statuses(b"GET /a.txt HTTP/1.1\r\nX: \xff\xfe\xc0\r\nHost: x\r\nConnection: close\r\n\r\n").await,
        ["200"]
    );
}

// RFC 9112 2.2: a bare CR is refused or made a space
// RFC 9112 2.2: no bare CR is sent
#[tokio::test]
async fn bare_carriage_returns() {
    let yard = Yard::new().await;
    refused(&yard, "GET /a.txt\rx HTTP/1.1\r\nHost: x\r\n\r\n", &["400"]).await;
    refused(&yard, "GET /a.txt HTTP/1.1\r\nHost: x\rX: y\r\n\r\n", &["400"]).await;
    let sent = yard.talk(format!("GET / HTTP/1.1\r\n{CLOSE}")).await;
    let head = sent.split("\r\n\r\n").next().unwrap();
    assert!(!head.replace("\r\n", "").contains(['\r', '\n']), "{head}");
}

// RFC 9112 2.2: an empty line before a request is ignored
#[tokio::test]
async fn empty_lines_before() {
    let yard = Yard::new().await;
    assert_eq!(
        yard.statuses(format!("\r\nGET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n\r\n{}", last())).await,
        ["200", "200"]
    );
}

// RFC 9112 2.2: whitespace before the first field is refused or skipped
// RFC 9112 5.2: folded lines are refused or made one
#[tokio::test]
async fn whitespace_that_hides_fields() {
    let yard = Yard::new().await;
    for hidden in [
        "GET /env.sh HTTP/1.1\r\n X-Hidden: y\r\nHost: x\r\n\r\n",
        "GET /env.sh HTTP/1.1\r\n\tHost: y\r\nHost: x\r\n\r\n",
    ] {
        let answer = yard.talk(hidden.to_owned() + &last()).await;
        assert!(!answer.contains("HTTP_X_HIDDEN") && !answer.contains("HTTP_HOST=y"), "{answer}");
    }
    let answer = yard.talk(format!("GET /env.sh HTTP/1.1\r\nX-Folded: a\r\n b\r\n{CLOSE}")).await;
    let one = answer
        .lines()
        .find_map(|l| l.strip_prefix("HTTP_X_FOLDED="))
        .is_some_and(|v| v.split_whitespace().eq(["a", "b"]));
    assert!(answer.starts_with("HTTP/1.1 400") || one, "{answer}");
}

// RFC 9112 2.2: what is no request gets a 400, and the connection ends
// RFC 9112 3.2: a request line that is none is refused
// RFC 9112 3.2: a request line that is none is not mended
#[tokio::test]
async fn no_request() {
    let yard = Yard::new().await;
    for wrong in [
        "hello\r\n\r\n",
        "GET /a.txt\r\n\r\n",
        "GET /a b.txt HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET  /a.txt HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /a.txt HTTP/1.1 x\r\nHost: x\r\n\r\n",
        "GET /a.txt HTTX/1.1\r\nHost: x\r\n\r\n",
        "G\u{e9}T /a.txt HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET a.txt HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nno colon\r\nHost: x\r\n\r\n",
        "\x16\x02\x01\x02\x00\x01\x00",
    ] {
        refused(&yard, wrong, &["400"]).await;
    }
    // Who speaks TLS understands an alert alone.
    assert_eq!(yard.talk("\x16\x03\x01\x02\x00\x01\x00").await.as_bytes(), [21, 3, 3, 0, 2, 2, 10]);
}

// RFC 9112 3: a method longer than any answers 501
// RFC 9112 3: request lines of 8,000 bytes are read
#[tokio::test]
async fn long_lines() {
    let yard = Yard::new().await;
    assert_eq!(yard.statuses(format!("{} /a.txt HTTP/1.1\r\n{CLOSE}", "X".repeat(500))).await, ["501"]);
    assert_eq!(yard.statuses(format!("GET /{}?{} HTTP/1.1\r\n{CLOSE}", "%61.txt", "x".repeat(8_000))).await, ["200"]);
}

// RFC 9110 5.4: a head that is too large answers 4xx
// RFC 9112 3: a target that is too long answers 414 (or 431, where a whole head may not be so long)
#[tokio::test]
async fn too_long() {
    let yard = Yard::new().await;
    let large = yard.statuses(format!("GET /a.txt HTTP/1.1\r\nX: {}\r\n{CLOSE}", "x".repeat(1_000_000))).await;
    assert_eq!(large, ["431"]);
    assert_eq!(yard.statuses(format!("GET /{} HTTP/1.1\r\n{CLOSE}", "x".repeat(33_000))).await, ["414"]);
    assert_eq!(yard.statuses(format!("GET /{} HTTP/1.1\r\n{CLOSE}", "x".repeat(1_000_000))).await, ["431"]);
}

// RFC 9112 3.2: no host, several, or one that can't be is a 400
#[tokio::test]
async fn hosts() {
    let yard = Yard::new().await;
    let ask =
        async |hosts: &str| yard.statuses(format!("GET /a.txt HTTP/1.1\r\nConnection: close\r\n{hosts}\r\n")).await;
    for wrong in [
        "",
        "Host: x\r\nHost: x\r\n",
        "Host: a b\r\n",
        "Host: a/b\r\n",
        "Host: a@b\r\n",
        "Host: a:b\r\n",
        "Host: [::1\r\n",
        "Host: <x>\r\n",
        "Host: \u{e9}\r\n",
    ] {
        assert_eq!(ask(wrong).await, ["400"], "{wrong:?}");
    }
    for fine in
        ["x", "x:80", "x:", "192.0.2.1:8080", "[::1]:80", "[2001:db8::1]", "a-b.example.", "x_y", "%c3%a9.example", ""]
    {
        assert_eq!(ask(&format!("Host: {fine}\r\n")).await, ["200"], "{fine:?}");
    }
    assert_eq!(yard.statuses("GET /a.txt HTTP/1.0\r\n\r\n").await, ["200"]);
}

// RFC 9112 3.2.2: whole addresses are taken as targets
// RFC 9112 3.2.2: the host of the target counts, not that of the field
#[tokio::test]
async fn whole_addresses() {
    let yard = Yard::new().await;
    assert!(yard.talk(format!("GET http://other.example:81/a.txt?x HTTP/1.1\r\n{CLOSE}")).await.ends_with("hello"));
    let told = yard.talk(format!("GET http://other.example:81/env.sh HTTP/1.1\r\n{CLOSE}")).await;
    assert!(told.contains("SERVER_NAME=other.example\n") && told.contains("SERVER_PORT=81\n"), "{told}");
    assert!(!told.contains("HTTP_HOST=x\n"), "{told}");
}

// RFC 9112 4: a status has a space behind it
#[tokio::test]
async fn status_lines() {
    let yard = Yard::new().await;
    for status in ["200", "299", "404", "599"] {
        let answer = yard.talk(format!("GET /status.sh?{status} HTTP/1.1\r\n{CLOSE}")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
}

// RFC 9112 5.1: whitespace before a colon is a 400
#[tokio::test]
async fn whitespace_before_colons() {
    let yard = Yard::new().await;
    for wrong in ["X : y", "Content-Length : 5", "Transfer-Encoding\t: chunked", "Host : x"] {
        refused(&yard, format!("POST /env.sh HTTP/1.1\r\nHost: x\r\n{wrong}\r\n\r\n"), &["400"]).await;
    }
}

// RFC 9112 5.2: no folded lines are sent
#[tokio::test]
async fn programs_that_fold() {
    let yard = Yard::new().await;
    std::fs::write(yard.path("fold.sh"), "printf 'Content-Type: text/plain\\nX-A: a\\n b\\n\\nbody'").unwrap();
    let answer = yard.talk(format!("GET /fold.sh HTTP/1.1\r\n{CLOSE}")).await;
    let head = answer.split("\r\n\r\n").next().unwrap();
    assert!(!head.contains("\n ") && !head.contains("\n\t"), "{head}");
}

// RFC 9112 6.1: chunked is understood
// RFC 9112 7.1: chunks are joined to what was sent
// RFC 9112 7.1.1: extensions of chunks that are not known are ignored
// RFC 9112 7.1.2: trailers are kept apart or dropped
#[tokio::test]
async fn chunked_requests() {
    let yard = Yard::writable().await;
    let head = "PUT /new HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "5\r\nhello\r\n0\r\n\r\n",
        "0005\r\nhello\r\n000\r\n\r\n",
        "2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "5;a=b;c=\"d\"\r\nhello\r\n0;x\r\n\r\n",
        "2 ;a=b\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
        "5\r\nhello\r\n0\r\nHost: y\r\nX-Trailer: z\r\n\r\n",
    ] {
        let answers = yard.statuses(format!("{head}{body}{}", last())).await;
        assert!(answers == ["201", "200"] || answers == ["204", "200"], "{body:?}: {answers:?}");
        assert_eq!(std::fs::read_to_string(yard.path("new")).unwrap(), "hello", "{body:?}");
    }
    let upper = "PUT /new HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: Chunked\r\n\r\nA\r\n0123456789\r\n0\r\n\r\n";
    assert_eq!(yard.statuses(upper.to_owned() + &last()).await, ["204", "200"]);
}

// RFC 9112 7.1: sizes of chunks beyond all numbers are refused
// RFC 9112 6.3: what ends before its length is not taken for whole
#[tokio::test]
async fn chunks_that_are_none() {
    let yard = Yard::writable().await;
    let head = "PUT /new HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n";
    for body in [
        "FFFFFFFFFFFFFFFFF\r\nhello\r\n0\r\n\r\n",
        "10000000000000005\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "5\r\nhelloX\r\n0\r\n\r\n",
        "\r\nhello\r\n0\r\n\r\n",
    ] {
        refused(&yard, format!("{head}{body}"), &["400"]).await;
        assert!(!yard.path("new").exists(), "{body:?}");
    }
    use tokio::io::AsyncWriteExt as _;
    for short in
        [&format!("{head}5\r\nhello\r\n")[..], "PUT /new HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nhello"]
    {
        let mut stream = tokio::net::TcpStream::connect(yard.addr).await.unwrap();
        stream.write_all(short.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        let mut rest = Vec::new();
        let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
        assert!(!rest.starts_with(b"HTTP/1.1 2") && !yard.path("new").exists(), "{}", String::from_utf8_lossy(&rest));
    }
}

// RFC 9112 6.1: codings of transfer that are not known answer 501
// RFC 9112 6.3: where chunked is not the last coding the answer is 400, and the connection ends
// RFC 9112 7.1: chunked has no parameters
#[tokio::test]
async fn other_codings_of_transfer() {
    let yard = Yard::writable().await;
    for (coding, statuses) in [
        ("gzip, chunked", &["400", "501"][..]),
        ("x-new, chunked", &["400", "501"]),
        ("chunked, gzip", &["400"]),
        ("gzip", &["400"]),
        ("identity", &["400"]),
        ("chunked, chunked", &["400", "501"]),
        ("chunked;q=1", &["400"]),
        ("xchunked", &["400"]),
    ] {
        let request =
            format!("PUT /new HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: {coding}\r\n\r\n5\r\nhello\r\n0\r\n\r\n");
        refused(&yard, request, statuses).await;
        assert!(!yard.path("new").exists(), "{coding}");
    }
}

// RFC 9112 6.1: nothing with a length and chunks is answered twice
// RFC 9112 6.1: HTTP/1.0 with Transfer-Encoding is faulty, and its connection ends
// RFC 9112 6.3: a length that is none is a 400, and the connection ends
#[tokio::test]
async fn two_lengths() {
    let yard = Yard::writable().await;
    for (version, fields) in [
        ("1.1", "Content-Length: 5\r\nTransfer-Encoding: chunked"),
        ("1.1", "Transfer-Encoding: chunked\r\nContent-Length: 5"),
        ("1.0", "Transfer-Encoding: chunked"),
        ("1.0", "Connection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Length: 20"),
    ] {
        let request =
            format!("PUT /new HTTP/{version}\r\nHost: x\r\n{fields}\r\n\r\n5\r\nhello\r\n0\r\n\r\n{}", last());
        let answers = yard.statuses(request).await;
        assert!(answers.len() <= 1, "{version} {fields}: {answers:?}");
    }
    for wrong in
        ["5, 6", "5\r\nContent-Length: 6", "five", "+5", "-5", "5 ", "0x5", ""].iter().filter(|w| !w.ends_with(' '))
    {
        refused(&yard, format!("PUT /new HTTP/1.1\r\nHost: x\r\nContent-Length: {wrong}\r\n\r\nhello"), &["400"]).await;
        assert!(!yard.path("other").exists());
    }
}

// RFC 9112 6.1: 204 has no Transfer-Encoding
// RFC 9112 6.1: HTTP/1.0 gets no Transfer-Encoding
// RFC 9112 6.1: nothing is chunked twice
// RFC 9112 6.2: no answer has a length and chunks
// RFC 9112 6.3: answers say their length or come in chunks
// RFC 3875 6.3: fields of the connection are the server's
#[tokio::test]
async fn how_answers_end() {
    let yard = Yard::new().await;
    let fields = async |path: &str, version: &str, rest: &str| {
        let answer = yard.talk(format!("GET {path} HTTP/{version}\r\n{rest}")).await;
        let head = answer.split("\r\n\r\n").next().unwrap().to_lowercase();
        (head.contains("\r\ncontent-length:"), head.matches("chunked").count(), answer)
    };
    for path in ["/a.txt", "/", "/sub", "/missing"] {
        let (length, chunked, answer) = fields(path, "1.1", CLOSE).await;
        assert!(length && chunked == 0, "{path}: {answer}");
    }
    // How long a page becomes is not known while it is made: it goes on when its beginning was seen.
    let go = yard.path("go");
    let page = format!(
        "printf 'Content-Type: text/plain\\n\\n\\n'; until [ -e {0} ]; do sleep 0.01; done; rm {0}; env",
        go.display()
    );
    std::fs::write(yard.path("drip.sh"), page).unwrap();
    let drip = async |version: &str, rest: &str| {
        let mut stream = tokio::net::TcpStream::connect(yard.addr).await.unwrap();
        stream.write_all(format!("GET /drip.sh HTTP/{version}\r\n{rest}").as_bytes()).await.unwrap();
        let mut raw = Vec::new();
        while !raw.ends_with(b"\r\n\r\n") {
            raw.push(stream.read_u8().await.unwrap());
        }
        let head = String::from_utf8_lossy(&raw).to_lowercase();
        std::fs::write(&go, "").unwrap();
        stream.read_to_end(&mut raw).await.unwrap();
        let answer = String::from_utf8_lossy(&raw).into_owned();
        (head.contains("\r\ncontent-length:"), head.matches("chunked").count(), answer)
    };
    let (length, chunked, answer) = drip("1.1", CLOSE).await;
    assert!(!length && chunked == 1 && answer.ends_with("\r\n0\r\n\r\n"), "{answer}");
    let (length, chunked, answer) = drip("1.0", "\r\n").await;
    assert!(!length && chunked == 0 && answer.contains("\nSERVER_PROTOCOL=HTTP/1.0\n"), "{answer}");
    let (length, chunked, answer) = fields("/empty.sh", "1.1", CLOSE).await;
    assert!(!length && chunked == 0 && answer.starts_with("HTTP/1.1 204 ") && answer.ends_with("\r\n\r\n"), "{answer}");
    // A program that names the framing itself is not believed.
    std::fs::write(
        yard.path("framed.sh"),
        "printf 'Content-Type: text/plain\\nTransfer-Encoding: chunked\\n\\n0\\r\\n\\r\\n'",
    )
    .unwrap();
    let (_, chunked, answer) = fields("/framed.sh", "1.1", CLOSE).await;
    assert!(chunked <= 1, "{answer}");
}

// RFC 9112 9.3: connections are kept
// RFC 9112 9.3.2: answers come in the order of the requests
#[tokio::test]
async fn connections_that_go_on() {
    let yard = Yard::new().await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    std::fs::write(yard.path("slow.sh"), "sleep 0.2; printf 'Status: 299 Slow\\nContent-Type: text/plain\\n\\nslow'")
        .unwrap();
    let all = get("/slow.sh") + &get("/missing") + &get("/sub") + &get("/a.txt") + &get("/status.sh?201") + &last();
    assert_eq!(yard.statuses(all).await, ["299", "404", "301", "200", "201", "200"]);
    let old = "GET /a.txt HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /missing HTTP/1.0\r\n\r\n";
    assert_eq!(yard.statuses(old).await, ["200", "404"]);
}

// RFC 9112 9.3: a body is read to its end, or the connection closed
#[tokio::test]
async fn bodies_that_nobody_reads() {
    let yard = Yard::new().await;
    let inner = "GET /env.sh HTTP/1.1\r\nHost: x\r\n\r\n";
    for (method, path) in [
        ("POST", "/a.txt"),
        ("PUT", "/a.txt"),
        ("DELETE", "/missing"),
        ("BREW", "/"),
        ("GET", "/sub"),
        ("POST", "/empty.sh"),
    ] {
        for body in [
            format!("Content-Length: {}\r\n\r\n{inner}", inner.len()),
            format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{inner}\r\n0\r\n\r\n", inner.len()),
        ] {
            let answers = yard.talk(format!("{method} {path} HTTP/1.1\r\nHost: x\r\n{body}{}", last())).await;
            let count = answers.matches("HTTP/1.1 ").count();
            assert!(count <= 2 && !answers.contains("GATEWAY_INTERFACE"), "{method} {path}: {answers}");
            assert!(count == 1 || answers.ends_with("identity"), "{method} {path}: {answers}");
        }
    }
}

// RFC 9112 9.5: connections are kept under load
#[tokio::test]
async fn who_comes_late_waits() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.txt"), "hello").unwrap();
    let handler = web::Folder::new(dir.path(), web::FolderOptions::default()).unwrap();
    let limits = web::Limits { connections: 1, ..web::Limits::default() };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(web::serve(web::Serving { handler, limits, log: None }, vec![listener], std::future::pending()));
    let mut first = tokio::net::TcpStream::connect(addr).await.unwrap();
    let ask = async |stream: &mut tokio::net::TcpStream| {
        stream.write_all(b"GET /a.txt HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    };
    let read = async |stream: &mut tokio::net::TcpStream| {
        let mut answer = Vec::new();
        while !answer.ends_with(b"\r\n\r\nhello") {
            assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "{}", String::from_utf8_lossy(&answer));
        }
        assert!(answer.starts_with(b"HTTP/1.1 200 "));
    };
    ask(&mut first).await;
    read(&mut first).await;
    let mut late = tokio::net::TcpStream::connect(addr).await.unwrap();
    ask(&mut late).await;
    // The first goes on being answered while the other waits, and the other comes when it ends.
    ask(&mut first).await;
    read(&mut first).await;
    drop(first);
    read(&mut late).await;
}

// RFC 9112 9.6: who says close gets an answer that says so
// RFC 9112 9.6: behind close the connection ends
// RFC 9112 9.6: behind close no request is answered
// RFC 9112 9.6: who is going to close says so
#[tokio::test]
async fn connections_that_end() {
    let yard = Yard::new().await;
    for close in ["close", "Close", "x, close"] {
        let answer =
            yard.talk(format!("GET /a.txt HTTP/1.1\r\nHost: x\r\nConnection: {close}\r\n\r\n{}", last())).await;
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{close}: {answer}");
        assert!(answer.to_lowercase().contains("\r\nconnection: close\r\n"), "{close}: {answer}");
    }
    let wrong = yard.talk("GET /a.txt HTTP/1.1\r\nno colon\r\n\r\n".to_owned() + &last()).await;
    assert!(wrong.to_lowercase().contains("\r\nconnection: close\r\n"), "{wrong}");
}

// RFC 9111 5.2.2.1: max-age is a bare number
// RFC 9111 5.2.2.4: no-cache names no fields but in quotes
#[tokio::test]
async fn how_long_answers_are_kept() {
    let yard = Yard::new().await;
    for path in ["/.shoal/page.css", "/", "/a.txt"] {
        let said = yard.get(path, &[]).await.header("cache-control").to_owned();
        let age = said.split(',').find_map(|d| d.trim().strip_prefix("max-age=").map(str::to_owned));
        assert!(age.iter().all(|a| a.bytes().all(|b| b.is_ascii_digit())), "{path}: {said}");
        assert!(!said.contains("no-cache="), "{path}: {said}");
    }
    assert_eq!(yard.get("/.shoal/page.css", &[]).await.header("cache-control"), "max-age=300");
}
