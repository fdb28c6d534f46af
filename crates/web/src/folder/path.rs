//! From the path of a URL to a place in a folder.

use base::percent;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

/// A place in a folder: names, one below the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    names: Vec<Vec<u8>>,
    path: PathBuf,
    folder: bool,
}

impl Place {
    /// Reads the path of a URL. None: it means nothing in a folder, or leads out of it.
    pub(crate) fn parse(path: &str) -> Option<Place> {
        let rest = path.strip_prefix('/')?;
        let mut names = Vec::new();
        for name in rest.split('/') {
            let name = percent::decode(name.as_bytes());
            match &name[..] {
                // Several slashes are one.
                b"" | b"." => continue,
                // A slash that was encoded is part of a name, and no name has one.
                b".." => return None,
                name if name.iter().any(|b| matches!(b, 0 | b'/')) => return None,
                _ => names.push(name),
            }
        }
        let mut path: PathBuf = names.iter().map(|n| Path::new(OsStr::from_bytes(n))).collect();
        if names.is_empty() {
            path.push(".");
        }
        Some(Place { names, path, folder: rest.is_empty() || rest.ends_with('/') })
    }

    /// Relative to the folder; never empty.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The names that lead there.
    pub(crate) fn names(&self) -> &[Vec<u8>] {
        &self.names
    }

    /// Asked for with a slash at the end.
    pub(crate) fn is_folder(&self) -> bool {
        self.folder
    }

    /// One of its names begins with a dot.
    pub(crate) fn is_hidden(&self) -> bool {
        (0..self.names.len()).any(|i| self.hides(i))
    }

    /// The name `i` does, and all below it is hidden.
    pub(crate) fn hides(&self, i: usize) -> bool {
        self.names[i][0] == b'.' && !(i == 0 && self.names[i] == b".well-known")
    }

    /// The path as it is written in URLs, with a slash at the end; never two at the beginning, which would name a host.
    pub(crate) fn as_folder(&self, query: Option<&str>) -> String {
        let mut url = String::from("/");
        for name in &self.names {
            url += &segment(name);
            url.push('/');
        }
        if let Some(query) = query {
            url.push('?');
            url += &percent::encode(query.as_bytes(), b"!$&'()*+,/:;=?@%[]");
        }
        url
    }
}

/// A name as one segment of a URL.
pub(super) fn segment(name: &[u8]) -> String {
    percent::encode(name, b"+,=:@")
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ways_in_and_none_out() {
        let path = |url: &str| Place::parse(url).map(|p| p.path().to_string_lossy().into_owned());
        assert_eq!(path("/").as_deref(), Some("."));
        assert_eq!(path("//").as_deref(), Some("."));
        assert_eq!(path("/a//b/./c").as_deref(), Some("a/b/c"));
        assert_eq!(path("/a%20b/%C3%A9").as_deref(), Some("a b/\u{e9}"));
        assert_eq!(path("/a%252e").as_deref(), Some("a%2e"), "decoded once");
        assert_eq!(path("/..x/...").as_deref(), Some("..x/..."));
        assert_eq!(path("/a\\..\\b").as_deref(), Some("a\\..\\b"), "a name like others");
        for out in ["/..", "/../a", "/a/../b", "/%2e%2e/a", "/.%2E/a", "/a%2f..%2fb", "/a%2Fb", "/a%00b", "a", "*", ""]
        {
            assert_eq!(path(out), None, "{out}");
        }
    }

    #[test]
    fn what_is_hidden_and_where_folders_are() {
        let place = |url: &str| Place::parse(url).unwrap();
        assert!(
            place("/.git/config").is_hidden() && place("/a/.b").is_hidden() && place("/a/.well-known/x").is_hidden()
        );
        assert!(!place("/.well-known/x").is_hidden() && !place("/a/b.").is_hidden() && !place("/").is_hidden());
        assert!(place("/a/").is_folder() && place("/").is_folder() && !place("/a").is_folder());
        assert_eq!(place("//evil.example").as_folder(Some("a=b")), "/evil.example/?a=b");
        assert_eq!(place("/a%0d%0ab/c d").as_folder(None), "/a%0D%0Ab/c%20d/");
    }

    proptest! {
        #[test]
        fn no_path_leads_out(url in "/([./%a]|%2e|%2f|%5c|\\.\\./){0,40}") {
            if let Some(place) = Place::parse(&url) {
                use std::path::Component;
                let sound = |c: Component<'_>| matches!(c, Component::Normal(_) | Component::CurDir);
                prop_assert!(place.path().components().all(sound), "{:?}", place);
                prop_assert!(!place.path().as_os_str().is_empty());
            }
        }
    }
}
