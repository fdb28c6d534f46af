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
use node::{Add, Event, Listen, Node, NodeError, NodeEvent, Target, What};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, broadcast};

/// Does what the command line says.
pub async fn run(args: SeedArgs, global: &Global, voice: Voice) -> Result<(), Failure> {
    args.network.check()?;
    args.tracker.iter().try_for_each(|url| check_url("--tracker", url, &TRACKERS))?;
    let mut pairs = Pairs::new(&args.torrent, &args.data)?;
    let mut first = pairs.next(voice)?;
    if first.is_empty() {
        return Err(anyhow::anyhow!(
            "no .torrent in {} whose content is in {}",
            args.torrent.display(),
            args.data.display()
        )
        .into());
    }
    let peers = session::peers(&args.peer).await?;
    let node = session::start(&args.network, global, Listen::Usual, None, args.limit_up).await?;
    voice.object(&session::listening(&node));
    let mut events = node.events();
    let mut seeds = Seeds::default();
    while !first.is_empty() {
        let names: Vec<String> = first.iter().map(|(m, _)| m.info.layout.name().to_owned()).collect();
        let add = |(metainfo, path)| {
            let what = What::Torrent(Box::new(metainfo));
            Add { peers: peers.clone(), trackers: args.tracker.clone(), ..Add::new(what, Target::Seed { path }) }
        };
        let added = node.add_all(first.into_iter().map(add).collect());
        for (name, id) in names.into_iter().zip(added) {
            match id {
                Ok(id) => seeds.names.put(id, name),
                Err(error) => voice.warn(&error.to_string()),
            }
        }
        // The node opens these while the next ones are read.
        (pairs, first) = tokio::task::spawn_blocking(move || {
            let next = pairs.next(voice);
            next.map(|next| (pairs, next))
        })
        .await
        .context("reading the .torrents has failed")??;
    }
    let result = seeds.watch(&node, &mut events, voice, &Line::new(voice)).await;
    session::end(&node, voice).await;
    result
}

/// The names of torrents, known to whoever adds some and to whoever tells of them.
#[derive(Clone, Debug, Default)]
pub struct Names(Arc<Mutex<BTreeMap<TorrentId, String>>>);

impl Names {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<TorrentId, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives a torrent its name.
    pub fn put(&self, id: TorrentId, name: String) {
        self.lock().insert(id, name);
    }

    /// Adds a torrent under its name: nothing is told of it before that is known.
    pub fn add(&self, node: &Node, add: Add, name: &str) -> Result<TorrentId, NodeError> {
        let mut names = self.lock();
        let id = node.add_all(vec![add]).pop().unwrap_or_else(|| Err(NodeError::Path("nothing was added".into())))?;
        names.insert(id, name.to_owned());
        Ok(id)
    }

    /// Forgets a torrent.
    pub fn remove(&self, id: TorrentId) {
        self.lock().remove(&id);
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.lock().is_empty()
    }
}

/// The torrents that a node seeds.
#[derive(Debug, Default)]
pub struct Seeds {
    /// Their names.
    pub names: Names,
    /// Somebody looks after those that fail, and is told.
    pub failed: Option<Arc<Notify>>,
    /// Those of which it was told that they are seeded.
    told: BTreeSet<TorrentId>,
    complaints: Complaints,
}

impl Seeds {
    /// Those that somebody else adds, and looks after when they fail.
    pub fn kept(names: Names, failed: Arc<Notify>) -> Self {
        Seeds { names, failed: Some(failed), ..Seeds::default() }
    }

    /// Tells how it goes until the user wants an end, or until none is left that can be seeded.
    pub async fn watch(
        &mut self,
        node: &Arc<Node>,
        events: &mut broadcast::Receiver<NodeEvent>,
        voice: Voice,
        line: &Line,
    ) -> Result<(), Failure> {
        let mut tick = tokio::time::interval(Duration::from_secs(1));
        loop {
            tokio::select! {
                () = signals::stop() => return Ok(()),
                event = events.recv() => match event {
                    Ok(event) => self.take(&event, voice, line),
                    Err(broadcast::error::RecvError::Lagged(_)) => self.catch_up(node, voice, line),
                    Err(broadcast::error::RecvError::Closed) => return Err(anyhow::anyhow!("the node has stopped").into()),
                },
                _ = tick.tick(), if line.is_shown() => line.set(self.line(node).await),
            }
            if self.names.is_empty() && self.failed.is_none() {
                return Err(Failure::Said);
            }
        }
    }

    fn take(&mut self, news: &NodeEvent, voice: Voice, line: &Line) {
        let Some(name) = self.names.lock().get(&news.torrent).cloned() else { return };
        match &news.event {
            Event::Complete { .. } if !self.told.insert(news.torrent) => {}
            Event::Complete { path } => {
                voice.object(&Seeding { name: &name });
                line.above(|| {
                    voice.result(&format!("seeding {} from {}", printable(&name), printable(&path.to_string_lossy())))
                });
            }
            Event::Failed { error } => {
                voice.object(&ErrorEvent { message: error });
                line.above(|| fail(&printable(error)));
                self.names.remove(news.torrent);
                self.failed.iter().for_each(|failed| failed.notify_one());
            }
            event => {
                if let Some(text) = self.complaints.of(event) {
                    line.above(|| voice.warn(&text));
                }
            }
        }
    }

    /// So much happened at once that some of it was missed: the torrents themselves say how they stand.
    fn catch_up(&mut self, node: &Node, voice: Voice, line: &Line) {
        let ids: Vec<TorrentId> = self.names.lock().keys().filter(|id| !self.told.contains(id)).copied().collect();
        for id in ids {
            if let Some(event) = node.outcome(id) {
                self.take(&NodeEvent { torrent: id, event }, voice, line);
            }
        }
    }

    async fn line(&self, node: &Node) -> String {
        match node.checking() {
            Some((done, all)) => format!("checking what is there: {} %", done.saturating_mul(100) / all),
            None => session::seeding_line(node).await,
        }
    }
}

/// Torrents read and added together: what they need meanwhile is used again by the next ones.
const BATCH: usize = 512;

/// Which torrents to seed from where: one, or all of a folder.
struct Pairs {
    files: std::vec::IntoIter<PathBuf>,
    data: PathBuf,
    one: bool,
}

impl Pairs {
    fn new(torrent: &Path, data: &Path) -> anyhow::Result<Self> {
        std::fs::metadata(data).with_context(|| format!("can't read {}", data.display()))?;
        let data_is_dir = data.is_dir();
        let (data, one) = (data.to_owned(), !torrent.is_dir());
        if one {
            return Ok(Pairs { files: vec![torrent.to_owned()].into_iter(), data, one });
        }
        if !data_is_dir {
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
        Ok(Pairs { files: files.into_iter(), data, one })
    }

    /// The next ones; none: there are no more.
    fn next(&mut self, voice: Voice) -> anyhow::Result<Vec<(Metainfo, PathBuf)>> {
        let mut found = Vec::new();
        while found.len() < BATCH
            && let Some(file) = self.files.next()
        {
            if self.one {
                found.push((source::read(&file)?.metainfo, self.data.clone()));
                break;
            }
            if !file.is_file() {
                continue;
            }
            let metainfo = match source::read(&file) {
                Ok(torrent) => torrent.metainfo,
                Err(error) => {
                    voice.warn(&format!("{error:#}"));
                    continue;
                }
            };
            let path = self.data.join(metainfo.info.layout.name());
            match path.exists() {
                true => found.push((metainfo, path)),
                false => voice.warn(&format!("{} is left out: {} is not there", file.display(), path.display())),
            }
        }
        Ok(found)
    }
}
