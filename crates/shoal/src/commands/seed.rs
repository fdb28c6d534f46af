//! `shoal seed`: seeds data that is there, as a .torrent describes it.

use super::session::{self, Complaints, ErrorEvent, Seeding};
use super::torrent::{TRACKERS, check_url};
use crate::args::{Global, SeedArgs};
use crate::failure::Failure;
use crate::progress::Line;
use crate::say::{Voice, fail, printable};
use crate::{signals, source};
use anyhow::{Context as _, bail};
use base::{Metainfo, TorrentId};
use node::{Add, Event, Listen, Node, NodeEvent, Target, What};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;

/// Does what the command line says.
pub async fn run(args: SeedArgs, global: &Global, voice: Voice) -> Result<(), Failure> {
    args.network.check()?;
    args.tracker.iter().try_for_each(|url| check_url("--tracker", url, &TRACKERS))?;
    let pairs = pairs(&args.torrent, &args.data, voice)?;
    let peers = session::peers(&args.peer).await?;
    let node = session::start(&args.network, global, Listen::Usual, None, args.limit_up).await?;
    voice.object(&session::listening(&node));
    let mut events = node.events();
    let mut seeds = Seeds::default();
    for (metainfo, path) in pairs {
        let name = metainfo.info.layout.name().to_owned();
        let what = What::Torrent(Box::new(metainfo));
        let add = Add { peers: peers.clone(), trackers: args.tracker.clone(), ..Add::new(what, Target::Seed { path }) };
        match node.add(add).await {
            Ok(id) => drop(seeds.names.insert(id, name)),
            Err(error) => voice.warn(&error.to_string()),
        }
    }
    let result = seeds.watch(&node, &mut events, voice).await;
    session::end(&node, voice).await;
    result
}

/// The torrents that a node seeds.
#[derive(Debug, Default)]
pub struct Seeds {
    /// Their names.
    pub names: BTreeMap<TorrentId, String>,
    complaints: Complaints,
}

impl Seeds {
    /// Tells how it goes until the user wants an end, or until none is left that can be seeded.
    pub async fn watch(
        &mut self,
        node: &Arc<Node>,
        events: &mut broadcast::Receiver<NodeEvent>,
        voice: Voice,
    ) -> Result<(), Failure> {
        let line = Line::new(voice);
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                () = signals::stop() => return Ok(()),
                event = events.recv() => match event {
                    Ok(event) => self.take(&event, voice, &line),
                    Err(broadcast::error::RecvError::Lagged(_)) => {}
                    Err(broadcast::error::RecvError::Closed) => return Err(anyhow::anyhow!("the node has stopped").into()),
                },
                _ = tick.tick() => line.set(self.line(node).await),
            }
            if self.names.is_empty() {
                return Err(Failure::Said);
            }
        }
    }

    fn take(&mut self, news: &NodeEvent, voice: Voice, line: &Line) {
        let Some(name) = self.names.get(&news.torrent).cloned() else { return };
        match &news.event {
            Event::Complete { path } => {
                voice.object(&Seeding { name: &name });
                line.above(|| {
                    voice.result(&format!("seeding {} from {}", printable(&name), printable(&path.to_string_lossy())))
                });
            }
            Event::Failed { error } => {
                voice.object(&ErrorEvent { message: error });
                line.above(|| fail(&printable(error)));
                self.names.remove(&news.torrent);
            }
            event => {
                if let Some(text) = self.complaints.of(event) {
                    line.above(|| voice.warn(&text));
                }
            }
        }
    }

    async fn line(&self, node: &Node) -> String {
        let ids: Vec<TorrentId> = self.names.keys().copied().collect();
        let (mut done, mut all) = (0, 0);
        for id in &ids {
            if let Some((now, total)) = node.status(*id).await.and_then(|s| s.checking) {
                done += now;
                all += total;
            }
        }
        match all {
            0 => session::seeding_line(node, &ids).await,
            _ => format!("checking what is there: {} %", done.saturating_mul(100) / all),
        }
    }
}

/// Which torrents to seed from where: one, or all of a folder.
fn pairs(torrent: &Path, data: &Path, voice: Voice) -> anyhow::Result<Vec<(Metainfo, PathBuf)>> {
    std::fs::metadata(data).with_context(|| format!("can't read {}", data.display()))?;
    if !torrent.is_dir() {
        return Ok(vec![(source::read(torrent)?.metainfo, data.to_owned())]);
    }
    if !data.is_dir() {
        bail!(
            "{} is a folder of .torrents, so {} must be the folder of their contents",
            torrent.display(),
            data.display()
        );
    }
    let entries = std::fs::read_dir(torrent).and_then(Iterator::collect::<std::io::Result<Vec<_>>>);
    let mut files: Vec<PathBuf> = entries
        .with_context(|| format!("can't read {}", torrent.display()))?
        .iter()
        .map(std::fs::DirEntry::path)
        .collect();
    files.sort();
    let mut found = Vec::new();
    for file in files.into_iter().filter(|f| f.is_file()) {
        let metainfo = match source::read(&file) {
            Ok(torrent) => torrent.metainfo,
            Err(error) => {
                voice.warn(&format!("{error:#}"));
                continue;
            }
        };
        let path = data.join(metainfo.info.layout.name());
        match path.exists() {
            true => found.push((metainfo, path)),
            false => voice.warn(&format!("{} is left out: {} is not there", file.display(), path.display())),
        }
    }
    if found.is_empty() {
        bail!("no .torrent in {} whose content is in {}", torrent.display(), data.display());
    }
    Ok(found)
}
