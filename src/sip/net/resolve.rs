//! Name resolution for the endpoint, outside the signalling thread's turns.
//!
//! IP literals need none and are not passed here. Either by the system (A and AAAA,
//! `/etc/hosts`), or by DNS according to RFC 3263 (`locate`).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

#[cfg(feature = "dns")]
use super::dns::Dns;
#[cfg(feature = "dns")]
use super::locate::{self, Wanted};
use crate::endpoint::Transport;

/// Time limit of a lookup: the system resolver's own limit can be half a minute, as long as a
/// transaction.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The source of host addresses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NameService {
    /// The system resolver: addresses only, with default ports.
    #[default]
    System,
    /// DNS with NAPTR and SRV (RFC 3263), by this server or the system's.
    #[cfg(feature = "dns")]
    Dns(Option<SocketAddr>),
}

/// An active name service.
#[derive(Clone)]
pub(super) enum Resolver {
    System,
    #[cfg(feature = "dns")]
    Dns(Box<Dns>),
}

impl Resolver {
    /// `Err` with the reason if DNS is not available.
    pub(super) fn new(service: NameService) -> Result<Self, String> {
        match service {
            NameService::System => Ok(Resolver::System),
            #[cfg(feature = "dns")]
            NameService::Dns(server) => match Dns::new(server) {
                Ok(dns) => Ok(Resolver::Dns(Box::new(dns))),
                // Not an error, since all targets may be addresses.
                Err(error) if server.is_none() => {
                    tracing::warn!(
                        "the system has no name server ({error}): NAPTR and SRV are not looked up"
                    );
                    Ok(Resolver::System)
                }
                Err(error) => Err(error.to_string()),
            },
        }
    }

    /// The targets of `host` for the `usable` transports, in order of preference; empty if
    /// there are none. The default transport is UDP (RFC 3263 §4.1), unless DNS specifies
    /// another one.
    pub(super) async fn targets(
        &self,
        host: &str,
        port: Option<u16>,
        transport: Option<Transport>,
        usable: &[Transport],
    ) -> Vec<(Transport, SocketAddr)> {
        let found = async {
            match self {
                Resolver::System => system(host, port, transport).await,
                #[cfg(feature = "dns")]
                Resolver::Dns(dns) => {
                    let usual = || locate::usual_port(transport.unwrap_or(Transport::Udp));
                    let port = port.or_else(|| dns.is_in_hosts_file(host).then(usual));
                    locate::locate(&**dns, Wanted { host, port, transport }, usable).await
                }
            }
        };
        let mut found = tokio::time::timeout(TIMEOUT, found).await.unwrap_or_default();
        found.retain(|(transport, _)| usable.contains(transport));
        found
    }

    /// The first address of this family of an absolute name.
    pub(super) async fn address(&self, host: &str, ipv4: bool) -> Option<IpAddr> {
        match self {
            Resolver::System => {
                let mut found = tokio::net::lookup_host((host, 0)).await.ok()?.map(|at| at.ip());
                found.find(|ip| ip.is_ipv4() == ipv4)
            }
            #[cfg(feature = "dns")]
            Resolver::Dns(dns) => dns.address(host, ipv4).await,
        }
    }
}

async fn system(host: &str, port: Option<u16>, transport: Option<Transport>) -> Vec<(Transport, SocketAddr)> {
    let transport = transport.unwrap_or(Transport::Udp);
    let usual = if transport == Transport::Tls { 5061 } else { 5060 };
    match tokio::net::lookup_host((host, port.unwrap_or(usual))).await {
        Ok(found) => found.map(|addr| (transport, addr)).collect(),
        Err(_) => Vec::new(),
    }
}
