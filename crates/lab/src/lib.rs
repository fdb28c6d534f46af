//! The lab: the production engine in virtual time, on a virtual network and virtual disks.
//!
//! - [`World`]: peers, links, disks, a tracker, a script of what befalls them, and one clock
//! - [`SCENARIOS`]: worlds worth running, by name, with [`Params`]; what comes out is a [`Report`]
//! - [`dht_world`]: the production DHT in a network of up to a million nodes, by itself
//! - [`bounds`]: what theory says that a distribution takes at least
//!
//! It wires nothing by itself that `node` does not wire the same way: both play the hands of [`engine::Engine`]. What it
//! abstracts is named where it is done: TCP in the network, bytes in [`Payload`], hashes in the disk.

pub mod bounds;
pub mod dht_world;
mod disk;
mod features;
mod net;
mod params;
mod payload;
mod queue;
mod report;
mod scenarios;
mod trace;
mod watch;
mod world;

pub use disk::{Disk, DiskSpec};
pub use features::Features;
pub use net::LinkSpec;
pub use params::{DhtParams, ParamError, Params};
pub use payload::{Block, Payload, Run, Taint};
pub use report::{Bounds, Report, Results};
pub use scenarios::{Failure, SCENARIOS, Scenario, scenario};
pub use trace::Sink;
pub use world::{Action, Discovery, Have, MakeChoker, PeerSpec, PeerStats, Role, TORRENT, Violation, World, WorldSpec};
