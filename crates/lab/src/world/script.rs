//! What befalls the peers of a world, and when.

use super::World;
use super::peer::{Saved, addr_of};
use crate::queue::{Event, PeerIx};
use crate::world::Discovery;
use base::{Bitfield, Instant, PieceIndex};
use engine::{Command, Input};
use std::time::Duration;
use swarm::Source;

/// Between two tellings of who is there.
const TELL: Duration = Duration::from_secs(60);
/// How often a condition is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A line of the script.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// The peer comes, or comes back with what its disk and its saved state hold.
    Start(usize),
    /// The peer comes back and hashes first what it holds beyond the saved state, or everything.
    StartChecking(usize),
    /// The peer says goodbye and leaves.
    Leave(usize),
    /// The peer leaves as soon as every piece has a copy with somebody who came without it.
    LeaveWhenCovered(usize),
    /// Its process dies: the connections break, the disk keeps what was written.
    Kill(usize),
    /// Its power fails: the connections fall silent, the disk keeps what was synced and perhaps more.
    PowerLoss(usize),
    /// Disk and saved state are synced, as the hands do now and then.
    Sync(usize),
    /// Bits of a block on its disk flip, if it is down.
    Rot(usize, PieceIndex, u32),
    /// Its link is slower by this factor; 1 clears it.
    Clog(usize, u64),
    /// These peers and the others can't hear each other for a while. Connections stay, and dials end after a while.
    Cut(Vec<usize>, Duration),
    /// Every connection of the peer is lost.
    Disconnect(usize),
}

/// Peers that are apart from the others.
#[derive(Clone, Debug)]
pub(super) struct Cut {
    apart: Vec<bool>,
    pub(super) until: Instant,
}

impl Cut {
    pub(super) fn apart(&self, ix: PeerIx) -> bool {
        self.apart.get(ix as usize).copied().unwrap_or(false)
    }
}

impl World {
    pub(super) fn act(&mut self, number: u32) {
        let action = self.script[number as usize].clone();
        match action {
            Action::Start(ix) => self.start(ix as PeerIx, false),
            Action::StartChecking(ix) => self.start(ix as PeerIx, true),
            Action::Leave(ix) => self.leave(ix as PeerIx),
            Action::LeaveWhenCovered(ix) if self.is_covered() => self.leave(ix as PeerIx),
            Action::LeaveWhenCovered(_) => self.queue.push(self.after(LOOK), Event::Script(number)),
            Action::Kill(ix) => {
                self.down(ix as PeerIx, true);
                self.peers[ix].disk.kill();
            }
            Action::PowerLoss(ix) => {
                self.down(ix as PeerIx, false);
                let peer = &mut self.peers[ix];
                peer.disk.power_loss(&mut peer.rng);
                peer.saved = peer.synced.clone();
                peer.stats.damaged = true;
            }
            Action::Sync(ix) => {
                let peer = &mut self.peers[ix];
                peer.disk.sync();
                peer.synced = Saved { ..peer.saved.clone() };
            }
            Action::Rot(ix, piece, block) => {
                let peer = &mut self.peers[ix];
                if peer.engine.is_none() {
                    peer.rotted |= peer.disk.rot(piece, block);
                    peer.stats.damaged = true;
                }
            }
            Action::Clog(ix, factor) => self.clog(ix as PeerIx, factor),
            Action::Cut(group, time) => {
                let mut apart = vec![false; self.peers.len()];
                group.into_iter().for_each(|ix| apart[ix] = true);
                self.cut = Some(Cut { apart, until: self.after(time) });
            }
            Action::Disconnect(ix) => {
                let keys: Vec<_> = self.peers[ix].conns.sorted().into_iter().map(|(_, (key, _))| key).collect();
                keys.into_iter().for_each(|key| self.lost(key));
            }
        }
    }

    fn start(&mut self, ix: PeerIx, checking: bool) {
        let peer = &mut self.peers[ix as usize];
        if peer.engine.is_some() {
            return;
        }
        // What the disk may hold beyond the saved state is there as blocks, or hashed first if so wished.
        let check = checking.then(|| Bitfield::full(self.spec.plan.geometry.piece_count()));
        let tiers = self.tracker.as_ref().map(|t| vec![vec![t.url()]]).unwrap_or_default();
        peer.start(self.now, &self.spec, tiers, check);
        peer.stats.started_at.get_or_insert(self.now);
        peer.stats.left_at = None;
        if peer.stats.lives > 1 {
            self.recopy(ix);
        }
        if let Discovery::Told(_) = self.spec.discovery {
            self.queue.push(self.now, Event::Tell(ix));
        }
        self.settle(ix);
    }

    /// A peer is told of some others that are up and of use to it.
    pub(super) fn tell(&mut self, ix: PeerIx) {
        let Discovery::Told(count) = self.spec.discovery else { return };
        if self.peers[ix as usize].engine.is_none() {
            return;
        }
        let mut others: Vec<PeerIx> = if self.peers.len() <= 4 * count {
            (0..self.peers.len() as PeerIx).collect()
        } else {
            // A few more than are needed, since some are not up or named twice.
            let mut some: Vec<PeerIx> = Vec::with_capacity(2 * count);
            let all = self.peers.len() as u64;
            for _ in 0..2 * count {
                some.push(self.peers[ix as usize].rng.below(all) as PeerIx);
            }
            some.sort_unstable();
            some.dedup();
            some
        };
        // As trackers do it: who has everything is told of those who have not.
        let finished = |ix: PeerIx| self.peers[ix as usize].disk.good().is_full();
        let all = finished(ix);
        others.retain(|o| *o != ix && self.peers[*o as usize].engine.is_some() && !(all && finished(*o)));
        self.peers[ix as usize].rng.shuffle(&mut others);
        let addrs = others.into_iter().take(count).map(addr_of).collect();
        self.queue.push(self.after(TELL), Event::Tell(ix));
        self.feed(ix, Input::Command(super::TORRENT, Command::Peers { source: Source::Tracker, addrs }));
    }

    fn leave(&mut self, ix: PeerIx) {
        if self.peers[ix as usize].engine.is_some() {
            self.give_up(ix);
            self.feed(ix, Input::Shutdown);
        }
    }

    /// A process ends. Its connections break if `told`, else they fall silent.
    pub(super) fn down(&mut self, ix: PeerIx, told: bool) {
        if self.peers[ix as usize].engine.is_none() {
            return;
        }
        self.balance_of(ix);
        self.uncopy(ix);
        let peer = &mut self.peers[ix as usize];
        peer.engine = None;
        peer.inbox.clear();
        peer.armed = Instant::NEVER;
        peer.link.ready.clear();
        peer.stats.left_at = Some(self.now);
        for (_, (key, side)) in std::mem::take(&mut peer.conns).sorted() {
            self.end(key, side, told);
        }
        self.trace.mark(self.now, ix, "down");
    }
}
