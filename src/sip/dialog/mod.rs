//! Dialogs (RFC 3261 §12) and the INVITE usage.
//!
//! - `caller_fsm`, `callee_fsm`: the two sides of an INVITE, as tables

pub mod callee_fsm;
pub mod caller_fsm;
