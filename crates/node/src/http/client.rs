//! GETs to servers that have content, and whom we may contact for them.
//!
//! What the user named may be anywhere. What somebody else named, a web seed of a torrent for example, may be on a local network
//! only if whoever named it is at least as near ([`base::may_use`]), and only without a query, so that nobody makes us press the
//! buttons of the user's router. Nor does a redirect lead nearer than whoever sent it is, nor a name that is looked up.

use super::netrc::{Login, Netrc};
use crate::fetch::{builder, tls_provider, words};
use base::Scope;
use bytes::Bytes;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{ACCEPT, ACCEPT_ENCODING, HeaderMap, IF_RANGE, LOCATION, RANGE};
use reqwest::{Method, RequestBuilder, Response, Url};
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

/// Time until the head of the answer is here.
const HEAD_LIMIT: Duration = Duration::from_secs(20);
/// Time without a byte of a body.
pub(super) const SILENCE: Duration = Duration::from_secs(30);
/// Redirects that are followed.
const REDIRECTS_MAX: usize = 10;
/// Connections kept to one server between two requests.
const IDLE_MAX: usize = 8;

/// Who named an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedBy {
    /// The user.
    User,
    /// Somebody in this scope: the server from which a torrent or a Metalink came. What the user has in a file counts as being on
    /// this machine.
    Told(Scope),
}

impl NamedBy {
    fn reach(self) -> Reach {
        match self {
            NamedBy::User => Reach::Anywhere,
            NamedBy::Told(scope) => Reach::Scope(scope),
        }
    }
}

/// How near to the user a request may go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reach {
    Scope(Scope),
    /// Also to addresses that are none, such as 0.0.0.0, where the user's own programs listen.
    Anywhere,
}

impl Reach {
    const ALL: [Reach; 5] = [
        Reach::Scope(Scope::Global),
        Reach::Scope(Scope::Private),
        Reach::Scope(Scope::LinkLocal),
        Reach::Scope(Scope::Loopback),
        Reach::Anywhere,
    ];

    fn includes(self, ip: IpAddr) -> bool {
        match Scope::of(ip) {
            None => self == Reach::Anywhere && ip.is_unspecified(),
            Some(scope) => self >= Reach::Scope(scope),
        }
    }

    /// The same for this URL: a query that others named stays outside.
    fn to(self, url: &Url, named_by: NamedBy) -> Self {
        let by_others = named_by != NamedBy::User;
        if by_others && url.query().is_some() { Reach::Scope(Scope::Global) } else { self }
    }

    /// The same, but only as near as `by` is.
    fn told(self, by: Option<SocketAddr>) -> Self {
        let scope = scope_of(by);
        // Who listens on all interfaces is here.
        let here = by.is_some_and(|a| a.ip().is_unspecified());
        self.min(Reach::Scope(if here { Scope::Loopback } else { scope }))
    }
}

/// What can go wrong before there is an answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// The URL can't be used, or must not be.
    #[error("{0}")]
    Refused(String),
    /// Nobody answers.
    #[error("{0}")]
    Failed(String),
}

/// Makes requests. It is kept: connections are used again.
#[derive(Debug, Default)]
pub struct Web {
    logins: Netrc,
    /// Servers may take their time to answer, as those do that are sent much.
    patient: bool,
    /// By how near they go, and whether they know TLS.
    clients: [[OnceLock<reqwest::Client>; 2]; Reach::ALL.len()],
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// What to ask for; its fragment is not sent.
    pub url: &'a str,
    /// Who named it.
    pub named_by: NamedBy,
    /// The first and the last byte that is wanted; None: all.
    pub range: Option<(u64, u64)>,
    /// Further headers.
    pub headers: HeaderMap,
    /// GET or HEAD, or POST.
    pub method: Method,
    /// The body of a POST.
    pub body: Bytes,
}

impl<'a> Request<'a> {
    /// A GET of everything at a URL that the user named.
    pub fn get(url: &'a str) -> Self {
        Request {
            url,
            named_by: NamedBy::User,
            range: None,
            headers: HeaderMap::new(),
            method: Method::GET,
            body: Bytes::new(),
        }
    }
}

impl Web {
    /// One that knows passwords: a server gets its own whoever named it.
    pub fn with(logins: Netrc) -> Self {
        Web { logins, ..Web::default() }
    }

