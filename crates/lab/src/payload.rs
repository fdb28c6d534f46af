//! Payload of the lab: headers as real bytes, blocks as a note of what they would be.
//!
//! A block of 16 KiB costs 16 bytes here, whoever carries it, so a lab can move terabytes. What a block holds is told
//! by where it comes from (piece and offset) and by its [`Taint`]: good, or spoilt, and by whom. The mind reads zeros
//! where blocks are (see [`base::Payload`]), and never looks.

use base::PieceIndex;
use bytes::{Buf, Bytes};
use std::collections::VecDeque;

/// What became of bytes on their way: whole, or spoilt by somebody. Two who spoil the same block spoil it differently.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Taint(pub u32);

impl Taint {
    /// The bytes are the ones that the torrent means.
    pub const NONE: Taint = Taint(0);

    /// Spoilt by the peer with this number in its world.
    pub fn by(peer: usize) -> Self {
        Taint(u32::try_from(peer + 1).expect("worlds have fewer peers than 2^32"))
    }

    /// True if the bytes are right.
    pub fn is_good(self) -> bool {
        self == Taint::NONE
    }
}

/// A run of bytes of one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Run<'a> {
    /// Real bytes.
    Real(&'a [u8]),
    /// Bytes of a piece, or what pretends to be them.
    Block(Block),
}

/// A part of a piece, or what pretends to be it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Block {
    /// The piece.
    pub piece: u32,
    /// Where it starts within the piece.
    pub begin: u32,
    /// How many bytes.
    pub len: u32,
    /// What became of them.
    pub taint: Taint,
}

impl Block {
    /// Takes the first `n` bytes, which is at most how many there are.
    fn split_to(&mut self, n: u32) -> Block {
        let head = Block { len: n, ..*self };
        self.begin += n;
        self.len -= n;
        head
    }
}

/// Real bytes, and what follows them: a message is a header and a block. Either may be empty, but not both.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Part {
    real: Bytes,
    block: Block,
}

/// Bytes of a stream in the lab. One message with its block lies in it without further heap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    first: Part,
    #[expect(clippy::box_collection, reason = "it is rare, and a queue in place would make every payload large")]
    more: Option<Box<VecDeque<Part>>>,
    len: usize,
}

impl Payload {
    /// Real bytes.
    pub fn real(bytes: impl Into<Bytes>) -> Self {
        let mut payload = Payload::default();
        payload.push_real(bytes.into());
        payload
    }

    /// Bytes of a piece.
    pub fn block(piece: PieceIndex, begin: u32, len: u32, taint: Taint) -> Self {
        let mut payload = Payload::default();
        payload.push_block(Block { piece: piece.0, begin, len, taint });
        payload
    }

    /// Puts real bytes behind the others.
    pub fn push_real(&mut self, real: Bytes) {
        if real.is_empty() {
            return;
        }
        let empty = self.len == 0;
        self.len += real.len();
        if empty {
            self.first.real = real;
        } else {
            self.more.get_or_insert_default().push_back(Part { real, block: Block::default() });
        }
    }

    /// Puts bytes of a piece behind the others.
    pub fn push_block(&mut self, block: Block) {
        if block.len == 0 {
            return;
        }
        self.len += block.len as usize;
        let last = match &mut self.more {
            Some(more) => more.back_mut().unwrap_or(&mut self.first),
            None => &mut self.first,
        };
        let b = &mut last.block;
        if b.len == 0 {
            *b = block;
        } else if (b.piece, b.begin + b.len, b.taint) == (block.piece, block.begin, block.taint) {
            // Blocks that were split on their way come together again, so that a block is one run when it is written.
            b.len += block.len;
        } else {
            self.more.get_or_insert_default().push_back(Part { real: Bytes::new(), block });
        }
    }

    fn parts(&self) -> impl Iterator<Item = &Part> {
        std::iter::once(&self.first).chain(self.more.iter().flat_map(|more| more.iter()))
    }

    /// What it is made of, in order.
    pub fn runs(&self) -> impl Iterator<Item = Run<'_>> {
        self.parts().flat_map(|part| {
            let real = (!part.real.is_empty()).then_some(Run::Real(&part.real));
            let block = (part.block.len > 0).then_some(Run::Block(part.block));
            real.into_iter().chain(block)
        })
    }

    /// Bytes of pieces among these.
    pub fn block_bytes(&self) -> u64 {
        self.parts().map(|part| u64::from(part.block.len)).sum()
    }

    /// What these bytes are worth as the ones at `begin` of `piece`: good only if each of them is the right one in the
    /// right place.
    pub fn judge(&self, piece: PieceIndex, begin: u32) -> Taint {
        let mut at = begin;
        for run in self.runs() {
            match run {
                Run::Block(block) if (block.piece, block.begin) == (piece.0, at) => {
                    if !block.taint.is_good() {
                        return block.taint;
                    }
                    at += block.len;
                }
                _ => return Taint(u32::MAX),
            }
        }
        Taint::NONE
    }

    /// The first part is used up: the next one takes its place.
    fn shift(&mut self) {
        if self.first.real.is_empty() && self.first.block.len == 0 {
            self.first = self.more.as_mut().and_then(|more| more.pop_front()).unwrap_or_default();
            if self.more.as_ref().is_some_and(|more| more.is_empty()) {
                self.more = None;
            }
        }
    }
}

