//! Parse results stored as offsets into the message instead of borrows.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::name_addr::NameAddr;
use super::params::Params;
use super::uri::{Host, Scheme, Uri};
use super::via::{Rport, Via};

/// A part of a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    start: u32,
    end: u32,
}

impl Part {
    /// The position of `part`, a slice of `whole`.
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

impl HostAt {
    fn of(whole: &[u8], host: Host<'_>) -> HostAt {
        match host {
            Host::Name(name) => HostAt::Name(Part::of(whole, name.as_bytes())),
            Host::V4(address) => HostAt::V4(address),
            Host::V6(address) => HostAt::V6(address),
        }
    }

    fn get(self, whole: &[u8]) -> Host<'_> {
        match self {
            HostAt::Name(name) => Host::Name(std::str::from_utf8(name.get(whole)).unwrap_or_default()),
            HostAt::V4(address) => Host::V4(address),
            HostAt::V6(address) => Host::V6(address),
        }
    }
}

/// The top Via: every layer uses it, and parsing it again would cost ten times as much.
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
            host: HostAt::of(whole, via.host),
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
            host: self.host.get(whole),
            port: self.port,
            branch: self.branch.map(|branch| branch.get(whole)),
            received: self.received,
            rport: self.rport,
            params: Params::checked(self.params.get(whole)),
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum SchemeAt {
    Sip,
    Sips,
    Tel,
    Other(Part),
}

#[derive(Debug, Clone, Copy)]
struct UriAt {
    raw: Part,
    scheme: SchemeAt,
    user: Option<Part>,
    password: Option<Part>,
    host: Option<HostAt>,
    port: Option<u16>,
    params: Part,
    headers: Option<Part>,
}

impl UriAt {
    fn of(whole: &[u8], uri: &Uri<'_>) -> UriAt {
        let part = |part: &[u8]| Part::of(whole, part);
        UriAt {
            raw: part(uri.raw),
            scheme: match uri.scheme {
                Scheme::Sip => SchemeAt::Sip,
                Scheme::Sips => SchemeAt::Sips,
                Scheme::Tel => SchemeAt::Tel,
                Scheme::Other(name) => SchemeAt::Other(part(name)),
            },
            user: uri.user.map(part),
            password: uri.password.map(part),
            host: uri.host.map(|host| HostAt::of(whole, host)),
            port: uri.port,
            params: part(uri.params.as_bytes()),
            headers: uri.headers.map(part),
        }
    }

    fn get<'a>(&self, whole: &'a [u8]) -> Uri<'a> {
        Uri {
            raw: self.raw.get(whole),
            scheme: match self.scheme {
                SchemeAt::Sip => Scheme::Sip,
                SchemeAt::Sips => Scheme::Sips,
                SchemeAt::Tel => Scheme::Tel,
                SchemeAt::Other(name) => Scheme::Other(name.get(whole)),
            },
            user: self.user.map(|user| user.get(whole)),
            password: self.password.map(|password| password.get(whole)),
            host: self.host.map(|host| host.get(whole)),
            port: self.port,
            params: Params::of_uri(self.params.get(whole)),
            headers: self.headers.map(|headers| headers.get(whole)),
        }
    }
}

/// The From or the first Contact: checked by the parser and used by several layers.
#[derive(Debug, Clone, Copy)]
pub(super) struct NameAddrAt {
    display: Option<Part>,
    uri: UriAt,
    params: Part,
    tag: Option<Part>,
}

impl NameAddrAt {
    pub(super) fn of(whole: &[u8], value: &NameAddr<'_>) -> NameAddrAt {
        let part = |part: &[u8]| Part::of(whole, part);
        NameAddrAt {
            display: value.display.map(part),
            uri: UriAt::of(whole, &value.uri),
            params: part(value.params.as_bytes()),
            tag: value.tag.map(part),
        }
    }

    pub(super) fn tag<'a>(&self, whole: &'a [u8]) -> Option<&'a [u8]> {
        self.tag.map(|tag| tag.get(whole))
    }

    pub(super) fn get<'a>(&self, whole: &'a [u8]) -> NameAddr<'a> {
        NameAddr {
            display: self.display.map(|display| display.get(whole)),
            uri: self.uri.get(whole),
            params: Params::checked(self.params.get(whole)),
            tag: self.tag(whole),
        }
    }
}
