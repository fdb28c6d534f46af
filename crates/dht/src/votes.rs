//! What our address looks like from outside: the word of many, since one of them may lie (BEP 42).

use std::collections::VecDeque;
use std::net::IpAddr;

use base::Scope;

use crate::secure::network;

/// Votes that are remembered; the oldest goes.
const VOTES_MAX: usize = 32;
/// Votes without which nothing is decided.
const VOTES_MIN: usize = 4;

/// The votes of one family.
#[derive(Debug, Default)]
pub(crate) struct Votes {
    votes: VecDeque<([u8; 8], IpAddr)>,
    decided: Option<IpAddr>,
}

impl Votes {
    /// `voter` says that we are at `ip`. Answers the address if that decides for another one than before.
    ///
    /// A network has one vote. Local addresses say nothing about the Internet, nor do local voters.
    pub(crate) fn vote(&mut self, voter: IpAddr, ip: IpAddr) -> Option<IpAddr> {
        let from = network(voter)?;
        if ip.is_ipv4() != voter.is_ipv4() || Scope::of(ip) != Some(Scope::Global) {
            return None;
        }
        self.votes.retain(|(other, _)| *other != from);
        if self.votes.len() == VOTES_MAX {
            self.votes.pop_front();
        }
        self.votes.push_back((from, ip));
        let agreeing = self.votes.iter().filter(|(_, other)| *other == ip).count();
        let decides = agreeing >= VOTES_MIN && agreeing * 2 > self.votes.len() && self.decided != Some(ip);
        if decides {
            self.decided = Some(ip);
        }
        self.decided.filter(|_| decides)
    }

    /// What is known without asking anybody.
    pub(crate) fn decide(&mut self, ip: IpAddr) {
        self.decided = Some(ip);
    }

    /// The address, once it is decided.
    pub(crate) fn decided(&self) -> Option<IpAddr> {
        self.decided
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn most_of_at_least_four_networks_decide() {
        let mut votes = Votes::default();
        let (us, wrong) = (ip("5.6.7.8"), ip("6.6.6.6"));
        for i in 1..4 {
            assert_eq!(votes.vote(ip(&format!("9.9.{i}.1")), us), None);
            assert_eq!(votes.vote(ip(&format!("9.9.{i}.2")), us), None, "a network votes once");
        }
        assert_eq!(votes.vote(ip("8.8.8.8"), us), Some(us));
        assert_eq!(votes.vote(ip("8.8.9.8"), us), None, "it is known already");
        // A minority changes nothing; most do, once we have moved.
        let moved: Vec<_> = (0..20).filter_map(|i| votes.vote(ip(&format!("7.7.{i}.1")), wrong)).collect();
        assert_eq!((moved, votes.decided()), (vec![wrong], Some(wrong)));
        (0..1000).for_each(|i| {
            votes.vote(IpAddr::from([8, (i / 250) as u8, (i % 250) as u8, 1]), us);
        });
        assert!(votes.votes.len() <= VOTES_MAX);
    }

    #[test]
    fn what_says_nothing_is_not_counted() {
        let mut votes = Votes::default();
        for i in 0..20 {
            votes.vote(ip(&format!("127.0.0.{i}")), ip("5.6.7.8"));
            votes.vote(ip(&format!("9.9.{i}.1")), ip("192.168.1.1"));
            votes.vote(ip(&format!("9.9.{i}.1")), ip("2001:db8::1"));
        }
        assert_eq!((votes.decided(), votes.votes.len()), (None, 0));
    }
}
