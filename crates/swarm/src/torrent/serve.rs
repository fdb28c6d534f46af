//! What is given, and to whom.

use super::messages::Violation;
use super::{Life, Torrent};
use crate::choker::{Choker, PeerView, RECHOKE, SeedMode, Seeding, Slots, TitForTat};
use crate::pieces::PeerSlot;
use crate::session::{Asked, Session, UPLOAD_QUEUE_MAX};
use crate::{Flaw, Transmit};
use base::{ConnId, Instant, Payload, PieceIndex};
use wire::message::{Message, block_header};

/// The longest part that others ask for in one request.
const REQUEST_BYTES_MAX: u32 = 128 * 1024;
/// What stays allocated for messages of a session that has nothing to say.
const OUT_KEPT_MAX: usize = 4 * 1024;

/// The choker of those who still fetch.
pub(super) fn leeching_choker(slots: usize) -> Box<dyn Choker + Send> {
    Box::new(TitForTat::new(Slots::Fixed(slots)))
}

impl<P: Payload> Torrent<P> {
    /// Everything is here: other rules decide whom to serve.
    pub(super) fn seed_from_now_on(&mut self) {
        let Some(open) = &self.open else { return };
        if !self.choker_is_given {
            let slots = Slots::Fixed(self.settings.unchoke_slots);
            self.choker = Box::new(Seeding::new(SeedMode::default(), slots, open.plan.geometry.piece_length()));
        }
    }

    /// A request for a part of a piece.
    pub(super) fn asked(&mut self, slot: PeerSlot, piece: u32, begin: u32, len: u32) -> Result<(), Violation> {
        let Some(s) = self.sessions.get_mut(slot) else { return Ok(()) };
        let refuse = Message::Reject { piece, begin, len };
        let open = self.open.as_ref().filter(|_| self.life == Life::Running);
        let longest = open.map_or(0, |o| o.plan.geometry.block_size().max(REQUEST_BYTES_MAX));
        let valid = open.and_then(|o| {
            o.plan.geometry.range_in_piece(piece, begin, len).or_else(|| range_in_padding(&o.plan, piece, begin, len))
        });
        if open.is_some() && (valid.is_none() || len > longest) {
            return Err(Violation);
        }
        let had = valid.filter(|p| open.is_some_and(|o| o.picker.has(*p)));
        match had {
            Some(piece) if !s.am_choking && s.upload_queue.len() < UPLOAD_QUEUE_MAX => {
                s.upload_queue.push_back(Asked { piece, begin, len });
            }
            _ if s.fast => s.say(&refuse),
            _ => {}
        }
        Ok(())
    }

    /// A request is taken back.
    pub(super) fn cancelled(&mut self, slot: PeerSlot, piece: u32, begin: u32, len: u32) {
        let Some(s) = self.sessions.get_mut(slot) else { return };
        let at = s.upload_queue.iter().position(|a| *a == Asked { piece: PieceIndex(piece), begin, len });
        if let Some(at) = at {
            s.upload_queue.remove(at);
            if s.fast {
                s.say(&Message::Reject { piece, begin, len });
            }
        }
    }

    /// What a connection has to send, about `room` bytes. `allowance` is what may be uploaded now, in bytes of payload;
    /// the last block may exceed it. Where it runs out, [`Torrent::unthrottle`] goes on. Says the bytes of payload.
    pub fn poll_transmit(
        &mut self,
        now: Instant,
        conn: ConnId,
        room: usize,
        allowance: u64,
        out: &mut Transmit,
    ) -> u64 {
        let Some(slot) = self.by_conn.get(conn) else { return 0 };
        let Some(s) = self.sessions.get_mut(slot) else { return 0 };
        let mut used = 0;
        if let Some(open) = &self.open {
            let from = (s.have_cursor as usize).min(open.have_log.len());
            let haves = &open.have_log[from..];
            let header = if s.upload_queue.is_empty() { 0 } else { wire::message::BLOCK_HEADER_LEN };
            s.out.reserve_exact(9 * haves.len() + 17 * usize::from(s.unsaid) + header);
            for piece in haves {
                wire::message::encode(&Message::Have(piece.0), &mut s.out);
            }
            s.have_cursor = open.have_log.len() as u32;
            s.say_requests(&open.plan.geometry);
        }
        let before = out.bytes;
        if s.out.capacity() > OUT_KEPT_MAX || s.upload_queue.is_empty() && s.requests.is_empty() {
            out.owned_bytes(std::mem::take(&mut s.out));
        } else {
            out.bytes(&s.out);
            s.out.clear();
        }
        s.throttled = false;
        while out.bytes < room {
            let Some(asked) = s.upload_queue.front().copied() else { break };
            if used >= allowance {
                s.throttled = true;
                break;
            }
            s.upload_queue.pop_front();
            // It may have been found rotten since.
            if !self.open.as_ref().is_some_and(|o| o.picker.has(asked.piece)) {
                continue;
            }
            used += u64::from(asked.len);
            out.bytes(&block_header(asked.piece.0, asked.begin, asked.len));
            // What is behind the end of the last piece is padding that some clients ask for.
            let end = self.open.as_ref().map_or(0, |o| o.plan.geometry.piece_len(asked.piece));
            let there = asked.len.min(end.saturating_sub(asked.begin));
            if there > 0 {
                out.block(asked.piece, asked.begin, there);
            }
            if asked.len > there {
                out.bytes(&vec![0; (asked.len - there) as usize]);
            }
            s.uploaded += u64::from(asked.len);
            s.up.add(now, u64::from(asked.len));
            self.totals.uploaded += u64::from(asked.len);
        }
        if out.bytes == before {
            self.sessions.sleep(slot);
        } else {
            s.sent_at = now;
        }
        used
    }

