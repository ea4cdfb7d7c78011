//! What is told of our own addresses.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// By which address the outside sees a listener (STUN, RFC 8489).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressSeen {
    /// The listener.
    pub local: SocketAddr,
    /// As seen.
    pub seen: SocketAddr,
}
