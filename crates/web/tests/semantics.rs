//! What RFC 9110 asks of an origin server, over a real socket. docs/HTTP.md is made from the lines above the tests.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod common;

use common::Reply;
use common::yard::{PASSWORD, Yard};
use std::time::{Duration, SystemTime};
use tokio::io::AsyncWriteExt as _;

/// Long ago, in the three ways to write it.
const OLD: [&str; 3] = ["Sun, 06 Nov 1994 08:49:37 GMT", "Sunday, 06-Nov-94 08:49:37 GMT", "Sun Nov  6 08:49:37 1994"];

fn tag(reply: &Reply) -> String {
    let tag = reply.header("etag").to_owned();
    assert!(tag.len() > 2 && tag.starts_with('"') && tag.ends_with('"'), "a strong tag: {tag}");
    tag
}

// RFC 9110 3.3: requests of one connection are not taken for those of one person
#[tokio::test]
async fn each_request_stands_for_itself() {
    let yard = Yard::closed().await;
    let first = format!("GET /a.txt HTTP/1.1\r\nHost: x\r\n{PASSWORD}\r\n\r\n");
    let second = "GET /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(yard.statuses(first + second).await, ["200", "401"]);
}

// RFC 9110 4.1: targets of 8,000 bytes are read
#[tokio::test]
async fn long_targets() {
    let yard = Yard::new().await;
    assert_eq!(yard.get(&format!("/a.txt?{}", "x".repeat(8_000)), &[]).await.status, 200);
}

// RFC 9110 4.2.3: addresses that mean the same name the same file
#[tokio::test]
async fn one_file_under_all_spellings() {
    let yard = Yard::new().await;
    let wanted = tag(&yard.get("/a.txt", &[]).await);
    for same in ["/%61.txt", "/a%2Etxt", "/a%2etxt", "/./a.txt"] {
        assert_eq!(tag(&yard.get(same, &[]).await), wanted, "{same}");
    }
}

// RFC 9110 5.1: fields that are not known are ignored
// RFC 9110 5.5: bytes beyond ASCII in a value are taken as they are
#[tokio::test]
async fn unknown_fields() {
    let yard = Yard::new().await;
    assert_eq!(yard.get("/a.txt", &["X-Unknown: x", "Sec-Something-New: ?1"]).await.status, 200);
    let seen = yard.talk(b"GET /env.sh HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-Bytes: \xe9\xff\r\n\r\n").await;
    assert!(seen.contains("HTTP_X_BYTES=\u{fffd}\u{fffd}\n"), "{seen}");
}

// RFC 9110 5.3: no field is sent twice that is no list
#[tokio::test]
async fn fields_come_once() {
    let yard = Yard::writable().await;
    for request in [
        "GET /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "HEAD /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\nRange: bytes=0-1\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\nRange: bytes=9-\r\n\r\n",
        "GET /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\nIf-None-Match: *\r\n\r\n",
        "GET /style.css HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAccept-Encoding: gzip\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /sub HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "GET /env.sh HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "OPTIONS /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "BREW /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        "PUT /new HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx",
    ] {
        let answer = yard.talk(request).await;
        let head = answer.split("\r\n\r\n").next().unwrap();
        let mut names: Vec<_> = head.lines().skip(1).map(|l| l.split(':').next().unwrap().to_lowercase()).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert!(all > 2 && names.len() == all, "{head}");
    }
}

// RFC 9110 5.3: nothing is done before the whole head is here
#[tokio::test]
async fn half_a_head_does_nothing() {
    let yard = Yard::writable().await;
    let mut stream = tokio::net::TcpStream::connect(yard.addr).await.unwrap();
    stream.write_all(b"PUT /new HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n").await.unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    let _ = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut rest).await;
    assert!(!rest.starts_with(b"HTTP/1.1 2") && !yard.path("new").exists());
}

