//! Named listeners: requests can be sent from one of them, and its name tells which listener
//! a message was received on.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::endpoint::{Flow, Transport};

/// The sockets of one network, which form one listener with a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedListener {
    /// The name that requests refer to.
    pub name: Arc<str>,
    /// See [`NetConfig::bind`](super::NetConfig::bind).
    pub bind: Vec<SocketAddr>,
    /// See [`NetConfig::bind_tls`](super::NetConfig::bind_tls).
    pub bind_tls: Vec<SocketAddr>,
}

/// A listening socket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listening {
    /// UDP, TCP or TLS.
    pub transport: Transport,
    /// The bound address with the actual port; may be a wildcard.
    pub bound: SocketAddr,
    /// The name of its listener, if it has one.
    pub name: Option<Arc<str>>,
}

/// The listener of a flow: the one with its address and port, else a wildcard at that port. A
/// connection that we opened has another local port if we have no listener for its transport:
/// it belongs to the first listener at its address.
pub fn listener_of<'a>(listening: &'a [Listening], flow: &Flow) -> Option<&'a Listening> {
    let local = flow.local;
    let at_port = |it: &&Listening| it.transport == flow.transport && it.bound.port() == local.port();
    let same_ip = |it: &&Listening| it.bound.ip() == local.ip();
    let wildcard = |it: &&Listening| it.bound.ip().is_unspecified() && it.bound.is_ipv4() == local.is_ipv4();
    let exact = listening.iter().find(|it| at_port(it) && same_ip(it));
    exact
        .or_else(|| listening.iter().find(|it| at_port(it) && wildcard(it)))
        .or_else(|| listening.iter().find(same_ip))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::FlowId;

    #[test]
    fn a_flow_is_of_the_listener_at_its_address_and_port() {
        let one = |transport, bound: &str, name: &str| Listening {
            transport,
            bound: bound.parse().unwrap(),
            name: (!name.is_empty()).then(|| name.into()),
        };
        let listening = [
            one(Transport::Udp, "192.0.2.1:5060", ""),
            one(Transport::Udp, "192.0.2.1:5080", "lan"),
            one(Transport::Udp, "10.0.0.5:5060", "carrier"),
            one(Transport::Tls, "0.0.0.0:5061", "public"),
        ];
        let of = |transport, local: &str| {
            let (local, remote) = (local.parse().unwrap(), "198.51.100.7:5060".parse().unwrap());
            let flow = Flow { transport, local, remote, id: FlowId(9) };
            listener_of(&listening, &flow).map(|it| it.name.as_deref().unwrap_or("-").to_owned())
        };
        assert_eq!(of(Transport::Udp, "192.0.2.1:5060").as_deref(), Some("-"));
        assert_eq!(of(Transport::Udp, "192.0.2.1:5080").as_deref(), Some("lan"));
        assert_eq!(of(Transport::Tls, "192.0.2.7:5061").as_deref(), Some("public"));
        assert_eq!(of(Transport::Tls, "10.0.0.5:41000").as_deref(), Some("carrier"), "a connection of ours");
        assert_eq!(of(Transport::Tls, "192.0.2.9:41000"), None);
    }
}
