//! `shoal share`: one command from a path to a link.
//!
//! It makes the torrents, runs a tracker for them, seeds them, and serves page, bytes and tracker over HTTP. What changes
//! meanwhile gets a new torrent ([`keeper`]).

mod address;
mod glue;
mod keeper;
mod sharer;

pub use address::{own, public};
pub use keeper::Keeper;
pub use sharer::{House, Sharer, Udp};

use super::Listening;
use super::seed::Seeds;
use super::server::Server;
use super::session;
use super::torrent::{TRACKERS, check_url};
use crate::args::{Global, ShareArgs};
use crate::failure::Failure;
use crate::progress::Line;
use crate::say::Voice;
use anyhow::Context as _;
use node::{Listen, Node};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use web::Serving;

/// The first port that is tried for HTTP, and how many are.
const PORT_FIRST: u16 = 8080;
const PORTS: u16 = 100;

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
    let house = House {
        node,
        http,
        public,
        trackers: &args.tracker,
        format: args.format,
        finder: None,
        fence: None,
        mirrors: args.mirrors.rules(),
    };
    let (sharer, udp) = house.open(voice).await?;
    voice.object(&Listening { http: Some(http), udp: udp.bound, ..session::listening(node) });
    let mut server = Server::start(Serving::new(sharer.site.clone()), listeners);
    let watching = sharer.watch_mirrors();

    let mut events = node.events();
    let mut result = Ok(());
    for path in &args.paths {
        result = sharer.share(path, None, voice).await;
        if result.is_err() {
            break;
        }
    }
    if result.is_ok() {
        let failed = Arc::new(Notify::new());
        let mut seeds = Seeds::kept(sharer.names.clone(), failed.clone());
        let line = Line::new(voice);
        let mut keeper = Keeper::new(&sharer, &line, failed, None);
        result = tokio::select! {
            ended = seeds.watch(node, &mut events, voice, &line) => ended,
            ended = keeper.run() => ended,
            ended = server.ended() => Err(ended),
        };
    }
    // The node first: it tells the tracker here, among others, that it goes.
    session::end(node, voice).await;
    watching.abort();
    sharer.site.close();
    server.close().await;
    result
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