impl base::Payload for Payload {
    fn len(&self) -> usize {
        self.len
    }

    fn split_to(&mut self, n: usize) -> Self {
        if n >= self.len {
            return std::mem::take(self);
        }
        let mut head = Payload::default();
        while head.len < n {
            let left = n - head.len;
            let real = left.min(self.first.real.len());
            if real > 0 {
                head.push_real(self.first.real.split_to(real));
            }
            let block = (left - real).min(self.first.block.len as usize);
            if block > 0 {
                head.push_block(self.first.block.split_to(block as u32));
            }
            self.shift();
        }
        self.len -= head.len;
        head
    }

    fn advance(&mut self, n: usize) {
        if n >= self.len {
            *self = Payload::default();
            return;
        }
        let mut left = n;
        while left > 0 {
            let real = left.min(self.first.real.len());
            self.first.real.advance(real);
            let block = (left - real).min(self.first.block.len as usize);
            self.first.block.split_to(block as u32);
            left -= real + block;
            self.shift();
        }
        self.len -= n;
    }

    fn append(&mut self, more: Self) {
        if self.len == 0 {
            *self = more;
            return;
        }
        let parts = std::iter::once(more.first).chain(more.more.into_iter().flat_map(|more| *more));
        for part in parts {
            self.push_real(part.real);
            self.push_block(part.block);
        }
    }

    fn copy_prefix(&self, mut out: &mut [u8]) {
        for part in self.parts() {
            let (real, later) = out.split_at_mut(part.real.len().min(out.len()));
            real.copy_from_slice(&part.real[..real.len()]);
            let (block, later) = later.split_at_mut((part.block.len as usize).min(later.len()));
            block.fill(0);
            out = later;
            if out.is_empty() {
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Payload as _;
    use proptest::prelude::*;

    fn run() -> impl Strategy<Value = Payload> {
        prop_oneof![
            proptest::collection::vec(1u8..=255, 0..20).prop_map(Payload::real),
            (0u32..3, 0u32..3, 0u32..20, 0u32..2).prop_map(|(piece, begin, len, taint)| Payload::block(
                PieceIndex(piece),
                begin * 20,
                len,
                Taint(taint)
            )),
        ]
    }

    fn run_len(run: Run<'_>) -> usize {
        match run {
            Run::Real(bytes) => bytes.len(),
            Run::Block(block) => block.len as usize,
        }
    }

    fn bytes(p: &Payload) -> Vec<u8> {
        let mut out = vec![9; p.len()];
        p.copy_prefix(&mut out);
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn splitting_and_joining_lose_nothing(runs in proptest::collection::vec(run(), 0..8), cuts in proptest::collection::vec(0usize..40, 0..8)) {
            let mut whole = Payload::default();
            runs.into_iter().for_each(|r| whole.append(r));
            let before = whole.clone();
            let mut joined = Payload::default();
            for cut in cuts {
                let n = cut.min(whole.len());
                let mut dropped = whole.clone();
                dropped.advance(n);
                let mut rest = whole.clone();
                rest.split_to(n);
                prop_assert_eq!(dropped, rest);
                let head = whole.split_to(n);
                prop_assert_eq!(head.len(), n);
                prop_assert_eq!(head.runs().map(run_len).sum::<usize>(), n);
                joined.append(head);
            }
            joined.append(whole);
            prop_assert_eq!(bytes(&joined), bytes(&before));
            prop_assert_eq!(joined.len(), before.len());
        }
    }

    #[test]
    fn a_block_is_judged_by_place_and_taint() {
        let (p, q) = (PieceIndex(1), PieceIndex(2));
        let mut b = Payload::block(p, 16, 16, Taint::NONE);
        assert_eq!(b.judge(p, 16), Taint::NONE);
        assert!(!b.judge(p, 0).is_good());
        assert!(!b.judge(q, 16).is_good());
        b.append(Payload::block(p, 32, 16, Taint::by(3)));
        assert_eq!(b.judge(p, 16), Taint::by(3));
        assert!(!Payload::real(vec![1, 2]).judge(p, 0).is_good());
        let mut split = Payload::block(p, 0, 30, Taint::NONE);
        let mut head = split.split_to(7);
        head.append(split);
        assert_eq!(head, Payload::block(p, 0, 30, Taint::NONE));
    }
}
