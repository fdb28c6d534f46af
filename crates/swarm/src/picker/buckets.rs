//! Fresh pieces of one priority in order of availability, changed in constant time.
//!
//! One array of pieces, cut into buckets of equal availability; a bucket is known by where it ends. A piece that
//! becomes more common by one is swapped with the last of its bucket, and the boundary moves over it. The position of
//! a piece is in its cell; its availability is the bucket that its position falls into, so it is stored nowhere.
//! The order within a bucket is the accident of history: whoever picks starts at a random place.

use super::cell::Cell;

#[derive(Debug, Default)]
pub(super) struct Buckets {
    /// Pieces, rarest first.
    order: Vec<u32>,
    /// `ends[a]` is where the pieces of availability `a` end. Never shorter than what `order` needs.
    ends: Vec<u32>,
}

impl Buckets {
    /// Pieces that nobody is known to have.
    pub(super) fn new(order: Vec<u32>) -> Self {
        let ends = if order.is_empty() { Vec::new() } else { vec![order.len() as u32] };
        Buckets { order, ends }
    }

    pub(super) fn order(&self) -> &[u32] {
        &self.order
    }

    pub(super) fn len(&self) -> u32 {
        self.order.len() as u32
    }

    pub(super) fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// Availability of the piece at `pos`.
    pub(super) fn availability_at(&self, pos: u32) -> u32 {
        self.ends.partition_point(|end| *end <= pos) as u32
    }

    /// Where the pieces of availability up to `a` end.
    pub(super) fn end(&self, a: u32) -> u32 {
        self.ends.get(a as usize).copied().unwrap_or(self.order.len() as u32)
    }

    /// The piece at `pos` became more common by one.
    pub(super) fn raise(&mut self, cells: &mut [Cell], pos: u32) {
        let a = self.availability_at(pos) as usize;
        if a as u32 == Cell::PLACE_MAX {
            return;
        }
        if a + 1 == self.ends.len() {
            self.ends.push(self.order.len() as u32);
        }
        self.ends[a] -= 1;
        self.swap(cells, pos, self.ends[a]);
    }

    /// The piece at `pos` became rarer by one. Its availability is above zero.
    pub(super) fn lower(&mut self, cells: &mut [Cell], pos: u32) {
        let a = self.availability_at(pos) as usize;
        debug_assert!(a > 0);
        let first = self.ends[a - 1];
        self.swap(cells, pos, first);
        self.ends[a - 1] += 1;
        self.trim();
    }

    /// Adds `piece`, moving at most one piece of each bucket behind it.
    pub(super) fn insert(&mut self, cells: &mut [Cell], piece: u32, a: u32) {
        let a = a as usize;
        if self.ends.len() <= a {
            self.ends.resize(a + 1, self.order.len() as u32);
        }
        let mut hole = self.order.len() as u32;
        self.order.push(piece);
        for b in (a + 1..self.ends.len()).rev() {
            let first = self.ends[b - 1];
            if first != hole {
                self.put(cells, hole, self.order[first as usize]);
                hole = first;
            }
            self.ends[b] += 1;
        }
        self.put(cells, hole, piece);
        self.ends[a] += 1;
    }

    /// Takes the piece at `pos` out and says its availability. Its cell is left to the caller.
    pub(super) fn remove(&mut self, cells: &mut [Cell], pos: u32) -> u32 {
        let a = self.availability_at(pos);
        let mut hole = pos;
        for b in a as usize..self.ends.len() {
            self.ends[b] -= 1;
            let last = self.ends[b];
            if last != hole {
                self.put(cells, hole, self.order[last as usize]);
                hole = last;
            }
        }
        self.order.pop();
        self.trim();
        if self.order.is_empty() {
            *self = Buckets::default();
        }
        a
    }

    /// Bytes on the heap.
    pub(super) fn heap_bytes(&self) -> usize {
        (self.order.capacity() + self.ends.capacity()) * size_of::<u32>()
    }

    /// All pieces became more common by one.
    pub(super) fn raise_all(&mut self) {
        if !self.ends.is_empty() {
            self.ends.insert(0, 0);
        }
    }

    /// All pieces became rarer by `by`, which is at most the smallest availability.
    pub(super) fn lower_all(&mut self, by: u32) {
        debug_assert!(by == 0 || self.end(by - 1) == 0 || self.is_empty());
        self.ends.drain(..(by as usize).min(self.ends.len()));
    }

    /// The smallest availability of a piece here.
    pub(super) fn availability_min(&self) -> Option<u32> {
        (!self.is_empty()).then(|| self.availability_at(0))
    }

    fn put(&mut self, cells: &mut [Cell], pos: u32, piece: u32) {
        self.order[pos as usize] = piece;
        cells[piece as usize].set_place(pos);
    }

    fn swap(&mut self, cells: &mut [Cell], a: u32, b: u32) {
        if a != b {
            let (at_a, at_b) = (self.order[a as usize], self.order[b as usize]);
            self.put(cells, a, at_b);
            self.put(cells, b, at_a);
        }
    }

    /// Drops empty buckets at the common end.
    fn trim(&mut self) {
        while let [.., before, last] = self.ends[..]
            && before == last
        {
            self.ends.pop();
        }
    }

    /// What is wrong with the boundaries, if anything.
    pub(super) fn check(&self) -> Result<(), String> {
        if !self.ends.is_sorted() {
            return Err(format!("bucket boundaries out of order: {:?}", self.ends));
        }
        if self.ends.last().copied().unwrap_or(0) != self.len() {
            return Err(format!("the last bucket ends at {:?}, of {} pieces", self.ends.last(), self.len()));
        }
        Ok(())
    }
}
