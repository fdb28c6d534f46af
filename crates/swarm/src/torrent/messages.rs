//! What peers say, message by message (BEP 3, BEP 6, BEP 10).

use super::Torrent;
use crate::CloseReason;
use crate::pieces::{PeerSlot, Pieces};
use crate::session::{EARLY_HAVES_MAX, Session};
use base::{Bitfield, Instant, Payload};
use wire::message::{Event as Decoded, Message};

/// After a reject of a peer that does not choke us, it is asked for nothing for so long.
pub(super) const REJECTED_PAUSE: std::time::Duration = std::time::Duration::from_secs(3);

/// The peer broke the protocol.
pub(super) struct Violation;

impl<P: Payload> Torrent<P> {
    /// Bytes of a session.
    pub(super) fn received(&mut self, now: Instant, slot: PeerSlot, data: P) {
        let Some(s) = self.sessions.get_mut(slot) else { return };
        s.received_at = now;
        s.decoder.feed(data);
        loop {
            // The session may be closed by any of its messages.
            let Some(s) = self.sessions.get_mut(slot) else { return };
            let result = match s.decoder.poll() {
                Ok(None) => {
                    // Part of a block is progress, too: on slow links one takes longer than patience lasts.
                    if s.decoder.pending_block().is_some() {
                        s.progress_at = now;
                    }
                    break;
                }
                Ok(Some(Decoded::Block { piece, begin, data })) => self.block_came(now, slot, piece, begin, data),
                // Most messages by far: for each piece of each peer one.
                Ok(Some(Decoded::Message(Message::Have(i)))) => self.has_piece(now, slot, i),
                Ok(Some(Decoded::Message(m))) => self.message(now, slot, m),
                Err(_) => Err(Violation),
            };
            if result.is_err() {
                self.close(now, slot, CloseReason::Protocol);
                return;
            }
        }
        let Some(s) = self.sessions.get(slot) else { return };
        if s.out.len() > crate::session::OUT_BYTES_MAX {
            self.close(now, slot, CloseReason::Protocol);
        } else if s.has_output() {
            self.wake(slot);
        }
    }

    fn message(&mut self, now: Instant, slot: PeerSlot, message: Message) -> Result<(), Violation> {
        let Some(s) = self.sessions.get_mut(slot) else { return Ok(()) };
        match message {
            Message::KeepAlive | Message::Port(_) | Message::Suggest(_) | Message::AllowedFast(_) => {}
            Message::Choke => self.choked(slot),
            Message::Unchoke => {
                s.peer_choking = false;
                self.refill(now, slot);
            }
            Message::Interested => {
                s.peer_interested = true;
                self.sessions.note_patience(slot);
                self.became_interested(now, slot);
            }
            Message::NotInterested => {
                s.peer_interested = false;
                self.sessions.note_patience(slot);
                self.tell_the_rest(slot);
                self.lost_interest(now, slot);
            }
            Message::Have(i) => self.has_piece(now, slot, i)?,
            Message::Bitfield(bytes) => self.told_bitfield(now, slot, &bytes)?,
            Message::HaveAll => self.told_all_or_none(now, slot, true)?,
            Message::HaveNone => self.told_all_or_none(now, slot, false)?,
            Message::Request { piece, begin, len } => self.asked(slot, piece, begin, len)?,
            Message::Cancel { piece, begin, len } => self.cancelled(slot, piece, begin, len),
            Message::Reject { piece, begin, .. } => self.rejected(now, slot, piece, begin),
            Message::Extended { id, payload } => self.extended(now, slot, id, &payload)?,
            // Without hash transfers (BEP 52) every request for hashes is refused, as it asks for.
            Message::HashRequest(r) => s.say(&Message::HashReject(r)),
            Message::Hashes(_) | Message::HashReject(_) | Message::Unknown { .. } => {}
        }
        Ok(())
    }

    fn choked(&mut self, slot: PeerSlot) {
        let Some(s) = self.sessions.get_mut(slot) else { return };
        s.peer_choking = true;
        s.pipeline.reset();
        // With the fast extension each request that was said is answered or rejected; without it, a choke drops them all.
        let requests = if s.fast { s.take_unsaid() } else { s.take_requests() };
        if let Some(open) = &mut self.open {
            for r in requests {
                open.picker.abandoned(r.piece, r.block, slot);
                self.poke = true;
            }
        }
    }

