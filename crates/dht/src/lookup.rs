//! One iterative lookup: whom to ask next, and when the closest have answered.
//!
//! So many questions are out at once (alpha). A node that has not answered when most would have is slow: it gives up its slot, and
//! somebody else is asked in its stead, just in case. When nearly all would have (the soft timeout), it is late: it gives up its place
//! among the closest, too, so that nobody waits for the dead, though its answer still counts if it comes. The lookup is done when
//! the k closest of those that are neither late nor dead have answered. A network has one place (BEP 42 can't be enforced yet, and a
//! /24 full of nodes next to one target is somebody's doing).
//!
//! Plain data: the machine sends, waits and tells.

use std::net::SocketAddr;

use base::NodeId;

use crate::secure;

/// Candidates that are remembered, the closest.
pub(crate) const CANDIDATES_MAX: usize = 100;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Not asked yet.
    Fresh,
    /// Asked a moment ago.
    Asked,
    /// Asked, and most would have answered by now.
    Slow,
    /// Asked, and the soft timeout is over.
    Late,
    /// Has answered.
    Answered,
    /// Has not, or with an error.
    Failed,
}

#[derive(Clone, Debug)]
struct Candidate {
    distance: NodeId,
    id: NodeId,
    addr: SocketAddr,
    state: State,
    /// Answers that led to it: 0 for a node of our own table.
    rounds: u32,
    token: Option<Vec<u8>>,
    net: Option<[u8; 8]>,
}

/// A lookup.
#[derive(Debug)]
pub(crate) struct Lookup {
    target: NodeId,
    k: usize,
    alpha: usize,
    /// Only nodes whose id fits their address count among the closest (BEP 42).
    strict: bool,
    /// The closest first.
    candidates: Vec<Candidate>,
    /// Addresses without ids, which are asked first.
    seeds: Vec<(SocketAddr, State)>,
}

impl Lookup {
    pub(crate) fn new(target: NodeId, k: usize, alpha: usize, strict: bool) -> Self {
        Lookup { target, k, alpha, strict, candidates: Vec::new(), seeds: Vec::new() }
    }

    pub(crate) fn target(&self) -> NodeId {
        self.target
    }

    /// A node to begin with, of which only the address is known.
    pub(crate) fn add_seed(&mut self, addr: SocketAddr) {
        if self.seeds.len() < CANDIDATES_MAX && self.state_of(addr).is_none() {
            self.seeds.push((addr, State::Fresh));
        }
    }

    /// A node of which somebody spoke, after so many answers.
    pub(crate) fn add(&mut self, id: NodeId, addr: SocketAddr, rounds: u32) {
        let net = secure::network(addr.ip());
        let taken = |c: &Candidate| c.id == id || c.addr == addr || (net.is_some() && c.net == net);
        let distance = self.target.distance(&id);
        let farther = self.candidates.last().is_some_and(|last| last.distance <= distance);
        if (farther && self.candidates.len() >= CANDIDATES_MAX)
            || self.candidates.iter().any(taken)
            || self.seeds.iter().any(|(seed, _)| *seed == addr)
        {
            return;
        }
        let at = self.candidates.partition_point(|c| c.distance < distance);
        self.candidates.insert(at, Candidate { distance, id, addr, state: State::Fresh, rounds, token: None, net });
        self.candidates.truncate(CANDIDATES_MAX);
    }

    fn state_of(&mut self, addr: SocketAddr) -> Option<&mut State> {
        let seed = self.seeds.iter_mut().find(|(seed, _)| *seed == addr).map(|(_, state)| state);
        seed.or_else(|| self.candidates.iter_mut().find(|c| c.addr == addr).map(|c| &mut c.state))
    }

