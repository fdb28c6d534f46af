//! Fuzz targets for everything that strangers send, on stable Rust.
//!
//! A [`Target`] takes bytes, gives them to the functions that read them in production, and asserts what has to hold: that
//! whatever is accepted says the same after being written again, that limits hold, that answers are no larger than they may be. The
//! [`Fuzzer`] damages well-formed examples, and keeps what brings an outcome that it has not seen before as an example for more damage.
//!
//! The same targets run for a moment as tests in CI (`tests/short.rs`) and for as long as wanted by hand: `cargo xtask fuzz`.
//! It deliberately measures no coverage: that takes a nightly compiler. The outcomes stand in for it.

mod damage;
mod fuzzer;
mod targets;

pub use fuzzer::Fuzzer;
pub use targets::{TARGETS, Target};
