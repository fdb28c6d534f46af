//! How many queries are answered: so many from one address, and so many bytes in all.
//!
//! Addresses share slots by a keyed hash, so that a flood of forged ones costs no memory, can't push anybody out, and can't be
//! aimed at somebody's slot. Two who share one share its allowance; a table is made when the first query comes.

use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};

use base::{Instant, Rng};
use siphasher::sip::SipHasher13;

use crate::secure::network;

/// Queries a second that one address may ask in the long run.
pub const QUERIES_PER_S: u32 = 5;
/// Queries that it may ask at once: a lookup nearby, and what follows it.
pub const QUERIES_BURST: u32 = 20;
/// Slots of addresses.
const SLOTS: usize = 1_024;

#[derive(Clone, Copy, Debug)]
struct Slot {
    /// Queries that it may ask now, in thousandths.
    millis: u32,
    /// When that was reckoned, in milliseconds.
    at_ms: u64,
}

/// The allowances.
#[derive(Debug)]
pub(crate) struct Limiter {
    key: [u8; 16],
    slots: Vec<Slot>,
    bytes_per_s: u64,
    bytes: u64,
    bytes_at: Instant,
}

impl Limiter {
    pub(crate) fn new(bytes_per_s: u64, rng: &mut Rng) -> Self {
        let mut key = [0; 16];
        rng.fill(&mut key);
        Limiter { key, slots: Vec::new(), bytes_per_s, bytes: bytes_per_s, bytes_at: Instant::ZERO }
    }

    /// May a query from this address be looked at?
    pub(crate) fn allows(&mut self, now: Instant, from: SocketAddr) -> bool {
        let now_ms = now.as_micros() / 1_000;
        if self.slots.is_empty() {
            self.slots = vec![Slot { millis: QUERIES_BURST * 1_000, at_ms: now_ms }; SLOTS];
        }
        let slot = self.slot(from);
        let slot = &mut self.slots[slot];
        let earned = now_ms.saturating_sub(slot.at_ms).saturating_mul(QUERIES_PER_S.into());
        let millis = (u64::from(slot.millis) + earned).min(u64::from(QUERIES_BURST) * 1_000) as u32;
        *slot = Slot { millis, at_ms: now_ms.max(slot.at_ms) };
        if slot.millis < 1_000 {
            return false;
        }
        slot.millis -= 1_000;
        true
    }

    /// May an answer of so many bytes be sent?
    pub(crate) fn spend(&mut self, now: Instant, bytes: usize) -> bool {
        let earned = now.since(self.bytes_at).as_micros() * u128::from(self.bytes_per_s) / 1_000_000;
        if earned > 0 {
            let earned = u64::try_from(earned).unwrap_or(u64::MAX);
            self.bytes = self.bytes.saturating_add(earned).min(self.bytes_per_s);
            self.bytes_at = now;
        }
        let left = self.bytes.checked_sub(bytes as u64);
        self.bytes = left.unwrap_or(self.bytes);
        left.is_some()
    }

    /// Over IPv6 a whole /64 is one asker: whoever has one address of it has all. On local networks many nodes may share a
    /// machine, and who has another port is somebody else.
    fn slot(&self, from: SocketAddr) -> usize {
        let mut hasher = SipHasher13::new_with_key(&self.key);
        let local = network(from.ip()).is_none();
        match (from.ip(), network(from.ip())) {
            (IpAddr::V6(_), Some(network)) => hasher.write(&network),
            (IpAddr::V6(ip), None) => hasher.write(&ip.octets()),
            (IpAddr::V4(ip), _) => hasher.write(&ip.octets()),
        }
        if local {
            hasher.write(&from.port().to_be_bytes());
        }
        (hasher.finish() % SLOTS as u64) as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn five_a_second_from_one_address() {
        let mut limiter = Limiter::new(1_000, &mut Rng::from_seed(1));
        let (loud, quiet): (SocketAddr, SocketAddr) = ("9.9.9.9:1".parse().unwrap(), "8.8.8.8:1".parse().unwrap());
        let mut at = |ms: u64, ip| limiter.allows(Instant::from_millis(ms), ip);
        assert_eq!((0..100).filter(|_| at(0, loud)).count(), QUERIES_BURST as usize);
        assert!(at(0, quiet), "others are not hurt");
        assert_eq!((0..100).filter(|i| at(i * 10, loud)).count(), 4, "less than a second later");
        assert_eq!((100..1_100).filter(|i| at(i * 10, loud)).count(), 10 * QUERIES_PER_S as usize);
        assert_eq!((0..100).filter(|_| at(3_600_000, loud)).count(), QUERIES_BURST as usize, "it does not add up");
    }

    #[test]
    fn a_network_of_ipv6_is_one_asker() {
        let mut limiter = Limiter::new(1_000, &mut Rng::from_seed(1));
        let asked = (0..1_000u16).filter(|i| {
            let ip = std::net::Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 1, 2, 3, *i);
            limiter.allows(Instant::ZERO, (ip, *i).into())
        });
        assert_eq!(asked.count(), QUERIES_BURST as usize);
    }

    #[test]
    fn nodes_of_one_machine_are_told_apart_by_their_ports() {
        let mut limiter = Limiter::new(1_000, &mut Rng::from_seed(1));
        let asked = |limiter: &mut Limiter, ip: [u8; 4]| {
            (0..30u16).filter(|i| limiter.allows(Instant::ZERO, (ip, 1_000 + i).into())).count()
        };
        assert_eq!(asked(&mut limiter, [127, 0, 0, 1]), 30);
        assert_eq!(asked(&mut limiter, [9, 9, 9, 9]), QUERIES_BURST as usize);
    }

    #[test]
    fn a_flood_of_addresses_costs_no_memory() {
        let mut limiter = Limiter::new(1_000, &mut Rng::from_seed(1));
        let forged = |i: u32| SocketAddr::from((std::net::Ipv4Addr::from(i.wrapping_mul(40_503)), 1));
        let allowed = (0..100_000).filter(|i| limiter.allows(Instant::ZERO, forged(*i))).count();
        assert!(allowed <= SLOTS * QUERIES_BURST as usize);
        assert_eq!(limiter.slots.capacity(), SLOTS);
    }

    #[test]
    fn so_many_bytes_in_all() {
        let mut limiter = Limiter::new(1_000, &mut Rng::from_seed(1));
        assert!(limiter.spend(Instant::ZERO, 900));
        assert!(!limiter.spend(Instant::ZERO, 200) && limiter.spend(Instant::ZERO, 100));
        let sent: usize = (0..10_000u64).filter(|i| limiter.spend(Instant::from_millis(*i), 10)).count();
        assert!((990..=1_000).contains(&sent), "{sent} times ten bytes in ten seconds");
    }
}