    /// Whom to ask now; None if nobody, or not yet. The id is None for a seed.
    pub(crate) fn next(&mut self) -> Option<(SocketAddr, Option<NodeId>)> {
        let asked = |state: &State| *state == State::Asked;
        let out = self.seeds.iter().map(|(_, s)| s).chain(self.candidates.iter().map(|c| &c.state));
        if out.filter(|s| asked(s)).count() >= self.alpha {
            return None;
        }
        if let Some((addr, state)) = self.seeds.iter_mut().find(|(_, s)| *s == State::Fresh) {
            *state = State::Asked;
            return Some((*addr, None));
        }
        let (k, strict) = (self.k, self.strict);
        let alive = |c: &&mut Candidate| !matches!(c.state, State::Slow | State::Late | State::Failed);
        let mut places = 0;
        for c in self.candidates.iter_mut().filter(alive) {
            if places == k {
                break;
            }
            if c.state == State::Fresh {
                c.state = State::Asked;
                return Some((c.addr, Some(c.id)));
            }
            places += usize::from(!strict || secure::fits(&c.id, c.addr.ip()));
        }
        None
    }

    /// A question can't be sent now.
    pub(crate) fn put_back(&mut self, addr: SocketAddr) {
        self.turn(addr, State::Asked, State::Fresh);
    }

    /// Most would have answered a question by now.
    pub(crate) fn slow(&mut self, addr: SocketAddr) {
        self.turn(addr, State::Asked, State::Slow);
    }

    /// The soft timeout of a question is over.
    pub(crate) fn late(&mut self, addr: SocketAddr) {
        self.slow(addr);
        self.turn(addr, State::Slow, State::Late);
    }

    fn turn(&mut self, addr: SocketAddr, from: State, to: State) {
        if let Some(state) = self.state_of(addr).filter(|s| **s == from) {
            *state = to;
        }
    }

    /// Nobody will answer any more.
    pub(crate) fn failed(&mut self, addr: SocketAddr) {
        if let Some(state) = self.state_of(addr).filter(|s| matches!(s, State::Asked | State::Slow | State::Late)) {
            *state = State::Failed;
        }
    }

    /// A node has answered, perhaps with a token. Answers how many answers led to it.
    pub(crate) fn answered(&mut self, id: NodeId, addr: SocketAddr, token: Option<&[u8]>) -> u32 {
        if let Some(at) = self.seeds.iter().position(|(seed, _)| *seed == addr) {
            // Now it has an id, and a place among the others.
            self.seeds.remove(at);
            self.add(id, addr, 0);
        }
        let Some(c) = self.candidates.iter_mut().find(|c| c.addr == addr) else { return 0 };
        c.state = State::Answered;
        c.token = token.map(<[u8]>::to_vec);
        c.rounds
    }

    /// Have the closest answered, as far as anybody will?
    pub(crate) fn is_done(&self) -> bool {
        let pending = |s: &State| matches!(s, State::Fresh | State::Asked | State::Slow);
        if self.seeds.iter().any(|(_, s)| pending(s)) {
            return false;
        }
        let (mut places, mut answers) = (0, 0);
        for c in &self.candidates {
            match c.state {
                _ if places == self.k => break,
                State::Fresh | State::Asked | State::Slow => return false,
                State::Answered => {
                    answers += 1;
                    places += usize::from(!self.strict || secure::fits(&c.id, c.addr.ip()));
                }
                State::Late | State::Failed => {}
            }
        }
        // Where nobody has answered, even the late are worth waiting for.
        let late = self.seeds.iter().map(|(_, s)| s).chain(self.candidates.iter().map(|c| &c.state));
        answers > 0 || !late.into_iter().any(|s| *s == State::Late)
    }

    /// The k closest that have answered: id, address, and the token if there was one.
    pub(crate) fn closest(&self) -> impl Iterator<Item = (NodeId, SocketAddr, Option<&[u8]>)> {
        self.candidates
            .iter()
            .filter(|c| c.state == State::Answered)
            .take(self.k)
            .map(|c| (c.id, c.addr, c.token.as_deref()))
    }

    /// The k closest that gave a token: where something may be stored.
    pub(crate) fn storable(&self) -> Vec<(SocketAddr, Vec<u8>)> {
        let fits = |c: &&Candidate| !self.strict || secure::fits(&c.id, c.addr.ip());
        let answered = self.candidates.iter().filter(|c| c.state == State::Answered).filter(fits);
        answered.filter_map(|c| Some((c.addr, c.token.clone()?))).take(self.k).collect()
    }

