//! Real programs behind real requests: shell by CGI, and a FastCGI server that is played here.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod common;

use common::Reply;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use web::{Address, Folder, FolderOptions, ProgramLimits, Programs, Serving, Website};

struct Yard {
    dir: tempfile::TempDir,
    addr: SocketAddr,
}

const PATIENCE: Duration = Duration::from_secs(2);

impl Yard {
    async fn new(scripts: &[(&str, &str)], fastcgi: Option<Address>) -> Self {
        Self::patient(scripts, fastcgi, PATIENCE).await
    }

    async fn patient(scripts: &[(&str, &str)], fastcgi: Option<Address>, patience: Duration) -> Self {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in scripts {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, text).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        let limits = ProgramLimits { running: 4, patience, body: 1_000_000 };
        let mut programs = Programs::new(dir.path(), limits).unwrap();
        programs.cgi("sh", Some("/bin/sh".into()));
        programs.cgi("cgi", None);
        if let Some(address) = fastcgi {
            programs.fastcgi("fcgi", address);
        }
        let folder = Folder::new(dir.path(), FolderOptions::default()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        programs.listens_on(addr.port());
        let serving = Serving::new(Website { folder, programs });
        tokio::spawn(web::serve(serving, vec![listener], std::future::pending()));
        Yard { dir, addr }
    }

    async fn ask(&self, method: &str, path: &str, headers: &[&str]) -> Reply {
        common::ask(self.addr, method, path, headers).await
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[]).await
    }

    /// An answer breaks off, perhaps before its head has left.
    async fn is_broken(&self, path: &str) -> bool {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut raw = Vec::new();
        let _ = stream.read_to_end(&mut raw).await;
        common::parse(&raw).is_none_or(|reply| !reply.whole)
    }

