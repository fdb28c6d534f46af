//! A map of small keys in two arrays, sorted by key.
//!
//! Connections and sessions are looked up for every message, and come and go a thousand times less often. The keys of fifty
//! of them fill a few lines of the cache, where a tree touches one or two new ones on each of its levels. Numbers count up,
//! so most insertions are at the end; the others move what is behind them, which for thousands of entries takes about a
//! microsecond. Deliberately not for maps that strangers grow without a small limit.

/// A sorted map. Iteration is in the order of the keys.
#[derive(Clone, Debug)]
pub struct FlatMap<K, V> {
    keys: Vec<K>,
    values: Vec<V>,
}

impl<K, V> Default for FlatMap<K, V> {
    fn default() -> Self {
        FlatMap { keys: Vec::new(), values: Vec::new() }
    }
}

/// Entries for which there is room beyond those that are needed: small, since there are thousands of maps.
const SPARE: usize = 4;

impl<K: Copy + Ord, V> FlatMap<K, V> {
    /// An empty map, which holds no heap.
    pub const fn new() -> Self {
        FlatMap { keys: Vec::new(), values: Vec::new() }
    }

    fn find(&self, key: K) -> Result<usize, usize> {
        // What was added last is asked for more often than others.
        match self.keys.last() {
            Some(last) if *last < key => Err(self.keys.len()),
            _ => self.keys.binary_search(&key),
        }
    }

    /// The value of `key`.
    pub fn get(&self, key: K) -> Option<&V> {
        self.find(key).ok().map(|at| &self.values[at])
    }

    /// The value of `key`, to be changed.
    pub fn get_mut(&mut self, key: K) -> Option<&mut V> {
        self.find(key).ok().map(|at| &mut self.values[at])
    }

    /// True if `key` is there.
    pub fn contains_key(&self, key: K) -> bool {
        self.find(key).is_ok()
    }

    /// Puts `value` at `key`; answers what was there.
    pub fn insert(&mut self, key: K, value: V) -> Option<V> {
        match self.find(key) {
            Ok(at) => Some(std::mem::replace(&mut self.values[at], value)),
            Err(at) => {
                if self.keys.len() == self.keys.capacity() {
                    let more = self.keys.len() / 4 + SPARE;
                    self.keys.reserve_exact(more);
                    self.values.reserve_exact(more);
                }
                self.keys.insert(at, key);
                self.values.insert(at, value);
                None
            }
        }
    }

    /// Takes `key` out. A map that shrank a lot gives back memory.
    pub fn remove(&mut self, key: K) -> Option<V> {
        let at = self.find(key).ok()?;
        self.keys.remove(at);
        let value = self.values.remove(at);
        if self.keys.len() * 4 + SPARE < self.keys.capacity() {
            self.keys.shrink_to(self.keys.len() * 2);
            self.values.shrink_to(self.values.len() * 2);
        }
        Some(value)
    }

    /// Entries.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// True if there are none.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// The keys, ascending.
    pub fn keys(&self) -> impl DoubleEndedIterator<Item = K> + ExactSizeIterator + '_ {
        self.keys.iter().copied()
    }

    /// Key and value at this place of the order, to be changed. For loops in which entries come and go.
    pub fn at_mut(&mut self, at: usize) -> Option<(K, &mut V)> {
        self.keys.get(at).copied().zip(self.values.get_mut(at))
    }

    /// The values, in the order of their keys.
    pub fn values(&self) -> std::slice::Iter<'_, V> {
        self.values.iter()
    }

    /// The values, to be changed.
    pub fn values_mut(&mut self) -> std::slice::IterMut<'_, V> {
        self.values.iter_mut()
    }

    /// Keys and values.
    pub fn iter(&self) -> impl Iterator<Item = (K, &V)> + '_ {
        self.keys.iter().copied().zip(&self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn behaves_like_a_tree(ops in proptest::collection::vec((0u32..60, any::<bool>()), 0..200)) {
            let (mut flat, mut tree) = (FlatMap::new(), BTreeMap::new());
            for (i, (key, add)) in ops.into_iter().enumerate() {
                if add {
                    prop_assert_eq!(flat.insert(key, i), tree.insert(key, i));
                } else {
                    prop_assert_eq!(flat.remove(key), tree.remove(&key));
                }
                prop_assert_eq!(flat.get(key), tree.get(&key));
                prop_assert_eq!(flat.contains_key(key), tree.contains_key(&key));
                prop_assert!(flat.keys.capacity() <= 4 * flat.len() + 2 * SPARE);
            }
            prop_assert!(flat.iter().eq(tree.iter().map(|(k, v)| (*k, v))));
            prop_assert!(flat.values().eq(tree.values()));
            prop_assert_eq!((flat.len(), flat.is_empty()), (tree.len(), tree.is_empty()));
        }
    }
}
