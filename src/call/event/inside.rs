//! What is told of requests inside a call.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::{CallId, LegId};

/// Octets of an INFO's body that are told at most.
pub const INFO_BODY: usize = 4 * 1_024;

/// Octets of its Content-Type and of its Info-Package that are told at most.
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
    /// Where Route or Contact leads.
    #[cfg_attr(feature = "schema", schema(value_type = String))]
    pub address: SocketAddr,
    /// `false`: the flow was taken that the party came by.
    pub followed: bool,
    /// Why it is told, for people.
    pub why: String,
}

/// A party sent an INFO that is not a digit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(utoipa::ToSchema))]
pub struct InfoSaid {
    /// The call.
    pub call: CallId,
    /// The leg of who says it.
    pub leg: LegId,
    /// Content-Type.
    pub content_type: String,
    /// Info-Package (RFC 6086); `None`: it names none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub package: Option<String>,
    /// Octets of the body.
    pub size: usize,
    /// The body; `None`: it is no text in UTF-8, is longer than 4 KiB, or may have a secret in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Whether it goes on to the party on the other side.
    pub passed_on: bool,
}
