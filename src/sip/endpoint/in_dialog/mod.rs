//! Requests after the INVITE.
//!
//! - `session`: those of the peer; `reinvite`: re-INVITE and UPDATE; `refresh`: session timers
//! - `refer`, `replace`: transfer
//! - `requests`: our other ones, in and out of a dialog; `overtaken`: requests that arrive out of order
//! - `challenge_inside`: ours with credentials

pub(super) mod challenge_inside;
pub(super) mod overtaken;
pub(super) mod refer;
pub(super) mod refresh;
pub(super) mod reinvite;
pub(super) mod replace;
pub(super) mod requests;
pub(super) mod session;
