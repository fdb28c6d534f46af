//! `shoal share`: one command from a path to a link.
//!
//! It makes the torrents, runs a tracker for them, seeds them, and serves page, bytes and tracker over HTTP.

mod address;
mod glue;

use super::Listening;
use super::seed::Seeds;
use super::session;
use super::torrent::{TRACKERS, check_url};
use crate::args::{Global, ShareArgs};
use crate::failure::Failure;
use crate::say::{Voice, printable};
use crate::signals;
use anyhow::Context as _;
use base::{Hex, InfoHashes, Metainfo};
use glue::Glue;
use node::create::CreateOptions;
use node::tracker_server::TrackerServer;
use node::{Add, Listen, Node, Target, What};
use serde::Serialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::net::{TcpListener, UdpSocket};
use tracker::server::{Access, Config};
use web::{Hashed, Item, Serving, Site};

/// The first port that is tried for HTTP, and how many are.
const PORT_FIRST: u16 = 8080;
const PORTS: u16 = 100;

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

/// Does what the command line says.
pub async fn run(args: ShareArgs, global: &Global, voice: Voice) -> Result<(), Failure> {
    args.check()?;
    args.tracker.iter().try_for_each(|url| check_url("--tracker", url, &TRACKERS))?;
    let public = args.public.as_deref().map(address::public).transpose()?;
    for path in &args.paths {
        std::fs::metadata(path).with_context(|| format!("can't read {}", path.display()))?;
    }
    let listeners = listen(args.http).await?;
    let http = listeners.first().context("no listener")?.local_addr()?;
    let node = session::start(&args.network, global, Listen::Usual, None, args.limit_up).await?;
    share(&args, &node, listeners, http, public, voice).await
}

async fn share(
    args: &ShareArgs,
    node: &Arc<Node>,
    listeners: Vec<TcpListener>,
    http: SocketAddr,
    public: Option<String>,
    voice: Voice,
) -> Result<(), Failure> {
    let own = if http.ip().is_unspecified() { address::own() } else { http.ip() };
    let at = SocketAddr::new(own, http.port());
    let base = public.clone().unwrap_or_else(|| format!("http://{at}"));
    let tracker = start_tracker(own)?;
    let udp = UdpSocket::bind(http).await.ok();
    let udp_bound = udp.as_ref().and_then(|s| s.local_addr().ok());
    voice.object(&Listening { http: Some(http), udp: udp_bound, ..session::listening(node) });
    let _udp_task = udp.map(|socket| Ended(tokio::spawn(tracker.clone().serve_udp(socket))));

    let glue = Arc::new(Glue::new(node.clone(), tracker.clone()));
    let site = Arc::new(Site::new(glue.clone(), base.clone()));
    let (closing, closed) = tokio::sync::oneshot::channel::<()>();
    let server = tokio::spawn(web::serve(Serving::new(site.clone()), listeners, async move { drop(closed.await) }));

    let mut trackers = vec![vec![format!("{base}/announce")]];
    if let (None, Some(_)) = (&public, udp_bound) {
        trackers.push(vec![format!("udp://{at}/announce")]);
    }
    trackers.extend(args.tracker.iter().map(|url| vec![url.clone()]));
    // Where others reach it by another name, this machine may not: it announces to itself.
    let local = public.is_some().then(|| format!("http://{}/announce", address::local(http)));
    let sharer = Sharer { node, site: &site, glue: &glue, tracker: &tracker, trackers, local, voice };

    let mut events = node.events();
    let mut seeds = Seeds::default();
    let mut result = Ok(());
    for path in &args.paths {
        result = sharer.one(path, args, &mut seeds).await;
        if result.is_err() {
            break;
        }
    }
    if result.is_ok() {
        result = seeds.watch(node, &mut events, voice).await;
    }
    // The node first: it tells the tracker here, among others, that it goes.
    session::end(node, voice).await;
    let _ = closing.send(());
    // It ends within its own limit of time.
    let _ = server.await;
    result
}

/// A task that ends with whoever holds it.
struct Ended(tokio::task::JoinHandle<std::io::Result<()>>);

