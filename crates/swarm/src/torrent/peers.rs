//! Who comes and goes, who is dialled, and what time brings.

use super::{FORMER_MAX, Life, Torrent, opening, source_is_allowed};
use crate::pieces::{PeerSlot, Pieces};
use crate::session::Session;
use crate::{CloseReason, Event, Flaw, NewPeer, Output, Source};
use base::{Instant, Payload};
use std::net::SocketAddr;
use std::time::Duration;
use wire::message::{Limits, Message};

/// A peer that says nothing for so long is gone.
const SILENCE_MAX: Duration = Duration::from_secs(180);
/// Others close after 120 s without a word.
const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(100);
/// Without a byte of what was asked for, ask elsewhere.
pub(super) const STALL_AFTER: Duration = Duration::from_secs(20);
/// And after this, the peer has snubbed us.
const SNUB_AFTER: Duration = Duration::from_secs(60);
/// Between timers while somebody could be asked for something, and there is nothing to ask for.
pub(super) const TICK_BUSY: Duration = Duration::from_secs(1);
/// Between timers while something is missing and nothing moves.
const TICK_IDLE: Duration = Duration::from_secs(10);
/// Sessions that have nothing to do are looked at no more often than this, all of them together.
const QUIET_PAUSE: Duration = Duration::from_secs(5);
/// A seed that met so many other seeds, or saw peers become seeds, since it last dialled one that is none, dials one address at
/// a time, and waits longer each time: in a swarm whose peers finish together all would meet all others for nothing.
const VAIN_DIALS_MAX: u8 = 8;
/// But no longer than this.
const VAIN_PAUSE_MAX: Duration = Duration::from_secs(60);
/// Whom other peers named is dialled while fewer than this part of all connections are there.
const FRIENDS_SHARE: usize = 2;
/// With fewer sessions than this, somebody may be waiting for others every second.
const SESSIONS_FEW: usize = 10;
/// Connections to the same peer that begin within this are two halves of one meeting.
const AT_ONCE: Duration = Duration::from_secs(10);
/// How often one useless peer makes room for an address that was not tried yet.
const TURNOVER: Duration = Duration::from_secs(120);

impl<P: Payload> Torrent<P> {
    pub(super) fn add_candidates(&mut self, now: Instant, source: Source, addrs: Vec<SocketAddr>) {
        if !source_is_allowed(self.private, source) {
            return;
        }
        let mut added = false;
        for addr in addrs {
            added |= self.candidates.add(now, addr, source) || source == Source::User;
        }
        if added && self.life == Life::Running {
            self.tick_at = self.tick_at.min(now);
        }
    }

    pub(super) fn dial_failed(&mut self, now: Instant, addr: SocketAddr, postponed: bool) {
        self.dialling = self.dialling.saturating_sub(1);
        if postponed {
            self.candidates.postponed(now, addr);
        } else {
            self.candidates.failed(now, addr);
        }
        self.tick_at = self.tick_at.min(now + TICK_BUSY);
    }

    pub(super) fn peer_joined(&mut self, now: Instant, peer: NewPeer) {
        if peer.outgoing {
            self.dialling = self.dialling.saturating_sub(1);
        }
        let refuse = self.refusal(now, &peer);
        if let Some(reason) = refuse {
            if peer.outgoing {
                // The other session to the same peer may have come in: this address need not be dialled meanwhile.
                self.candidates.failed(now, peer.addr);
            }
            self.out.push_back(Output::Close { conn: peer.conn, reason });
            return;
        }
        let slot = PeerSlot(self.slots_used);
        self.slots_used += 1;
        let (limits, cursor) = match &self.open {
            Some(open) => (opening::limits(&open.plan.geometry), open.have_log.len() as u32),
            None => (Limits::default(), 0),
        };
        if peer.outgoing {
            self.candidates.connected(peer.addr);
        }
        let mut session = Session::new(now, slot, peer, limits, cursor);
        if let Some(open) = &mut self.open {
            open.picker.add_peer(&Pieces::None);
            session.counted = true;
        }
        self.by_conn.insert(session.conn, slot);
        self.sessions.insert(slot, Box::new(session));
        self.greet(slot);
        self.wake(slot);
        self.quiet_at = self.quiet_at.min(now + KEEP_ALIVE_AFTER);
        self.tick_at = self.tick_at.min(now + TICK_BUSY);
    }

