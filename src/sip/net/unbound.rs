//! The flows that a stack would use, without any sockets: for computing what it would send.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::NetConfig;
use super::local_addr::{LocalAddresses, reached_at};
use crate::endpoint::{Flow, FlowId, Transport};

/// Local port assumed for a connection where nothing listens.
const ANY_PORT: u16 = 49_152;

/// The name of a listener; `None` for no name, or for any listener.
type Name = Option<Arc<str>>;

/// The flows of a [`NetConfig`] without bound sockets. Ports that are 0 stay 0.
#[derive(Debug)]
pub struct Unbound {
    udp: Vec<(SocketAddr, Name)>,
    listeners: Vec<(Transport, SocketAddr, Name)>,
    locals: LocalAddresses,
    connections: HashMap<(Transport, SocketAddr, Name), Flow>,
    last: u64,
}

impl Unbound {
    /// The listeners of this configuration.
    pub fn new(config: &NetConfig) -> Self {
        let (mut udp, mut listeners) = (Vec::new(), Vec::new());
        let named = config.named.iter().map(|it| (Some(it.name.clone()), &it.bind, &it.bind_tls));
        for (name, bind, bind_tls) in [(None, &config.bind, &config.bind_tls)].into_iter().chain(named) {
            udp.extend(bind.iter().map(|at| (*at, name.clone())));
            listeners.extend(bind.iter().map(|at| (Transport::Tcp, *at, name.clone())));
            listeners.extend(bind_tls.iter().map(|at| (Transport::Tls, *at, name.clone())));
        }
        let last = udp.len() as u64;
        Unbound { udp, listeners, locals: LocalAddresses::default(), connections: HashMap::new(), last }
    }

    /// The flow to `remote`, from the listener `by` if given; `None` if there is no socket
    /// for it. Connections are open at once and stay open.
    pub fn flow_to(&mut self, transport: Transport, remote: SocketAddr, by: Name) -> Option<Flow> {
        let of = |name: &Name| by.is_none() || *name == by;
        match transport {
            Transport::Udp => {
                let ports = self.udp.iter().enumerate().filter(|(_, (_, name))| of(name));
                let ports: Vec<(usize, SocketAddr)> = ports.map(|(index, (at, _))| (index, *at)).collect();
                let place = self.locals.nearest(ports.iter().map(|(_, at)| at.ip()), remote)?;
                let (index, bound) = *ports.get(place)?;
                let local = self.locals.of_flow(bound, remote).ok()?;
                Some(Flow { transport, local, remote, id: FlowId(index as u64) })
            }
            Transport::Tcp | Transport::Tls => {
                if let Some(flow) = self.connections.get(&(transport, remote, by.clone())) {
                    return Some(*flow);
                }
                let udp = self.udp.iter().filter(|(_, name)| of(name)).map(|(at, _)| at.ip());
                let listeners = self.listeners.iter().filter(|(.., name)| of(name));
                let bound: Vec<IpAddr> = udp.chain(listeners.clone().map(|(_, at, _)| at.ip())).collect();
                let ip = *bound.get(self.locals.nearest(bound.iter().copied(), remote)?)?;
                let local = self.locals.of_flow(SocketAddr::new(ip, ANY_PORT), remote).ok()?;
                let local = reached_at(listeners.map(|(its, at, _)| (*its, *at)), transport, local);
                self.last += 1;
                let flow = Flow { transport, local, remote, id: FlowId(self.last) };
                self.connections.insert((transport, remote, by), flow);
                Some(flow)
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::NamedListener;

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("address")
    }

    #[test]
    fn ways_are_those_of_the_listeners() {
        let mut config = NetConfig::new(addr("127.0.0.2:5060"));
        config.bind_tls = vec![addr("127.0.0.2:5061")];
        let mut unbound = Unbound::new(&config);
        let mut local =
            |transport| unbound.flow_to(transport, addr("127.0.0.1:5060"), None).map(|it| it.local);
        assert_eq!(local(Transport::Udp), Some(addr("127.0.0.2:5060")));
        assert_eq!(local(Transport::Tcp), Some(addr("127.0.0.2:5060")));
        assert_eq!(local(Transport::Tls), Some(addr("127.0.0.2:5061")));
        assert_eq!(
            unbound.flow_to(Transport::Udp, addr("[::1]:5060"), None),
            None,
            "no socket of that family"
        );
    }

    #[test]
    fn a_connection_is_used_again() {
        let mut unbound = Unbound::new(&NetConfig::new(addr("127.0.0.1:5060")));
        let mut to =
            |last: u8| unbound.flow_to(Transport::Tcp, SocketAddr::from(([127, 0, 0, last], 5060)), None);
        assert_eq!(to(2), to(2));
        assert_ne!(to(2).map(|it| it.id), to(3).map(|it| it.id));
    }

    #[test]
    fn who_names_a_listener_goes_by_it() {
        let mut config = NetConfig::new(addr("127.0.0.1:5060"));
        let named = |bind, bind_tls| NamedListener { name: "wan".into(), bind, bind_tls };
        config.named = vec![named(vec![addr("127.0.0.11:5070")], vec![addr("127.0.0.12:5071")])];
        let mut unbound = Unbound::new(&config);
        let mut local = |transport| {
            unbound.flow_to(transport, addr("127.0.0.3:5060"), Some("wan".into())).map(|it| it.local)
        };
        assert_eq!(local(Transport::Udp), Some(addr("127.0.0.11:5070")));
        assert_eq!(local(Transport::Tcp), Some(addr("127.0.0.11:5070")));
        assert_eq!(local(Transport::Tls), Some(addr("127.0.0.11:5071")));
        let nobody = unbound.flow_to(Transport::Udp, addr("127.0.0.3:5060"), Some("lan".into()));
        assert_eq!(nobody, None);
    }
}
