//! HTTP servers that have content: where on them it lies, and getting runs of it as streams.
//!
//! What is fetched from whom, and when a stream ends, the engine decides ([`swarm::HttpSource`]); here a run of a torrent's content
//! becomes requests for files or parts of files ([`remote`]), which are made on the tokio runtime ([`stream`]) and read within the
//! credit that the engine grants ([`tap`]). Whom we may contact is judged in [`client`].

pub mod client;
pub mod headers;
pub mod netrc;
pub mod probe;
mod remote;
mod stream;
mod tap;
mod version;

pub(crate) use remote::Remote;
pub use remote::{At, Part, Places, Server, without_password};
pub(crate) use stream::{Errand, run};
pub(crate) use tap::Tap;
pub use version::Version;
