//! The address that goes into links: the one that was bound, the machine's own, or what the user says.

use crate::failure::Failure;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// What the user wants in links: scheme, host and port, without a slash at the end.
pub fn public(text: &str) -> Result<String, Failure> {
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let wrong = || Failure::usage(format!("--public {text}: write it as in http://files.example.org:8080"));
    let url: reqwest::Url = whole.parse().map_err(|_| wrong())?;
    let plain = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    match matches!(url.scheme(), "http" | "https") && url.has_host() && plain {
        true => Ok(url.as_str().trim_end_matches('/').to_owned()),
        false => Err(wrong()),
    }
}

/// The address of this machine on its main network; loopback where there is none. Nothing is sent: the kernel says which
/// address it would send from.
pub fn own() -> IpAddr {
    let towards = |from: IpAddr, to: IpAddr| {
        let socket = UdpSocket::bind((from, 0)).ok()?;
        socket.connect((to, 9)).ok()?;
        socket.local_addr().ok().map(|a| a.ip()).filter(|ip| !ip.is_unspecified())
    };
    towards(Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::new(192, 0, 2, 1).into())
        .or_else(|| towards(Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into()))
        .unwrap_or(Ipv4Addr::LOCALHOST.into())
}

/// Where this machine itself reaches what listens on `bound`.
pub fn local(bound: SocketAddr) -> SocketAddr {
    match bound.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::from((Ipv4Addr::LOCALHOST, bound.port())),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::from((Ipv6Addr::LOCALHOST, bound.port())),
        _ => bound,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_stand_in_links() {
        let read = |text: &str| public(text).ok();
        assert_eq!(read("http://h.example:81/").as_deref(), Some("http://h.example:81"));
        assert_eq!(read("h.example").as_deref(), Some("http://h.example"));
        assert_eq!(read("https://[2001:db8::1]:8443").as_deref(), Some("https://[2001:db8::1]:8443"));
        for wrong in ["", "ftp://h", "http://", "http://h/path", "http://h?x", "http://u@h"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_own_address_is_one() {
        assert!(!own().is_unspecified());
        assert_eq!(local("0.0.0.0:5".parse().unwrap()).to_string(), "127.0.0.1:5");
        assert_eq!(local("[::]:5".parse().unwrap()).to_string(), "[::1]:5");
        assert_eq!(local("10.0.0.1:5".parse().unwrap()).to_string(), "10.0.0.1:5");
    }
}
