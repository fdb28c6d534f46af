//! `shoal get`: fetches, tells how it goes, and who supplied what.

mod endless;
mod explain;
mod select;
mod transfer;

use super::session::{self, Banned, Complaints, ErrorEvent};
use crate::args::{GetArgs, Global};
use crate::failure::Failure;
use crate::say::{Voice, fail, printable};
use crate::source::{self, Source};
use crate::{signals, units};
use anyhow::Context as _;
use base::TorrentId;
use node::http::client::Web;
use node::{Add, Event, Listen, Node, NodeEvent, Target, Totals, What};
use select::Selection;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::broadcast;
use transfer::{Shown, Transfer};

/// How often progress is told.
const STEP: Duration = Duration::from_secs(1);

/// Does what the command line says.
pub async fn run(args: GetArgs, global: &Global, voice: Voice) -> Result<(), Failure> {
    args.check()?;
    let selection = Selection::new(&args.select)?;
    let result = all(&args, global, &selection, voice).await;
    if let Err(failure @ Failure::Failed(_)) = &result
        && let Some(message) = failure.line()
    {
        voice.object(&ErrorEvent { message: &message });
    }
    result
}

async fn all(args: &GetArgs, global: &Global, selection: &Selection, voice: Voice) -> Result<(), Failure> {
    let logins = args.logins.read()?;
    let web = Web::with(logins.clone());
    let prepared = prepare(args, &web, voice).await?;
    let (down, up) = (args.limit_down, args.limit_up);
    let node = session::start_with(&args.network, global, Listen::Any, down, up, logins).await?;
    voice.object(&session::listening(&node));
    let lost = prepared.lost;
    let result = fetch(args, &node, &web, prepared, selection, voice).await;
    session::end(&node, voice).await;
    result.and_then(|()| if lost { Err(Failure::Said) } else { Ok(()) })
}

struct Prepared {
    sources: Vec<Source>,
    /// Not all that was asked for could be found.
    lost: bool,
    dir: PathBuf,
    peers: Vec<std::net::SocketAddr>,
}

/// Says what went wrong while something else goes on.
fn tell(failure: &Failure, voice: Voice) {
    if let Some(message) = failure.line() {
        fail(&message);
        voice.object(&ErrorEvent { message: &message });
    }
}

/// All that can fail before the node is there.
async fn prepare(args: &GetArgs, web: &Web, voice: Voice) -> Result<Prepared, Failure> {
    let dir = args.output.clone().unwrap_or_else(|| PathBuf::from("."));
    let peers = session::peers(&args.peer).await?;
    let (mut found, mut lost) = (Vec::new(), Vec::new());
    for text in &args.sources {
        tokio::select! {
            sources = source::find(web, text) => match sources {
                Ok(sources) => found.push(sources),
                Err(error) => lost.push(Failure::from(error)),
            },
            () = signals::stop() => return Err(Failure::Interrupted),
        }
    }
    if found.is_empty()
        && let Some(last) = lost.pop()
    {
        lost.iter().for_each(|failure| tell(failure, voice));
        return Err(last);
    }
    writable(&dir)?;
    // The others are fetched all the same.
    lost.iter().for_each(|failure| tell(failure, voice));
    Ok(Prepared { sources: source::together(found), lost: !lost.is_empty(), dir, peers })
}

/// Makes the folder, and tries whether something can be written to it: better now than after an hour.
fn writable(dir: &Path) -> anyhow::Result<()> {
    let failed = || format!("can't write to {}; choose another folder with -o", dir.display());
    std::fs::create_dir_all(dir).with_context(failed)?;
    let probe = dir.join(format!(".shoal-{}", std::process::id()));
    std::fs::File::create_new(&probe).and_then(|_| std::fs::remove_file(&probe)).with_context(failed)
}

