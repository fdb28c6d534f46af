//! How many servers have each piece, of those that may be asked now: the rare ones come first.

use super::Server;
use crate::pieces::{Pieces, ones_common};
use base::{Instant, PieceIndex};

/// Counted again when another server may be asked, or one may not any more. Empty while all servers have everything.
#[derive(Debug, Default)]
pub(super) struct Holders {
    /// Who was counted.
    counted: Vec<bool>,
    counts: Vec<u16>,
}

impl Holders {
    pub(super) fn update(&mut self, servers: &[Server], now: Instant, pieces: u32) {
        let same = servers.len() == self.counted.len()
            && servers.iter().zip(&self.counted).all(|(server, counted)| server.may_be_asked(now) == *counted);
        if same {
            return;
        }
        self.counted = servers.iter().map(|s| s.may_be_asked(now)).collect();
        let asked = || servers.iter().filter(|s| s.may_be_asked(now));
        self.counts.clear();
        if asked().all(|s| s.has.is_all()) {
            return;
        }
        self.counts.resize(pieces as usize, 0);
        for server in asked() {
            // Those that have everything change no order.
            if let Pieces::Some(bits) = &server.has {
                ones_common(bits, None, 0).for_each(|piece| self.counts[piece as usize] += 1);
            }
        }
    }

    pub(super) fn of(&self, piece: PieceIndex) -> u32 {
        self.counts.get(piece.index()).copied().unwrap_or(0).into()
    }
}
