//! The INVITE that begins a call.
//!
//! - `caller`: ours; `success`: its 2xx, and the ACK; `reliable`: PRACK for its provisional responses
//! - `challenge`: resends it, or a BYE, with credentials
//! - `callee`: the peer's; `reply`, `provisional`: our responses, and the PRACK for them

pub(super) mod callee;
pub(super) mod caller;
pub(super) mod challenge;
pub(super) mod provisional;
pub(super) mod reliable;
pub(super) mod reply;
pub(super) mod success;
