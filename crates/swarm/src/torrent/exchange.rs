//! Peer exchange (BEP 11): those who are connected to us hear of each other.
//!
//! A peer that speaks it is told whom we are connected to when it comes, and each minute who has come and gone since. Only peers whose
//! listening address is known are named, and only to those who may use it: nobody outside learns of addresses inside. What we are told is
//! believed as far as whoever says it is near ([`base::scope`]), and no more often than the BEP allows. Private torrents have none of it (BEP 27).

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
    /// Whom the others know us to be connected to, sorted by address.
    told: Vec<(SocketAddr, PexFlags)>,
}

impl Exchange {
    pub(super) const NONE: Exchange = Exchange { due: Instant::NEVER, told: Vec::new() };
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
        let met = self.met();
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let (own, near) = (s.listens_at(), scope_of(s));
        let Some(ext) = s.ext.as_mut().filter(|ext| !ext.pex_told) else { return };
        let Some(id) = ext.ids.id(Extension::Pex) else { return };
        ext.pex_told = true;
        if self.exchange.due == Instant::NEVER {
            self.exchange.due = now + ROUND;
            self.tick_at = self.tick_at.min(self.exchange.due);
        }
        let mut others: Vec<PexPeer> = met
            .into_iter()
            .filter(|(addr, _)| Some(*addr) != own && may_use(*addr, near))
            .map(|(addr, flags)| PexPeer { addr, flags })
            .collect();
        // In a large swarm everybody is told of others.
        self.rng.shuffle(&mut others);
        others.truncate(PEX_PEERS_MAX);
        if !others.is_empty() {
            let payload = Pex { added: others, dropped: Vec::new() }.encode().into();
            s.say(&Message::Extended { id, payload });
            self.wake(slot);
        }
    }

    /// Whom we are connected to, as far as others can be, too; sorted by address.
    fn met(&self) -> Vec<(SocketAddr, PexFlags)> {
        let flags = |s: &Session<P>| {
            let seed = if s.is_seed() { PexFlags::SEED } else { PexFlags::default() };
            if s.outgoing { seed.with(PexFlags::REACHABLE) } else { seed }
        };
        let mut met: Vec<_> = self.sessions.values().filter_map(|s| Some((s.listens_at()?, flags(s)))).collect();
        met.sort_unstable_by_key(|(addr, flags)| (*addr, flags.0));
        met.dedup_by_key(|(addr, _)| *addr);
        met
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
        let met = self.met();
        let told = &mut self.exchange.told;
        let knows = |list: &[(SocketAddr, PexFlags)], addr| list.binary_search_by_key(&addr, |(a, _)| *a).is_ok();
        let lost = told.iter().map(|(addr, _)| *addr).filter(|addr| !knows(&met, *addr));
        let dropped: Vec<SocketAddr> = lost.take(PEX_PEERS_MAX).collect();
        let new = met.into_iter().filter(|(addr, _)| !knows(told, *addr));
        let added: Vec<(SocketAddr, PexFlags)> = new.take(PEX_PEERS_MAX).collect();
        told.retain(|(addr, _)| !dropped.contains(addr));
        told.extend(&added);
        told.sort_unstable_by_key(|(addr, _)| *addr);
        told.shrink_to_fit();
        if added.is_empty() && dropped.is_empty() {
            return;
        }
        // The same for all who are equally near.
        let payload = |near| {
            let named = added.iter().filter(|(addr, _)| may_use(*addr, near));
            let added: Vec<PexPeer> = named.map(|(addr, flags)| PexPeer { addr: *addr, flags: *flags }).collect();
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

    /// A peer names others.
    pub(super) fn told_of_peers(&mut self, now: Instant, slot: PeerSlot, payload: &[u8]) -> Result<(), Violation> {
        let pex = Pex::parse(payload).map_err(|_| Violation)?;
        let Some(s) = self.sessions.get_mut(slot) else { return Ok(()) };
        let near = scope_of(s);
        let Some(ext) = s.ext.as_mut() else { return Ok(()) };
        if ext.pex_heard.is_some_and(|at| now - at < SOONEST) {
            return Ok(());
        }
        ext.pex_heard = Some(now);
        let usable = |p: &&PexPeer| may_use(p.addr, near);
        let addrs: Vec<SocketAddr> = pex.added.iter().filter(usable).take(PEX_PEERS_MAX).map(|p| p.addr).collect();
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

/// How near a peer is: whom it may hear of, and whom it is believed to know.
fn scope_of<P>(session: &Session<P>) -> Scope {
    Scope::of(session.addr.ip()).unwrap_or(Scope::Global)
}

#[cfg(test)]
mod tests;