    async fn post(&self, path: &str, headers: &str, body: &str) -> Reply {
        let request = format!("POST {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n{body}");
        common::raw(self.addr, request.as_bytes()).await
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
}

const ENV: &str = "printf 'Content-Type: text/plain\\n\\n'; env | sort";

// RFC 3875 4.1.2: CONTENT_LENGTH is there if and only if there is a body, and is its length without codings of transfer
// RFC 3875 4.1.3: CONTENT_TYPE is that of the request
// RFC 3875 4.1.4: GATEWAY_INTERFACE is CGI/1.1
// RFC 3875 4.1.5: PATH_INFO is what follows the program, decoded
// RFC 3875 4.1.6: PATH_TRANSLATED is where that would be a file
// RFC 3875 4.1.6: without PATH_INFO there is no PATH_TRANSLATED
// RFC 3875 4.1.7: QUERY_STRING is there, empty where there is none
// RFC 3875 4.1.8: REMOTE_ADDR is the address of the client
// RFC 3875 4.1.9: REMOTE_HOST is its name, or its address
// RFC 3875 4.1.12: REQUEST_METHOD is the method
// RFC 3875 4.1.13: SCRIPT_NAME is the path of the program, decoded
// RFC 3875 4.1.14: SERVER_NAME is the host that was meant
// RFC 3875 4.1.15: SERVER_PORT is the port to which the request came
// RFC 3875 4.1.16: SERVER_PROTOCOL is the version of the request
// RFC 3875 4.1.17: SERVER_SOFTWARE is the name of the server
// RFC 3875 4.1.18: fields of the same name are one variable
// RFC 3875 7.2: a program runs in its own folder
#[tokio::test]
async fn a_program_is_told_of_its_request() {
    let yard = Yard::new(&[("a/env.sh", ENV), ("env.cgi", &format!("#!/bin/sh\n{ENV}")), ("b c.sh", ENV)], None).await;
    let headers = [
        "Cookie: a=1",
        "Cookie: b=2",
        "X-Two: 1",
        "X-Two: 2",
        "Proxy: http://evil",
        "X_Under: no",
        "X.Forwarded.For: 10.0.0.1",
        "Authorization: Basic x",
    ];
    let reply = yard.ask("GET", "/a/env.sh/more/%41?code=4021&x=%20", &headers).await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "text/plain"));
    let text = reply.text();
    let root = yard.dir.path().canonicalize().unwrap().display().to_string();
    for line in [
        "GATEWAY_INTERFACE=CGI/1.1",
        "REQUEST_METHOD=GET",
        "SERVER_PROTOCOL=HTTP/1.1",
        "SCRIPT_NAME=/a/env.sh",
        "PATH_INFO=/more/A",
        "QUERY_STRING=code=4021&x=%20",
        "REQUEST_URI=/a/env.sh/more/%41?code=4021&x=%20",
        "REMOTE_ADDR=127.0.0.1",
        "SERVER_NAME=x",
        &format!("SERVER_PORT={}", yard.addr.port()),
        "REMOTE_HOST=127.0.0.1",
        concat!("SERVER_SOFTWARE=shoal/", env!("CARGO_PKG_VERSION")),
        "HTTP_COOKIE=a=1; b=2",
        "HTTP_X_TWO=1, 2",
        "HTTP_AUTHORIZATION=Basic x",
        "REDIRECT_STATUS=200",
        &format!("PATH_TRANSLATED={root}/more/A"),
        &format!("SCRIPT_FILENAME={root}/a/env.sh"),
        &format!("DOCUMENT_ROOT={root}"),
        &format!("PWD={root}/a"),
    ] {
        assert!(text.lines().any(|l| l == line), "{line} is missing in\n{text}");
    }
    assert!(
        !text.contains("HTTP_PROXY")
            && !text.contains("HTTP_X_UNDER")
            && !text.contains("10.0.0.1")
            && !text.contains("CARGO"),
        "{text}"
    );
    assert!(yard.get("/env.cgi").await.text().contains("SCRIPT_NAME=/env.cgi\n"));
    let plain = yard.get("/b%20c.sh").await.text();
    assert!(plain.contains("SCRIPT_NAME=/b c.sh\n") && plain.contains("QUERY_STRING=\n"), "{plain}");
    for name in ["PATH_INFO", "PATH_TRANSLATED", "AUTH_TYPE", "REMOTE_USER", "CONTENT_LENGTH", "CONTENT_TYPE"] {
        assert!(!plain.contains(name), "{name} in\n{plain}");
    }
    let posted = yard.post("/a/env.sh", "Content-Type: a/b\r\nTransfer-Encoding: chunked\r\n", "2\r\nab\r\n0\r\n\r\n");
    let posted = posted.await.text();
    assert!(posted.contains("CONTENT_LENGTH=2\n") && posted.contains("CONTENT_TYPE=a/b\n"), "{posted}");
    // Names in the target are for others than programs, and what the host is called does not move the port.
    for (target, host, name) in [
        ("http://ada:secret@a.example/a/env.sh", "x", "a.example"),
        ("/a/env.sh", "a.example:", "a.example"),
        ("/a/env.sh", "a.example:99999", "a.example"),
        ("/a/env.sh", "[::1]", "[::1]"),
        ("/a/env.sh", "[::1]:81", "[::1]"),
    ] {
        let request = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let text = common::raw(yard.addr, request.as_bytes()).await.text();
        assert!(text.contains(&format!("SERVER_NAME={name}\n")) && !text.contains("secret"), "{host}: {text}");
        assert!(text.contains(&format!("SERVER_PORT={}\n", yard.addr.port())), "{host}: {text}");
    }
    let head = yard.ask("HEAD", "/env.cgi", &[]).await;
    assert_eq!((head.status, head.header("content-type"), head.body.len()), (200, "text/plain", 0));
}

