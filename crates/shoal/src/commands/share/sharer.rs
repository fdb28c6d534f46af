//! Shares paths: torrent, tracker, seed and link of each.

use super::address;
use super::glue::Glue;
use crate::args::Format;
use crate::commands::seed::Names;
use crate::commands::torrent;
use crate::failure::Failure;
use crate::say::{Voice, printable};
use crate::signals;
use anyhow::Context as _;
use base::{Hex, InfoHashes, Metainfo, TorrentId};
use node::create::{self, CreateOptions};
use node::state::Remembered;
use node::tracker_server::TrackerServer;
use node::{Add, Node, NodeError, Target, What};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::UdpSocket;
use tracker::server::{Access, Config};
use web::{Finder, Hashed, Item, MirrorRules, Site};

#[derive(Serialize)]
#[serde(tag = "event", rename = "shared")]
struct Shared<'a> {
    name: &'a str,
    link: &'a str,
    magnet: &'a str,
    torrent: String,
    info_hash_v1: Option<String>,
    info_hash_v2: Option<String>,
    bytes: u64,
}

/// Where something is shared from.
pub struct House<'a> {
    /// The node that seeds.
    pub node: &'a Arc<Node>,
    /// Where HTTP is bound.
    pub http: SocketAddr,
    /// What others call that, if it is not its address.
    pub public: Option<String>,
    /// Trackers besides the own one.
    pub trackers: &'a [String],
    /// The format of torrents.
    pub format: Format,
    /// Finds what is shared when it is asked for, and remembered from run to run; None: what is shared is said at once.
    pub finder: Option<Finder>,
    /// The folder that nothing which is found may lead out of.
    pub fence: Option<PathBuf>,
    /// What is done about mirrors.
    pub mirrors: MirrorRules,
}

/// The tracker's socket, served as long as this lives.
pub struct Udp {
    /// Where it is bound; None: there is none.
    pub bound: Option<SocketAddr>,
    task: Option<tokio::task::JoinHandle<std::io::Result<()>>>,
}

impl Drop for Udp {
    fn drop(&mut self) {
        self.task.iter().for_each(|task| task.abort());
    }
}

impl House<'_> {
    /// Starts the tracker, and makes the site.
    pub async fn open(self, voice: Voice) -> Result<(Sharer, Udp), Failure> {
        let House { node, http, public, trackers: others, format, finder, fence, mirrors } = self;
        let own = if http.ip().is_unspecified() { address::own() } else { http.ip() };
        let at = SocketAddr::new(own, http.port());
        let base = public.clone().unwrap_or_else(|| format!("http://{at}"));
        let tracker = start_tracker(own)?;
        let socket = UdpSocket::bind(http).await.ok();
        let bound = socket.as_ref().and_then(|s| s.local_addr().ok());
        let udp = Udp { bound, task: socket.map(|socket| tokio::spawn(tracker.clone().serve_udp(socket))) };
        let glue = Arc::new(Glue::new(node.clone(), tracker.clone()));
        let (site, remembers) = (Site::new(glue.clone(), base.clone()).with_mirrors(mirrors), finder.is_some());
        let site = match finder {
            Some(finder) => site.with_finder(finder),
            None => site,
        };
        let site = match fence {
            Some(folder) => site.with_fence(&folder),
            None => site,
        };
        let mut trackers = vec![vec![format!("{base}/announce")]];
        if let (None, Some(_)) = (&public, bound) {
            trackers.push(vec![format!("udp://{at}/announce")]);
        }
        trackers.extend(others.iter().map(|url| vec![url.clone()]));
        // Where others reach it by another name, this machine may not: it announces to itself.
        let local = public.is_some().then(|| format!("http://{}/announce", address::local(http)));
        let sharer = Sharer {
            node: node.clone(),
            site: Arc::new(site),
            names: Names::default(),
            voice,
            glue,
            tracker,
            trackers,
            local,
            format,
            remembers,
            kept: Mutex::default(),
        };
        Ok((sharer, udp))
    }
}

/// The tracker serves what is shared here and nothing else.
fn start_tracker(own: IpAddr) -> anyhow::Result<Arc<TrackerServer>> {
    let access = Access { allow: Some(Default::default()), ..Access::default() };
    let mut config = Config { access, ..Config::small() };
    match own {
        IpAddr::V4(ip) if !ip.is_loopback() => config.own_v4 = Some(ip),
        IpAddr::V6(ip) if !ip.is_loopback() => config.own_v6 = Some(ip),
        _ => {}
    }
    TrackerServer::start(config).context("can't start the tracker")
}

