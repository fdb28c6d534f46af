//! The loops of a node, one for each shard of its engine, and which torrent lives in which.
//!
//! The first one runs from the beginning, since it has the gate; another is started when the first torrent is placed there.
//! So one torrent alone is all in one thread, with the listeners, and its connections move nowhere. A torrent goes where
//! the fewest bytes are shared, and stays there.

use crate::clock::Clock;
use crate::disk::mailbox::{Bell, Inbox};
use crate::disk::worker::{Disk, Work};
use crate::driver::{Doors, Driver, Msg, News, Post, Ways};
use crate::net::Sockets;
use base::{InfoHashes, Rng, ShardIndex, TorrentId};
use engine::letter::{Letter, ToGate};
use engine::{Config, Input, Part};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::mpsc;

/// What a torrent weighs beyond its bytes: its connections, announces and timers, and all that is not known of a magnet.
const WEIGHT: u64 = 16 << 20;

/// The loops, and the way to them.
pub(crate) struct Loops {
    inboxes: Arc<[Arc<Inbox<Msg>>]>,
    state: Mutex<State>,
}

struct State {
    homes: HashMap<TorrentId, Home>,
    /// What the torrents of each loop weigh.
    loads: Vec<u64>,
    /// Loops that no torrent needed yet.
    asleep: Vec<Option<Make>>,
    threads: Vec<JoinHandle<()>>,
}

/// Puts a loop together.
type Make = Box<dyn FnOnce() -> io::Result<Driver> + Send>;

/// Where a torrent lives.
#[derive(Clone, Copy)]
struct Home {
    shard: usize,
    weight: u64,
}

impl Loops {
    /// Makes as many as `config` says, and starts the first.
    ///
    /// # Errors
    /// If the system refuses.
    pub(crate) fn start(
        clock: Clock,
        config: Config,
        rng: Rng,
        sockets: Sockets,
        news: &mpsc::Sender<News>,
    ) -> io::Result<Self> {
        let parts = Part::all(clock.now(), config, rng);
        let mut ends = Vec::with_capacity(parts.len());
        for _ in &parts {
            let poll = mio::Poll::new()?;
            let waker = Driver::waker(&poll)?;
            // The kernel refuses a wake-up only if the counter is full, and then it is awake.
            let bell: Bell = Arc::new(move || drop(waker.wake()));
            ends.push((poll, bell));
        }
        let inboxes: Arc<[_]> = ends.iter().map(|(_, bell)| Arc::new(Inbox::new(bell.clone()))).collect();
        let mut sockets = Some(sockets);
        let mut asleep: Vec<Option<Make>> = Vec::with_capacity(parts.len());
        for ((part, (poll, bell)), inbox) in parts.into_iter().zip(ends).zip(inboxes.iter()) {
            let ways = Ways { inbox: inbox.clone(), post: Post::new(inboxes.clone()), news: news.clone() };
            let doors = sockets.take().map(|s| Doors::new(&poll, s)).transpose()?.unwrap_or_default();
            let make = move || Ok(Driver::new(part, clock, poll, doors, ways, Disk::start(1, &bell)?));
            asleep.push(Some(Box::new(make)));
        }
        let loads = vec![0; asleep.len()];
        let mut state = State { homes: HashMap::new(), loads, asleep, threads: Vec::new() };
        state.wake(0)?;
        Ok(Loops { inboxes, state: Mutex::new(state) })
    }

    /// Finds a home for a torrent of so many bytes; 0 if that is not known. The message, if there is one, goes ahead of all
    /// others that concern it: with it, whoever comes for the torrent is welcome.
    #[must_use]
    pub(crate) fn place(&self, torrent: TorrentId, hashes: InfoHashes, bytes: u64) -> Option<Msg> {
        let state = &mut *self.lock();
        let weight = bytes.saturating_add(WEIGHT);
        loop {
            let least = state.loads.iter().enumerate().min_by_key(|(_, load)| **load);
            let shard = least.map_or(0, |(index, _)| index);
            if let Err(e) = state.wake(shard) {
                // The first one runs in any case, and the others do without this one.
                tracing::warn!("can't start a thread for more torrents: {e}");
                state.loads[shard] = u64::MAX;
                continue;
            }
            state.loads[shard] = state.loads[shard].saturating_add(weight);
            state.homes.insert(torrent, Home { shard, weight });
            // Its shard says so, too, but peers may be faster than a thread that has just been started.
            let what = ToGate::Open { torrent, hashes };
            let letter = Letter::ToGate { from: ShardIndex(shard as u16), what };
            return (shard != 0).then(|| Msg::Letter(letter, None));
        }
    }

