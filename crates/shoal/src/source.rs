//! What a SOURCE is: a magnet; a .torrent, a Metalink or a split manifest, in a file or behind a URL; or any other URL.
//!
//! What a file is, its content tells, never its name. One URL may lead to all kinds at once: its headers name the torrent, the
//! Metalink and the mirrors of what is there ([`web`]).

mod split;
mod together;
mod web;

use anyhow::{Context as _, bail};
use base::{Magnet, Manifest, Metainfo, Metalink, Scope};
use node::Plain;
use node::disk::plain;
use node::http::Server;
use node::http::client::Web;
use std::io::Read as _;
use std::path::Path;

/// Largest .torrent that is read, in bytes.
pub const TORRENT_MAX: u64 = 64 << 20;

/// A .torrent, read and understood.
#[derive(Clone, Debug)]
pub struct Torrent {
    /// What it says.
    pub metainfo: Metainfo,
}

/// What there is to fetch.
#[derive(Clone, Debug)]
pub struct Source {
    /// What it is.
    pub what: What,
    /// Servers that have it, beside those that it names itself.
    pub servers: Vec<Server>,
    /// How near whoever named it is.
    pub told_by: Scope,
    /// The folder below the output folder that it goes to, if not into that itself.
    pub folder: Option<String>,
    /// How long it is, and the SHA-256 of all of it, where that is known.
    pub digest: Option<(u64, [u8; 32])>,
    /// What the user should know of how it was found.
    pub notes: Vec<String>,
}

/// What it is.
#[derive(Clone, Debug)]
pub enum What {
    /// A magnet link.
    Magnet(Box<Magnet>),
    /// A .torrent.
    Torrent(Box<Torrent>),
    /// A file that no torrent describes.
    Plain(Box<Plain>),
    /// What a server sends without saying how long it is.
    Endless {
        /// Where it is.
        url: String,
        /// A safe name for it.
        name: String,
    },
}

impl Source {
    fn new(what: What, servers: Vec<Server>, told_by: Scope) -> Self {
        let digest = match &what {
            What::Plain(plain) => together::digest(plain.plan.layout.content_len(), plain.plan.whole),
            _ => None,
        };
        Source { what, servers, told_by, folder: None, digest, notes: Vec::new() }
    }

    fn here(what: What) -> Self {
        Source::new(what, Vec::new(), Scope::Loopback)
    }
}

pub use together::together;

/// Finds out what `text` is, and reads it. A Metalink may name several files.
pub async fn find(client: &Web, text: &str) -> anyhow::Result<Vec<Source>> {
    if text.is_empty() {
        bail!("a SOURCE is empty: name a link, a magnet or a file");
    }
    if is_magnet(text) {
        return Ok(vec![Source::here(What::Magnet(Box::new(magnet(text)?)))]);
    }
    if is_url(text) {
        return web::find(client, text).await;
    }
    if let Some((scheme, _)) = text.split_once("://").filter(|(_, rest)| !rest.is_empty())
        && !Path::new(text).exists()
    {
        bail!("{text}: can't fetch {scheme}: URLs; magnet:, http: and https: are known");
    }
    let content = content(Path::new(text))?;
    match kind(&content) {
        Kind::Metalink => {
            let metalink = Metalink::parse(&content).with_context(|| text.to_owned())?;
            web::of_metalink(client, metalink, Scope::Loopback).await.with_context(|| text.to_owned())
        }
        Kind::Manifest => {
            let manifest = Manifest::parse(&content).with_context(|| text.to_owned())?;
            let folder = Path::new(text).parent().unwrap_or(Path::new(""));
            Ok(vec![split::source(&manifest, split::Origin::Folder(folder)).with_context(|| text.to_owned())?])
        }
        _ => {
            let torrent = understand(content).with_context(|| text.to_owned())?;
            Ok(vec![Source::here(What::Torrent(Box::new(torrent)))])
        }
    }
}

