//! The route to a contact: over the flow that it registered on, to its Contact, or by its Path. A user's
//! Contact may lead only to the host that it registered from, or into networks of ours.

use std::net::SocketAddr;
use std::sync::Arc;

use super::binding::{Binding, BindingFlow};
use b2b_sip::endpoint::{Flow, Transport};
use b2b_sip::msg::{Name, NameAddr, Request, elements};
use b2b_sip::networks::Networks;
use b2b_sip::sent_by::{self, SIP, SentBy};

/// Networks that matter for the route to a contact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trusted {
    /// Edge proxies, whose Path (RFC 3327) and further Vias are trusted.
    pub proxies: Networks,
    /// Our own networks, with no NAT between them and us.
    pub inside: Networks,
    /// Reach phones on this host at the port of their Contact.
    pub local_phones: bool,
    /// Ports of ours on this host.
    pub own_ports: Arc<[u16]>,
}

/// The first port that any program may listen on.
const UNPRIVILEGED: u16 = 1_024;

impl Trusted {
    /// Whether a program on this host may listen on this port, and none of ours does.
    fn may_be_a_phone(&self, port: u16) -> bool {
        port >= UNPRIVILEGED && !self.own_ports.contains(&port)
    }

    /// Whether this REGISTER is from a phone on this host that would be reached elsewhere with
    /// `local_phones`.
    pub(super) fn leaves_local(&self, request: &Request, flow: &Flow) -> bool {
        let elsewhere = |contact: NameAddr<'_>| {
            sent_by::address(&contact.uri).is_some_and(|at| {
                same_host(at, flow.remote)
                    && at.port() != flow.remote.port()
                    && self.may_be_a_phone(at.port())
            })
        };
        !self.local_phones
            && flow.transport == Transport::Udp
            && same_host(flow.local, flow.remote)
            && request.contacts().filter_map(Result::ok).any(elsewhere)
    }
}

/// What the Vias say of a REGISTER that came over this flow.
pub(super) fn sent_by_of(request: &Request, flow: &Flow, proxies: &Networks) -> SentBy {
    if proxies.contain(flow.remote.ip()) {
        return SentBy::Proxy;
    }
    if was_forwarded(request) {
        return SentBy::Elsewhere;
    }
    request.top_via().map_or(SentBy::Elsewhere, |via| SentBy::of_via(&via, flow.remote))
}

/// The number in the database.
pub fn as_number(sent_by: SentBy) -> u8 {
    match sent_by {
        SentBy::Source => 1,
        SentBy::OtherPort => 2,
        SentBy::OtherPortAnsweredBack => 3,
        SentBy::Name => 4,
        SentBy::Elsewhere => 5,
        SentBy::Proxy => 6,
    }
}

/// The value of a number in the database.
pub fn of_number(number: u8) -> Option<SentBy> {
    use SentBy::{Elsewhere, Name, OtherPort, OtherPortAnsweredBack, Proxy, Source};
    let all = [Source, OtherPort, OtherPortAnsweredBack, Name, Elsewhere, Proxy];
    all.into_iter().find(|it| as_number(*it) == number)
}

/// Whether an intermediary between the phone and us has left a trace: a further Via, or Path.
pub(super) fn was_forwarded(request: &Request) -> bool {
    request.headers(Name::Via).nth(1).is_some() || request.header(Name::Path).is_some()
}

const SIPS: u16 = 5061;

/// Where a request for a contact is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextHop<'a> {
    /// By this route set, whose first hop is a listed proxy.
    Path(&'a [u8]),
    /// Over this flow, with this route set, which may be empty.
    Flow(BindingFlow, &'a [u8]),
    /// Over this flow; to this address if the flow is not there.
    FlowOr(BindingFlow, SocketAddr),
    /// To the contact URI, which is inside a network of ours.
    Contact,
}

impl Binding {
    /// Where to send a request for this contact.
    pub fn next_hop(&self, trusted: &Trusted) -> NextHop<'_> {
        let flow = NextHop::Flow(self.flow, b"");
        if self.sent_by == SentBy::Proxy {
            return match trusted.proxies.contain(self.flow.remote.ip()) {
                true if !self.path.is_empty() => self.by_path(trusted),
                // The proxy is to route it, unless the phone has a public address.
                true => match self.contact_address() {
                    Some(at) if same_host(at, self.source) && !same_host(at, self.flow.local) => {
                        NextHop::Contact
                    }
                    _ => flow,
                },
                // The proxy is no longer listed.
                false => flow,
            };
        }
        let Some(at) = self.contact_address().filter(|_| !self.keeps_to_its_flow()) else { return flow };
        let inside = |at: SocketAddr| trusted.inside.contain(at.ip());
        let same = same_host(at, self.flow.remote);
        // Uses our socket that the phone knows, in that socket's address family.
        let at_contact = SocketAddr::new(self.flow.remote.ip(), at.port());
        match self.sent_by {
            // On this machine that port may be one of ours.
            _ if same_host(at, self.flow.local)
                && !(trusted.local_phones && same && trusted.may_be_a_phone(at.port())) =>
            {
                flow
            }
            SentBy::Source | SentBy::OtherPort | SentBy::Name if same => {
                NextHop::Flow(BindingFlow { remote: at_contact, ..self.flow }, b"")
            }
            SentBy::Source if inside(at) && inside(self.flow.remote) => NextHop::Contact,
            SentBy::OtherPortAnsweredBack if same && at_contact != self.flow.remote => {
                NextHop::FlowOr(self.flow, at_contact)
            }
            _ => flow,
        }
    }

    /// A Path begins with the proxy that wrote it last. If that is no listed proxy, the one that forwarded
    /// the REGISTER wrote no Path, and the phone may have forged it.
    fn by_path(&self, trusted: &Trusted) -> NextHop<'_> {
        let first = elements(&self.path).next().and_then(NameAddr::parse);
        let Some(uri) = first.map(|first| first.uri) else { return NextHop::Flow(self.flow, b"") };
        let ip = uri.host.and_then(|host| host.ip()).filter(|_| uri.params.get("maddr").is_none());
        if ip.is_some_and(|ip| trusted.proxies.contain(ip)) {
            return NextHop::Path(&self.path);
        }
        // The proxy's own port: that of a connection is useless once the connection is lost.
        let mut flow = self.flow;
        if flow.id.is_none() && flow.transport.is_reliable() {
            let default = if flow.transport == Transport::Tls { SIPS } else { SIP };
            flow.remote.set_port(uri.port.unwrap_or(default));
        }
        NextHop::Flow(flow, &self.path)
    }

    /// A connection is the only way back, and so is a flow of RFC 5626 (`ob`, `reg-id`).
    fn keeps_to_its_flow(&self) -> bool {
        let outbound = || self.uri().is_some_and(|uri| uri.params.get("ob").is_some());
        self.flow.transport != Transport::Udp || self.reg_id.is_some() || outbound()
    }

    /// The address that the contact names, for UDP; `None` if it names none.
    fn contact_address(&self) -> Option<SocketAddr> {
        sent_by::address(&self.uri()?)
    }

    /// Whether the NAT binding has to be kept open: over UDP, for any source outside our own networks. A
    /// listed proxy sees to that itself.
    pub fn needs_keep_alive(&self, trusted: &Trusted) -> bool {
        let remote = self.flow.remote.ip();
        self.flow.transport == Transport::Udp
            && !trusted.inside.contain(remote)
            && !trusted.proxies.contain(remote)
    }
}

fn same_host(a: SocketAddr, b: SocketAddr) -> bool {
    a.ip().to_canonical() == b.ip().to_canonical()
}
