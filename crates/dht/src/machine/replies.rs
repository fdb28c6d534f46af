//! What answers do, and what it means when none comes.

use std::net::SocketAddr;

use base::{Instant, Scope, may_use};
use wire::krpc::{Ask, Body, Message, Reply, nodes};

use super::{Dht, Purpose};
use crate::queries::Pending;

/// Nodes of each family that are taken from one answer. Clients send 8, some 20.
pub(super) const NODES_PER_ANSWER_MAX: usize = 20;

impl Dht {
    /// An answer or an error came: it counts only if just this address was asked under this transaction id.
    pub(super) fn answer_came(&mut self, now: Instant, from: SocketAddr, message: &Message<'_>) {
        let Some(pending) = self.queries.take(now, from, message.transaction) else {
            self.counts.unasked += 1;
            return;
        };
        self.heard_at = Some(now);
        if let Some(ip) = message.ip {
            self.vote(now, from, ip);
        }
        match &message.body {
            Body::Reply(reply) => self.replied(now, from, pending, reply),
            Body::Error(error) => match pending.purpose {
                Purpose::Ping => {}
                Purpose::Step(lookup) => self.step_failed(now, lookup, from),
                Purpose::Store(lookup) => {
                    self.stored(now, lookup, from, Err((error.code, error.message.clone())));
                }
                // It answers: that was to be shown.
                Purpose::Prove(held) => self.release(now, from, &held, true),
            },
            Body::Query(_) => {}
        }
    }

    fn vote(&mut self, now: Instant, from: SocketAddr, ip: SocketAddr) {
        let Some(family) = self.family_mut(from) else { return };
        if let Some(ip) = family.votes.vote(from.ip(), ip.ip().to_canonical()) {
            self.settle_external(now, ip);
        }
    }

    fn replied(&mut self, now: Instant, from: SocketAddr, pending: Pending<Purpose>, reply: &Reply<'_>) {
        // Whoever shows that he receives may be no node, but one who only asks.
        if let Purpose::Prove(held) = pending.purpose {
            return self.release(now, from, &held, true);
        }
        let Some(family) = self.family_mut(from) else { return };
        let own = family.table.own() == reply.id;
        let alone = family.table.len() == 0;
        // Who answers under another id than the one by which it was named has made that up, or begun anew.
        let other = pending.id.is_some_and(|id| id != reply.id);
        if own || other {
            family.table.failed(from);
        } else {
            let eldest = family.table.answered(now, reply.id, from);
            if alone {
                family.joining.begin(now);
            }
            if let Some(eldest) = eldest {
                self.ask(now, eldest, None, Ask::Ping, Purpose::Ping);
            }
        }
        match pending.purpose {
            Purpose::Ping | Purpose::Prove(_) => {}
            Purpose::Step(lookup) if own || other => self.step_failed(now, lookup, from),
            Purpose::Step(lookup) => self.stepped(now, lookup, from, reply),
            Purpose::Store(lookup) => self.stored(now, lookup, from, Ok(())),
        }
    }

    /// A lookup got an answer.
    fn stepped(&mut self, now: Instant, lookup: u32, from: SocketAddr, reply: &Reply<'_>) {
        let told_by = Scope::of(from.ip()).unwrap_or(Scope::Global);
        let four = nodes::parse_v4(reply.nodes.unwrap_or_default()).take(NODES_PER_ANSWER_MAX);
        let six = nodes::parse_v6(reply.nodes6.unwrap_or_default()).take(NODES_PER_ANSWER_MAX);
        let named: Vec<_> = four.chain(six).collect();
        let (usable, refused): (Vec<_>, Vec<_>) = named.into_iter().partition(|(_, addr)| may_use(*addr, told_by));
        self.counts.refused_addrs += refused.len() as u64;
        for (id, addr) in &usable {
            if let Some(family) = self.family_mut(*addr) {
                family.hear_of(*id, *addr);
            }
        }
        let own = self.family(from).map(|f| f.table.own());
        if let Some(running) = self.lookups.get_mut(&lookup) {
            running.answers += 1;
            let rounds = running.lookup.answered(reply.id, from, reply.token);
            let same = |addr: &SocketAddr| addr.is_ipv4() == from.is_ipv4();
            for (id, addr) in usable.iter().filter(|(id, addr)| same(addr) && Some(*id) != own) {
                running.lookup.add(*id, *addr, rounds + 1);
            }
            running.found(reply);
        }
        self.take_findings(now, lookup, from, told_by, reply);
        self.drive(now, lookup);
    }

    /// A question was not answered when most would have been.
    pub(super) fn slow(&mut self, now: Instant, tx: u32) {
        let Some((to, lookup)) = self.queries.find(tx).and_then(|p| match p.purpose {
            Purpose::Step(lookup) => Some((p.to, lookup)),
            _ => None,
        }) else {
            return;
        };
        if let Some(running) = self.lookups.get_mut(&lookup) {
            running.lookup.slow(to);
        }
        self.drive(now, lookup);
    }

    /// A question was not answered within the soft timeout.
    pub(super) fn late(&mut self, now: Instant, tx: u32) {
        let Some(pending) = self.queries.find(tx) else { return };
        let to = pending.to;
        match pending.purpose {
            Purpose::Ping => {}
            Purpose::Step(lookup) => {
                if let Some(running) = self.lookups.get_mut(&lookup) {
                    running.lookup.late(to);
                }
                self.drive(now, lookup);
            }
            Purpose::Store(lookup) => self.store_settled(now, lookup, to),
            Purpose::Prove(_) => {
                if let Some(Pending { purpose: Purpose::Prove(held), .. }) = self.queries.drop(tx) {
                    self.release(now, to, &held, false);
                }
            }
        }
    }

    /// A question will not be answered any more.
    pub(super) fn lost(&mut self, now: Instant, pending: Pending<Purpose>) {
        if !self.is_cut_off(now)
            && let Some(family) = self.family_mut(pending.to)
        {
            family.table.failed(pending.to);
        }
        match pending.purpose {
            Purpose::Ping => {}
            Purpose::Step(lookup) => self.step_failed(now, lookup, pending.to),
            Purpose::Store(lookup) => self.store_settled(now, lookup, pending.to),
            Purpose::Prove(held) => self.release(now, pending.to, &held, false),
        }
    }

    /// A lookup has nothing to expect of this node any more.
    fn step_failed(&mut self, now: Instant, lookup: u32, of: SocketAddr) {
        if let Some(running) = self.lookups.get_mut(&lookup) {
            running.lookup.failed(of);
        }
        self.drive(now, lookup);
    }
}
