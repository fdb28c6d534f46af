//! HTTP GETs to trackers, and looking up names: slow, rare, and on behalf of strangers' text.
//!
//! Which address may be contacted was judged by the machine that asks; the connection goes there and nowhere else: no
//! second look-up, no redirect, no proxy. Certificates are checked as for any page.

use reqwest::redirect::Policy;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tracker::{HttpReply, Url};
use wire::tracker::http::RESPONSE_BYTES_MAX;

/// Time to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Time for all of it.
const LIMIT: Duration = Duration::from_secs(30);
/// Connections kept to one server between two GETs, and how long.
const IDLE_MAX: usize = 2;
const IDLE_LIMIT: Duration = Duration::from_secs(15);
/// Clients kept for TLS.
const TLS_CLIENTS_MAX: usize = 16;
/// Addresses taken from one look-up.
const ADDRESSES_MAX: usize = 16;

/// How TLS is done: one provider for the whole process.
pub fn tls_provider() -> Arc<rustls::crypto::CryptoProvider> {
    static PROVIDER: OnceLock<Arc<rustls::crypto::CryptoProvider>> = OnceLock::new();
    let made = || {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        // Somebody may have set one already, which is as good.
        let _ = rustls::crypto::CryptoProvider::install_default((*provider).clone());
        provider
    };
    PROVIDER.get_or_init(made).clone()
}

/// Makes GETs. It is kept: a client costs more than what it fetches, and trackers of many torrents like one connection.
#[derive(Debug, Default)]
pub(crate) struct Fetcher {
    plain: OnceLock<reqwest::Client>,
    /// For TLS each name at each address has its own client, the latest last.
    tls: Mutex<Vec<((String, SocketAddr), reqwest::Client)>>,
}

impl Fetcher {
    /// GETs `url` from `to`, whose port is that of the URL.
    ///
    /// # Errors
    /// In words for people: what failed, without the URL, which may hold a pass key.
    pub(crate) async fn get(&self, url: &str, to: SocketAddr) -> Result<HttpReply, String> {
        // Judged by the same eyes as in the machine that asks.
        Url::parse(url).map_err(|e| e.to_string())?;
        let url: reqwest::Url = url.parse().map_err(|_| "broken URL".to_owned())?;
        let response = self.request(url, to)?.send().await.map_err(|e| words(&e))?;
        read(response).await
    }

    fn request(&self, mut url: reqwest::Url, to: SocketAddr) -> Result<reqwest::RequestBuilder, String> {
        let host = url.host_str().unwrap_or_default().to_owned();
        if url.scheme() == "http" {
            let name = url.port().map_or_else(|| host.clone(), |port| format!("{host}:{port}"));
            let moved = url.set_ip_host(to.ip()).and_then(|()| url.set_port(Some(to.port())));
            moved.map_err(|()| "broken URL".to_owned())?;
            let client = match self.plain.get() {
                Some(client) => client,
                None => {
                    // To read the system's certificates takes longer than an announce, and nothing leads to TLS from here.
                    let client = build(to_trackers().tls_certs_only([]))?;
                    self.plain.get_or_init(|| client)
                }
            };
            return Ok(client.get(url).header(reqwest::header::HOST, name));
        }
        let key = (host, to);
        let tls = &mut *self.tls.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = tls.iter().position(|(k, _)| *k == key) {
            tls[at..].rotate_left(1);
        } else {
            let client = build(to_trackers().resolve_to_addrs(&key.0, &[to]))?;
            if tls.len() == TLS_CLIENTS_MAX {
                tls.remove(0);
            }
            tls.push((key, client));
        }
        let (_, client) = tls.last().ok_or("no client")?;
        Ok(client.get(url))
    }
}