    /// There is upload budget again: wakes whom it was missing.
    pub fn unthrottle(&mut self) {
        let waiting: Vec<PeerSlot> = self.sessions.values().filter(|s| s.throttled).map(|s| s.slot).collect();
        for slot in waiting {
            if let Some(s) = self.sessions.get_mut(slot) {
                s.throttled = false;
            }
            self.wake(slot);
        }
    }

    /// Who waits for upload budget.
    pub fn is_throttled(&self) -> bool {
        self.sessions.values().any(|s| s.throttled)
    }

    /// A peer wants something: if a slot is free it need not wait for the next round.
    pub(super) fn became_interested(&mut self, now: Instant, slot: PeerSlot) {
        let unchoked = self.sessions.values().filter(|s| !s.am_choking).count();
        if unchoked < self.settings.unchoke_slots && self.sessions.get(slot).is_some_and(|s| s.am_choking) {
            self.rechoke_soon(now);
        } else {
            self.tick_at = self.tick_at.min(self.rechoke_at.max(now));
        }
    }

    /// A peer wants nothing any more: its slot is for others.
    pub(super) fn lost_interest(&mut self, now: Instant, slot: PeerSlot) {
        if self.sessions.get(slot).is_some_and(|s| !s.am_choking) {
            self.rechoke_soon(now);
        }
    }

    fn rechoke_soon(&mut self, now: Instant) {
        self.rechoke_at = now;
        self.tick_at = now;
    }

    /// Asks the choker, and does what it decides.
    pub(super) fn rechoke(&mut self, now: Instant) {
        self.rechoke_at = now + RECHOKE;
        let pieces = self.open.as_ref().map_or(0, |o| o.plan.geometry.piece_count());
        let interesting = |s: &Session<P>| s.peer_interested || !s.am_choking;
        let views: Vec<PeerView> =
            self.sessions.values_mut().filter(|s| interesting(s)).map(|s| view(s, now, pieces)).collect();
        if views.is_empty() || pieces == 0 {
            return;
        }
        let mut decisions = self.choker.rechoke(now, &views, &mut self.rng);
        if self.settings.has(Flaw::UnchokesAll) {
            decisions.unchoke = views.iter().filter(|v| !v.unchoked).map(|v| v.slot).collect();
        }
        if self.settings.has(Flaw::UnchokesAll) || self.settings.has(Flaw::NeverRotates) {
            decisions.choke.clear();
        }
        if self.settings.has(Flaw::NeverRotates) {
            let taken = views.iter().filter(|v| v.unchoked).count();
            decisions.unchoke.truncate(self.settings.unchoke_slots.saturating_sub(taken));
        }
        for slot in decisions.choke {
            self.choke(now, slot);
        }
        for slot in decisions.unchoke {
            let Some(s) = self.sessions.get_mut(slot).filter(|s| s.am_choking) else { continue };
            s.am_choking = false;
            s.unchoked_at = now;
            s.uploaded_at_unchoke = s.uploaded;
            s.say(&Message::Unchoke);
            self.sessions.note_patience(slot);
            self.wake(slot);
        }
    }

    fn choke(&mut self, now: Instant, slot: PeerSlot) {
        let Some(s) = self.sessions.get_mut(slot).filter(|s| !s.am_choking) else { return };
        s.am_choking = true;
        s.unchoked_at = now;
        s.say(&Message::Choke);
        if self.settings.has(Flaw::ServesTheChoked) {
            return;
        }
        for a in std::mem::take(&mut s.upload_queue) {
            if s.fast {
                s.say(&Message::Reject { piece: a.piece.0, begin: a.begin, len: a.len });
            }
        }
        self.sessions.note_patience(slot);
        self.wake(slot);
    }
}

/// The piece of a request that ends behind the end of a v2 torrent, but within its last piece were that a whole one: libtorrent
/// 2.0 pads the last file as it does all others, so that it asks for padding as well.
fn range_in_padding(plan: &base::Plan, piece: u32, begin: u32, len: u32) -> Option<PieceIndex> {
    let v2_only = plan.checks.merkle.is_some() && plan.checks.sha1.is_none();
    let piece = plan.geometry.piece(piece).filter(|_| v2_only && len > 0)?;
    let end = u64::from(begin) + u64::from(len);
    (end <= u64::from(plan.geometry.piece_length())).then_some(piece)
}

fn view<P: Payload>(s: &mut Session<P>, now: Instant, pieces: u32) -> PeerView {
    s.down.advance(now);
    s.up.advance(now);
    PeerView {
        slot: s.slot,
        interested: s.peer_interested,
        unchoked: !s.am_choking,
        snubbed: s.snubbed,
        download_rate: s.down.per_second(now),
        upload_rate: s.up.per_second(now),
        uploaded_in_turn: if s.am_choking { 0 } else { s.uploaded - s.uploaded_at_unchoke },
        uploaded: s.uploaded,
        changed_at: if s.unchoked_at == Instant::ZERO { s.connected_at } else { s.unchoked_at },
        connected_at: s.connected_at,
        complete_permille: (u64::from(s.pieces.count(pieces)) * 1000 / u64::from(pieces.max(1))) as u16,
    }
}
