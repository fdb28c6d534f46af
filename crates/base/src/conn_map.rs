//! A map from connections to something small, in one flat table: one look-up is one line of memory.
//!
//! Every message begins with one. Connections are numbered by ourselves, so nobody can choose numbers that collide; the
//! order in the table is an accident, and can't be asked for.

use crate::ConnId;

/// No connection has this number.
const FREE: ConnId = ConnId(u64::MAX);
/// The smallest table.
const LEAST: usize = 8;

/// A map from connections to `V`. Open addressing, at most seven eighths full.
#[derive(Clone, Debug)]
pub struct ConnMap<V> {
    slots: Vec<(ConnId, V)>,
    len: usize,
}

impl<V> Default for ConnMap<V> {
    fn default() -> Self {
        ConnMap { slots: Vec::new(), len: 0 }
    }
}

impl<V: Copy + Default> ConnMap<V> {
    /// An empty map, which holds no heap.
    pub const fn new() -> Self {
        ConnMap { slots: Vec::new(), len: 0 }
    }

    /// Where `conn` is, or would begin to be looked for. The table is not empty.
    fn home(&self, conn: ConnId) -> usize {
        let mixed = conn.0.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (64 - self.slots.len().trailing_zeros())) as usize
    }

    fn find(&self, conn: ConnId) -> Option<usize> {
        if self.len == 0 || conn == FREE {
            return None;
        }
        let mask = self.slots.len() - 1;
        let mut at = self.home(conn);
        loop {
            match self.slots[at].0 {
                id if id == conn => return Some(at),
                FREE => return None,
                _ => at = (at + 1) & mask,
            }
        }
    }

    /// The value of `conn`.
    pub fn get(&self, conn: ConnId) -> Option<V> {
        self.find(conn).map(|at| self.slots[at].1)
    }

    /// The value of `conn`, to be changed.
    pub fn get_mut(&mut self, conn: ConnId) -> Option<&mut V> {
        self.find(conn).map(|at| &mut self.slots[at].1)
    }

    /// Puts `value` at `conn`; answers what was there. The largest number of all stays out.
    pub fn insert(&mut self, conn: ConnId, value: V) -> Option<V> {
        if conn == FREE {
            return None;
        }
        if let Some(was) = self.get_mut(conn) {
            return Some(std::mem::replace(was, value));
        }
        if (self.len + 1) * 8 > self.slots.len() * 7 {
            self.resize((self.slots.len() * 2).max(LEAST));
        }
        self.put(conn, value);
        self.len += 1;
        None
    }

    fn put(&mut self, conn: ConnId, value: V) {
        let mask = self.slots.len() - 1;
        let mut at = self.home(conn);
        while self.slots[at].0 != FREE {
            at = (at + 1) & mask;
        }
        self.slots[at] = (conn, value);
    }

    fn resize(&mut self, size: usize) {
        let old = std::mem::replace(&mut self.slots, vec![(FREE, V::default()); size]);
        for (conn, value) in old.into_iter().filter(|(conn, _)| *conn != FREE) {
            self.put(conn, value);
        }
    }

    /// Takes `conn` out. A table that has become far too large is made anew.
    pub fn remove(&mut self, conn: ConnId) -> Option<V> {
        let mut hole = self.find(conn)?;
        let value = self.slots[hole].1;
        let mask = self.slots.len() - 1;
        let mut at = hole;
        // Whoever stands behind the hole and belongs before it moves up.
        loop {
            at = (at + 1) & mask;
            let (other, moved) = self.slots[at];
            if other == FREE {
                break;
            }
            let home = self.home(other);
            if (at.wrapping_sub(home) & mask) >= (at.wrapping_sub(hole) & mask) {
                self.slots[hole] = (other, moved);
                hole = at;
            }
        }
        self.slots[hole].0 = FREE;
        self.len -= 1;
        if self.len == 0 {
            self.slots = Vec::new();
        } else if self.slots.len() > LEAST && self.len * 8 < self.slots.len() {
            self.resize(self.slots.len() / 2);
        }
        Some(value)
    }

    /// All entries in the order of the connections' numbers: slow, and so the same in every run.
    pub fn sorted(&self) -> Vec<(ConnId, V)> {
        let mut all: Vec<_> = self.slots.iter().filter(|(conn, _)| *conn != FREE).copied().collect();
        all.sort_unstable_by_key(|(conn, _)| *conn);
        all
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn behaves_like_a_tree(ops in proptest::collection::vec((0u64..40, any::<bool>(), 0u64..3), 0..300)) {
            let (mut map, mut tree) = (ConnMap::new(), BTreeMap::new());
            for (i, (n, add, kind)) in ops.into_iter().enumerate() {
                // Dialled, accepted, and far apart with the same low bits.
                let conn = ConnId([n, (1 << 63) + n, n << 40][kind as usize]);
                if add {
                    prop_assert_eq!(map.insert(conn, i), tree.insert(conn, i));
                } else {
                    prop_assert_eq!(map.remove(conn), tree.remove(&conn));
                }
                prop_assert_eq!(map.len(), tree.len());
                for (conn, value) in &tree {
                    prop_assert_eq!(map.get(*conn), Some(*value));
                    prop_assert_eq!(map.get_mut(*conn).copied(), Some(*value));
                }
                prop_assert!(map.slots.len() <= (8 * map.len()).max(LEAST) && 8 * map.len() <= 7 * map.slots.len());
            }
            prop_assert_eq!(map.sorted(), tree.clone().into_iter().collect::<Vec<_>>());
            for conn in tree.keys() {
                map.remove(*conn);
            }
            prop_assert!(map.is_empty() && map.slots.capacity() == 0);
        }
    }

    #[test]
    fn the_number_that_means_free_is_not_taken() {
        let mut map = ConnMap::new();
        assert_eq!(map.insert(FREE, 1), None);
        assert_eq!((map.get(FREE), map.remove(FREE), map.len()), (None, None, 0));
    }
}
