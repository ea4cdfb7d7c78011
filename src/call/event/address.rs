//! Events about our own addresses.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// The public address of a listener, as seen from outside (STUN, RFC 8489).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct AddressSeen {
    /// The listener.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub local: SocketAddr,
    /// The address that was seen.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub seen: SocketAddr,
}
