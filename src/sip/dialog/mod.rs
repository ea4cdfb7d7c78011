//! Dialogs (RFC 3261 §12) and the INVITE usage.
//!
//! - `state`: a dialog: identifiers, route set, target, sequence numbers
//! - `hop`: where a URI leads; `nat`: at which port somebody behind a NAT is reached
//! - `identity`: what our messages say about us; advertised addresses
//! - `request`: requests to bytes
//! - `redirect`: where a 3xx sends us
//! - `replaces`: Replaces and Refer-To, as values
//! - `offer_answer`: the offer/answer phase of a dialog
//! - `caller_fsm`, `callee_fsm`: the two sides of an INVITE, as tables
//! - `reliable_fsm`: reliable provisional responses of ours, as a table
//! - `refer_fsm`: the two sides of a REFER, as tables
//! - `session_timer`: what two sides agree on, and its table
//! - `usage`: what is known of one call leg

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
pub mod request;
pub mod session_timer;
pub mod state;
pub mod usage;
