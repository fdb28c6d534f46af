//! Addresses to listen at, as people write them.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Reads `192.0.2.1:8080`, `[::1]:8080`, `localhost:8080` (127.0.0.1), or `:8080` (all addresses of this machine).
///
/// # Errors
/// What is missing, or what to write instead.
pub fn listen(text: &str) -> Result<SocketAddr, String> {
    if let Ok(addr) = text.parse() {
        return Ok(addr);
    }
    if text.parse::<u16>().is_ok() {
        return Err(format!("write 127.0.0.1:{text} for this machine alone, or :{text} for all of its addresses"));
    }
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Err(format!("its port is missing; write {}", SocketAddr::new(ip, 8080)));
    }
    let wrong = || "write an address of this machine and a port, as in 127.0.0.1:8080 or :8080".to_owned();
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let port = port.parse().map_err(|_| format!("{port:?} is no port; write a number up to 65535, or 0 for any"))?;
    match host {
        "" => Ok(SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), port)),
        "localhost" => Ok(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_what_is_meant_by_less() {
        for (text, meant) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            ("[::1]:0", "[::1]:0"),
            (":8080", "0.0.0.0:8080"),
            ("localhost:1", "127.0.0.1:1"),
        ] {
            assert_eq!(listen(text), Ok(meant.parse().unwrap()), "{text}");
        }
        for (text, told) in [
            ("8080", "127.0.0.1:8080"),
            ("127.0.0.1", "127.0.0.1:8080"),
            ("::1", "[::1]:8080"),
            ("[::1]", "[::1]:8080"),
            (":x", "\"x\" is no port"),
            ("localhost:99999", "no port"),
            ("example.com:80", "an address of this machine"),
            ("", "an address of this machine"),
        ] {
            let error = listen(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
