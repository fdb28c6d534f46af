//! Where requests go by their paths.

use axum::http::Uri;
use base::percent;
use std::str::FromStr;

/// Where requests go: `PREFIX=URL`. With a path in the URL, that takes the place of the prefix; without one, paths stay as they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// The names that such a path begins with, decoded.
    prefix: Vec<Vec<u8>>,
    /// Host and port.
    pub(super) server: String,
    path: Option<String>,
}

impl FromStr for Route {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (prefix, url) = text.split_once('=').ok_or("write the prefix of paths, a = and a URL")?;
        if !prefix.starts_with('/') || prefix.contains(['?', '#']) || !is_plain(prefix) {
            return Err(format!("{prefix:?} is no path: it begins with a slash"));
        }
        let rest = url
            .strip_prefix("http://")
            .ok_or_else(|| format!("{url} is no http:// URL, which the server behind must have"))?;
        let (server, path) = match rest.find('/') {
            Some(at) => (&rest[..at], Some(&rest[at..])),
            None => (rest, None),
        };
        let sound = url.parse::<Uri>().is_ok_and(|u| u.query().is_none() && u.host().is_some_and(|h| !h.is_empty()));
        if !sound || server.contains('@') || url.contains('#') {
            return Err(format!("{url} is no URL of a server; write http://HOST:PORT or http://HOST:PORT/PATH"));
        }
        let has_port = server.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
        let server = if has_port { server.to_owned() } else { format!("{server}:80") };
        let names = prefix.split('/').filter(|name| !name.is_empty());
        let prefix = names.map(|name| percent::decode(name.as_bytes())).collect();
        Ok(Route { prefix, server, path: path.map(ToOwned::to_owned) })
    }
}

impl Route {
    /// How exactly it says which paths it is for.
    pub(super) fn depth(&self) -> usize {
        self.prefix.len()
    }

    /// What a path is there; None: it does not begin with the prefix.
    pub(super) fn target(&self, uri: &Uri) -> Option<String> {
        let rest = self.rest(uri.path())?;
        let path = match &self.path {
            None => uri.path().to_owned(),
            Some(path) => format!("{}{rest}", path.trim_end_matches('/')),
        };
        let path = if path.is_empty() { "/".to_owned() } else { path };
        Some(uri.query().map_or(path.clone(), |query| format!("{path}?{query}")))
    }

    /// What follows the prefix. Names count as they are meant, however they are written, as they do where files are looked for: what is for a server
    /// behind is never looked for in the folder.
    fn rest<'a>(&self, path: &'a str) -> Option<&'a str> {
        let mut rest = Some(path).filter(|path| path.starts_with('/'))?;
        for wanted in &self.prefix {
            let name = loop {
                let name = rest.strip_prefix('/')?;
                let end = name.find('/').unwrap_or(name.len());
                rest = &name[end..];
                match &percent::decode(&name.as_bytes()[..end])[..] {
                    b"" | b"." => {}
                    name => break name.to_owned(),
                }
            };
            if name != *wanted {
                return None;
            }
        }
        Some(rest)
    }
}

/// Nothing in a path leads up or ends it, not even for those who take what is encoded for what it encodes, backslashes for slashes, and what
/// follows a semicolon for no part of a name.
pub(super) fn is_plain(path: &str) -> bool {
    let meant = percent::decode(path.as_bytes());
    let walks = |name: &[u8]| matches!(name.split(|b| *b == b';').next(), Some(b"." | b".."));
    !meant.contains(&0) && !meant.split(|b| matches!(b, b'/' | b'\\')).any(walks)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(route: &str, uri: &'static str) -> String {
        route.parse::<Route>().unwrap().target(&Uri::from_static(uri)).unwrap_or_default()
    }

    #[test]
    fn where_paths_go() {
        assert_eq!(target("/app=http://h:1", "/app/x?y=%2F"), "/app/x?y=%2F");
        assert_eq!(target("/app=http://h:1/", "/app/x?y"), "/x?y");
        assert_eq!(target("/app/=http://h:1/base/", "/app/x"), "/base/x");
        assert_eq!(target("/app=http://h:1/", "/app"), "/");
        assert_eq!(target("/=http://h:1", "/a/b"), "/a/b");
        assert_eq!(target("/=http://h:1/base", "/"), "/base/");
        assert_eq!(target("/app=http://h:1", "/apple"), "");
        assert_eq!("/a=http://h".parse::<Route>().unwrap().server, "h:80");
        assert_eq!("/a=http://[::1]:81/x".parse::<Route>().unwrap().server, "[::1]:81");
        for wrong in [
            "/a",
            "a=http://h",
            "/a=https://h",
            "/a=h:1",
            "/a=http://",
            "/a=http://u@h",
            "/a=http://h?x",
            "/../a=http://h",
        ] {
            assert!(wrong.parse::<Route>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn names_count_however_they_are_written() {
        for path in ["/%61pp/%78", "//app/x", "/./app/x", "/%2e//a%70p/x"] {
            assert_ne!(target("/app=http://h:1", path), "", "{path}");
        }
        assert_eq!(target("/%61pp=http://h:1/", "/a%70p/%78"), "/%78", "what follows stays as it is");
        for path in ["/app%2fx", "/ap", "/x/app", "*"] {
            assert_eq!(target("/app=http://h:1", path), "", "{path}");
        }
    }

    #[test]
    fn what_may_walk_up() {
        for walks in [
            "/a/%2e%2E/b",
            "/a/./b",
            "/a/..%2fb",
            "/a%2f..%2fb",
            "/a/..;x=1/b",
            "/a/..%5cb",
            "/a\\..\\b",
            "/.;",
            "/a%00",
        ] {
            assert!(!is_plain(walks), "{walks}");
        }
        for plain in ["/a/..b/%2f", "/a;x=../b..", "/a/%252e%252e/b", "/...", "/"] {
            assert!(is_plain(plain), "{plain}");
        }
    }
}