    /// Why a new peer can't stay, if it can't. Makes room for it where that is better.
    fn refusal(&mut self, now: Instant, peer: &NewPeer) -> Option<CloseReason> {
        if self.life != Life::Running {
            return Some(CloseReason::Stopped);
        }
        if self.candidates.is_banned(peer.addr) {
            return Some(CloseReason::Banned);
        }
        let old = self.sessions.values().find(|s| s.peer_id == peer.peer_id);
        if let Some((slot, better)) = old.map(|old| (old.slot, self.is_the_better_half(now, old, peer))) {
            if !better {
                return Some(CloseReason::Duplicate);
            }
            self.close(now, slot, CloseReason::Duplicate);
        }
        if self.sessions.len() >= self.settings.connections_max {
            match self.least_useful(now) {
                Some(slot) => self.close(now, slot, CloseReason::Limit),
                None => return Some(CloseReason::Limit),
            }
        }
        None
    }

    /// Two who dial each other at once have two connections, and if each kept its first one, both would be closed, again and
    /// again. Both keep the one that was dialled by who listens on the lower port, as libtorrent does; where the ports are the
    /// same, by who has the lower id.
    fn is_the_better_half(&self, now: Instant, old: &Session<P>, new: &NewPeer) -> bool {
        if old.outgoing == new.outgoing || now - old.connected_at >= AT_ONCE {
            return false;
        }
        let their_port = if new.outgoing { new.addr.port() } else { old.addr.port() };
        let ours = (self.settings.port, self.settings.peer_id) < (their_port, new.peer_id);
        new.outgoing == ours
    }

    /// A session that neither gives nor takes and has had its time.
    fn least_useful(&self, now: Instant) -> Option<PeerSlot> {
        let useless = |s: &Session<P>| {
            let young = now - s.connected_at < Duration::from_secs(30);
            let gives = !s.snubbed && (s.am_interested || !s.requests.is_empty());
            !young && !gives && s.upload_queue.is_empty() && !s.peer_interested
        };
        self.sessions.values().filter(|s| useless(s)).min_by_key(|s| s.received_at).map(|s| s.slot)
    }

    /// Drops a session.
    pub(super) fn close(&mut self, now: Instant, slot: PeerSlot, reason: CloseReason) {
        if let Some(s) = self.sessions.get(slot) {
            self.out.push_back(Output::Close { conn: s.conn, reason });
            let failed = matches!(reason, CloseReason::Protocol | CloseReason::Timeout | CloseReason::Limit);
            self.remove_session(now, slot, failed);
        }
    }

    /// A session is gone.
    pub(super) fn remove_session(&mut self, now: Instant, slot: PeerSlot, failed: bool) {
        let Some(mut s) = self.sessions.remove(slot) else { return };
        self.by_conn.remove(s.conn);
        self.note_lost(&s);
        self.metadata.gone(slot);
        if let Some(open) = &mut self.open {
            for r in s.take_requests() {
                if self.settings.has(Flaw::ForgetsWhatWasAsked) {
                    continue;
                }
                open.picker.abandoned(r.piece, r.block, slot);
                self.poke = true;
            }
            if s.counted {
                open.picker.remove_peer(&s.pieces);
            }
        }
        self.former.insert(slot, s.addr);
        if self.former.len() > FORMER_MAX {
            self.former.pop_first();
        }
        if s.listen_port != 0 {
            let addr = SocketAddr::new(s.addr.ip(), s.listen_port);
            self.candidates.disconnected(now, addr, s.pieces.is_all(), false);
        } else if s.outgoing {
            // Gone before a word is a failure too: it may refuse us for good.
            let mute = s.downloaded == 0 && s.uploaded == 0 && now - s.connected_at < Duration::from_secs(10);
            self.candidates.disconnected(now, s.addr, s.pieces.is_all(), failed || mute);
        }
        if !s.am_choking {
            self.rechoke_at = self.rechoke_at.min(now + Duration::from_millis(100));
        }
        self.tick_at = self.tick_at.min(now + TICK_BUSY);
    }

