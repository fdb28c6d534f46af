//! Trackers, both sides, as state machines without sockets or clocks.
//!
//! - [`client`]: the announcing of one torrent to its tiers of trackers (BEP 3, 7, 12, 15, 23, 48)
//! - [`server`]: a tracker over HTTP and UDP
//!
//! The bytes themselves are read and written by `wire::tracker`. Host names are looked up, pages fetched and datagrams
//! carried by whoever runs the machines.

pub mod client;
pub mod server;
mod url;

#[cfg(test)]
mod world;

pub use client::{Client, Config, HttpReply, Input, Output, State, Stats, Status};
pub use server::Server;
pub use url::{Scheme, Url, UrlError};
