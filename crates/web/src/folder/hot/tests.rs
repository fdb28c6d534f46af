//! Nothing old is ever served, whatever happens to the folder.

use super::*;
use axum::body::HttpBody as _;
use axum::http::header;
use proptest::prelude::*;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::PathBuf;
use std::time::Duration;

struct Yard {
    dir: tempfile::TempDir,
    root: Root,
    hot: Hot,
}

impl Yard {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("www/sub/deep")).unwrap();
        fs::create_dir(dir.path().join("out")).unwrap();
        let root = Root::new(&dir.path().join("www")).unwrap();
        let yard = Yard { dir, root, hot: Hot::new() };
        yard.write("a.txt", "one");
        yard.write("sub/deep/b.txt", "two");
        yard
    }

    fn www(&self, name: &str) -> PathBuf {
        self.dir.path().join("www").join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.www(name), text).unwrap();
    }

    /// Waits for the next step of the clock by which files are marked: as `SETTLED` has it in life.
    fn tick(&self) {
        let path = self.dir.path().join("tick");
        let time = || {
            fs::write(&path, "").unwrap();
            let m = fs::metadata(&path).unwrap();
            (m.ctime(), m.ctime_nsec())
        };
        let first = time();
        while time() == first {}
    }

    /// Keeps a file as if all had been quiet for long.
    fn keep(&self, name: &str) {
        self.tick();
        let later = SystemTime::now() + Duration::from_secs(60);
        self.hot.keep(&self.root, &format!("/{name}"), Path::new(name), later);
    }

    fn ask(&self, name: &str, accept: &str) -> Option<(String, HeaderMap)> {
        let headers = HeaderMap::from_iter([(header::ACCEPT_ENCODING, accept.parse().unwrap())]);
        let response = self.hot.answer(&self.root, &format!("/{name}"), &headers)?;
        let (parts, mut body) = response.into_parts();
        let mut text = String::new();
        let mut context = std::task::Context::from_waker(std::task::Waker::noop());
        while let std::task::Poll::Ready(Some(frame)) = std::pin::Pin::new(&mut body).poll_frame(&mut context) {
            text += std::str::from_utf8(&frame.unwrap().into_data().unwrap()).unwrap();
        }
        Some((text, parts.headers))
    }

    fn text(&self, name: &str) -> Option<String> {
        self.ask(name, "").map(|(text, _)| text)
    }

    /// Keeps a file, lets something happen, and sees that what was kept is not served any more.
    fn noticed(&self, name: &str, what: &str, happens: impl FnOnce()) {
        self.keep(name);
        assert!(self.text(name).is_some(), "before {what}");
        happens();
        assert_eq!(self.text(name), None, "{what}");
        assert!(self.hot.shelf.read().unwrap().order.is_empty(), "{what}");
    }
}

