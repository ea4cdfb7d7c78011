//! What a program is told of its calls, beside events.

use std::collections::BTreeMap;

use serde::Serialize;
use utoipa::ToSchema;

/// A call that a program gets, or has no more.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum CallNews {
    /// A call is given to this program.
    Offer(Box<OfferedCall>),
    /// The program has this call no more.
    Over {
        call: u64,
        leg: u64,
        /// Why: one word.
        reason: String,
    },
}

/// What is known of a call that is given to a program.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct OfferedCall {
    /// The application's name, `agent` of `remote/agent`.
    pub remote: String,
    pub call: u64,
    /// The leg that the program has.
    pub leg: u64,
    /// The number that was called.
    pub called: String,
    /// The caller's number.
    pub caller: String,
    /// Who the caller has proved to be; none: trusted by address, or nobody asked.
    pub identity: Option<String>,
    /// Where the call comes from: an address and a port.
    pub source: String,
    /// Its party talks already.
    pub answered: bool,
    /// Names and values of the call's variables.
    pub variables: BTreeMap<String, String>,
    /// Names and values of the header fields of the INVITE, in its order; none of a party that b2b has called.
    pub headers: Vec<(String, String)>,
    /// What came of verifying the caller's number, where a trusted gateway tells it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verstat: Option<String>,
}
