//! Peer exchange (BEP 11): those who are connected to us hear of each other.
//!
//! A peer that speaks it is told whom we are connected to when it comes, and each minute who has come and gone since. Only peers whose
//! listening address is known are named, and only to those who may use it: nobody outside learns of addresses inside. What we are told is
//! believed as far as whoever says it is near ([`may_use`]), and no more often than the BEP allows. Private torrents have none of it (BEP 27).

use super::Torrent;
use super::messages::Violation;
use crate::Source;
use crate::pieces::PeerSlot;
use crate::session::Session;
use base::{Instant, Payload, Scope, may_use};
use std::net::SocketAddr;
use std::time::Duration;
use wire::extended::{Extension, PEX_PEERS_MAX, Pex, PexFlags, PexPeer};
use wire::message::Message;

/// Between two messages to one peer.
const ROUND: Duration = Duration::from_secs(60);
/// What comes sooner after the last message of the same peer is not read: clocks differ, and networks delay.
const SOONEST: Duration = Duration::from_secs(45);

/// Peer exchange in one torrent.
#[derive(Debug)]
pub(super) struct Exchange {
    /// When all are told again.
    pub(super) due: Instant,
    /// Whom the others know us to have met, and who has gone since.
    lost: Vec<SocketAddr>,
}

impl Exchange {
    pub(super) const NONE: Exchange = Exchange { due: Instant::NEVER, lost: Vec::new() };
}

impl<P: Payload> Torrent<P> {
    /// Do we speak it here?
    pub(super) fn exchanges(&self) -> bool {
        self.settings.pex && !self.private
    }

    /// A peer has said which extensions it speaks: it is told of the others at once.
    pub(super) fn begin_exchange(&mut self, now: Instant, slot: PeerSlot) {
        if !self.exchanges() {
            return;
        }
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let (own, near) = (s.listens_at(), scope_of(s));
        let Some(ext) = s.ext.as_mut().filter(|ext| !ext.pex_told) else { return };
        let Some(id) = ext.ids.id(Extension::Pex) else { return };
        ext.pex_told = true;
        if self.exchange.due == Instant::NEVER {
            self.exchange.due = now + ROUND;
            self.tick_at = self.tick_at.min(self.exchange.due);
        }
        let others = self.sessions.values().filter_map(named);
        let mut others: Vec<PexPeer> = others.filter(|p| Some(p.addr) != own && may_use(p.addr, near)).collect();
        // In a large swarm everybody is told of others.
        self.rng.shuffle(&mut others);
        others.truncate(PEX_PEERS_MAX);
        if let (false, Some(s)) = (others.is_empty(), self.sessions.get_mut(slot)) {
            let payload = Pex { added: others, dropped: Vec::new() }.encode().into();
            s.say(&Message::Extended { id, payload });
            self.wake(slot);
        }
    }

    /// Tells everybody who has come and gone.
    pub(super) fn run_exchange(&mut self, now: Instant) {
        if self.exchange.due > now {
            return;
        }
        let listens = |s: &Session<P>| s.ext.as_ref().is_some_and(|ext| ext.pex_told);
        if !self.exchanges() || !self.sessions.values().any(listens) {
            self.exchange = Exchange::NONE;
            return;
        }
        self.exchange.due = now + ROUND;
        let new = self.sessions.values().filter(|s| !s.named).filter_map(|s| Some((s.slot, named(s)?)));
        let new: Vec<(PeerSlot, PexPeer)> = new.take(PEX_PEERS_MAX).collect();
        for (slot, _) in &new {
            if let Some(s) = self.sessions.get_mut(*slot) {
                s.named = true;
            }
        }
        let added: Vec<PexPeer> = new.into_iter().map(|(_, peer)| peer).collect();
        let dropped = std::mem::take(&mut self.exchange.lost);
        if added.is_empty() && dropped.is_empty() {
            return;
        }
        // The same for all who are equally near.
        let payload = |near| {
            let added: Vec<PexPeer> = added.iter().copied().filter(|p| may_use(p.addr, near)).collect();
            let dropped: Vec<SocketAddr> = dropped.iter().copied().filter(|addr| may_use(*addr, near)).collect();
            (!added.is_empty() || !dropped.is_empty()).then(|| Pex { added, dropped }.encode())
        };
        let payloads = Scope::ALL.map(payload);
        let mut woken = Vec::new();
        for s in self.sessions.values_mut() {
            let near = Scope::ALL.iter().position(|scope| *scope == scope_of(s));
            let Some(payload) = near.and_then(|at| payloads[at].as_deref()) else { continue };
            let Some(ext) = s.ext.as_ref().filter(|ext| ext.pex_told) else { continue };
            if let Some(id) = ext.ids.id(Extension::Pex) {
                s.say(&Message::Extended { id, payload: payload.into() });
                woken.push(s.slot);
            }
        }
        woken.into_iter().for_each(|slot| self.wake(slot));
    }

    /// A session is gone: those who know of it are told in the next round.
    pub(super) fn note_lost(&mut self, session: &Session<P>) {
        if session.named && self.exchange.lost.len() < PEX_PEERS_MAX {
            self.exchange.lost.extend(session.listens_at());
        }
    }

    /// A peer names others.
    pub(super) fn told_of_peers(&mut self, now: Instant, slot: PeerSlot, payload: &[u8]) -> Result<(), Violation> {
        let pex = Pex::parse(payload).map_err(|_| Violation)?;
        let Some(s) = self.sessions.get_mut(slot) else { return Ok(()) };
        let near = scope_of(s);
        let Some(ext) = s.ext.as_mut() else { return Ok(()) };
        if ext.pex_heard != Instant::ZERO && now - ext.pex_heard < SOONEST {
            return Ok(());
        }
        ext.pex_heard = now;
        let usable = |p: &&PexPeer| may_use(p.addr, near);
        // More friends than there may be connections are of no use: others come with the next message.
        let room = self.settings.connections_max.saturating_sub(self.candidates.friends()).min(PEX_PEERS_MAX);
        let addrs: Vec<SocketAddr> = pex.added.iter().filter(usable).take(room).map(|p| p.addr).collect();
        self.add_candidates(now, Source::Exchange, addrs);
        let seeds = pex.added.iter().filter(|p| p.flags.has(PexFlags::SEED));
        seeds.for_each(|p| self.candidates.is_seed(p.addr));
        Ok(())
    }

    /// The torrent turned out to be private: whom strangers named is not to be met (BEP 27).
    pub(super) fn became_private(&mut self, now: Instant) {
        self.private = true;
        self.exchange = Exchange::NONE;
        let named = self.candidates.forget(Source::Exchange);
        let met = self.sessions.values().filter(|s| s.outgoing && named.contains(&s.addr));
        let slots: Vec<PeerSlot> = met.map(|s| s.slot).collect();
        for slot in slots {
            self.close(now, slot, crate::CloseReason::Private);
        }
    }
}

/// What others hear of a peer; None: nobody could dial it.
fn named<P: Payload>(session: &Session<P>) -> Option<PexPeer> {
    let seed = if session.is_seed() { PexFlags::SEED } else { PexFlags::default() };
    let flags = if session.outgoing { seed.with(PexFlags::REACHABLE) } else { seed };
    Some(PexPeer { addr: session.listens_at()?, flags })
}

/// How near a peer is: whom it may hear of, and whom it is believed to know.
fn scope_of<P>(session: &Session<P>) -> Scope {
    Scope::of(session.addr.ip()).unwrap_or(Scope::Global)
}

#[cfg(test)]
mod tests;
