//! What engines say, done by the hands that the world plays.

use super::peer::peer_at;
use super::{Role, TORRENT, World};
use crate::queue::{Event, PeerIx};
use base::{Instant, JobId};
use engine::{Input, Output, TorrentEvent};
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tracker::HttpReply;

/// One way between a peer and the tracker.
const TRACKER_LATENCY: Duration = Duration::from_millis(40);

/// A message between a peer and the tracker, under way.
#[derive(Debug)]
pub(super) struct Post {
    peer: PeerIx,
    /// Which life of the peer it belongs to.
    life: u32,
    what: Mail,
}

#[derive(Debug)]
enum Mail {
    Ask { job: JobId, url: String },
    Answer { job: JobId, result: Result<HttpReply, String> },
    Datagram { data: Vec<u8> },
    Reply { from: SocketAddr, data: Vec<u8> },
    Resolved { job: JobId, result: Result<Vec<SocketAddr>, String> },
}

impl World {
    pub(super) fn output(&mut self, ix: PeerIx, output: Output<crate::Payload>) {
        match output {
            Output::Dial { conn, to } => self.dial(ix, conn, to),
            Output::Close { conn } => self.close(ix, conn),
            Output::Wake { conn } => self.wake(ix, conn),
            Output::Credit { conn, bytes } => self.credit(ix, conn, bytes),
            Output::Disk { job, .. } => {
                let peer = &mut self.peers[ix as usize];
                if let Some(at) = peer.disk.submit(self.now, job)
                    && !peer.disk_armed
                {
                    peer.disk_armed = true;
                    self.queue.push(at, Event::Disk(ix));
                }
            }
            Output::Fetch { job, url, .. } => self.mail(ix, TRACKER_LATENCY, Mail::Ask { job, url }),
            Output::Resolve { job, host, port } => {
                let ip = host.trim_matches(['[', ']']).parse::<IpAddr>();
                let result = ip.map(|ip| vec![SocketAddr::new(ip, port)]).map_err(|_| format!("no such host: {host}"));
                self.mail(ix, Duration::ZERO, Mail::Resolved { job, result });
            }
            Output::Datagram { data, .. } => self.mail(ix, TRACKER_LATENCY, Mail::Datagram { data }),
            Output::Stream { source, .. } => self.violate(ix, format!("asks server {source}, and there is none")),
            // An engine in one piece delivers them itself.
            Output::Letter(_) => self.violate(ix, "lets a letter out".into()),
            Output::Event(_, event) => self.news(ix, event),
            Output::Finished => self.depart(ix),
        }
    }

    fn mail(&mut self, peer: PeerIx, after: Duration, what: Mail) {
        let life = self.peers[peer as usize].stats.lives;
        self.posts_made = self.posts_made.wrapping_add(1);
        self.posts.insert(self.posts_made, Post { peer, life, what });
        self.queue.push(self.now + after, Event::Post(self.posts_made));
    }

    pub(super) fn post(&mut self, number: u32) {
        let Some(Post { peer, life, what }) = self.posts.remove(&number) else { return };
        let up = self.peers[peer as usize].engine.is_some() && self.peers[peer as usize].stats.lives == life;
        let from = self.peers[peer as usize].addr();
        match what {
            Mail::Ask { job, url } => {
                let result = match &mut self.tracker {
                    Some(tracker) => tracker.fetch(self.now, &url, from.ip()),
                    None => Err("connection refused".into()),
                };
                self.mail(peer, TRACKER_LATENCY, Mail::Answer { job, result });
            }
            Mail::Datagram { data } => {
                if let Some((from, data)) = self.tracker.as_mut().and_then(|t| t.datagram(self.now, from, &data)) {
                    self.mail(peer, TRACKER_LATENCY, Mail::Reply { from, data });
                }
            }
            _ if !up => {}
            Mail::Answer { job, result } => self.feed(peer, Input::Fetched { job, result }),
            Mail::Reply { from, data } => self.feed(peer, Input::Datagram { from, data }),
            Mail::Resolved { job, result } => self.feed(peer, Input::Resolved { job, result }),
        }
    }

