//! The mind: one whole peer as a state machine.
//!
//! A gate (handshakes, connection limits, rates) and shards (torrents and their trackers), which write letters to each
//! other. No sockets, no files, no clock: `node` runs it on real ones, with a thread for each [`Part`]; `lab` in virtual
//! time, with a whole [`Engine`] in one.

mod config;
mod engine;
mod gate;
mod io;
pub mod letter;
mod part;
mod shard;

#[cfg(test)]
mod tests;

pub use config::{CREDIT, Config};
pub use engine::Engine;
use io::is_stream;
pub use io::{ACCEPTED, AddTorrent, Command, Input, Output, STREAMS, TorrentEvent};
pub use letter::Letter;
pub use part::Part;
pub use swarm::{Segment, Transmit};
