//! Where the sender of a message over UDP listens: its Via's sent-by compared with the source
//! address. The sender may listen at the source port, at another port, or behind a NAT.

use std::net::SocketAddr;

use crate::msg::{Rport, Scheme, Uri, Via};

/// The default port of SIP without TLS.
pub const SIP: u16 = 5060;

/// How the Vias of a request relate to its source address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentBy {
    /// Sent-by equals the source: the sender listens where it sends from.
    Source,
    /// Same host, another port, no `rport`: the sender listens at that port (RFC 3261
    /// §18.2.2).
    OtherPort,
    /// Same host, another port, with `rport`: responses go to the source port (RFC 3581 §3).
    OtherPortAnsweredBack,
    /// Sent-by is a host name.
    Name,
    /// Sent-by is another address, or a proxy that is not configured is in between: only the
    /// flow is known to reach the sender.
    Elsewhere,
    /// A configured proxy forwarded the request.
    Proxy,
}

impl SentBy {
    /// Classifies the Via of a message received from `remote`.
    pub fn of_via(via: &Via<'_>, remote: SocketAddr) -> SentBy {
        let Some(ip) = via.host.ip() else { return SentBy::Name };
        if ip.to_canonical() != remote.ip().to_canonical() {
            return SentBy::Elsewhere;
        }
        match (via.port.unwrap_or(SIP) == remote.port(), via.rport) {
            (true, _) => SentBy::Source,
            (false, Rport::Absent) => SentBy::OtherPort,
            (false, _) => SentBy::OtherPortAnsweredBack,
        }
    }
}

/// The address that a Contact names for UDP, or `None` if it names none.
pub fn address(contact: &Uri<'_>) -> Option<SocketAddr> {
    let by_udp = contact.transport().is_none_or(|transport| transport.eq_ignore_ascii_case(b"udp"));
    let plain = contact.scheme == Scheme::Sip && by_udp && contact.params.get("maddr").is_none();
    let ip = contact.host.and_then(|host| host.ip()).filter(|_| plain)?;
    Some(SocketAddr::new(ip, contact.port.unwrap_or(SIP)))
}
