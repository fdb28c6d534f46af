//! From a plan to a torrent that fetches: what is there already, what is wanted, the recheck.

use super::{Checking, Life, Open, Torrent};
use crate::blame::Blame;
use crate::disk::DiskJob;
use crate::picker::{Order, Picker, Priority};
use crate::pieces::Pieces;
use crate::{CloseReason, Event, FIRST_MAX, FilePriority, Flaw, Output, Resume};
use base::{Bitfield, Instant, Payload, PieceIndex, Plan};
use std::sync::Arc;
use wire::message::{Limits, Message};

/// Pieces that are with the disk at once while existing data is checked.
const CHECKS_MAX: u32 = 64;
/// Haves said one by one to peers that came before the plan; with more, they had better come again.
const LATE_HAVES_MAX: u32 = 20_000;

impl<P: Payload> Torrent<P> {
    pub(super) fn open(&mut self, now: Instant, plan: Arc<Plan>, resume: Resume, priorities: &[FilePriority]) {
        if self.open.is_some() {
            return;
        }
        let geometry = plan.geometry;
        let mut picker = Picker::new(geometry, resume.have);
        for piece in geometry.pieces() {
            picker.set_padding(piece, padding_at_end(&plan, piece));
        }
        let mut left = resume.check.filter(|c| c.len() == geometry.piece_count());
        if let Some(left) = &mut left {
            picker.have().ones().for_each(|i| {
                left.clear(i);
            });
        }
        let complete: Vec<PieceIndex> =
            resume.partial.iter().filter(|(p, blocks)| picker.restore(*p, blocks)).map(|(p, _)| *p).collect();
        let to_check = left.filter(|l| l.count() > 0).map(|left| Checking { left, next: 0, with_disk: 0 });
        self.open = Some(Box::new(Open {
            plan,
            picker,
            blame: Blame::default(),
            to_check,
            have_log: Vec::new(),
            first: Vec::new(),
            complete_told: false,
        }));
        if self.settings.has(Flaw::EverybodyInOrder) {
            self.set_sequential(true);
        }
        self.life = if self.life == Life::Failed { Life::Running } else { self.life };
        self.servers_meet_plan();
        self.set_priorities(now, priorities);
        for piece in complete {
            self.check_piece(piece);
        }
        self.adopt_early_sessions(now);
        self.tick_at = now;
        if self.open.as_ref().is_some_and(|o| o.to_check.is_some()) {
            self.check_more();
        } else {
            self.opened(now);
        }
    }

    /// Peers that came while the plan was not known: what they said of their pieces counts now.
    fn adopt_early_sessions(&mut self, now: Instant) {
        let slots: Vec<_> = self.sessions.keys().collect();
        for slot in slots {
            let Some(open) = &mut self.open else { return };
            let Some(s) = self.sessions.get_mut(slot) else { continue };
            let geometry = open.plan.geometry;
            let count = geometry.piece_count();
            s.decoder.set_limits(limits(&geometry));
            let early = s.early.take().unwrap_or_default();
            let mut pieces = match (early.all, &early.bits) {
                (true, _) => Pieces::All,
                (false, None) => Pieces::None,
                (false, Some(bytes)) => match Bitfield::from_bytes(bytes, count) {
                    Some(bits) => Pieces::from_bitfield(bits),
                    None => {
                        self.close(now, slot, CloseReason::Protocol);
                        continue;
                    }
                },
            };
            if early.haves.iter().any(|i| geometry.piece(*i).is_none()) {
                self.close(now, slot, CloseReason::Protocol);
                continue;
            }
            for i in early.haves {
                pieces.set(PieceIndex(i), count);
            }
            open.picker.add_peer(&pieces);
            s.pieces = pieces;
            s.counted = true;
            if open.picker.have().count() > LATE_HAVES_MAX {
                self.close(now, slot, CloseReason::Limit);
                continue;
            }
            for i in open.picker.have().ones() {
                s.say(&Message::Have(i));
            }
            if !s.out.is_empty() {
                self.wake(slot);
            }
        }
    }

