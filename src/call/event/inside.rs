//! Events about requests inside a call.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{CallId, LegId};

/// Maximum length of an INFO body in an event, in octets.
pub const INFO_BODY: usize = 4 * 1_024;

/// Maximum length of its Content-Type and Info-Package in an event, in octets.
pub const INFO_FIELD: usize = 128;

/// Route or Contact of a dialog is not an address of the party itself: requests are sent there, or by the
/// flow of the party instead.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct NextHop {
    /// The call.
    pub call: CallId,
    /// The leg.
    pub leg: LegId,
    /// The address in Route or Contact.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub address: SocketAddr,
    /// `false`: the flow of the party was used.
    pub followed: bool,
    /// The reason, as text.
    pub why: String,
}

/// A party sent an INFO that is not a digit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InfoSaid {
    /// The call.
    pub call: CallId,
    /// The leg of the sender.
    pub leg: LegId,
    /// Content-Type.
    pub content_type: String,
    /// Info-Package (RFC 6086); `None` without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// The length of the body in octets.
    pub size: usize,
    /// The body; `None` if it is not UTF-8, is longer than 4 KiB, or may contain a secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Whether it was passed on to the other party.
    pub passed_on: bool,
}
