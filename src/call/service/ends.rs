//! Ending legs and calls; waiting for a state of a leg, and for the end of a leg, a bridge or a call.

use std::time::{Duration, SystemTime};

use super::{CallError, CallService};
use crate::leg_fsm::{self, LegState, TerminationCause};
use crate::reason::Reason;
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
#[non_exhaustive]
pub struct CallEnd {
    /// Of a bridge or a call: the cause of the leg that ended first.
    pub cause: TerminationCause,
    /// The leg whose party ended it, by hanging up, giving up or refusing: of a bridge or a call one of its legs, of
    /// a leg that was hung up for another one's sake that one. None: no party did, but a program, a timer or a
    /// limit.
    pub by: Option<LegId>,
    /// From the answer to the end; none: it was never answered.
    pub talked: Option<Duration>,
    /// When it ended.
    pub at: SystemTime,
}

impl CallEnd {
    /// When it was answered; none: it never was.
    pub fn answered_at(&self) -> Option<SystemTime> {
        self.at.checked_sub(self.talked?)
    }

    /// The state in which a leg with this end is over.
    pub(crate) fn leg_state(&self) -> LegState {
        let before = if self.talked.is_some() { LegState::Answered } else { LegState::Created };
        leg_fsm::next(before, self.cause.event()).unwrap_or(LegState::Destroyed)
    }
}

impl CallService {
    /// Ends a leg: BYE, CANCEL or a refusal, whichever fits.
    ///
    /// # Errors
    /// There is no such leg.
    pub async fn hangup(&self, leg: LegId) -> Result<(), CallError> {
        self.command(|reply| Command::Hangup { leg, reason: None, reply }).await
    }

    /// The same, saying why (RFC 3326): the BYE, CANCEL or refusal has this Reason, the refusal its status
    /// ([`Reason::status`]), and the leg's record its cause. Who is hung up because of this leg is told the same.
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

    /// The same, saying why to each of its parties, as [`CallService::hangup_with`] does.
    ///
    /// # Errors
    /// There is no such call.
    pub async fn hangup_call_with(&self, call: CallId, reason: Reason) -> Result<(), CallError> {
        self.command(|reply| Command::HangupCall { call, reason: Some(reason), reply }).await
    }

    /// Waits for the end of a leg, a bridge or a call. One that is over already: how it
    /// ended, as long as it is among the latest thousand calls or so.
    ///
    /// # Errors
    /// It ended long ago, or never was.
    pub async fn wait_for_termination(&self, what: impl Into<Watched>) -> Result<CallEnd, CallError> {
        let what = what.into();
        self.ask(|reply| Command::Watch { what, reply }).await.unwrap_or(Err(CallError::Gone))
    }

    /// Waits until a leg has come as far as `state`: the state in which it is then, which may be a later one, as a
    /// phone may answer without ringing. One that is over says so ([`LegState::is_over`]), whatever is waited for;
    /// [`CallService::wait_for_termination`] says why.
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
    /// It ended long ago, or never was.
    pub async fn wait_for_state(&self, leg: LegId, state: LegState) -> Result<LegState, CallError> {
        self.ask(|reply| Command::AwaitState { leg, state, reply }).await.unwrap_or(Err(CallError::Gone))
    }
}
