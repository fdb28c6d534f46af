//! Sockets as we like them: which ports to listen on, and how each connection is tuned.

use base::Scope;
use rustix::net::sockopt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsFd;
use std::sync::OnceLock;

/// The first port that is tried where none is given, and how many are (BEP 3: 6881 to 6889, and a few more).
pub(crate) const PORT_FIRST: u16 = 6881;
/// Ports tried from there on.
pub(crate) const PORTS: u16 = 32;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 256;

/// Where to listen for peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Listen {
    /// On the first free port from 6881, all interfaces, both families.
    #[default]
    Usual,
    /// On any free port, all interfaces, both families.
    Any,
    /// On this address alone; unspecified means both families; port 0 means any.
    At(SocketAddr),
}

/// Sockets for peers: TCP for connections and UDP for trackers, on the same port.
#[derive(Debug)]
pub(crate) struct Sockets {
    pub(crate) tcp: Vec<std::net::TcpListener>,
    pub(crate) udp: Vec<std::net::UdpSocket>,
}

impl Sockets {
    /// Opens them.
    ///
    /// # Errors
    /// If the port is in use, or none is free.
    pub(crate) fn open(listen: Listen) -> io::Result<Sockets> {
        match listen {
            Listen::At(addr) => Sockets::at(addr),
            Listen::Any => Sockets::at((Ipv4Addr::UNSPECIFIED, 0).into()),
            Listen::Usual => {
                let at = |port| Sockets::at((Ipv4Addr::UNSPECIFIED, port).into());
                (PORT_FIRST..PORT_FIRST + PORTS).find_map(|port| at(port).ok()).map_or_else(|| at(0), Ok)
            }
        }
    }

    fn at(addr: SocketAddr) -> io::Result<Sockets> {
        let mut tcp = vec![listen(addr)?];
        let port = tcp[0].local_addr()?.port();
        let addr = SocketAddr::new(addr.ip(), port);
        let mut udp = vec![datagrams(addr)?];
        // The other family is welcome where the machine has it; one of them is enough.
        let other: Option<IpAddr> = match addr.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => Some(Ipv6Addr::UNSPECIFIED.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => Some(Ipv4Addr::UNSPECIFIED.into()),
            _ => None,
        };
        if let Some(ip) = other {
            let addr = SocketAddr::new(ip, port);
            match listen(addr) {
                Ok(socket) => tcp.push(socket),
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => return Err(e),
                Err(_) => {}
            }
            udp.extend(datagrams(addr));
        }
        tcp.sort_by_key(|s| s.local_addr().is_ok_and(|a| a.is_ipv6()));
        Ok(Sockets { tcp, udp })
    }

    /// What is really bound, IPv4 first.
    pub(crate) fn addrs(&self) -> Vec<SocketAddr> {
        self.tcp.iter().filter_map(|s| s.local_addr().ok()).collect()
    }
}

fn listen(addr: SocketAddr) -> io::Result<std::net::TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::STREAM, None)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // A port whose last connections are still dying can be used again at once.
    socket.set_reuse_address(true)?;
    set_local_congestion(&socket);
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

fn datagrams(addr: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(addr), socket2::Type::DGRAM, None)?;
    if addr.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&addr.into())?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// What the kernel uses for connections of which nobody says otherwise.
static USUAL: OnceLock<Option<String>> = OnceLock::new();

/// Congestion control within a machine. Some systems prefer bbr, whose pacing halves the speed of loopback; and since what
/// has begun with bbr goes on pacing whatever is set later, this is set before a connection begins.
fn set_local_congestion(socket: &impl AsFd) {
    USUAL.get_or_init(|| sockopt::tcp_congestion(socket).ok());
    // Not needed for the connection to work.
    let _ = sockopt::set_tcp_congestion(socket, "cubic").or_else(|_| sockopt::set_tcp_congestion(socket, "reno"));
}

