//! What a mirror does when something happens, and what it pulls next.

use super::follow::{Away, Told};
use super::list::{Heard, Lacking, List};
use super::pull::{Pulled, Pulls};
use super::register::{Register, State};
use super::room::Room;
use super::store::Store;
use super::{MirrorNews, Mirroring};
use crate::catalogue::Facts;
use crate::item::Item;
use crate::site::{Asked, Unmade};
use node::http::client::Web;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::spawn_blocking;

/// Items pulled at once, and those that somebody has asked for.
const PULLS_MAX: usize = 2;
const WANTED_MAX: usize = 8;
/// Items of a site that are known; further ones are not mirrored.
const LISTED_MAX: usize = 100_000;
/// Time until what could not be pulled is tried again: the first one, doubled each time up to the last.
const RETRY_MIN: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);

/// A copy that is given.
#[derive(Debug)]
struct Copy {
    facts: Facts,
    item: Arc<Item>,
}

/// What failed.
#[derive(Debug)]
struct Failed {
    again: Instant,
    waited: Duration,
    why: String,
}

/// A mirror at work.
pub(super) struct Work<'a, F> {
    of: &'a Mirroring,
    web: Arc<Web>,
    tell: F,
    /// What the site shares.
    list: List,
    away: Away,
    here: BTreeMap<String, Copy>,
    lacking: Lacking,
    pub(super) pulls: Pulls,
    failed: BTreeMap<String, Failed>,
    pub(super) register: Register,
}

impl<'a, F: Fn(MirrorNews)> Work<'a, F> {
    pub(super) fn new(of: &'a Mirroring, web: Arc<Web>, tell: F) -> Self {
        let (node, store, origin) = (of.node.clone(), of.store.clone(), of.options.origin.clone());
        Work {
            of,
            pulls: Pulls::new(node, web.clone(), store, origin),
            web,
            tell,
            list: List::new(LISTED_MAX),
            away: Away::default(),
            here: BTreeMap::new(),
            lacking: Lacking::default(),
            failed: BTreeMap::new(),
            register: Register::new(&of.options),
        }
    }

    fn store(&self) -> &Store {
        &self.of.store
    }

    /// Takes up what is in the cache from earlier runs.
    pub(super) async fn restore(&mut self) {
        for facts in &self.of.found {
            // Of two versions the one that is whole counts, until the site says which it has.
            if self.here.contains_key(&facts.name) {
                continue;
            }
            self.list.item(facts.clone());
            self.settle(&facts.name);
            if let Some(torrent) = self.store().torrent(facts).await
                && let Some(item) = self.store().recall(&self.of.node, facts, &torrent).await
            {
                self.add(facts.clone(), item);
            }
        }
    }

    pub(super) async fn hear(&mut self, told: Told) {
        match told {
            Told::Connected => {
                self.of.edge.answers(true);
                self.register.soon();
                let away = self.away.back(Instant::now());
                (self.tell)(MirrorNews::Origin { answers: true, why: None, away });
            }
            Told::Lost(why) => {
                self.of.edge.answers(false);
                self.list.stop();
                if self.away.lost(&why, Instant::now()) {
                    (self.tell)(MirrorNews::Origin { answers: false, why: Some(why), away: None });
                }
            }
            Told::Begin => self.list.begin(),
            Told::Item(facts) => self.listed(facts).await,
            // Its bytes are the site's alone until it has a torrent. What is here of it stays: perhaps it is what it was.
            Told::Changed(name) => {
                let single = self.list.last(&name).is_none_or(|last| last.single);
                if self.list.changed(&name) {
                    self.drop_copy(&name, "it has changed");
                    self.settle(&name);
                    self.of.site.lose(Unmade { name, root: self.store().nowhere(), single, leave_hidden: false });
                }
            }
            Told::Removed(name) => self.unlist(&name).await,
            Told::Ready => {
                let Some(gone) = self.list.ready() else { return };
                for name in gone {
                    self.unlist(&name).await;
                }
                let (store, keep) = (self.of.store.clone(), self.list.all().cloned().collect::<Vec<_>>());
                let _ = spawn_blocking(move || store.keep_only(&keep)).await;
                self.of.edge.listed();
            }
        }
    }

