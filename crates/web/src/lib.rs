//! HTTP for what is shared: the link page, the bytes of files and folders with ranges, the torrent, and the tracker.
//!
//! A [`Site`] holds the [`Item`]s and answers requests; [`serve()`] gives it listeners and limits. What happens in the
//! swarm is asked of whoever implements [`Live`]. RFC 9110 (semantics, conditions, ranges), RFC 6266 (names of downloads),
//! RFC 8288 (the link to the torrent).
//!
//! It deliberately serves nothing that was not shared by name: static folders, programs and mirrors are other parts.

mod answer;
mod conditions;
mod content;
mod item;
mod live;
mod page;
mod patience;
mod range;
mod serve;
mod site;
mod tar;

pub use item::{Item, ItemError};
pub use live::{Answer, Live, Swarm, SwarmPeer};
pub use serve::serve;
pub use site::Site;
