//! Which addresses a party may name for its media. A party that names another one is not refused: nothing is
//! sent there, and its media is awaited from its signalling and the networks that are named for it.
//!
//! | address \ party | at loopback | at one of ours | in `inside` | private | link-local | public |
//! |---|---|---|---|---|---|---|
//! | loopback | yes | no | no | no | no | no |
//! | one of ours | yes | yes | no | no | no | no |
//! | link-local | no | no | no | no | yes | no |
//! | in `inside` | no | no | yes | no | no | no |
//! | other private | yes | yes | yes | yes | yes | no |
//! | public | yes | yes | yes | yes | yes | yes |
//!
//! Its own address a party always names. A network that is named for it (`sources`, `media_from`) counts as its own, unless a narrower row
//! closes the address. A port on which this program receives is nobody's but its own; only a gateway may name that of
//! another leg of its own, since a telephone system that takes itself out of the media joins its two legs so. A user
//! with two calls could send packets in a circle.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use b2b_media::remote::Remote;
use b2b_media::transport::lock::Signalling;

/// The scope in which an address is reachable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// This machine.
    Host,
    /// One link.
    Link,
    /// Networks that are not routed publicly.
    Private,
    /// Everywhere.
    Everywhere,
}

const fn v4(a: u8, b: u8, c: u8, d: u8, length: u8) -> IpNet {
    IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::new(a, b, c, d), length))
}

const fn v6(first: u16, last: u16, length: u8) -> IpNet {
    IpNet::V6(Ipv6Net::new_assert(Ipv6Addr::new(first, 0, 0, 0, 0, 0, 0, last), length))
}

/// The networks that are not reachable everywhere; the last ones are RFC 1918, RFC 6598 and RFC 4193.
const SCOPES: [(IpNet, Reach); 10] = [
    (v4(127, 0, 0, 0, 8), Reach::Host),
    (v4(0, 0, 0, 0, 8), Reach::Host),
    (v6(0, 1, 128), Reach::Host),
    (v4(169, 254, 0, 0, 16), Reach::Link),
    (v6(0xfe80, 0, 10), Reach::Link),
    (v4(10, 0, 0, 0, 8), Reach::Private),
    (v4(172, 16, 0, 0, 12), Reach::Private),
    (v4(192, 168, 0, 0, 16), Reach::Private),
    (v4(100, 64, 0, 0, 10), Reach::Private),
    (v6(0xfc00, 0, 7), Reach::Private),
];

impl Reach {
    /// The scope of an address.
    pub fn of(ip: IpAddr) -> Self {
        scope(ip.to_canonical()).1
    }
}

/// The scope of a canonical address, and the length of the network that has it.
fn scope(ip: IpAddr) -> (u8, Reach) {
    let found = SCOPES.iter().find(|(net, _)| net.contains(&ip));
    found.map_or((0, Reach::Everywhere), |(net, reach)| (net.prefix_len(), *reach))
}

/// The length of the narrowest of these networks that contains an address.
fn narrowest<'a>(nets: impl IntoIterator<Item = &'a IpNet>, ip: IpAddr) -> Option<u8> {
    nets.into_iter().filter(|net| net.contains(&ip)).map(IpNet::prefix_len).max()
}

/// The addresses of this server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnHosts {
    /// Networks on our side of the NAT (`server.inside`).
    pub inside: Vec<IpNet>,
    /// Addresses of this machine at which we receive.
    pub here: Vec<IpAddr>,
    /// Addresses that we announce.
    pub announced: Vec<IpAddr>,
    /// Ports on which we listen.
    pub ports: Vec<u16>,
}

impl OwnHosts {
    fn is_here(&self, ip: IpAddr) -> bool {
        ip.is_loopback() || self.here.contains(&ip)
    }

    fn is_inside(&self, ip: IpAddr) -> bool {
        self.inside.iter().any(|net| net.contains(&ip))
    }
}