async fn fetch(
    args: &GetArgs,
    node: &Arc<Node>,
    web: &Web,
    prepared: Prepared,
    selection: &Selection,
    voice: Voice,
) -> Result<(), Failure> {
    let Prepared { sources, dir, peers, .. } = prepared;
    let mut events = node.events();
    let shown = Shown::new(voice);
    let complaints = Complaints::default();
    let mut all = Transfers { node: node.clone(), args, selection, voice, shown, complaints, map: BTreeMap::new() };
    let limit = args.limit_down.map(|r| r.0);
    let how = endless::How { web, node, dir: &dir, in_place: args.in_place, limit, voice };
    let (mut endless, mut bounded) = (Vec::new(), Vec::new());
    for Source { what, servers, told_by, folder, notes, .. } in sources {
        notes.iter().for_each(|note| voice.warn(note));
        let what = match what {
            source::What::Magnet(magnet) => What::Magnet(*magnet),
            source::What::Torrent(torrent) => What::Torrent(Box::new(torrent.metainfo)),
            source::What::Plain(plain) => What::Plain(*plain),
            source::What::Endless { url, name } => {
                endless.push((url, name));
                continue;
            }
        };
        let dir = folder.map_or_else(|| Ok(dir.clone()), |folder| below(&dir, &folder))?;
        let target = Target::Get { dir, in_place: args.in_place };
        bounded.push(Add { peers: peers.clone(), servers, told_by, ..Add::new(what, target) });
    }
    // The limit holds for all together: what the node does not fetch comes first, and by itself.
    let (first, streams) = match limit {
        Some(_) => (endless::fetch_all(endless, how).await, Vec::new()),
        None => (Ok(()), endless),
    };
    if let Err(Failure::Interrupted) = first {
        return first;
    }
    for add in bounded {
        let layout = match &add.what {
            What::Torrent(metainfo) => Some(&metainfo.info.layout),
            What::Plain(plain) => Some(&plain.plan.layout),
            What::Magnet(_) => None,
        };
        layout.map_or(Ok(()), |layout| selection.check(layout))?;
        let name = match &add.what {
            What::Magnet(magnet) => magnet.name.clone().unwrap_or_else(|| "the magnet's torrent".into()),
            _ => layout.map(|layout| layout.name().to_owned()).unwrap_or_default(),
        };
        let verified = match &add.what {
            What::Plain(plain) => plain.plan.checks_pieces() || plain.plan.whole.is_some(),
            What::Torrent(_) | What::Magnet(_) => true,
        };
        let select = selection.as_select(&add.what);
        let id = node.add(Add { select, sequential: args.sequential, ..add }).await?;
        let mut transfer = Transfer::new(id, name, &all.shown);
        transfer.verified = verified;
        all.map.insert(id, transfer);
    }
    let streams = endless::fetch_all(streams, how);
    if all.map.is_empty() {
        return first.and(streams.await);
    }
    let (fetched, streamed) = tokio::join!(all.run(&mut events), streams);
    fetched.and(streamed).and(first)
}

/// The folder below `dir` that a description names for a file. Links in it might lead out, where nobody meant it to write.
fn below(dir: &Path, folder: &str) -> anyhow::Result<PathBuf> {
    let mut path = dir.to_owned();
    for name in folder.split('/') {
        path.push(name);
        let is_link = path.symlink_metadata().is_ok_and(|there| there.is_symlink());
        anyhow::ensure!(
            !is_link,
            "{} is a link, and what is fetched follows none; move it away, or choose another folder with -o",
            path.display()
        );
    }
    Ok(path)
}

/// All that this run fetches.
struct Transfers<'a> {
    node: Arc<Node>,
    args: &'a GetArgs,
    selection: &'a Selection,
    voice: Voice,
    shown: Shown,
    complaints: Complaints,
    map: BTreeMap<TorrentId, Transfer>,
}