/// True for a magnet link.
pub fn is_magnet(text: &str) -> bool {
    text.trim_start().get(..7).is_some_and(|scheme| scheme.eq_ignore_ascii_case("magnet:"))
}

/// True for what a server has.
pub fn is_url(text: &str) -> bool {
    ["http://", "https://"].iter().any(|s| text.get(..s.len()).is_some_and(|head| head.eq_ignore_ascii_case(s)))
}

/// Reads a magnet link.
pub fn magnet(text: &str) -> anyhow::Result<Magnet> {
    text.parse().with_context(|| format!("broken magnet link {:.100}", text))
}

/// Reads a .torrent file.
pub fn read(path: &Path) -> anyhow::Result<Torrent> {
    understand(content(path)?).with_context(|| path.display().to_string())
}

/// The content of a file that should be a .torrent or the like.
fn content(path: &Path) -> anyhow::Result<Vec<u8>> {
    let shown = path.display();
    let failed = || format!("can't read {shown}");
    let Some((mut file, len)) = plain::open(path).with_context(failed)? else {
        bail!(match path.is_dir() {
            true => format!("{shown} is a folder; name a .torrent file, a magnet or a link"),
            false => format!("{shown} is no plain file; save what it gives to a file, and name that"),
        });
    };
    if len > TORRENT_MAX {
        bail!(
            "{shown} is no .torrent: it has {}, and {} is the limit",
            crate::units::bytes(len),
            crate::units::bytes(TORRENT_MAX)
        );
    }
    let mut content = Vec::new();
    (&mut file).take(TORRENT_MAX).read_to_end(&mut content).with_context(failed)?;
    Ok(content)
}

/// Understands the content of a file.
fn understand(content: Vec<u8>) -> anyhow::Result<Torrent> {
    match kind(&content) {
        Kind::Torrent => {
            let metainfo = Metainfo::parse(&content)?;
            Ok(Torrent { metainfo })
        }
        Kind::Metalink => bail!("is a Metalink; a .torrent is wanted"),
        Kind::Manifest => bail!("is a split manifest; a .torrent is wanted"),
        Kind::Other(what) => bail!("{what}"),
    }
}

enum Kind {
    Torrent,
    Metalink,
    Manifest,
    /// Something else, and what to say of it.
    Other(&'static str),
}

/// Tells by the first bytes what a file is.
fn kind(content: &[u8]) -> Kind {
    let start = content.trim_ascii_start();
    let head = String::from_utf8_lossy(&start[..start.len().min(1024)]);
    match start {
        [] => Kind::Other("is empty; a .torrent is wanted"),
        [b'd', b'0'..=b'9' | b'e', ..] => Kind::Torrent,
        _ if Metalink::is_likely(content) => Kind::Metalink,
        _ if Manifest::is_likely(content) => Kind::Manifest,
        _ if is_magnet(&head) => Kind::Other("holds a magnet link; give the link itself"),
        _ => Kind::Other("is no .torrent, Metalink or split manifest: it does not begin like one"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_tells_what_a_file_is() {
        let say = |content: &[u8]| understand(content.to_vec()).map(drop).unwrap_err().to_string();
        assert!(say(b"").contains("empty"));
        assert!(say(b"d4:infoi1ee").starts_with("not a torrent"));
        assert!(say(b"d4:info").starts_with("broken torrent"));
        assert!(say(b"<?xml version=\"1.0\"?>\n<metalink xmlns=\"x\">").contains("Metalink"));
        assert!(say(b"{\"shoal-split\": 1}").contains("manifest"));
        assert!(say(b"magnet:?xt=urn:btih:x").contains("give the link itself"));
        assert!(say(b"\x7fELF").contains("is no .torrent, Metalink"));
    }

    #[test]
    fn schemes() {
        assert!(is_magnet("MAGNET:?xt=x") && !is_magnet("m") && !is_magnet("\u{e9}agnet"));
        assert!(is_url("HTTP://x") && !is_url("ftp://x") && !is_url("http"));
    }
}
