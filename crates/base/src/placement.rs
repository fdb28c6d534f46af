//! Which part of a split file goes to which target: rendezvous hashing, evened out.
//!
//! Each target has a weight for each part, which a hash of both names gives, and a part goes to the targets where it weighs the
//! most: highest random weight (Thaler and Ravishankar, "Using name-based mappings to increase hit rates", IEEE/ACM Transactions
//! on Networking 6(1), 1998). Everybody who knows the names finds the same targets, and when targets come or go, the parts of
//! others stay. With a few parts for each target chance alone would load them unevenly, so replicas move from the fullest to the
//! emptiest, those that lose the least weight first, until loads differ by one part.
//!
//! Deliberately not here: weights by capacity, and what a target already holds beyond this file.

use crate::Geometry;
use hash::Sha256;

/// Parts for each target, where there are enough pieces: when one target dies, several others take over what it had.
pub const PARTS_PER_TARGET: u64 = 8;
/// Longest part where it can be helped, in bytes: what is sent again when a connection breaks.
pub const PART_BYTES_MAX: u64 = 1 << 30;

/// Cuts a file into parts for `targets`, as offset and length in bytes: whole pieces, as many in each but for one, and at most
/// `parts_max` parts.
pub fn cut(geometry: &Geometry, targets: usize, parts_max: usize) -> Vec<(u64, u64)> {
    let pieces = u64::from(geometry.piece_count());
    let enough = PARTS_PER_TARGET.saturating_mul(targets as u64).max(geometry.total().div_ceil(PART_BYTES_MAX));
    let parts = enough.min(pieces).min(parts_max as u64);
    let begins = |part: u64| {
        let first = u128::from(part) * u128::from(pieces) / u128::from(parts);
        (first as u64 * u64::from(geometry.piece_length())).min(geometry.total())
    };
    (0..parts).map(|part| (begins(part), begins(part + 1) - begins(part))).collect()
}

/// The targets of each part of the file `name`, as indices into the names of `targets`. Each part gets `replicas` different ones, or
/// as many as there are. `kept` has an entry for each part: the targets where it is already, which stay.
///
/// Without any that stay, no two targets differ by more than one part. Otherwise loads are as even as the new ones can make them.
pub fn place(name: &str, targets: &[&str], replicas: usize, kept: &[Vec<usize>]) -> Vec<Vec<usize>> {
    let mut table = Table { name, targets, loads: vec![0; targets.len()], at: kept.to_vec() };
    kept.iter().flatten().for_each(|target| table.loads[*target] += 1);
    for (part, stays) in kept.iter().enumerate() {
        let mut others: Vec<usize> = (0..targets.len()).filter(|t| !stays.contains(t)).collect();
        others.sort_by_cached_key(|target| std::cmp::Reverse((table.weight(part, *target), *target)));
        let missing = replicas.saturating_sub(stays.len());
        for target in others.into_iter().take(missing) {
            table.at[part].push(target);
            table.loads[target] += 1;
        }
    }
    table.even(kept);
    table.at
}

struct Table<'a> {
    name: &'a str,
    targets: &'a [&'a str],
    /// Replicas on each target.
    loads: Vec<usize>,
    /// The targets of each part: first those that stay, then those that may change.
    at: Vec<Vec<usize>>,
}