    /// One without limits of time: whoever asks has to have some.
    pub(crate) fn patient(logins: Netrc) -> Self {
        Web { logins, patient: true, ..Web::default() }
    }

    /// A request for what somebody has named, judged as all of them are, perhaps with a password of its own. No redirect is followed.
    ///
    /// # Errors
    /// If it must not be asked for.
    pub(crate) fn prepare(
        &self,
        method: Method,
        url: &str,
        named_by: NamedBy,
        login: Option<&Login>,
    ) -> Result<RequestBuilder, WebError> {
        let url = parse(url)?;
        let reach = named_by.reach().to(&url, named_by);
        let login = login.or_else(|| self.login(&url, reach, named_by == NamedBy::User)).cloned();
        self.judged(method, url, reach, login)
    }

    fn judged(&self, method: Method, url: Url, reach: Reach, login: Option<Login>) -> Result<RequestBuilder, WebError> {
        judge(&url, reach)?;
        let ask = self.client(reach, url.scheme() == "https")?.request(method, url);
        let ask = ask.header(ACCEPT_ENCODING, "identity");
        Ok(match login {
            Some(login) => ask.basic_auth(login.name, login.password),
            None => ask,
        })
    }

    /// Who we are at a URL. Strangers must not have a password sent across the Internet for all to read.
    fn login(&self, url: &Url, reach: Reach, by_user: bool) -> Option<&Login> {
        let safe = by_user || reach > Reach::Scope(Scope::Global) || url.scheme() == "https";
        self.logins.of(url).filter(|_| safe)
    }

    /// Asks, and follows redirects. The answer may have any status that is no redirect.
    ///
    /// # Errors
    /// In words for people, without the URL.
    pub async fn ask(&self, request: Request<'_>) -> Result<Response, WebError> {
        let mut url = parse(request.url)?;
        let mut reach = request.named_by.reach();
        let first = url.clone();
        for _ in 0..=REDIRECTS_MAX {
            let reach_here = reach.to(&url, request.named_by);
            let by_user = request.named_by == NamedBy::User && url.host() == first.host();
            let login = self.login(&url, reach_here, by_user).cloned();
            let ask = self.judged(request.method.clone(), url.clone(), reach_here, login)?;
            let mut headers = request.headers.clone();
            if url != first {
                // The tag of one URL says nothing of another.
                headers.remove(IF_RANGE);
            }
            let mut ask = ask.header(ACCEPT, "*/*").headers(headers);
            if let Some((first, last)) = request.range {
                ask = ask.header(RANGE, format!("bytes={first}-{last}"));
            }
            if !request.body.is_empty() {
                ask = ask.body(request.body.clone());
            }
            let answer = tokio::time::timeout(HEAD_LIMIT, ask.send()).await;
            let answer = answer.map_err(|_| WebError::Failed("no answer in time".into()))?;
            let answer = answer.map_err(|e| WebError::Failed(words(&e)))?;
            if !answer.status().is_redirection() || answer.status() == reqwest::StatusCode::NOT_MODIFIED {
                return Ok(answer);
            }
            let target = answer.headers().get(LOCATION).and_then(|v| v.to_str().ok());
            let target = target.ok_or_else(|| WebError::Refused("a redirect to nowhere".into()))?;
            reach = reach.told(answer.remote_addr());
            let mut next = url.join(target).map_err(|e| WebError::Refused(format!("a broken redirect: {e}")))?;
            if url.scheme() == "https" && next.scheme() == "http" {
                return Err(WebError::Refused(format!("a redirect from https to {next}")));
            }
            if url.origin() != next.origin() {
                // A password is for the server that it was given for.
                strip_login(&mut next);
            }
            url = next;
        }
        Err(WebError::Refused(format!("more than {REDIRECTS_MAX} redirects")))
    }

    fn client(&self, reach: Reach, tls: bool) -> Result<&reqwest::Client, WebError> {
        let at = Reach::ALL.iter().position(|r| *r == reach).unwrap_or(0);
        let cell = &self.clients[at][usize::from(tls)];
        if let Some(client) = cell.get() {
            return Ok(client);
        }
        let builder = to_servers().pool_max_idle_per_host(IDLE_MAX).dns_resolver(Arc::new(Resolver { reach }));
        let builder = if self.patient { builder } else { builder.read_timeout(SILENCE) };
        // To read the system's certificates takes longer than most requests.
        let builder = if tls { builder } else { builder.tls_certs_only([]) };
        let client = builder.build().map_err(|e| WebError::Failed(words(&e)))?;
        Ok(cell.get_or_init(|| client))
    }
}

