//! The port at which the sender of a message over UDP is reached: it may listen on another
//! port than it sends from, or be behind a NAT that only admits responses.

use std::net::SocketAddr;

use crate::flow::Flow;
use crate::msg::Request;
use crate::sent_by::{self, SentBy};

/// The flow to the sender of a request; `None` if only a Contact could tell and there is
/// none. It never leads to another host than the source of the request.
///
/// | topmost Via's sent-by | `rport` | Contact | reached at |
/// |---|---|---|---|
/// | the source | any | same IP | Contact |
/// | same IP, another port | absent | same IP | Contact: it sends from one port and listens on another |
/// | same IP, another port | present | any | the source (RFC 3581 §4) |
/// | another IP, a name | any | any | the source: it is behind a NAT |
///
/// Connections are used as they are.
pub fn reached(request: &Request, flow: Flow) -> Option<Flow> {
    if flow.transport.is_reliable() {
        return Some(flow);
    }
    let Ok(via) = request.top_via() else { return Some(flow) };
    let said = SentBy::of_via(&via, flow.remote);
    if !matches!(said, SentBy::Source | SentBy::OtherPort) {
        return Some(flow);
    }
    let same = |at: &SocketAddr| at.ip().to_canonical() == flow.remote.ip().to_canonical() && at.port() != 0;
    match request.contact().ok().flatten().map(|contact| contact.uri) {
        Some(uri) => Some(match sent_by::address(&uri).filter(same) {
            Some(at) => Flow { remote: SocketAddr::new(flow.remote.ip(), at.port()), ..flow },
            None => flow,
        }),
        None if said == SentBy::OtherPort => None,
        None => Some(flow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{FlowId, Transport};
    use crate::msg::{Limits, Message};

    fn port(via: &str, contact: &str, source: &str) -> Option<u16> {
        let contact = if contact.is_empty() { String::new() } else { format!("Contact: <{contact}>\r\n") };
        let text = format!(
            "INVITE sip:b@b2b.example SIP/2.0\r\nVia: SIP/2.0/UDP {via};branch=z9hG4bK1\r\n\
             From: <sip:a@b>;tag=1\r\nTo: <sip:b@b>\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n{contact}\
             Content-Length: 0\r\n\r\n"
        );
        let Ok(Message::Request(request)) = Message::parse(text.into(), &Limits::default()) else {
            panic!("no request")
        };
        let flow = Flow {
            transport: Transport::Udp,
            local: "192.0.2.1:5060".parse().unwrap(),
            remote: source.parse().unwrap(),
            id: FlowId(0),
        };
        let reached = reached(&request, flow)?;
        assert_eq!(reached.remote.ip(), flow.remote.ip(), "never another host");
        Some(reached.remote.port())
    }

    #[test]
    fn who_sends_from_one_port_and_listens_on_another_is_reached_at_its_contact() {
        let source = "198.51.100.7:50000";
        assert_eq!(port("198.51.100.7:5060", "sip:a@198.51.100.7:5070", source), Some(5070));
        assert_eq!(port("198.51.100.7:5060", "sip:a@198.51.100.7", source), Some(5060));
        assert_eq!(port("198.51.100.7", "sip:a@198.51.100.7", source), Some(5060));
        assert_eq!(port("198.51.100.7:5060", "", source), None, "it does not say where it listens");
        assert_eq!(port("198.51.100.7:50000", "sip:a@198.51.100.7:5070", source), Some(5070));
        assert_eq!(port("198.51.100.7:50000", "", source), Some(50_000));
    }

    #[test]
    fn behind_a_nat_or_by_its_own_wish_it_is_reached_where_it_sends_from() {
        let source = "198.51.100.7:50000";
        assert_eq!(port("198.51.100.7:5060;rport", "sip:a@198.51.100.7:5060", source), Some(50_000));
        assert_eq!(port("192.168.1.5:5060;rport", "sip:a@192.168.1.5:5060", source), Some(50_000));
        assert_eq!(port("192.168.1.5:5060", "sip:a@198.51.100.7:5060", source), Some(50_000));
        assert_eq!(port("phone.example", "sip:a@198.51.100.7", source), Some(50_000));
        assert_eq!(port("198.51.100.7:5060", "sip:a@203.0.113.9:5060", source), Some(50_000), "a liar");
        assert_eq!(port("198.51.100.7:5060", "sip:a@198.51.100.7;maddr=203.0.113.9", source), Some(50_000));
        assert_eq!(port("198.51.100.7:5060", "sip:a@198.51.100.7;transport=tcp", source), Some(50_000));
    }
}
