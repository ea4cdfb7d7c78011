//! Waiting for the end of a leg, a bridge or a call.

use std::time::Duration;

use super::{CallError, CallService};
use crate::leg_fsm::TerminationCause;
use crate::switch::command::Command;
use crate::{BridgeId, CallId, LegId};

/// What [`CallService::wait_for_termination`] waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub enum Watched {
    /// The end of a leg.
    Leg(LegId),
    /// The end of a bridge.
    Bridge(BridgeId),
    /// The end of a whole call.
    Call(CallId),
}

impl From<LegId> for Watched {
    fn from(leg: LegId) -> Self {
        Watched::Leg(leg)
    }
}

impl From<BridgeId> for Watched {
    fn from(bridge: BridgeId) -> Self {
        Watched::Bridge(bridge)
    }
}

impl From<CallId> for Watched {
    fn from(call: CallId) -> Self {
        Watched::Call(call)
    }
}

/// How a leg, a bridge or a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallEnd {
    /// Of a bridge or a call: the cause of the leg that ended first.
    pub cause: TerminationCause,
    /// From the answer to the end; none: it was never answered.
    pub talked: Option<Duration>,
}

impl CallService {
    /// Waits for the end of a leg, a bridge or a call. One that is over already: how it
    /// ended, as long as it is among the latest thousand calls or so.
    ///
    /// # Errors
    /// It ended long ago, or never was.
    pub async fn wait_for_termination(&self, what: impl Into<Watched>) -> Result<CallEnd, CallError> {
        let what = what.into();
        self.ask(|reply| Command::Watch { what, reply }).await.unwrap_or(Err(CallError::Gone))
    }
}
