//! Sends requests that are too large for UDP over TCP, if possible (RFC 3261 §18.1.1).
//!
//! Providers that accept calls over UDP often have no TCP and drop the SYN. A URI that names
//! UDP therefore gets UDP, in fragments, as in Asterisk and PJSIP (`disable_tcp_switch`).
//! Otherwise TCP has one second to connect, and after a failure the host is not tried over
//! TCP for a while.

use std::time::{Duration, Instant};

use crate::dialog::hop::names_udp;
use crate::endpoint::sending::send::Waiting;
use crate::endpoint::{Endpoint, Flow, Transport};

/// Largest request sent over UDP if there is an alternative, in octets.
const LARGE: usize = 1_300;
/// Time limit for the TCP connection.
const CONNECT: Duration = Duration::from_secs(1);
/// How long a failure of TCP is remembered.
const REMEMBERED: Duration = Duration::from_secs(600);

/// The transport for requests of more than 1,300 octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum LargeRequests {
    /// UDP if the URI of the next hop has `transport=udp`, else TCP.
    #[default]
    AsNamed,
    /// Always UDP.
    Udp,
    /// TCP, with UDP as the fallback.
    Tcp,
}

impl LargeRequests {
    /// Whether large requests to this URI stay on UDP.
    pub(in crate::endpoint) fn by_udp(self, uri: &[u8]) -> bool {
        match self {
            LargeRequests::AsNamed => names_udp(uri),
            LargeRequests::Udp => true,
            LargeRequests::Tcp => false,
        }
    }
}

/// Whether a request of this size is too large for this flow.
pub(in crate::endpoint) fn is_too_large(octets: usize, flow: &Flow) -> bool {
    octets > LARGE && flow.transport == Transport::Udp
}

impl Endpoint {
    /// Makes the request wait for a TCP connection; if that fails, it is sent over UDP.
    pub(in crate::endpoint) fn connect_for_size(&mut self, now: Instant, mut waiting: Waiting, flow: Flow) {
        waiting.udp = Some(flow);
        if self.failover.avoids(now, (Transport::Tcp, flow.remote)) {
            return self.launch(now, flow, waiting);
        }
        let ours = (None, waiting.dialog.listener.clone());
        let connect = self.out.connect(Transport::Tcp, flow.remote, None, ours, Some(CONNECT));
        self.connecting.insert(connect, Box::new(waiting));
    }

    /// The TCP connection has failed: sends the request over UDP.
    pub(in crate::endpoint) fn no_tcp_for_size(&mut self, now: Instant, flow: Flow, waiting: Waiting) {
        tracing::info!(
            "{} takes no TCP connection: requests of more than {LARGE} octets go there over UDP for {} s",
            flow.remote,
            REMEMBERED.as_secs()
        );
        self.failover.failed(now, (Transport::Tcp, flow.remote), REMEMBERED);
        self.launch(now, flow, waiting);
    }
}
