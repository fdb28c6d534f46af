//! Bencode, the notation of torrents, trackers, the DHT and extension messages (BEP 3).
//!
//! [`parse()`] reads without copying and keeps the span of every value, because the info-hash is over the bytes as
//! they were received. It is as lenient as the clients that people run: unsorted keys, leading zeros and bytes
//! behind the end are let pass and reported as [`Quirk`]s. [`parse_prefix`] stops after one value, for messages
//! that are a dictionary followed by raw bytes (BEP 9). [`Item`] writes, always canonically.
//!
//! It deliberately does not map onto structs: what a missing or mistyped key means, each format knows by itself.

mod encode;
mod parse;
#[cfg(test)]
mod tests;

pub use encode::{Dict, Item};
pub use parse::{Doc, Error, ErrorKind, Kind, Limits, Quirk, Value, parse, parse_prefix};