    /// These torrents, those of each shard together.
    pub(crate) fn by_shard(&self, torrents: Vec<TorrentId>) -> Vec<Vec<TorrentId>> {
        let mut shards = vec![Vec::new(); self.inboxes.len()];
        let state = self.lock();
        for torrent in torrents {
            shards[state.home(torrent)].push(torrent);
        }
        shards
    }

    /// A torrent is gone.
    pub(crate) fn forget(&self, torrent: TorrentId) {
        let state = &mut *self.lock();
        if let Some(home) = state.homes.remove(&torrent) {
            let load = &mut state.loads[home.shard];
            *load = load.saturating_sub(home.weight);
        }
    }

    /// Brings messages to where they belong. `messages` is left empty.
    pub(crate) fn put(&self, messages: &mut Vec<Msg>) {
        if self.inboxes.len() == 1 {
            return self.inboxes[0].put(messages);
        }
        let mut sorted: Vec<Vec<Msg>> = self.inboxes.iter().map(|_| Vec::new()).collect();
        {
            let state = self.lock();
            for msg in messages.drain(..) {
                sorted[state.to(&msg)].push(msg);
            }
        }
        for (inbox, messages) in self.inboxes.iter().zip(&mut sorted).filter(|(_, m)| !m.is_empty()) {
            inbox.put(messages);
        }
    }

    /// Brings one.
    pub(crate) fn put_one(&self, msg: Msg) {
        self.put(&mut vec![msg]);
    }

    /// Ends all loops; the answer can be waited for.
    pub(crate) fn halt(&self) -> Vec<JoinHandle<()>> {
        self.inboxes.iter().for_each(|inbox| inbox.put_one(Msg::Halt));
        std::mem::take(&mut self.lock().threads)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A node that could not start leaves no thread behind.
impl Drop for Loops {
    fn drop(&mut self) {
        self.halt();
    }
}

impl State {
    /// The loop in which a torrent lives; the first, if it is gone.
    fn home(&self, torrent: TorrentId) -> usize {
        self.homes.get(&torrent).map_or(0, |home| home.shard)
    }

    /// The loop that a message is for.
    fn to(&self, msg: &Msg) -> usize {
        match msg {
            Msg::Input(Input::Add(torrent, _) | Input::Command(torrent, _))
            | Msg::Disk(
                Work::Job(torrent, _) | Work::Open(torrent, ..) | Work::Close(torrent, _) | Work::Sync(torrent, _),
            )
            | Msg::Storage(torrent, _)
            | Msg::Ask(torrent, _) => self.home(*torrent),
            Msg::Input(Input::Fetched { job, .. } | Input::Resolved { job, .. }) => job.index() % self.loads.len(),
            Msg::Letter(letter, _) => letter.to().index(),
            // The rest is the gate's.
            Msg::Input(_) | Msg::Halt => 0,
        }
    }

    /// Starts a loop, if it does not run yet.
    fn wake(&mut self, shard: usize) -> io::Result<()> {
        let Some(make) = self.asleep[shard].take() else { return Ok(()) };
        let driver = make()?;
        let thread = std::thread::Builder::new().name(format!("shard-{shard}")).spawn(move || {
            if let Err(e) = driver.run() {
                tracing::error!("the network has stopped: {e}");
            }
        })?;
        self.threads.push(thread);
        Ok(())
    }
}

impl std::fmt::Debug for Loops {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loops").field("shards", &self.inboxes.len()).finish_non_exhaustive()
    }
}
