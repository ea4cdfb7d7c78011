//! The flows that begin at listening sockets.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;

use super::local_addr::{LocalAddresses, reached_at};
use super::{Listening, NetConfig};
use crate::endpoint::{Flow, FlowId, Transport};

/// Local port assumed for a connection where nothing listens.
const ANY_PORT: u16 = 49_152;

/// The flows from listening sockets to remote addresses. Connections are those that would be opened: a stack uses
/// it for UDP only; a dry run, which binds nothing, for all.
#[derive(Debug)]
pub struct LocalFlows {
    /// UDP sockets come first, in the order of their ids.
    listening: Vec<Listening>,
    locals: LocalAddresses,
    connections: HashMap<(Transport, SocketAddr, Option<Arc<str>>), Flow>,
    last: u64,
}

impl LocalFlows {
    /// From sockets at these addresses.
    pub fn new(listening: impl Iterator<Item = Listening>) -> Self {
        let mut listening: Vec<Listening> = listening.collect();
        listening.sort_by_key(|it| it.transport != Transport::Udp);
        let last = listening.len() as u64;
        LocalFlows { listening, locals: LocalAddresses::default(), connections: HashMap::new(), last }
    }

    /// From the sockets of this configuration, which are not bound. Ports that are 0 stay 0.
    pub fn unbound(config: &NetConfig) -> Self {
        let mut listening = Vec::new();
        let named = config.named.iter().map(|it| (Some(&it.name), &it.bind, &it.bind_tls));
        for (name, bind, bind_tls) in [(None, &config.bind, &config.bind_tls)].into_iter().chain(named) {
            let of = |transport| move |at: &_| Listening { transport, bound: *at, name: name.cloned() };
            listening.extend(bind.iter().map(of(Transport::Udp)));
            listening.extend(bind.iter().map(of(Transport::Tcp)));
            listening.extend(bind_tls.iter().map(of(Transport::Tls)));
        }
        LocalFlows::new(listening.into_iter())
    }

    /// The flows over UDP, for [`Endpoint::set_udp`](crate::endpoint::Endpoint::set_udp).
    pub fn udp(mut self) -> impl FnMut(SocketAddr, Option<&str>) -> Option<Flow> {
        move |remote, by| self.flow_to(Transport::Udp, remote, by)
    }

    /// The flow to `remote`, from the listener `by` if given; `None` if there is no socket for it. Connections are
    /// open at once and stay open.
    pub fn flow_to(&mut self, transport: Transport, remote: SocketAddr, by: Option<&str>) -> Option<Flow> {
        let ours = self.listening.iter().enumerate();
        let ours = ours.filter(|(_, it)| by.is_none() || it.name.as_deref() == by);
        match transport {
            Transport::Udp => {
                let mut ours = ours.filter(|(_, it)| it.transport == transport);
                let place = self.locals.nearest(ours.clone().map(|(_, it)| it.bound.ip()), remote)?;
                let (index, socket) = ours.nth(place)?;
                let local = self.locals.of_flow(socket.bound, remote).ok()?;
                Some(Flow { transport, local, remote, id: FlowId(index as u64) })
            }
            Transport::Tcp | Transport::Tls => {
                let peer = (transport, remote, by.map(Arc::from));
                if let Some(flow) = self.connections.get(&peer) {
                    return Some(*flow);
                }
                let bound = ours.map(|(_, it)| (it.transport, it.bound));
                let place = self.locals.nearest(bound.clone().map(|(_, at)| at.ip()), remote)?;
                let ip = bound.clone().nth(place)?.1.ip();
                let local = self.locals.of_flow(SocketAddr::new(ip, ANY_PORT), remote).ok()?;
                let local = reached_at(bound, transport, local);
                self.last += 1;
                let flow = Flow { transport, local, remote, id: FlowId(self.last) };
                self.connections.insert(peer, flow);
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
        let mut flows = LocalFlows::unbound(&config);
        let mut local = |transport| flows.flow_to(transport, addr("127.0.0.1:5060"), None).map(|it| it.local);
        assert_eq!(local(Transport::Udp), Some(addr("127.0.0.2:5060")));
        assert_eq!(local(Transport::Tcp), Some(addr("127.0.0.2:5060")));
        assert_eq!(local(Transport::Tls), Some(addr("127.0.0.2:5061")));
        assert_eq!(flows.flow_to(Transport::Udp, addr("[::1]:5060"), None), None, "no socket of that family");
    }

    #[test]
    fn a_connection_is_used_again() {
        let mut flows = LocalFlows::unbound(&NetConfig::new(addr("127.0.0.1:5060")));
        let mut to =
            |last: u8| flows.flow_to(Transport::Tcp, SocketAddr::from(([127, 0, 0, last], 5060)), None);
        assert_eq!(to(2), to(2));
        assert_ne!(to(2).map(|it| it.id), to(3).map(|it| it.id));
    }

    #[test]
    fn who_names_a_listener_goes_by_it() {
        let mut config = NetConfig::new(addr("127.0.0.1:5060"));
        let named = |bind, bind_tls| NamedListener { name: "wan".into(), bind, bind_tls };
        config.named = vec![named(vec![addr("127.0.0.11:5070")], vec![addr("127.0.0.12:5071")])];
        let mut flows = LocalFlows::unbound(&config);
        let mut local =
            |transport| flows.flow_to(transport, addr("127.0.0.3:5060"), Some("wan")).map(|it| it.local);
        assert_eq!(local(Transport::Udp), Some(addr("127.0.0.11:5070")));
        assert_eq!(local(Transport::Tcp), Some(addr("127.0.0.11:5070")));
        assert_eq!(local(Transport::Tls), Some(addr("127.0.0.11:5071")));
        let nobody = flows.flow_to(Transport::Udp, addr("127.0.0.3:5060"), Some("lan"));
        assert_eq!(nobody, None);
    }
}
