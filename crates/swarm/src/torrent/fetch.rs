//! What is asked for, what comes, what the disk thinks of it, and who is to blame.

use super::messages::Violation;
use super::peers::{STALL_AFTER, TICK_BUSY};
use super::{Life, Torrent};
use crate::disk::{BlockDigest, DiskDone, DiskJob};
use crate::picker::{Affinity, PickOpts, Picker, Received};
use crate::pieces::PeerSlot;
use crate::session::{Request, UNASKED_MAX};
use crate::{CloseReason, Event, Flaw, Output};
use base::{BlockIndex, Instant, Payload, PieceIndex, Plan};
use wire::message::Message;

impl<P: Payload> Torrent<P> {
    /// Asks a peer for as much as its pipeline has room for.
    pub(super) fn refill(&mut self, now: Instant, slot: PeerSlot) {
        if !self.is_fetching() {
            return;
        }
        let (Some(s), Some(open)) = (self.sessions.get_mut(slot), &mut self.open) else { return };
        let choked = s.peer_choking && !self.settings.has(Flaw::AsksWhileChoked);
        if choked || !s.am_interested {
            return;
        }
        if !s.timed {
            s.timed = true;
            self.timed.push(slot);
            self.tick_at = self.tick_at.min(now + STALL_AFTER);
        }
        if now < s.hold_until {
            self.tick_at = self.tick_at.min(s.hold_until);
            return;
        }
        let room = s.requests_max().saturating_sub(s.requests.len());
        if room == 0 {
            return;
        }
        let geometry = open.plan.geometry;
        let fast =
            s.down.per_second(now).saturating_mul(Picker::WHOLE_PIECE_SECS_MAX) > u64::from(geometry.piece_length());
        let affinity = match (open.blame.is_suspect(slot), fast) {
            (true, _) => Affinity::Suspect,
            (false, true) => Affinity::Whole,
            (false, false) => Affinity::Share,
        };
        let opts = PickOpts {
            affinity,
            last: s.requests.back().map(|r| r.piece).or(s.last_piece),
            outstanding: s.requests.len() as u32,
            only: None,
        };
        self.scratch.clear();
        open.picker.pick(slot, &s.pieces, room, opts, &mut self.rng, &mut self.scratch);
        if self.scratch.is_empty() {
            if s.requests.is_empty() && !open.picker.is_interesting(&s.pieces) {
                s.am_interested = false;
                s.say(&Message::NotInterested);
                self.wake(slot);
            } else if s.requests.is_empty() {
                // Perhaps there is something when others have got what they were asked for.
                self.tick_at = self.tick_at.min(now + TICK_BUSY);
            }
            return;
        }
        if s.requests.is_empty() {
            s.progress_at = now;
        }
        for (piece, block) in self.scratch.drain(..) {
            s.requests.push_back(Request { piece, block });
            s.unsaid += 1;
            s.last_piece = Some(piece);
        }
        self.wake(slot);
    }

    /// A piece message.
    pub(super) fn block_came(
        &mut self,
        now: Instant,
        slot: PeerSlot,
        piece: u32,
        begin: u32,
        data: P,
    ) -> Result<(), Violation> {
        let Some(s) = self.sessions.get_mut(slot) else { return Ok(()) };
        let open = self.open.as_mut().ok_or(Violation)?;
        let geometry = open.plan.geometry;
        let len = data.len() as u32;
        s.downloaded += u64::from(len);
        s.down.add(now, u64::from(len));
        self.totals.downloaded += u64::from(len);
        let block_size = geometry.block_size();
        let at = s.requests.iter().position(|r| r.piece.0 == piece && r.block.0 * block_size == begin);
        if len == 0 {
            // Some clients say so where they mean a reject.
            if let Some((r, _)) = at.and_then(|at| s.remove_request(at)) {
                open.picker.abandoned(r.piece, r.block, slot);
                s.hold_until = now + super::messages::REJECTED_PAUSE;
                self.tick_at = self.tick_at.min(s.hold_until);
            }
            return Ok(());
        }
        let (piece, block) = geometry.block(piece, begin, len).ok_or(Violation)?;
        match at {
            Some(at) => {
                s.remove_request(at);
            }
            None if s.stale > 0 => s.stale -= 1,
            None => {
                s.unasked += 1;
                self.totals.wasted += u64::from(len);
                return if s.unasked > UNASKED_MAX { Err(Violation) } else { Ok(()) };
            }
        }
        s.progress_at = now;
        if s.stalled {
            self.tick_at = self.tick_at.min(now + STALL_AFTER);
        }
        s.stalled = false;
        s.snubbed = false;
        if s.pipeline.is_due(now) {
            s.pipeline.tick(s.down.per_second(now), block_size, self.settings.requests_max);
        }
        if s.pipeline.is_growing() {
            self.tick_at = self.tick_at.min(now + TICK_BUSY);
        }
        s.pipeline.block_arrived(self.settings.requests_max);
        let refill = s.requests.len() * 4 <= s.requests_max() * 3;
        self.take_block(now, slot, piece, block, data);
        if refill {
            self.refill(now, slot);
        }
        Ok(())
    }

