//! What is told of callers who are refused.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{CallId, LegId};

/// A caller gets a final response that is no answer. Calls that were never taken up (a limit, a wrong password)
/// have none of these: the log and the counters have them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct CallRefused {
    /// The call.
    pub call: CallId,
    /// The caller's leg.
    pub leg: LegId,
    /// Where its INVITE came from; `None`: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schema(value_type = Option<String>))]
    pub source: Option<SocketAddr>,
    /// `user/1001` or `gateway/carrier`, else the number that the caller claims.
    pub caller: String,
    /// The number called; `None`: the Request-URI has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub called: Option<String>,
    /// The status of the response, 300 to 699.
    pub status: u16,
    /// Why, for people.
    pub why: String,
}
