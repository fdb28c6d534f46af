//! A wire in front of a real server, which can be slow, cut, silent, or spoil what it carries.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

/// Bytes carried at once.
const CHUNK: usize = 16 << 10;
/// How often a thread that waits looks up.
const LOOK: Duration = Duration::from_millis(20);

/// A relay; it lives as long as the test.
#[derive(Clone)]
pub struct Relay {
    /// Where it listens.
    pub address: String,
    wire: Arc<Wire>,
}

struct Wire {
    /// Bytes a second from the server, all connections together; 0: as many as come.
    rate: AtomicU64,
    /// When the next bytes may pass.
    next: Mutex<Instant>,
    carried: AtomicU64,
    connections: AtomicU64,
    cut: AtomicBool,
    silent: AtomicBool,
    spoils: AtomicBool,
}

impl Relay {
    /// Carries connections to `address` on to `server`.
    ///
    /// # Errors
    /// When it cannot listen.
    pub fn start(address: &str, server: &str, rate: u64) -> Result<Self> {
        let listener = TcpListener::bind(address).with_context(|| format!("cannot listen on {address}"))?;
        let address = listener.local_addr()?.to_string();
        let wire = Arc::new(Wire {
            rate: AtomicU64::new(rate),
            next: Mutex::new(Instant::now()),
            carried: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            cut: AtomicBool::new(false),
            silent: AtomicBool::new(false),
            spoils: AtomicBool::new(false),
        });
        let (shared, server) = (Arc::clone(&wire), server.to_owned());
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if shared.cut.load(Ordering::Relaxed) {
                    continue;
                }
                let (wire, server) = (Arc::clone(&shared), server.clone());
                thread::spawn(move || carry(&wire, client, &server));
            }
        });
        Ok(Self { address, wire })
    }

    /// From now on, so many bytes a second pass; 0: as many as come.
    pub fn pace(&self, rate: u64) {
        self.wire.rate.store(rate, Ordering::Relaxed);
    }

    /// Cuts all connections, and those that come.
    pub fn cut(&self) {
        self.wire.cut.store(true, Ordering::Relaxed);
    }

    /// Carries nothing any more, and keeps the connections.
    pub fn hush(&self) {
        self.wire.silent.store(true, Ordering::Relaxed);
    }

    /// Flips bytes of long answers from now on.
    pub fn spoil(&self) {
        self.wire.spoils.store(true, Ordering::Relaxed);
    }

    /// Bytes that came from the server.
    #[must_use]
    pub fn carried(&self) -> u64 {
        self.wire.carried.load(Ordering::Relaxed)
    }

    /// Connections that were made.
    #[must_use]
    pub fn connections(&self) -> u64 {
        self.wire.connections.load(Ordering::Relaxed)
    }
}

impl Wire {
    /// Waits until so many bytes may pass.
    fn pace(&self, bytes: usize) {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return;
        }
        let took = Duration::from_secs_f64(bytes as f64 / rate as f64);
        let at = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            // What was not used is lost, but for a little.
            let from = (*next).max(Instant::now() - Duration::from_millis(10));
            *next = from + took;
            *next
        };
        thread::sleep(at.saturating_duration_since(Instant::now()));
    }
}

fn carry(wire: &Arc<Wire>, client: TcpStream, server: &str) {
    let Ok(upstream) = TcpStream::connect(server) else { return };
    wire.connections.fetch_add(1, Ordering::Relaxed);
    let _ = (client.set_nodelay(true), upstream.set_nodelay(true));
    let (Ok(back), Ok(up)) = (client.try_clone(), upstream.try_clone()) else { return };
    let other = Arc::clone(wire);
    let there = thread::spawn(move || pass(&other, &client, &up, false));
    pass(wire, &upstream, &back, true);
    let _ = (upstream.shutdown(Shutdown::Both), back.shutdown(Shutdown::Both));
    let _ = there.join();
}

fn pass(wire: &Wire, mut from: &TcpStream, mut to: &TcpStream, answers: bool) {
    let (mut buf, mut seen) = (vec![0; CHUNK], 0u64);
    let _ = from.set_read_timeout(Some(LOOK));
    loop {
        if wire.cut.load(Ordering::Relaxed) {
            return;
        }
        if wire.silent.load(Ordering::Relaxed) {
            thread::sleep(LOOK);
            continue;
        }
        let n = match from.read(&mut buf) {
            Ok(0) => return,
            Ok(n) => n,
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => continue,
            Err(_) => return,
        };
        if answers {
            wire.pace(n);
            wire.carried.fetch_add(n as u64, Ordering::Relaxed);
            // Heads are short and come first.
            if wire.spoils.load(Ordering::Relaxed) && seen > 4096 {
                buf[n / 2] ^= 1;
            }
        }
        seen += n as u64;
        if wire.cut.load(Ordering::Relaxed) || to.write_all(&buf[..n]).is_err() {
            return;
        }
    }
}
