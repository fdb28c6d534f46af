//! The life of a block after it was picked: received or abandoned; and of a piece: good, bad, lost, restored.

use super::cell::{Cell, State};
use super::partial::{Owner, Partial};
use super::{BlockState, Picker};
use crate::pieces::PeerSlot;
use base::{Bitfield, BlockIndex, PieceIndex};

/// What a block that came is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// Not seen before: write it.
    New {
        /// It was the last of its piece: check the piece.
        piece_complete: bool,
        /// Others who were asked for it and need a cancel. They are no longer counted as asked.
        cancel: Vec<PeerSlot>,
    },
    /// It came before.
    Duplicate,
    /// The piece is had or skipped, or there is no such block.
    NotWanted,
}

impl Picker {
    /// `block` came from `peer`, asked for or not: whoever cares if it was asked for must ask before ([`Picker::is_requested`]).
    pub fn received(&mut self, piece: PieceIndex, block: BlockIndex, peer: PeerSlot) -> Received {
        if piece.0 >= self.geometry.piece_count() || block.0 >= self.geometry.block_count(piece) {
            return Received::NotWanted;
        }
        let at = match self.open_at(piece) {
            Some(at) => at,
            // A block that was given up, and came after all.
            None if self.want.has(piece.0) && block.0 < self.data_blocks(piece) => {
                self.open_piece(piece, Owner::Shared)
            }
            None => return Received::NotWanted,
        };
        match self.open[at].receive(block, Some(peer)) {
            Some(cancel) => Received::New { piece_complete: self.open[at].is_complete(), cancel },
            None => Received::Duplicate,
        }
    }

    /// `peer` will not send `block`: it choked us, rejected, took too long or went. False if it wasn't asked for it.
    pub fn abandoned(&mut self, piece: PieceIndex, block: BlockIndex, peer: PeerSlot) -> bool {
        let Some(at) = self.open_at(piece).filter(|at| block.index() < self.open[*at].blocks.len()) else {
            return false;
        };
        let asked = self.open[at].abandon(block, peer);
        if asked && self.open[at].is_untouched() {
            self.close(at);
        }
        asked
    }

    /// `block` came, and was lost before it was on disk: it must be fetched again. False if it hadn't come.
    pub fn block_lost(&mut self, piece: PieceIndex, block: BlockIndex) -> bool {
        let Some(at) = self.open_at(piece).filter(|at| block.index() < self.open[*at].blocks.len()) else {
            return false;
        };
        let was = self.open[at].unreceive(block);
        if was && self.open[at].is_untouched() {
            self.close(at);
        }
        was
    }

    /// `piece` was checked and is good. Answers whom to cancel, if it was found good while blocks of it were asked for.
    pub fn piece_good(&mut self, piece: PieceIndex) -> Vec<(BlockIndex, PeerSlot)> {
        if piece.0 >= self.geometry.piece_count() {
            return Vec::new();
        }
        self.have.set(piece.0);
        self.update_want(piece.0);
        let cancel = match self.open_at(piece) {
            Some(at) => self.close(at).requests().collect(),
            None => {
                let availability = self.take_out(piece.0);
                self.cells[piece.index()] = Cell::new(State::Idle, self.priority(piece), availability);
                Vec::new()
            }
        };
        if self.is_finished() && self.open.is_empty() {
            self.open = Vec::new();
        }
        cancel
    }

    /// `piece` was checked and is bad: all of its blocks are open again. Answers who sent them, as [`Picker::senders`].
    pub fn piece_bad(&mut self, piece: PieceIndex) -> Vec<Option<PeerSlot>> {
        let senders = self.senders(piece);
        if let Some(at) = self.open_at(piece) {
            self.close(at);
        }
        senders
    }

    /// Who sent each block of an open piece, in order, for [`crate::blame`]. None: it was found on disk, or is not here.
    /// Blocks of padding, which nobody sends, are left out at the end.
    pub fn senders(&self, piece: PieceIndex) -> Vec<Option<PeerSlot>> {
        self.open_at(piece).map(|at| self.open[at].senders()).unwrap_or_default()
    }

