//! What a site and its mirrors tell each other: what there is, who has it, and what came of that.

use crate::item::Item;
use base::Hex;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::{Duration, UNIX_EPOCH};

/// Where a site lists what it shares, for programs.
pub(crate) const ITEMS: &str = "/~/items";
/// Where it tells what changes.
pub(crate) const EVENTS: &str = "/~/events";
/// Where mirrors say what they have.
pub(crate) const MIRRORS: &str = "/~/mirrors";

/// How often a mirror says that it is there.
pub(crate) const REGISTER_EVERY: Duration = Duration::from_secs(30);
/// Names in one registration at most.
pub(crate) const ITEMS_MAX: usize = 20_000;
/// Bytes of a registration at most.
pub(crate) const REGISTRATION_MAX: usize = 8 << 20;

/// What a site tells of an item.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Facts {
    /// Its name in links.
    pub name: String,
    /// Names its content: what changes has another.
    pub tag: String,
    /// Bytes of content.
    pub bytes: u64,
    /// It is a file.
    pub single: bool,
    /// How many files.
    pub files: u64,
    /// Its torrent's name, in the first version of BitTorrent.
    pub info_hash_v1: Option<String>,
    /// The same in the second.
    pub info_hash_v2: Option<String>,
    /// When the newest file was written, in seconds since 1970.
    pub modified: Option<u64>,
}

impl Facts {
    pub(crate) fn of(item: &Item) -> Self {
        let modified = item.modified().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        Facts {
            name: item.name.clone(),
            tag: item.tag.clone(),
            bytes: item.bytes,
            single: item.single,
            files: item.files.len() as u64,
            info_hash_v1: item.hashes.v1.map(|h| h.to_string()),
            info_hash_v2: item.hashes.v2.map(|h| Hex(&h).to_string()),
            modified: modified.map(|t| t.as_secs()),
        }
    }
}

/// What is under a name, where that has no torrent now, or is nothing any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Named {
    pub(crate) name: String,
}

/// What a mirror says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registration {
    /// The beginning of its links: scheme, host and port.
    pub(crate) url: String,
    /// What it has in full: names, and the tags of what it has under them.
    pub(crate) items: BTreeMap<String, String>,
    /// Downloads from it now.
    #[serde(default)]
    pub(crate) busy: u32,
}

/// What it is told.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Registered {
    /// Seconds after which it should say so again, for mirrors that others made: ours know it ([`REGISTER_EVERY`]).
    pub(crate) again: u64,
    /// Others are told of it.
    pub(crate) listed: bool,
    /// What it did not give as it should.
    #[serde(default)]
    pub(crate) wrong: Vec<String>,
    /// Why others are not told of it.
    #[serde(default)]
    pub(crate) why: Option<String>,
}
