//! URLs of trackers: `http`, `https` and `udp`, with IPv6 literals, and what a redirect makes of them (RFC 3986).
//!
//! Only what announcing needs is read; the text itself is kept, since trackers compare it with what they gave out.
//! Credentials, escapes and relative paths are passed on as they are.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Longest URL accepted, in bytes.
pub(crate) const URL_LEN_MAX: usize = 2048;

/// How a tracker is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    /// Plain HTTP (BEP 3).
    Http,
    /// HTTP over TLS.
    Https,
    /// Datagrams (BEP 15).
    Udp,
}

/// A tracker's URL, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    text: String,
    /// How it is spoken to.
    pub scheme: Scheme,
    /// Name or address, without the brackets of an IPv6 literal.
    pub host: String,
    /// Port, given or the scheme's own.
    pub port: u16,
    authority_end: usize,
    path_end: usize,
}

/// Why a URL can't be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Longer than 2,048 bytes.
    #[error("tracker URL of {0} bytes; at most 2,048 are accepted")]
    TooLong(usize),
    /// Not `http`, `https` or `udp`.
    #[error("tracker URL {0:?}: only http, https and udp are supported")]
    Scheme(String),
    /// No host, or a port that is no number from 1 to 65535.
    #[error("tracker URL {0:?}: no usable host and port")]
    Authority(String),
    /// A control character or a space.
    #[error("tracker URL {0:?} contains spaces or control characters")]
    Characters(String),
}

impl Url {
    /// Reads a URL. A fragment is cut off.
    pub fn parse(text: &str) -> Result<Url, UrlError> {
        let text = text.trim();
        if text.len() > URL_LEN_MAX {
            return Err(UrlError::TooLong(text.len()));
        }
        if text.chars().any(|c| c.is_control() || c == ' ') {
            return Err(UrlError::Characters(text.to_owned()));
        }
        let text = text.split('#').next().unwrap_or_default();
        let (scheme, rest) = text.split_once("://").ok_or_else(|| UrlError::Scheme(text.to_owned()))?;
        let (scheme, port_default) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Scheme::Http, Some(80)),
            "https" => (Scheme::Https, Some(443)),
            "udp" => (Scheme::Udp, None),
            _ => return Err(UrlError::Scheme(text.to_owned())),
        };
        let authority = &rest[..rest.find(['/', '?']).unwrap_or(rest.len())];
        let (host, port) =
            host_and_port(authority, port_default).ok_or_else(|| UrlError::Authority(text.to_owned()))?;
        let authority_end = text.len() - rest.len() + authority.len();
        let path_end = text.find('?').unwrap_or(text.len());
        Ok(Url { host: host.to_owned(), port, scheme, authority_end, path_end, text: text.to_owned() })
    }

    /// The whole URL, as it was given.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The path, which may be empty.
    pub fn path(&self) -> &str {
        &self.text[self.authority_end..self.path_end]
    }

    /// What follows the question mark, if there is one.
    pub fn query(&self) -> Option<&str> {
        self.text.get(self.path_end + 1..)
    }

    /// Path and query, as BEP 41 sends them.
    pub fn path_and_query(&self) -> &str {
        &self.text[self.authority_end..]
    }

    /// The host as an address, if it is a literal.
    pub fn ip(&self) -> Option<IpAddr> {
        let v6 = || self.host.parse::<Ipv6Addr>().map(IpAddr::V6).ok();
        self.host.parse::<Ipv4Addr>().map(IpAddr::V4).ok().or_else(v6)
    }

    /// Where a redirect leads: an absolute URL, one without its scheme, or an absolute path. Anything else is refused;
    /// so is the way from TLS to plain text and from HTTP to datagrams.
    pub fn redirect(&self, location: &str) -> Option<Url> {
        let (scheme, _) = self.text.split_once(':')?;
        let text = if location.starts_with("//") {
            format!("{scheme}:{location}")
        } else if location.starts_with('/') {
            format!("{}{location}", &self.text[..self.authority_end])
        } else {
            location.to_owned()
        };
        let to = Url::parse(&text).ok()?;
        (to.scheme == Scheme::Https || (to.scheme == Scheme::Http && self.scheme == Scheme::Http)).then_some(to)
    }

    /// May this be fetched from an address inside (loopback, private, link-local)? Only if it looks like a tracker's
    /// and like nothing else: the path as in [`Url::has_tracker_path`], and no parameter of an announce in the query
    /// already. A torrent could otherwise aim any request at services behind the user's firewall.
    pub fn may_be_local(&self) -> bool {
        const OURS: [&str; 5] = ["info_hash", "peer_id", "port", "event", "key"];
        let taken = |q: &str| q.split('&').any(|pair| OURS.contains(&pair.split('=').next().unwrap_or_default()));
        self.has_tracker_path() && !self.query().is_some_and(taken)
    }

    /// True if the path ends in `/announce` or `/scrape`.
    pub fn has_tracker_path(&self) -> bool {
        self.path().ends_with("/announce") || self.path().ends_with("/scrape")
    }
}

