//! Payload of the lab: headers as real bytes, blocks as a note of what they would be.
//!
//! A block of 16 KiB costs 40 bytes here, whoever carries it, so a lab can move terabytes. What a block holds is told
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Run {
    /// Real bytes.
    Real(Bytes),
    /// Bytes of a piece, or what pretends to be them.
    Block {
        /// The piece.
        piece: PieceIndex,
        /// Where they start within it.
        begin: u32,
        /// How many.
        len: u32,
        /// What became of them.
        taint: Taint,
    },
}

impl Run {
    fn len(&self) -> usize {
        match self {
            Run::Real(bytes) => bytes.len(),
            Run::Block { len, .. } => *len as usize,
        }
    }

    /// Takes the first `n` bytes, fewer than there are.
    fn split_to(&mut self, n: usize) -> Run {
        match self {
            Run::Real(bytes) => Run::Real(bytes.split_to(n)),
            Run::Block { piece, begin, len, taint } => {
                let head = Run::Block { piece: *piece, begin: *begin, len: n as u32, taint: *taint };
                *begin += n as u32;
                *len -= n as u32;
                head
            }
        }
    }
}

/// Bytes of a stream in the lab.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Payload {
    runs: VecDeque<Run>,
    len: usize,
}

impl Payload {
    /// Real bytes.
    pub fn real(bytes: impl Into<Bytes>) -> Self {
        let mut payload = Payload::default();
        payload.push(Run::Real(bytes.into()));
        payload
    }

    /// Bytes of a piece.
    pub fn block(piece: PieceIndex, begin: u32, len: u32, taint: Taint) -> Self {
        let mut payload = Payload::default();
        payload.push(Run::Block { piece, begin, len, taint });
        payload
    }

    /// Puts a run behind the others.
    pub fn push(&mut self, run: Run) {
        let len = run.len();
        if len == 0 {
            return;
        }
        self.len += len;
        // Blocks that were split on their way come together again, so that a block is one run when it is written.
        if let (Some(Run::Block { piece: p, begin: b, len: l, taint: t }), Run::Block { piece, begin, len, taint }) =
            (self.runs.back_mut(), &run)
            && (*p, *b + *l, *t) == (*piece, *begin, *taint)
        {
            *l += len;
            return;
        }
        self.runs.push_back(run);
    }

    /// What it is made of, in order.
    pub fn runs(&self) -> impl Iterator<Item = &Run> {
        self.runs.iter()
    }

    /// What these bytes are worth as the ones at `begin` of `piece`: good only if each of them is the right one in the
    /// right place.
    pub fn judge(&self, piece: PieceIndex, begin: u32) -> Taint {
        let mut at = begin;
        for run in &self.runs {
            match run {
                Run::Block { piece: p, begin: b, taint, .. } if (*p, *b) == (piece, at) => {
                    if !taint.is_good() {
                        return *taint;
                    }
                }
                _ => return Taint(u32::MAX),
            }
            at += run.len() as u32;
        }
        Taint::NONE
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
            let Some(first) = self.runs.front_mut() else { break };
            let left = n - head.len;
            let run = if first.len() <= left {
                self.runs.pop_front().expect("looked at just before")
            } else {
                first.split_to(left)
            };
            head.push(run);
        }
        self.len -= head.len;
        head
    }

    fn append(&mut self, more: Self) {
        for run in more.runs {
            self.push(run);
        }
    }

    fn copy_prefix(&self, mut out: &mut [u8]) {
        for run in &self.runs {
            if out.is_empty() {
                return;
            }
            let (now, later) = out.split_at_mut(run.len().min(out.len()));
            match run {
                Run::Real(bytes) => bytes.clone().copy_to_slice(now),
                Run::Block { .. } => now.fill(0),
            }
            out = later;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base::Payload as _;
    use proptest::prelude::*;

    fn run() -> impl Strategy<Value = Run> {
        prop_oneof![
            proptest::collection::vec(1u8..=255, 0..20).prop_map(|b| Run::Real(b.into())),
            (0u32..3, 0u32..3, 0u32..20, 0u32..2).prop_map(|(piece, begin, len, taint)| Run::Block {
                piece: PieceIndex(piece),
                begin: begin * 20,
                len,
                taint: Taint(taint),
            }),
        ]
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
            runs.into_iter().for_each(|r| whole.push(r));
            let before = whole.clone();
            let mut joined = Payload::default();
            for cut in cuts {
                let n = cut.min(whole.len());
                let head = whole.split_to(n);
                prop_assert_eq!(head.len(), n);
                prop_assert_eq!(head.runs().map(Run::len).sum::<usize>(), n);
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
