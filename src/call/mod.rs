//! Calls: one party's side of a conversation, and what two sides agree on.
//!
//! - `leg`: a leg's logic as a machine: SIP and media events in, commands out
//! - `leg_fsm`: the states of a leg, as a table
//! - `negotiate`: offer/answer (RFC 3264), pure functions on session descriptions
//! - `digits`: digits that come as INFO
//! - `service`: legs at work between the SIP stack and the media worker

pub mod digits;
pub mod leg;
pub mod leg_fsm;
pub mod negotiate;
pub mod service;
