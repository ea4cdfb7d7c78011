//! What is told of emergency calls.

use serde::{Deserialize, Serialize};

use crate::{CallId, LegId};

/// An emergency call goes to a gateway; another one if that does not take it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct EmergencyCall {
    /// The call.
    pub call: CallId,
    /// The leg that is dialled.
    pub leg: LegId,
    /// The number that the gateway is told of the caller.
    pub caller: String,
    /// The number or service that was dialled: `112`, `urn:service:sos`.
    pub number: String,
    /// The gateway's name.
    pub gateway: String,
}