    /// This is what the site shares under a name.
    async fn listed(&mut self, facts: Facts) {
        let (name, unmade) = (facts.name.clone(), self.store().unmade(&facts));
        match self.list.item(facts) {
            Heard::Nothing => return,
            Heard::There => {}
            Heard::Instead(old) => {
                self.drop_copy(&name, "it has changed");
                self.store().delete(&old).await;
            }
        }
        self.failed.remove(&name);
        self.settle(&name);
        if !self.here.contains_key(&name) {
            self.of.site.lose(unmade);
        }
    }

    async fn unlist(&mut self, name: &str) {
        self.drop_copy(name, "the site does not share it any more");
        let last = self.list.removed(name);
        self.failed.remove(name);
        self.settle(name);
        self.of.site.remove(name);
        self.of.edge.forget(name);
        if let Some(facts) = last {
            self.store().delete(&facts).await;
        }
    }

    /// Counts a copy as being here no more. Its files stay; who calls says what the site has instead.
    fn drop_copy(&mut self, name: &str, why: &'static str) -> Option<Copy> {
        self.pulls.stop(name);
        let copy = self.here.remove(name)?;
        self.settle(name);
        self.register.soon();
        (self.tell)(MirrorNews::Gone { name: name.to_owned(), why });
        Some(copy)
    }

    fn add(&mut self, facts: Facts, item: Item) {
        let name = facts.name.clone();
        let item = self.of.site.put(item);
        self.here.insert(name.clone(), Copy { facts: facts.clone(), item });
        self.settle(&name);
        self.register.soon();
        (self.tell)(MirrorNews::Here(facts));
    }

    /// Notes whether something is to be pulled.
    fn settle(&mut self, name: &str) {
        let lacking = !self.here.contains_key(name) && !self.pulls.has(name);
        self.lacking.set(name, self.list.now(name).filter(|_| lacking).map(|facts| facts.bytes));
    }

    /// Something in the cache does not look as it did when it was checked: the site has found out, and gives it no more.
    pub(super) fn altered(&mut self) {
        let unmade = self.of.site.unmade();
        for unmade in unmade.iter().filter(|u| self.here.contains_key(&u.name)).collect::<Vec<_>>() {
            self.drop_copy(&unmade.name, "its file was altered; it is checked again");
        }
    }

    pub(super) async fn pulled(&mut self, Pulled { facts, result, stopped }: Pulled) {
        let name = facts.name.clone();
        self.settle(&name);
        if self.list.last(&name).is_none_or(|last| last.tag != facts.tag) {
            self.store().delete(&facts).await;
            return;
        }
        if self.list.now(&name).is_none() || stopped && result.is_err() {
            return;
        }
        match result {
            Ok(item) => {
                self.failed.remove(&name);
                self.add(facts, item);
            }
            Err(why) => {
                let before = self.failed.get(&name);
                let waited = before.map_or(RETRY_MIN, |f| (f.waited * 2).min(RETRY_MAX));
                let told = before.is_some_and(|before| before.why == why);
                let failed = Failed { again: Instant::now() + waited, waited, why: why.clone() };
                self.failed.insert(name.clone(), failed);
                if !told {
                    (self.tell)(MirrorNews::Failed { name, why });
                }
            }
        }
    }

    /// Begins to pull what is due, and makes room for what somebody wants.
    pub(super) async fn next_pulls(&mut self) {
        while self.pulls.len() < WANTED_MAX {
            let Some((facts, evicted)) = self.choose() else { return };
            for name in evicted {
                if let Some(copy) = self.drop_copy(&name, "it made room") {
                    self.of.site.lose(self.store().unmade(&copy.facts));
                    self.store().delete(&copy.facts).await;
                }
            }
            let name = facts.name.clone();
            self.pulls.start(facts);
            self.settle(&name);
        }
    }

