//! The next hop according to a URI (RFC 3261 §8.1.2, and RFC 3263 §4 except for lookups), and the rule that a dialog's
//! requests follow. By default that is Route and Contact (§12.2.1.1). An endpoint does not know which addresses belong
//! to a peer, so the code that admits a call supplies another rule as a value, which is consulted for each next hop.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Instant;

use crate::flow::Flow;
use crate::msg::{Host, Scheme, Transport, Uri};

/// The next hop of a URI.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Hop {
    /// An address; no lookup is needed.
    Address(Transport, SocketAddr),
    /// A name to look up, with the port and transport of the URI.
    Name { host: Arc<str>, port: Option<u16>, transport: Option<Transport> },
    /// No request can be sent to this URI.
    Nowhere,
}

/// Where the requests of a dialog are sent once the peer has sent a message in it. Our
/// initial INVITE goes where its user says.
#[derive(Debug, Clone, Default)]
pub enum HopRule {
    /// To Route and Contact (RFC 3261 §12.2.1.1).
    #[default]
    Follow,
    /// By the flow of the last exchange while it exists, since the peer is behind a NAT.
    Kept,
    /// By the flow that the peer used, whatever it claims: Contact is only the Request-URI,
    /// and Record-Route is ignored. Once that flow is gone, requests go where [`Whereabouts`]
    /// locates the peer, and otherwise only to the address of that flow.
    Flow(Option<Arc<dyn Whereabouts>>),
    /// To Route and Contact if the judge allows it; by the flow otherwise.
    Judged(Arc<dyn HopJudge>),
}

/// As it is written: who judges and who locates is not, and is to be set again. Until then nothing that the peer
/// claims is followed.
#[derive(serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
enum WrittenRule {
    Follow,
    Kept,
    Flow,
    Judged,
}

/// Stands for a judge that is to be set again.
#[derive(Debug)]
struct Unjudged;

impl HopJudge for Unjudged {
    fn judge(&self, _: NextHop<'_>) -> HopVerdict {
        HopVerdict::Flow("nobody judges it since the call was read")
    }
}

impl serde::Serialize for HopRule {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            HopRule::Follow => WrittenRule::Follow,
            HopRule::Kept => WrittenRule::Kept,
            HopRule::Judged(_) => WrittenRule::Judged,
            HopRule::Flow(_) => WrittenRule::Flow,
        }
        .serialize(serializer)
    }
}

impl<'de> serde::Deserialize<'de> for HopRule {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match WrittenRule::deserialize(deserializer)? {
            WrittenRule::Follow => HopRule::Follow,
            WrittenRule::Kept => HopRule::Kept,
            WrittenRule::Flow => HopRule::Flow(None),
            WrittenRule::Judged => HopRule::Judged(Arc::new(Unjudged)),
        })
    }
}

/// The next hop of a request: the topmost Route or else the remote target, after its name was
/// looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NextHop<'a> {
    /// The transport that the request would use.
    pub transport: Transport,
    /// The address that the request would be sent to.
    pub address: SocketAddr,
    /// The name that was looked up.
    pub name: Option<&'a str>,
    /// The remote address of the flow that the peer used.
    pub came_by: Option<SocketAddr>,
}

