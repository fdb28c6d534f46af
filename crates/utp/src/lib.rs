//! Reliable streams over datagrams: the micro transport protocol (BEP 29), as a state machine without sockets or clocks.
//!
//! An [`Endpoint`] is one socket's worth of connections. It is told of datagrams as the kernel hands them over, many at a time, and
//! lays those that are to be sent into a buffer of the caller, many of equal size at a time, so that one system call moves
//! 64 KiB whatever the size of a packet is (GSO and GRO). It has one deadline.
//!
//! Payload is a type parameter, as in `swarm`. What comes in stays in the buffers that the kernel filled: packets are slices of
//! them, reordered and handed on without being copied. What goes out is copied once, into the caller's buffer behind the headers;
//! until it is acknowledged it is held as it was given. That is the least that datagrams take: headers and payload have to lie
//! side by side for one system call, and a gathering call for each packet would cost more than the copy.
//!
//! - `ledbat`: a window that keeps queues short, and makes room for TCP
//! - `outbox` and `inbox`: the two halves of a connection; `conn` ties them together
//! - `mtu`: how large packets may be; `delay` and `rtt`: what is measured
//! - `endpoint`: who a datagram is for; strangers who have not proven their address yet
//!
//! Acknowledgements leave at once when anything is out of order or two packets have come; the acknowledgement of a lone packet waits
//! up to [`ACK_DELAY`] for something to ride on. All packets of one call count before any is acknowledged, so that a batch costs
//! one acknowledgement.
//!
//! It deliberately does no fragmenting and keeps no state of a peer beyond its connections.

mod conn;
mod delay;
mod endpoint;
mod inbox;
mod io;
mod ledbat;
mod mtu;
mod outbox;
mod rtt;
mod seq;

pub use conn::{ACK_DELAY, KEEP_ALIVE, SEND_BUFFER_MAX, SEND_BUFFER_MIN};
pub use endpoint::{Endpoint, HALF_OPEN_MAX};
pub use io::{Cause, Config, Input, Output, Status, Transmit};

/// Bytes of the smallest packet, with its header: on a very slow path, large ones would wait for each other too long.
pub const PACKET_MIN: usize = 150;