// RFC 9110 5.5: whitespace around a value is not part of it
// RFC 9110 5.6.1.2: empty elements of lists are ignored
#[tokio::test]
async fn values_and_lists() {
    let yard = Yard::new().await;
    let tag = tag(&yard.get("/a.txt", &[]).await);
    for one in
        [format!("If-None-Match: \t {tag} \t "), format!("If-None-Match:{tag}"), format!("If-None-Match: , ,{tag},")]
    {
        assert_eq!(yard.get("/a.txt", &[&one]).await.status, 304, "{one:?}");
    }
    let part = yard.get("/a.txt", &["Range: bytes=,,1-2, ,"]).await;
    assert_eq!((part.status, &part.text()[..]), (206, "el"));
    assert_eq!(yard.get("/style.css", &["Accept-Encoding: ,, gzip ,"]).await.header("content-encoding"), "gzip");
}

// RFC 9110 5.5: CR, LF and NUL in a value are refused or made spaces
#[tokio::test]
async fn control_characters_in_values() {
    let yard = Yard::new().await;
    for wrong in ["a\0b", "a\rb", "a\x01b\rX-Other: c"] {
        let answer =
            yard.talk(format!("GET /env.sh HTTP/1.1\r\nHost: x\r\nConnection: close\r\nX-V: {wrong}\r\n\r\n")).await;
        let sound = answer.starts_with("HTTP/1.1 400") || answer.contains("HTTP_X_V=a b\n");
        assert!(sound && !answer.contains("X_OTHER"), "{wrong:?}: {answer}");
    }
}

// RFC 9110 5.6.7: dates are understood in all three forms
// RFC 9110 5.6.7: two digits of a year that would be more than 50 years ahead are of the past
// RFC 9110 13.1.3: the date counts by the server's own clock, the one that wrote Last-Modified
#[tokio::test]
async fn dates_that_come_in() {
    let yard = Yard::new().await;
    let now = yard.get("/a.txt", &[]).await.header("last-modified").to_owned();
    assert_eq!(yard.get("/a.txt", &[&format!("If-Modified-Since: {now}")]).await.status, 304);
    for old in OLD {
        assert_eq!(yard.get("/a.txt", &[&format!("If-Modified-Since: {old}")]).await.status, 200, "{old}");
        assert_eq!(yard.get("/a.txt", &[&format!("If-Unmodified-Since: {old}")]).await.status, 412, "{old}");
    }
    // As old as the first of them, so that what is not understood, and ignored, would answer otherwise.
    let then = httpdate(OLD[0]);
    std::fs::File::options().write(true).open(yard.path("a.txt")).unwrap().set_modified(then).unwrap();
    for old in OLD {
        assert_eq!(yard.get("/a.txt", &[&format!("If-Modified-Since: {old}")]).await.status, 304, "{old}");
    }
    // The last year that is 51 ahead: one that means 1977 now, and is the past for long.
    let past = "If-Modified-Since: Sunday, 06-Nov-77 08:49:37 GMT";
    assert_eq!(yard.get("/a.txt", &[past]).await.status, 200);
}

/// The moment of the one date that is used here.
fn httpdate(date: &str) -> SystemTime {
    assert_eq!(date, "Sun, 06 Nov 1994 08:49:37 GMT");
    SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777)
}

/// `Sun, 06 Nov 1994 08:49:37 GMT`, and nothing else.
fn is_fixdate(date: &str) -> bool {
    let shape: String = date
        .chars()
        .map(|c| {
            if c.is_ascii_digit() {
                '0'
            } else if c.is_ascii_alphabetic() {
                'a'
            } else {
                c
            }
        })
        .collect();
    shape == "aaa, 00 aaa 0000 00:00:00 aaa" && date.ends_with(" GMT")
}

