//! The hands: sockets, names, HTTP to trackers, disk, clock, entropy and saved state of one node.
//!
//! They run the parts of an engine ([`engine::Part`]) on the real world and decide nothing that it decides. Each has a
//! thread, which owns the sockets of its peers; the disk has threads of its own that work in batches; everything slow or rare (looking up names,
//! HTTP, saving) runs on the tokio runtime of whoever started the node.

mod clock;
pub mod create;
pub mod disk;
mod driver;
mod entropy;
pub mod fetch;
pub mod http;
mod loops;
mod net;
pub mod node;
mod pool;
mod rope;
#[cfg(test)]
#[path = "../tests/site/mod.rs"]
mod site;
pub mod split;
pub mod state;
pub mod tracker_server;

pub use net::Listen;
pub use node::{Add, Event, Node, NodeConfig, NodeError, NodeEvent, Plain, Reading, Status, Target, Totals, What};
pub use rope::Rope;
