//! Connection ids of UDP trackers without any memory of them (BEP 15).
//!
//! An id is SipHash-2-4 of the minute and the asker's IP address under a secret key, so that it proves that the asker
//! receives at that address, nobody can guess that of another, and no table can be filled by strangers. Each minute gets a key
//! of its own in effect. Ids of this minute and the two before are accepted: BEP 15 wants them good for two minutes.
//! The port is left out: home routers change it between two datagrams.

use std::hash::Hasher;
use std::net::IpAddr;

use siphasher::sip::SipHasher24;

use base::Instant;

/// Microseconds during which the same id is given out.
const SLOT_US: u64 = 60_000_000;
/// Earlier slots whose ids are still accepted.
const SLOTS_BEFORE: u64 = 2;

/// Makes and proves connection ids.
#[derive(Debug)]
pub(super) struct ConnectionIds {
    secret: [u8; 16],
}

impl ConnectionIds {
    pub(super) fn new(secret: [u8; 16]) -> Self {
        ConnectionIds { secret }
    }

    /// The id for an asker at `ip`.
    pub(super) fn make(&self, now: Instant, ip: IpAddr) -> u64 {
        self.of_slot(now.as_micros() / SLOT_US, ip)
    }

    /// True if `id` was given to `ip` within the last two minutes.
    pub(super) fn prove(&self, now: Instant, ip: IpAddr, id: u64) -> bool {
        let slot = now.as_micros() / SLOT_US;
        (0..=SLOTS_BEFORE.min(slot)).any(|back| self.of_slot(slot - back, ip) == id)
    }

    fn of_slot(&self, slot: u64, ip: IpAddr) -> u64 {
        let mut hasher = SipHasher24::new_with_key(&self.secret);
        hasher.write(&slot.to_be_bytes());
        match ip {
            IpAddr::V4(ip) => hasher.write(&ip.octets()),
            IpAddr::V6(ip) => hasher.write(&ip.octets()),
        }
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_for_two_minutes_and_one_address() {
        let ids = ConnectionIds::new([7; 16]);
        let (me, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
        for start in [0, 59, 60, 119, 100_000] {
            let at = |s: u64| Instant::from_secs(start + s);
            let id = ids.make(at(0), me);
            assert!(ids.prove(at(0), me, id) && ids.prove(at(120), me, id));
            assert!(!ids.prove(at(181), me, id));
            assert!(!ids.prove(at(0), other, id));
            assert!(!ids.prove(at(0), me, id ^ 1));
            assert!(!ConnectionIds::new([8; 16]).prove(at(0), me, id));
        }
    }
}
