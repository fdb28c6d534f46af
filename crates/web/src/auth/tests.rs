//! Names, passwords, and files that change.

use super::*;
use argon2::Argon2;
use argon2::Params;
use argon2::password_hash::PasswordHasher as _;
use argon2::password_hash::phc::PasswordHash;

fn line(name: &str, password: &str) -> String {
    let cheap = Argon2::from(Params::new(8, 1, 1, None).unwrap());
    let hash: PasswordHash = cheap.hash_password(password.as_bytes()).unwrap();
    format!("{name}:{hash}\n")
}

fn headers(value: &str) -> HeaderMap {
    HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(value).unwrap())])
}

fn basic(name: &str, password: &str) -> HeaderMap {
    headers(&format!("Basic {}", BASE64_STANDARD.encode(format!("{name}:{password}"))))
}

async fn name(auth: &Auth, headers: &HeaderMap) -> Option<String> {
    match auth.judge(headers, [192, 0, 2, 1].into()).await {
        Verdict::Known(name) => Some(name.to_string()),
        Verdict::Unknown => None,
        Verdict::Busy => panic!("nobody else is here"),
    }
}

#[tokio::test]
async fn who_is_named_comes_in() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    std::fs::write(&path, line("ada", "a:b") + &line("j\u{f6}rg", "\u{fc}")).unwrap();
    let auth = Auth::open(&path).unwrap();
    for _ in 0..2 {
        assert_eq!(name(&auth, &basic("ada", "a:b")).await.as_deref(), Some("ada"));
        assert_eq!(name(&auth, &basic("j\u{f6}rg", "\u{fc}")).await.as_deref(), Some("j\u{f6}rg"));
        assert_eq!(name(&auth, &basic("ada", "a")).await, None);
        assert_eq!(name(&auth, &basic("bob", "a:b")).await, None);
    }
    assert!(auth.0.users().knows(&auth.0.pair("ada", b"a:b")), "and is known then");
    assert!(!auth.0.users().knows(&auth.0.pair("ada", b"a")) && !auth.0.users().knows(&auth.0.pair("ada:a", b"b")));
    // The file says something else: what was known counts no more.
    std::fs::write(&path, line("ada", "new")).unwrap();
    assert_eq!(name(&auth, &basic("ada", "a:b")).await, None);
    assert_eq!(name(&auth, &basic("ada", "new")).await.as_deref(), Some("ada"));
    // A file that can't be meant, or is gone, changes nothing.
    for wrong in [Some("ada:new\n"), Some(""), None] {
        match wrong {
            Some(text) => std::fs::write(&path, text).unwrap(),
            None => std::fs::remove_file(&path).unwrap(),
        }
        assert_eq!(name(&auth, &basic("ada", "new")).await.as_deref(), Some("ada"), "{wrong:?}");
        assert_eq!(name(&auth, &basic("ada", "a:b")).await, None);
        assert!(!lock(&auth.0.state).said.is_empty() || wrong.is_none());
    }
    std::fs::write(&path, line("bob", "b")).unwrap();
    assert_eq!(name(&auth, &basic("ada", "new")).await, None);
    assert_eq!(name(&auth, &basic("bob", "b")).await.as_deref(), Some("bob"));
    assert!(lock(&auth.0.state).said.is_empty());
}

#[test]
fn what_is_no_name_with_a_password() {
    let long = BASE64_STANDARD.encode(format!("a:{}", "x".repeat(PASSWORD_MAX + 1)));
    let (bytes, empty) = (BASE64_STANDARD.encode(b"\xff:x"), BASE64_STANDARD.encode(":x"));
    for wrong in [
        "",
        "Basic",
        "Basic ",
        "Basic !!!",
        "Basic YQ==",
        "Bearer YTpi",
        &format!("Basic {bytes}"),
        &format!("Basic {empty}"),
        &format!("Basic {long}"),
    ] {
        assert!(credentials(&headers(wrong)).is_none(), "{wrong}");
    }
    let mut two = basic("a", "b");
    two.append(header::AUTHORIZATION, HeaderValue::from_static("Basic YTpi"));
    assert!(credentials(&two).is_none(), "which of them is meant?");
    assert!(credentials(&HeaderMap::new()).is_none());
    assert_eq!(credentials(&headers("bAsIc  YTpi")), Some(("a".into(), b"b".to_vec())));
    assert_eq!(credentials(&basic("a", "")), Some(("a".into(), Vec::new())));
}

#[tokio::test]
async fn few_wait_for_their_check_and_fewer_of_one_address() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("users");
    std::fs::write(&path, line("ada", "a")).unwrap();
    let auth = Auth::open(&path).unwrap();
    let wait = |from: [u16; 8]| Waiting::new(&auth.0, IpAddr::from(from));
    let mut all = Vec::new();
    for host in 0..WAITING_OF_ONE_MAX as u16 {
        all.push(wait([0x2001, 0xdb8, 0, 1, 0, 0, 0, host]).unwrap());
    }
    let one = [0x2001, 0xdb8, 0, 1, 9, 9, 9, 9];
    assert!(wait(one).is_none());
    assert!(matches!(auth.judge(&basic("ada", "b"), IpAddr::from(one)).await, Verdict::Busy));
    for net in 2.. {
        match wait([0x2001, 0xdb8, 0, net, 0, 0, 0, 0]) {
            Some(place) => all.push(place),
            None => break,
        }
    }
    assert_eq!(all.len(), WAITING_MAX);
    drop(all);
    assert!(lock(&auth.0.waiting).is_empty() && wait(one).is_some());
    assert_eq!(name(&auth, &basic("ada", "a")).await.as_deref(), Some("ada"));
}
