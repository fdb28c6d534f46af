//! Names and passwords over a real socket: who comes in, what programs and the log are told.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

mod common;

use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use web::{AccessLog, Auth, Folder, FolderOptions, Guarded, Limits, ProgramLimits, Programs, Serving, Website};

/// `ada:secret`, `ada:wrong` and `bob:secret`.
const RIGHT: &str = "Authorization: Basic YWRhOnNlY3JldA==";
const WRONG: &str = "Authorization: Basic YWRhOndyb25n";
const NOBODY: &str = "Authorization: Basic Ym9iOnNlY3JldA==";

// RFC 3875 4.1.1: AUTH_TYPE is the scheme by which who asks was let in
// RFC 3875 4.1.11: REMOTE_USER is the name of who was let in
#[tokio::test]
async fn only_who_is_named_comes_in() {
    let dir = tempfile::tempdir().unwrap();
    let www = dir.path().join("www");
    std::fs::create_dir(&www).unwrap();
    std::fs::write(www.join("a.txt"), "hello").unwrap();
    std::fs::write(www.join("env.sh"), "printf 'Content-Type: text/plain\\n\\n'; env").unwrap();
    let file = dir.path().join("users");
    std::fs::write(&file, web::password_line("ada", "secret").unwrap()).unwrap();
    let mut programs = Programs::new(&www, ProgramLimits::default()).unwrap();
    programs.cgi("sh", Some("/bin/sh".into()));
    let options = FolderOptions { write: Some(1000), ..FolderOptions::default() };
    let handler = Website { folder: Folder::new(&www, options).unwrap(), programs };
    let handler = Guarded { handler, auth: Some(Auth::open(&file).unwrap()) };
    let log_path = dir.path().join("log");
    let log = Arc::new(AccessLog::new(std::fs::File::create(&log_path).unwrap(), false).unwrap());
    let serving = Serving { handler, limits: Limits::default(), log: Some(log) };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(web::serve(serving, vec![listener], std::future::pending()));

    for (method, path) in
        [("GET", "/a.txt"), ("HEAD", "/a.txt"), ("GET", "/missing"), ("PUT", "/b"), ("OPTIONS", "/a.txt")]
    {
        for headers in [&[][..], &[WRONG], &[NOBODY], &[RIGHT, RIGHT]] {
            let refused = common::ask(addr, method, path, headers).await;
            assert_eq!(refused.status, 401, "{method} {path} {headers:?}");
            assert_eq!(refused.header("www-authenticate"), "Basic realm=\"Shoal\", charset=\"UTF-8\"");
            assert!(!refused.text().contains("hello"));
        }
    }
    assert_eq!(common::ask(addr, "GET", "/a.txt", &[RIGHT]).await.text(), "hello");
    assert_eq!(common::ask(addr, "GET", "/missing", &[RIGHT]).await.status, 404);
    let told = common::ask(addr, "GET", "/env.sh", &[RIGHT, "Remote-User: eve"]).await.text();
    assert!(told.contains("\nREMOTE_USER=ada\n") && told.contains("AUTH_TYPE=Basic\n"), "{told}");
    assert!(!told.contains("AUTHORIZATION") && !told.contains("secret"), "{told}");
    let wanted = ["127.0.0.0 - ada [", "\"GET /a.txt HTTP/1.1\" 200 5"];
    let mut text = String::new();
    for _ in 0..500 {
        text = std::fs::read_to_string(&log_path).unwrap();
        if text.lines().any(|line| wanted.iter().all(|w| line.contains(w))) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(text.lines().any(|line| wanted.iter().all(|w| line.contains(w))), "{text}");
    assert!(text.lines().filter(|line| line.contains("\" 401 ")).all(|line| line.contains(" - - [")), "{text}");
}
