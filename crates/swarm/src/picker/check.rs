//! Checks of everything that must hold between two calls. Slow: for the lab and for tests.

use super::cell::{Cell, State};
use super::partial::{Block, Partial};
use super::{Picker, Priority, class_of};
use crate::pieces::{PeerSlot, Pieces};
use base::{BlockIndex, PieceIndex};

impl Picker {
    /// What is wrong, if anything. The lab asks after every step.
    pub fn check_invariants(&self) -> Result<(), String> {
        self.fresh.iter().try_for_each(|buckets| buckets.check())?;
        for piece in self.geometry.pieces() {
            self.check_piece(piece).map_err(|wrong| format!("{piece:?}: {wrong}"))?;
        }
        let fresh: u32 = self.fresh.iter().map(|buckets| buckets.len()).sum();
        let open = self.open.iter().filter(|p| self.want.has(p.piece.0)).count() as u32;
        if fresh + open != self.want.count() {
            return Err(format!("{fresh} pieces fresh and {open} open, of {} wanted", self.want.count()));
        }
        let first = self.want.ones().next().unwrap_or(self.want.len());
        if first != self.first_wanted {
            return Err(format!("the first wanted piece is {first}, not {}", self.first_wanted));
        }
        let blocks: usize = self.open.iter().map(|p| p.blocks.len()).sum();
        if blocks != self.open_blocks as usize {
            return Err(format!("{blocks} blocks in open pieces, counted {}", self.open_blocks));
        }
        self.open.iter().try_for_each(|partial| partial.check())
    }

    /// Bytes on the heap, open pieces included.
    pub fn heap_bytes(&self) -> usize {
        let open = |p: &Partial| {
            p.blocks.len() * size_of::<Block>() + p.copies.capacity() * size_of::<(BlockIndex, PeerSlot)>()
        };
        self.cells.capacity() * size_of::<Cell>()
            + self.fresh.iter().map(|buckets| buckets.heap_bytes()).sum::<usize>()
            + self.open.capacity() * size_of::<Partial>()
            + self.open.iter().map(open).sum::<usize>()
            + self.have.as_bytes().len()
            + self.want.as_bytes().len()
    }

    fn check_piece(&self, piece: PieceIndex) -> Result<(), String> {
        let cell = self.cells[piece.index()];
        let wanted = !self.have.has(piece.0) && cell.priority() != Priority::Skip;
        if wanted != self.want.has(piece.0) {
            return Err(format!("wanted is {wanted}, its bit says otherwise"));
        }
        let at = cell.place() as usize;
        match cell.state() {
            State::Idle if wanted => Err("wanted, and neither fresh nor open".into()),
            State::Fresh if !wanted => Err("fresh, and not wanted".into()),
            State::Fresh if self.fresh[class_of(cell)].order().get(at) != Some(&piece.0) => {
                Err(format!("not at its place {at} in the order"))
            }
            State::Open if self.have.has(piece.0) => Err("open, and had".into()),
            State::Open if self.open.get(at).map(|p| p.piece) != Some(piece) => {
                Err(format!("not at its place {at} among the open"))
            }
            State::Open if self.open[at].is_untouched() => Err("open, and untouched".into()),
            _ => Ok(()),
        }
    }

    /// What is wrong with the counts of peers, if anything, given the pieces of every peer that was added.
    pub fn check_availability<'a>(&self, peers: impl Iterator<Item = &'a Pieces>) -> Result<(), String> {
        let mut counts = vec![0u32; self.cells.len()];
        let mut total = 0;
        for pieces in peers {
            total += 1;
            for piece in self.geometry.pieces().filter(|piece| pieces.has(*piece)) {
                counts[piece.index()] += 1;
            }
        }
        if total != self.peers {
            return Err(format!("{total} peers, counted {}", self.peers));
        }
        for piece in self.geometry.pieces() {
            let (count, counted) = (counts[piece.index()], self.availability(piece));
            if count != counted {
                return Err(format!("{count} peers have {piece:?}, counted {counted}"));
            }
        }
        Ok(())
    }
}
