//! Dialogs (RFC 3261 §12) and the INVITE usage.
//!
//! - `state`: a dialog: identifiers, route set, target, sequence numbers
//! - `hop`: the next hop of a URI; `nat`: the port of a peer behind a NAT
//! - `identity`: our own addresses and header fields; advertised addresses
//! - `request`: writing requests
//! - `redirect`: the targets of a 3xx
//! - `replaces`: Replaces and Refer-To
//! - `reply`: our responses
//! - `offer_answer`: the offer/answer phase of a dialog
//! - `caller_fsm`, `callee_fsm`: state tables of the two sides of an INVITE
//! - `reliable_fsm`: state table of our reliable provisional responses
//! - `refer_fsm`: state tables of the two sides of a REFER
//! - `session_timer`: negotiation of session timers, and their state table
//! - `usage`: the state of one call leg

pub mod callee_fsm;
pub mod caller_fsm;
pub mod hop;
pub mod identity;
pub mod nat;
pub mod offer_answer;
pub mod redirect;
pub mod refer_fsm;
pub mod reliable_fsm;
pub mod replaces;
pub mod reply;
pub mod request;
pub mod session_timer;
pub mod state;
pub mod usage;
