//! Ending legs and calls; waiting for the state of a leg, and for the end of a leg, a bridge or a call.

use std::time::{Duration, SystemTime};

use super::{CallError, CallService};
use crate::leg_fsm::{self, LegState, TerminationCause};
use crate::reason::Reason;
use crate::service::command::Command;
use crate::{BridgeId, CallId, LegId};

/// The object of [`CallService::wait_for_termination`] and other commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum Watched {
    /// A leg.
    Leg(LegId),
    /// A bridge.
    Bridge(BridgeId),
    /// A whole call.
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
#[non_exhaustive]
pub struct CallEnd {
    /// For a bridge or a call: the cause of the leg that ended first.
    pub cause: TerminationCause,
    /// The leg whose party ended it by hanging up, giving up or refusing: for a bridge or a call one of its
    /// legs; for a leg that was hung up because of another one, that other leg. `None`: a program, a timer or
    /// a limit ended it.
    pub by: Option<LegId>,
    /// Time from the answer to the end; `None`: it was never answered.
    pub talked: Option<Duration>,
    /// When it ended.
    pub at: SystemTime,
}

impl CallEnd {
    /// When it was answered; `None`: never.
    pub fn answered_at(&self) -> Option<SystemTime> {
        self.at.checked_sub(self.talked?)
    }

    /// The final state of a leg with this end.
    pub(crate) fn leg_state(&self) -> LegState {
        let before = if self.talked.is_some() { LegState::Answered } else { LegState::Created };
        leg_fsm::next(before, self.cause.event()).unwrap_or(LegState::Destroyed)
    }
}

impl CallService {
    /// Ends a leg with BYE, CANCEL or a refusal, as its state requires.
    ///
    /// # Errors
    /// There is no such leg.
    pub async fn hangup(&self, leg: LegId) -> Result<(), CallError> {
        self.command(|reply| Command::Hangup { leg, reason: None, reply }).await
    }

    /// As [`CallService::hangup`], with a reason (RFC 3326): it goes into the Reason of the BYE, CANCEL or
    /// refusal, the status of the refusal ([`Reason::status`]) and the cause in the leg's record. A party
    /// that is hung up because of this leg gets the same Reason.
    ///
    /// ```no_run
    /// # use b2b_call::{LegId, reason::Reason, service::{CallError, CallService}};
    /// # async fn busy(service: CallService, leg: LegId) -> Result<(), CallError> {
    /// service.hangup_with(leg, Reason::q850(17)).await
    /// # }
    /// ```
    ///
    /// # Errors
    /// There is no such leg.
    pub async fn hangup_with(&self, leg: LegId, reason: Reason) -> Result<(), CallError> {
        self.command(|reply| Command::Hangup { leg, reason: Some(reason), reply }).await
    }

    /// Ends every leg of a call.
    ///
    /// # Errors
    /// There is no such call.
    pub async fn hangup_call(&self, call: CallId) -> Result<(), CallError> {
        self.command(|reply| Command::HangupCall { call, reason: None, reply }).await
    }

    /// As [`CallService::hangup_call`], with a reason for each party, as in [`CallService::hangup_with`].
    ///
    /// # Errors
    /// There is no such call.
    pub async fn hangup_call_with(&self, call: CallId, reason: Reason) -> Result<(), CallError> {
        self.command(|reply| Command::HangupCall { call, reason: Some(reason), reply }).await
    }

    /// Waits for the end of a leg, a bridge or a call. If it is over already, returns how it ended, as long
    /// as it is among the latest thousand calls or so.
    ///
    /// # Errors
    /// It ended long ago, or never existed.
    pub async fn wait_for_termination(&self, what: impl Into<Watched>) -> Result<CallEnd, CallError> {
        let what = what.into();
        self.ask(|reply| Command::Watch { what, reply }).await.unwrap_or(Err(CallError::Gone))
    }

    /// Waits until a leg has reached `state`; returns its state at that time, which may be a later one, as a
    /// phone may answer without ringing. A leg that is over returns its final state ([`LegState::is_over`]),
    /// whatever `state` is; [`CallService::wait_for_termination`] gives the cause.
    ///
    /// ```no_run
    /// # use b2b_call::{LegId, leg_fsm::LegState, service::{CallError, CallService}};
    /// # async fn rings(service: CallService, leg: LegId) -> Result<bool, CallError> {
    /// let state = service.wait_for_state(leg, LegState::Ringing).await?;
    /// # Ok(
    /// !state.is_over()
    /// # )
    /// # }
    /// ```
    ///
    /// # Errors
    /// The leg ended long ago, or never existed.
    pub async fn wait_for_state(&self, leg: LegId, state: LegState) -> Result<LegState, CallError> {
        self.ask(|reply| Command::AwaitState { leg, state, reply }).await.unwrap_or(Err(CallError::Gone))
    }
}
