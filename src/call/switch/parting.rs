//! Takes a bridge down so that both parties stay, each in a call of its own.

use super::recording::Subject;
use super::table::{Call, Purpose};
use super::{CallStep, Switch, Turn};
use crate::call_fsm::CallEvent;
use crate::service::CallError;
use crate::{CallId, LegId};

impl Switch {
    /// Takes the bridge of a leg down. The leg keeps its call, the other one gets a new call; returns that
    /// call and leg. Neither leg has an owner then, except that the owner of this leg keeps it if `kept`.
    pub(super) fn unbridge(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        kept: bool,
    ) -> Result<(CallId, LegId), CallError> {
        let mut step = self.step_of(leg).ok_or(CallError::Gone)?;
        let call = step.id;
        let other = step.unbridge(t, leg, kept)?;
        let own = self.call_of_its_own(t, other, call);
        self.in_call(call, |step| {
            (step.call.a, step.call.adopted) = (leg, true);
            step.talk_to_us(t, leg);
        });
        self.in_call(own, |step| step.talk_to_us(t, other));
        Ok((own, other))
    }

    /// Moves a leg from its call into a new one.
    fn call_of_its_own(&mut self, t: &mut Turn<'_>, leg: LegId, from: CallId) -> CallId {
        let own = self.new_call(Call::new(t.now));
        self.common.open_history(t, own, |_| {});
        let inbound = self.calls.leg(leg).is_some_and(|it| it.inbound);
        let answered_at = self.calls.leg(leg).and_then(|it| it.life.answered_at());
        let before = self.calls.get(from);
        let (linked, ends_at) = (before.and_then(|it| it.linked), before.and_then(|it| it.watch.ends_at));
        self.in_call(own, |step| {
            step.advance_call(t, if inbound { CallEvent::Incoming } else { CallEvent::Originate });
            step.advance_call(t, CallEvent::EnterProgram);
            (step.call.a, step.call.adopted) = (leg, true);
            (step.call.answered_at, step.call.watch.ends_at) = (answered_at, ends_at);
            step.call.linked = Some(linked.unwrap_or(from));
        });
        self.calls.move_leg(leg, own);
        self.in_call(from, |step| step.pause_for_secrets(Subject::Call(from)));
        self.common.history.move_leg(leg, from, own);
        self.move_capture(t, leg, from);
        self.hand_on_variables(from, own);
        self.in_call(own, |step| step.arm(t.now));
        own
    }
}

impl CallStep<'_> {
    /// Takes the bridge of a leg down, before the other leg gets a call of its own; returns that leg.
    fn unbridge(&mut self, t: &mut Turn<'_>, leg: LegId, kept: bool) -> Result<LegId, CallError> {
        self.call.leg(leg).filter(|it| !it.life.is_ending()).ok_or(CallError::Gone)?;
        let (other, _) = self.call.bridged(leg).ok_or(CallError::WrongState("the leg is in no bridge"))?;
        let dialling = self.call.dialling.as_ref();
        if let Some(Purpose::Transfer { .. } | Purpose::Caller { .. }) = dialling.map(|it| &it.purpose) {
            return Err(CallError::WrongState("another party is being dialled for the leg"));
        }
        if self.call.is_asked() {
            return Err(CallError::Busy);
        }
        for taken in [leg, other].into_iter().filter(|it| !(kept && *it == leg)) {
            self.take_from_handler(taken);
        }
        if !kept {
            self.application_taken(t);
        }
        // The recording continues with the leg that keeps the call.
        self.recording_goes_over(other);
        self.part(t);
        // A program may have put it there already.
        self.advance_if_legal(t, CallEvent::EnterProgram);
        Ok(other)
    }
}