    /// Drops a peer for good.
    pub(super) fn ban(&mut self, now: Instant, slot: PeerSlot, why: String) {
        if self.settings.has(Flaw::BansNobody) {
            return;
        }
        if self.ban_server(slot, &why) {
            return;
        }
        let addr = match self.sessions.get(slot) {
            Some(s) => s.addr,
            None => match self.former.get(&slot) {
                Some(addr) => *addr,
                None => return,
            },
        };
        self.candidates.ban(addr);
        self.close(now, slot, CloseReason::Banned);
        // It may be back already, on another connection.
        let others: Vec<_> = self.sessions.values().filter(|s| s.addr == addr).map(|s| s.slot).collect();
        for slot in others {
            self.close(now, slot, CloseReason::Banned);
        }
        self.event(Event::Banned { addr, why });
    }

    /// Everything that is due. Cheap when nothing is.
    pub(super) fn run_timers(&mut self, now: Instant) {
        if self.tick_at > now {
            return;
        }
        self.tick_at = Instant::NEVER;
        if self.life != Life::Running {
            return;
        }
        self.time_sessions(now);
        self.time_servers(now);
        if self.news.due <= now {
            self.tell_all();
        }
        self.run_exchange(now);
        if self.rechoke_at <= now {
            self.rechoke(now);
        }
        if self.open.is_none() {
            self.ask_metadata_of_all(now);
        }
        self.turnover(now);
        self.dial(now);
        self.set_tick(now);
        if !self.out.is_empty() {
            // What is said now leaves queues behind that give back their memory at the next look.
            self.tick_at = self.tick_at.min(now + QUIET_PAUSE);
        }
    }

    /// What is due for sessions: soon for those that are asked for something or could be, now and then for the others.
    fn time_sessions(&mut self, now: Instant) {
        if self.quiet_at <= now {
            self.time_quiet_sessions(now);
        }
        let mut timed = std::mem::take(&mut self.timed);
        timed.sort_unstable();
        let mut next = Instant::NEVER;
        timed.retain(|slot| {
            let due = self.time_session(now, *slot);
            next = next.min(due.unwrap_or(Instant::NEVER));
            due.is_some()
        });
        self.tick_at = self.tick_at.min(next);
        // Nobody is added meanwhile who is not there already: only these are refilled.
        timed.append(&mut self.timed);
        self.timed = timed;
    }

    /// Silence and keep-alives of all sessions.
    fn time_quiet_sessions(&mut self, now: Instant) {
        let mut next = Instant::NEVER;
        let mut at = 0;
        while let Some((slot, s)) = self.sessions.at_mut(at) {
            if now - s.received_at >= SILENCE_MAX {
                // The next one takes its place.
                self.close(now, slot, CloseReason::Timeout);
                continue;
            }
            at += 1;
            next = next.min(s.received_at + SILENCE_MAX);
            if now - s.sent_at < KEEP_ALIVE_AFTER {
                next = next.min(s.sent_at + KEEP_ALIVE_AFTER);
                continue;
            }
            next = next.min(now + KEEP_ALIVE_AFTER);
            if s.out.is_empty() && s.upload_queue.is_empty() {
                s.sent_at = now;
                s.say(&Message::KeepAlive);
                self.wake(slot);
            }
        }
        self.quiet_at = next.max(now + QUIET_PAUSE);
    }

