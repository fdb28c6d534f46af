//! What keeps the table alive: joining, greeting those of whom somebody spoke, asking the silent, refreshing what nobody spoke of.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use base::{Instant, NodeId, Scope};
use wire::krpc::Ask;

use super::jobs::{Goal, LOOKUPS_MAX};
use super::{BOOTSTRAP_MAX, Dht, Purpose};
use crate::table::K;

/// Time between two looks at the table.
pub(super) const TICK: Duration = Duration::from_secs(5);
/// The same while there is more to do.
pub(super) const BUSY_TICK: Duration = Duration::from_secs(1);
/// Nodes that are asked at one look: whether they are still there, and as many of whom somebody spoke.
const PINGS_PER_TICK: usize = 4;
/// Who could not join tries again after so long, doubling ...
const REJOIN: Duration = Duration::from_secs(5);
/// ... up to this.
const REJOIN_MAX: Duration = Duration::from_secs(300);

/// How joining goes, in one family.
#[derive(Debug, Default)]
pub(super) struct Joining {
    /// A lookup for ourselves is under way.
    running: bool,
    /// Not before then.
    at: Instant,
    tries: u32,
    /// What is looked for afterwards to fill the table.
    gaps: VecDeque<NodeId>,
}

impl Joining {
    /// Joins (again), at the next look.
    pub(super) fn begin(&mut self, now: Instant) {
        (self.at, self.tries) = (now, 0);
    }
}

impl Dht {
    pub(super) fn learn_bootstrap(&mut self, now: Instant, addrs: Vec<SocketAddr>) {
        for addr in addrs {
            let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
            let usable = addr.port() != 0 && Scope::of(addr.ip()).is_some() && !self.bootstrap.contains(&addr);
            if usable && self.bootstrap.len() < BOOTSTRAP_MAX {
                self.bootstrap.push(addr);
            }
        }
        [self.v4.as_mut(), self.v6.as_mut()].into_iter().flatten().for_each(|f| f.joining.begin(now));
        self.wake_starving(now);
        self.tick_at = now;
    }

    /// Their ids are not known: any will do to be asked.
    pub(super) fn learn_nodes(&mut self, addrs: Vec<SocketAddr>) {
        for addr in addrs {
            let addr = SocketAddr::new(addr.ip().to_canonical(), addr.port());
            let id = NodeId::random(&mut self.rng);
            if addr.port() == 0 || Scope::of(addr.ip()).is_none() {
                continue;
            }
            if let Some(family) = self.family_mut(addr) {
                family.hear_of(id, addr);
            }
        }
    }

    /// Looks at the tables and the stores.
    pub(super) fn tick(&mut self, now: Instant) {
        let mut busy = false;
        for v4 in [true, false] {
            busy |= self.look_after(now, v4);
        }
        self.peers.expire(now);
        self.items.expire(now);
        self.tick_at = now + if busy { BUSY_TICK } else { TICK };
    }

    /// True if there is more to do soon.
    fn look_after(&mut self, now: Instant, v4: bool) -> bool {
        let Some(family) = (if v4 { self.v4.as_mut() } else { self.v6.as_mut() }) else { return false };
        let poor = family.table.good(now) < K;
        if poor && !family.joining.running && now >= family.joining.at {
            let tries = family.joining.tries;
            let (own, wait) = (family.table.own(), (REJOIN * 2u32.saturating_pow(tries.min(10))).min(REJOIN_MAX));
            // Nodes of an earlier run are tried alone first, if there are enough of them.
            let may_bootstrap = tries > 0 || family.table.len() < K;
            (family.joining.at, family.joining.tries) = (now + wait, tries.saturating_add(1));
            if let Some(lookup) = self.begin(now, None, v4, Goal::Join, own, may_bootstrap) {
                self.family_mut_of(v4, |f| f.joining.running = true);
                self.drive(now, lookup);
            }
        }
        let mut to_ask = Vec::new();
        let Some(family) = (if v4 { self.v4.as_mut() } else { self.v6.as_mut() }) else { return false };
        while to_ask.len() < PINGS_PER_TICK
            && let Some((id, addr)) = family.greetings.pop_front()
        {
            if family.table.wants(&id, addr) {
                to_ask.push(addr);
            }
        }
        let silent: Vec<_> = std::iter::from_fn(|| family.table.due_ping(now)).take(PINGS_PER_TICK).collect();
        let more = !family.greetings.is_empty() || silent.len() == PINGS_PER_TICK || !family.joining.gaps.is_empty();
        to_ask.extend(silent);
        let gap = family.joining.gaps.pop_front();
        let refresh = gap.or_else(|| family.table.due_refresh(now, &mut self.rng));
        for addr in to_ask {
            self.ask(now, addr, None, Ask::Ping, Purpose::Ping);
        }
        // Jobs come first.
        if let Some(target) = refresh.filter(|_| self.lookups.len() < LOOKUPS_MAX / 2)
            && let Some(lookup) = self.begin(now, None, v4, Goal::Nodes, target, false)
        {
            self.drive(now, lookup);
        }
        more
    }

    fn family_mut_of(&mut self, v4: bool, change: impl FnOnce(&mut super::Family)) {
        if let Some(family) = if v4 { self.v4.as_mut() } else { self.v6.as_mut() } {
            change(family);
        }
    }

    /// A lookup for ourselves is over: we are as near to our neighbours as we can be. The rest of the table follows.
    pub(super) fn joined(&mut self, now: Instant, v4: bool) {
        let Some(family) = (if v4 { self.v4.as_mut() } else { self.v6.as_mut() }) else { return };
        family.joining.running = false;
        family.joining.gaps = family.table.gaps(&mut self.rng).into();
        if family.table.good(now) >= K {
            family.joining.tries = 0;
        }
        self.tick_at = self.tick_at.min(now + BUSY_TICK);
    }
}
