//! What RFC 9110 asks of conditions, ranges, challenges and expectations, over a real socket. docs/HTTP.md is made from the lines above the tests.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod common;

use common::yard::{PASSWORD, Yard};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Before and after every file here.
const OLD: &str = "Sun, 06 Nov 1994 08:49:37 GMT";
const FUTURE: &str = "Tue, 31 Dec 2199 23:59:59 GMT";

/// The tag and the date of the file that all of this is about.
async fn known(yard: &Yard) -> (String, String) {
    let answer = yard.get("/a.txt", &[]).await;
    (answer.header("etag").to_owned(), answer.header("last-modified").to_owned())
}

// RFC 9110 13.1.1: If-Match compares strongly
// RFC 9110 13.1.1: If-Match is evaluated
// RFC 9110 13.1.1: nothing is done where If-Match is false
// RFC 9110 13.1.4: If-Unmodified-Since is ignored beside If-Match
#[tokio::test]
async fn if_match() {
    let yard = Yard::writable().await;
    let (tag, _) = known(&yard).await;
    for wrong in ["\"x\"", &format!("W/{tag}"), &tag.replace('"', "")] {
        let wrong = format!("If-Match: {wrong}");
        assert_eq!(yard.get("/a.txt", &[&wrong]).await.status, 412, "{wrong}");
        assert_eq!(yard.put("/a.txt", &[&wrong], "new").await.status, 412, "{wrong}");
        assert_eq!(yard.put("/a.txt", &[&wrong, &format!("If-Unmodified-Since: {FUTURE}")], "new").await.status, 412);
    }
    assert_eq!(yard.put("/none.txt", &["If-Match: *"], "new").await.status, 412);
    assert_eq!((yard.get("/a.txt", &[]).await.text(), yard.path("none.txt").exists()), ("hello".into(), false));
    for right in [format!("If-Match: {tag}"), format!("If-Match: \"x\", {tag}"), "If-Match: *".to_owned()] {
        assert_eq!(yard.get("/a.txt", &[&right, &format!("If-Unmodified-Since: {OLD}")]).await.status, 200, "{right}");
    }
    assert_eq!(yard.put("/a.txt", &[&format!("If-Match: {tag}")], "new").await.status, 204);
    assert_eq!(yard.put("/a.txt", &[&format!("If-Match: {tag}")], "newer").await.status, 412, "a lost update");
}

// RFC 9110 13.1.2: If-None-Match compares weakly
// RFC 9110 13.1.2: If-None-Match is evaluated
// RFC 9110 13.1.2: where If-None-Match is false GET and HEAD answer 304, other methods 412 and do nothing
// RFC 9110 13.1.3: If-Modified-Since is ignored beside If-None-Match
#[tokio::test]
async fn if_none_match() {
    let yard = Yard::writable().await;
    let (tag, _) = known(&yard).await;
    let newer = format!("If-Modified-Since: {FUTURE}");
    for same in [tag.clone(), format!("W/{tag}"), format!("\"x\", {tag}"), "*".to_owned()] {
        let same = format!("If-None-Match: {same}");
        for method in ["GET", "HEAD"] {
            let answer = yard.ask(method, "/a.txt", &[&same, &format!("If-Modified-Since: {OLD}")]).await;
            assert_eq!((answer.status, answer.body.len()), (304, 0), "{method} {same}");
        }
        assert_eq!(yard.put("/a.txt", &[&same], "new").await.status, 412, "{same}");
    }
    assert_eq!(yard.get("/a.txt", &[]).await.text(), "hello");
    for other in ["If-None-Match: \"x\"", "If-None-Match: W/\"x\""] {
        assert_eq!(yard.get("/a.txt", &[other, &newer]).await.status, 200, "{other}");
    }
    assert_eq!(yard.put("/new.txt", &["If-None-Match: *"], "new").await.status, 201);
}