/// What an answer brings, as far as the first byte beyond `max`.
///
/// # Errors
/// If it breaks off, in words for people.
pub async fn beginning(answer: &mut Response, max: u64) -> Result<Vec<u8>, WebError> {
    let mut body = Vec::new();
    let end = usize::try_from(max).unwrap_or(usize::MAX).saturating_add(1);
    while body.len() < end
        && let Some(chunk) = answer.chunk().await.map_err(|e| WebError::Failed(words(&e)))?
    {
        body.extend_from_slice(&chunk);
    }
    body.truncate(end);
    Ok(body)
}

/// How near whoever answered is. Who is nowhere is far away.
pub(crate) fn scope_of(by: Option<SocketAddr>) -> Scope {
    by.and_then(|a| Scope::of(a.ip())).unwrap_or(Scope::Global)
}

fn parse(url: &str) -> Result<Url, WebError> {
    Url::parse(url).map_err(|e| WebError::Refused(format!("broken URL: {e}")))
}

/// What all clients for servers with content have in common. Redirects are for whoever judges addresses.
fn to_servers() -> reqwest::ClientBuilder {
    tls_provider();
    builder().http1_only().tcp_nodelay(true)
}

/// Takes name and password out of a URL. URLs that can't have them refuse, and have none.
pub(crate) fn strip_login(url: &mut Url) {
    let _ = url.set_password(None);
    let _ = url.set_username("");
}

/// May this URL be asked for? Names are judged again when they are looked up.
fn judge(url: &Url, reach: Reach) -> Result<(), WebError> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(WebError::Refused(format!("{}: URLs can't be fetched, only http: and https:", url.scheme())));
    }
    let host = url.host_str().filter(|h| !h.is_empty());
    let host = host.ok_or_else(|| WebError::Refused("a URL without a host".into()))?;
    let ip: Option<IpAddr> = host.trim_matches(['[', ']']).parse().ok();
    match ip {
        Some(ip) if !reach.includes(ip) => Err(WebError::Refused(format!("{ip} is not for strangers to name"))),
        _ => Ok(()),
    }
}

