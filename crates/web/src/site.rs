//! All that is shared, and who answers which path.
//!
//! | path | answer |
//! |---|---|
//! | `/`, `/f/` | the list |
//! | `/f/NAME` | the page for browsers, the bytes for all others and with `?download`; a folder's are a tar stream |
//! | `/f/NAME/PATH` | a file of a folder |
//! | `/f/NAME.torrent`, `/f/NAME.meta4` | the torrent, the Metalink |
//! | `/announce`, `/scrape` | the tracker |
//! | `/~/items`, `/~/events` | the list for programs, and what changes ([`feed`]) |
//! | `/~/mirrors` | where mirrors say what they have (POST) |
//! | `/~/...` | the page's style, its script, its peers and servers as JSON, and folders as their torrents call them |
//!
//! A path is decoded once and then looked up among the names that are shared: there is no way from a path to any other
//! file.
//!
//! What changed on disk loses its torrent at once, and is given as it is, without digests, until whoever runs the site has
//! made another ([`Site::work`], [`Site::unmade`], [`Site::add`]).

mod coming;
mod edge;
mod elsewhere;
mod feed;
mod plain;
mod registry;
mod slots;
mod watch;

use crate::accept;
use crate::answer;
use crate::catalogue::{self, Facts, REGISTRATION_MAX};
use crate::content::{Content, ContentError};
use crate::count::Count;
use crate::hops;
use crate::item::Item;
use crate::link;
use crate::live::{Live, Swarm, masked};
use crate::mirrors::{self, Mirrors};
use crate::pace::{Late, Pace};
use crate::page;
use axum::body::Body;
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::Response;
use base::percent;
use elsewhere::Asker;
use feed::Feed;
use registry::Registry;
use slots::{Slot, Slots};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tokio::sync::{Notify, Semaphore};

pub(crate) use coming::Coming;
pub(crate) use edge::{Asked, Edge};
pub use registry::{Allowed, MirrorRules, origin};
pub use slots::Unmade;

/// What is answered nearly everywhere.
const ALLOW: &str = "GET, HEAD, OPTIONS";
/// What may follow a name.
const SUFFIXES: [&str; 2] = [".torrent", ".meta4"];
/// Mirrors that are listened to at once, and how long one may say nothing.
const REGISTERING_MAX: usize = 16;
const REGISTRATION_WAIT: Duration = Duration::from_secs(20);

/// Finds what is shared under a name that nobody asked for before. Blocking.
pub type Finder = Arc<dyn Fn(&str) -> Option<PathBuf> + Send + Sync>;

