//! Requests that are too large for UDP go over TCP, if that can be had (RFC 3261 §18.1.1).

use super::send::Waiting;
use super::{Endpoint, Flow, Transport};

/// Larger requests do not go over UDP if there is another way, octets.
const LARGE: usize = 1_300;

/// Whether a request of so many octets wants another way than this flow.
pub(super) fn is_too_large(octets: usize, flow: &Flow) -> bool {
    octets > LARGE && flow.transport == Transport::Udp
}

impl Endpoint {
    /// The request waits for a connection; where none comes, it goes over UDP all the same.
    pub(super) fn connect_for_size(&mut self, mut waiting: Waiting, flow: Flow) {
        waiting.udp = Some(flow);
        let connect = self.out.connect(Transport::Tcp, flow.remote, None);
        self.connecting.insert(connect, Box::new(waiting));
    }
}