    /// How many answers led to the closest node.
    pub(crate) fn rounds(&self) -> u32 {
        self.candidates.iter().find(|c| c.state == State::Answered).map_or(0, |c| c.rounds)
    }

    /// How many nodes have answered.
    #[cfg(test)]
    pub(crate) fn answers(&self) -> usize {
        self.candidates.iter().filter(|c| c.state == State::Answered).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TARGET: NodeId = NodeId([0; 20]);

    fn addr(i: u8) -> SocketAddr {
        SocketAddr::from(([9, 9, i, 1], 1))
    }

    /// A node at distance `i`.
    fn id(i: u8) -> NodeId {
        let mut id = TARGET;
        id.0[19] = i;
        id
    }

    fn lookup(nodes: std::ops::RangeInclusive<u8>) -> Lookup {
        let mut lookup = Lookup::new(TARGET, 3, 2, false);
        nodes.for_each(|i| lookup.add(id(i), addr(i), 0));
        lookup
    }

    fn next(lookup: &mut Lookup) -> Vec<u8> {
        std::iter::from_fn(|| lookup.next())
            .map(|(addr, _)| (1..=255).find(|i| super::tests::addr(*i) == addr).unwrap())
            .collect()
    }

    #[test]
    fn the_closest_are_asked_two_at_a_time() {
        let mut l = lookup(5..=9);
        assert_eq!(next(&mut l), [5, 6]);
        l.answered(id(5), addr(5), Some(b"t"));
        l.add(id(1), addr(1), 1);
        assert_eq!(next(&mut l), [1]);
        l.answered(id(6), addr(6), None);
        assert!(next(&mut l).is_empty(), "1, 5 and 6 are the closest three");
        assert!(!l.is_done());
        l.failed(addr(1));
        assert_eq!(next(&mut l), [7]);
        l.answered(id(7), addr(7), Some(b"u"));
        assert!(l.is_done());
        assert_eq!(l.closest().map(|(id, ..)| id).collect::<Vec<_>>(), [id(5), id(6), id(7)]);
        assert_eq!(l.storable(), [(addr(5), b"t".to_vec()), (addr(7), b"u".to_vec())]);
        assert_eq!((l.rounds(), l.answers()), (0, 3));
    }

    #[test]
    fn nobody_waits_for_the_late() {
        let mut l = lookup(1..=5);
        assert_eq!(next(&mut l), [1, 2]);
        l.late(addr(1));
        assert_eq!(next(&mut l), [3], "it gave up its slot");
        l.late(addr(2));
        l.answered(id(3), addr(3), None);
        assert_eq!(next(&mut l), [4, 5]);
        l.answered(id(4), addr(4), None);
        l.answered(id(5), addr(5), None);
        assert!(l.is_done(), "and its place");
        l.answered(id(1), addr(1), None);
        assert_eq!(l.closest().next().map(|(id, ..)| id), Some(id(1)), "a late answer counts");
    }

    #[test]
    fn somebody_is_asked_in_the_stead_of_the_slow() {
        let mut l = lookup(1..=6);
        assert_eq!(next(&mut l), [1, 2]);
        l.answered(id(1), addr(1), None);
        assert_eq!(next(&mut l), [3]);
        l.answered(id(3), addr(3), None);
        assert!(next(&mut l).is_empty(), "2 is still expected");
        l.slow(addr(2));
        assert_eq!(next(&mut l), [4]);
        l.answered(id(4), addr(4), None);
        assert!(!l.is_done(), "2 may still answer");
        let mut other = l.candidates.clone();
        l.late(addr(2));
        assert!(l.is_done() && next(&mut l).is_empty(), "and nobody has to be asked now");
        std::mem::swap(&mut l.candidates, &mut other);
        l.answered(id(2), addr(2), None);
        assert!(l.is_done());
        assert_eq!(l.closest().map(|(id, ..)| id).collect::<Vec<_>>(), [id(1), id(2), id(3)]);
    }

    #[test]
    fn where_nobody_answers_the_late_are_waited_for() {
        let mut l = lookup(1..=2);
        assert_eq!(next(&mut l), [1, 2]);
        l.late(addr(1));
        l.late(addr(2));
        assert!(!l.is_done());
        l.failed(addr(1));
        assert!(!l.is_done());
        l.failed(addr(2));
        assert!(l.is_done() && l.answers() == 0);
        assert!(Lookup::new(TARGET, 3, 2, false).is_done(), "there is nobody to ask");
    }

    #[test]
    fn seeds_come_first_and_get_a_place() {
        let mut l = lookup(5..=6);
        l.add_seed(addr(7));
        l.add_seed(addr(7));
        assert_eq!(next(&mut l), [7, 5]);
        assert_eq!(l.answered(id(7), addr(7), None), 0);
        assert_eq!(next(&mut l), [6]);
        l.answered(id(5), addr(5), None);
        l.answered(id(6), addr(6), None);
        assert!(l.is_done() && l.answers() == 3);
    }

    #[test]
    fn a_network_has_one_place_and_the_list_ends() {
        let mut l = Lookup::new(TARGET, 3, 2, false);
        (0..200).for_each(|i| l.add(id(i), SocketAddr::from(([9, 9, 9, i], 1)), 1));
        assert_eq!(l.candidates.len(), 1);
        (0..=255).for_each(|i| l.add(NodeId([i; 20]), SocketAddr::from(([7, i, 9, 9], 1)), 1));
        assert_eq!(l.candidates.len(), CANDIDATES_MAX);
        let mut l = Lookup::new(TARGET, 3, 2, false);
        (0..50).for_each(|i| l.add(id(i), SocketAddr::from(([127, 0, 0, 1], 1_000 + u16::from(i))), 1));
        assert_eq!(l.candidates.len(), 50, "on one machine all may be others");
    }

    #[test]
    fn ids_that_fit_no_address_take_no_place_where_that_is_enforced() {
        let mut l = Lookup::new(TARGET, 1, 1, true);
        l.add(id(1), addr(1), 0);
        let fitting = secure::id_for(addr(2).ip(), &mut base::Rng::from_seed(1));
        l.add(fitting, addr(2), 0);
        assert_eq!(next(&mut l), [1]);
        l.answered(id(1), addr(1), Some(b"t"));
        assert!(!l.is_done());
        assert_eq!(next(&mut l), [2]);
        l.answered(fitting, addr(2), Some(b"u"));
        assert!(l.is_done());
        assert_eq!(l.storable(), [(addr(2), b"u".to_vec())]);
    }

    proptest! {
        /// Whatever happens to questions, a lookup ends, and asks nobody twice.
        #[test]
        fn every_lookup_ends(
            fates in proptest::collection::vec((0..4u8, proptest::collection::vec(any::<u8>(), 0..5)), 1..300),
            alpha in 1..6usize,
            k in 1..9usize,
        ) {
            let mut l = Lookup::new(TARGET, k, alpha, false);
            (250..=255).for_each(|i| l.add(id(i), addr(i), 0));
            let (mut asked, mut late) = (std::collections::BTreeSet::new(), Vec::new());
            let mut fates = fates.into_iter().cycle();
            while !l.is_done() {
                let Some((to, _)) = l.next() else {
                    // What is out is late by now, and then lost.
                    late.drain(..).for_each(|a| l.failed(a));
                    let out: Vec<_> = asked.iter().copied().collect();
                    out.iter().for_each(|a| l.late(*a));
                    late = out;
                    continue;
                };
                prop_assert!(asked.insert(to), "{to} is asked twice");
                let (fate, named) = fates.next().unwrap();
                let node = (0..=255).find(|i| addr(*i) == to).unwrap();
                match fate {
                    0 => l.failed(to),
                    1 => late.push(to),
                    _ => {
                        let rounds = l.answered(id(node), to, None);
                        named.into_iter().for_each(|i| l.add(id(i), addr(i), rounds + 1));
                    }
                }
            }
            let closest: Vec<_> = l.closest().map(|(id, ..)| id).collect();
            prop_assert!(closest.len() <= k && closest.is_sorted());
        }
    }
}
