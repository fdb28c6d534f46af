//! HTTP GETs to trackers, and looking up names: slow, rare, and on behalf of strangers' text.
//!
//! Which address may be contacted was judged by the machine that asks; the connection goes there and nowhere else: no
//! second look-up, no redirect, no proxy. Certificates are checked as for any page.

use reqwest::redirect::Policy;
use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tracker::{HttpReply, Url};
use wire::tracker::http::RESPONSE_BYTES_MAX;

/// Time to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
/// Time for all of it.
const LIMIT: Duration = Duration::from_secs(30);
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

/// GETs `url` from `to`, whose port is that of the URL.
///
/// # Errors
/// In words for people: what failed, without the URL, which may hold a pass key.
pub(crate) async fn get(url: &str, to: SocketAddr) -> Result<HttpReply, String> {
    let parsed = Url::parse(url).map_err(|e| e.to_string())?;
    tls_provider();
    let client = reqwest::Client::builder()
        .user_agent(concat!("Shoal/", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .no_proxy()
        .connect_timeout(CONNECT_LIMIT)
        .timeout(LIMIT)
        .resolve_to_addrs(&parsed.host, &[to])
        .build()
        .map_err(|e| words(&e))?;
    let mut response = client.get(url).send().await.map_err(|e| words(&e))?;
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
    inner.to_string()
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
        let reply = get(&format!("http://tracker.example:{}/announce?a=%00b", to.port()), to).await.unwrap();
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
        assert_eq!(get(&url, to).await.unwrap().body.len(), RESPONSE_BYTES_MAX);
    }

    #[tokio::test]
    async fn names_and_refusals() {
        assert!(resolve("127.0.0.1", 80).await.unwrap().contains(&"127.0.0.1:80".parse().unwrap()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let to = listener.local_addr().unwrap();
        drop(listener);
        assert!(get(&format!("http://{to}/announce"), to).await.unwrap_err().contains("refused"));
    }
}