/// What all clients of ours have in common: they go where they are sent and nowhere else.
pub(crate) fn builder() -> reqwest::ClientBuilder {
    reqwest::Client::builder()
        .user_agent(concat!("Shoal/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_LIMIT)
}

fn to_trackers() -> reqwest::ClientBuilder {
    builder().timeout(LIMIT).pool_max_idle_per_host(IDLE_MAX).pool_idle_timeout(IDLE_LIMIT)
}

fn build(builder: reqwest::ClientBuilder) -> Result<reqwest::Client, String> {
    tls_provider();
    builder.build().map_err(|e| words(&e))
}

async fn read(mut response: reqwest::Response) -> Result<HttpReply, String> {
    let status = response.status().as_u16();
    let location = response.headers().get(reqwest::header::LOCATION).and_then(|v| v.to_str().ok()).map(str::to_owned);
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|e| words(&e))? {
        let room = RESPONSE_BYTES_MAX - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if chunk.len() >= room {
            break;
        }
    }
    Ok(HttpReply { status, location, body })
}

/// The innermost reason, which is the one that helps.
pub fn words(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".into();
    }
    let mut inner: &dyn std::error::Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    let words = inner.to_string();
    // What servers without TLS say to it, each in its way; and our own word for an answer that is HTTP.
    let plain = ["UnexpectedMessage", "InvalidContentType", "corrupt message"].iter().any(|w| words.contains(w));
    if plain && error.is_connect() { format!("it speaks no TLS ({words}); try http://") } else { words }
}

/// Looks up `host`.
pub(crate) async fn resolve(host: &str, port: u16) -> Result<Vec<SocketAddr>, String> {
    let found = tokio::net::lookup_host((host, port)).await.map_err(|e| format!("can't find {host}: {e}"))?;
    let mut addrs: Vec<SocketAddr> = Vec::new();
    for addr in found {
        if addrs.len() < ADDRESSES_MAX && !addrs.contains(&addr) {
            addrs.push(addr);
        }
    }
    if addrs.is_empty() { Err(format!("{host} has no address")) } else { Ok(addrs) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Answers one connection, and tells what was asked.
    async fn serve(reply: Vec<u8>) -> (SocketAddr, tokio::task::JoinHandle<String>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let task = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut buf = vec![0; 4096];
            let n = stream.read(&mut buf).await.unwrap();
            // The client may stop reading at its limit.
            let _ = stream.write_all(&reply).await;
            String::from_utf8(buf[..n].to_vec()).unwrap()
        });
        (addr, task)
    }

    #[tokio::test]
    async fn goes_where_it_is_sent_and_follows_nothing() {
        let (to, asked) =
            serve(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/x\r\nContent-Length: 2\r\n\r\nno".to_vec())
                .await;
        let url = format!("http://tracker.example:{}/announce?a=%00b", to.port());
        let reply = Fetcher::default().get(&url, to).await.unwrap();
        assert_eq!(
            reply,
            HttpReply { status: 302, location: Some("http://127.0.0.1:1/x".into()), body: b"no".to_vec() }
        );
        let asked = asked.await.unwrap().to_lowercase();
        assert!(asked.starts_with("get /announce?a=%00b http/1.1\r\n"), "{asked}");
        assert!(asked.contains(&format!("host: tracker.example:{}\r\n", to.port())), "{asked}");
    }

    #[tokio::test]
    async fn a_long_body_is_cut_off() {
        let mut reply = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n".to_vec();
        reply.resize(reply.len() + 2 * RESPONSE_BYTES_MAX, b'x');
        let (to, _asked) = serve(reply).await;
        let url = format!("http://{to}/announce");
        assert_eq!(Fetcher::default().get(&url, to).await.unwrap().body.len(), RESPONSE_BYTES_MAX);
    }

    #[tokio::test]
    async fn names_and_refusals() {
        assert!(resolve("127.0.0.1", 80).await.unwrap().contains(&"127.0.0.1:80".parse().unwrap()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        drop(listener);
        let url = format!("http://{to}/announce");
        assert!(Fetcher::default().get(&url, to).await.unwrap_err().contains("refused"));
    }
}
