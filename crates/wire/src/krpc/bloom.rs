//! Filters that count peers without naming them (BEP 33): 2,048 bits, two for each IP address, joined by OR.

use crate::compact;
use sha1::{Digest, Sha1};
use std::net::IpAddr;

/// Bytes of a filter.
pub const BLOOM_LEN: usize = 256;
/// Bits of a filter.
const BITS: usize = BLOOM_LEN * 8;

/// A filter.
#[derive(Clone, PartialEq, Eq)]
pub struct Bloom(pub [u8; BLOOM_LEN]);

impl Default for Bloom {
    fn default() -> Self {
        Bloom([0; BLOOM_LEN])
    }
}

impl std::fmt::Debug for Bloom {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bloom(about {:.0})", self.estimate())
    }
}

impl Bloom {
    /// Adds an address.
    pub fn insert(&mut self, ip: IpAddr) {
        let hash = Sha1::digest(compact::ip(ip));
        for pair in [[hash[0], hash[1]], [hash[2], hash[3]]] {
            let bit = usize::from(u16::from_le_bytes(pair)) % BITS;
            self.0[bit / 8] |= 1 << (bit % 8);
        }
    }

    /// Adds all that another filter has.
    pub fn join(&mut self, other: &Bloom) {
        self.0.iter_mut().zip(other.0).for_each(|(a, b)| *a |= b);
    }

    /// About how many addresses were added. Means nothing beyond some 6,000.
    pub fn estimate(&self) -> f64 {
        let zeros = self.0.iter().map(|b| b.count_zeros()).sum::<u32>().clamp(1, BITS as u32 - 1);
        let bits = BITS as f64;
        // With every bit free this is 0.5 by the formula of the BEP; nobody is nobody.
        if self.0 == [0; BLOOM_LEN] {
            return 0.0;
        }
        (f64::from(zeros) / bits).ln() / (2.0 * (1.0 - 1.0 / bits).ln())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, Ipv6Addr};

    #[test]
    fn the_vector_of_bep_33() {
        let mut four = Bloom::default();
        (0..=255).for_each(|i| four.insert(Ipv4Addr::new(192, 0, 2, i).into()));
        let mut bloom = Bloom::default();
        (0..=0x3e7).for_each(|i| bloom.insert(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, i).into()));
        bloom.join(&four);
        assert_eq!(bloom.0[..8], [0xf6, 0xc3, 0xf5, 0xea, 0xa0, 0x7f, 0xfd, 0x91]);
        assert_eq!(bloom.0[252..], [0xfd, 0x8f, 0x72, 0xef]);
        // The bytes between, by the CRC of the whole published filter.
        assert_eq!(base::crc32c(&bloom.0), 0x22e2_3cad);
        assert!((bloom.estimate() - 1224.9308).abs() < 0.0001, "{}", bloom.estimate());
    }

    #[test]
    fn nobody_and_everybody() {
        assert_eq!(Bloom::default().estimate(), 0.0);
        assert!(Bloom([0xff; BLOOM_LEN]).estimate() > 6_000.0);
    }
}
