//! What parsing has found, kept as offsets into the message instead of borrows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::params::Params;
use super::uri::Host;
use super::via::{Rport, Via};

/// A piece of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    start: u32,
    end: u32,
}

impl Part {
    /// Where `part`, a slice of `whole`, stands in it.
    pub(super) fn of(whole: &[u8], part: &[u8]) -> Part {
        if part.is_empty() {
            return Part { start: 0, end: 0 };
        }
        let start = part.as_ptr().addr() - whole.as_ptr().addr();
        Part { start: start as u32, end: (start + part.len()) as u32 }
    }

    pub(super) fn get(self, whole: &[u8]) -> &[u8] {
        whole.get(self.start as usize..self.end as usize).unwrap_or_default()
    }
}

#[derive(Debug, Clone, Copy)]
enum HostAt {
    Name(Part),
    V4(Ipv4Addr),
    V6(Ipv6Addr),
}

/// The top Via: every layer asks for it, and parsing it costs ten times this.
#[derive(Debug, Clone, Copy)]
pub(super) struct ViaAt {
    raw: Part,
    transport: Part,
    host: HostAt,
    port: Option<u16>,
    branch: Option<Part>,
    received: Option<IpAddr>,
    rport: Rport,
    params: Part,
}

impl ViaAt {
    pub(super) fn of(whole: &[u8], via: &Via<'_>) -> ViaAt {
        let part = |part: &[u8]| Part::of(whole, part);
        ViaAt {
            raw: part(via.raw),
            transport: part(via.transport),
            host: match via.host {
                Host::Name(name) => HostAt::Name(part(name.as_bytes())),
                Host::V4(address) => HostAt::V4(address),
                Host::V6(address) => HostAt::V6(address),
            },
            port: via.port,
            branch: via.branch.map(part),
            received: via.received,
            rport: via.rport,
            params: part(via.params.as_bytes()),
        }
    }

    pub(super) fn get<'a>(&self, whole: &'a [u8]) -> Via<'a> {
        Via {
            raw: self.raw.get(whole),
            transport: self.transport.get(whole),
            host: match self.host {
                HostAt::Name(name) => Host::Name(std::str::from_utf8(name.get(whole)).unwrap_or_default()),
                HostAt::V4(address) => Host::V4(address),
                HostAt::V6(address) => Host::V6(address),
            },
            port: self.port,
            branch: self.branch.map(|branch| branch.get(whole)),
            received: self.received,
            rport: self.rport,
            params: Params::checked(self.params.get(whole)),
        }
    }
}
