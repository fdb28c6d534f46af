//! Metainfo: what a .torrent says, v1, v2 and hybrid (BEP 3, 5, 12, 19, 27, 47, 52).
//!
//! [`Metainfo`] is the whole file; [`Info`] is its info dictionary alone, which is what peers send (BEP 9) and what the
//! info-hash is over, as received. Reading is as lenient as it can be without two clients seeing different torrents: what
//! was let pass is a [`Warning`], and file names are sanitised, never refused ([`names`]). Both become a [`crate::Plan`].
//! [`create`] makes torrents from facts that others computed.
//!
//! Signatures (BEP 35), similar torrents (BEP 38), HTTP seeding (BEP 17) and creation-time attributes are ignored.

pub mod create;
mod encode;
mod error;
mod info;
mod layers;
mod layout;
pub mod names;
#[cfg(test)]
mod tests;

pub use error::{MetainfoError, Warning};
pub use info::Info;
pub use layers::Layers;

use crate::bencode::{self, Limits, Value};
use crate::{Magnet, Plan};

/// What a .torrent file says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metainfo {
    /// The info dictionary.
    pub info: Info,
    /// The piece layers of a v2 torrent or a hybrid, checked against the roots.
    pub layers: Layers,
    /// Tracker URLs in tiers (BEP 12), in the order of the file.
    pub trackers: Vec<Vec<String>>,
    /// Web seed URLs (BEP 19).
    pub web_seeds: Vec<String>,
    /// DHT nodes, as host and port (BEP 5).
    pub nodes: Vec<(String, u16)>,
    /// A comment, freed of control characters.
    pub comment: Option<String>,
    /// The program that made it, freed of control characters.
    pub created_by: Option<String>,
    /// When it was made, in seconds since 1970.
    pub creation_date: Option<u64>,
    /// What was let pass outside the info dictionary; see also [`Info::warnings`].
    pub warnings: Vec<Warning>,
}

impl Metainfo {
    /// Most trackers, and most web seeds, taken from one file; more are left out.
    pub const URLS_MAX: usize = 200;
    /// Longest URL taken, in bytes; longer ones are left out.
    pub const URL_LEN_MAX: usize = 2048;
    /// Most DHT nodes taken from one file; more are left out.
    pub const NODES_MAX: usize = 100;

    /// Reads a .torrent file.
    pub fn parse(bytes: &[u8]) -> Result<Self, MetainfoError> {
        let doc = bencode::parse(bytes, &Limits::TORRENT)?;
        let root = doc.root();
        if root.kind() != bencode::Kind::Dict {
            return Err(MetainfoError::NotATorrent);
        }
        let info = root.find_dict(b"info").ok_or(MetainfoError::NotATorrent)?;
        let info = Info::parse(info.raw())?;
        let mut warnings: Vec<_> = doc.quirks().iter().map(|(quirk, at)| Warning::Bencode(*quirk, *at)).collect();
        let layers = Layers::parse(root.find(b"piece layers"), &info)?;
        if info.hashes.v2.is_some() && !layers.is_complete(&info) {
            warnings.push(Warning::NoLayers);
        }
        Ok(Metainfo {
            trackers: trackers(root),
            web_seeds: web_seeds(root),
            nodes: nodes(root),
            comment: text(root, b"comment.utf-8").or_else(|| text(root, b"comment")),
            created_by: text(root, b"created by.utf-8").or_else(|| text(root, b"created by")),
            creation_date: root.find_u64(b"creation date"),
            info,
            layers,
            warnings,
        })
    }

    /// A torrent without trackers and other extras.
    pub fn bare(info: Info, layers: Layers) -> Self {
        Metainfo {
            info,
            layers,
            trackers: Vec::new(),
            web_seeds: Vec::new(),
            nodes: Vec::new(),
            comment: None,
            created_by: None,
            creation_date: None,
            warnings: Vec::new(),
        }
    }

    /// What is fetched, and how it is checked. None for a v2 torrent that lacks piece layers: without asking peers for
    /// hashes its pieces can't be checked.
    pub fn plan(&self) -> Option<Plan> {
        self.info.plan(&self.layers)
    }

    /// The magnet link that stands for this torrent, with its trackers and web seeds.
    pub fn magnet(&self) -> Magnet {
        Magnet {
            name: Some(self.info.layout.name().to_owned()),
            length: Some(self.info.layout.content_len()),
            trackers: self.trackers.iter().flatten().cloned().collect(),
            web_seeds: self.web_seeds.clone(),
            ..Magnet::new(self.info.hashes)
        }
    }
}

/// `announce-list`, or `announce` where that names nothing usable (BEP 12).
fn trackers(root: Value<'_>) -> Vec<Vec<String>> {
    let mut seen = Vec::new();
    let mut tiers = Vec::new();
    for tier in root.find(b"announce-list").and_then(|l| l.items()).into_iter().flatten() {
        let mut urls = Vec::new();
        // Some programs write a list of URLs instead of a list of lists.
        match tier.items() {
            Some(items) => items.for_each(|url| push_url(url, &mut urls, &mut seen)),
            None => push_url(tier, &mut urls, &mut seen),
        }
        if !urls.is_empty() {
            tiers.push(urls);
        }
    }
    if let (true, Some(url)) = (tiers.is_empty(), root.find(b"announce")) {
        let mut urls = Vec::new();
        push_url(url, &mut urls, &mut seen);
        tiers.extend(Some(urls).filter(|urls| !urls.is_empty()));
    }
    tiers
}

/// `url-list`, which is one URL or a list of them (BEP 19).
fn web_seeds(root: Value<'_>) -> Vec<String> {
    let (mut urls, mut seen) = (Vec::new(), Vec::new());
    if let Some(list) = root.find(b"url-list") {
        match list.items() {
            Some(items) => items.for_each(|url| push_url(url, &mut urls, &mut seen)),
            None => push_url(list, &mut urls, &mut seen),
        }
    }
    urls
}

/// Takes a URL that has a scheme and no blanks or control characters, once. Whom it may name, its user decides.
fn push_url(value: Value<'_>, urls: &mut Vec<String>, seen: &mut Vec<String>) {
    let Some(url) = value.as_str().map(str::trim) else { return };
    let tidy = url.len() <= Metainfo::URL_LEN_MAX && !url.chars().any(|c| c.is_control() || c.is_whitespace());
    let whole = url.split_once("://").is_some_and(|(scheme, rest)| !scheme.is_empty() && !rest.is_empty());
    if tidy && whole && seen.len() < Metainfo::URLS_MAX && !seen.iter().any(|s| s == url) {
        seen.push(url.to_owned());
        urls.push(url.to_owned());
    }
}

fn nodes(root: Value<'_>) -> Vec<(String, u16)> {
    let node = |value: Value<'_>| {
        let mut pair = value.items()?;
        let (host, port) = (pair.next()?.as_str()?, pair.next()?.as_u64()?);
        let tidy = !host.is_empty() && host.len() < 256 && host.chars().all(|c| c.is_ascii_graphic());
        tidy.then_some((host.to_owned(), u16::try_from(port).ok()?))
    };
    let list = root.find(b"nodes").and_then(|l| l.items());
    list.into_iter().flatten().filter_map(node).take(Metainfo::NODES_MAX).collect()
}

/// Text for people: invalid UTF-8 replaced, control characters other than line ends removed.
fn text(root: Value<'_>, key: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(root.find_bytes(key)?);
    let text: String = text.chars().filter(|c| !c.is_control() || *c == '\n').collect();
    (!text.is_empty()).then_some(text)
}
