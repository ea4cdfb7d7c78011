//! Events about emergency calls.

use serde::{Deserialize, Serialize};

use crate::{CallId, LegId};

/// An emergency call is sent to a gateway; another event follows if the next gateway is tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EmergencyCall {
    /// The call.
    pub call: CallId,
    /// The dialled leg.
    pub leg: LegId,
    /// The caller's number as sent to the gateway.
    pub caller: String,
    /// The number or service that was dialled: `112`, `urn:service:sos`.
    pub number: String,
    /// The gateway's name.
    pub gateway: String,
}
