//! Which of our addresses a peer sees. A wildcard bind has none of its own, and
//! a wildcard never goes into Via, Contact or SDP.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

/// The address that the kernel would send from to `remote`. Asks the routing
/// table by connecting a UDP socket; nothing is sent.
///
/// # Errors
/// There is no route to `remote`.
pub fn towards(remote: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match remote {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // Port 9 (discard): any port but 0 serves.
    socket.connect((remote, 9))?;
    Ok(socket.local_addr()?.ip())
}

/// The concrete form of a bound address for people and configuration: itself,
/// or for a wildcard the address of the default route, or loopback without one.
pub fn concrete(bound: SocketAddr) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    // Documentation addresses (RFC 5737, RFC 3849) stand for "anywhere".
    let (probe, fallback): (IpAddr, IpAddr) = match bound {
        SocketAddr::V4(_) => (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(_) => {
            (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), Ipv6Addr::LOCALHOST.into())
        }
    };
    let ip = towards(probe).ok().filter(|ip| !ip.is_unspecified()).unwrap_or(fallback);
    SocketAddr::new(ip, bound.port())
}

/// Remembers [`towards`] per peer; bounded.
#[derive(Debug, Default)]
pub struct LocalAddresses {
    known: HashMap<IpAddr, IpAddr>,
}

/// Peers remembered. More, and the table starts again.
const MAX_KNOWN: usize = 1024;

impl LocalAddresses {
    /// The concrete local address of a flow between a socket bound to `bound`
    /// and `remote`.
    ///
    /// # Errors
    /// The bind is a wildcard and there is no route to `remote`.
    pub fn of_flow(&mut self, bound: SocketAddr, remote: SocketAddr) -> io::Result<SocketAddr> {
        if !bound.ip().is_unspecified() {
            return Ok(bound);
        }
        let ip = match self.known.get(&remote.ip()) {
            Some(ip) => *ip,
            None => {
                let ip = towards(remote.ip())?;
                if self.known.len() >= MAX_KNOWN {
                    self.known.clear();
                }
                self.known.insert(remote.ip(), ip);
                ip
            }
        };
        Ok(SocketAddr::new(ip, bound.port()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    #[test]
    fn a_wildcard_bind_shows_the_address_that_the_peer_can_reach() {
        let mut locals = LocalAddresses::default();
        let local = locals.of_flow(addr("0.0.0.0:5060"), addr("127.0.0.1:7000")).expect("route");
        assert_eq!(local, addr("127.0.0.1:5060"));
        let local = locals.of_flow(addr("[::]:5060"), addr("[::1]:7000")).expect("route");
        assert_eq!(local, addr("[::1]:5060"));
    }

    #[test]
    fn a_concrete_bind_shows_itself() {
        let mut locals = LocalAddresses::default();
        let local = locals.of_flow(addr("127.0.0.2:5060"), addr("127.0.0.1:7000")).expect("route");
        assert_eq!(local, addr("127.0.0.2:5060"));
    }

    #[test]
    fn a_wildcard_is_never_shown() {
        assert!(!concrete(addr("0.0.0.0:5060")).ip().is_unspecified());
        assert!(!concrete(addr("[::]:5060")).ip().is_unspecified());
        assert_eq!(concrete(addr("127.0.0.1:5061")), addr("127.0.0.1:5061"));
    }
}
