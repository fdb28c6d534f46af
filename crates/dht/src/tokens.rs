//! Write tokens without any memory of whom they were given to (BEP 5).
//!
//! A token is SipHash-2-4 of the slot of time, the asker's IP address and what it asked for, under a secret key. So it
//! proves that its bearer receives at that address, and each slot has a secret of its own in effect. Slots take five minutes; tokens of
//! this one and the one before are accepted. The port is left out: home routers change it between two datagrams.

use std::hash::Hasher;
use std::net::IpAddr;

use base::{Instant, NodeId, Rng};
use siphasher::sip::SipHasher24;

/// Microseconds during which the same token is given out.
const SLOT_US: u64 = 5 * 60 * 1_000_000;
/// Bytes of a token.
pub(crate) const TOKEN_LEN: usize = 8;

/// Makes and proves tokens.
#[derive(Debug)]
pub(crate) struct Tokens {
    secret: [u8; 16],
}

impl Tokens {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        let mut secret = [0; 16];
        rng.fill(&mut secret);
        Tokens { secret }
    }

    /// The token with which `ip` may store something at `target`.
    pub(crate) fn make(&self, now: Instant, ip: IpAddr, target: &NodeId) -> [u8; TOKEN_LEN] {
        self.of_slot(now.as_micros() / SLOT_US, ip, target)
    }

    /// True if `token` was given to `ip` for `target`, five to ten minutes ago at most.
    pub(crate) fn prove(&self, now: Instant, ip: IpAddr, target: &NodeId, token: &[u8]) -> bool {
        let slot = now.as_micros() / SLOT_US;
        (slot.saturating_sub(1)..=slot).any(|slot| self.of_slot(slot, ip, target) == token)
    }

    fn of_slot(&self, slot: u64, ip: IpAddr, target: &NodeId) -> [u8; TOKEN_LEN] {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(&slot.to_be_bytes());
        match ip {
            IpAddr::V4(ip) => hasher.write(&ip.octets()),
            IpAddr::V6(ip) => hasher.write(&ip.octets()),
        }
        hasher.write(&target.0);
        hasher.finish().to_be_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_slots_one_address_one_target() {
        let tokens = Tokens::new(&mut Rng::from_seed(1));
        let (me, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        let (target, elsewhere) = (NodeId([1; 20]), NodeId([2; 20]));
        for start in [0, 299, 300, 100_000] {
            let at = |s: u64| Instant::from_secs(start + s);
            let token = tokens.make(at(0), me, &target);
            assert!(tokens.prove(at(0), me, &target, &token) && tokens.prove(at(300), me, &target, &token));
            assert!(!tokens.prove(at(600), me, &target, &token), "it expires");
            assert!(!tokens.prove(at(0), other, &target, &token));
            assert!(!tokens.prove(at(0), me, &elsewhere, &token));
            assert!(!tokens.prove(at(0), me, &target, &token[..7]) && !tokens.prove(at(0), me, &target, b""));
            assert!(!Tokens::new(&mut Rng::from_seed(2)).prove(at(0), me, &target, &token));
        }
    }
}