impl Drop for Ended {
    fn drop(&mut self) {
        self.0.abort();
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

/// Listens for HTTP: where the user says, or on the first free port.
async fn listen(wanted: Option<SocketAddr>) -> anyhow::Result<Vec<TcpListener>> {
    if let Some(addr) = wanted {
        return super::listen(addr).await;
    }
    for port in PORT_FIRST..PORT_FIRST + PORTS {
        if let Ok(listeners) = super::listen((Ipv4Addr::UNSPECIFIED, port).into()).await {
            return Ok(listeners);
        }
    }
    super::listen((Ipv4Addr::UNSPECIFIED, 0).into()).await
}

struct Sharer<'a> {
    node: &'a Arc<Node>,
    site: &'a Site,
    glue: &'a Glue,
    tracker: &'a TrackerServer,
    trackers: Vec<Vec<String>>,
    local: Option<String>,
    voice: Voice,
}

impl Sharer<'_> {
    /// Shares one path.
    async fn one(&self, path: &Path, args: &ShareArgs, seeds: &mut Seeds) -> Result<(), Failure> {
        let options = CreateOptions {
            format: super::torrent::format(args.format),
            threads: super::torrent::threads(None),
            digests: true,
            ..CreateOptions::default()
        };
        let made = match super::torrent::make(path, options, self.voice).await {
            // The user has ended what has no end of its own.
            Err(Failure::Interrupted) if signals::stopping() => return Err(Failure::Interrupted),
            made => made?,
        };
        let (mut metainfo, hashed) = (made.metainfo, Hashed { files: made.look.files, digests: made.digests });
        let name = self.site.free_name(metainfo.info.layout.name());
        metainfo.trackers = self.trackers.clone();
        metainfo.web_seeds = vec![self.site.web_seed(&name, &metainfo.info.layout)];
        let bytes = metainfo.encode();
        let torrent = self.store(&name, &bytes)?;
        let (link, magnet) = (self.site.link(&name), metainfo.magnet().to_string());
        let item = {
            let (name, metainfo, magnet, path) = (name.clone(), metainfo.clone(), magnet.clone(), path.to_owned());
            let make = move || Item::new(name, &metainfo, bytes.into(), magnet, &path, &hashed);
            tokio::task::spawn_blocking(make).await.context("looking at the files")??
        };
        let hashes = metainfo.info.hashes;
        self.track(hashes);
        self.site.add(item);
        self.tell(&name, &link, &magnet, &torrent, &metainfo);
        let add = Add {
            trackers: self.local.iter().cloned().collect(),
            hashed: true,
            ..Add::new(What::Torrent(Box::new(metainfo)), Target::Seed { path: path.to_owned() })
        };
        match self.node.add(add).await {
            Ok(id) => {
                self.glue.add(hashes, id);
                seeds.names.insert(id, name);
            }
            // The same content under two names: both links work.
            Err(error @ node::NodeError::Twice(_)) => self.voice.note(&format!("note: {error}")),
            Err(error) => return Err(error.into()),
        }
        Ok(())
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

    /// Keeps the .torrent in the data folder.
    fn store(&self, name: &str, bytes: &[u8]) -> anyhow::Result<PathBuf> {
        let folder = self.node.data_dir().join("torrents");
        std::fs::create_dir_all(&folder).with_context(|| format!("can't make {}", folder.display()))?;
        let path = folder.join(format!("{name}.torrent"));
        super::torrent::write(&path, bytes)?;
        Ok(path)
    }

    fn tell(&self, name: &str, link: &str, magnet: &str, torrent: &Path, metainfo: &Metainfo) {
        let torrent = torrent.to_string_lossy().into_owned();
        let hashes = metainfo.info.hashes;
        self.voice.result(&printable(name));
        self.voice.result(&format!("  link     {link}"));
        self.voice.result(&format!("  magnet   {magnet}"));
        self.voice.result(&format!("  torrent  {}", printable(&torrent)));
        self.voice.object(&Shared {
            name,
            link,
            magnet,
            torrent,
            info_hash_v1: hashes.v1.map(|h| h.to_string()),
            info_hash_v2: hashes.v2.map(|h| Hex(&h).to_string()),
            bytes: metainfo.info.layout.content_len(),
        });
    }
}