    /// What is pulled next, and what makes room for it: of what somebody asked for the latest that fits, else the smallest.
    fn choose(&self) -> Option<(Facts, Vec<String>)> {
        let (now, edge) = (Instant::now(), &self.of.edge);
        let due = |name: &str| self.failed.get(name).is_none_or(|failed| failed.again <= now);
        let wanted = edge.asked_for(|name| self.lacking.has(name) && due(name));
        let few = self.pulls.len() < PULLS_MAX;
        let smallest = self.lacking.names().filter(|_| few).find(|name| due(name) && edge.last(name).is_none());
        if wanted.is_empty() && smallest.is_none() {
            return None;
        }
        let here = || self.here.values();
        let used = here().fold(self.pulls.bytes(), |sum, copy| sum.saturating_add(copy.facts.bytes));
        // For what nobody asked for, nothing goes.
        let held = here().filter(|_| !wanted.is_empty());
        let held = held.map(|copy| (edge.last(&copy.facts.name), copy.facts.bytes, &*copy.facts.name)).collect();
        let room = Room::new(self.of.options.size_max, used, held);
        let wanted = wanted.iter().map(|(asked, name)| (&**name, Some(*asked)));
        let fits = |(name, asked): (&str, Option<Asked>)| {
            let facts = self.list.now(name)?;
            Some((facts.clone(), room.make(facts.bytes, asked)?))
        };
        wanted.chain(smallest.map(|name| (name, None))).find_map(fits)
    }

    /// Notes what was asked for when, so that after a restart the right copies make room.
    pub(super) async fn note_requests(&mut self) {
        if let Some(last) = self.of.edge.to_note() {
            let store = self.of.store.clone();
            if let Ok(Err(error)) = spawn_blocking(move || store.note_asked(&last)).await {
                tracing::warn!("can't note what was asked for: {error}");
            }
        }
    }

    pub(super) fn register(&mut self) {
        let items = self.here.iter().map(|(name, copy)| (name.clone(), copy.facts.tag.clone())).collect();
        self.register.tell(&self.web, items, self.of.site.downloads());
    }