/// All that is shared over HTTP.
pub struct Site {
    slots: Slots,
    live: Arc<dyn Live>,
    base: String,
    mirrors: RwLock<Arc<Mirrors>>,
    finder: Option<Finder>,
    leave_hidden: bool,
    fence: Option<Arc<Path>>,
    work: Notify,
    feed: Feed,
    rules: MirrorRules,
    registry: Registry,
    registered: Notify,
    registering: Semaphore,
    downloads: Count,
    /// It has copies of another site's items.
    edge: Option<Arc<Edge>>,
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
        Site {
            slots: Slots::default(),
            live,
            base,
            mirrors: RwLock::default(),
            finder: None,
            leave_hidden: false,
            fence: None,
            work: Notify::new(),
            feed: Feed::default(),
            rules: MirrorRules::default(),
            registry: Registry::default(),
            registered: Notify::new(),
            registering: Semaphore::new(REGISTERING_MAX),
            downloads: Count::default(),
            edge: None,
        }
    }

    /// Takes mirrors as these rules say. Somebody has to look at them: [`Site::watch_mirrors`].
    #[must_use]
    pub fn with_mirrors(self, rules: MirrorRules) -> Self {
        Site { rules, ..self }
    }

    /// Gives copies of another site's items, and what is not here not at all.
    #[must_use]
    pub(crate) fn with_edge(self, edge: Arc<Edge>) -> Self {
        Site { edge: Some(edge), ..self }
    }

    /// Shares what `finder` finds, too, as it is asked for; without what has a dot in front of its name.
    #[must_use]
    pub fn with_finder(self, finder: Finder) -> Self {
        Site { finder: Some(finder), leave_hidden: true, ..self }
    }

    /// Nothing that lies outside of this folder is given, also where what was found in it has become a symbolic link that leads out.
    #[must_use]
    pub fn with_fence(self, folder: &Path) -> Self {
        Site { fence: Some(folder.into()), ..self }
    }

    /// Whether a path is one of the site's, where it shares its address with others.
    pub fn has(path: &str) -> bool {
        matches!(path, "/announce" | "/scrape" | "/f") || path.starts_with("/f/") || path.starts_with("/~/")
    }

    /// The name under which something that is called `wanted` would be shared: the same, or with a number where that is
    /// taken.
    pub fn free_name(&self, wanted: &str) -> String {
        let (stem, extension) = match wanted.rsplit_once('.') {
            Some((stem, extension)) if !stem.is_empty() => (stem, format!(".{extension}")),
            _ => (wanted, String::new()),
        };
        let numbered = (2u64..).map(|n| format!("{stem}-{n}{extension}"));
        let mut names = std::iter::once(wanted.to_owned()).chain(numbered);
        names.find(|name| !self.slots.is_taken(name)).unwrap_or_default()
    }

    /// The link of the item with this name.
    pub fn link(&self, name: &str) -> String {
        format!("{}{}", self.base, mirrors::path(name, None))
    }

    /// The web seed (BEP 19) of a torrent that is shared under `name`: a file's is its link; to a folder's, clients append
    /// the name that the torrent has, and the path in it.
    pub fn web_seed(&self, name: &str, layout: &base::Layout) -> String {
        mirrors::web_seed(&self.base, name, layout)
    }

    /// Shares an item under its name, instead of what had the same.
    pub fn add(&self, item: Item) {
        self.put(item);
    }

    /// The same, and says what there is now.
    pub(crate) fn put(&self, item: Item) -> Arc<Item> {
        let item = Arc::new(item);
        self.slots.put(&item.name, Slot::Ready(item.clone()));
        self.feed.tell(&self.slots, &item.name);
        item
    }

    /// Under this name there is something that has no torrent, whatever there was before.
    pub(crate) fn lose(&self, unmade: Unmade) {
        let name = unmade.name.clone();
        self.slots.put(&name, Slot::Unmade(Arc::new(unmade)));
        self.feed.tell(&self.slots, &name);
    }

    /// Shares something whose torrent is still to be made, unless its name is taken.
    pub fn begin(&self, unmade: Unmade) {
        let name = unmade.name.clone();
        self.slots.put_new(unmade);
        self.feed.tell(&self.slots, &name);
    }

    /// Lets those go who listen to what happens: nothing will.
    pub fn close(&self) {
        self.feed.close();
    }

    /// Whether something is shared under this name.
    pub fn knows(&self, name: &str) -> bool {
        self.slots.has(name)
    }

    /// Shares nothing under this name any more.
    pub fn remove(&self, name: &str) {
        self.slots.remove(name);
        self.feed.tell(&self.slots, name);
    }

    /// Says that an item is not any more what it was made of: its torrent and digests are not given any more.
    pub fn changed(&self, item: &Arc<Item>) {
        if self.slots.unmake(item, &self.without_torrent(item)) {
            self.feed.tell(&self.slots, &item.name);
            self.work.notify_one();
        }
    }

    fn without_torrent(&self, item: &Item) -> Unmade {
        let (name, root, single) = (item.name.clone(), item.root.clone(), item.single);
        Unmade { name, root, single, leave_hidden: self.leave_hidden }
    }

    /// All that has a torrent.
    pub fn items(&self) -> Vec<Arc<Item>> {
        self.slots.items()
    }

    /// Nothing is shared.
    pub(crate) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// All that lacks one.
    pub fn unmade(&self) -> Vec<Arc<Unmade>> {
        self.slots.unmade()
    }

    /// Waits until something lacks its torrent that did not before.
    pub async fn work(&self) {
        self.work.notified().await;
    }

    /// Names these mirrors from now on, beside those that registered.
    pub fn mirrored_by(&self, mirrors: Mirrors) {
        *self.mirrors.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(mirrors);
    }

    /// Who else has an item now.
    fn mirrors(&self, item: &Item) -> Mirrors {
        let named = self.mirrors.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mut all = self.registry.of(&item.name, &item.tag, Instant::now());
        all.0.extend(named.0.iter().cloned());
        // Copies are at the original's, too, while that answers.
        all.0.extend(self.edge.iter().filter(|edge| edge.has_original()).map(|edge| edge.mirror()));
        all
    }

    /// What is under a name, also if nobody asked for it before.
    async fn find(&self, name: &str) -> Option<Slot> {
        if let Some(slot) = self.slots.find(name) {
            return Some(slot);
        }
        let (finder, name) = (self.finder.clone()?, name.to_owned());
        let find = move || {
            let root = finder(&name)?;
            let single = std::fs::metadata(&root).ok()?.is_file();
            Some(Unmade { name, root, single, leave_hidden: true })
        };
        let found = tokio::task::spawn_blocking(find).await.ok()??;
        let name = found.name.clone();
        let slot = self.slots.put_new(found);
        self.feed.tell(&self.slots, &name);
        self.work.notify_one();
        slot
    }

    async fn ready(&self, name: &str) -> Option<Arc<Item>> {
        match self.find(name).await {
            Some(Slot::Ready(item)) => Some(item),
            _ => None,
        }
    }

    async fn respond(&self, request: Request, from: SocketAddr) -> Response {
        let (mut parts, body) = request.into_parts();
        let head = parts.method == Method::HEAD;
        let ip = hops::asker(&parts.headers, from.ip());
        if parts.uri.path() == catalogue::MIRRORS {
            return match parts.method {
                Method::POST => self.register(body, ip).await,
                _ => answer::allows(StatusCode::METHOD_NOT_ALLOWED, "POST"),
            };
        }
        match parts.method {
            Method::GET | Method::HEAD => {}
            Method::OPTIONS => return answer::allows(StatusCode::NO_CONTENT, ALLOW),
            Method::POST | Method::PUT | Method::DELETE | Method::PATCH | Method::TRACE | Method::CONNECT => {
                return answer::allows(StatusCode::METHOD_NOT_ALLOWED, ALLOW);
            }
            _ => return answer::refuse(StatusCode::NOT_IMPLEMENTED, "this method is not known here"),
        }
        if head {
            // Ranges are for GET alone (RFC 9110, section 14.2).
            parts.headers.remove(header::RANGE);
        }
        let query = parts.uri.query().unwrap_or("");
        let asked = |key: &str| {
            query.split('&').any(|pair| pair.strip_prefix(key).is_some_and(|v| v.is_empty() || v.starts_with('=')))
        };
        let download = asked("download");
        let here = asked("here") || query.split('&').any(|pair| pair == "download=here");
        let asker = Asker { headers: &parts.headers, from: ip, download, here, outbox: parts.extensions.get() };
        let path = parts.uri.path();
        let response = match path {
            "/" | "/f/" => {
                let items = self.items();
                answer::page(page::list(items.iter().map(AsRef::as_ref), &self.unmade()))
            }
            "/f" => answer::moved("/f/"),
            catalogue::ITEMS => answer::json(&self.items().iter().map(|item| Facts::of(item)).collect::<Vec<_>>()),
            catalogue::EVENTS => self.feed.listen(&self.slots, &parts.headers, ip),
            "/announce" => answer::tracker(self.live.announce(query, from).await),
            "/scrape" => answer::tracker(self.live.scrape(query, from).await),
            "/~/page.css" => answer::asset("text/css; charset=utf-8", include_str!("../assets/page.css")),
            "/~/page.js" => answer::asset("text/javascript; charset=utf-8", include_str!("../assets/page.js")),
            _ => {
                let (file, peers, seed) = (decoded(path, "/f/"), decoded(path, "/~/peers/"), decoded(path, "/~/seed/"));
                match (file, peers, seed) {
                    (Some(rest), _, _) => self.file(&rest, &asker).await,
                    (_, Some(name), _) => match self.ready(&name).await {
                        Some(item) => {
                            let swarm = self.swarm(&item, ip).await;
                            answer::json(&Now { swarm, servers: page::servers(&item, &self.mirrors(&item)) })
                        }
                        None => answer::not_found(),
                    },
                    // The name that the torrent has stands between the link's and the path.
                    (_, _, Some(rest)) => match rest.split_once('/').map(|(name, rest)| (name, rest.split_once('/'))) {
                        Some((name, Some((_, path)))) => self.member(name, path, &asker).await,
                        _ => answer::not_found(),
                    },
                    _ => answer::not_found(),
                }
            }
        };
        if head { answer::without_body(response) } else { response }
    }

    /// Answers `/f/REST`.
    async fn file(&self, rest: &str, asker: &Asker<'_>) -> Response {
        let page = !asker.download && wants_page(asker.headers);
        if let Some((name, path)) = rest.split_once('/') {
            return self.member(name, path, asker).await;
        }
        match self.find(rest).await {
            Some(Slot::Ready(item)) if page => {
                if !answer::is_unchanged(item.clone()).await {
                    self.changed(&item);
                    let page = || answer::page(page::unmade(&self.without_torrent(&item)));
                    return self.not_here(rest, None, "", asker).unwrap_or_else(page);
                }
                let swarm = self.swarm(&item, asker.from).await;
                let mirrors = self.mirrors(&item);
                let mut response = answer::page(page::item(&item, &self.link(&item.name), &swarm, &mirrors));
                link::describe(&mut response, &item, None, &mirrors);
                return response;
            }
            Some(Slot::Ready(item)) => return self.part(item, None, asker).await,
            Some(Slot::Unmade(unmade)) if page && self.edge.is_none() => return answer::page(page::unmade(&unmade)),
            Some(Slot::Unmade(unmade)) => return self.as_it_is(unmade, None, asker).await,
            None => {}
        }
        for (place, suffix) in SUFFIXES.iter().enumerate() {
            let Some(name) = rest.strip_suffix(suffix) else { continue };
            return match self.find(name).await {
                Some(Slot::Ready(item)) => self.description(item, place == 1, asker).await,
                Some(Slot::Unmade(unmade)) => {
                    let gone = self.not_here(&unmade.name, None, suffix, asker);
                    gone.unwrap_or_else(|| plain::later(&unmade.name))
                }
                None => self.unknown(asker),
            };
        }
        self.unknown(asker)
    }

    /// The torrent, or the Metalink, as long as they are of what is there.
    async fn description(&self, item: Arc<Item>, metalink: bool, asker: &Asker<'_>) -> Response {
        if !answer::is_unchanged(item.clone()).await {
            self.changed(&item);
            let suffix = SUFFIXES[usize::from(metalink)];
            let gone = self.not_here(&item.name, None, suffix, asker);
            return gone.unwrap_or_else(|| plain::later(&item.name));
        }
        match metalink {
            false => answer::torrent(&item, asker.headers),
            true => {
                let metalink = link::metalink(&item, &self.base, &self.mirrors(&item));
                answer::metalink(&item, metalink, asker.headers)
            }
        }
    }

    /// The file `path` of the folder that is shared as `name`.
    async fn member(&self, name: &str, path: &str, asker: &Asker<'_>) -> Response {
        match self.find(name).await {
            Some(Slot::Ready(item)) => self.part(item, Some(path), asker).await,
            // Of what has changed at the original, a mirror does not know what it is.
            Some(Slot::Unmade(unmade)) if !unmade.single || self.edge.is_some() => {
                self.as_it_is(unmade, Some(path), asker).await
            }
            Some(_) => answer::not_found(),
            None => self.unknown(asker),
        }
    }

    /// The item, or what is at `path` in it.
    async fn part(&self, item: Arc<Item>, path: Option<&str>, asker: &Asker<'_>) -> Response {
        let content = match path {
            None if item.single => Some(Content::File(0)),
            None => Some(Content::Tar),
            // To web seeds of v2 torrents, libtorrent appends the name of a single file as well.
            Some(path) if item.single => (path == item.title).then_some(Content::File(0)),
            Some(path) => item.file(path).map(Content::File).or_else(|| item.pad(path).map(Content::Zeros)),
        };
        match content {
            Some(content) => self.content(item, content, asker).await,
            None => answer::not_found(),
        }
    }

    /// The bytes with all that is known of them; of what has changed, as they are.
    async fn content(&self, item: Arc<Item>, content: Content, asker: &Asker<'_>) -> Response {
        let path = match content {
            Content::File(file) if !item.single => Some(item.files[file].path.clone()),
            _ => None,
        };
        self.note(&item.name, true, asker);
        if !matches!(content, Content::Zeros(_))
            && let Some(response) = self.elsewhere(&item, path.as_deref(), asker)
        {
            return response;
        }
        match answer::content(item.clone(), content, asker.headers, asker.download, asker.outbox).await {
            Ok(mut response) => {
                link::describe(&mut response, &item, path.as_deref(), &self.mirrors(&item));
                if let Content::File(file) = content
                    && let Some(sha256) = item.files[file].sha256
                {
                    link::digest(&mut response, sha256);
                }
                self.counted(response)
            }
            Err(ContentError::Changed | ContentError::Read(_)) => {
                self.changed(&item);
                match self.slots.find(&item.name) {
                    Some(Slot::Unmade(unmade)) => self.as_it_is(unmade, path.as_deref(), asker).await,
                    // Another one was made meanwhile.
                    _ => plain::later(&item.name),
                }
            }
        }
    }

    /// What has no torrent: a file's bytes. A folder's order and sizes are known with its torrent alone. A copy is not given
    /// before it was checked.
    async fn as_it_is(&self, unmade: Arc<Unmade>, path: Option<&str>, asker: &Asker<'_>) -> Response {
        self.note(&unmade.name, false, asker);
        if self.edge.as_ref().is_some_and(|edge| edge.has_original())
            && let Some(response) = self.coming(&unmade, path, asker).await
        {
            return response;
        }
        if self.edge.is_some()
            && let Some(Slot::Ready(item)) = self.slots.find(&unmade.name)
        {
            // It became whole just now.
            return Box::pin(self.part(item, path, asker)).await;
        }
        if let Some(response) = self.not_here(&unmade.name, path, "", asker) {
            return response;
        }
        match (unmade.single, path) {
            (false, None) => plain::later(&unmade.name),
            _ => plain::bytes(unmade, path, self.fence.clone(), asker).await,
        }
    }

    /// A mirror says what it has.
    async fn register(&self, mut body: Body, from: IpAddr) -> Response {
        // Who may not is told so before anybody listens, and few are listened to at once.
        if let Err(why) = self.rules.permit(from) {
            return answer::refuse(StatusCode::FORBIDDEN, &why);
        }
        let Ok(_place) = self.registering.try_acquire() else {
            return answer::busy("too many mirrors register at once; come again", plain::RETRY);
        };
        let (mut text, mut pace) = (Vec::new(), Pace::new(REGISTRATION_WAIT));
        loop {
            match pace.next(&mut body).await {
                Ok(Some(part)) if text.len() + part.len() <= REGISTRATION_MAX => text.extend_from_slice(&part),
                Ok(Some(_)) => {
                    return answer::refuse(StatusCode::PAYLOAD_TOO_LARGE, "this is too much to register");
                }
                Ok(None) => break,
                Err(Late::Broken(_)) => return answer::refuse(StatusCode::BAD_REQUEST, "the body breaks off"),
                Err(Late::Slow) => return answer::refuse(StatusCode::REQUEST_TIMEOUT, "the body does not come"),
            }
        }
        let told = match serde_json::from_slice(&text) {
            Ok(told) => told,
            Err(error) => {
                return answer::refuse(StatusCode::BAD_REQUEST, &format!("this is no registration: {error}"));
            }
        };
        match self.registry.register(told, from, &self.rules, Instant::now()) {
            Ok(answer) => {
                self.registered.notify_one();
                answer::json(&answer)
            }
            Err(why) => answer::refuse(StatusCode::FORBIDDEN, &why),
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

/// What the page of an item asks for again.
#[derive(serde::Serialize)]
struct Now {
    #[serde(flatten)]
    swarm: Swarm,
    /// Links to it elsewhere.
    servers: Vec<String>,
}

/// What follows `prefix` in a path, decoded once. None if it is not text.
fn decoded(path: &str, prefix: &str) -> Option<String> {
    let rest = path.strip_prefix(prefix)?;
    String::from_utf8(percent::decode(rest.as_bytes())).ok()
}

/// Browsers say that they want HTML; a request for a range is for bytes whoever sends it.
fn wants_page(headers: &HeaderMap) -> bool {
    let html = |accept: &str| {
        accept.split(',').map(accept::element).any(|(kind, taken)| taken && kind.eq_ignore_ascii_case("text/html"))
    };
    let accepts = headers.get_all(header::ACCEPT).iter().filter_map(|v| v.to_str().ok());
    !headers.contains_key(header::RANGE) && accepts.into_iter().any(html)
}