    /// A block that was asked for.
    pub(super) fn take_block(&mut self, now: Instant, slot: PeerSlot, piece: PieceIndex, block: BlockIndex, data: P) {
        let Some(open) = &mut self.open else { return };
        match open.picker.received(piece, block, slot) {
            Received::New { piece_complete, cancel } => {
                let content = content_of(&open.plan, piece, block);
                let begin = open.plan.geometry.block_begin(block);
                self.write(piece, begin, data);
                self.credit(slot, content);
                for other in cancel {
                    self.cancel(now, other, piece, block);
                }
                if piece_complete {
                    self.check_piece(piece);
                }
            }
            Received::Duplicate | Received::NotWanted => self.totals.wasted += data.len() as u64,
        }
    }

    /// Takes back a request: somebody else was faster.
    fn cancel(&mut self, now: Instant, slot: PeerSlot, piece: PieceIndex, block: BlockIndex) {
        if self.settings.has(Flaw::NeverCancels) || self.server_was_slower(slot, piece, block) {
            return;
        }
        let (Some(s), Some(open)) = (self.sessions.get_mut(slot), &self.open) else { return };
        let Some(at) = s.requests.iter().position(|r| r.piece == piece && r.block == block) else { return };
        if let Some((_, true)) = s.remove_request(at) {
            s.stale = s.stale.saturating_add(1);
            let g = &open.plan.geometry;
            s.say(&Message::Cancel { piece: piece.0, begin: g.block_begin(block), len: g.block_len(piece, block) });
            self.wake(slot);
        }
        self.refill(now, slot);
    }

    /// All blocks of a piece are with the disk.
    pub(super) fn check_piece(&mut self, piece: PieceIndex) {
        let digests = self.open.as_ref().is_some_and(|o| !o.blame.is_quiet());
        self.out.push_back(Output::Disk(DiskJob::Check { piece, digests }));
        if self.settings.has(Flaw::TellsTooEarly)
            && let Some(open) = &mut self.open
        {
            open.have_log.push(piece);
            self.tell_all();
        }
    }

    pub(super) fn disk_done(&mut self, now: Instant, done: DiskDone) {
        match done {
            DiskDone::Written { len, .. } => self.backlog = self.backlog.saturating_sub(u64::from(len)),
            DiskDone::Checked { piece, ok, digests } => {
                let ok = ok || self.settings.has(Flaw::TrustsEverybody);
                if self.checked_existing(now, piece, ok) {
                    return;
                }
                if ok {
                    self.piece_good(now, piece, &digests);
                } else {
                    self.piece_bad(now, piece, &digests);
                }
            }
            DiskDone::Failed { piece: _, error } => {
                self.backlog = 0;
                if self.life != Life::Failed {
                    self.stop(now, Life::Failed);
                    self.forget_open_pieces();
                    self.event(Event::Stopped { error });
                }
            }
        }
    }

