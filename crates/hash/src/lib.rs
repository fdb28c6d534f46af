//! SHA-1 (FIPS 180-4; BEP 3) and SHA-256 (BEP 52) of several messages at once.
//!
//! One message can't be hashed faster than its chain of rounds allows: each instruction waits for the one before, and the
//! core idles in between. Several messages side by side fill these gaps: on cores with the SHA extensions four of SHA-1
//! take little longer than one. Pieces and leaves are such messages, so whoever has several at hand gives them to
//! [`update_all`] together. Without the extensions they are hashed one after the other, by the crates `sha1` and `sha2`.
//!
//! It hashes and does nothing else: no files, no threads, no trees. This is the one room with unsafe code: a single call,
//! in `x86`, of code that was compiled for instructions which the line before has found on the machine.

#[cfg(target_arch = "x86_64")]
mod x86;

#[cfg(test)]
mod tests;

/// Bytes that one step takes.
const BLOCK: usize = 64;

type Block = [u8; BLOCK];

/// Whole blocks of one message, and the state that they go into.
#[derive(Debug)]
pub struct Lane<'a, S> {
    state: &'a mut S,
    blocks: &'a [Block],
}

/// A hash function of the SHA family with blocks of 64 bytes.
pub trait Kind: sealed::Sealed + Copy + std::fmt::Debug {
    /// The state between blocks: words, big-endian in the digest.
    type State: Copy + AsRef<[u32]> + AsMut<[u32]> + std::fmt::Debug;
    /// The digest.
    type Digest: Copy + AsMut<[u8]>;
    /// The state before the first block.
    const START: Self::State;
    /// A digest of zeros.
    const ZERO: Self::Digest;
    /// Messages side by side that are worth it.
    const LANES: usize;