impl Table<'_> {
    fn weight(&self, part: usize, target: usize) -> u64 {
        let digest = Sha256::digest(format!("{}\0{}\0{part}", self.targets[target], self.name).as_bytes());
        digest.first_chunk().map_or(0, |bytes| u64::from_be_bytes(*bytes))
    }

    /// Each move brings the loads closer together, so that there is a last one. While nothing has to stay, the fullest target has
    /// a part that the emptiest has not, since it has more of them.
    fn even(&mut self, kept: &[Vec<usize>]) {
        let mut order: Vec<usize> = (0..self.targets.len()).collect();
        'again: loop {
            // By name where loads are equal, so that the order in which targets are named does not matter.
            order.sort_by_key(|target| (self.loads[*target], self.targets[*target]));
            for full in order.iter().rev().copied() {
                for empty in order.iter().copied().take_while(|empty| self.loads[*empty] + 1 < self.loads[full]) {
                    if let Some((part, place)) = self.lightest(kept, full, empty) {
                        self.at[part][place] = empty;
                        self.loads[full] -= 1;
                        self.loads[empty] += 1;
                        continue 'again;
                    }
                }
            }
            return;
        }
    }

    /// The part, and its place in the list of that part, that loses the least by going from one target to another.
    fn lightest(&self, kept: &[Vec<usize>], from: usize, to: usize) -> Option<(usize, usize)> {
        let movable = |part: usize| {
            let at = &self.at[part];
            let new = at.iter().skip(kept[part].len()).position(|target| *target == from);
            new.filter(|_| !at.contains(&to)).map(|place| (part, place + kept[part].len()))
        };
        let loss = |part: usize| i128::from(self.weight(part, from)) - i128::from(self.weight(part, to));
        (0..self.at.len()).filter_map(movable).min_by_key(|(part, _)| (loss(*part), *part))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn names(n: usize) -> Vec<String> {
        (0..n).map(|i| format!("http://server{i}.example/parts/")).collect()
    }

    fn fresh(name: &str, targets: &[String], replicas: usize, parts: usize) -> Vec<Vec<usize>> {
        let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
        place(name, &targets, replicas, &vec![Vec::new(); parts])
    }

    /// The share of replicas that are elsewhere after `n` targets have become `m`, over files of 80 parts each.
    fn moved(n: usize, m: usize, replicas: usize) -> f64 {
        let (files, parts) = (20, 80);
        let mut gone = 0;
        for file in 0..files {
            let name = format!("file{file}");
            let (before, after) = (fresh(&name, &names(n), replicas, parts), fresh(&name, &names(m), replicas, parts));
            let left = |(b, a): (&Vec<usize>, &Vec<usize>)| b.iter().filter(|target| !a.contains(target)).count();
            gone += before.iter().zip(&after).map(left).sum::<usize>();
        }
        gone as f64 / (files * parts * replicas) as f64
    }

    #[test]
    fn few_parts_move_when_targets_come_and_go() {
        // At least 1 in 11 has to move when an eleventh target comes, 1 in 10 when one of ten goes; evening out is the rest.
        // By part number modulo targets it would be 10 in 11.
        for (n, m, replicas, least, most) in [
            (10, 11, 1, 0.09, 0.24),
            (10, 11, 2, 0.09, 0.19),
            (10, 9, 2, 0.1, 0.19),
            (4, 5, 2, 0.2, 0.24),
            (10, 10, 2, 0.0, 0.0),
        ] {
            let moved = moved(n, m, replicas);
            assert!((least..=most).contains(&moved), "{n} to {m} with {replicas}: {moved}");
        }
    }

    #[test]
    fn names_decide_and_not_their_order() {
        let targets = names(5);
        let turned: Vec<String> = targets.iter().rev().cloned().collect();
        let by_name = |targets: &[String]| -> Vec<Vec<String>> {
            let named = |at: Vec<usize>| {
                let mut at: Vec<String> = at.into_iter().map(|t| targets[t].clone()).collect();
                at.sort();
                at
            };
            fresh("f", targets, 2, 40).into_iter().map(named).collect()
        };
        assert_eq!(by_name(&targets), by_name(&turned));
        assert_ne!(fresh("f", &targets, 2, 40), fresh("g", &targets, 2, 40), "not every file begins on the same");
    }

    #[test]
    fn what_is_lost_goes_to_those_that_are_left_evenly() {
        let (all, before) = (names(4), fresh("f", &names(4), 2, 32));
        // The last one dies: its parts get another place, the others stay where they are.
        let left: Vec<&str> = all[..3].iter().map(String::as_str).collect();
        let kept: Vec<Vec<usize>> = before.iter().map(|at| at.iter().copied().filter(|t| *t < 3).collect()).collect();
        let after = place("f", &left, 2, &kept);
        for (kept, after) in kept.iter().zip(&after) {
            assert_eq!(after.len(), 2);
            assert!(after.starts_with(kept) && after[0] != after[1]);
        }
        let loads: Vec<usize> = (0..3).map(|t| after.iter().flatten().filter(|at| **at == t).count()).collect();
        assert!(loads.iter().all(|load| (21..=22).contains(load)), "{loads:?}");
    }

    #[test]
    fn cuts() {
        let cut = |bytes, piece, targets| {
            let parts = cut(&Geometry::new(bytes, piece, 16 << 10).unwrap(), targets, 1000);
            parts.iter().map(|(_, len)| *len).collect::<Vec<u64>>()
        };
        assert!(cut(0, 10, 3).is_empty());
        assert_eq!(cut(25, 10, 3), [10, 10, 5], "not enough for eight each");
        assert_eq!(cut(165, 10, 1), [20, 20, 20, 20, 20, 20, 20, 25]);
        assert_eq!(cut(160, 10, 2), [10; 16]);
        assert_eq!(cut(40 << 30, 1 << 24, 2), [1 << 30; 40]);
        assert_eq!(cut(2000 << 30, 1 << 24, 2).len(), 1000, "no more than the limit");
    }

    proptest! {
        #[test]
        fn loads_differ_by_one_at_most(parts in 0usize..60, targets in 1usize..12, replicas in 1usize..6) {
            let all = fresh("name", &names(targets), replicas, parts);
            let mut loads = vec![0; targets];
            for at in &all {
                prop_assert_eq!(at.len(), replicas.min(targets));
                for (i, target) in at.iter().enumerate() {
                    prop_assert!(!at[..i].contains(target));
                    loads[*target] += 1;
                }
            }
            prop_assert!(loads.iter().max() <= loads.iter().min().map(|least| least + 1).as_ref(), "{:?}", loads);
        }

        #[test]
        fn what_is_there_stays(kept in proptest::collection::vec(proptest::collection::btree_set(0usize..6, 0..4), 0..40), replicas in 1usize..5) {
            let kept: Vec<Vec<usize>> = kept.into_iter().map(|at| at.into_iter().collect()).collect();
            let targets = names(6);
            let targets: Vec<&str> = targets.iter().map(String::as_str).collect();
            for (kept, at) in kept.iter().zip(place("name", &targets, replicas, &kept)) {
                prop_assert!(at.starts_with(kept));
                prop_assert_eq!(at.len(), replicas.max(kept.len()));
                let mut different = at.clone();
                different.sort_unstable();
                different.dedup();
                prop_assert_eq!(different.len(), at.len());
            }
        }

        #[test]
        fn parts_are_whole_pieces(bytes in 0u64..5000, piece in 1u64..300, targets in 1usize..6) {
            let geometry = Geometry::new(bytes, piece, 16 << 10).unwrap();
            let parts = cut(&geometry, targets, 65536);
            let mut at = 0;
            for (offset, len) in &parts {
                prop_assert_eq!(*offset, at);
                prop_assert!(*len > 0 && offset.is_multiple_of(piece));
                at += len;
            }
            prop_assert_eq!(at, bytes);
            prop_assert_eq!(parts.len(), (8 * targets).min(geometry.piece_count() as usize));
            let pieces = |(_, len): &(u64, u64)| len.div_ceil(piece);
            let (most, least) = (parts.iter().map(pieces).max(), parts.iter().map(pieces).min());
            prop_assert!(most <= least.map(|least| least + 1));
        }
    }
}
