//! The DHT: peers and stored items without anybody in the middle, as a state machine without sockets or clocks.
//!
//! BEP 5, over both families of addresses (32), with scrapes (33), ids that belong to addresses (42), read-only nodes (43), stored
//! items (44) and samples for indexers (51, as an answerer only: Shoal is no crawler).
//!
//! # How to drive it
//!
//! One [`Dht`] is one node with one UDP port in each family. It has the shape of all machines of the house: [`Dht::handle`]
//! takes one [`Input`], [`Dht::poll`] is drained until it says None, [`Dht::deadline`] says when [`Input::Tick`] is due.
//!
//! 1. Make it with [`Dht::new`], from the [`Snapshot`] of an earlier run or an empty one, and chance of its own. [`Config::v4`] and
//!    [`Config::v6`] say for which families there is a socket.
//! 2. Tell it where to begin: [`Input::Bootstrap`] with the addresses of named nodes, once their names are looked up. They are asked only while
//!    fewer than 8 good nodes are known. Addresses of PORT messages come as [`Input::Nodes`].
//! 3. Give it each datagram for which [`wire::krpc::is_krpc`] is true, and send what comes out as [`Output::Datagram`].
//! 4. For a torrent: [`Input::Lookup`] with an [`Announce`], and the same [`base::JobId`] in [`Input::Stop`] when it stops. Peers come as
//!    [`Output::Peers`], each time with [`Output::Done`] at the end; again every 15 minutes, sooner if nobody took the announce. A hybrid
//!    is two jobs. Private torrents have no business here. Jobs may come before the bootstrap addresses: they wait half a minute.
//! 5. [`Output::External`] is our address as others see it. Where a router names it, [`Input::External`] saves the vote.
//! 6. Before the end, and every few minutes, store [`Dht::snapshot`].
//!
//! # What strangers can't do
//!
//! Enter the table without having answered us, or from a network that is in it already. Answer for somebody else: an answer counts from the address that was asked,
//! with a transaction id that nobody can guess. Have an answer sent elsewhere that is more than eight times as long as the
//! question, or be answered more than five times a second. Make us ask a private address, unless they are in that network
//! themselves ([`base::may_use`]). Fill our memory: every list has a limit with a name.

mod io;
mod items;
mod limiter;
mod lookup;
mod machine;
mod peers;
mod queries;
mod secure;
mod snapshot;
mod table;
mod tokens;
mod votes;

#[cfg(test)]
mod world;

pub use io::{Announce, Config, Counts, FamilyStats, Input, Name, Output, Stats, Summary};
pub use items::{ITEM_LIFE, ITEMS_MAX, Item, ItemError, Signed, immutable_target, mutable_target, public_key};
pub use limiter::{QUERIES_BURST, QUERIES_PER_S};
pub use machine::Dht;
pub use peers::{PEER_LIFE, PEERS_ALL_MAX, PEERS_MAX, TORRENTS_MAX};
pub use queries::{HARD_TIMEOUT, QUERIES_MAX, SOFT_TIMEOUT};
pub use secure::{fits, id_for};
pub use snapshot::{Known, SNAPSHOT_NODES_MAX, Snapshot};
pub use table::{K, bucket_room};
