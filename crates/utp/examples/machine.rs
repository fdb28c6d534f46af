//! What the machine itself costs: two endpoints in one thread, without sockets. Prints processor time per GiB.
//!
//! `cargo run --release -p utp --example machine`. Copying each batch once stands in for the kernel, and is measured by itself, too.

#![allow(
    clippy::disallowed_types,
    clippy::disallowed_methods,
    reason = "it measures time, which the machine does not know"
)]
#![allow(clippy::print_stdout, reason = "it is run by hand")]

#[path = "../tests/sim/payload.rs"]
#[allow(dead_code, reason = "a part of it is used")]
mod payload;

use base::{ConnId, Instant, Payload, Rng};
use payload::{Slices, pattern};
use std::net::SocketAddr;
use std::time::Duration;
use utp::{Config, Endpoint, Input, Output};

const TOTAL: u64 = 4 << 30;
const CONN: ConnId = ConnId(1);

struct Side {
    endpoint: Endpoint<Slices>,
    addr: SocketAddr,
    got: u64,
    datagrams: u64,
    batches: u64,
}

fn main() {
    for (name, ip) in [("packets of 1,472 bytes", "192.0.2"), ("packets of a loopback", "127.0.0")] {
        let mut sides = [1, 2].map(|n| Side {
            endpoint: Endpoint::new(Config { credit: 2 << 20, ..Config::default() }, Rng::from_seed(n)),
            addr: format!("{ip}.{n}:1").parse().expect("an address"),
            got: 0,
            datagrams: 0,
            batches: 0,
        });
        let mut now = Instant::from_secs(1);
        let to = sides[1].addr;
        sides[0].endpoint.handle(now, Input::Connect { conn: CONN, to });
        let mut buf = vec![0; 65_536];
        let start = std::time::Instant::now();
        while sides[1].got < TOTAL {
            now += Duration::from_micros(20);
            for n in 0..2 {
                turn(now, &mut sides, n, &mut buf);
            }
        }
        let seconds = start.elapsed().as_secs_f64() / (TOTAL >> 30) as f64;
        let status = sides[0].endpoint.status(CONN).unwrap_or_default();
        let [a, b] = &sides;
        println!("{name}: {seconds:.3} s per GiB, {:.0} datagrams in a batch", a.datagrams as f64 / a.batches as f64);
        println!("  {} datagrams one way, {} the other; {status:?}", a.datagrams, b.datagrams);
    }
    let (page, mut out) = (vec![1u8; 65_536], Vec::new());
    let start = std::time::Instant::now();
    (0..TOTAL / 65_536).for_each(|_| out = std::hint::black_box(bytes::Bytes::copy_from_slice(&page)).to_vec());
    println!("two copies alone: {:.3} s per GiB", start.elapsed().as_secs_f64() / (TOTAL >> 30) as f64);
    drop(out);
}

fn turn(now: Instant, sides: &mut [Side; 2], n: usize, buf: &mut [u8]) {
    let side = &mut sides[n];
    if side.endpoint.deadline().is_some_and(|at| at <= now) {
        side.endpoint.handle(now, Input::Tick);
    }
    while let Some(output) = side.endpoint.poll() {
        if let Output::Received { conn, data } = output {
            side.got += data.len() as u64;
            side.endpoint.handle(now, Input::Credit { conn, bytes: data.len() as u64 });
        }
    }
    let room = if n == 0 { side.endpoint.room(CONN) } else { 0 };
    if room >= 65_536 {
        side.endpoint.handle(now, Input::Send { conn: CONN, data: pattern(0, room) });
    }
    while let Some(out) = sides[n].endpoint.transmit(now, buf, 64) {
        sides[n].datagrams += out.len.div_ceil(out.stride) as u64;
        sides[n].batches += 1;
        let (from, data) = (sides[n].addr, Slices::from(bytes::Bytes::copy_from_slice(&buf[..out.len])));
        sides[1 - n].endpoint.handle(now, Input::Datagrams { from, stride: out.stride, data });
    }
}
