//! Pulls items: the torrent first, then the content by the one engine, which checks every piece and goes on where it ended.
//!
//! Only the site and its mirrors are asked, over HTTP; the torrent's trackers and peers are for downloaders.

use super::store::{Store, tag};
use crate::catalogue::Facts;
use crate::item::Item;
use crate::mirrors;
use crate::page::segment;
use crate::site::Coming;
use base::{Metainfo, TorrentId};
use node::http::client::{NamedBy, Web};
use node::http::probe::read_all;
use node::http::{Places, Server};
use node::{Add, Event, Node, NodeEvent, Target, What};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, broadcast};
use tokio::task::JoinSet;

/// Bytes of a torrent.
const TORRENT_MAX: u64 = 64 << 20;
/// Time without progress after which a pull is given up, to be tried again.
const SILENCE: Duration = Duration::from_secs(30);

/// What is being pulled.
#[derive(Debug)]
pub(super) struct Pulls {
    with: Arc<With>,
    running: JoinSet<(Facts, Result<Item, String>)>,
    names: BTreeMap<String, Pull>,
}

/// One that runs.
#[derive(Debug)]
struct Pull {
    facts: Facts,
    stop: Arc<Notify>,
    coming: Arc<Coming>,
}

#[derive(Debug)]
struct With {
    node: Arc<Node>,
    web: Arc<Web>,
    store: Arc<Store>,
    origin: String,
}

impl Pulls {
    pub(super) fn new(node: Arc<Node>, web: Arc<Web>, store: Arc<Store>, origin: String) -> Self {
        let with = Arc::new(With { node, web, store, origin });
        Pulls { with, running: JoinSet::new(), names: BTreeMap::new() }
    }

    /// How many run, those included that were stopped and have not ended yet.
    pub(super) fn len(&self) -> usize {
        self.running.len()
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.names.contains_key(name)
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> u64 {
        self.names.values().fold(0, |sum, pull| sum.saturating_add(pull.facts.bytes))
    }

    pub(super) fn start(&mut self, facts: Facts) {
        let (with, stop, coming) = (self.with.clone(), Arc::new(Notify::new()), Arc::new(Coming::new(facts.clone())));
        let pull = Pull { facts: facts.clone(), stop: stop.clone(), coming: coming.clone() };
        self.names.insert(facts.name.clone(), pull);
        self.running.spawn(async move {
            let result = with.pull(&facts, &stop, &coming).await;
            if result.is_err() {
                coming.fail();
            }
            (facts, result)
        });
    }

    /// What has come of one, for who wants to read it.
    pub(super) fn coming(&self, name: &str) -> Option<Arc<Coming>> {
        self.names.get(name).map(|pull| pull.coming.clone())
    }

    /// Ends a pull. What it has brought is there the next time.
    pub(super) fn stop(&mut self, name: &str) {
        if let Some(pull) = self.names.get(name) {
            pull.stop.notify_one();
        }
    }

    /// The next that ends. None: there is none.
    pub(super) async fn next(&mut self) -> Option<(Facts, Result<Item, String>)> {
        let ended = self.running.join_next().await?;
        match ended {
            Ok((facts, result)) => {
                self.names.remove(&facts.name);
                Some((facts, result))
            }
            Err(error) => {
                // None of them panics, and none is aborted.
                tracing::error!("a pull ended: {error}");
                std::mem::take(&mut self.names).values().for_each(|pull| pull.coming.fail());
                None
            }
        }
    }
}

impl With {
    async fn pull(&self, facts: &Facts, stop: &Notify, coming: &Coming) -> Result<Item, String> {
        if let Some(item) = self.store.recall(&self.node, facts).await {
            return Ok(item);
        }
        let torrent = match self.store.torrent(facts) {
            Some(torrent) => torrent,
            None => self.torrent(facts).await?,
        };
        let mut metainfo = Metainfo::parse(&torrent).map_err(|e| e.to_string())?;
        let places = match metainfo.info.layout.is_single() {
            true => Places::Whole(format!("{}{}", self.origin, mirrors::path(&facts.name, None))),
            false if metainfo.info.layout.name() == facts.name => Places::WebSeed(format!("{}/f/", self.origin)),
            false => Places::WebSeed(format!("{}/~/seed/{}/", self.origin, segment(&facts.name))),
        };
        // What is there under its final name was whole once: it is mended.
        let in_place = self.store.content(facts, &metainfo).symlink_metadata().is_ok();
        (metainfo.trackers, metainfo.web_seeds) = (Vec::new(), Vec::new());
        let server = Server { places, ..Server::whole(String::new()) };
        let target = Target::Get { dir: self.store.data(facts), in_place };
        let add = Add { servers: vec![server], ..Add::new(What::Torrent(Box::new(metainfo)), target) };
        let mut events = self.node.events();
        let id = self.node.add(add).await.map_err(|e| e.to_string())?;
        let result = tokio::select! {
            result = self.wait(id, &mut events, coming) => result,
            () = stop.notified() => Err("it is not wanted any more".into()),
        };
        self.node.remove(id).await;
        result?;
        self.store.finish(&self.node, facts, torrent).await
    }

    /// The torrent, as the site gives it.
    async fn torrent(&self, facts: &Facts) -> Result<Vec<u8>, String> {
        let url = format!("{}{}.torrent?here", self.origin, mirrors::path(&facts.name, None));
        let (bytes, _) = read_all(&self.web, &url, NamedBy::User, TORRENT_MAX).await.map_err(|e| e.to_string())?;
        let metainfo = Metainfo::parse(&bytes).map_err(|e| format!("the site gives a broken torrent: {e}"))?;
        if tag(&metainfo.info.hashes) != facts.tag {
            return Err("it has changed since".into());
        }
        let (store, facts, torrent) = (self.store.clone(), facts.clone(), bytes.clone());
        let begin = tokio::task::spawn_blocking(move || store.begin(&facts, &torrent));
        begin.await.map_err(|e| e.to_string())?.map_err(|e| format!("can't write to the cache: {e}"))?;
        Ok(bytes)
    }

    /// Waits until all of it is here.
    async fn wait(
        &self,
        id: TorrentId,
        events: &mut broadcast::Receiver<NodeEvent>,
        coming: &Coming,
    ) -> Result<(), String> {
        let mut before = None;
        loop {
            match tokio::time::timeout(SILENCE, events.recv()).await {
                Ok(Ok(NodeEvent { torrent, event })) if torrent == id => match event {
                    Event::Opened { .. } => coming.open(&self.node, id),
                    Event::Complete { .. } => return Ok(()),
                    Event::Failed { error } => return Err(error),
                    Event::ServerDropped { why, .. } => return Err(why),
                    _ => {}
                },
                Ok(Err(broadcast::error::RecvError::Closed)) => return Err("this mirror ends".into()),
                Ok(Ok(_)) => continue,
                Ok(Err(broadcast::error::RecvError::Lagged(_))) | Err(_) => {}
            }
            let Some(status) = self.node.status(id).await else { return Err("it was removed".into()) };
            coming.open(&self.node, id);
            if status.complete {
                return Ok(());
            }
            let now = (status.torrent.downloaded, status.checking, status.torrent.pieces_good);
            if before.replace(now) == before {
                return Err("nothing comes".into());
            }
        }
    }
}
