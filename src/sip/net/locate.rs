//! Locating SIP servers (RFC 3263 §4): from a host name to transports and addresses in order
//! of preference. The source of DNS records is a trait.

use std::net::{IpAddr, SocketAddr};

use crate::endpoint::Transport;

/// Maximum number of addresses per request, since a name may have any number of records.
const MAX_TARGETS: usize = 16;

/// The fields of a NAPTR record (RFC 3403) that SIP needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Naptr {
    pub order: u16,
    pub preference: u16,
    pub flags: String,
    pub services: String,
    pub replacement: String,
}

/// An SRV record (RFC 2782).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Srv {
    pub priority: u16,
    pub weight: u16,
    pub port: u16,
    /// `.` means that the service is not available.
    pub target: String,
}

/// A source of DNS records. Names are absolute. Both a missing record and a failure give an
/// empty list, because the next step is the same.
pub(super) trait Records {
    async fn naptr(&self, name: &str) -> Vec<Naptr>;
    async fn srv(&self, name: &str) -> Vec<Srv>;
    async fn addresses(&self, name: &str) -> Vec<IpAddr>;
    /// A random number below `bound`, which is not 0.
    fn random(&self, bound: u32) -> u32;
}

/// The host, port and transport of a URI.
#[derive(Debug, Clone, Copy)]
pub(super) struct Wanted<'a> {
    pub host: &'a str,
    pub port: Option<u16>,
    /// TLS for a SIPS URI, whatever else it says.
    pub transport: Option<Transport>,
}

/// The services of NAPTR and SRV that we support: NAPTR service, SRV prefix, transport.
const SERVICES: [(&str, &str, Transport); 3] = [
    ("SIP+D2U", "_sip._udp.", Transport::Udp),
    ("SIP+D2T", "_sip._tcp.", Transport::Tcp),
    ("SIPS+D2T", "_sips._tcp.", Transport::Tls),
];

/// The default port without one in the URI or in SRV (§4.2).
pub(super) fn usual_port(transport: Transport) -> u16 {
    if transport == Transport::Tls { 5061 } else { 5060 }
}

/// The targets, best first; empty if there are none. `usable` are the available transports.
pub(super) async fn locate(
    records: &impl Records,
    wanted: Wanted<'_>,
    usable: &[Transport],
) -> Vec<(Transport, SocketAddr)> {
    let Wanted { host, port, transport } = wanted;
    let mut found = Vec::new();
    // With a port only the addresses have to be looked up (§4.1, §4.2).
    if port.is_none() {
        for (transport, name) in services(records, wanted, usable).await {
            for server in ordered(records, records.srv(&name).await) {
                if server.target.trim_matches('.').is_empty() {
                    continue;
                }
                for ip in records.addresses(&server.target).await {
                    found.push((transport, SocketAddr::new(ip, server.port)));
                }
                if found.len() >= MAX_TARGETS {
                    break;
                }
            }
        }
    }
    if found.is_empty() {
        let transport = transport.unwrap_or(Transport::Udp);
        let port = port.unwrap_or(usual_port(transport));
        let addresses = records.addresses(host).await;
        found.extend(addresses.into_iter().map(|ip| (transport, SocketAddr::new(ip, port))));
    }
    found.truncate(MAX_TARGETS);
    found
}

/// The SRV names to query, best first.
async fn services(
    records: &impl Records,
    Wanted { host, transport, .. }: Wanted<'_>,
    usable: &[Transport],
) -> Vec<(Transport, String)> {
    let possible = |service: &&(&str, &str, Transport)| {
        // TLS for a SIP URI that does not ask for it is used only if NAPTR offers it.
        usable.contains(&service.2) && transport.is_none_or(|transport| transport == service.2)
    };
    // With a transport in the URI, NAPTR is not needed (§4.1).
    if transport.is_none() {
        let mut offered = records.naptr(host).await;
        offered.sort_by_key(|it| (it.order, it.preference));
        let known = offered.into_iter().filter_map(|it| {
            let service = SERVICES.iter().find(|(name, ..)| name.eq_ignore_ascii_case(&it.services))?;
            let terminal = it.flags.eq_ignore_ascii_case("s") && possible(&service);
            terminal.then_some((service.2, it.replacement))
        });
        let known: Vec<_> = known.collect();
        if !known.is_empty() {
            return known;
        }
    }
    let asked = SERVICES.iter().filter(possible);
    let asked = asked.filter(|service| service.2 != Transport::Tls || transport.is_some());
    asked.map(|(_, prefix, transport)| (*transport, format!("{prefix}{host}"))).collect()
}

/// Orders SRV records as in RFC 2782: by priority, and at random by weight among equal
/// priorities.
fn ordered(records: &impl Records, mut servers: Vec<Srv>) -> Vec<Srv> {
    servers.sort_by_key(|server| (server.priority, server.weight));
    let mut ordered = Vec::with_capacity(servers.len());
    while let Some(first) = servers.first() {
        let equals = servers.iter().take_while(|server| server.priority == first.priority).count();
        let weights = || servers.iter().take(equals).map(|server| u32::from(server.weight));
        let lot = records.random(weights().fold(0, u32::saturating_add).saturating_add(1));
        let mut sum = 0u32;
        let chosen = weights().position(|weight| {
            sum = sum.saturating_add(weight);
            sum >= lot
        });
        ordered.push(servers.remove(chosen.unwrap_or(0)));
    }
    ordered
}

#[cfg(test)]
mod tests;