/// Shares paths.
pub struct Sharer {
    /// The node that seeds.
    pub node: Arc<Node>,
    /// The links.
    pub site: Arc<Site>,
    /// What is seeded.
    pub names: Names,
    /// Who is told.
    pub voice: Voice,
    glue: Arc<Glue>,
    tracker: Arc<TrackerServer>,
    trackers: Vec<Vec<String>>,
    local: Option<String>,
    format: Format,
    /// Hidden files are left out, and what was hashed is remembered.
    remembers: bool,
    kept: Mutex<BTreeMap<String, Kept>>,
}

/// What is known of something that is shared.
#[derive(Clone, Copy, Debug)]
struct Kept {
    fingerprint: [u8; 32],
    hashes: InfoHashes,
    /// None: another one has the same torrent, or it has changed.
    seed: Option<TorrentId>,
    /// Its tracker serves it.
    tracked: bool,
}

/// A torrent, and what it was made of.
struct Made {
    metainfo: Metainfo,
    hashed: Hashed,
    fingerprint: [u8; 32],
}

impl Sharer {
    fn kept(&self) -> MutexGuard<'_, BTreeMap<String, Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shares what is at `path`, under `name` or one that is free. `bar` is for the progress of hashing.
    pub async fn share(&self, path: &Path, name: Option<&str>, bar: Voice) -> Result<(), Failure> {
        let Made { mut metainfo, hashed, fingerprint } = match self.make(path, bar).await {
            // The user has ended what has no end of its own.
            Err(Failure::Interrupted) if signals::stopping() => return Err(Failure::Interrupted),
            made => made?,
        };
        let name = name.map_or_else(|| self.site.free_name(metainfo.info.layout.name()), str::to_owned);
        metainfo.trackers = self.trackers.clone();
        metainfo.web_seeds = vec![self.site.web_seed(&name, &metainfo.info.layout)];
        let bytes = metainfo.encode();
        let torrent = self.store(&name, &bytes)?;
        if self.remembers {
            let what = Remembered { fingerprint, torrent: bytes.clone(), digests: hashed.digests.clone() };
            if let Err(error) = self.node.remember(path, &what).await {
                tracing::warn!("{error}");
            }
        }
        let magnet = metainfo.magnet().to_string();
        let item = {
            let (name, metainfo, magnet, path) = (name.clone(), metainfo.clone(), magnet.clone(), path.to_owned());
            let make = move || Item::new(name, &metainfo, bytes.into(), magnet, &path, &hashed);
            tokio::task::spawn_blocking(make).await.context("looking at the files")??
        };
        let hashes = metainfo.info.hashes;
        let before = self.kept().get(&name).map(|kept| kept.hashes);
        self.track(hashes);
        self.site.add(item);
        if before != Some(hashes) {
            self.tell(&name, &magnet, &torrent, &metainfo);
        }
        let add = Add {
            trackers: self.local.iter().cloned().collect(),
            hashed: true,
            ..Add::new(What::Torrent(Box::new(metainfo)), Target::Seed { path: path.to_owned() })
        };
        let seed = match self.names.add(&self.node, add, &name) {
            Ok(id) => {
                self.glue.add(hashes, id);
                Some(id)
            }
            // The same content under two names: both links work.
            Err(error @ NodeError::Twice(_)) => {
                self.voice.note(&format!("note: {error}"));
                None
            }
            Err(error) => return Err(error.into()),
        };
        self.kept().insert(name, Kept { fingerprint, hashes, seed, tracked: true });
        Ok(())
    }

    /// The torrent of `path`: remembered from an earlier run if nothing has changed, or made.
    async fn make(&self, path: &Path, bar: Voice) -> Result<Made, Failure> {
        if let Some(made) = self.recall(path).await {
            return Ok(made);
        }
        let options = CreateOptions {
            format: torrent::format(self.format),
            threads: torrent::threads(None),
            digests: true,
            leave_hidden: self.remembers,
            ..CreateOptions::default()
        };
        let made = torrent::make(path, options, bar).await?;
        let hashed = Hashed { files: made.look.files, digests: made.digests };
        Ok(Made { metainfo: made.metainfo, hashed, fingerprint: made.look.fingerprint })
    }

