//! Flows: by which way a peer is reached.

use std::net::SocketAddr;

pub use crate::msg::Transport;

/// A connection, or for UDP a socket of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub struct FlowId(pub u64);

/// A way to a peer: the connection it uses, or the UDP socket of ours and the
/// peer's address. UDP flows with the same `id` differ in `remote` only, and the
/// endpoint may change `remote` to answer to another port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Flow {
    /// The transport that messages take on it.
    pub transport: Transport,
    /// Where peers reach us on this side, for Via and Contact: always a concrete
    /// address. For a connection: its local IP with the port that we listen on.
    pub local: SocketAddr,
    /// The other end.
    pub remote: SocketAddr,
    /// The connection, or our UDP socket.
    pub id: FlowId,
}
