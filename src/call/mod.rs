//! Calls: one party's side of a conversation, and what two sides agree on.
//!
//! - `leg_fsm`: the states of a leg, as a table
//! - `negotiate`: offer/answer (RFC 3264), pure functions on session descriptions
//! - `digits`: digits that come as INFO
//! - `agent`: legs that end here, in an audio source and sink

pub mod agent;
pub mod digits;
pub mod leg_fsm;
pub mod negotiate;

/// One party's side of a call. Never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LegId(pub u64);

/// The whole conversation: the leg that began it and whatever it was joined to.
/// Never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// Two legs joined. Never used twice in a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BridgeId(pub u64);
