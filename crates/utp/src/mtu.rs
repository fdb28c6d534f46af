//! How large packets may be: found by probes that cost nothing when they are lost.
//!
//! Packets start at what every path carries. A probe is larger by padding that receivers skip, never by payload: if it is lost,
//! what it carried is sent again in a packet that fits, since a packet with a number once given can't be cut differently
//! any more. The largest size is tried first, for most paths carry it; then the middle of what is left.

use crate::seq::Seq;
use base::Instant;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

/// Bytes of IPv4 and UDP headers, and of IPv6 and UDP headers.
const HEADERS: (usize, usize) = (28, 48);
/// What every path carries, with headers: IPv4 by custom, IPv6 by its specification.
const PATH_MIN: (usize, usize) = (576, 1_280);
/// What Ethernet carries, with headers.
const ETHERNET: usize = 1_500;
/// Largest datagram within a machine, without headers.
const LOOPBACK: usize = 65_000;
/// Sizes nearer to each other than this are not told apart.
const CLOSE_ENOUGH: usize = 16;
/// Probes of one size that may be lost before it counts as too large: a queue may have dropped the first.
const TRIES: u8 = 2;
/// After this time larger sizes are tried again: paths change.
const AGAIN: Duration = Duration::from_secs(600);

/// Sizes of datagrams on one path, without headers of IP and UDP.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mtu {
    floor: usize,
    ceiling: usize,
    largest: usize,
    probe: Option<(Seq, usize)>,
    tries: u8,
    tried_first: bool,
    again: Instant,
}

impl Mtu {
    /// Sizes on the way to `to`; those above `most` are never tried.
    pub(crate) fn new(now: Instant, to: SocketAddr, most: usize) -> Self {
        let (v4, local) = match to.ip() {
            IpAddr::V4(ip) => (true, ip.is_loopback()),
            IpAddr::V6(ip) => match ip.to_ipv4_mapped() {
                Some(ip) => (true, ip.is_loopback()),
                None => (false, ip.is_loopback()),
            },
        };
        let (headers, least) = if v4 { (HEADERS.0, PATH_MIN.0) } else { (HEADERS.1, PATH_MIN.1) };
        let floor = least - headers;
        let largest = (if local { LOOPBACK } else { ETHERNET - headers }).min(most).max(floor);
        let again = now + AGAIN;
        Mtu { floor, ceiling: largest, largest, probe: None, tries: 0, tried_first: false, again }
    }

    /// Bytes of a datagram that gets through.
    pub(crate) fn size(&self) -> usize {
        self.floor
    }

    /// The size to probe now, if any.
    pub(crate) fn wanted(&mut self, now: Instant) -> Option<usize> {
        if self.probe.is_some() {
            return None;
        }
        if now >= self.again {
            (self.ceiling, self.tried_first, self.again) = (self.largest, false, now + AGAIN);
        }
        if self.ceiling < self.floor + CLOSE_ENOUGH {
            return None;
        }
        Some(if self.tried_first { self.floor + (self.ceiling - self.floor).div_ceil(2) } else { self.ceiling })
    }

    /// Packet `seq` is a probe of `size`.
    pub(crate) fn probing(&mut self, seq: Seq, size: usize) {
        self.probe = Some((seq, size));
    }

    /// A probe arrived.
    pub(crate) fn arrived(&mut self, seq: Seq) {
        if let Some((_, size)) = self.probe.take_if(|(probe, _)| *probe == seq) {
            self.floor = self.floor.max(size);
            (self.tries, self.tried_first) = (0, true);
        }
    }

    /// A probe was lost, though others arrived.
    pub(crate) fn lost(&mut self, seq: Seq) {
        if let Some((_, size)) = self.probe.take_if(|(probe, _)| *probe == seq) {
            self.tries += 1;
            if self.tries >= TRIES {
                self.ceiling = size - 1;
                (self.tries, self.tried_first) = (0, true);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(to: &str, path: usize) -> (usize, usize) {
        let mut mtu = Mtu::new(Instant::ZERO, to.parse().unwrap(), 65_000);
        let mut probes = 0;
        while let Some(size) = mtu.wanted(Instant::ZERO) {
            mtu.probing(Seq(7), size);
            assert_eq!(mtu.wanted(Instant::ZERO), None, "one at a time");
            mtu.lost(Seq(8));
            if size <= path {
                mtu.arrived(Seq(7))
            } else {
                mtu.lost(Seq(7))
            }
            probes += 1;
            assert!(probes < 100);
        }
        (mtu.size(), probes)
    }

    #[test]
    fn the_usual_sizes_take_one_probe() {
        assert_eq!(find("192.0.2.1:1", 1_472), (1_472, 1));
        assert_eq!(find("[::ffff:192.0.2.1]:1", 1_472), (1_472, 1));
        assert_eq!(find("[2001:db8::1]:1", 1_452), (1_452, 1));
        assert_eq!(find("127.0.0.1:1", 65_507), (65_000, 1));
        assert_eq!(find("[::1]:1", 65_487), (65_000, 1));
    }

    #[test]
    fn others_are_found_nearly() {
        for path in [548, 600, 1_000, 1_372, 1_463] {
            let (size, probes) = find("192.0.2.1:1", path);
            assert!(size <= path && size + CLOSE_ENOUGH > path.min(1_472), "{size} on a path of {path}");
            assert!(probes <= 16, "{probes}");
        }
    }

    #[test]
    fn larger_sizes_are_tried_again_later() {
        let mut mtu = Mtu::new(Instant::ZERO, "192.0.2.1:1".parse().unwrap(), 65_000);
        mtu.ceiling = mtu.floor;
        assert_eq!(mtu.wanted(Instant::from_secs(599)), None);
        assert_eq!(mtu.wanted(Instant::from_secs(600)), Some(1_472));
    }
}
