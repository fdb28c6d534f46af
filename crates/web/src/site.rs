//! All that is shared, and who answers which path.
//!
//! | path | answer |
//! |---|---|
//! | `/` | the list |
//! | `/f/NAME` | the page for browsers, the bytes for all others and with `?download`; a folder's are a tar stream |
//! | `/f/NAME/PATH` | a file of a folder |
//! | `/f/NAME.torrent` | the torrent |
//! | `/announce`, `/scrape` | the tracker |
//! | `/~/...` | the page's style, its script, and its peers as JSON |
//!
//! A path is decoded once and then looked up among the names that are shared: there is no way from a path to any other
//! file.

use crate::answer;
use crate::content::Content;
use crate::item::Item;
use crate::live::{Live, Swarm, masked};
use crate::page;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use base::percent;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

/// All that is shared over HTTP.
pub struct Site {
    items: RwLock<BTreeMap<String, Arc<Item>>>,
    live: Arc<dyn Live>,
    base: String,
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("base", &self.base).finish_non_exhaustive()
    }
}

impl crate::serve::Handler for Site {
    async fn answer(&self, request: Request, from: SocketAddr) -> Response {
        self.respond(request, from).await
    }
}

impl Site {
    /// A site without items. `base` is the beginning of its links: scheme, host and port, without a slash at the end.
    pub fn new(live: Arc<dyn Live>, base: String) -> Self {
        Site { items: RwLock::default(), live, base }
    }

    /// The name under which something that is called `wanted` would be shared: the same, or with a number where that is
    /// taken.
    pub fn free_name(&self, wanted: &str) -> String {
        let items = self.items.read().unwrap_or_else(PoisonError::into_inner);
        let (stem, extension) = match wanted.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
            _ => (wanted, String::new()),
        };
        // "x" also takes "x.torrent", so that no address has two meanings.
        let taken = |name: &str| {
            let stem = name.strip_suffix(".torrent");
            items.contains_key(name)
                || items.contains_key(&format!("{name}.torrent"))
                || stem.is_some_and(|s| items.contains_key(s))
        };
        let numbered = (2u64..).map(|n| format!("{stem}-{n}{extension}"));
        std::iter::once(wanted.to_owned()).chain(numbered).find(|name| !taken(name)).unwrap_or_default()
    }

    /// The link of the item with this name.
    pub fn link(&self, name: &str) -> String {
        format!("{}/f/{}", self.base, page::segment(name))
    }

    /// Shares an item under its name, instead of one that had the same.
    pub fn add(&self, item: Item) {
        let mut items = self.items.write().unwrap_or_else(PoisonError::into_inner);
        items.insert(item.name.clone(), Arc::new(item));
    }

    fn find(&self, name: &str) -> Option<Arc<Item>> {
        self.items.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    async fn respond(&self, request: Request, from: SocketAddr) -> Response {
        let (parts, _) = request.into_parts();
        let head = parts.method == Method::HEAD;
        if !head && parts.method != Method::GET {
            return answer::refuse(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here");
        }
        let query = parts.uri.query().unwrap_or("");
        let response = match parts.uri.path() {
            "/" => answer::page(page::list(self.all().iter().map(AsRef::as_ref))),
            "/announce" => answer::tracker(self.live.announce(query, from).await),
            "/scrape" => answer::tracker(self.live.scrape(query, from).await),
            "/~/page.css" => answer::asset("text/css; charset=utf-8", include_str!("../assets/page.css")),
            "/~/page.js" => answer::asset("text/javascript; charset=utf-8", include_str!("../assets/page.js")),
            path => match (decoded(path, "/f/"), decoded(path, "/~/peers/")) {
                (Some(rest), _) => self.file(&rest, query, &parts.headers, from.ip()).await,
                (None, Some(name)) => match self.find(&name) {
                    Some(item) => answer::json(&self.swarm(&item, from.ip()).await),
                    None => answer::not_found(),
                },
                (None, None) => answer::not_found(),
            },
        };
        if head { answer::without_body(response) } else { response }
    }

    fn all(&self) -> Vec<Arc<Item>> {
        self.items.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Answers `/f/REST`.
    async fn file(&self, rest: &str, query: &str, headers: &HeaderMap, from: IpAddr) -> Response {
        let download = query.split('&').any(|pair| pair == "download" || pair.starts_with("download="));
        if let Some(item) = self.find(rest) {
            return match !download && wants_page(headers) {
                true => {
                    let swarm = self.swarm(&item, from).await;
                    answer::item_page(&item, page::item(&item, &self.link(&item.name), &swarm))
                }
                false => {
                    let content = if item.single { Content::File(0) } else { Content::Tar };
                    answer::content(item, content, headers, download).await
                }
            };
        }
        if let Some((name, path)) = rest.split_once('/') {
            let Some(item) = self.find(name).filter(|item| !item.single) else { return answer::not_found() };
            return match item.file(path) {
                Some(file) => answer::content(item, Content::File(file), headers, download).await,
                None => answer::not_found(),
            };
        }
        match rest.strip_suffix(".torrent").and_then(|name| self.find(name)) {
            Some(item) => answer::torrent(&item, headers),
            None => answer::not_found(),
        }
    }

    /// The peers of an item as somebody at `from` may see them: only from this machine whole addresses are seen.
    async fn swarm(&self, item: &Item, from: IpAddr) -> Swarm {
        let mut swarm = self.live.swarm(item.hashes).await.unwrap_or_default();
        swarm.peers.truncate(page::PEERS_MAX);
        if !from.to_canonical().is_loopback() {
            swarm.peers.iter_mut().for_each(|peer| peer.address = masked(&peer.address));
        }
        swarm
    }
}

/// What follows `prefix` in a path, decoded once. None if it is not text.
fn decoded(path: &str, prefix: &str) -> Option<String> {
    let rest = path.strip_prefix(prefix)?;
    String::from_utf8(percent::decode(rest.as_bytes())).ok()
}

/// Browsers say that they want HTML; a request for a range is for bytes whoever sends it.
fn wants_page(headers: &HeaderMap) -> bool {
    let html = |accept: &str| {
        accept.split(',').any(|one| {
            let mut parts = one.split(';').map(str::trim);
            let html = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("text/html"));
            html && !parts.any(|p| matches!(p, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
        })
    };
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
    !headers.contains_key(header::RANGE) && accepts.into_iter().any(html)
}
