//! Who speaks TLS (`https://`) to this plain port: is told so in its own language, and the log says it once.

use crate::log::masked;
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};

/// A fatal alert, `unexpected_message` (RFC 8446, section 6): browsers call the answer invalid rather than their own settings too old.
pub(crate) const ALERT: [u8; 7] = [21, 3, 3, 0, 2, 2, 10];
/// Networks that the log has told of. Of further ones it says nothing.
const TOLD_MAX: usize = 1024;

static TOLD: Mutex<BTreeSet<IpAddr>> = Mutex::new(BTreeSet::new());

/// Whether a connection begins with a record of a TLS handshake (RFC 8446, section 5.1): no request does.
pub(crate) fn begins(bytes: &[u8]) -> bool {
    bytes[0] == 22 && bytes.get(1).is_none_or(|major| *major == 3)
}

/// Says it in the log, unless that was said of the network before.
pub(crate) fn tell(from: IpAddr) {
    let network = masked(from);
    if is_new(&mut TOLD.lock().unwrap_or_else(PoisonError::into_inner), network) {
        tracing::error!(
            "somebody at {network} speaks TLS to this plain port: links to it begin with http://, or something in front of it has to speak TLS"
        );
    }
}

fn is_new(told: &mut BTreeSet<IpAddr>, network: IpAddr) -> bool {
    told.len() < TOLD_MAX && told.insert(network)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn what_begins_like_tls() {
        assert!(begins(&[22, 3, 1, 2, 0, 1]) && begins(&[22]));
        assert!(!begins(b"GET / HTTP/1.1\r\n") && !begins(b"\r\nGET") && !begins(&[22, b'x']));
    }

    #[test]
    fn each_network_is_told_of_once_and_not_too_many_are() {
        let mut told = BTreeSet::new();
        let network = |n: u32| Ipv4Addr::from_bits(n << 8).into();
        for n in 0..2_000 {
            assert_eq!(is_new(&mut told, network(n)), n < 1_024);
        }
        assert!(!is_new(&mut told, network(0)));
    }
}
