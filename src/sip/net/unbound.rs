//! The flows that a stack would have, without a socket of it: for who wants to see what it would send.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use super::NetConfig;
use super::local_addr::{LocalAddresses, reached_at};
use crate::endpoint::{Flow, FlowId, Transport};

/// Where a peer of a connection would see us come from where nothing listens.
const ANY_PORT: u16 = 49_152;

/// Flows of a [`NetConfig`] that nothing is bound for. Ports that are 0 there stay so.
#[derive(Debug)]
pub struct Unbound {
    udp: Vec<SocketAddr>,
    listeners: Vec<(Transport, SocketAddr)>,
    locals: LocalAddresses,
    connections: HashMap<(Transport, SocketAddr), Flow>,
    last: u64,
}

impl Unbound {
    /// Where this configuration listens.
    pub fn new(config: &NetConfig) -> Self {
        let tcp = config.bind.iter().map(|bind| (Transport::Tcp, *bind));
        let tls = config.bind_tls.iter().map(|bind| (Transport::Tls, *bind));
        Unbound {
            udp: config.bind.clone(),
            listeners: tcp.chain(tls).collect(),
            locals: LocalAddresses::default(),
            connections: HashMap::new(),
            last: config.bind.len() as u64,
        }
    }

    /// The way to `remote`; none: there is no socket for it. Connections open at once, and stay.
    pub fn flow_to(&mut self, transport: Transport, remote: SocketAddr) -> Option<Flow> {
        match transport {
            Transport::Udp => {
                let index = self.locals.nearest(self.udp.iter().map(SocketAddr::ip), remote)?;
                let local = self.locals.of_flow(*self.udp.get(index)?, remote).ok()?;
                Some(Flow { transport, local, remote, id: FlowId(index as u64) })
            }
            Transport::Tcp | Transport::Tls => {
                if let Some(flow) = self.connections.get(&(transport, remote)) {
                    return Some(*flow);
                }
                let listeners = self.listeners.iter().map(|(_, bound)| bound.ip());
                let bound: Vec<IpAddr> = self.udp.iter().map(SocketAddr::ip).chain(listeners).collect();
                let ip = *bound.get(self.locals.nearest(bound.iter().copied(), remote)?)?;
                let local = self.locals.of_flow(SocketAddr::new(ip, ANY_PORT), remote).ok()?;
                let local = reached_at(self.listeners.iter().copied(), transport, local);
                self.last += 1;
                let flow = Flow { transport, local, remote, id: FlowId(self.last) };
                self.connections.insert((transport, remote), flow);
                Some(flow)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    #[test]
    fn ways_are_those_of_the_listeners() {
        let mut config = NetConfig::new(addr("127.0.0.2:5060"));
        config.bind_tls = vec![addr("0.0.0.0:5061")];
        let mut unbound = Unbound::new(&config);
        let mut local = |transport| unbound.flow_to(transport, addr("127.0.0.1:5060")).map(|it| it.local);
        assert_eq!(local(Transport::Udp), Some(addr("127.0.0.2:5060")));
        assert_eq!(local(Transport::Tcp), Some(addr("127.0.0.2:5060")));
        assert_eq!(local(Transport::Tls), Some(addr("127.0.0.2:5061")));
        assert_eq!(unbound.flow_to(Transport::Udp, addr("[::1]:5060")), None, "no socket of that family");
    }

    #[test]
    fn a_connection_is_used_again() {
        let mut unbound = Unbound::new(&NetConfig::new(addr("127.0.0.1:5060")));
        let mut to = |last: u8| unbound.flow_to(Transport::Tcp, SocketAddr::from(([127, 0, 0, last], 5060)));
        assert_eq!(to(2), to(2));
        assert_ne!(to(2).map(|it| it.id), to(3).map(|it| it.id));
    }
}