    /// Takes in the blocks of all lanes, of which each has the same number.
    fn compress(lanes: &mut [Lane<'_, Self::State>]);
}

mod sealed {
    /// Only the kinds here are.
    pub trait Sealed {}
    impl Sealed for super::Sha1Kind {}
    impl Sealed for super::Sha256Kind {}
}

/// SHA-1.
#[derive(Clone, Copy, Debug)]
pub struct Sha1Kind;

/// SHA-256.
#[derive(Clone, Copy, Debug)]
pub struct Sha256Kind;

/// A running SHA-1.
pub type Sha1 = Hasher<Sha1Kind>;

/// A running SHA-256.
pub type Sha256 = Hasher<Sha256Kind>;

impl Kind for Sha1Kind {
    type State = [u32; 5];
    type Digest = [u8; 20];
    const START: [u32; 5] = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476, 0xc3d2_e1f0];
    const ZERO: [u8; 20] = [0; 20];
    const LANES: usize = 4;

    fn compress(lanes: &mut [Lane<'_, [u32; 5]>]) {
        #[cfg(target_arch = "x86_64")]
        if x86::sha1(lanes) {
            return;
        }
        lanes.iter_mut().for_each(|l| sha1::block_api::compress(l.state, l.blocks));
    }
}

impl Kind for Sha256Kind {
    type State = [u32; 8];
    type Digest = [u8; 32];
    const START: [u32; 8] =
        [0x6a09_e667, 0xbb67_ae85, 0x3c6e_f372, 0xa54f_f53a, 0x510e_527f, 0x9b05_688c, 0x1f83_d9ab, 0x5be0_cd19];
    const ZERO: [u8; 32] = [0; 32];
    const LANES: usize = 4;

    fn compress(lanes: &mut [Lane<'_, [u32; 8]>]) {
        #[cfg(target_arch = "x86_64")]
        if x86::sha256(lanes) {
            return;
        }
        lanes.iter_mut().for_each(|l| sha2::block_api::compress256(l.state, l.blocks));
    }
}

/// A hash that is fed bit by bit.
#[derive(Clone, Debug)]
pub struct Hasher<K: Kind> {
    state: K::State,
    len: u64,
    /// The beginning of a block; `len % 64` bytes of it.
    rest: Block,
}

impl<K: Kind> Default for Hasher<K> {
    fn default() -> Self {
        Hasher { state: K::START, len: 0, rest: [0; BLOCK] }
    }
}

impl<K: Kind> Hasher<K> {
    /// A hash of nothing yet.
    pub fn new() -> Self {
        Hasher::default()
    }

    /// The hash of one message.
    pub fn digest(message: &[u8]) -> K::Digest {
        let mut hasher = Self::new();
        hasher.update(message);
        hasher.finish()
    }

    /// Bytes fed so far.
    pub fn fed(&self) -> u64 {
        self.len
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        let (blocks, tail) = self.top_up(bytes).as_chunks();
        self.blocks(blocks);
        self.keep(tail);
    }

    /// The digest of all that was fed.
    pub fn finish(mut self) -> K::Digest {
        let (bits, at) = (self.len * 8, self.held());
        let mut end = [0; 2 * BLOCK];
        end[..at].copy_from_slice(&self.rest[..at]);
        end[at] = 0x80;
        let len = if at < BLOCK - 8 { BLOCK } else { 2 * BLOCK };
        end[len - 8..len].copy_from_slice(&bits.to_be_bytes());
        K::compress(&mut [Lane { state: &mut self.state, blocks: end[..len].as_chunks().0 }]);
        let mut digest = K::ZERO;
        for (out, word) in digest.as_mut().chunks_exact_mut(4).zip(self.state.as_ref()) {
            out.copy_from_slice(&word.to_be_bytes());
        }
        digest
    }

    /// Bytes of a block that is not whole.
    fn held(&self) -> usize {
        (self.len % BLOCK as u64) as usize
    }

    /// Completes the block that was begun. What is left of `bytes` begins a block, unless it is empty.
    fn top_up<'b>(&mut self, bytes: &'b [u8]) -> &'b [u8] {
        let held = self.held();
        if held == 0 {
            return bytes;
        }
        let (now, later) = bytes.split_at(bytes.len().min(BLOCK - held));
        self.rest[held..held + now.len()].copy_from_slice(now);
        self.len += now.len() as u64;
        if held + now.len() == BLOCK {
            let block = self.rest;
            K::compress(&mut [Lane { state: &mut self.state, blocks: &[block] }]);
        }
        later
    }

    fn blocks(&mut self, blocks: &[Block]) {
        if !blocks.is_empty() {
            self.len += (blocks.len() * BLOCK) as u64;
            K::compress(&mut [Lane { state: &mut self.state, blocks }]);
        }
    }

    /// Keeps what is no whole block.
    fn keep(&mut self, tail: &[u8]) {
        if !tail.is_empty() {
            self.rest[..tail.len()].copy_from_slice(tail);
            self.len += tail.len() as u64;
        }
    }
}

/// The next bytes of one message, in parts that lie one behind the other.
#[derive(Debug)]
pub struct Feed<'a, K: Kind> {
    hasher: &'a mut Hasher<K>,
    parts: &'a [&'a [u8]],
    /// Whole blocks of the part that is under way, and what follows them.
    blocks: &'a [Block],
    tail: &'a [u8],
}

impl<'a, K: Kind> Feed<'a, K> {
    /// `parts` are what comes next in `hasher`.
    pub fn new(hasher: &'a mut Hasher<K>, parts: &'a [&'a [u8]]) -> Self {
        Feed { hasher, parts, blocks: &[], tail: &[] }
    }

    /// Sees to it that there are whole blocks. False: the end.
    fn advance(&mut self) -> bool {
        while self.blocks.is_empty() {
            self.hasher.keep(std::mem::take(&mut self.tail));
            let Some((part, parts)) = self.parts.split_first() else { return false };
            self.parts = parts;
            (self.blocks, self.tail) = self.hasher.top_up(part).as_chunks();
        }
        true
    }
}

/// Feeds several hashers at once, which is faster than one after the other.
pub fn update_all<'a, K: Kind + 'a>(feeds: impl IntoIterator<Item = Feed<'a, K>>) {
    let mut waiting = feeds.into_iter();
    let mut active: Vec<Feed<'_, K>> = Vec::with_capacity(K::LANES);
    loop {
        active.retain_mut(Feed::advance);
        while active.len() < K::LANES {
            let Some(mut feed) = waiting.next() else { break };
            if feed.advance() {
                active.push(feed);
            }
        }
        let Some(step) = active.iter().map(|f| f.blocks.len()).min() else { return };
        let lanes = active.iter_mut().map(|f| {
            let (blocks, later) = f.blocks.split_at(step);
            f.blocks = later;
            f.hasher.len += (step * BLOCK) as u64;
            Lane { state: &mut f.hasher.state, blocks }
        });
        K::compress(&mut lanes.collect::<Vec<_>>());
    }
}
