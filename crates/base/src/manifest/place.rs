//! Where a replica of a part lies.

use super::{Manifest, PlaceFault};
use crate::metainfo::names::misleads;
use crate::percent;
use std::fmt;

/// Where a replica of a part lies: on a server, or in a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// At this URL, http or https, without a password.
    Url(String),
    /// In the file with this path. Relative ones begin in the folder, or at the address, of the manifest.
    Path(String),
}

impl Place {
    /// Reads a place. A `file:` URL becomes a path.
    ///
    /// # Errors
    /// If it can't be one, or should not: see [`PlaceFault`].
    pub fn parse(text: &str) -> Result<Self, PlaceFault> {
        if text.is_empty() {
            return Err(PlaceFault::Empty);
        }
        if text.len() > Manifest::PLACE_LEN_MAX {
            return Err(PlaceFault::Long);
        }
        if text.chars().any(misleads) {
            return Err(PlaceFault::Control);
        }
        match scheme(text) {
            Some((scheme, rest)) if ["http", "https"].iter().any(|s| scheme.eq_ignore_ascii_case(s)) => {
                check_url(rest.strip_prefix("//").ok_or(PlaceFault::Host)?)?;
                Ok(Place::Url(text.to_owned()))
            }
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("file") => {
                let path = match rest.strip_prefix("//") {
                    Some(rest) => rest.strip_prefix("localhost").unwrap_or(rest),
                    None => rest,
                };
                if !path.starts_with('/') {
                    return Err(PlaceFault::Host);
                }
                if path.contains(['?', '#']) {
                    return Err(PlaceFault::Character);
                }
                let path = String::from_utf8(percent::decode(path.as_bytes())).map_err(|_| PlaceFault::Control)?;
                if path.chars().any(misleads) {
                    return Err(PlaceFault::Control);
                }
                check_path(&path)?;
                Ok(Place::Path(path))
            }
            Some(_) => Err(PlaceFault::Scheme),
            None => {
                check_path(text)?;
                Ok(Place::Path(plain(text).to_owned()))
            }
        }
    }

    /// The URL of it, for a manifest that was itself at this URL. None for absolute paths: whoever wrote what lies on a
    /// server has no business with files of ours.
    pub fn url(&self, manifest_url: &str) -> Option<String> {
        match self {
            Place::Url(url) => Some(url.clone()),
            Place::Path(path) if path.starts_with('/') => None,
            Place::Path(path) => {
                let base = manifest_url.split(['?', '#']).next().unwrap_or_default();
                let host_at = base.find("://").map_or(0, |at| at + 3);
                let folder = base[host_at..].rfind('/').map_or(base.len(), |at| host_at + at);
                Some(format!("{}/{}", &base[..folder], percent::encode(path.as_bytes(), b"/")))
            }
        }
    }

    /// The folder that it is in, with a `/` at the end: all parts that one server holds have the same.
    pub fn folder(&self) -> &str {
        let (text, end) = match self {
            Place::Url(url) => (url, url.find('?').unwrap_or(url.len())),
            Place::Path(path) => (path, path.len()),
        };
        text[..end].rfind('/').map_or("./", |at| &text[..=at])
    }

    /// As manifests write it. A path that could be taken for a URL begins with `./`.
    pub(super) fn written(&self) -> String {
        match self {
            Place::Path(path) if scheme(path).is_some() => format!("./{path}"),
            Place::Url(text) | Place::Path(text) => text.clone(),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Url(text) | Place::Path(text) => f.write_str(text),
        }
    }
}

/// A relative path without the `./` at its beginning.
fn plain(path: &str) -> &str {
    let mut rest = path;
    while let Some(inner) = rest.strip_prefix("./") {
        rest = inner.trim_start_matches('/');
    }
    rest
}

/// The scheme of a URL and what is behind its colon; None for a path. Names of files have colons too, so that only what has
/// a `//` behind it is a URL, and `file:` alone.
fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let named = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    let is = named && (rest.starts_with("//") || scheme.eq_ignore_ascii_case("file"));
    is.then_some((scheme, rest))
}

/// What is behind `http://`.
fn check_url(rest: &str) -> Result<(), PlaceFault> {
    if rest.contains([' ', '\\', '#']) {
        return Err(PlaceFault::Character);
    }
    let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    if host.contains('@') {
        return Err(PlaceFault::Password);
    }
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.ends_with(']') => (name, port),
        _ => (host, ""),
    };
    if name.is_empty() || !(port.is_empty() || port.parse::<u16>().is_ok()) {
        return Err(PlaceFault::Host);
    }
    let path = path.split('?').next().unwrap_or_default();
    if path.is_empty() || path.ends_with('/') {
        return Err(PlaceFault::NoFile);
    }
    // Servers decode before they look for folders.
    let up = |part: &str| matches!(&percent::decode(part.as_bytes())[..], b"." | b"..");
    if path.split('/').any(up) { Err(PlaceFault::Up) } else { Ok(()) }
}

fn check_path(path: &str) -> Result<(), PlaceFault> {
    match path.rsplit('/').next() {
        None | Some("" | ".") => Err(PlaceFault::NoFile),
        _ if path.split('/').any(|part| part == "..") => Err(PlaceFault::Up),
        _ => Ok(()),
    }
}
