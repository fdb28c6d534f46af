//! How far an address reaches, and whose word is good enough to contact it.
//!
//! Strangers (trackers, PEX, the DHT) may name any address they like. If a node believed them all, anybody
//! outside could aim it at services behind the user's firewall, so an address is used only when whoever told
//! it sits in the same scope (DESIGN.md section 4). LANs and tests on loopback work; nobody outside aims inside.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// How far an address reaches, widest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// The whole Internet.
    Global,
    /// One site: RFC 1918, shared carrier space (RFC 6598), unique local IPv6 (RFC 4193).
    Private,
    /// One cable: 169.254/16 and fe80::/10. Cloud metadata services live there, so it is no part of `Private`.
    LinkLocal,
    /// This machine.
    Loopback,
}

impl Scope {
    /// All of them, widest first.
    pub const ALL: [Scope; 4] = [Scope::Global, Scope::Private, Scope::LinkLocal, Scope::Loopback];

    /// The scope of `ip`; None where no peer can be: unspecified, multicast, broadcast, reserved. IPv6 addresses that
    /// carry an IPv4 address (mapped, NAT64, 6to4) reach as far as what they carry.
    pub fn of(ip: IpAddr) -> Option<Scope> {
        match ip {
            IpAddr::V4(ip) => Scope::of_v4(ip),
            IpAddr::V6(ip) => Scope::of_v6(ip),
        }
    }

    fn of_v4(ip: Ipv4Addr) -> Option<Scope> {
        match ip.octets() {
            [0, ..] | [224..=255, ..] => None,
            [127, ..] => Some(Scope::Loopback),
            [169, 254, ..] => Some(Scope::LinkLocal),
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Some(Scope::Private),
            _ => Some(Scope::Global),
        }
    }

    fn of_v6(ip: Ipv6Addr) -> Option<Scope> {
        let carried = |hi: u16, lo: u16| Scope::of_v4(Ipv4Addr::from((u32::from(hi) << 16) | u32::from(lo)));
        match ip.segments() {
            [0, 0, 0, 0, 0, 0, 0, 1] => Some(Scope::Loopback),
            [0, 0, 0, 0, 0, 0xffff, hi, lo] | [0x64, 0xff9b, 0, 0, 0, 0, hi, lo] => carried(hi, lo),
            [0, 0, 0, 0, 0, 0, ..] => None,
            [0x2002, hi, lo, ..] => carried(hi, lo),
            [0xfe80..=0xfebf, ..] => Some(Scope::LinkLocal),
            [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Some(Scope::Private),
            [0xff00..=0xffff, ..] => None,
            _ => Some(Scope::Global),
        }
    }

    /// True for everything that is not the whole Internet.
    pub fn is_local(self) -> bool {
        self != Scope::Global
    }
}

/// May a node contact `addr` because somebody in scope `told_by` said so? Never where no peer can be, or at port 0;
/// always if the address is global; else only if the teller is at least as near.
pub fn may_use(addr: SocketAddr, told_by: Scope) -> bool {
    addr.port() != 0 && Scope::of(addr.ip()).is_some_and(|scope| told_by >= scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes() {
        let check = |ip: &str, expect| assert_eq!(Scope::of(ip.parse().unwrap()), expect, "{ip}");
        for ip in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "2001:db8::1", "2002:808:808::1", "::ffff:8.8.8.8"] {
            check(ip, Some(Scope::Global));
        }
        for ip in ["10.0.0.1", "172.16.0.1", "192.168.1.2", "100.64.0.1", "fd00::1", "::ffff:10.1.1.1", "2002:a00:1::1"]
        {
            check(ip, Some(Scope::Private));
        }
        for ip in ["169.254.169.254", "fe80::1", "64:ff9b::169.254.1.1"] {
            check(ip, Some(Scope::LinkLocal));
        }
        for ip in ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1", "64:ff9b::127.0.0.1"] {
            check(ip, Some(Scope::Loopback));
        }
        for ip in ["0.0.0.0", "0.1.2.3", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::", "ff02::1", "::7f00:2"] {
            check(ip, None);
        }
    }

    #[test]
    fn nobody_outside_aims_inside() {
        let check = |addr: &str, told_by, expect| {
            assert_eq!(may_use(addr.parse().unwrap(), told_by), expect, "{addr} {told_by:?}")
        };
        check("8.8.8.8:1", Scope::Global, true);
        check("8.8.8.8:1", Scope::Loopback, true);
        check("8.8.8.8:0", Scope::Loopback, false);
        check("10.0.0.1:1", Scope::Global, false);
        check("10.0.0.1:1", Scope::Private, true);
        check("10.0.0.1:1", Scope::Loopback, true);
        check("169.254.169.254:80", Scope::Private, false);
        check("127.0.0.1:1", Scope::Global, false);
        check("127.0.0.1:1", Scope::Private, false);
        check("[::1]:1", Scope::Loopback, true);
        check("224.0.0.1:1", Scope::Loopback, false);
    }
}