    fn has_piece(&mut self, now: Instant, slot: PeerSlot, i: u32) -> Result<(), Violation> {
        let Some(s) = self.sessions.get_mut(slot) else { return Ok(()) };
        s.told_pieces = true;
        let Some(open) = &mut self.open else {
            let early = s.early.get_or_insert_default();
            if early.haves.len() < EARLY_HAVES_MAX {
                early.haves.push(i);
            }
            return Ok(());
        };
        let geometry = open.plan.geometry;
        let piece = geometry.piece(i).ok_or(Violation)?;
        if !s.pieces.set(piece, geometry.piece_count()) {
            return Ok(());
        }
        open.picker.peer_has(piece);
        if !s.am_interested && open.picker.is_wanted(piece) && open.to_check.is_none() {
            s.am_interested = true;
            s.say(&Message::Interested);
        }
        let (idle, all) = (s.requests.is_empty() && s.am_interested, s.pieces.is_all());
        if idle {
            self.refill(now, slot);
        }
        if all {
            self.close_if_both_seeds(now, slot);
        }
        Ok(())
    }

    fn told_bitfield(&mut self, now: Instant, slot: PeerSlot, bytes: &[u8]) -> Result<(), Violation> {
        let Some(s) = self.sessions.get_mut(slot) else { return Ok(()) };
        let first = !std::mem::replace(&mut s.told_pieces, true);
        let Some(open) = &self.open else {
            s.early.get_or_insert_default().bits = Some(bytes.into());
            return Ok(());
        };
        let bits = Bitfield::from_bytes(bytes, open.plan.geometry.piece_count()).ok_or(Violation)?;
        if !first {
            // aria2 sends a bitfield for several haves, where that is shorter.
            return bits.ones().try_for_each(|i| self.has_piece(now, slot, i));
        }
        self.told_pieces(now, slot, Pieces::from_bitfield(bits));
        Ok(())
    }

    fn told_all_or_none(&mut self, now: Instant, slot: PeerSlot, all: bool) -> Result<(), Violation> {
        let Some(s) = self.sessions.get_mut(slot) else { return Ok(()) };
        let first = !std::mem::replace(&mut s.told_pieces, true);
        if !first || !s.fast {
            return Err(Violation);
        }
        if self.open.is_none() {
            s.early.get_or_insert_default().all = all;
        } else {
            self.told_pieces(now, slot, if all { Pieces::All } else { Pieces::None });
        }
        Ok(())
    }

    fn told_pieces(&mut self, now: Instant, slot: PeerSlot, pieces: Pieces) {
        let (Some(s), Some(open)) = (self.sessions.get_mut(slot), &mut self.open) else { return };
        open.picker.peer_pieces(&pieces);
        if open.to_check.is_none() && open.picker.is_interesting(&pieces) {
            s.am_interested = true;
            s.say(&Message::Interested);
        }
        if s.outgoing && !pieces.is_all() {
            self.vain_dials = 0;
        }
        s.pieces = pieces;
        self.refill(now, slot);
        self.close_if_both_seeds(now, slot);
    }

    /// Two who have everything that they want have nothing to say to each other (BEP 21).
    pub(super) fn close_if_both_seeds(&mut self, now: Instant, slot: PeerSlot) {
        if self.is_complete() && self.sessions.get(slot).is_some_and(Session::is_seed) {
            self.vain_dials = self.vain_dials.saturating_add(1);
            self.close(now, slot, CloseReason::BothSeeds);
        }
    }

    fn rejected(&mut self, now: Instant, slot: PeerSlot, piece: u32, begin: u32) {
        let (Some(s), Some(open)) = (self.sessions.get_mut(slot), &mut self.open) else { return };
        let block_size = open.plan.geometry.block_size();
        let at = s.requests.iter().position(|r| r.piece.0 == piece && r.block.0 * block_size == begin);
        match at.and_then(|at| s.remove_request(at)) {
            Some((r, _)) => {
                open.picker.abandoned(r.piece, r.block, slot);
                if s.peer_choking {
                    // It clears its queue: others may be free to take these.
                    self.poke = true;
                } else {
                    // Asking the same again at once would be asked and rejected for ever.
                    s.hold_until = now + REJECTED_PAUSE;
                    self.tick_at = self.tick_at.min(s.hold_until);
                }
            }
            None => s.stale = s.stale.saturating_sub(1),
        }
    }

    /// Interest in every peer, after something changed for all of them.
    pub(super) fn update_interest(&mut self) {
        let Some(open) = &self.open else { return };
        let mut changed = Vec::new();
        for s in self.sessions.values_mut() {
            let interesting = open.to_check.is_none() && open.picker.is_interesting(&s.pieces);
            if s.am_interested != interesting {
                s.am_interested = interesting;
                s.say(if interesting { &Message::Interested } else { &Message::NotInterested });
                changed.push(s.slot);
                if interesting && !s.timed {
                    s.timed = true;
                    self.timed.push(s.slot);
                }
            }
        }
        for slot in changed {
            self.wake(slot);
        }
    }
}