/// The decision on a next hop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HopVerdict {
    /// Use the next hop.
    Follow,
    /// Use the next hop and report it, with this reason.
    FollowTold(&'static str),
    /// Use the flow that the peer used instead, with this reason.
    Flow(&'static str),
}

/// Decides on next hops.
pub trait HopJudge: Send + Sync + fmt::Debug {
    /// Decides on one next hop.
    fn judge(&self, hop: NextHop<'_>) -> HopVerdict;
}

/// Locates a peer whose flow is gone.
pub trait Whereabouts: Send + Sync + fmt::Debug {
    /// The current location of the peer after the loss of this flow. `target` is its Contact
    /// in the dialog.
    fn now_at(&self, now: Instant, target: &[u8], lost: &Flow) -> Option<PeerWay>;

    /// Whether the peer has proved that it is reachable by this flow.
    fn are_at(&self, now: Instant, flow: &Flow) -> bool;

    /// Whether nobody but the peer sends by this flow.
    fn is_by(&self, now: Instant, flow: &Flow) -> bool;
}

/// A path to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PeerWay {
    /// Only by this flow.
    Flow(Flow),
    /// By any flow to this address.
    Address(Transport, SocketAddr),
}

/// Whether a request can be sent to this address: not the unspecified address, which would
/// lead back to us, not a multicast or broadcast address, and not port 0.
pub fn is_one_host(address: SocketAddr) -> bool {
    let ip = address.ip().to_canonical();
    let many = ip.is_multicast() || ip == IpAddr::V4(Ipv4Addr::BROADCAST);
    !ip.is_unspecified() && !many && address.port() != 0
}

impl Hop {
    /// The hop of a URI.
    pub fn of(uri: &Uri<'_>) -> Hop {
        let secure = match uri.scheme {
            Scheme::Sip => false,
            Scheme::Sips => true,
            _ => return Hop::Nowhere,
        };
        let named = uri.transport().map(Transport::parse);
        if named == Some(None) {
            return Hop::Nowhere;
        }
        // SIPS requires TLS (§26.2.2); `transport=tcp` names the transport below it.
        let transport = match named.flatten() {
            None | Some(Transport::Tcp | Transport::Tls) if secure => Some(Transport::Tls),
            Some(_) if secure => return Hop::Nowhere,
            other => other,
        };
        // `maddr` overrides the host (§19.1.1).
        let maddr = uri.params.value("maddr").and_then(|maddr| std::str::from_utf8(maddr).ok());
        let ip = match maddr {
            Some(maddr) => maddr.trim_matches(['[', ']']).parse().ok(),
            None => uri.host.and_then(|host| host.ip()),
        };
        if let Some(ip) = ip {
            let transport = transport.unwrap_or(Transport::Udp);
            let port = uri.port.unwrap_or(if transport == Transport::Tls { 5061 } else { 5060 });
            let address = SocketAddr::new(ip, port);
            return if is_one_host(address) { Hop::Address(transport, address) } else { Hop::Nowhere };
        }
        match (maddr, uri.host) {
            (Some(name), _) | (None, Some(Host::Name(name))) => {
                Hop::Name { host: Arc::from(name), port: uri.port, transport }
            }
            _ => Hop::Nowhere,
        }
    }
}

/// Whether a URI explicitly names UDP.
pub fn names_udp(uri: &[u8]) -> bool {
    let named = Uri::parse(uri).ok().and_then(|uri| uri.transport().and_then(Transport::parse));
    named == Some(Transport::Udp)
}

/// Whether a URI is a SIPS URI.
pub fn is_secure(uri: &[u8]) -> bool {
    uri.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"sips:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hop(uri: &str) -> Hop {
        Hop::of(&Uri::parse(uri.as_bytes()).unwrap())
    }

    fn address(transport: Transport, address: &str) -> Hop {
        Hop::Address(transport, address.parse().unwrap())
    }

    #[test]
    fn literals_need_no_lookup() {
        assert_eq!(hop("sip:a@192.0.2.1"), address(Transport::Udp, "192.0.2.1:5060"));
        assert_eq!(
            hop("sip:[2001:db8::1]:5070;transport=TCP"),
            address(Transport::Tcp, "[2001:db8::1]:5070")
        );
        assert_eq!(hop("sips:a@192.0.2.1"), address(Transport::Tls, "192.0.2.1:5061"));
        assert_eq!(hop("sips:a@192.0.2.1;transport=tcp"), address(Transport::Tls, "192.0.2.1:5061"));
        assert_eq!(hop("sip:a@example.com;maddr=192.0.2.9"), address(Transport::Udp, "192.0.2.9:5060"));
    }

    #[test]
    fn names_are_looked_up_with_what_the_uri_says() {
        let expected =
            Hop::Name { host: Arc::from("example.com"), port: Some(5070), transport: Some(Transport::Tcp) };
        assert_eq!(hop("sip:a@example.com:5070;transport=tcp"), expected);
    }

    #[test]
    fn what_is_not_one_host_is_nowhere() {
        for host in ["0.0.0.0", "[::]", "[::ffff:0.0.0.0]", "224.0.1.75", "[ff02::1]", "255.255.255.255"] {
            assert_eq!(hop(&format!("sip:a@{host}:5060")), Hop::Nowhere, "{host}");
        }
        assert_eq!(hop("sip:a@192.0.2.1:0"), Hop::Nowhere);
    }

    #[test]
    fn other_schemes_and_transports_lead_nowhere() {
        assert_eq!(hop("tel:+1-201-555-0123"), Hop::Nowhere);
        assert_eq!(hop("sip:a@192.0.2.1;transport=pigeon"), Hop::Nowhere);
        assert_eq!(hop("sips:a@192.0.2.1;transport=udp"), Hop::Nowhere, "not a secure way");
    }
}