// RFC 9110 5.6.7: dates are sent in the one preferred form
// RFC 9110 6.6.1: every answer of class 2, 3 and 4 has a date
// RFC 9110 6.6.1: the date is that of the answer
// RFC 9110 8.8.2.1: no Last-Modified lies in the future
#[tokio::test]
async fn dates_that_go_out() {
    let yard = Yard::new().await;
    for (path, headers, status) in [
        ("/a.txt", &[][..], 200),
        ("/a.txt", &["Range: bytes=0-1"], 206),
        ("/env.sh", &[], 200),
        ("/sub", &[], 301),
        ("/a.txt", &["If-None-Match: *"], 304),
        ("/missing", &[], 404),
        ("/a.txt", &["If-Match: \"x\""], 412),
        ("/a.txt", &["Range: bytes=9-"], 416),
        ("/a.txt", &["Host: y"], 400),
        ("/a.txt", &["Bad Name: y"], 400),
    ] {
        let answer = yard.get(path, headers).await;
        assert_eq!(answer.status, status, "{path} {headers:?}");
        assert!(is_fixdate(answer.header("date")), "{status}: {:?}", answer.headers);
    }
    let later = SystemTime::now() + Duration::from_secs(1_000_000);
    std::fs::File::options().write(true).open(yard.path("a.txt")).unwrap().set_modified(later).unwrap();
    for headers in [&[][..], &["Range: bytes=0-1"], &["If-None-Match: *"]] {
        let answer = yard.get("/a.txt", headers).await;
        let modified = answer.header("last-modified");
        assert!(is_fixdate(modified) || modified.is_empty(), "{modified}");
        let seconds = |date: &str| http_seconds(date);
        assert!(modified.is_empty() || seconds(modified) <= seconds(answer.header("date")), "{:?}", answer.headers);
    }
    assert!(is_fixdate(yard.get("/style.css", &[]).await.header("last-modified")));
    // A file that was written just now is not newer than the answer about it.
    std::fs::write(yard.path("fresh"), "x").unwrap();
    let fresh = yard.get("/fresh", &[]).await;
    assert!(http_seconds(fresh.header("last-modified")) <= http_seconds(fresh.header("date")), "{:?}", fresh.headers);
}

/// Something that grows with the date.
fn http_seconds(date: &str) -> (u32, usize, u32, String) {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts: Vec<_> = date.split(' ').collect();
    let month = MONTHS.iter().position(|m| *m == parts[2]).unwrap();
    (parts[3].parse().unwrap(), month, parts[1].parse().unwrap(), parts[4].to_owned())
}

