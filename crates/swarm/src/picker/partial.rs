//! A piece of which some blocks were asked for or have come: it exists only for as long as it is open.

use crate::pieces::PeerSlot;
use base::{BlockIndex, Geometry, PieceIndex};

/// Where one block of an open piece stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockState {
    /// Nobody was asked for it.
    Open,
    /// This peer was asked for it (in the end game perhaps others too).
    Requested(PeerSlot),
    /// It came, from this peer; from nobody known if it was found on disk or is padding.
    Received(Option<PeerSlot>),
}

/// A [`BlockState`] in four bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Block(u32);

const REQUESTED: u32 = 1 << 30;
const RECEIVED: u32 = 2 << 30;
const SLOT: u32 = REQUESTED - 1;

impl Block {
    pub(super) const OPEN: Block = Block(0);

    pub(super) fn requested(peer: PeerSlot) -> Block {
        debug_assert!(peer <= PeerSlot::MAX);
        Block(REQUESTED | peer.0 & SLOT)
    }

    pub(super) fn received(peer: Option<PeerSlot>) -> Block {
        Block(RECEIVED | peer.map_or(SLOT, |p| p.0 & SLOT))
    }

    pub(super) fn is_open(self) -> bool {
        self.0 < REQUESTED
    }

    pub(super) fn state(self) -> BlockState {
        let peer = PeerSlot(self.0 & SLOT);
        match self.0 & !SLOT {
            0 => BlockState::Open,
            REQUESTED => BlockState::Requested(peer),
            _ => BlockState::Received((peer.0 != SLOT).then_some(peer)),
        }
    }
}

/// Whose an open piece is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// Anybody's.
    Shared,
    /// A fast peer's, which should get the whole piece.
    Whole(PeerSlot),
    /// A suspect's, which must get the whole piece, so that a bad one has one culprit.
    Solo(PeerSlot),
}

impl Owner {
    pub(super) fn peer(self) -> Option<PeerSlot> {
        match self {
            Owner::Shared => None,
            Owner::Whole(peer) | Owner::Solo(peer) => Some(peer),
        }
    }
}

/// An open piece.
pub(super) struct Partial {
    pub(super) piece: PieceIndex,
    /// Peers that have it, seeds apart, as in the cell of a piece that isn't open.
    pub(super) availability: u32,
    pub(super) owner: Owner,
    /// Blocks that nobody was asked for.
    pub(super) open: u32,
    /// Blocks that came, padding counted.
    pub(super) received: u32,
    /// Blocks of padding, received from nobody when the piece was opened.
    pub(super) padding: u32,
    /// No block below this one is open.
    cursor: u32,
    pub(super) blocks: Box<[Block]>,
    /// In the end game: who else was asked for which block.
    pub(super) copies: Vec<(BlockIndex, PeerSlot)>,
}

impl Partial {
    pub(super) fn new(piece: PieceIndex, availability: u32, owner: Owner, blocks: u32, padding: u32) -> Self {
        let mut states = vec![Block::OPEN; blocks as usize].into_boxed_slice();
        let data = blocks - padding;
        states[data as usize..].fill(Block::received(None));
        Partial {
            piece,
            availability,
            owner,
            open: data,
            received: padding,
            padding,
            cursor: 0,
            blocks: states,
            copies: Vec::new(),
        }
    }

    /// Blocks asked for and not here yet.
    pub(super) fn requested(&self) -> u32 {
        self.blocks.len() as u32 - self.open - self.received
    }

    /// True if every block came.
    pub(super) fn is_complete(&self) -> bool {
        self.received == self.blocks.len() as u32
    }

    /// True if nothing was asked for and nothing came.
    pub(super) fn is_untouched(&self) -> bool {
        self.received == self.padding && self.requested() == 0
    }

    /// Asks `peer` for up to `n` open blocks, ascending.
    pub(super) fn take_front(&mut self, peer: PeerSlot, n: usize, out: &mut Vec<(PieceIndex, BlockIndex)>) {
        let goal = out.len() + n;
        let mut at = self.cursor as usize;
        while out.len() < goal && self.open > 0 {
            // The counter of open blocks says that one is still ahead.
            if self.blocks[at].is_open() {
                self.request(at, peer, out);
            }
            at += 1;
        }
        self.cursor = at as u32;
    }

    /// Asks `peer` for up to `n` open blocks from the end, so that the owner of the piece meets it in the middle.
    pub(super) fn take_back(&mut self, peer: PeerSlot, n: usize, out: &mut Vec<(PieceIndex, BlockIndex)>) {
        let goal = out.len() + n;
        for at in (0..self.blocks.len()).rev() {
            if out.len() == goal || self.open == 0 {
                break;
            }
            if self.blocks[at].is_open() {
                self.request(at, peer, out);
            }
        }
    }

    /// Asks `peer` for up to `n` blocks from `from` on, as far as they are open. True if that reaches the end of the piece.
    pub(super) fn take_run(
        &mut self,
        peer: PeerSlot,
        from: BlockIndex,
        n: usize,
        out: &mut Vec<(PieceIndex, BlockIndex)>,
    ) -> bool {
        let end = self.blocks.len().min(from.index().saturating_add(n));
        for at in from.index()..end {
            if !self.blocks[at].is_open() {
                return false;
            }
            self.request(at, peer, out);
        }
        end == self.blocks.len()
    }

