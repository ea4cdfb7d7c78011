//! Our address as a peer sees it. A wildcard bind has no concrete address, and a wildcard is
//! never written into Via, Contact or SDP.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};

use crate::endpoint::Transport;

/// The address that the kernel would send from to `remote`. Queries the routing table by
/// connecting a UDP socket; nothing is sent.
///
/// # Errors
/// There is no route to `remote`.
pub fn towards(remote: IpAddr) -> io::Result<IpAddr> {
    let any: IpAddr = match remote {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    // Port 9 (discard): any port except 0 works.
    socket.connect((remote, 9))?;
    Ok(socket.local_addr()?.ip())
}

/// The concrete form of a bound address, for display and configuration: the address itself,
/// or for a wildcard the address of the default route, or loopback without one.
pub fn concrete(bound: SocketAddr) -> SocketAddr {
    if !bound.ip().is_unspecified() {
        return bound;
    }
    // Documentation addresses (RFC 5737, RFC 3849) stand for any remote host.
    let (probe, fallback): (IpAddr, IpAddr) = match bound {
        SocketAddr::V4(_) => (Ipv4Addr::new(192, 0, 2, 1).into(), Ipv4Addr::LOCALHOST.into()),
        SocketAddr::V6(_) => {
            (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into(), Ipv6Addr::LOCALHOST.into())
        }
    };
    let ip = towards(probe).ok().filter(|ip| !ip.is_unspecified()).unwrap_or(fallback);
    SocketAddr::new(ip, bound.port())
}

/// Our address for a connection over `transport` from `local`: with the port of a listener of
/// ours, or without one the port of the connection itself. `listeners` are the bound
/// addresses.
pub(super) fn reached_at(
    listeners: impl Iterator<Item = (Transport, SocketAddr)> + Clone,
    transport: Transport,
    local: SocketAddr,
) -> SocketAddr {
    let mut fits = listeners.filter(|(its, bound)| *its == transport && bound.is_ipv4() == local.is_ipv4());
    let here = fits.clone().find(|(_, bound)| bound.ip() == local.ip());
    let listener = here.or_else(|| fits.next());
    SocketAddr::new(local.ip(), listener.map_or(local.port(), |(_, bound)| bound.port()))
}

/// Caches [`towards`] per peer; bounded.
#[derive(Debug, Default)]
pub struct LocalAddresses {
    known: HashMap<IpAddr, IpAddr>,
}

/// Maximum number of peers cached; a full cache is cleared.
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
        Ok(SocketAddr::new(self.towards(remote.ip())?, bound.port()))
    }

    /// The index of the bound address best suited for `remote`: one of its family, preferably
    /// the one on the route to it.
    pub fn nearest(
        &mut self,
        bound: impl Iterator<Item = IpAddr> + Clone,
        remote: SocketAddr,
    ) -> Option<usize> {
        let mut fits = bound.enumerate().filter(|(_, bound)| bound.is_ipv4() == remote.is_ipv4());
        let (first, others) = (fits.next()?, fits.clone());
        if fits.next().is_none() {
            return Some(first.0);
        }
        let route = self.towards(remote.ip()).ok();
        let fits = |bound: IpAddr| bound.is_unspecified() || Some(bound) == route;
        let found = std::iter::once(first).chain(others).find(|(_, bound)| fits(*bound));
        Some(found.unwrap_or(first).0)
    }

    fn towards(&mut self, remote: IpAddr) -> io::Result<IpAddr> {
        if let Some(ip) = self.known.get(&remote) {
            return Ok(*ip);
        }
        let ip = towards(remote)?;
        if self.known.len() >= MAX_KNOWN {
            self.known.clear();
        }
        self.known.insert(remote, ip);
        Ok(ip)
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
    fn of_several_sockets_the_one_on_the_way_to_the_peer_is_taken() {
        let mut locals = LocalAddresses::default();
        let bound = ["::1", "192.0.2.77", "127.0.0.1", "127.0.0.2"].map(|ip| ip.parse::<IpAddr>().unwrap());
        let mut nearest = |remote| locals.nearest(bound.iter().copied(), addr(remote));
        assert_eq!(nearest("127.0.0.1:5060"), Some(2), "the route begins there");
        assert_eq!(nearest("[::1]:5060"), Some(0), "the only one of its family");
        assert_eq!(locals.nearest(bound[..1].iter().copied(), addr("127.0.0.1:5060")), None);
    }

    #[test]
    fn a_wildcard_is_never_shown() {
        assert!(!concrete(addr("0.0.0.0:5060")).ip().is_unspecified());
        assert!(!concrete(addr("[::]:5060")).ip().is_unspecified());
        assert_eq!(concrete(addr("127.0.0.1:5061")), addr("127.0.0.1:5061"));
    }
}
