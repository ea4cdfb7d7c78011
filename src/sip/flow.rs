//! Flows: the paths by which peers are reached.

use std::net::SocketAddr;

pub use crate::msg::Transport;

/// Identifies a connection, or one of our UDP sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct FlowId(pub u64);

/// A path to a peer: a connection, or one of our UDP sockets with the peer's address. UDP
/// flows with the same `id` differ only in `remote`, which the endpoint may change to respond
/// to another port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Flow {
    /// The transport of its messages.
    pub transport: Transport,
    /// Our address as peers reach it, for Via and Contact: always a concrete address. For a
    /// connection, its local IP address with the port that we listen on.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
    /// The connection, or our UDP socket.
    pub id: FlowId,
}

/// Chooses the UDP socket of ours for a remote address, from the listener of this name if given: the flow by it;
/// `None` if there is no socket for it.
pub(crate) type UdpFlow = Box<dyn FnMut(SocketAddr, Option<&str>) -> Option<Flow> + Send>;

impl FlowId {
    /// A connection that is gone.
    pub(crate) const GONE: FlowId = FlowId(u64::MAX);
}

impl Flow {
    /// The connection; `None` over UDP.
    pub(crate) fn connection(&self) -> Option<FlowId> {
        self.transport.is_reliable().then_some(self.id)
    }

    /// The flow in another process: its connection is gone.
    pub(crate) fn elsewhere(&mut self) {
        if self.transport.is_reliable() {
            self.id = FlowId::GONE;
        }
    }
}