impl Transfers<'_> {
    async fn run(&mut self, events: &mut broadcast::Receiver<NodeEvent>) -> Result<(), Failure> {
        let mut tick = tokio::time::interval(STEP);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = signals::stop() => {
                    let complete = self.map.values().all(|t| t.path.is_some());
                    if !complete {
                        self.voice.note("stopped; what was received stays, and the same command goes on from there");
                    }
                    return if complete { Ok(()) } else { Err(Failure::Interrupted) };
                }
                event = events.recv() => match event {
                    Ok(event) => self.take(event).await,
                    Err(broadcast::error::RecvError::Lagged(_)) => self.catch_up().await,
                    Err(broadcast::error::RecvError::Closed) => return Err(anyhow::anyhow!("the node has stopped").into()),
                },
                _ = tick.tick() => self.progress().await,
            }
            if self.map.values().all(|t| t.is_over()) {
                return if self.map.values().any(|t| t.failed) { Err(Failure::Said) } else { Ok(()) };
            }
        }
    }

    /// Some events were missed: those that count are asked for.
    async fn catch_up(&mut self) {
        let open: Vec<TorrentId> = self.map.values().filter(|t| !t.failed && t.path.is_none()).map(|t| t.id).collect();
        for torrent in open {
            if self.node.metainfo(torrent).await.is_some() {
                self.take(NodeEvent { torrent, event: Event::Metadata }).await;
            }
            if let Some(event) = self.node.outcome(torrent) {
                self.take(NodeEvent { torrent, event }).await;
            }
        }
    }

    async fn take(&mut self, news: NodeEvent) {
        let voice = self.voice;
        let Some(transfer) = self.map.get_mut(&news.torrent) else { return };
        match news.event {
            Event::Metadata => {
                if let Some(metainfo) = self.node.metainfo(news.torrent).await {
                    transfer.name = metainfo.info.layout.name().to_owned();
                    if let Err(error) = self.selection.check(&metainfo.info.layout) {
                        let message = Failure::from(error).line().unwrap_or_default();
                        self.fail(news.torrent, &message);
                    }
                }
            }
            Event::Opened { good, pieces, .. } if good > 0 && good < pieces => {
                let what = format!("{good} of {pieces} pieces of {} are there already", transfer.name);
                self.shown.above(|| voice.note(&what));
            }
            Event::Complete { path } if transfer.path.is_none() => {
                transfer.path = Some(path);
                transfer.complete(&self.node, voice, &self.shown).await;
                transfer.seeds_from = self.args.seeds().then(Instant::now);
                if self.args.seeds() {
                    voice.object(&session::Seeding { name: &transfer.name });
                }
            }
            Event::Failed { error } => self.fail(news.torrent, &error),
            Event::Banned { addr, why } => {
                voice.object(&Banned { peer: &addr.to_string(), why: &why });
                self.shown.above(|| voice.note(&format!("{addr} is banned: {why}")));
            }
            Event::ServerDropped { name, why } => {
                voice.object(&Banned { peer: &name, why: &why });
                self.shown.above(|| voice.warn(&format!("{name} is not used any more: {why}")));
            }
            event => {
                if let Some(text) = self.complaints.of(&event) {
                    self.shown.above(|| voice.warn(&text));
                }
            }
        }
    }

    fn fail(&mut self, id: TorrentId, message: &str) {
        let Some(transfer) = self.map.get_mut(&id).filter(|t| !t.failed) else { return };
        transfer.failed = true;
        transfer.clear();
        self.voice.object(&ErrorEvent { message });
        self.shown.above(|| fail(&printable(message)));
    }

    async fn progress(&mut self) {
        let explains = self.args.explain || self.voice.draws();
        let totals = if explains { self.node.totals().await } else { Totals::default() };
        let binds = |limit: &u64| totals.limited || totals.rate_down.saturating_mul(10) >= limit.saturating_mul(9);
        let limit = self.args.limit_down.map(|r| r.0).filter(binds);
        for transfer in self.map.values_mut().filter(|t| !t.failed) {
            let Some(status) = self.node.status(transfer.id).await else { continue };
            match transfer.seeds_from {
                Some(since) => {
                    transfer.bar.set_message(format!("seeding, {} given", units::bytes(status.torrent.uploaded)));
                    let given = status.torrent.uploaded as f64;
                    let size = status.torrent.wanted.max(1) as f64;
                    let ratio = self.args.seed_ratio.is_some_and(|ratio| given >= ratio * size);
                    let time = self.args.seed_time.is_some_and(|time| since.elapsed() >= time.0);
                    transfer.ends |= ratio || time;
                }
                None if transfer.path.is_none() => {
                    let lonely = transfer.progress(&status, self.voice);
                    if explains || lonely {
                        let (peers, servers, missing) = tokio::join!(
                            self.node.peers(transfer.id),
                            self.node.servers(transfer.id),
                            self.node.missing_piece(transfer.id),
                        );
                        let labour = transfer.labour(&status);
                        let facts = explain::Facts {
                            status: &status,
                            peers: &peers,
                            servers: &servers,
                            missing,
                            limit,
                            labour,
                        };
                        let why = explain::sentence(&facts);
                        if lonely && !explains {
                            transfer.waits(&why, self.voice, &self.shown);
                        } else {
                            transfer.explain(why, self.voice, &self.shown);
                        }
                    }
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests;