    /// We had `piece`, and the disk found it rotten or gone: it must be fetched again.
    pub fn lost_piece(&mut self, piece: PieceIndex) {
        if self.have.clear(piece.0) {
            self.update_want(piece.0);
            self.put_back(piece.0);
        }
    }

    /// Blocks of `piece` are on disk from an earlier run, though the piece was not checked. True if these are all: check it.
    /// Nothing happens if the piece is had or open, or `blocks` has the wrong length.
    pub fn restore(&mut self, piece: PieceIndex, blocks: &Bitfield) -> bool {
        let fits = piece.0 < self.geometry.piece_count() && blocks.len() == self.geometry.block_count(piece);
        if !fits || self.have.has(piece.0) || self.open_at(piece).is_some() {
            return false;
        }
        // Padding alone is no progress.
        if blocks.ones().next().is_none_or(|first| first >= self.data_blocks(piece)) {
            return false;
        }
        let at = self.open_piece(piece, Owner::Shared);
        for block in blocks.ones() {
            self.open[at].receive(BlockIndex(block), None);
        }
        self.open[at].is_complete()
    }

    /// True if `peer` was asked for `block` and did not answer yet.
    pub fn is_requested(&self, piece: PieceIndex, block: BlockIndex, peer: PeerSlot) -> bool {
        self.open_at(piece).is_some_and(|at| self.open[at].is_requested(block, peer))
    }

    /// Where each block of an open piece stands; None if the piece isn't open.
    pub fn blocks(&self, piece: PieceIndex) -> Option<impl Iterator<Item = BlockState> + '_> {
        self.open_at(piece).map(|at| self.open[at].blocks.iter().map(|block| block.state()))
    }

    /// Requests that are open, copies of the end game counted.
    pub fn asked(&self) -> usize {
        self.open.iter().map(|partial| partial.requests().count()).sum()
    }

    /// Pieces that are open, in no order.
    pub fn open_pieces(&self) -> impl Iterator<Item = PieceIndex> + '_ {
        self.open.iter().map(|partial| partial.piece)
    }

    /// Which blocks of an open piece came, for the saved state.
    pub fn received_blocks(&self, piece: PieceIndex) -> Option<Bitfield> {
        let states = self.blocks(piece)?;
        let mut bits = Bitfield::new(self.geometry.block_count(piece));
        for (i, _) in states.enumerate().filter(|(_, state)| matches!(state, BlockState::Received(_))) {
            bits.set(i as u32);
        }
        Some(bits)
    }

    /// Opens a fresh or idle piece; says where it is among the open ones.
    pub(super) fn open_piece(&mut self, piece: PieceIndex, owner: Owner) -> usize {
        let availability = self.take_out(piece.0);
        let blocks = self.geometry.block_count(piece);
        let padding = blocks - self.data_blocks(piece);
        self.cells[piece.index()] = Cell::new(State::Open, self.priority(piece), self.open.len() as u32);
        self.open.push(Partial::new(piece, availability, owner, blocks, padding));
        self.open_blocks += blocks;
        self.open.len() - 1
    }

    /// Blocks of `piece` that aren't padding alone.
    pub(super) fn data_blocks(&self, piece: PieceIndex) -> u32 {
        let blocks = self.geometry.block_count(piece);
        self.padding.get(&piece.0).map_or(blocks, |padding| {
            let data = self.geometry.piece_len(piece).saturating_sub(*padding);
            data.div_ceil(self.geometry.block_size()).clamp(1, blocks)
        })
    }

    /// Closes an open piece: it is had, skipped, or fresh again.
    fn close(&mut self, at: usize) -> Partial {
        let partial = self.open.swap_remove(at);
        self.open_blocks -= partial.blocks.len() as u32;
        if let Some(moved) = self.open.get(at) {
            self.cells[moved.piece.index()].set_place(at as u32);
        }
        self.cells[partial.piece.index()] = Cell::new(State::Idle, self.priority(partial.piece), partial.availability);
        self.put_back(partial.piece.0);
        partial
    }
}