    async fn recall(&self, path: &Path) -> Option<Made> {
        let known = self.node.recall(path).await.ok().flatten().filter(|_| self.remembers)?;
        let look = self.look(path).await.filter(|look| look.fingerprint == known.fingerprint)?;
        let metainfo = Metainfo::parse(&known.torrent).ok()?;
        let hashed = Hashed { files: look.files, digests: known.digests };
        Some(Made { metainfo, hashed, fingerprint: known.fingerprint })
    }

    /// How it looks now. None: it can't be looked at.
    async fn look(&self, path: &Path) -> Option<create::Look> {
        let (path, leave_hidden) = (path.to_owned(), self.remembers);
        let look = move || create::look(&path, leave_hidden, &AtomicBool::new(false)).ok();
        tokio::task::spawn_blocking(look).await.ok().flatten()
    }

    /// Looks at mirrors, until that is ended.
    pub fn watch_mirrors(&self) -> tokio::task::JoinHandle<()> {
        let site = self.site.clone();
        tokio::spawn(async move { site.watch_mirrors().await })
    }

    /// Looks at everything that has a torrent, and takes it from what changed.
    pub async fn look_at_all(&self) {
        for item in self.site.items() {
            let known = self.kept().get(&item.name).map(|kept| kept.fingerprint);
            if self.look(item.root()).await.map(|look| look.fingerprint) != known {
                self.site.changed(&item);
            }
        }
    }

    /// Ends the seed of what is shared as `name`, and has the tracker forget it.
    pub async fn stop(&self, name: &str) {
        let (seed, hashes) = {
            let mut kept = self.kept();
            let Some(this) = kept.get_mut(name).filter(|kept| kept.tracked) else { return };
            this.tracked = false;
            (this.seed.take(), this.hashes)
        };
        let others: Vec<String> = {
            let kept = self.kept();
            kept.iter().filter(|(_, k)| k.tracked && k.hashes == hashes).map(|(name, _)| name.clone()).collect()
        };
        let Some(id) = seed else { return };
        self.names.remove(id);
        self.node.remove(id).await;
        self.glue.remove(hashes);
        if others.is_empty() {
            self.untrack(hashes);
        }
        // They had no seed of their own because this one had it.
        for item in self.site.items().into_iter().filter(|item| others.contains(&item.name)) {
            self.site.changed(&item);
        }
    }

    /// Shares nothing under this name any more.
    pub async fn forget(&self, name: &str) {
        self.stop(name).await;
        self.site.remove(name);
        self.kept().remove(name);
    }

    /// Nothing is shared.
    pub fn is_idle(&self) -> bool {
        self.names.is_empty() && self.site.unmade().is_empty()
    }

    /// Lets the tracker serve this torrent; the two names of a hybrid are one swarm.
    fn track(&self, hashes: InfoHashes) {
        let mut server = self.tracker.lock();
        if let Some(allow) = &mut server.access_mut().allow {
            allow.extend(hashes.on_wire());
        }
        if let (Some(v1), Some(v2)) = (hashes.v1, hashes.v2_on_wire()) {
            server.alias(v2, v1);
        }
    }

    fn untrack(&self, hashes: InfoHashes) {
        let mut server = self.tracker.lock();
        if let Some(allow) = &mut server.access_mut().allow {
            allow.retain(|hash| !hashes.on_wire().any(|gone| gone == *hash));
        }
        if let Some(v2) = hashes.v2_on_wire() {
            server.unalias(v2);
        }
    }

    /// Keeps the .torrent in the data folder.
    fn store(&self, name: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
        let folder = self.node.data_dir().join("torrents");
        std::fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        let path = folder.join(format!("{name}.torrent"));
        torrent::write(&path, bytes)?;
        Ok(path)
    }

    fn tell(&self, name: &str, magnet: &str, torrent: &Path, metainfo: &Metainfo) {
        let torrent = torrent.to_string_lossy().into_owned();
        let (hashes, link) = (metainfo.info.hashes, self.site.link(name));
        self.voice.result(&printable(name));
        self.voice.result(&format!("  link     {link}"));
        self.voice.result(&format!("  magnet   {magnet}"));
        self.voice.result(&format!("  torrent  {}", printable(&torrent)));
        self.voice.object(&Shared {
            name,
            link: &link,
            magnet,
            torrent,
            info_hash_v1: hashes.v1.map(|h| h.to_string()),
            info_hash_v2: hashes.v2.map(|h| Hex(&h).to_string()),
            bytes: metainfo.info.layout.content_len(),
        });
    }
}