#[tokio::test]
async fn programs_need_no_extension_in_their_address() {
    let yard = Yard::new(
        &[
            ("course.sh", ENV),
            ("sub/b c.cgi", &format!("#!/bin/sh\n{ENV}")),
            ("two.sh", ENV),
            ("two.cgi", ENV),
            ("file", "a file"),
            ("file.sh", ENV),
            ("folder/a.txt", "a"),
            ("folder.sh", ENV),
            (".hidden.sh", ENV),
            ("gone.cgi.sh", ENV),
        ],
        None,
    )
    .await;
    let root = yard.dir.path().canonicalize().unwrap().display().to_string();
    let told = async |path: &str, lines: &[&str]| {
        let text = yard.get(path).await.text();
        for line in lines {
            assert!(text.lines().any(|l| l == *line), "{path}: {line} is missing in\n{text}");
        }
        text
    };
    let file = format!("SCRIPT_FILENAME={root}/course.sh");
    let all = ["SCRIPT_NAME=/course", &file, "QUERY_STRING=code=4021", "REQUEST_URI=/course?code=4021"];
    assert!(!told("/course?code=4021", &all).await.contains("PATH_INFO"));
    told("/course/4021/%41", &["SCRIPT_NAME=/course", &file, "PATH_INFO=/4021/A", "DOCUMENT_URI=/course/4021/A"]).await;
    told("/course/", &["SCRIPT_NAME=/course", "PATH_INFO=/"]).await;
    told("/sub/b%20c", &["SCRIPT_NAME=/sub/b c", &format!("SCRIPT_FILENAME={root}/sub/b c.cgi")]).await;
    assert!(yard.post("/course", "Content-Length: 1\r\n", "x").await.text().contains("REQUEST_METHOD=POST\n"));
    // What is there goes before; where two programs have the name, nobody knows which; what is hidden stays it.
    assert_eq!(yard.get("/file").await.text(), "a file");
    let moved = yard.get("/folder").await;
    assert_eq!((moved.status, moved.header("location")), (301, "/folder/"));
    assert_eq!(yard.get("/folder/a.txt").await.text(), "a");
    for path in [
        "/two",
        "/.hidden",
        "/sub/.hidden",
        "/file/x",
        "/folder/none",
        "/gone.cgi",
        "/none",
        "/sub/../course",
        "/sub/%2e%2e/course",
        "/..%2fcourse",
        "/cours",
        "/course.",
        "/sub/course",
    ] {
        let reply = yard.get(path).await;
        assert!(matches!(reply.status, 400 | 404) && !reply.text().contains("SCRIPT"), "{path}: {}", reply.status);
    }
}

#[tokio::test]
async fn what_can_not_run_is_found_before_anybody_asks() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    std::fs::write(path("plain"), "").unwrap();
    let look = async |add: &dyn Fn(&mut Programs)| {
        let mut programs = Programs::new(dir.path(), ProgramLimits::default()).unwrap();
        add(&mut programs);
        programs.look().await
    };
    for good in [None, Some("sh".into()), Some("/bin/sh".into())] {
        assert_eq!(look(&|p| p.cgi("x", good.clone())).await, Ok(vec![]), "{good:?}");
    }
    let wrong = ["no-such-program".into(), path("none"), path("plain"), dir.path().to_owned()];
    for program in wrong {
        let error = look(&|p| p.cgi("x", Some(program.clone()))).await.unwrap_err();
        assert!(error.contains(&program.display().to_string()) && error.contains(".x files"), "{error}");
    }
    // A FastCGI server may come later.
    let nobody = std::os::unix::net::UnixListener::bind(path("nobody")).unwrap();
    assert_eq!(look(&|p| p.fastcgi("x", Address::Unix(path("nobody")))).await, Ok(vec![]));
    drop(nobody);
    for name in ["nobody", "none"] {
        let warnings = look(&|p| p.fastcgi("x", Address::Unix(path(name)))).await.unwrap();
        assert!(warnings.len() == 1 && warnings[0].contains(&path(name).display().to_string()), "{warnings:?}");
    }
}

