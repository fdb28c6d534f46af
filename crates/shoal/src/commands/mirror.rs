//! `shoal mirror`: copies of what another server shares, from a server of one's own.

use super::server::Server;
use super::share::{own, public};
use super::{Listening, session};
use crate::args::{Global, MirrorArgs, NetworkArgs};
use crate::failure::Failure;
use crate::say::{Voice, printable};
use crate::{signals, units};
use anyhow::Context as _;
use base::InfoHashes;
use node::{Listen, Node};
use serde::Serialize;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use web::{Answer, Limits, Live, MirrorCache, MirrorNews, MirrorOptions, Mirroring, Serving, Swarm};

/// Connections at once.
const CONNECTIONS: usize = 4_096;

#[derive(Serialize)]
#[serde(tag = "event", rename_all = "lowercase")]
enum Said<'a> {
    Origin { answers: bool, why: Option<&'a str>, away_secs: Option<u64> },
    Mirrored { name: &'a str, bytes: u64, link: &'a str },
    Gone { name: &'a str, why: &'a str },
    Failed { name: &'a str, why: &'a str },
    Registered { listed: bool, why: Option<&'a str> },
}

/// Does what the command line says.
pub async fn run(args: MirrorArgs, global: &Global, voice: Voice) -> Result<(), Failure> {
    let origin = args.origin()?;
    let public = args.public.as_deref().map(public).transpose()?;
    let listeners = super::listen(args.listen).await?;
    let bound = listeners.first().context("no listener")?.local_addr()?;
    let own_cache = args.cache.as_deref().map(open).transpose()?;
    // Its state goes with the copies, unless somebody says where it is.
    let mut global = global.clone();
    if let (None, Some(cache)) = (&global.data_dir, &args.cache) {
        global.data_dir = Some(cache.join("state"));
    }
    let nowhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let network = NetworkArgs::usual(Some(nowhere));
    let node = session::start(&network, &global, Listen::At(nowhere), None, None).await?;
    let at = SocketAddr::new(if bound.ip().is_unspecified() { own() } else { bound.ip() }, bound.port());
    let base = public.unwrap_or_else(|| format!("http://{at}"));
    voice.object(&Listening { http: Some(bound), ..Listening::default() });
    voice.result(&format!("a mirror of {origin} is at {base}/"));
    let options = MirrorOptions { origin, base, size_max: args.max_size.map(|size| size.0) };
    let result = match own_cache.map_or_else(|| open(&node.data_dir().join("mirror")), Ok) {
        Ok(cache) => mirror(options, cache, &node, listeners, voice).await,
        Err(failure) => Err(failure),
    };
    session::end(&node, voice).await;
    result
}

fn open(cache: &Path) -> Result<MirrorCache, Failure> {
    let opened = MirrorCache::open(cache);
    Ok(opened
        .with_context(|| format!("can't keep copies in {}; choose another folder with --cache", cache.display()))?)
}

async fn mirror(
    options: MirrorOptions,
    cache: MirrorCache,
    node: &Arc<Node>,
    listeners: Vec<tokio::net::TcpListener>,
    voice: Voice,
) -> Result<(), Failure> {
    let base = options.base.clone();
    let mirroring = Mirroring::new(options, cache, node.clone(), Arc::new(NoSwarm));
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let limits = Limits { threads, connections: CONNECTIONS, ..Limits::default() };
    let serving = Serving { handler: mirroring.site(), limits, log: None };
    let mut server = Server::start(serving, listeners);
    let result = tokio::select! {
        () = mirroring.run(|news| tell(&news, &base, voice)) => Ok(()),
        () = signals::stop() => Ok(()),
        ended = server.ended() => Err(ended),
    };
    mirroring.site().close();
    server.close().await;
    result
}

fn tell(news: &MirrorNews, base: &str, voice: Voice) {
    match news {
        MirrorNews::Origin { answers, why, away } => {
            let away_secs = away.map(|away| away.as_secs());
            voice.object(&Said::Origin { answers: *answers, why: why.as_deref(), away_secs });
            match (why, away) {
                (Some(why), _) => voice.warn(&format!(
                    "the origin does not answer: {why}; what is here is given all the same, and the origin is tried again"
                )),
                (None, Some(away)) => {
                    voice.note(&format!("the origin answers again, after {}", units::time(*away)));
                }
                (None, None) => voice.note("the origin answers"),
            }
        }
        MirrorNews::Here(facts) => {
            let link = web::link(base, &facts.name);
            voice.object(&Said::Mirrored { name: &facts.name, bytes: facts.bytes, link: &link });
            voice.result(&format!("{}  {}  {link}", printable(&facts.name), units::bytes(facts.bytes)));
        }
        MirrorNews::Gone { name, why } => {
            voice.object(&Said::Gone { name, why });
            voice.note(&format!("{name} is not here any more: {why}"));
        }
        MirrorNews::Failed { name, why } => {
            voice.object(&Said::Failed { name, why });
            voice.warn(&format!("no copy of {name} yet: {why}"));
        }
        MirrorNews::Registered { listed, why } => {
            voice.object(&Said::Registered { listed: *listed, why: why.as_deref() });
            match (listed, why) {
                (true, _) => voice.note("the origin tells others of this mirror"),
                (false, Some(why)) => voice.warn(&format!("the origin does not tell others of this mirror: {why}")),
                (false, None) => {}
            }
        }
    }
}

/// A mirror has neither peers nor a tracker: its torrents name the origin's.
#[derive(Debug)]
struct NoSwarm;

impl Live for NoSwarm {
    fn swarm(&self, _: InfoHashes) -> Answer<'_, Option<Swarm>> {
        Box::pin(std::future::ready(None))
    }

    fn announce(&self, _: &str, _: SocketAddr) -> Answer<'_, Vec<u8>> {
        Box::pin(std::future::ready(b"d14:failure reason22:a mirror is no trackere".to_vec()))
    }

    fn scrape(&self, query: &str, from: SocketAddr) -> Answer<'_, Vec<u8>> {
        self.announce(query, from)
    }
}
