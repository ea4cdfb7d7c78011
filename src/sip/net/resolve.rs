//! Name resolution for the endpoint.
//!
//! IP literals need none and never come here. Names are looked up with the
//! system's resolver (A and AAAA, `/etc/hosts`), off the signalling thread. SRV
//! and NAPTR (RFC 3263 §4.1, §4.2) come with the server.

use std::net::SocketAddr;
use std::time::Duration;

use crate::sip::endpoint::Transport;

/// A lookup that takes longer has failed: the system resolver's own limit can
/// be half a minute, as long as a transaction.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The default port of `sip:` (RFC 3263 §4.2).
const SIP_PORT: u16 = 5060;

/// Where `host` can be reached, in the order to try; empty when it cannot.
/// Without a transport it is UDP (RFC 3263 §4.1).
pub(super) async fn targets(
    host: &str,
    port: Option<u16>,
    transport: Option<Transport>,
) -> Vec<(Transport, SocketAddr)> {
    let transport = transport.unwrap_or(Transport::Udp);
    let lookup = tokio::net::lookup_host((host, port.unwrap_or(SIP_PORT)));
    match tokio::time::timeout(TIMEOUT, lookup).await {
        Ok(Ok(found)) => found.map(|addr| (transport, addr)).collect(),
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}