// RFC 3875 4.2: as many bytes as CONTENT_LENGTH says can be read
// RFC 3875 4.2: codings of transfer are taken off
// RFC 3875 6.2.2: a path as Location alone is answered with what lies there
// RFC 3875 6.2.3: an address as Location alone is a 302
// RFC 3875 6.3.3: Status is the status
#[tokio::test]
async fn bodies_go_in_and_pages_stream_out() {
    let yard = Yard::new(
        &[
            ("echo.sh", "printf 'Content-Type: text/plain\\r\\n\\r\\n'; echo $CONTENT_TYPE $CONTENT_LENGTH; cat"),
            ("drip.sh", "printf 'Content-Type: text/plain\\n\\nfirst\\n'; sleep 1; echo second"),
            ("index.sh", "printf 'Content-Type: text/plain\\n\\nindex'"),
            (
                "status.sh",
                "printf 'Status: 404 Not Found\\nContent-Type: text/plain\\nSet-Cookie: a=1\\nSet-Cookie: b=2\\n\\nno'",
            ),
            ("away.sh", "printf 'Location: http://example.org/\\n\\n'"),
            ("here.sh", "printf 'Location: /status.sh?x\\n\\n'"),
            ("round.sh", "printf 'Location: /round.sh\\n\\n'"),
            ("nowhere.sh", "printf 'Location: /no path\\n\\n'"),
        ],
        None,
    )
    .await;
    let form = "a=b&c=d";
    let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
    let reply = yard.post("/echo.sh", &format!("{kind}Content-Length: 7\r\n"), form).await;
    assert_eq!(reply.text(), "application/x-www-form-urlencoded 7\na=b&c=d");
    let chunked = yard
        .post("/echo.sh", &format!("{kind}Transfer-Encoding: chunked\r\n"), "3\r\na=b\r\n4\r\n&c=d\r\n0\r\n\r\n")
        .await;
    assert_eq!(chunked.text(), "application/x-www-form-urlencoded 7\na=b&c=d", "a program knows the length before");
    assert_eq!(yard.post("/echo.sh", "Content-Length: 1000001\r\n", "").await.status, 413);
    let long = format!("{:x}\r\n{}\r\n0\r\n\r\n", 1_000_001, "x".repeat(1_000_001));
    assert_eq!(yard.post("/echo.sh", "Transfer-Encoding: chunked\r\n", &long).await.status, 413);
    let spooled = format!("{:x}\r\n{}\r\n0\r\n\r\n", 900_000, "y".repeat(900_000));
    let spooled = yard.post("/echo.sh", "Transfer-Encoding: chunked\r\n", &spooled).await.text();
    assert!(spooled.trim_start().starts_with("900000\n") && spooled.ends_with('y') && spooled.len() > 900_000);
    assert_eq!(yard.get("/").await.text(), "index");
    let missing = yard.get("/status.sh").await;
    assert_eq!((missing.status, &missing.text()[..]), (404, "no"));
    let away = yard.get("/away.sh").await;
    assert_eq!((away.status, away.header("location")), (302, "http://example.org/"));
    assert_eq!(yard.get("/here.sh").await.status, 404, "the other program's answer");
    assert_eq!(yard.get("/round.sh").await.status, 502);
    assert_eq!(yard.get("/nowhere.sh").await.status, 502, "and not the page of the folder");
    // What follows a program is its own; what is hidden is not looked for.
    std::fs::create_dir(yard.path(".hidden")).unwrap();
    std::fs::copy(yard.path("status.sh"), yard.path(".hidden/status.sh")).unwrap();
    std::fs::copy(yard.path("status.sh"), yard.path(".hidden/index.sh")).unwrap();
    std::fs::copy(yard.path("status.sh"), yard.path(".status.sh")).unwrap();
    let info = yard.post("/echo.sh/.well/.x", "Content-Length: 2\r\n", "ab").await;
    assert_eq!((info.status, info.text().ends_with("2\nab")), (200, true));
    for path in ["/.hidden/status.sh", "/.hidden/", "/.status.sh"] {
        let hidden = yard.get(path).await;
        assert!(hidden.status == 404 && hidden.text() != "no", "{path}");
    }
    // What is not a file now is not shown as one either.
    std::fs::create_dir(yard.path("folder.sh")).unwrap();
    for (method, path) in [("GET", "/none.sh"), ("GET", "/folder.sh"), ("GET", "/folder.sh/"), ("PUT", "/none.sh")] {
        assert_eq!(yard.ask(method, path, &[]).await.status, 404, "{method} {path}");
    }

    // The first line is here before the second is made.
    let mut stream = TcpStream::connect(yard.addr).await.unwrap();
    stream.write_all(b"GET /drip.sh HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut got = Vec::new();
    while !String::from_utf8_lossy(&got).contains("first") {
        assert!(stream.read_buf(&mut got).await.unwrap() > 0);
    }
    assert!(!String::from_utf8_lossy(&got).contains("second"));
    stream.read_to_end(&mut got).await.unwrap();
    assert!(String::from_utf8_lossy(&got).contains("second"));
}

/// Waits until a process is gone.
async fn gone(pid: &str) -> bool {
    for _ in 0..500 {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        if stat.is_empty() || stat.contains(") Z ") {
            return true;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    false
}

async fn written(path: PathBuf) -> String {
    for _ in 0..500 {
        match std::fs::read_to_string(&path) {
            Ok(text) if text.ends_with('\n') => return text.trim().to_owned(),
            _ => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
    panic!("{} was not written", path.display());
}

#[tokio::test]
async fn programs_that_misbehave() {
    let child = "sleep 1000 & echo $! > child.tmp; mv child.tmp child;";
    let yard = Yard::new(
        &[
            ("hang.sh", &format!("{child} wait")),
            ("stall/stall.sh", &format!("{child} printf 'Content-Type: text/plain\\n\\nbegun'; wait")),
            ("fork/fork.sh", &format!("{child} printf 'Content-Type: text/plain\\n\\ndone'")),
            ("left/left.sh", &format!("{child} printf 'Content-Type: text/plain\\n\\n'; while :; do echo x; sleep 0.05; done")),
            ("away/away.sh", "setsid sh -c 'echo $$ > child.tmp; mv child.tmp child; sleep 1000' & printf 'Content-Type: text/plain\\n\\ndone'; sleep 0.3"),
            ("endless/page.sh", "printf 'Content-Type: text/plain\\n\\n'; echo $$ > child.tmp; mv child.tmp child; while :; do echo x; sleep 0.1; done"),
            ("slowly.sh", "cat > /dev/null; printf 'Content-Type: text/plain\\n\\nok'"),
            ("garbage.sh", "echo '<html>no header</html>'; echo"),
            ("endless.sh", "while :; do printf 'X: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy\\n'; done"),
            ("silent.sh", "exit 3"),
            ("dies.sh", "kill -9 $$"),
            ("cut.sh", "printf 'Content-Type: text/plain\\nContent-Length: 10\\n\\nabc'"),
            ("loud.sh", "for i in 1 2 3 4 5 6 7 8; do head -c 100000 /dev/zero >&2; done; printf 'Content-Type: text/plain\\n\\nok'"),
            ("deaf.sh", "exec <&-; sleep 0.2; printf 'Content-Type: text/plain\\n\\nok'"),
            ("part.sh", "cat > got.tmp; mv got.tmp got; printf 'Content-Type: text/plain\\n\\nok'"),
            ("plain.cgi", "no interpreter"),
        ],
        None,
    )
    .await;
    let began = Instant::now();
    let hang = yard.get("/hang.sh").await;
    assert!(hang.status == 504 && began.elapsed() >= PATIENCE && !hang.text().contains("hang"), "{}", hang.status);
    assert!(gone(&written(yard.path("child")).await).await, "with all of its children");
    let stall = yard.get("/stall/stall.sh").await;
    assert!(stall.text() == "begun" && !stall.whole, "breaks off");
    assert!(gone(&written(yard.path("stall/child")).await).await);
    let fork = yard.get("/fork/fork.sh").await;
    assert!(fork.text() == "done" && fork.whole, "the page does not wait for children");
    assert!(gone(&written(yard.path("fork/child")).await).await);
    let began = Instant::now();
    let away = yard.get("/away/away.sh").await;
    assert!(away.text() == "done" && away.whole && began.elapsed() < PATIENCE, "nor for who has left the group");
    let daemon = written(yard.path("away/child")).await;
    assert!(std::fs::metadata(format!("/proc/{daemon}")).is_ok(), "which goes on");
    std::process::Command::new("kill").args(["-9", &daemon]).status().unwrap();
    assert_eq!(yard.ask("HEAD", "/endless/page.sh", &[]).await.status, 200);
    assert!(gone(&written(yard.path("endless/child")).await).await, "nobody waits for it");
    // A body that takes longer than a program may be silent.
    let mut stream = TcpStream::connect(yard.addr).await.unwrap();
    let head = "POST /slowly.sh HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 6\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    for _ in 0..6 {
        tokio::time::sleep(Duration::from_millis(600)).await;
        stream.write_all(b"x").await.unwrap();
    }
    let mut raw = Vec::new();
    stream.read_to_end(&mut raw).await.unwrap();
    assert_eq!(common::parse(&raw).unwrap().text(), "ok");
    for (name, status) in
        [("garbage.sh", 502), ("endless.sh", 502), ("silent.sh", 502), ("dies.sh", 502), ("plain.cgi", 502)]
    {
        assert_eq!(yard.get(&format!("/{name}")).await.status, status, "{name}");
    }
    assert!(yard.is_broken("/cut.sh").await, "shorter than it said");
    assert_eq!(yard.get("/loud.sh").await.text(), "ok");
    let body = "x".repeat(90_000);
    assert!(yard.post("/deaf.sh", "Content-Length: 90000\r\n", &body).await.text() == "ok");

    // Who leaves takes the program along.
    let mut stream = TcpStream::connect(yard.addr).await.unwrap();
    stream.write_all(b"GET /left/left.sh HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let pid = written(yard.path("left/child")).await;
    drop(stream);
    assert!(gone(&pid).await, "the client is gone, and its program still runs");

    // A body that breaks off is not taken for the whole.
    let mut stream = TcpStream::connect(yard.addr).await.unwrap();
    stream.write_all(b"POST /part.sh HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nhalf").await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    drop(stream);
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!yard.path("got").exists());
}

#[tokio::test]
async fn programs_end_with_the_server() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.sh"), "echo $$ > pid.tmp; mv pid.tmp pid; sleep 1000").unwrap();
    let mut programs = Programs::new(dir.path(), ProgramLimits::default()).unwrap();
    programs.cgi("sh", Some("/bin/sh".into()));
    let folder = Folder::new(dir.path(), FolderOptions::default()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let serving = Serving::new(Website { folder, programs });
    let server = tokio::spawn(web::serve(serving, vec![listener], async { drop(stopped.await) }));
    let mut stream = TcpStream::connect(addr).await.unwrap();
    stream.write_all(b"GET /a.sh HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let pid = written(dir.path().join("pid")).await;
    stop.send(()).unwrap();
    server.await.unwrap().unwrap();
    assert!(gone(&pid).await);
}

#[tokio::test]
async fn many_wait_for_their_turn() {
    let yard = Yard::new(&[("slow.sh", "sleep 0.3; printf 'Content-Type: text/plain\\n\\nok'")], None).await;
    let began = Instant::now();
    let mut all = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let addr = yard.addr;
        all.spawn(async move { common::ask(addr, "GET", "/slow.sh", &[]).await });
    }
    for reply in all.join_all().await {
        assert!(reply.text().contains("ok"));
    }
    assert!(began.elapsed() >= Duration::from_millis(600), "four at once, and then four");
}

#[tokio::test]
async fn neither_slow_senders_nor_slow_readers_hold_places() {
    let page = "printf 'Content-Type: text/plain\\n\\n'; head -c 3000000 /dev/zero; echo $$ > pid.tmp; mv pid.tmp pid";
    let yard = Yard::new(
        &[
            ("take.sh", "cat > /dev/null; printf 'Content-Type: text/plain\\n\\nok'"),
            ("a/page.sh", page),
            ("b/page.sh", page),
            ("c/page.sh", page),
            ("d/page.sh", page),
            ("here.sh", "printf 'Content-Type: text/plain\\n\\nhere'"),
        ],
        None,
    )
    .await;
    // More of them than there are places, and none of them is given up before the test is.
    let take = [("take.sh", "cat > /dev/null"), ("here.sh", "printf 'Content-Type: text/plain\\n\\nhere'")];
    let patient = Yard::patient(&take, None, Duration::from_secs(3600)).await;
    let mut idle = Vec::new();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(patient.addr).await.unwrap();
        stream.write_all(b"POST /take.sh HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx").await.unwrap();
        idle.push(stream);
    }
    assert_eq!(patient.get("/here.sh").await.text(), "here", "nobody waits for those who send nothing");
    idle.clear();
    for _ in 0..8 {
        let mut stream = TcpStream::connect(yard.addr).await.unwrap();
        stream.write_all(b"POST /take.sh HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx").await.unwrap();
        idle.push(stream);
    }
    for mut stream in idle.drain(..) {
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw).await.unwrap();
        assert_eq!(common::parse(&raw).unwrap().status, 408);
    }
    // Their pages are longer than a socket takes, and nobody reads them.
    for name in ["a", "b", "c", "d"] {
        let mut stream = TcpStream::connect(yard.addr).await.unwrap();
        let request = format!("GET /{name}/page.sh HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        idle.push(stream);
    }
    for name in ["a", "b", "c", "d"] {
        assert!(gone(&written(yard.path(&format!("{name}/pid"))).await).await, "it came to its end");
    }
    assert_eq!(yard.get("/here.sh").await.text(), "here");
    for mut stream in idle {
        let mut raw = Vec::new();
        stream.read_to_end(&mut raw).await.unwrap();
        let reply = common::parse(&raw).unwrap();
        assert!(reply.whole && reply.body.len() == 3_000_000, "and whoever reads later gets all of it");
    }
}

/// Plays a FastCGI server: for each request that comes, what it says; None: it closes the connection.
async fn player(answers: Vec<Vec<u8>>) -> (Address, tokio::task::JoinHandle<Vec<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = Address::Tcp(listener.local_addr().unwrap().to_string());
    let task = tokio::spawn(async move {
        let mut requests = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            // The end of the body is the last record.
            while !request.ends_with(&[1, 5, 0, 1, 0, 0, 0, 0]) && stream.read_buf(&mut request).await.unwrap_or(0) > 0
            {
            }
            requests.push(request);
            let _ = stream.write_all(&answer).await;
        }
        requests
    });
    (address, task)
}

fn record(kind: u8, content: &[u8]) -> Vec<u8> {
    let len = (content.len() as u16).to_be_bytes();
    [&[1, kind, 0, 1, len[0], len[1], 0, 0], content].concat()
}

const END: [u8; 16] = [1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

#[tokio::test]
async fn fastcgi_servers_good_and_bad() {
    let page = [
        record(7, b"a complaint\n"),
        record(6, b"Content-Type: text/plain\r\n\r"),
        record(6, b"\nhel"),
        record(6, b"lo"),
        END.to_vec(),
    ];
    let cut = [record(6, b"Content-Type: text/plain\n\nhalf")];
    let refused = [1, 3, 0, 1, 0, 8, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0];
    let answers = vec![
        page.concat(),
        cut.concat(),
        refused.to_vec(),
        b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(),
        vec![],
        END.to_vec(),
    ];
    let (address, task) = player(answers).await;
    let yard = Yard::new(&[("a.fcgi", "")], Some(address)).await;
    let reply = yard.post("/a.fcgi/info?q=1", "Content-Length: 3\r\n", "xyz").await;
    assert_eq!((reply.status, reply.header("content-type")), (200, "text/plain"));
    assert!(reply.text() == "hello" && reply.whole, "{}", reply.text());
    assert!(yard.is_broken("/a.fcgi").await);
    for what in ["refused", "no FastCGI", "closed", "no answer"] {
        assert_eq!(yard.get("/a.fcgi").await.status, 502, "{what}");
    }
    let requests = task.await.unwrap();
    let first = String::from_utf8_lossy(&requests[0]).into_owned();
    assert!(
        first.contains("SCRIPT_NAME/a.fcgi") && first.contains("PATH_INFO/info") && first.contains("xyz"),
        "{first}"
    );
    assert_eq!(yard.get("/a.fcgi").await.status, 502, "nobody listens any more");
}
