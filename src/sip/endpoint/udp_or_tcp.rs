//! Requests that are too large for UDP go over TCP, if that can be had (RFC 3261 §18.1.1).
//!
//! Providers that take calls over UDP often have no TCP there, and drop the SYN: who names UDP
//! gets UDP, in fragments, as Asterisk and PJSIP do it (`disable_tcp_switch`). Elsewhere TCP has a
//! second to come, and a host that has none is not asked again for a while.

use std::time::{Duration, Instant};

use super::send::Waiting;
use super::{Endpoint, Flow, Transport};
use crate::dialog::hop::names_udp;

/// Larger requests do not go over UDP if there is another way, octets.
const LARGE: usize = 1_300;
/// How long the connection may take.
const CONNECT: Duration = Duration::from_secs(1);
/// How long it is remembered that none came.
const REMEMBERED: Duration = Duration::from_secs(600);

/// By which way requests of more than 1,300 octets go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum LargeRequests {
    /// Over UDP where the URI that leads there says `transport=udp`, else over TCP.
    #[default]
    AsNamed,
    /// Over UDP.
    Udp,
    /// Over TCP, and over UDP where there is none.
    Tcp,
}

impl LargeRequests {
    /// Whether they stay with UDP on the way to this URI.
    pub(super) fn by_udp(self, uri: &[u8]) -> bool {
        match self {
            LargeRequests::AsNamed => names_udp(uri),
            LargeRequests::Udp => true,
            LargeRequests::Tcp => false,
        }
    }
}

/// Whether a request of so many octets wants another way than this flow.
pub(super) fn is_too_large(octets: usize, flow: &Flow) -> bool {
    octets > LARGE && flow.transport == Transport::Udp
}

impl Endpoint {
    /// The request waits for a connection; where none comes, it goes over UDP all the same.
    pub(super) fn connect_for_size(&mut self, now: Instant, mut waiting: Waiting, flow: Flow) {
        waiting.udp = Some(flow);
        if self.failover.avoids(now, (Transport::Tcp, flow.remote)) {
            return self.launch(now, flow, waiting);
        }
        let connect = self.out.connect_soon(flow.remote, CONNECT, waiting.dialog.listener.clone());
        self.connecting.insert(connect, Box::new(waiting));
    }

    /// There is no connection for it.
    pub(super) fn no_tcp_for_size(&mut self, now: Instant, flow: Flow, waiting: Waiting) {
        tracing::info!(
            "{} takes no TCP connection: requests of more than {LARGE} octets go there over UDP for {} s",
            flow.remote,
            REMEMBERED.as_secs()
        );
        self.failover.failed(now, (Transport::Tcp, flow.remote), REMEMBERED);
        self.launch(now, flow, waiting);
    }
}