// RFC 9110 6.2: only versions are sent that are spoken
#[tokio::test]
async fn versions() {
    let yard = Yard::new().await;
    for (version, headers) in [("1.0", ""), ("1.1", "Host: x\r\nConnection: close\r\n")] {
        let answer = yard.talk(format!("GET /a.txt HTTP/{version}\r\n{headers}\r\n")).await;
        assert!(answer.starts_with("HTTP/1.0 200 ") || answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(answer.ends_with("\r\n\r\nhello"), "{answer}");
    }
}

// RFC 9110 6.5.1: trailers are not taken for headers
#[tokio::test]
async fn trailers_that_come_in() {
    let yard = Yard::writable().await;
    let head = "Host: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\nTrailer: If-None-Match\r\n\r\n";
    let body = "3\r\nnew\r\n0\r\nIf-None-Match: *\r\nX-Trailer: x\r\n\r\n";
    assert_eq!(yard.raw(&format!("PUT /a.txt HTTP/1.1\r\n{head}{body}")).await.status, 204);
    assert_eq!(yard.get("/a.txt", &[]).await.text(), "new");
    let told = yard.raw(&format!("POST /env.sh HTTP/1.1\r\n{head}{body}")).await.text();
    assert!(!told.contains("X_TRAILER") && !told.contains("IF_NONE_MATCH"), "{told}");
}

// RFC 9110 6.5.1: nothing that matters is sent in trailers
#[tokio::test]
async fn no_trailers_go_out() {
    let yard = Yard::new().await;
    let answer = yard.talk("GET /env.sh HTTP/1.1\r\nHost: x\r\nTE: trailers\r\nConnection: close, te\r\n\r\n").await;
    assert!(answer.to_lowercase().contains("\r\ntransfer-encoding: chunked\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n0\r\n\r\n") && !answer.to_lowercase().contains("trailer:"), "{answer}");
}

// RFC 9110 7.1: the targets of OPTIONS * and CONNECT are for these methods alone
// RFC 9110 9.3.6: CONNECT to nowhere is refused
#[tokio::test]
async fn targets_of_other_methods() {
    let yard = Yard::writable().await;
    for (request, status) in [
        ("OPTIONS *", 204),
        ("GET *", 400),
        ("HEAD *", 400),
        ("PUT *", 400),
        ("GET x:80", 400),
        ("CONNECT x", 400),
        ("CONNECT x:", 400),
        ("CONNECT x:99999", 400),
        ("CONNECT x:80", 405),
    ] {
        let answer =
            yard.raw(&format!("{request} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")).await;
        let fine = if status == 400 { (400..500).contains(&answer.status) } else { answer.status == status };
        assert!(fine, "{request}: {}", answer.status);
        assert_eq!(answer.header("content-length").is_empty(), answer.status == 204, "{request}");
    }
}

// RFC 9110 7.4: what asks for https over a plain connection is refused
#[tokio::test]
async fn other_schemes() {
    let yard = Yard::new().await;
    let ask = async |target: &str| {
        yard.raw(&format!("GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).await.status
    };
    assert_eq!(ask("http://x/a.txt").await, 200);
    assert_eq!(ask("HTTP://x/a.txt").await, 200);
    for other in ["https://x/a.txt", "HTTPS://x/a.txt", "ftp://x/a.txt"] {
        assert!(matches!(ask(other).await, 400 | 421), "{other}: {}", ask(other).await);
    }
}

// RFC 9110 7.8: no protocol is switched to that nobody named in Upgrade
#[tokio::test]
async fn upgrades_are_not_taken() {
    let yard = Yard::new().await;
    let upgrade = "Connection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c, websocket\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
    for version in ["1.0", "1.1"] {
        let answer = yard.talk(format!("GET /a.txt HTTP/{version}\r\nHost: x\r\n{upgrade}")).await;
        assert!(answer.starts_with(&format!("HTTP/{version} 200 ")) && answer.ends_with("hello"), "{answer}");
    }
}

// RFC 9110 8.3: what has content says of which type
// RFC 9110 15.5: errors of the client are explained
// RFC 9110 15.5.10: a conflict is explained
// RFC 9110 15.6: errors of the server are explained
#[tokio::test]
async fn content_has_a_type_and_errors_have_words() {
    let yard = Yard::writable().await;
    for (method, path, headers, status) in [
        ("GET", "/a.txt", &[][..], 200),
        ("GET", "/", &[], 200),
        ("GET", "/a.txt", &["Range: bytes=0-0,2-2"], 206),
        ("GET", "/missing", &[], 404),
        ("POST", "/a.txt", &["Content-Length: 0"], 405),
        ("GET", "/a.txt", &["If-Match: \"x\""], 412),
        ("GET", "/a.txt", &["Range: bytes=9-"], 416),
        ("GET", "/a.txt", &["Host: y"], 400),
        ("BREW", "/a.txt", &[], 501),
        ("PUT", "/sub", &["Content-Length: 0"], 409),
        ("PUT", "/.x", &["Content-Length: 0"], 403),
        ("PUT", "/big", &["Content-Length: 9999"], 413),
        ("PUT", "/a.txt", &["If-None-Match: *", "Content-Length: 0"], 412),
    ] {
        let answer = yard.ask(method, path, headers).await;
        assert_eq!(answer.status, status, "{method} {path} {headers:?}");
        assert!(!answer.header("content-type").is_empty(), "{method} {path}: {:?}", answer.headers);
        assert!(status < 400 || answer.text().len() > 10, "{status} says {:?}", answer.text());
        if status >= 400 {
            assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8", "{status}");
            assert_eq!(answer.header("content-encoding"), "", "{status}");
        }
    }
    // A form that is refused is not a form of the words.
    let refused = yard.get("/style.css", &["Accept-Encoding: gzip", "If-Match: \"x\""]).await;
    assert_eq!((refused.status, refused.header("content-encoding")), (412, ""));
    std::fs::write(yard.path("dies.sh"), "exit 1").unwrap();
    let died = yard.get("/dies.sh", &[]).await;
    assert!(died.status == 502 && died.text().contains("failed"), "{}", died.text());
}

// RFC 9110 8.4: a coded form names its coding
// RFC 9110 8.4: identity is never named
// RFC 9110 8.4.1.3: x-gzip is gzip
// RFC 9110 12.5.3: who takes none of the codings gets the file without
// RFC 9110 12.5.5: what depends on a field says so in Vary
#[tokio::test]
async fn codings() {
    let yard = Yard::new().await;
    for (accept, coding, text) in [
        ("gzip", "gzip", "gz form"),
        ("x-gzip", "gzip", "gz form"),
        ("GZIP;q=0.001", "gzip", "gz form"),
        ("*", "gzip", "gz form"),
        ("compress, br", "", "identity"),
        ("gzip;q=0.000, *;q=0", "", "identity"),
        ("", "", "identity"),
    ] {
        let answer = yard.get("/style.css", &[&format!("Accept-Encoding: {accept}")]).await;
        assert_eq!(
            (answer.status, answer.header("content-encoding"), &answer.text()[..]),
            (200, coding, text),
            "{accept}"
        );
        assert_eq!(answer.header("vary"), "accept-encoding");
    }
    assert_eq!(yard.get("/style.css", &[]).await.header("vary"), "accept-encoding");
    assert_eq!(yard.get("/", &["Accept: text/html"]).await.header("vary"), "accept");
}

// RFC 9110 8.6: a length is sent where it is known
// RFC 9110 8.6: HEAD and 304 name no other length than GET
// RFC 9110 8.6: 204 has no length
// RFC 9110 9.3.2: HEAD has no content
// RFC 9110 9.3.2: HEAD has the fields of GET
#[tokio::test]
async fn lengths_and_head() {
    let yard = Yard::writable().await;
    let known = tag(&yard.get("/a.txt", &[]).await);
    for (path, headers) in [
        ("/a.txt", vec![]),
        ("/style.css", vec!["Accept-Encoding: gzip".to_owned()]),
        ("/", vec![]),
        ("/", vec!["Accept: application/json".to_owned()]),
        ("/sub", vec![]),
        ("/missing", vec![]),
        ("/a.txt", vec![format!("If-None-Match: {known}")]),
        ("/a.txt", vec!["If-Match: \"x\"".to_owned()]),
        ("/status.sh?200", vec![]),
    ] {
        let headers: Vec<_> = headers.iter().map(String::as_str).collect();
        let (get, head) = (yard.get(path, &headers).await, yard.ask("HEAD", path, &headers).await);
        assert_eq!(head.status, get.status, "{path}");
        assert!(head.body.is_empty(), "{path}: {}", head.text());
        let fields = |reply: &Reply| {
            let mut fields = reply.headers.clone();
            // The second between the two, and how a body is cut, which HEAD has none of.
            fields.retain(|name, _| !["date", "transfer-encoding"].contains(&&name[..]));
            // How long a page becomes is known when it is there.
            fields.retain(|name, _| name != "content-length" || !path.contains(".sh"));
            fields
        };
        assert_eq!(fields(&head), fields(&get), "{path} {headers:?}");
        if get.status == 200 && !path.contains(".sh") {
            assert_eq!(get.header("content-length"), get.body.len().to_string(), "{path}");
        }
        if get.status == 304 {
            assert!(matches!(get.header("content-length"), "" | "5"), "{:?}", get.headers);
        }
    }
    for (method, path) in [("OPTIONS", "/a.txt"), ("PUT", "/a.txt"), ("GET", "/empty.sh")] {
        let answer = yard.ask(method, path, &["Content-Length: 0"]).await;
        let lengths = (answer.header("content-length"), answer.header("transfer-encoding"));
        assert_eq!((answer.status, lengths), (204, ("", "")), "{method} {path}");
    }
}

// RFC 9110 8.6: a length beyond all numbers is no length
#[tokio::test]
async fn lengths_beyond_all_numbers() {
    let yard = Yard::writable().await;
    for wrong in ["99999999999999999999999999", "18446744073709551616", "+5", "0x5", "5 5", "-1", ""] {
        let answer = yard
            .raw(&format!("PUT /new HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {wrong}\r\n\r\nhello"))
            .await;
        assert!((400..500).contains(&answer.status), "{wrong:?}: {}", answer.status);
    }
    assert_eq!(
        yard.raw("PUT /new HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 18446744073709551613\r\n\r\nx")
            .await
            .status,
        413
    );
    assert!(!yard.path("new").exists());
}

// RFC 9110 8.7: Content-Location changes nothing
// RFC 9110 9.3.4: what is new answers 201
// RFC 9110 9.3.4: what was replaced answers 200 or 204
// RFC 9110 9.3.4: unknown fields are not kept
// RFC 9110 9.3.4: a validator is that of what was sent
// RFC 9110 9.3.4: what can't be kept as it is meant is refused with a reason
#[tokio::test]
async fn put() {
    let yard = Yard::writable().await;
    let fields = ["Content-Location: /other", "X-Color: blue", "Content-Language: de"];
    let new = yard.put("/new.txt", &fields, "first").await;
    assert_eq!(new.status, 201);
    assert!(!yard.path("other").exists());
    let got = yard.get("/new.txt", &[]).await;
    assert_eq!((got.text(), tag(&got)), ("first".into(), tag(&new)));
    assert_eq!((got.header("x-color"), got.header("content-language")), ("", ""));
    let again = yard.put("/new.txt", &[], "second").await;
    assert_eq!((again.status, tag(&again)), (204, tag(&yard.get("/new.txt", &[]).await)));
    assert_ne!(tag(&again), tag(&new));
    // It would be served without its coding, as what it is not.
    let coded = yard.put("/coded.txt", &["Content-Encoding: gzip"], "x").await;
    assert_eq!((coded.status, coded.header("accept-encoding")), (415, "identity"));
    assert!(!yard.path("coded.txt").exists() && coded.text().contains("without a coding"));
    assert_eq!(yard.put("/plain.txt", &["Content-Encoding: identity"], "x").await.status, 201);
}

// RFC 9110 8.8.2.1: files have a Last-Modified
// RFC 9110 8.8.3: a tag that is not marked as weak tells any two states apart
// RFC 9110 8.8.3.1: files have an ETag
// RFC 9110 15.3.1: 200 has all validators
#[tokio::test]
async fn validators() {
    let yard = Yard::new().await;
    let path = yard.path("a.txt");
    let mut tags = Vec::new();
    for text in ["one", "two", "one", "three"] {
        // Under the same date, so that the tag has to know better.
        std::fs::write(yard.path("draft"), text).unwrap();
        std::fs::rename(yard.path("draft"), &path).unwrap();
        let answer = yard.get("/a.txt", &[]).await;
        assert!(!answer.header("last-modified").is_empty());
        tags.push(tag(&answer));
    }
    let plain = yard.get("/style.css", &[]).await;
    tags.push(tag(&plain));
    tags.push(tag(&yard.get("/style.css", &["Accept-Encoding: gzip"]).await));
    let all = tags.len();
    tags.sort();
    tags.dedup();
    assert_eq!(tags.len(), all, "{tags:?}");
}

// RFC 9110 9.1: GET and HEAD are answered
// RFC 9110 9.1: methods that are not known answer 501
// RFC 9110 9.1: methods that are not allowed answer 405
// RFC 9110 9.3.7: OPTIONS says what is allowed
// RFC 9110 10.2.1: 405 says what is allowed
// RFC 9110 15.5.6: 405 lists the methods that there are
// RFC 9110 10.2.4: the server does not describe itself in detail
#[tokio::test]
async fn methods() {
    let yard = Yard::new().await;
    let writable = Yard::writable().await;
    for (method, status) in [
        ("GET", 200),
        ("HEAD", 200),
        ("OPTIONS", 204),
        ("POST", 405),
        ("DELETE", 405),
        ("PATCH", 405),
        ("TRACE", 405),
        ("PUT", 405),
        ("BREW", 501),
        ("get", 501),
    ] {
        let answer = yard.ask(method, "/a.txt", &["Content-Length: 0"]).await;
        assert_eq!(answer.status, status, "{method}");
        if matches!(status, 204 | 405) {
            assert_eq!(answer.header("allow"), "GET, HEAD, OPTIONS", "{method}");
        }
        assert!(answer.header("server").len() < 10, "{:?}", answer.headers);
    }
    assert_eq!(writable.ask("DELETE", "/a.txt", &[]).await.header("allow"), "GET, HEAD, OPTIONS, PUT");
    assert_eq!(yard.get("/a.txt", &[]).await.text(), "hello");
}

// RFC 9110 9.3.1: content that comes with GET or HEAD changes nothing
#[tokio::test]
async fn content_of_get() {
    let yard = Yard::new().await;
    let with = |method: &str| {
        format!("{method} /a.txt HTTP/1.1\r\nHost: x\r\nContent-Length: 31\r\n\r\nGET /missing HTTP/1.1\r\nHost: x\n")
    };
    let last = "GET /missing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(yard.statuses(with("GET") + &with("HEAD") + last).await, ["200", "200", "404"]);
}