/// Looks names up, and leaves out what must not be contacted.
struct Resolver {
    reach: Reach,
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.reach;
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let all: Vec<SocketAddr> = found.collect();
            let allowed: Vec<SocketAddr> = all.iter().copied().filter(|a| reach.includes(a.ip())).collect();
            if allowed.is_empty() && !all.is_empty() {
                return Err(format!("{} is not for strangers to name", name.as_str()).into());
            }
            Ok(Box::new(allowed.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    /// Answers every request with this head, and tells the requests.
    async fn serve(head: &'static str) -> (SocketAddr, tokio::sync::mpsc::UnboundedReceiver<String>) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (tx, rx) = tokio::sync::mpsc::unbounded_channel();
        let addr = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut buf = vec![0; 4096];
                let n = stream.read(&mut buf).await.unwrap_or(0);
                let _ = tx.send(String::from_utf8_lossy(&buf[..n]).to_lowercase());
                let _ = stream.write_all(head.as_bytes()).await;
            }
        });
        (addr, rx)
    }

    async fn ask(web: &Web, url: &str, named_by: NamedBy) -> Result<u16, WebError> {
        web.ask(Request { named_by, ..Request::get(url) }).await.map(|r| r.status().as_u16())
    }

    #[tokio::test]
    async fn strangers_may_not_aim_us_at_queries_inside() {
        let (at, mut asked) = serve("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        let web = Web::default();
        assert_eq!(ask(&web, &format!("http://{at}/a?b"), NamedBy::User).await, Ok(200));
        assert_eq!(ask(&web, &format!("http://{at}/a"), NamedBy::Told(Scope::Loopback)).await, Ok(200));
        for url in [
            format!("http://{at}/a?b"),
            format!("http://localhost:{}/a?b", at.port()),
            "http://[::ffff:10.0.0.1]/?x".into(),
        ] {
            let refused = ask(&web, &url, NamedBy::Told(Scope::Loopback)).await.unwrap_err().to_string();
            assert!(refused.contains("not for strangers"), "{url}: {refused}");
        }
        let url = format!("http://{at}/a");
        for scope in [Scope::Global, Scope::Private] {
            assert!(ask(&web, &url, NamedBy::Told(scope)).await.is_err(), "{scope:?} is farther away");
        }
        for url in ["ftp://h/x", "http://", "nonsense", "file:///etc/passwd", "http://224.0.0.1/"] {
            assert!(matches!(ask(&web, url, NamedBy::User).await, Err(WebError::Refused(_))), "{url}");
        }
        asked.recv().await;
        asked.recv().await;
        assert!(asked.try_recv().is_err(), "two were asked");
    }

    #[test]
    fn passwords_cross_the_internet_in_the_clear_only_where_the_user_says_so() {
        let web = Web::with(Netrc::parse("machine h.example login me password secret").unwrap());
        for (url, named_by, told) in [
            ("http://h.example/", NamedBy::User, true),
            ("http://h.example/", NamedBy::Told(Scope::Loopback), true),
            ("https://h.example/", NamedBy::Told(Scope::Global), true),
            ("http://h.example/", NamedBy::Told(Scope::Global), false),
            ("https://other.example/", NamedBy::User, false),
        ] {
            let ask = web.prepare(Method::GET, url, named_by, None).unwrap().build().unwrap();
            assert_eq!(ask.headers().contains_key("authorization"), told, "{url}, {named_by:?}");
        }
    }

    #[tokio::test]
    async fn what_is_too_long_is_read_no_farther_than_shows_it() {
        let (at, _asked) = serve("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n123456789").await;
        let (web, url) = (Web::default(), format!("http://{at}/"));
        for (max, wanted) in [(0, "1"), (5, "123456"), (8, "123456789"), (9, "123456789"), (u64::MAX, "123456789")] {
            let mut answer = web.ask(Request::get(&url)).await.unwrap();
            assert_eq!(beginning(&mut answer, max).await.unwrap(), wanted.as_bytes(), "{max}");
        }
        let (at, _asked) = serve("HTTP/1.1 200 OK\r\nContent-Length: 9\r\nConnection: close\r\n\r\n1234").await;
        let mut answer = web.ask(Request::get(&format!("http://{at}/"))).await.unwrap();
        assert!(beginning(&mut answer, 9).await.is_err(), "it breaks off");
    }

    #[tokio::test]
    async fn redirects_have_an_end() {
        let (at, _asked) =
            serve("HTTP/1.1 302 Found\r\nLocation: /again\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        let error = ask(&Web::default(), &format!("http://{at}/"), NamedBy::User).await.unwrap_err();
        assert_eq!(error, WebError::Refused("more than 10 redirects".into()));
    }

    #[test]
    fn nobody_sends_us_nearer_than_he_is() {
        let at = |ip: &str| Some(SocketAddr::new(ip.parse().unwrap(), 80));
        let local: IpAddr = "10.0.0.1".parse().unwrap();
        assert!(Reach::Anywhere.includes(local));
        assert!(!Reach::Anywhere.told(at("9.9.9.9")).includes(local));
        assert!(!Reach::Anywhere.told(None).includes(local));
        assert!(Reach::Anywhere.told(at("10.9.9.9")).includes(local));
        assert!(!Reach::Anywhere.told(at("10.9.9.9")).includes("127.0.0.1".parse().unwrap()));
        assert!(Reach::Anywhere.told(at("127.0.0.1")).includes(local));
        assert!(!Reach::Scope(Scope::Global).told(at("127.0.0.1")).includes(local));
    }

    #[tokio::test]
    async fn a_range_is_asked_for_as_it_is() {
        let (at, mut asked) = serve("HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
        let url = format!("http://{at}/x#part");
        Web::default().ask(Request { range: Some((5, 9)), ..Request::get(&url) }).await.unwrap();
        let asked = asked.recv().await.unwrap();
        assert!(asked.starts_with("get /x http/1.1\r\n") && asked.contains("range: bytes=5-9\r\n"), "{asked}");
        assert!(asked.contains("accept-encoding: identity\r\n"), "{asked}");
    }
}