// RFC 9110 13.1.3: If-Modified-Since is ignored if it is no date, or several, or the method is another
// RFC 9110 13.1.3: If-Modified-Since is evaluated
// RFC 9110 13.1.3: where If-Modified-Since is false the answer is 304
#[tokio::test]
async fn if_modified_since() {
    let yard = Yard::writable().await;
    let (_, date) = known(&yard).await;
    for (value, status) in [
        (date.clone(), 304),
        (FUTURE.to_owned(), 304),
        (OLD.to_owned(), 200),
        ("rubbish".to_owned(), 200),
        (format!("{FUTURE}, {FUTURE}"), 200),
        (format!("{FUTURE}\r\nIf-Modified-Since: {FUTURE}"), 200),
    ] {
        let header = format!("If-Modified-Since: {value}");
        for method in ["GET", "HEAD"] {
            assert_eq!(yard.ask(method, "/a.txt", &[&header]).await.status, status, "{method} {header}");
        }
        assert_eq!(yard.put("/a.txt", &[&header], "hello").await.status, 204, "PUT {header}");
        std::fs::File::options().write(true).open(yard.path("a.txt")).unwrap().set_modified(moment(&date)).unwrap();
    }
}

/// Sets the clock of a file back to where it was: any moment that gives this date.
fn moment(date: &str) -> std::time::SystemTime {
    let time = date.split(' ').nth(4).unwrap();
    let parts: Vec<u64> = time.split(':').map(|n| n.parse().unwrap()).collect();
    let of_day = parts[0] * 3600 + parts[1] * 60 + parts[2];
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let today = now / 86_400 * 86_400 + of_day;
    // Midnight may have passed meanwhile.
    std::time::UNIX_EPOCH + Duration::from_secs(if today > now { today - 86_400 } else { today })
}

// RFC 9110 13.1.4: If-Unmodified-Since is ignored if it is no date, or several
// RFC 9110 13.1.4: If-Unmodified-Since is evaluated
// RFC 9110 13.1.4: nothing is done where If-Unmodified-Since is false
// RFC 9110 13.1.4: the date counts by the server's own clock
#[tokio::test]
async fn if_unmodified_since() {
    let yard = Yard::writable().await;
    let (_, date) = known(&yard).await;
    let old = format!("If-Unmodified-Since: {OLD}");
    assert_eq!(yard.get("/a.txt", &[&old]).await.status, 412);
    assert_eq!(yard.put("/a.txt", &[&old], "new").await.status, 412);
    assert_eq!(yard.get("/a.txt", &[]).await.text(), "hello");
    for fine in [date, FUTURE.to_owned(), "rubbish".to_owned(), format!("{OLD}, {OLD}")] {
        assert_eq!(yard.get("/a.txt", &[&format!("If-Unmodified-Since: {fine}")]).await.status, 200, "{fine}");
    }
    assert_eq!(yard.put("/a.txt", &[&format!("If-Unmodified-Since: {FUTURE}")], "new").await.status, 204);
}

// RFC 9110 13.1.5: If-Range without Range is ignored
// RFC 9110 13.1.5: If-Range is evaluated
// RFC 9110 13.1.5: where If-Range is false the range is ignored
// RFC 9110 13.1.5: where If-Range is true the range counts
#[tokio::test]
async fn if_range() {
    let yard = Yard::new().await;
    let (tag, date) = known(&yard).await;
    for (value, status) in [
        (&tag[..], 206),
        (&date, 206),
        ("\"x\"", 200),
        (&format!("W/{tag}"), 200),
        (OLD, 200),
        (FUTURE, 200),
        ("x", 200),
        ("*", 200),
    ] {
        let value = format!("If-Range: {value}");
        let answer = yard.get("/a.txt", &["Range: bytes=1-2", &value]).await;
        let text = if status == 206 { "el" } else { "hello" };
        assert_eq!((answer.status, &answer.text()[..]), (status, text), "{value}");
        assert_eq!(yard.get("/a.txt", &[&value]).await.status, 200, "{value} alone");
    }
}

