//! Name resolution for the endpoint, off the signalling thread's turns.
//!
//! IP literals need none and never come here. As the system does it (A and AAAA,
//! `/etc/hosts`), or with DNS as RFC 3263 says (`locate`).

use std::net::SocketAddr;
use std::time::Duration;

#[cfg(feature = "dns")]
use super::dns::Dns;
#[cfg(feature = "dns")]
use super::locate::{self, Wanted};
use crate::endpoint::Transport;

/// A lookup that takes longer has failed: the system resolver's own limit can
/// be half a minute, as long as a transaction.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Who knows where hosts are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NameService {
    /// The system: addresses only, and the usual ports.
    #[default]
    System,
    /// DNS with NAPTR and SRV (RFC 3263), by this server or those of the system.
    #[cfg(feature = "dns")]
    Dns(Option<SocketAddr>),
}

/// A name service at work.
#[derive(Clone)]
pub(super) enum Resolver {
    System,
    #[cfg(feature = "dns")]
    Dns(Box<Dns>),
}

impl Resolver {
    /// `Err`: why DNS cannot be asked.
    pub(super) fn new(service: NameService) -> Result<Self, String> {
        match service {
            NameService::System => Ok(Resolver::System),
            #[cfg(feature = "dns")]
            NameService::Dns(server) => match Dns::new(server) {
                Ok(dns) => Ok(Resolver::Dns(Box::new(dns))),
                // Addresses may be all that anybody uses here.
                Err(error) if server.is_none() => {
                    tracing::warn!("the system names no name server ({error}): no NAPTR and no SRV");
                    Ok(Resolver::System)
                }
                Err(error) => Err(error.to_string()),
            },
        }
    }

    /// Where `host` can be reached by one of the `usable` transports, in the order to
    /// try; empty when it cannot. Without a transport it is UDP (RFC 3263 §4.1), if
    /// DNS has no other opinion.
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
}

async fn system(host: &str, port: Option<u16>, transport: Option<Transport>) -> Vec<(Transport, SocketAddr)> {
    let transport = transport.unwrap_or(Transport::Udp);
    let usual = if transport == Transport::Tls { 5061 } else { 5060 };
    match tokio::net::lookup_host((host, port.unwrap_or(usual))).await {
        Ok(found) => found.map(|addr| (transport, addr)).collect(),
        Err(_) => Vec::new(),
    }
}
