//! The source of a request, for everything that counts or trusts by source: limits, bans, nonces, media. Pure.

use std::net::{IpAddr, SocketAddr};

use super::origin::Origins;
use b2b_sip::endpoint::{Flow, Transport};
use b2b_sip::msg::{Request, Rport, Via};

/// Maximum listed proxies that a request may pass in sequence.
const MAX_PROXIES: usize = 8;

/// The source of a request. Behind an edge proxy of ours (`registrar.proxies`) it is the address that the
/// proxy saw, as given in the Via below its own (RFC 3261 §18.2.1, RFC 3581 §4); else it is the remote end of
/// the flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EffectiveSource {
    /// The address the party sends from.
    pub address: SocketAddr,
    /// It came through a listed proxy.
    pub by_proxy: bool,
    /// It came in a datagram, whose source address may be forged.
    pub is_forgeable: bool,
}

impl EffectiveSource {
    /// The source of a request that came over this flow. Lower Vias are trusted only from listed proxies.
    pub fn of(request: &Request, flow: &Flow, origins: &Origins) -> Self {
        let mut source = EffectiveSource {
            address: flow.remote,
            by_proxy: false,
            is_forgeable: !flow.transport.is_reliable(),
        };
        if !origins.is_proxy(flow.remote.ip()) {
            return source;
        }
        source.by_proxy = true;
        for via in request.vias().skip(1).take(MAX_PROXIES) {
            let Some(seen) = via.ok().and_then(|via| seen_by_next(&via)) else { break };
            source.address = seen;
            if !origins.is_proxy(seen.ip()) {
                break;
            }
        }
        source
    }

    /// The address without its port.
    pub fn ip(&self) -> IpAddr {
        self.address.ip()
    }
}

/// The source address of the request as seen by the server above this Via; `None` if the Via does not say. A
/// server adds `received` wherever sent-by differs from the address that it saw.
fn seen_by_next(via: &Via<'_>) -> Option<SocketAddr> {
    let ip = via.received.or_else(|| via.host.ip())?;
    let default = if via.known_transport() == Some(Transport::Tls) { 5061 } else { 5060 };
    let port = match via.rport {
        Rport::Port(port) => port,
        Rport::Absent | Rport::Requested => via.port.unwrap_or(default),
    };
    Some(SocketAddr::new(ip, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::parse_alone;
    use b2b_sip::endpoint::FlowId;
    use b2b_sip::msg::{Limits, Message};

    fn of(vias: &[&str], remote: &str, proxies: &[&str]) -> (String, bool) {
        let vias: String = vias.iter().map(|via| format!("Via: SIP/2.0/{via}\r\n")).collect();
        let text = format!(
            "REGISTER sip:b2b.example SIP/2.0\r\n{vias}From: <sip:a@b>;tag=1\r\nTo: <sip:a@b>\r\n\
             Call-ID: x\r\nCSeq: 1 REGISTER\r\nContent-Length: 0\r\n\r\n"
        );
        let Ok(Message::Request(request)) = Message::parse(text.into(), &Limits::default()) else {
            panic!("no request")
        };
        let flow = Flow {
            transport: Transport::Udp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: remote.parse().unwrap(),
            id: FlowId(1),
        };
        let config = parse_alone(&format!("[registrar]\nproxies = {proxies:?}\n")).unwrap();
        let source = EffectiveSource::of(&request, &flow, &Origins::new(&config));
        (source.address.to_string(), source.by_proxy)
    }

    #[test]
    fn behind_a_named_proxy_it_is_what_that_proxy_saw_and_from_others_the_flow() {
        const EDGE: &str = "UDP 192.0.2.5;branch=z9hG4bK1";
        let phone = |via: &str| of(&[EDGE, via], "192.0.2.5:5060", &["192.0.2.5/32"]);
        for (via, source) in [
            ("UDP 10.0.0.7:5062;branch=z9hG4bK2;received=198.51.100.7;rport=40123", "198.51.100.7:40123"),
            ("UDP 10.0.0.7:5062;branch=z9hG4bK2;received=198.51.100.7", "198.51.100.7:5062"),
            ("UDP 198.51.100.7:5062;branch=z9hG4bK2;rport=40123", "198.51.100.7:40123"),
            ("UDP 198.51.100.7;branch=z9hG4bK2", "198.51.100.7:5060"),
            ("TLS [2001:db8::7];branch=z9hG4bK2", "[2001:db8::7]:5061"),
            ("TCP x.invalid;branch=z9hG4bK2;received=2001:db8::7;rport=40123", "[2001:db8::7]:40123"),
            // Parameters that a phone writes itself come before those that the proxy adds.
            ("UDP 10.0.0.7;received=203.0.113.9;branch=z9hG4bK2;received=198.51.100.7", "198.51.100.7:5060"),
        ] {
            assert_eq!(phone(via), (source.to_owned(), true), "{via}");
        }
        // A name without a source address, and no Via at all: the proxy counts.
        assert_eq!(phone("UDP phone.example;branch=z9hG4bK2"), ("192.0.2.5:5060".to_owned(), true));
        assert_eq!(of(&[EDGE], "192.0.2.5:5060", &["192.0.2.5/32"]), ("192.0.2.5:5060".to_owned(), true));
        let liar = ["UDP 203.0.113.5;branch=z9hG4bK1", "UDP 198.51.100.7;branch=z9hG4bK2"];
        assert_eq!(of(&liar, "203.0.113.5:5060", &["192.0.2.5/32"]), ("203.0.113.5:5060".to_owned(), false));
    }

    #[test]
    fn named_proxies_behind_each_other_are_passed_and_nobody_below_them() {
        let vias = [
            "UDP 192.0.2.5;branch=z9hG4bK1",
            "UDP 192.0.2.6;branch=z9hG4bK2",
            "UDP 10.0.0.7;branch=z9hG4bK3;received=198.51.100.7;rport=40123",
            "UDP 203.0.113.9;branch=z9hG4bK4",
        ];
        let both = ["192.0.2.5/32", "192.0.2.6/32"];
        assert_eq!(of(&vias, "192.0.2.5:5060", &both).0, "198.51.100.7:40123");
        assert_eq!(of(&vias, "192.0.2.5:5060", &both[..1]).0, "192.0.2.6:5060");
        assert_eq!(of(&vias, "[::ffff:192.0.2.5]:5060", &both).0, "198.51.100.7:40123");
    }
}
