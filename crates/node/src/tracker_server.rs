//! The tracker on real sockets: [`tracker::Server`] over UDP (BEP 15) and HTTP (BEP 3, 48).
//!
//! One server behind one lock: an announce takes microseconds. `web` mounts [`TrackerServer::announce`] and
//! [`TrackerServer::scrape`] beside the link page; `shoal tracker` gives it sockets of its own.

use crate::clock::Clock;
use crate::entropy;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;
use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::Semaphore;
use tracker::Server;
use tracker::server::Config;

/// HTTP connections at once; more wait in the kernel.
const CONNECTIONS_MAX: usize = 4096;
/// Time that a client may take for the head of a request; also how long an idle connection is kept.
const HEAD_LIMIT: Duration = Duration::from_secs(15);
/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// Datagrams answered before others on this thread have their turn.
const DATAGRAM_TURN: usize = 64;
/// Largest datagram that is understood.
const DATAGRAM_MAX: usize = 4096;
/// Time between two looks at what has expired, at most.
const SWEEP: Duration = Duration::from_secs(10);

/// A tracker that can be asked from any thread.
#[derive(Debug)]
pub struct TrackerServer {
    server: Mutex<Server>,
    clock: Clock,
}

impl TrackerServer {
    /// An empty tracker. Must be called on a tokio runtime, which sweeps it.
    ///
    /// # Errors
    /// If the system gives no entropy.
    pub fn start(config: Config) -> io::Result<Arc<Self>> {
        let server = Mutex::new(Server::new(config, entropy::rng()?));
        let tracker = Arc::new(TrackerServer { server, clock: Clock::start() });
        tokio::spawn(sweep(Arc::downgrade(&tracker)));
        Ok(tracker)
    }

    /// The machine itself: for its lists, aliases and counts.
    pub fn lock(&self) -> MutexGuard<'_, Server> {
        // It stays whole if a thread that holds it panics: it is changed in steps that each make sense.
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Answers `/announce?QUERY`.
    pub fn announce(&self, query: &str, from: SocketAddr) -> Vec<u8> {
        let now = self.clock.now();
        self.lock().announce_http(now, query, from.ip().to_canonical())
    }

    /// Answers `/scrape?QUERY`.
    pub fn scrape(&self, query: &str, from: SocketAddr) -> Vec<u8> {
        self.lock().scrape_http(query, from.ip().to_canonical())
    }

    /// Answers datagrams until the socket fails.
    ///
    /// # Errors
    /// If the socket fails.
    pub async fn serve_udp(self: Arc<Self>, socket: UdpSocket) -> io::Result<()> {
        let (mut buf, mut out) = (vec![0; DATAGRAM_MAX], Vec::new());
        loop {
            socket.readable().await?;
            for _ in 0..DATAGRAM_TURN {
                let (n, from) = match socket.try_recv_from(&mut buf) {
                    Ok(got) => got,
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => break,
                    // An earlier answer did not reach its port; that is no failure of ours.
                    Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => continue,
                    Err(e) => return Err(e),
                };
                out.clear();
                let sender = SocketAddr::new(from.ip().to_canonical(), from.port());
                let now = self.clock.now();
                if self.lock().udp(now, sender, &buf[..n], &mut out) {
                    // A reply that can't leave now is lost like any datagram; the client asks again.
                    let _ = socket.try_send_to(&out, from);
                }
            }
            tokio::task::yield_now().await;
        }
    }

