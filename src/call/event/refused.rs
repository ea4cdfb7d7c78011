//! Events about refused callers.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{CallId, LegId};

/// A caller gets a final response that is no answer. Calls refused earlier (a limit, a wrong password) have
/// no such event: they are in the log and the counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CallRefused {
    /// The call.
    pub call: CallId,
    /// The caller's leg.
    pub leg: LegId,
    /// The source of its INVITE; `None` if it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub source: Option<SocketAddr>,
    /// `user/1001` or `gateway/carrier`, otherwise the number that the caller claims.
    pub caller: String,
    /// The called number; `None` if the Request-URI has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<String>,
    /// The status of the response, 300 to 699.
    pub status: u16,
    /// The reason, as text.
    pub why: String,
}
