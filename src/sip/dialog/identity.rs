//! Our identity in messages: sent-by of Via, our URI in Contact, Allow, Supported,
//! User-Agent.

use std::collections::HashSet;
use std::fmt;
use std::net::{IpAddr, SocketAddr};

use crate::flow::{Flow, FlowId};
use crate::msg::Transport;
use crate::networks::contains;
use b2b_base::util::host::Host;

/// The public address of one of our listeners, which replaces its own: behind a NAT, or as a
/// host name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Advertised {
    /// The listener. An unspecified IP stands for every local address of its family, port 0
    /// for every port.
    pub listener: SocketAddr,
    /// Only this transport; `None` for all.
    pub transport: Option<Transport>,
    /// The host as written in a URI: a name, an IPv4 address, an IPv6 address in brackets.
    /// Empty for the listener's own address, even if a later entry would apply.
    pub host: String,
    /// The port; `None` for the listener's.
    pub port: Option<u16>,
    /// Networks (address, prefix length) that reach us by our own address.
    pub inside: Vec<(IpAddr, u8)>,
}

impl Advertised {
    fn applies(&self, flow: &Flow) -> bool {
        let listener = self.listener;
        let any = listener.ip().is_unspecified() && listener.is_ipv4() == flow.local.is_ipv4();
        let ip = any || listener.ip() == flow.local.ip();
        let port = listener.port() == 0 || listener.port() == flow.local.port();
        let transport = self.transport.is_none_or(|transport| transport == flow.transport);
        ip && port
            && transport
            && !self.inside.iter().any(|(net, prefix)| contains(*net, *prefix, flow.remote.ip()))
    }
}

/// The parts of our identity used in all messages.
#[derive(Debug, Clone)]
pub struct Identity {
    /// User part of the Contact.
    pub user: String,
    /// Value of User-Agent and Server; may be empty.
    pub user_agent: String,
    /// Value of Allow.
    pub allow: String,
    /// Value of Supported; may be empty.
    pub supported: String,
    pub advertised: Vec<Advertised>,
    /// Flows of registrations (RFC 5626): requests in dialogs created on them return by the
    /// same flow.
    pub outbound: HashSet<(FlowId, SocketAddr)>,
}

impl Identity {
    /// Host and port for the top Via of messages sent on `flow`.
    pub fn sent_by(&self, flow: &Flow) -> SentBy<'_> {
        SentBy { local: flow.local, advertised: self.advertised.iter().find(|it| it.applies(flow)) }
    }

    /// Our URI for a peer on `flow`; an empty `user` stands for the endpoint's.
    pub fn uri<'a>(&'a self, flow: &Flow, user: &'a [u8]) -> OurUri<'a> {
        let user = match std::str::from_utf8(user) {
            Ok(user) if !user.is_empty() => user,
            _ => &self.user,
        };
        OurUri { user, sent_by: self.sent_by(flow), transport: flow.transport, secure: false, ob: "" }
    }

    /// Our URI as the remote target of a dialog: with `ob` on a flow of a registration
    /// (RFC 5626 §4.3), because otherwise the proxy does not use that flow for the dialog.
    pub fn target<'a>(&'a self, flow: &Flow, user: &'a [u8]) -> OurUri<'a> {
        let is_outbound = !self.outbound.is_empty() && self.outbound.contains(&(flow.id, flow.remote));
        OurUri { ob: if is_outbound { ";ob" } else { "" }, ..self.uri(flow, user) }
    }
}

/// Our `host:port`.
#[derive(Debug, Clone, Copy)]
pub struct SentBy<'a> {
    local: SocketAddr,
    advertised: Option<&'a Advertised>,
}

impl fmt::Display for SentBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut port = self.local.port();
        match self.advertised.filter(|it| !it.host.is_empty()) {
            Some(it) => {
                port = it.port.unwrap_or(port);
                f.write_str(&it.host)?;
            }
            // Without the IPv6 scope, which has no meaning elsewhere.
            None => match self.local.ip() {
                IpAddr::V6(ip) => write!(f, "[{ip}]")?,
                ip => Host(ip).fmt(f)?,
            },
        }
        f.write_str(":")?;
        port.fmt(f)
    }
}

/// Our own URI.
#[derive(Debug, Clone, Copy)]
pub struct OurUri<'a> {
    user: &'a str,
    sent_by: SentBy<'a>,
    transport: Transport,
    secure: bool,
    /// `;ob` or empty.
    ob: &'static str,
}

impl OurUri<'_> {
    /// As a SIPS URI in response to one (RFC 3261 §8.1.1.8, §12.1.1), if the flow is TLS.
    pub fn secure(self, secure: bool) -> Self {
        OurUri { secure: secure && self.transport == Transport::Tls, ..self }
    }
}

impl fmt::Display for OurUri<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = if self.user.is_empty() { "" } else { "@" };
        if self.secure {
            return write!(f, "sips:{}{at}{}{}", self.user, self.sent_by, self.ob);
        }
        let transport = match self.transport {
            Transport::Udp => "",
            Transport::Tcp => ";transport=tcp",
            Transport::Tls => ";transport=tls",
            Transport::Sctp => ";transport=sctp",
            Transport::Ws => ";transport=ws",
            Transport::Wss => ";transport=wss",
        };
        write!(f, "sip:{}{at}{}{transport}{}", self.user, self.sent_by, self.ob)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::FlowId;

    fn identity(advertised: Vec<Advertised>) -> Identity {
        Identity {
            user: "b2b".to_owned(),
            user_agent: String::new(),
            allow: String::new(),
            supported: String::new(),
            advertised,
            outbound: HashSet::new(),
        }
    }

    fn flow(transport: Transport, local: &str, remote: &str) -> Flow {
        let (local, remote) = (local.parse().unwrap(), remote.parse().unwrap());
        Flow { transport, local, remote, id: FlowId(1) }
    }

    #[test]
    fn outside_sees_the_advertised_address_and_inside_our_own() {
        let identity = identity(vec![Advertised {
            listener: "0.0.0.0:5060".parse().unwrap(),
            transport: Some(Transport::Udp),
            host: "sip.example.com".to_owned(),
            port: Some(15_060),
            inside: vec![("10.1.0.0".parse().unwrap(), 20)],
        }]);
        let uri = |transport, local, remote| identity.uri(&flow(transport, local, remote), b"").to_string();
        let local = "10.1.0.2:5060";
        assert_eq!(uri(Transport::Udp, local, "198.51.100.7:5060"), "sip:b2b@sip.example.com:15060");
        assert_eq!(uri(Transport::Udp, local, "10.1.15.9:5060"), "sip:b2b@10.1.0.2:5060");
        assert_eq!(uri(Transport::Udp, local, "10.1.16.9:5060"), "sip:b2b@sip.example.com:15060");
        assert_eq!(uri(Transport::Tcp, local, "198.51.100.7:5060"), "sip:b2b@10.1.0.2:5060;transport=tcp");
        assert_eq!(
            uri(Transport::Udp, "10.1.0.2:5070", "198.51.100.7:5060"),
            "sip:b2b@10.1.0.2:5070",
            "another listener"
        );
    }

    #[test]
    fn ipv6_stands_in_brackets_and_a_user_of_its_own_comes_first() {
        let flow = flow(Transport::Udp, "[2001:db8::1]:5060", "[2001:db8::2]:5060");
        assert_eq!(identity(Vec::new()).uri(&flow, b"line1").to_string(), "sip:line1@[2001:db8::1]:5060");
        assert_eq!(identity(Vec::new()).sent_by(&flow).to_string(), "[2001:db8::1]:5060");
    }
}