    /// Nobody knows which blocks of open pieces reached the disk that failed: once it works again, they are fetched
    /// again. Nobody is to blame for them.
    fn forget_open_pieces(&mut self) {
        let Some(open) = &mut self.open else { return };
        let pieces: Vec<PieceIndex> = open.picker.open_pieces().collect();
        for piece in pieces {
            open.picker.piece_bad(piece);
            self.out.push_back(Output::Disk(DiskJob::Forget { piece }));
        }
    }

    /// Who sent each block of a piece that is still open, with what the disk says of it.
    fn senders(&self, piece: PieceIndex, digests: &[BlockDigest]) -> Vec<(Option<PeerSlot>, BlockDigest)> {
        let senders = self.open.as_ref().map(|o| o.picker.senders(piece)).unwrap_or_default();
        senders.into_iter().zip(digests.iter().copied()).collect()
    }

    fn piece_good(&mut self, now: Instant, piece: PieceIndex, digests: &[BlockDigest]) {
        let senders = self.senders(piece, digests);
        let Some(open) = &mut self.open else { return };
        if open.picker.has(piece) {
            return;
        }
        let verdict = open.blame.passed(piece, &senders);
        let cancel = open.picker.piece_good(piece);
        open.have_log.push(piece);
        for slot in verdict.ban {
            self.ban(now, slot, format!("sent bad data in piece {piece}"));
        }
        for (block, slot) in cancel {
            self.cancel(now, slot, piece, block);
        }
        self.tell_of_piece(now, piece);
        self.event(Event::PieceGood(piece));
        self.tell_if_complete(now);
    }

    fn piece_bad(&mut self, now: Instant, piece: PieceIndex, digests: &[BlockDigest]) {
        let Some(open) = &mut self.open else { return };
        if open.picker.has(piece) {
            return;
        }
        let len = open.plan.geometry.piece_len(piece);
        let plan = open.plan.clone();
        let senders = open.picker.piece_bad(piece);
        // A piece that is not all there, for which no digests come, proves nothing against anybody.
        let blocks: Vec<_> = senders.iter().copied().zip(digests.iter().copied()).collect();
        let mut verdict = if digests.is_empty() { None } else { Some(open.blame.failed(piece, &blocks)) };
        if let (true, Some(v)) = (self.settings.has(Flaw::BansTheLast), &mut verdict) {
            v.ban = senders.iter().rev().flatten().take(1).copied().collect();
        }
        self.totals.wasted += u64::from(len);
        self.totals.rotten += u64::from(len);
        for (i, sender) in senders.iter().enumerate() {
            if let Some(slot) = sender {
                self.credit(*slot, -content_of(&plan, piece, BlockIndex(i as u32)));
            }
        }
        self.out.push_back(Output::Disk(DiskJob::Forget { piece }));
        self.event(Event::PieceBad(piece));
        for slot in verdict.into_iter().flat_map(|v| v.ban) {
            self.ban(now, slot, format!("sent bad data in piece {piece}"));
        }
        self.update_interest();
        self.poke = true;
    }

    /// Says once that all that is wanted is here, and leaves those who have everything, too.
    pub(super) fn tell_if_complete(&mut self, now: Instant) {
        let Some(open) = &mut self.open else { return };
        if open.complete_told || !open.picker.is_finished() || open.to_check.is_some() {
            return;
        }
        open.complete_told = true;
        self.poke = true;
        let full = open.picker.have().is_full();
        self.event(Event::Complete);
        self.tell_all();
        self.seed_from_now_on();
        self.update_interest();
        let seeds: Vec<_> = self.sessions.values().filter(|s| s.is_seed()).map(|s| s.slot).collect();
        self.vain_dials = u8::try_from(seeds.len()).unwrap_or(u8::MAX);
        for slot in seeds {
            self.close(now, slot, CloseReason::BothSeeds);
        }
        if !full {
            // Who has all is seen to have it.
            self.tell_upload_only(true);
        }
    }
}

/// Bytes of a block that people would count: those that are not padding.
fn content_of(plan: &Plan, piece: PieceIndex, block: BlockIndex) -> i64 {
    let g = &plan.geometry;
    plan.layout.content_in(g.block_offset(piece, block), u64::from(g.block_len(piece, block))) as i64
}
