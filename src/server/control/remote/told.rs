//! Messages to a program about its calls, beside events.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// A call that is given to a program, or taken from it.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CallNews {
    /// A call is given to this program.
    Offer(Box<OfferedCall>),
    /// The program no longer has this call.
    Over {
        call: u64,
        leg: u64,
        /// The reason: one word.
        reason: String,
    },
}

/// The data on a call that is given to a program.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct OfferedCall {
    /// The application's name, `agent` of `remote/agent`.
    pub remote: String,
    pub call: u64,
    /// The leg that the program has.
    pub leg: u64,
    /// The called number.
    pub called: String,
    /// The caller's number.
    pub caller: String,
    /// The caller's authenticated user; null: trusted by address, or not asked to authenticate.
    pub identity: Option<String>,
    /// The source address and port of the call.
    pub source: String,
    /// Whether its party has been answered.
    pub answered: bool,
    /// The server has died and goes on with the call, which a program may have had before.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub resumed: bool,
    /// Names and values of the call's variables.
    pub variables: BTreeMap<String, String>,
    /// Names and values of the header fields of the INVITE, in their order; empty for a party that b2b has
    /// called.
    pub headers: Vec<(String, String)>,
    /// The result of verifying the caller's number, where a trusted gateway sends it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verstat: Option<String>,
}
