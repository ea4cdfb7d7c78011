//! What a message that came over UDP says of where its sender listens, next to where it came
//! from: at that port, at another one, or behind a NAT.

use std::net::SocketAddr;

use crate::msg::{Rport, Scheme, Uri, Via};

/// The port of SIP without TLS.
pub const SIP: u16 = 5060;

/// What the Vias of a request said, next to where it came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SentBy {
    /// The sender listens where it sent from.
    Source,
    /// Same host, another port, and no `rport`: it listens there (RFC 3261 §18.2.2).
    OtherPort,
    /// Same host, another port, with `rport`: answers go where it sent from (RFC 3581 §3).
    OtherPortAnsweredBack,
    /// A name.
    Name,
    /// Another address, or somebody in between whom nobody named: the flow alone is known to
    /// lead there.
    Elsewhere,
    /// A named proxy has handed it on.
    Proxy,
}

impl SentBy {
    /// Of the Via of who sent this from `remote`.
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

/// The address that a Contact names for UDP; none: it names none.
pub fn address(contact: &Uri<'_>) -> Option<SocketAddr> {
    let by_udp = contact.transport().is_none_or(|transport| transport.eq_ignore_ascii_case(b"udp"));
    let plain = contact.scheme == Scheme::Sip && by_udp && contact.params.get("maddr").is_none();
    let ip = contact.host.and_then(|host| host.ip()).filter(|_| plain)?;
    Some(SocketAddr::new(ip, contact.port.unwrap_or(SIP)))
}