// RFC 9110 13.2.1: conditions are evaluated just before the method would act
// RFC 9110 13.2.1: conditions count only where the answer would be a success without them
// RFC 9110 13.2.1: conditions are ignored by methods that select nothing
#[tokio::test]
async fn where_conditions_count() {
    let yard = Yard::writable().await;
    for condition in ["If-Match: \"x\"", "If-None-Match: *", "If-Unmodified-Since: Sun, 06 Nov 1994 08:49:37 GMT"] {
        for (method, path, status) in [
            ("GET", "/missing", 404),
            ("GET", "/sub", 301),
            ("GET", "/.env", 404),
            ("OPTIONS", "/a.txt", 204),
            ("TRACE", "/a.txt", 405),
            ("DELETE", "/a.txt", 405),
            ("BREW", "/a.txt", 501),
        ] {
            assert_eq!(yard.ask(method, path, &[condition]).await.status, status, "{method} {path} {condition}");
        }
        let large = yard.ask("PUT", "/a.txt", &[condition, "Content-Length: 99999"]).await;
        assert_eq!(large.status, 413, "{condition}");
    }
    // Changed while the body was on its way: what counts is what is there at the end.
    let (tag, _) = known(&yard).await;
    let mut stream = tokio::net::TcpStream::connect(yard.addr).await.unwrap();
    let head = format!(
        "PUT /a.txt HTTP/1.1\r\nHost: x\r\nConnection: close\r\nIf-Match: {tag}\r\nContent-Length: 4\r\nExpect: 100-continue\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 25];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(yard.put("/a.txt", &[], "other").await.status, 204);
    stream.write_all(b"mine").await.unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    assert!(rest.starts_with(b"HTTP/1.1 412"), "{}", String::from_utf8_lossy(&rest));
    assert_eq!(yard.get("/a.txt", &[]).await.text(), "other");
}

// RFC 9110 13.2.2: conditions are evaluated in the given order
#[tokio::test]
async fn conditions_in_their_order() {
    let yard = Yard::new().await;
    let (tag, date) = known(&yard).await;
    let same = format!("If-None-Match: {tag}");
    for (headers, status) in [
        (vec!["If-Match: \"x\"", &same], 412),
        (vec!["If-Match: *", &same], 304),
        (vec![&format!("If-Unmodified-Since: {OLD}"), &same], 412),
        (vec![&format!("If-Unmodified-Since: {date}"), &format!("If-Modified-Since: {date}")], 304),
        (vec![&same, "Range: bytes=0-1"], 304),
        (vec![&same, "Range: bytes=9-"], 304),
        (vec!["If-Match: \"x\"", "Range: bytes=0-1"], 412),
        (vec!["If-None-Match: \"x\"", "Range: bytes=0-1", "If-Range: \"x\""], 200),
        (vec!["If-None-Match: \"x\"", "Range: bytes=0-1", &format!("If-Range: {tag}")], 206),
    ] {
        assert_eq!(yard.get("/a.txt", &headers).await.status, status, "{headers:?}");
    }
}

// RFC 9110 14.1.2: numbers of bytes beyond all numbers are understood
// RFC 9110 14.2: ranges are ignored by methods that have none
// RFC 9110 14.2: units that are not known are ignored
// RFC 9110 14.2: a range that can be had answers 206
// RFC 9110 14.2: ranges that can't be had answer 416
// RFC 9110 14.4: 416 says how long the file is
// RFC 9110 15.5.17: 416 has a Content-Range
// RFC 9110 14.4: parts say how long the whole is
#[tokio::test]
async fn ranges() {
    let yard = Yard::new().await;
    const MANY: &str = "99999999999999999999999999";
    for (range, status, text, span) in [
        ("bytes=1-2", 206, "el", "bytes 1-2/5"),
        ("BYTES=1-2", 206, "el", "bytes 1-2/5"),
        ("bytes=-2", 206, "lo", "bytes 3-4/5"),
        (&format!("bytes=1-{MANY}"), 206, "ello", "bytes 1-4/5"),
        (&format!("bytes=-{MANY}"), 206, "hello", "bytes 0-4/5"),
        (&format!("bytes={MANY}-"), 416, "", "bytes */5"),
        ("bytes=5-", 416, "", "bytes */5"),
        ("bytes=-0", 416, "", "bytes */5"),
        ("bytes=7-9, 5-6", 416, "", "bytes */5"),
        ("lines=1-2", 200, "hello", ""),
        ("bytes=2-1", 200, "hello", ""),
        ("bytes=x", 200, "hello", ""),
    ] {
        let answer = yard.get("/a.txt", &[&format!("Range: {range}")]).await;
        assert_eq!((answer.status, answer.header("content-range")), (status, span), "{range}");
        assert!(status == 416 || answer.text() == text, "{range}: {}", answer.text());
    }
    assert_eq!(yard.ask("HEAD", "/a.txt", &["Range: bytes=1-2"]).await.status, 200);
    assert_eq!(yard.ask("OPTIONS", "/a.txt", &["Range: bytes=1-2"]).await.status, 204);
    assert_eq!(yard.ask("POST", "/env.sh", &["Range: bytes=1-2", "Content-Length: 0"]).await.status, 200);
}

// RFC 9110 14.4: Content-Range is ignored where it means nothing
// RFC 9110 14.5: PUT of a part is refused
#[tokio::test]
async fn content_range_in_requests() {
    let yard = Yard::writable().await;
    assert_eq!(yard.get("/a.txt", &["Content-Range: bytes 0-1/5"]).await.text(), "hello");
    let answer = yard.put("/a.txt", &["Content-Range: bytes 0-1/5"], "HE").await;
    assert!(answer.status == 400 && answer.text().contains("whole"), "{}", answer.text());
    assert_eq!(yard.get("/a.txt", &[]).await.text(), "hello");
}

// RFC 9110 15.3.7: 206 has the Date, Cache-Control, ETag, Expires, Content-Location and Vary of 200
// RFC 9110 15.3.7: without If-Range, 206 has all other fields of 200
// RFC 9110 15.3.7.1: one part says which
// RFC 9110 15.3.7.2: one range is never a multipart
#[tokio::test]
async fn one_part() {
    let yard = Yard::new().await;
    for path in ["/a.txt", "/style.css"] {
        let whole = yard.get(path, &[]).await;
        for range in ["bytes=1-2", "bytes=1-2,2-3", "bytes=0-0,99-100"] {
            let part = yard.get(path, &[&format!("Range: {range}")]).await;
            assert!(part.status == 206 && part.header("content-range").starts_with("bytes "), "{range}");
            assert_eq!(part.header("content-length"), part.body.len().to_string());
            for (name, value) in &whole.headers {
                let changes = ["date", "content-length"].contains(&&name[..]);
                assert!(changes || part.header(name) == value, "{name} of {path} {range}: {:?}", part.headers);
            }
            assert!(!part.header("date").is_empty());
        }
    }
}

// RFC 9110 8.3.3: lines between parts end in CR LF
// RFC 9110 15.3.7.2: several parts come as multipart/byteranges with a boundary
// RFC 9110 15.3.7.2: the head of several parts has no Content-Range
// RFC 9110 15.3.7.2: each part says which it is
// RFC 9110 15.3.7.2: each part says of which type it is
// RFC 9110 15.3.7.2: parts come in the order of the request
#[tokio::test]
async fn several_parts() {
    let yard = Yard::new().await;
    let answer = yard.get("/a.txt", &["Range: bytes=4-4, 90-99, 0-1"]).await;
    assert_eq!((answer.status, answer.header("content-range")), (206, ""));
    let boundary = answer.header("content-type").strip_prefix("multipart/byteranges; boundary=").unwrap();
    let part = |span: &str, text: &str| {
        format!(
            "--{boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes {span}/5\r\n\r\n{text}\r\n"
        )
    };
    assert_eq!(answer.text(), part("4-4", "o") + &part("0-1", "he") + &format!("--{boundary}--\r\n"));
}

// RFC 9110 15.4.2: 301 says where to
#[tokio::test]
async fn moved() {
    let yard = Yard::new().await;
    let answer = yard.get("/sub?x=1", &[]).await;
    assert_eq!((answer.status, answer.header("location")), (301, "/sub/?x=1"));
}

// RFC 9110 15.4.5: 304 has the Content-Location, Date, ETag, Vary, Cache-Control and Expires of 200
#[tokio::test]
async fn not_modified() {
    let yard = Yard::new().await;
    for (path, accept) in [("/a.txt", "identity"), ("/style.css", "gzip"), ("/style.css", "identity")] {
        let accept = format!("Accept-Encoding: {accept}");
        let whole = yard.get(path, &[&accept]).await;
        let known = yard.get(path, &[&accept, &format!("If-None-Match: {}", whole.header("etag"))]).await;
        assert_eq!((known.status, known.body.len()), (304, 0));
        for name in ["content-location", "etag", "vary", "cache-control", "expires"] {
            assert_eq!(known.header(name), whole.header(name), "{name} of {path} with {accept}");
        }
        assert!(!known.header("date").is_empty());
        // Nothing else of the file but its date, as other servers do.
        for name in ["content-type", "accept-ranges", "content-range"] {
            assert_eq!(known.header(name), "", "{name} of {path}");
        }
    }
}

// RFC 9110 11.2: no parameter of a challenge comes twice
// RFC 9110 11.4: who has not said who they are is asked
// RFC 9110 11.5: the realm is quoted
// RFC 9110 11.6.1: 401 has a challenge
// RFC 9110 15.5.2: 401 has a challenge for what was asked for
#[tokio::test]
async fn challenges() {
    let yard = Yard::closed().await;
    for headers in [
        &[][..],
        &["Authorization: Basic YWRhOndyb25n"],
        &["Authorization: Basic rubbish"],
        &["Authorization: Negotiate x"],
    ] {
        for path in ["/a.txt", "/env.sh", "/missing", "/"] {
            let answer = yard.get(path, headers).await;
            assert_eq!(answer.status, 401, "{path} {headers:?}");
            let challenge = answer.header("www-authenticate").strip_prefix("Basic ").unwrap();
            let names: Vec<_> = challenge.split(", ").map(|p| p.split('=').next().unwrap().to_lowercase()).collect();
            assert!(names == ["realm", "charset"] && challenge.starts_with("realm=\""), "{challenge}");
            assert!(answer.text().len() > 10, "{}", answer.text());
        }
    }
    assert_eq!(yard.get("/a.txt", &[PASSWORD]).await.status, 200);
    assert_eq!(yard.get("/a.txt", &[&PASSWORD.replace("Basic", "bASIC")]).await.status, 200);
}

/// Sends a head, reads what comes before any body was sent, then sends the body.
async fn expecting(yard: &Yard, head: &str, body: &str) -> (String, String) {
    let mut stream = tokio::net::TcpStream::connect(yard.addr).await.unwrap();
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = vec![0; 25];
    stream.read_exact(&mut first).await.unwrap();
    let _ = stream.write_all(body.as_bytes()).await;
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest).await;
    (String::from_utf8(first).unwrap(), String::from_utf8_lossy(&rest).into_owned())
}