    /// Answers HTTP until the listener fails.
    ///
    /// # Errors
    /// If the listener fails.
    pub async fn serve_http(self: Arc<Self>, listener: TcpListener) -> io::Result<()> {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return Ok(()) };
            let (stream, from) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(e) if e.kind() == io::ErrorKind::ConnectionAborted => continue,
                Err(_) => {
                    // No descriptors: somebody has to leave first.
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            };
            let tracker = self.clone();
            tokio::spawn(async move {
                let _place = place;
                let answer = service_fn(move |request| {
                    let response = tracker.answer(&request, from);
                    async move { Ok::<_, Infallible>(response) }
                });
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(HEAD_LIMIT).max_buf_size(HEAD_BYTES_MAX);
                // A client that breaks off or talks nonsense has no claim to an answer.
                let _ = builder.serve_connection(TokioIo::new(stream), answer).await;
            });
        }
    }

    fn answer(&self, request: &Request<Incoming>, from: SocketAddr) -> Response<Full<Bytes>> {
        let query = request.uri().query().unwrap_or_default();
        let (status, body) = match (request.method(), request.uri().path()) {
            (&Method::GET, "/announce") => (StatusCode::OK, self.announce(query, from)),
            (&Method::GET, "/scrape") => (StatusCode::OK, self.scrape(query, from)),
            (&Method::GET, _) => (StatusCode::NOT_FOUND, b"A BitTorrent tracker: /announce and /scrape\n".to_vec()),
            _ => (StatusCode::METHOD_NOT_ALLOWED, Vec::new()),
        };
        let mut response = Response::new(Full::new(Bytes::from(body)));
        *response.status_mut() = status;
        let text = hyper::header::HeaderValue::from_static("text/plain");
        response.headers_mut().insert(hyper::header::CONTENT_TYPE, text);
        response
    }
}

/// Forgets what has expired, until the tracker is gone.
async fn sweep(tracker: Weak<TrackerServer>) {
    loop {
        let Some(pause) = tracker.upgrade().map(|t| {
            let now = t.clock.now();
            let mut server = t.lock();
            server.tick(now);
            server.deadline().map_or(SWEEP, |at| t.clock.until(at)).min(SWEEP)
        }) else {
            return;
        };
        tokio::time::sleep(pause.max(Duration::from_millis(10))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    async fn http(at: SocketAddr, target: &str) -> Vec<u8> {
        let mut stream = tokio::net::TcpStream::connect(at).await.unwrap();
        let request = format!("GET {target} HTTP/1.1\r\nHost: t\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await.unwrap();
        reply
    }

    fn holds(reply: &[u8], part: &[u8]) -> bool {
        reply.windows(part.len()).any(|w| w == part)
    }

    #[tokio::test]
    async fn two_peers_meet_over_http() {
        let tracker = TrackerServer::start(Config::small()).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let task = tokio::spawn(tracker.clone().serve_http(listener));
        let announce = |port, left| {
            format!(
                "/announce?info_hash={}&peer_id={:0>20}&port={port}&left={left}&compact=1&event=started",
                "%07".repeat(20),
                port
            )
        };
        assert!(http(at, &announce(1001, 0)).await.starts_with(b"HTTP/1.1 200"));
        let reply = http(at, &announce(1002, 5)).await;
        assert!(holds(&reply, &[127, 0, 0, 1, 0x03, 0xe9]), "{}", reply.escape_ascii());
        let reply = http(at, &format!("/scrape?info_hash={}", "%07".repeat(20))).await;
        assert!(holds(&reply, b"8:completei1e"), "{}", reply.escape_ascii());
        assert!(http(at, "/").await.starts_with(b"HTTP/1.1 404"));
        assert_eq!(tracker.lock().totals().peers, 2);
        task.abort();
    }

    #[tokio::test]
    async fn datagrams_are_answered() {
        let tracker = TrackerServer::start(Config::small()).unwrap();
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let at = socket.local_addr().unwrap();
        let task = tokio::spawn(tracker.serve_udp(socket));
        let client = UdpSocket::bind((IpAddr::from([127, 0, 0, 1]), 0)).await.unwrap();
        client.send_to(b"nonsense", at).await.unwrap();
        let connect = [&0x0417_2710_1980u64.to_be_bytes()[..], &0u32.to_be_bytes(), &77u32.to_be_bytes()].concat();
        client.send_to(&connect, at).await.unwrap();
        let mut buf = [0; 64];
        let n = client.recv(&mut buf).await.unwrap();
        assert_eq!((n, &buf[..4], &buf[4..8]), (16, &[0; 4][..], &77u32.to_be_bytes()[..]));
        task.abort();
    }
}
