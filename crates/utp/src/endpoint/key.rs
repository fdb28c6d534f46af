//! What names a connection, and a hash of it that strangers can't aim.

use base::Rng;
use siphasher::sip::SipHasher13;
use std::hash::BuildHasher;
use std::net::{IpAddr, SocketAddr};

/// The address of the peer, and the number in packets to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    ip: IpAddr,
    port: u16,
    number: u16,
}

impl Key {
    pub(super) fn new(remote: SocketAddr, number: u16) -> Self {
        Key { ip: remote.ip(), port: remote.port(), number }
    }
}

/// Hashes under a secret key.
#[derive(Clone, Debug)]
pub(super) struct Keyed([u8; 16]);

impl Keyed {
    pub(super) fn new(rng: &mut Rng) -> Self {
        let mut key = [0; 16];
        rng.fill(&mut key);
        Keyed(key)
    }
}

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}