    /// A session that is asked for something or could be: when it is to be looked at again. None if it is neither any more.
    fn time_session(&mut self, now: Instant, slot: PeerSlot) -> Option<Instant> {
        let block_size = self.open.as_ref().map_or(base::BLOCK_SIZE, |o| o.plan.geometry.block_size());
        let s = self.sessions.get_mut(slot)?;
        if s.requests.is_empty() {
            s.timed = s.am_interested && !s.peer_choking;
            if !s.timed {
                return None;
            }
            self.refill(now, slot);
            return Some(now + TICK_BUSY);
        }
        s.down.advance(now);
        let rate = s.down.per_second(now);
        if rate > 0 && s.pipeline.is_growing() && s.pipeline.is_due(now) {
            s.pipeline.tick(rate, block_size, self.settings.requests_max);
        }
        // Since the last byte, or, once it has stalled, since it was asked for one more block to see if it goes on.
        let idle = now - s.progress_at;
        let patience = if s.stalled { SNUB_AFTER - STALL_AFTER } else { STALL_AFTER };
        if idle >= patience {
            s.snubbed = s.stalled;
            s.stalled = true;
            s.pipeline.reset();
            let said = s.requests.len() - usize::from(s.unsaid);
            let requests = s.take_requests();
            if let Some(open) = &mut self.open {
                let g = open.plan.geometry;
                for (i, r) in requests.into_iter().enumerate() {
                    open.picker.abandoned(r.piece, r.block, slot);
                    // Else it may send what others were asked for meanwhile, or be asked for it twice.
                    if i < said {
                        let (begin, len) = (g.block_begin(r.block), g.block_len(r.piece, r.block));
                        s.say(&Message::Cancel { piece: r.piece.0, begin, len });
                    }
                }
            }
            self.wake(slot);
            self.poke = true;
            return Some(now + TICK_BUSY);
        }
        let due = s.progress_at + patience;
        Some(if rate > 0 && s.pipeline.is_growing() { due.min(now + TICK_BUSY) } else { due })
    }

    /// Now and then a useless peer makes room for an address that was not tried yet.
    fn turnover(&mut self, now: Instant) {
        if self.turnover_at > now {
            return;
        }
        self.turnover_at = now + TURNOVER;
        if self.sessions.len() >= self.settings.connections_max
            && self.candidates.due().is_some_and(|t| t <= now)
            && let Some(slot) = self.least_useful(now)
        {
            self.close(now, slot, CloseReason::Limit);
        }
    }

    fn dial(&mut self, now: Instant) {
        if self.open.as_ref().is_some_and(|o| o.to_check.is_some()) {
            return;
        }
        let mut room = self.settings.connections_max.saturating_sub(self.sessions.len() + self.dialling);
        let seeds = !self.is_complete();
        // Who is dialled by us is told of us as well, and dials: half of the room is for those.
        room = room.div_ceil(2);
        if let (false, Some(vain)) = (seeds, self.vain_dials.checked_sub(VAIN_DIALS_MAX)) {
            if now < self.dial_at {
                return;
            }
            room = room.min(1);
            self.dial_at = now + Duration::from_secs(1 + u64::from(vain)).min(VAIN_PAUSE_MAX);
        }
        // Friends of friends know each other already: a swarm of such is cliques, and pieces come slowly from one to the next. They fill
        // up what trackers, which name anybody, leave empty, and never all of it.
        let met = self.sessions.len() + self.dialling;
        let friends = (self.settings.connections_max / FRIENDS_SHARE).max(1).saturating_sub(met);
        for addr in self.candidates.take(now, room, friends, seeds, &mut self.rng) {
            self.dialling += 1;
            self.out.push_back(Output::Dial { addr });
        }
    }

    /// When something is due next.
    fn set_tick(&mut self, now: Instant) {
        let mut at = Instant::NEVER;
        if !self.sessions.is_empty() {
            let few = self.sessions.len() < SESSIONS_FEW;
            at = self.quiet_at.min(self.news.due).min(self.exchange.due);
            if self.open.is_none() || (few && self.is_fetching()) {
                at = at.min(now + TICK_BUSY);
            } else if self.is_fetching() {
                at = at.min(now + TICK_IDLE);
            }
            if self.sessions.values().any(|s| s.peer_interested || !s.am_choking) {
                at = at.min(self.rechoke_at.max(now + TICK_BUSY));
            }
        }
        if let Some(due) = self.candidates.due() {
            let room = self.sessions.len() + self.dialling < self.settings.connections_max;
            let from = if room { self.dial_at.max(now + TICK_BUSY) } else { self.turnover_at.max(now + TICK_IDLE) };
            at = at.min(due.max(from));
        }
        self.tick_at = self.tick_at.min(at);
    }

    /// Peers that could be asked for more are, once blocks were freed.
    pub(super) fn poke_if_needed(&mut self, now: Instant) {
        while std::mem::take(&mut self.poke) {
            self.fill_servers(now);
            if !self.is_fetching() {
                return;
            }
            // Whoever could be asked is among these, and they are few.
            self.timed.sort_unstable();
            for at in 0..self.timed.len() {
                self.refill(now, self.timed[at]);
            }
        }
    }
}