    /// Gives the disk more of the pieces that must be hashed before anything is fetched.
    pub(super) fn check_more(&mut self) {
        let Some(open) = &mut self.open else { return };
        let Some(checking) = &mut open.to_check else { return };
        while checking.with_disk < CHECKS_MAX {
            let Some(i) = (checking.next..checking.left.len()).find(|i| checking.left.has(*i)) else { break };
            checking.next = i + 1;
            checking.with_disk += 1;
            self.out.push_back(Output::Disk(DiskJob::Check { piece: PieceIndex(i), digests: false }));
        }
    }

    /// One of these was hashed. True if the piece was one of them.
    pub(super) fn checked_existing(&mut self, now: Instant, piece: PieceIndex, ok: bool) -> bool {
        let Some(open) = &mut self.open else { return false };
        let Some(checking) = &mut open.to_check else { return false };
        if !checking.left.clear(piece.0) {
            return false;
        }
        checking.with_disk = checking.with_disk.saturating_sub(1);
        if ok {
            open.picker.piece_good(piece);
            open.have_log.push(piece);
        }
        let last = checking.left.count() == 0;
        if ok {
            self.tell_of_piece(now, piece);
        }
        let Some(open) = &mut self.open else { return true };
        if last {
            open.to_check = None;
            let good = open.picker.have().count();
            self.event(Event::CheckedAll { good });
            self.opened(now);
        } else {
            self.check_more();
        }
        true
    }

    /// Nothing stands between us and fetching.
    fn opened(&mut self, now: Instant) {
        self.update_interest();
        self.tell_if_complete(now);
        self.poke = true;
    }

    pub(super) fn set_priorities(&mut self, now: Instant, priorities: &[FilePriority]) {
        let Some(open) = &mut self.open else { return };
        open.first.clear();
        let plan = &open.plan;
        for piece in plan.geometry.pieces() {
            let len = u64::from(plan.geometry.piece_len(piece));
            // A piece is wanted as much as the most wanted file in it; padding is wanted by nobody.
            let spans = plan.layout.spans(plan.geometry.piece_offset(piece), len).filter(|s| !s.pad);
            let best = spans.map(|s| priorities.get(s.file.index()).copied().unwrap_or_default()).max();
            let priority = match best {
                Some(FilePriority::Skip) => Priority::Skip,
                Some(FilePriority::Low) => Priority::Low,
                Some(FilePriority::High) => Priority::High,
                Some(FilePriority::Normal) | None => Priority::Normal,
            };
            open.picker.set_priority(piece, priority);
        }
        let wants_more = !open.picker.is_finished() && std::mem::take(&mut open.complete_told);
        if wants_more {
            self.tell_upload_only(false);
        }
        let Some(open) = &self.open else { return };
        if open.to_check.is_none() {
            self.opened(now);
        }
    }

    /// Streams that are elsewhere end, so that their servers begin with what is wanted first.
    pub(super) fn set_first(&mut self, pieces: &[PieceIndex]) {
        let Some(open) = &mut self.open else { return };
        for (piece, before) in std::mem::take(&mut open.first) {
            open.picker.set_priority(piece, before);
        }
        let geometry = open.plan.geometry;
        for piece in pieces.iter().take(FIRST_MAX).filter_map(|piece| geometry.piece(piece.0)) {
            let before = open.picker.priority(piece);
            if open.picker.is_wanted(piece) && before != Priority::High {
                open.picker.set_priority(piece, Priority::High);
                open.first.push((piece, before));
            }
        }
        let mut first: Vec<PieceIndex> = open.first.iter().map(|(piece, _)| *piece).collect();
        first.sort_unstable();
        if !first.is_empty() {
            self.end_lanes_beyond(&geometry, &first);
        }
        self.poke = true;
    }

    pub(super) fn set_sequential(&mut self, on: bool) {
        if let Some(open) = &mut self.open {
            open.picker.set_order(if on { Order::Sequential } else { Order::RarestFirst });
            self.end_all_lanes();
        }
    }
}

/// What peers of a torrent with this geometry may send.
pub(super) fn limits(geometry: &base::Geometry) -> Limits {
    Limits::of_torrent(geometry.piece_count(), geometry.block_size())
}

/// Bytes of padding at the end of a piece.
fn padding_at_end(plan: &Plan, piece: PieceIndex) -> u32 {
    let len = u64::from(plan.geometry.piece_len(piece));
    let mut pad = 0;
    for span in plan.layout.spans(plan.geometry.piece_offset(piece), len) {
        pad = if span.pad { pad + span.len as u32 } else { 0 };
    }
    pad
}
