//! The tracker of all runs: HTTP, compact, in memory, the same for everybody, and told about once a run, so that it costs nothing.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};

/// Where it listens inside the namespace.
pub(super) const ADDRESS: &str = "10.77.0.11:6969";

/// A peer is an address; the value says whether it has everything.
type Swarms = BTreeMap<Vec<u8>, BTreeMap<SocketAddr, bool>>;

/// It answers as long as this lives.
pub(super) struct Tracker {
    swarms: Arc<Mutex<Swarms>>,
    ended: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Tracker {
    /// Starts with empty swarms.
    pub(super) fn start() -> Result<Self> {
        let listener = TcpListener::bind(ADDRESS).with_context(|| format!("cannot listen at {ADDRESS}"))?;
        let (swarms, ended) = (Arc::new(Mutex::new(Swarms::new())), Arc::new(AtomicBool::new(false)));
        let (shared, end) = (Arc::clone(&swarms), Arc::clone(&ended));
        let thread = thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if end.load(Ordering::Relaxed) {
                    return;
                }
                let swarms = Arc::clone(&shared);
                thread::spawn(move || drop(answer(stream, &swarms)));
            }
        });
        Ok(Self { swarms, ended, thread: Some(thread) })
    }

    /// How many peers have announced a torrent, over all torrents.
    pub(super) fn peers(&self) -> usize {
        self.swarms.lock().unwrap_or_else(PoisonError::into_inner).values().map(BTreeMap::len).sum()
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        // The thread waits in accept: a last caller lets it see that it is over.
        self.ended.store(true, Ordering::Relaxed);
        drop(TcpStream::connect(ADDRESS));
        drop(self.thread.take().map(JoinHandle::join));
    }
}

fn answer(stream: TcpStream, swarms: &Mutex<Swarms>) -> Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    let peer = stream.peer_addr()?.ip();
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut header = String::new();
    while reader.read_line(&mut header)? > 2 {
        header.clear();
    }
    let target = line.split(' ').nth(1).unwrap_or_default();
    let body = announce(peer, target, &mut swarms.lock().unwrap_or_else(PoisonError::into_inner));
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", body.len());
    reader.get_mut().write_all(&[head.as_bytes(), &body].concat())?;
    Ok(())
}

fn announce(peer: IpAddr, target: &str, swarms: &mut Swarms) -> Vec<u8> {
    let mut fields: BTreeMap<&str, Vec<u8>> = BTreeMap::new();
    for pair in target.split_once('?').map_or("", |(_, query)| query).split('&') {
        if let Some((name, value)) = pair.split_once('=') {
            fields.insert(name, unquote(value));
        }
    }
    let field = |name: &str| fields.get(name).map(|v| String::from_utf8_lossy(v).into_owned()).unwrap_or_default();
    let me = SocketAddr::new(peer, field("port").parse().unwrap_or(0));
    let swarm = swarms.entry(fields.get("info_hash").cloned().unwrap_or_default()).or_default();
    if field("event") == "stopped" {
        swarm.remove(&me);
    } else {
        swarm.insert(me, field("left") == "0");
    }
    let mut peers = Vec::new();
    for other in swarm.keys().filter(|p| **p != me) {
        if let IpAddr::V4(ip) = other.ip() {
            peers.extend(ip.octets());
            peers.extend(other.port().to_be_bytes());
        }
    }
    let seeds = swarm.values().filter(|complete| **complete).count();
    let head =
        format!("d8:completei{seeds}e10:incompletei{}e8:intervali1800e5:peers{}:", swarm.len() - seeds, peers.len());
    [head.as_bytes(), &peers, b"e"].concat()
}

fn unquote(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, more @ ..] = rest {
        let coded = more.get(..2).and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match (first, coded) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &more[2..];
            }
            _ => {
                bytes.push(*first);
                rest = more;
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_everybody_but_the_asker() {
        let (mut swarms, a, b) = (Swarms::new(), [10, 77, 0, 1].into(), [10, 77, 0, 2].into());
        let first = announce(a, "/announce?info_hash=%01a&port=258&left=0", &mut swarms);
        assert_eq!(first, b"d8:completei1e10:incompletei0e8:intervali1800e5:peers0:e");
        let second = announce(b, "/announce?info_hash=%01a&port=1&left=9&event=started", &mut swarms);
        assert_eq!(second, b"d8:completei1e10:incompletei1e8:intervali1800e5:peers6:\x0a\x4d\0\x01\x01\x02e");
        announce(b, "/announce?info_hash=%01a&port=1&left=9&event=stopped", &mut swarms);
        assert_eq!(swarms[b"\x01a".as_slice()].len(), 1);
    }

    #[test]
    fn unquotes_as_trackers_do() {
        assert_eq!(unquote("a%20b%ff%zz%"), b"a b\xff%zz%");
    }
}