/// Splits `user@host:port`; credentials stay in the text of the URL.
fn host_and_port(authority: &str, port_default: Option<u16>) -> Option<(&str, u16)> {
    let authority = authority.rsplit('@').next()?;
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':')?) })
        }
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, None),
        },
    };
    let port = match port {
        Some(port) if !port.is_empty() => port.parse().ok().filter(|p| *p != 0)?,
        _ => port_default?,
    };
    (!host.is_empty() && !host.contains(['[', ']', ':']) || host.contains(':') && authority.starts_with('['))
        .then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn takes_urls_apart() {
        let check = |text: &str, host: &str, port: u16, path: &str, query: Option<&str>| {
            let url = Url::parse(text).unwrap();
            assert_eq!((url.host.as_str(), url.port, url.path(), url.query()), (host, port, path, query), "{text}");
        };
        check("http://a.example/announce", "a.example", 80, "/announce", None);
        check("HTTPS://a.example/x/announce?k=1#frag", "a.example", 443, "/x/announce", Some("k=1"));
        check("udp://a.example:6969", "a.example", 6969, "", None);
        check("udp://[2001:db8::1]:6969/announce?a", "2001:db8::1", 6969, "/announce", Some("a"));
        check("http://[::1]/announce", "::1", 80, "/announce", None);
        check("http://u:p@h:81?x=y", "h", 81, "", Some("x=y"));
        check(" http://h:/announce\n", "h", 80, "/announce", None);
    }

    #[test]
    fn refuses_what_it_cannot_use() {
        for text in [
            "",
            "a.example/announce",
            "wss://a/",
            "file:///etc/passwd",
            "udp://a.example/announce",
            "http:///x",
            "http://h:0/",
            "http://h:70000/",
            "http://[::1/",
            "http://[a]/",
            "http://a b/",
            "http://a\r\nX: y/",
            "http://a:b:1/",
        ] {
            assert!(Url::parse(text).is_err(), "{text}");
        }
        assert!(Url::parse(&format!("http://h/{}", "x".repeat(URL_LEN_MAX))).is_err());
    }

    #[test]
    fn redirects() {
        let from = Url::parse("http://h:81/announce?a=b").unwrap();
        let to = |location: &str| from.redirect(location).map(|u| u.as_str().to_owned());
        assert_eq!(to("/x?y").as_deref(), Some("http://h:81/x?y"));
        assert_eq!(to("//g/x").as_deref(), Some("http://g/x"));
        assert_eq!(to("https://g/").as_deref(), Some("https://g/"));
        assert_eq!(to("udp://g:1/"), None);
        assert_eq!(to("x"), None);
        assert_eq!(Url::parse("https://h/").unwrap().redirect("http://h/"), None);
    }

    #[test]
    fn only_trackers_are_asked_inside() {
        let check = |text: &str| Url::parse(text).unwrap().may_be_local();
        assert!(check("http://10.0.0.1/announce"));
        assert!(check("http://10.0.0.1/key/announce?pass=x"));
        assert!(!check("http://10.0.0.1/reboot"));
        assert!(!check("http://10.0.0.1/reboot?x=/announce"));
        assert!(!check("http://10.0.0.1/announce?info_hash=x"));
    }

    proptest! {
        #[test]
        fn never_panics(text in ".{0,80}", location in ".{0,40}") {
            for text in [text.clone(), format!("http://{text}")] {
                if let Ok(url) = Url::parse(&text) {
                    let _ = (url.path(), url.query(), url.path_and_query(), url.ip(), url.redirect(&location), url.may_be_local());
                    prop_assert!(url.port != 0 && !url.host.is_empty());
                }
            }
        }
    }
}
