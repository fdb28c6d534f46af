//! Tests against programs that others wrote: a mistake made on both sides of our own code passes every other test.
//!
//! `tests/others.rs` is the one test binary. It runs itself again in a network, mount and process namespace of its own, where nothing
//! but the loopback device exists: no test leaves the machine, fixed ports are free, and whatever is started there ends with it. Each
//! [`cell`] of the table in docs/INTEROP.md starts one client and one or two of our processes in a folder and on addresses of its own.
//!
//! Deliberately not here: anything of our own parsers. What a torrent says is asked of libtorrent or of the `shoal` binary.

pub mod cell;
pub mod client;
pub mod clients;
pub mod content;
pub mod hostile;
pub mod place;
pub mod process;
pub mod python;
pub mod relay;
pub mod rpc;
pub mod sandbox;
pub mod shoal;
pub mod table;
pub mod tracker;
