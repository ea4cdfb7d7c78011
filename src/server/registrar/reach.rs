//! Where a contact is reached: on the flow that it registered by, at its Contact, or by its
//! Path. A user's Contact leads nowhere but to the host that it registered from, or inside
//! networks of ours.

use std::net::SocketAddr;

use super::binding::{Binding, BindingFlow};
use b2b_sip::endpoint::{Flow, Transport};
use b2b_sip::msg::{Name, NameAddr, Request, elements};
use b2b_sip::networks::Networks;
use b2b_sip::sent_by::{self, SIP, SentBy};

/// Which networks count for the way to a contact.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trusted {
    /// Edge proxies: from them Path (RFC 3327) and further Vias count.
    pub proxies: Networks,
    /// Networks of ours, without NAT between them and us.
    pub inside: Networks,
}

/// What the Vias of a REGISTER that came by this flow say.
pub(super) fn sent_by_of(request: &Request, flow: &Flow, proxies: &Networks) -> SentBy {
    if proxies.contain(flow.remote.ip()) {
        return SentBy::Proxy;
    }
    if was_forwarded(request) {
        return SentBy::Elsewhere;
    }
    request.top_via().map_or(SentBy::Elsewhere, |via| SentBy::of_via(&via, flow.remote))
}

/// For a database.
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

/// From a database.
pub fn of_number(number: u8) -> Option<SentBy> {
    use SentBy::{Elsewhere, Name, OtherPort, OtherPortAnsweredBack, Proxy, Source};
    let all = [Source, OtherPort, OtherPortAnsweredBack, Name, Elsewhere, Proxy];
    all.into_iter().find(|it| as_number(*it) == number)
}

/// Whether somebody between the phone and us has left a mark: a further Via, or Path.
pub(super) fn was_forwarded(request: &Request) -> bool {
    request.headers(Name::Via).nth(1).is_some() || request.header(Name::Path).is_some()
}

const SIPS: u16 = 5061;

/// Where a request for a contact is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NextHop<'a> {
    /// By this route set: its first hop is a named proxy.
    Path(&'a [u8]),
    /// By this way, with this route set, which may be empty.
    Flow(BindingFlow, &'a [u8]),
    /// By the first way; at this address if nobody is there.
    FlowOr(BindingFlow, SocketAddr),
    /// Where the contact URI says: inside a network of ours.
    Contact,
}

impl Binding {
    /// Where to send a request for this contact.
    pub fn next_hop(&self, trusted: &Trusted) -> NextHop<'_> {
        let flow = NextHop::Flow(self.flow, b"");
        if self.sent_by == SentBy::Proxy {
            return match trusted.proxies.contain(self.flow.remote.ip()) {
                true if !self.path.is_empty() => self.by_path(trusted),
                // It is the proxy's to know the way, unless the phone is in the open.
                true => match self.contact_address() {
                    Some(at) if same_host(at, self.source) && !same_host(at, self.flow.local) => {
                        NextHop::Contact
                    }
                    _ => flow,
                },
                // Named no more.
                false => flow,
            };
        }
        let Some(at) = self.contact_address().filter(|_| !self.keeps_to_its_flow()) else { return flow };
        let inside = |at: SocketAddr| trusted.inside.contain(at.ip());
        let same = same_host(at, self.flow.remote);
        // By the socket of ours that it knows, and in the words of that.
        let at_contact = SocketAddr::new(self.flow.remote.ip(), at.port());
        match self.sent_by {
            // On this machine that port may be one of ours.
            _ if same_host(at, self.flow.local) => flow,
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

    /// A Path begins with who has written it last. If that is no named proxy, the one that
    /// handed the REGISTER on has not written any, and the phone may have.
    fn by_path(&self, trusted: &Trusted) -> NextHop<'_> {
        let first = elements(&self.path).next().and_then(NameAddr::parse);
        let Some(uri) = first.map(|first| first.uri) else { return NextHop::Flow(self.flow, b"") };
        let ip = uri.host.and_then(|host| host.ip()).filter(|_| uri.params.get("maddr").is_none());
        if ip.is_some_and(|ip| trusted.proxies.contain(ip)) {
            return NextHop::Path(&self.path);
        }
        // Its own port, since that of a connection is of no use once that is gone.
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

    /// The address that the contact names, for UDP; none: it names none.
    fn contact_address(&self) -> Option<SocketAddr> {
        sent_by::address(&self.uri()?)
    }

    /// Whether the way back has to be kept open: over UDP to whoever is not in our own
    /// networks. A named proxy sees to that itself.
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