    /// The site has answered. What it saw wrong of a copy is checked from the beginning.
    pub(super) async fn registered(&mut self, wrong: Vec<String>, news: Option<State>) {
        for name in wrong {
            let Some(item) = self.here.get(&name).map(|copy| copy.item.clone()) else { continue };
            self.store().forget(item).await;
            if let Some(copy) = self.drop_copy(&name, "the site has seen other bytes of it; it is checked again") {
                self.of.site.lose(self.store().unmade(&copy.facts));
            }
        }
        if let Some(State { listed, why }) = news {
            (self.tell)(MirrorNews::Registered { listed, why });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Hashed;
    use crate::live::{Answer, Live, Swarm};
    use crate::mirror::{MirrorCache, MirrorOptions};
    use crate::serve::Handler as _;
    use axum::body::Body;
    use axum::body::Bytes;
    use axum::http::{Request, header};
    use base::InfoHashes;
    use node::create::{self, CreateOptions};
    use node::disk::check::Meter;
    use node::{Listen, Node, NodeConfig};
    use std::cell::RefCell;
    use std::net::SocketAddr;
    use std::path::{Path, PathBuf};

    struct Nobody;

    impl Live for Nobody {
        fn swarm(&self, _: InfoHashes) -> Answer<'_, Option<Swarm>> {
            Box::pin(std::future::ready(None))
        }

        fn announce(&self, _: &str, _: SocketAddr) -> Answer<'_, Vec<u8>> {
            Box::pin(std::future::ready(Vec::new()))
        }

        fn scrape(&self, _: &str, _: SocketAddr) -> Answer<'_, Vec<u8>> {
            Box::pin(std::future::ready(Vec::new()))
        }
    }

    fn facts(name: &str, tag: &str) -> Facts {
        let (name, tag) = (name.to_owned(), tag.to_owned());
        let (info_hash_v1, info_hash_v2, modified) = (None, None, None);
        Facts { name, tag, bytes: 1, single: true, files: 1, info_hash_v1, info_hash_v2, modified }
    }

    /// A mirror of nobody, that has begun to copy these.
    async fn mirror(dir: &Path, begun: &[Facts]) -> Mirroring {
        let listen = Listen::At("127.0.0.1:0".parse().unwrap());
        let config = NodeConfig { data_dir: Some(dir.join("state")), listen, threads: 1, ..NodeConfig::default() };
        let node = Arc::new(Node::start(config).await.unwrap());
        let cache = MirrorCache::open(&dir.join("cache")).unwrap();
        begun.iter().for_each(|facts| cache.0.begin(facts, b"none").unwrap());
        let options = MirrorOptions { origin: "http://h".into(), base: "http://m".into(), size_max: None };
        Mirroring::new(options, cache, node, Arc::new(Nobody))
    }

    async fn ask(of: &Mirroring, path: &str, header: (&str, &str)) -> (u16, bool) {
        let request = Request::get(path).header(header.0, header.1).body(Body::empty()).unwrap();
        let response = of.site().answer(request, "127.0.0.1:9".parse().unwrap()).await;
        (response.status().as_u16(), response.headers().contains_key(header::RETRY_AFTER))
    }

    fn folders(dir: &Path) -> Vec<PathBuf> {
        std::fs::read_dir(dir.join("cache/items")).unwrap().map(|entry| entry.unwrap().path()).collect()
    }

    #[tokio::test]
    async fn what_is_in_the_cache_is_known_before_anything_else() {
        let dir = tempfile::tempdir().unwrap();
        let of = mirror(dir.path(), &[facts("a", "1")]).await;
        let plain = ("accept", "*/*");
        for path in ["/f/a", "/f/a/x", "/f/a.torrent", "/f/other", "/f/other/x", "/f/other.meta4"] {
            assert_eq!(ask(&of, path, plain).await, (503, true), "{path}: nobody knows yet");
            assert_eq!(ask(&of, path, ("accept", "text/html")).await, (503, true), "{path}, the page");
        }
        assert_eq!(ask(&of, "/f/other", ("cache-control", "only-if-cached")).await.0, 504);
        // Once the site has told all that it shares, it is known what is not there.
        let mut work = Work::new(&of, Arc::default(), |_| {});
        work.restore().await;
        for told in [Told::Connected, Told::Begin, Told::Item(facts("a", "1")), Told::Ready] {
            work.hear(told).await;
        }
        assert_eq!(ask(&of, "/f/other", plain).await, (404, false));
        assert_eq!(ask(&of, "/f/other/x", plain).await, (404, false));
        work.hear(Told::Lost("gone".into())).await;
        assert_eq!(ask(&of, "/f/other", plain).await, (404, false));
        assert_eq!(ask(&of, "/f/a", plain).await, (503, true));
    }

    #[tokio::test]
    async fn a_change_leaves_nothing_of_what_was() {
        let dir = tempfile::tempdir().unwrap();
        let old = facts("a", "1");
        let of = mirror(dir.path(), &[old.clone(), facts("b", "1")]).await;
        let mut work = Work::new(&of, Arc::default(), |_| {});
        work.restore().await;
        assert_eq!(folders(dir.path()).len(), 2);
        // As a site tells of a change: first that there is one, and later what came of it.
        work.hear(Told::Changed("a".into())).await;
        assert_eq!(folders(dir.path()).len(), 2, "it may be what it was");
        assert!(!work.lacking.has("a"), "there is nothing to pull yet");
        work.hear(Told::Item(facts("a", "2"))).await;
        assert_eq!(folders(dir.path()), [of.store.data(&facts("b", "1")).parent().unwrap()]);
        assert!(work.lacking.has("a"));
        // What never had a torrent is gone, too, once the site does not name it any more.
        work.hear(Told::Changed("never".into())).await;
        assert!(of.site().knows("never"));
        for told in [Told::Begin, Told::Item(facts("a", "2")), Told::Ready] {
            work.hear(told).await;
        }
        assert!(!of.site().knows("never") && !of.site().knows("b") && of.site().knows("a"));
        assert!(folders(dir.path()).is_empty(), "{:?}", folders(dir.path()));
    }

    #[tokio::test]
    async fn a_folder_that_has_changed_is_at_the_original() {
        let dir = tempfile::tempdir().unwrap();
        let of = mirror(dir.path(), &[]).await;
        let mut work = Work::new(&of, Arc::default(), |_| {});
        for told in [Told::Connected, Told::Changed("tree".into())] {
            work.hear(told).await;
        }
        // Nobody has said yet whether it is a folder.
        assert_eq!(ask(&of, "/f/tree/x", ("accept", "*/*")).await, (302, false));
    }

    #[tokio::test]
    async fn what_becomes_whole_while_somebody_asks_is_given() {
        let dir = tempfile::tempdir().unwrap();
        let of = mirror(dir.path(), &[]).await;
        let path = dir.path().join("a");
        std::fs::write(&path, "content").unwrap();
        let options = CreateOptions { threads: 1, ..CreateOptions::default() };
        let metainfo = create::create(&path, &options, &Meter::default(), |_| {}).unwrap().metainfo;
        let hashed = Hashed { files: vec![path.metadata().unwrap()], digests: Vec::new() };
        let item = Item::new("a".into(), &metainfo, Bytes::new(), String::new(), &path, &hashed).unwrap();
        let mut work = Work::new(&of, Arc::default(), |_| {});
        for told in [Told::Connected, Told::Item(Facts::of(&item))] {
            work.hear(told).await;
        }
        let answered = async {
            let wants = loop {
                match of.edge.wants() {
                    wants if wants.is_empty() => tokio::task::yield_now().await,
                    wants => break wants,
                }
            };
            // It was pulled to its end before anybody could hear that it is being pulled.
            work.add(Facts::of(&item), item);
            wants.into_iter().for_each(|(_, tell)| drop(tell.send(None)));
        };
        let (status, ()) = tokio::join!(ask(&of, "/f/a", ("accept", "*/*")), answered);
        assert_eq!(status, (200, false));
    }

    #[tokio::test]
    async fn the_same_trouble_is_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let of = mirror(dir.path(), &[facts("a", "1")]).await;
        let told = RefCell::new(Vec::new());
        let mut work = Work::new(&of, Arc::default(), |news| told.borrow_mut().push(news));
        work.restore().await;
        let lost = |why: &str| Told::Lost(why.into());
        for event in [lost("refused"), lost("refused"), lost("no answer"), Told::Connected, lost("no answer")] {
            work.hear(event).await;
        }
        let origin = |news: MirrorNews| match news {
            MirrorNews::Origin { answers, why, away } => (answers, why.unwrap_or_default(), away.is_some()),
            other => panic!("{other:?}"),
        };
        let origin: Vec<_> = told.take().into_iter().map(origin).collect();
        let no = |why: &str| (false, why.to_owned(), false);
        assert_eq!(origin, [no("refused"), no("no answer"), (true, String::new(), true), no("no answer")]);
        for why in ["x", "x", "y"] {
            let (facts, result) = (facts("a", "1"), Err(why.to_owned()));
            work.pulled(Pulled { facts, result, stopped: false }).await;
        }
        assert_eq!(told.borrow().len(), 2, "{told:?}");
        let stopped = Pulled { facts: facts("a", "1"), result: Err("stopped".into()), stopped: true };
        work.pulled(stopped).await;
        assert_eq!(told.borrow().len(), 2, "nobody wanted it: that is no failure");
    }
}