    fn news(&mut self, ix: PeerIx, event: TorrentEvent) {
        let TorrentEvent::Swarm(event) = event else { return };
        let peer = &mut self.peers[ix as usize];
        match event {
            swarm::Event::Metadata(info) => {
                if info != self.spec.info {
                    self.violate(ix, "was given a wrong info dictionary".into());
                    return;
                }
                peer.saved.info = true;
                peer.open(&self.spec, None);
            }
            swarm::Event::PieceGood(piece) => {
                if !peer.disk.good().has(piece.0) {
                    self.violate(ix, format!("calls piece {piece} good, which is bad"));
                    return;
                }
                let new = peer.saved.have.as_mut().is_some_and(|have| have.set(piece.0));
                if !new {
                    self.violate(ix, format!("fetched piece {piece} again, which it had"));
                } else if !self.peers[ix as usize].is_seed() {
                    self.copy(piece.0);
                }
            }
            swarm::Event::PieceBad(_) => peer.stats.pieces_bad += 1,
            swarm::Event::CheckedAll { good } => {
                // What was checked and found good is had from now on, exactly as if it had been fetched.
                let truth = peer.disk.good().count();
                peer.saved.have = Some(peer.disk.good().clone());
                if good > truth {
                    self.violate(ix, format!("counts {good} good pieces where the disk has {truth}"));
                }
            }
            swarm::Event::ServerDropped { name, .. } => self.violate(ix, format!("leaves {name}, and there is none")),
            swarm::Event::Complete => self.complete(ix),
            swarm::Event::Banned { addr, why } => {
                let Some(banned) = peer_at(addr.ip(), self.peers.len()) else { return };
                let suspect = &self.peers[banned as usize];
                let innocent = !matches!(suspect.spec.role, Role::Liar { .. }) && !suspect.rotted;
                self.peers[ix as usize].stats.banned.push(banned as usize);
                if innocent {
                    self.violate(ix, format!("banned peer {banned}, which is honest: {why}"));
                }
            }
            swarm::Event::Stopped { error } => {
                let expected = peer.spec.disk.space.is_some() || peer.spec.disk.fails_at_job.is_some();
                peer.stats.stopped = Some(error.clone());
                if expected {
                    self.give_up(ix);
                } else {
                    self.violate(ix, format!("stopped although its disk is sound: {error}"));
                }
            }
        }
    }

    fn complete(&mut self, ix: PeerIx) {
        let peer = &mut self.peers[ix as usize];
        if !peer.disk.good().is_full() {
            let (good, all) = (peer.disk.good().count(), peer.disk.good().len());
            self.violate(ix, format!("says that it is complete, with {good} of {all} pieces"));
            return;
        }
        let first = peer.stats.complete_at.is_none();
        peer.stats.complete_at.get_or_insert(self.now);
        if first && peer.spec.must_finish {
            self.waiting -= 1;
        }
        if peer.spec.leaves_when_done && !peer.is_seed() {
            peer.inbox.push_back(Input::Shutdown);
        }
    }

    /// The engine has said goodbye: the process ends.
    fn depart(&mut self, ix: PeerIx) {
        self.down(ix, true);
    }

    /// Nobody waits for this one any more.
    pub(super) fn give_up(&mut self, ix: PeerIx) {
        let peer = &mut self.peers[ix as usize];
        if std::mem::take(&mut peer.spec.must_finish) && peer.stats.complete_at.is_none() {
            self.waiting -= 1;
        }
    }

    /// What the engine of a peer counts, against what really came: no byte is lost or counted twice.
    pub(super) fn balance_of(&mut self, ix: PeerIx) {
        let peer = &mut self.peers[ix as usize];
        let Some(status) = peer.engine.as_ref().and_then(|e| e.status(self.now, TORRENT)) else { return };
        peer.stats.wasted += status.wasted;
        let (counted, real) = (status.downloaded, peer.received_in_life);
        // A block is counted when it is whole: what is under way on a connection is not in yet, or was lost with it.
        let partial = peer.conns_in_life * u64::from(self.spec.plan.geometry.block_size());
        if counted > real || counted + partial < real {
            self.violate(ix, format!("counts {counted} bytes downloaded where {real} came"));
        }
    }

    /// The same for everybody, at the end.
    pub(super) fn balance(&mut self) -> Result<(), super::Violation> {
        for ix in 0..self.peers.len() as PeerIx {
            self.balance_of(ix);
        }
        self.violation.take().map_or(Ok(()), Err)
    }

    /// At most as many peers are unchoked at once as there are slots.
    pub(super) fn count_slots(&mut self, ix: PeerIx) {
        if !self.spec.watch {
            return;
        }
        let peer = &self.peers[ix as usize];
        let Some(engine) = &peer.engine else { return };
        let open = engine.peers(self.now, TORRENT).iter().filter(|p| !p.am_choking).count();
        let slots = peer.spec.config.unchoke_slots;
        if open > slots && peer.spec.choker.is_none() {
            self.violate(ix, format!("has {open} peers unchoked with {slots} slots"));
        }
    }

    /// One more peer has this piece.
    fn copy(&mut self, piece: u32) {
        let copies = &mut self.copies[piece as usize];
        *copies += 1;
        if *copies == 1 {
            self.covered += 1;
        }
    }

    /// When nothing but the origins is needed any more: every piece has a copy elsewhere.
    pub(super) fn is_covered(&self) -> bool {
        self.covered as usize == self.copies.len()
    }

    /// The peer at `ix` is gone, and its copies with it.
    pub(super) fn uncopy(&mut self, ix: PeerIx) {
        if self.peers[ix as usize].is_seed() {
            return;
        }
        let Some(have) = self.peers[ix as usize].saved.have.clone() else { return };
        for piece in have.ones() {
            let copies = &mut self.copies[piece as usize];
            *copies = copies.saturating_sub(1);
            if *copies == 0 {
                self.covered -= 1;
            }
        }
    }

    /// And back again.
    pub(super) fn recopy(&mut self, ix: PeerIx) {
        if self.peers[ix as usize].is_seed() {
            return;
        }
        let Some(have) = self.peers[ix as usize].saved.have.clone() else { return };
        have.ones().for_each(|piece| self.copy(piece));
    }

    /// The clock, for those who need a deadline of their own.
    pub(super) fn after(&self, time: Duration) -> Instant {
        self.now + time
    }
}
