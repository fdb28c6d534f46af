//! Real requests over loopback against a site that shares a folder and a file.

#![allow(clippy::unwrap_used, reason = "a test ends at what it did not expect")]

#[path = "../common/mod.rs"]
mod common;

mod bytes;
mod changes;
mod links;
mod world;
