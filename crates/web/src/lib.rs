//! HTTP for what is shared: the link page, the bytes of files and folders with ranges, the torrent, and the tracker.
//!
//! A [`Site`] holds the [`Item`]s and answers requests; [`serve()`] gives listeners and limits to it, or to any [`Handler`]. What happens in the
//! swarm is asked of whoever implements [`Live`]. RFC 9110 (semantics, conditions, ranges), RFC 6266 (names of downloads),
//! RFC 8288 (the link to the torrent).
//!
//! A [`Site`] serves nothing that was not shared by name; a [`Folder`] serves what lies in a folder, a [`Website`] runs the programs in it, too. All are [`Handler`]s.

mod accept;
mod answer;
mod auth;
mod beneath;
mod beside;
mod body;
mod catalogue;
mod chance;
mod conditions;
mod content;
mod count;
mod crew;
mod date;
mod folder;
mod hops;
mod item;
mod link;
mod live;
mod log;
mod message;
mod mirror;
mod mirrors;
mod network;
mod pace;
mod page;
mod patience;
mod programs;
mod promise;
mod proxy;
mod range;
mod say;
mod serve;
mod site;
mod stamp;
mod tar;
mod tls;
mod website;

pub use auth::{Auth, AuthError, Guarded, password_line};
pub use beside::WithSite;
pub use catalogue::Facts;
pub use folder::{Folder, FolderOptions};
pub use item::{Hashed, Item, ItemError};
pub use live::{Answer, Live, Swarm, SwarmPeer};
pub use log::AccessLog;
pub use mirror::{MirrorCache, MirrorNews, MirrorOptions, Mirroring};
pub use mirrors::{Mirror, Mirrors, link};
pub use network::Network;
pub use programs::{Address, ProgramLimits, Programs, end_programs};
pub use proxy::{Proxied, Route};
pub use serve::{Handler, Limits, Serving, serve};
pub use site::origin as server_address;
pub use site::{Allowed, Finder, MirrorRules, Site, Unmade};
pub use website::Website;
