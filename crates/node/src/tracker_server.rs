//! A tracker on real sockets: runs [`tracker::Server`] over UDP and HTTP.
//!
//! The machine sits behind one lock, taken for each request for some microseconds; announces are short, and the sockets'
//! tasks wait elsewhere. `web` mounts [`TrackerHandle`] under the page of what is shared; `shoal tracker` opens a listener of
//! its own for it.

use crate::clock::Clock;
use crate::entropy;
use base::{InfoHash, InfoHashes};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;
use tracker::Server;
use tracker::server::{Access, Config, Totals};

/// HTTP connections at once.
const CONNECTIONS_MAX: usize = 4096;
/// Bytes of a request's head.
const HEAD_MAX: usize = 16 << 10;
/// Time for the head of a request, also of the next one on a kept connection.
const HEAD_TIME: Duration = Duration::from_secs(15);
/// Largest datagram that is a request.
const DATAGRAM_MAX: usize = 2048;

/// A running tracker.
#[derive(Clone, Debug)]
pub struct TrackerHandle {
    server: Arc<Mutex<Server>>,
    clock: Clock,
}

impl TrackerHandle {
    /// A tracker without peers. Must be called on a tokio runtime, which sweeps out peers that are gone.
    ///
    /// # Errors
    /// If the system gives no entropy.
    pub fn start(config: Config) -> io::Result<Self> {
        let server = Arc::new(Mutex::new(Server::new(config, entropy::rng()?)));
        let handle = TrackerHandle { server, clock: Clock::start() };
        let weak = Arc::downgrade(&handle.server);
        let clock = handle.clock;
        tokio::spawn(async move {
            while let Some(server) = weak.upgrade() {
                let next = {
                    let mut server = server.lock().unwrap_or_else(PoisonError::into_inner);
                    server.tick(clock.now());
                    server.deadline()
                };
                drop(server);
                let pause = next.map_or(Duration::from_secs(5), |at| clock.until(at));
                tokio::time::sleep(pause.clamp(Duration::from_millis(100), Duration::from_secs(5))).await;
            }
        });
        Ok(handle)
    }

    fn lock(&self) -> MutexGuard<'_, Server> {
        // A panic in one request leaves counts at most one announce off.
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer to `/announce?QUERY`: a bencoded dictionary.
    pub fn announce(&self, query: &str, from: IpAddr) -> Vec<u8> {
        self.lock().announce_http(self.clock.now(), query, from)
    }

    /// The answer to `/scrape?QUERY`: a bencoded dictionary.
    pub fn scrape(&self, query: &str, from: IpAddr) -> Vec<u8> {
        self.lock().scrape_http(query, from)
    }

    /// Serves this torrent; the two names of a hybrid become one swarm.
    pub fn serve(&self, hashes: InfoHashes) {
        let mut server = self.lock();
        if let Some(allow) = &mut server.access_mut().allow {
            allow.extend(hashes.on_wire());
        }
        if let (Some(v1), Some(v2)) = (hashes.v1, hashes.v2_on_wire()) {
            server.alias(v2, v1);
        }
    }

    /// Sets which torrents are served.
    pub fn set_access(&self, access: Access) {
        self.lock().set_access(access);
    }

    /// Seeders and leechers of a torrent.
    pub fn counts(&self, hash: InfoHash) -> wire::tracker::Counts {
        self.lock().counts(hash)
    }

    /// What it has done and holds.
    pub fn totals(&self) -> Totals {
        self.lock().totals()
    }

    /// Answers datagrams on `socket` until the task is dropped.
    pub async fn run_udp(self, socket: UdpSocket) {
        let mut buf = vec![0; DATAGRAM_MAX];
        let mut out = Vec::with_capacity(DATAGRAM_MAX);
        loop {
            let Ok((n, from)) = socket.recv_from(&mut buf).await else {
                // The error of an earlier datagram: its sender is gone.
                tokio::task::yield_now().await;
                continue;
            };
            out.clear();
            if self.lock().udp(self.clock.now(), from, &buf[..n], &mut out) {
                // A datagram may be lost anywhere; whoever asked asks again.
                let _ = socket.send_to(&out, from).await;
            }
        }
    }

    /// Answers HTTP on `listener` until the task is dropped.
    pub async fn run_http(self, listener: TcpListener) {
        let room = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = room.clone().acquire_owned().await else { return };
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(_) => {
                    // No descriptors left: others must end first.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let handle = self.clone();
            tokio::spawn(async move {
                let _ = stream.set_nodelay(true);
                let service = service_fn(move |request| {
                    let answer = handle.answer(&request, from);
                    async move { Ok::<_, Infallible>(answer) }
                });
                let _ = http1::Builder::new()
                    .timer(TokioTimer::new())
                    .header_read_timeout(HEAD_TIME)
                    .max_buf_size(HEAD_MAX)
                    .serve_connection(TokioIo::new(stream), service)
                    .await;
                drop(place);
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>, from: SocketAddr) -> Response<Full<Bytes>> {
        let query = request.uri().query().unwrap_or_default();
        let from = from.ip().to_canonical();
        let (status, kind, body) = match (request.method(), request.uri().path()) {
            (&Method::GET, "/announce") => (StatusCode::OK, "text/plain", self.announce(query, from)),
            (&Method::GET, "/scrape") => (StatusCode::OK, "text/plain", self.scrape(query, from)),
            (&Method::GET, "/") => {
                (StatusCode::OK, "text/plain", b"A BitTorrent tracker: announce at /announce\n".to_vec())
            }
            _ => (StatusCode::NOT_FOUND, "text/plain", b"not found\n".to_vec()),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        response.headers_mut().insert("content-type", hyper::header::HeaderValue::from_static(kind));
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn get(addr: SocketAddr, path: &str) -> String {
        let mut s = tokio::net::TcpStream::connect(addr).await.unwrap();
        s.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes()).await.unwrap();
        let mut out = Vec::new();
        s.read_to_end(&mut out).await.unwrap();
        String::from_utf8_lossy(&out).into_owned()
    }

    #[tokio::test]
    async fn two_peers_meet_over_http_and_udp() {
        let handle = TrackerHandle::start(Config::small()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let http = listener.local_addr().unwrap();
        let tasks = tokio::spawn(handle.clone().run_http(listener));
        let hash = "%01".repeat(20);
        let announce =
            |port| format!("/announce?info_hash={hash}&peer_id=-SH0010-00000000{port}&port={port}&left=1&compact=1");
        let first = get(http, &announce(7001)).await;
        assert!(first.starts_with("HTTP/1.1 200") && first.contains("8:interval"), "{first}");
        let second = get(http, &announce(7002)).await;
        assert!(second.contains("5:peers6:"), "{second}");
        assert!(get(http, "/nowhere").await.starts_with("HTTP/1.1 404"));
        assert_eq!(handle.totals().announces, 2);

        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let udp = socket.local_addr().unwrap();
        let udp_task = tokio::spawn(handle.clone().run_udp(socket));
        let client = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let connect = [&0x0417_2710_1980u64.to_be_bytes()[..], &[0; 4], &7u32.to_be_bytes()].concat();
        client.send_to(&connect, udp).await.unwrap();
        let mut buf = [0; 100];
        let (n, _) = client.recv_from(&mut buf).await.unwrap();
        assert_eq!((n, &buf[4..8]), (16, &7u32.to_be_bytes()[..]));
        tasks.abort();
        udp_task.abort();
    }
}