#[test]
fn what_happens_to_a_file_is_noticed() {
    let yard = Yard::new();
    let www = |name: &str| yard.www(name);
    yard.noticed("a.txt", "written, of the same length", || yard.write("a.txt", "eno"));
    yard.noticed("a.txt", "appended to", || yard.write("a.txt", "eno more"));
    yard.noticed("a.txt", "replaced", || {
        yard.write("new", "eno more");
        fs::rename(www("new"), www("a.txt")).unwrap();
    });
    yard.noticed("a.txt", "written, with its old time", || {
        let time = fs::metadata(www("a.txt")).unwrap().modified().unwrap();
        yard.write("a.txt", "one more");
        fs::File::options().append(true).open(www("a.txt")).unwrap().set_modified(time).unwrap();
    });
    yard.noticed("a.txt", "not for everybody", || {
        fs::set_permissions(www("a.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    });
    yard.noticed("a.txt", "a better form has come", || yard.write("a.txt.gz", "gz"));
    yard.noticed("a.txt", "the better form is written", || yard.write("a.txt.gz", "zg"));
    yard.noticed("a.txt", "the better form is gone", || fs::remove_file(www("a.txt.gz")).unwrap());
    yard.noticed("a.txt", "removed", || fs::remove_file(www("a.txt")).unwrap());
    yard.noticed("sub/deep/b.txt", "moved", || fs::rename(www("sub/deep/b.txt"), www("sub/b.txt")).unwrap());
    yard.write("sub/deep/b.txt", "two");
    yard.noticed("sub/deep/b.txt", "its folder is moved", || fs::rename(www("sub/deep"), www("sub/other")).unwrap());
    fs::rename(www("sub/other"), www("sub/deep")).unwrap();
    yard.noticed("sub/deep/b.txt", "a folder above is moved out, with a link in its place", || {
        fs::rename(www("sub"), yard.dir.path().join("out/sub")).unwrap();
        symlink("../out/sub", www("sub")).unwrap();
    });
    yard.keep("sub/deep/b.txt");
    assert_eq!(yard.text("sub/deep/b.txt"), None, "through a link nothing is kept");
}

#[test]
fn what_is_kept_is_what_would_be_read() {
    let yard = Yard::new();
    yard.write("a.txt.br", "br form");
    yard.keep("a.txt");
    let (text, plain) = yard.ask("a.txt", "gzip").unwrap();
    assert_eq!(
        (&text[..], &plain["content-length"], &plain["vary"]),
        ("one", &"3".parse().unwrap(), &"accept-encoding".parse().unwrap())
    );
    assert!(
        plain["content-type"].to_str().unwrap().starts_with("text/plain") && !plain.contains_key("content-encoding")
    );
    let (text, headers) = yard.ask("a.txt", "br, gzip").unwrap();
    assert_eq!((&text[..], &headers["content-encoding"]), ("br form", &"br".parse().unwrap()));
    assert_ne!(headers["etag"], plain["etag"]);
    let range = HeaderMap::from_iter([(header::RANGE, "bytes=1-".parse().unwrap())]);
    assert_eq!(yard.hot.answer(&yard.root, "/a.txt", &range).unwrap().status(), 206);
    let same = HeaderMap::from_iter([(header::IF_NONE_MATCH, plain["etag"].clone())]);
    assert_eq!(yard.hot.answer(&yard.root, "/a.txt", &same).unwrap().status(), 304);
    // What changed a moment ago might change again without a trace.
    yard.hot.keep(&yard.root, "/sub/deep/b.txt", Path::new("sub/deep/b.txt"), SystemTime::now());
    assert_eq!(yard.text("sub/deep/b.txt"), None);
    symlink("a.txt", yard.www("link")).unwrap();
    yard.write("large", &"x".repeat(SMALL as usize + 1));
    for name in ["link", "large", "missing", "sub"] {
        yard.keep(name);
        assert_eq!(yard.text(name), None, "{name}");
    }
    assert!(!yard.hot.is_wanted("/a") && yard.hot.is_wanted("/a") && !yard.hot.is_wanted("/b"));
}

#[test]
fn room_is_bounded_and_who_is_asked_for_stays() {
    let yard = Yard::new();
    yard.tick();
    let later = SystemTime::now() + Duration::from_secs(60);
    let entry = |path: &str| Arc::new(Entry::new(&yard.root, path, Path::new("a.txt"), later).unwrap());
    let mut shelf = Shelf::default();
    shelf.put(entry("/hot"));
    for n in 0..2 * PATHS_MAX {
        shelf.paths["/hot"].used.store(true, Ordering::Relaxed);
        shelf.put(entry(&format!("/{n}")));
        assert!(shelf.paths.len() <= PATHS_MAX && shelf.paths.len() == shelf.order.len());
    }
    assert!(shelf.paths.contains_key("/hot") && !shelf.paths.contains_key("/0"));
    assert_eq!(shelf.bytes, shelf.order.iter().map(|e| e.bytes()).sum::<usize>());
    yard.write("big", &"x".repeat(SMALL as usize));
    yard.tick();
    let later = SystemTime::now() + Duration::from_secs(60);
    for n in 0..2 * BYTES_MAX / SMALL as usize {
        shelf.put(Arc::new(Entry::new(&yard.root, &format!("/big{n}"), Path::new("big"), later).unwrap()));
        assert!(shelf.bytes <= BYTES_MAX);
    }
    assert_eq!(shelf.bytes, shelf.order.iter().map(|e| e.bytes()).sum::<usize>());
    assert_eq!(shelf.paths.len(), shelf.order.len());
}

/// Things that happen to the files of a folder.
fn happens(yard: &Yard, what: u8, n: u8) {
    let names = ["a.txt", "sub/c", "sub/deep/b.txt"];
    let name = names[usize::from(n) % 3];
    // Some of it is impossible just now; that is as good.
    let _ = match what {
        0 => fs::write(yard.www(name), format!("text {n}")),
        1 => fs::remove_file(yard.www(name)),
        2 => fs::rename(yard.www(name), yard.www(names[usize::from(n / 3) % 3])),
        3 => fs::write(yard.www(&format!("{name}.gz")), format!("form {n}")),
        4 => fs::remove_file(yard.www(&format!("{name}.gz"))),
        5 => fs::rename(yard.www("sub"), yard.dir.path().join("out/sub")),
        6 => fs::rename(yard.dir.path().join("out/sub"), yard.www("sub")),
        7 => symlink("../out/sub", yard.www("sub")),
        8 => fs::remove_file(yard.www("sub")),
        _ => fs::rename(yard.www("sub/deep"), yard.www("sub/other")),
    };
    names.iter().filter(|_| what == 10).for_each(|name| yard.keep(name));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn memory_and_disk_agree(steps in prop::collection::vec((0u8..12, 0u8..9), 1..25)) {
        let yard = Yard::new();
        for (what, n) in steps {
            yard.tick();
            happens(&yard, what.min(10), n);
            for name in ["a.txt", "sub/c", "sub/deep/b.txt"] {
                let truth = read(&yard.root, Path::new(name)).map(|(bytes, _)| String::from_utf8(bytes.to_vec()).unwrap());
                if let Some(text) = yard.text(name) {
                    prop_assert_eq!(Some(text), truth, "{} after {} {}", name, what, n);
                }
                if let Some((text, headers)) = yard.ask(name, "gzip")
                    && headers.contains_key(header::CONTENT_ENCODING)
                {
                    prop_assert_eq!(text, fs::read_to_string(yard.www(&format!("{name}.gz"))).unwrap());
                }
            }
        }
    }
}
