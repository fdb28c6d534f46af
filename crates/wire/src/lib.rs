//! The sentences: every byte format that strangers send. It parses and emits; it decides nothing.
//!
//! - [`handshake`]: how two peers greet (BEP 3)
//! - [`message`]: what they say after it (BEP 3, 6, 10, 52), decoded from a stream without copying payload
//! - [`extended`]: the extension protocol (BEP 9, 10, 11, 54)
//! - [`tracker`]: announces and scrapes over HTTP and UDP (BEP 3, 7, 15, 23, 48)
//! - [`utp`]: reliable streams over datagrams (BEP 29)
//! - [`krpc`]: the messages of the DHT (BEP 5, 32, 33, 42, 43, 44, 51)
//! - [`fastcgi`]: how a web server talks to programs that stay (FastCGI 1.0)
//! - [`compact`]: addresses in 6 and 18 bytes
//!
//! Every limit on what a stranger may send is a named constant beside the format that it guards, and every
//! violation is a typed error that says whose fault it was. Nothing here keeps state between messages but the
//! stream decoder, and that only what the next message needs.

pub mod compact;
pub mod extended;
pub mod fastcgi;
pub mod handshake;
pub mod krpc;
pub mod message;
mod percent;
mod text;
pub mod tracker;
pub mod utp;

pub use handshake::{Handshake, HandshakeError, Reserved};
pub use message::{BLOCK_HEADER_LEN, Decoder, Event, Limits, Message, MessageError, block_header, encode};