// RFC 9110 10.1.1: who expects 100 gets it, or a final answer, before the content is sent
// RFC 9110 10.1.1: after 100 comes a final answer
#[tokio::test]
async fn expectations() {
    let yard = Yard::writable().await;
    let head = |target: &str, length: u32| {
        format!(
            "PUT {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: {length}\r\n\r\n"
        )
    };
    let (first, rest) = expecting(&yard, &head("/new", 4), "body").await;
    assert_eq!(first, "HTTP/1.1 100 Continue\r\n\r\n");
    assert!(rest.starts_with("HTTP/1.1 201"), "{rest}");
    for (target, length, status) in [("/sub", 4, "409"), ("/new", 5_000, "413"), ("/.hidden", 4, "403")] {
        let (first, _) = expecting(&yard, &head(target, length), "").await;
        assert!(first.starts_with(&format!("HTTP/1.1 {status} ")), "{target}: {first}");
    }
    let (first, rest) = expecting(&yard, &head("/env.sh", 4).replace("PUT", "POST"), "body").await;
    assert!(first.starts_with("HTTP/1.1 100") && rest.starts_with("HTTP/1.1 200"), "{first}{rest}");
}

// RFC 9110 10.1.1: an expectation of HTTP/1.0 is ignored
// RFC 9110 15.2: HTTP/1.0 gets no 1xx
#[tokio::test]
async fn expectations_of_the_old() {
    let yard = Yard::writable().await;
    let answer = yard.talk("PUT /new HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\nbody").await;
    assert!(answer.starts_with("HTTP/1.0 201") && !answer.contains(" 100 "), "{answer}");
}

// RFC 9110 10.1.1: who answers before all content was read says whether the connection goes on
#[tokio::test]
async fn answers_before_the_content() {
    let yard = Yard::writable().await;
    let head = "PUT /new HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 5000\r\n\r\n";
    let (first, rest) = expecting(&yard, head, "").await;
    let answer = (first + &rest).to_lowercase();
    assert!(answer.starts_with("http/1.1 413 ") && answer.contains("\r\nconnection: close\r\n"), "{answer}");
}

// RFC 9110 12.5.1: q is a weight wherever it stands
#[tokio::test]
async fn weights() {
    let yard = Yard::new().await;
    let kind =
        async |accept: &str| yard.get("/", &[&format!("Accept: {accept}")]).await.header("content-type").to_owned();
    assert_eq!(kind("application/json;q=0;x=y, text/html").await, "text/html; charset=utf-8");
    assert_eq!(kind("text/html;q=0;level=1, application/json;x=y;q=0.5").await, "application/json");
}