    fn request(&mut self, at: usize, peer: PeerSlot, out: &mut Vec<(PieceIndex, BlockIndex)>) {
        self.blocks[at] = Block::requested(peer);
        self.open -= 1;
        out.push((self.piece, BlockIndex(at as u32)));
    }

    /// `block` came; says who else was asked for it. None if it had come before.
    pub(super) fn receive(&mut self, block: BlockIndex, peer: Option<PeerSlot>) -> Option<Vec<PeerSlot>> {
        let mut others = Vec::new();
        match self.blocks[block.index()].state() {
            BlockState::Received(_) => return None,
            BlockState::Open => self.open -= 1,
            BlockState::Requested(first) => {
                others.extend(Some(first).filter(|first| Some(*first) != peer));
                self.copies.retain(|(b, other)| {
                    if *b == block && Some(*other) != peer {
                        others.push(*other);
                    }
                    *b != block
                });
            }
        }
        self.blocks[block.index()] = Block::received(peer);
        self.received += 1;
        Some(others)
    }

    /// `peer` will not send `block`. False if it wasn't asked for it.
    pub(super) fn abandon(&mut self, block: BlockIndex, peer: PeerSlot) -> bool {
        let asked = match self.blocks[block.index()].state() {
            BlockState::Requested(first) if first == peer => {
                match self.copies.iter().position(|(b, _)| *b == block) {
                    Some(i) => self.blocks[block.index()] = Block::requested(self.copies.remove(i).1),
                    None => self.reopen(block),
                }
                true
            }
            BlockState::Requested(_) => match self.copies.iter().position(|copy| *copy == (block, peer)) {
                Some(i) => {
                    self.copies.remove(i);
                    true
                }
                None => false,
            },
            _ => false,
        };
        // Whoever lets go of a block is no longer the one to get the whole piece.
        if asked && self.owner.peer() == Some(peer) {
            self.owner = Owner::Shared;
        }
        asked
    }

    /// `block` came, and was lost again before it was on disk. False if it hadn't come.
    pub(super) fn unreceive(&mut self, block: BlockIndex) -> bool {
        let was = matches!(self.blocks[block.index()].state(), BlockState::Received(_));
        if was {
            self.received -= 1;
            self.reopen(block);
        }
        was
    }

    fn reopen(&mut self, block: BlockIndex) {
        self.blocks[block.index()] = Block::OPEN;
        self.open += 1;
        self.cursor = self.cursor.min(block.0);
    }

    /// Who sent each block, in order, padding left out.
    pub(super) fn senders(&self) -> Vec<Option<PeerSlot>> {
        let sender = |block: &Block| match block.state() {
            BlockState::Received(peer) => peer,
            _ => None,
        };
        self.blocks[..self.blocks.len() - self.padding as usize].iter().map(sender).collect()
    }

    /// True if `peer` was asked for `block` and did not answer yet.
    pub(super) fn is_requested(&self, block: BlockIndex, peer: PeerSlot) -> bool {
        match self.blocks.get(block.index()).map(|block| block.state()) {
            Some(BlockState::Requested(first)) => first == peer || self.copies.contains(&(block, peer)),
            _ => false,
        }
    }

    /// Who was asked for what and did not answer yet.
    pub(super) fn requests(&self) -> impl Iterator<Item = (BlockIndex, PeerSlot)> + '_ {
        let first = self.blocks.iter().enumerate().filter_map(|(i, block)| match block.state() {
            BlockState::Requested(peer) => Some((BlockIndex(i as u32), peer)),
            _ => None,
        });
        first.chain(self.copies.iter().copied())
    }

    /// Bytes that came.
    pub(super) fn received_bytes(&self, geometry: &Geometry) -> u64 {
        let last = self.blocks.len() - 1;
        let whole = u64::from(self.received) * u64::from(geometry.block_size());
        match self.blocks[last].state() {
            BlockState::Received(_) => {
                let short = geometry.block_size() - geometry.block_len(self.piece, BlockIndex(last as u32));
                whole - u64::from(short)
            }
            _ => whole,
        }
    }

    /// What is wrong with the counters, if anything.
    pub(super) fn check(&self) -> Result<(), String> {
        let count = |f: fn(BlockState) -> bool| self.blocks.iter().filter(|b| f(b.state())).count() as u32;
        let open = count(|b| b == BlockState::Open);
        let received = count(|b| matches!(b, BlockState::Received(_)));
        if (open, received) != (self.open, self.received) {
            return Err(format!(
                "{:?}: {open} blocks open and {received} received, counted {} and {}",
                self.piece, self.open, self.received
            ));
        }
        if self.blocks[..self.cursor as usize].iter().any(|b| b.is_open()) {
            return Err(format!("{:?}: an open block below the cursor {}", self.piece, self.cursor));
        }
        for (i, (block, peer)) in self.copies.iter().enumerate() {
            match self.blocks[block.index()].state() {
                BlockState::Requested(first) if first != *peer && !self.copies[..i].contains(&(*block, *peer)) => {}
                state => return Err(format!("{:?}: {block:?} asked of {peer:?} again, being {state:?}", self.piece)),
            }
        }
        Ok(())
    }
}