/// Which addresses a party may name for its media, and the limit on what is sent to one from which nothing has
/// been received.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bound {
    /// The party whose calls share the limit.
    pub party: String,
    /// Networks that are the party's own, and exempt.
    pub spared: Vec<IpNet>,
    /// Addresses at which the party is, beside the source of its signalling.
    #[serde(default)]
    pub hosts: Vec<IpAddr>,
    /// The addresses of this server.
    #[serde(default)]
    pub own: Arc<OwnHosts>,
    /// Whether the party is this server itself, which was called through a gateway or a route.
    #[serde(default)]
    pub ourselves: bool,
    /// Whether a host name in the party's descriptions is looked up.
    #[serde(default)]
    pub sdp_names: bool,
    /// Whether the party is a gateway, which may join legs of its own.
    #[serde(default)]
    pub is_gateway: bool,
}

/// Where endpoints receive, and the gateway whose leg is there, if one's is.
pub type Receiving = HashMap<SocketAddr, Option<Box<str>>>;

/// What may be sent to an address that a party names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Naming {
    /// Everything.
    Own,
    /// As much as the limit allows, until something is received from there.
    Bounded,
    /// Nothing.
    Never,
}

impl Bound {
    /// What may be sent to the addresses in a description of the party. `receiving`: where endpoints receive.
    pub fn naming_of(&self, remote: &Remote, signalling: &Signalling, receiving: &Receiving) -> Naming {
        let rtcp = remote.rtcp_at(remote.rtp).map(|(_, rtcp)| rtcp);
        let judged = [Some(remote.rtp), rtcp].into_iter().flatten().map(|address| {
            let ip = address.ip().to_canonical();
            // RTCP is received at the port after that of RTP.
            let ports = [address.port(), address.port().saturating_sub(1)];
            let ours = ports.iter().find_map(|port| receiving.get(&SocketAddr::new(ip, *port)));
            match ours.filter(|_| !self.ourselves) {
                Some(gateway) if self.is_gateway && gateway.as_deref() == Some(&*self.party) => Naming::Own,
                Some(_) => Naming::Never,
                None => self.naming(address, signalling),
            }
        });
        judged.max().unwrap_or(Naming::Own)
    }

    /// The party, if it is a gateway: as in [`Receiving`].
    pub fn gateway(&self) -> Option<Box<str>> {
        self.is_gateway.then(|| self.party.as_str().into())
    }

    /// What may be sent to this address, for a party with this source of its signalling.
    pub fn naming(&self, address: SocketAddr, signalling: &Signalling) -> Naming {
        let (own, ip) = (&*self.own, address.ip().to_canonical());
        if ip.is_unspecified() {
            return Naming::Own;
        }
        let ours = own.is_here(ip) || own.announced.contains(&ip);
        if ours && !self.ourselves && own.ports.contains(&address.port()) {
            return Naming::Never;
        }
        let mut sources = signalling.iter().flatten().map(|source| source.to_canonical());
        // The last message of a phone behind a proxy came from the proxy, which is elsewhere.
        let at = || sources.clone().take(1).chain(self.hosts.iter().map(|host| host.to_canonical()));
        let is_at = |reach: Reach| at().any(|at| Reach::of(at) == reach);
        let is_here = at().any(|at| own.is_here(at));
        let is_inside = at().any(|at| own.is_inside(at));
        let closed = [
            (ours && !ip.is_loopback() && !is_here).then_some(u8::MAX),
            narrowest(&own.inside, ip).filter(|_| !(is_inside || is_here && own.here.contains(&ip))),
            Some(scope(ip))
                .filter(|(_, reach)| match reach {
                    Reach::Everywhere => false,
                    Reach::Host | Reach::Link => !is_at(*reach),
                    Reach::Private => {
                        !is_here && !is_inside && at().all(|at| Reach::of(at) == Reach::Everywhere)
                    }
                })
                .map(|(length, _)| length),
        ];
        let closed = closed.into_iter().flatten().max();
        if sources.any(|source| source == ip) {
            return Naming::Own;
        }
        match (narrowest(&self.spared, ip), closed) {
            (named, Some(closed)) if named.is_none_or(|named| named < closed) => Naming::Never,
            (Some(_), _) => Naming::Own,
            (None, _) if is_inside && own.is_inside(ip) => Naming::Own,
            (None, _) => Naming::Bounded,
        }
    }
}

#[cfg(test)]
mod tests;