/// True if `peer` is an address of this machine: to reach such an address, the kernel would send from that same address.
fn is_here(peer: IpAddr) -> bool {
    let from = || {
        let any: IpAddr = if peer.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = std::net::UdpSocket::bind((any, 0))?;
        // Nothing is sent: this looks up the way.
        socket.connect((peer, 9))?;
        socket.local_addr()
    };
    peer.is_loopback() || (Scope::of(peer).is_some_and(Scope::is_local) && from().is_ok_and(|a| a.ip() == peer))
}

/// Begins a connection to `to`.
///
/// # Errors
/// If the kernel knows at once that it can't be.
pub(crate) fn dial(to: SocketAddr) -> io::Result<std::net::TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(to), socket2::Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    // Small messages leave at once.
    let _ = socket.set_tcp_nodelay(true);
    if is_here(to.ip()) {
        set_local_congestion(&socket);
    }
    match socket.connect(&to.into()) {
        Err(e) if e.raw_os_error() != Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => Err(e),
        _ => Ok(socket.into()),
    }
}

/// Tunes a connection that came from `peer`. It has the congestion control of the listener, which is meant for this
/// machine; others get what is usual.
pub(crate) fn tune_accepted(socket: impl AsFd, peer: IpAddr) {
    let _ = sockopt::set_tcp_nodelay(&socket, true);
    if let Some(Some(usual)) = USUAL.get()
        && !is_here(peer)
    {
        let _ = sockopt::set_tcp_congestion(&socket, usual);
    }
}

/// Raises the number of files that this process may have open to `wanted`, as far as the system lets it; says how many
/// there may be now.
pub(crate) fn file_limit(wanted: usize) -> usize {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let now = limit.current.map_or(usize::MAX, |n| n as usize);
    if now >= wanted {
        return now;
    }
    let most = limit.maximum.map_or(wanted, |n| wanted.min(n as usize));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(most as u64), maximum: limit.maximum });
    if raised.is_ok() { most } else { now }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_as_many_as_the_system_allows() {
        let now = file_limit(0);
        assert_eq!(file_limit(now), now);
        assert!(file_limit(usize::MAX) >= now);
    }

    #[test]
    fn congestion_control_fits_the_way() {
        let listener = listen("127.0.0.1:0".parse().unwrap()).unwrap();
        let dialled = dial(listener.local_addr().unwrap()).unwrap();
        let accepted = loop {
            match listener.accept() {
                Ok((accepted, _)) => break accepted,
                Err(e) => assert_eq!(e.kind(), io::ErrorKind::WouldBlock),
            }
        };
        let fast = ["cubic", "reno"];
        for socket in [&dialled, &accepted] {
            assert!(fast.contains(&sockopt::tcp_congestion(socket).unwrap().as_str()));
        }
        tune_accepted(&accepted, "127.0.0.1".parse().unwrap());
        assert!(fast.contains(&sockopt::tcp_congestion(&accepted).unwrap().as_str()));
        // Whoever comes from elsewhere gets what any other socket would.
        tune_accepted(&accepted, "192.0.2.1".parse().unwrap());
        let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(sockopt::tcp_congestion(&accepted).unwrap(), sockopt::tcp_congestion(&other).unwrap());
        assert!(!is_here("192.0.2.1".parse().unwrap()) && is_here("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn a_port_in_use_is_an_error_and_the_usual_ones_are_not() {
        let first = Sockets::open(Listen::At("127.0.0.1:0".parse().unwrap())).unwrap();
        let addr = first.addrs()[0];
        assert_eq!(Sockets::open(Listen::At(addr)).unwrap_err().kind(), io::ErrorKind::AddrInUse);
        let (a, b) = (Sockets::open(Listen::Usual).unwrap(), Sockets::open(Listen::Usual).unwrap());
        assert_ne!(a.addrs()[0].port(), b.addrs()[0].port());
        assert!(a.addrs()[0].is_ipv4());
    }
}
