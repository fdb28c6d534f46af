//! One torrent: picker, choker, peer sessions and who is to blame, as a state machine without sockets or files.

pub mod blame;
pub mod bucket;
mod candidates;
pub mod choker;
pub mod disk;
mod flaw;
mod http;
mod io;
mod metadata;
pub mod picker;
mod pieces;
pub mod rate;
mod session;
mod status;
mod torrent;

pub use flaw::Flaw;
pub use http::{HttpSource, HttpState, HttpStatus, SERVERS_MAX, StreamError};
pub use io::{CloseReason, Event, FIRST_MAX, FilePriority, Input, NewPeer, Output, Resume, Segment, Source, Transmit};
pub use pieces::{PeerSlot, Pieces};
pub use session::OURS;
pub use status::{PeerStatus, Phase, SourceKind, SourceStatus, TorrentStatus};
pub use torrent::{Birth, Settings, Torrent};
