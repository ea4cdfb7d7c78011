//! Takes a bridge down so that both parties stay, each in a call of its own.

use super::recording::Subject;
use super::table::{Call, Purpose};
use super::{Switch, Turn};
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
        let it = self.calls.leg(leg).filter(|it| !it.life.is_ending()).ok_or(CallError::Gone)?;
        let call = it.call;
        let (_, other, _) = self.bridged(leg).ok_or(CallError::WrongState("the leg is in no bridge"))?;
        let dialling = self.calls.get(call).and_then(|it| it.dialling.as_ref());
        if let Some(Purpose::Transfer { .. } | Purpose::Caller { .. }) = dialling.map(|it| &it.purpose) {
            return Err(CallError::WrongState("another party is being dialled for the leg"));
        }
        if self.is_asked(call) {
            return Err(CallError::Busy);
        }
        for taken in [leg, other].into_iter().filter(|it| !(kept && *it == leg)) {
            self.take_from_handler(taken);
        }
        if !kept {
            self.application_taken(t, call);
        }
        // The recording continues with the leg that keeps the call.
        self.recording_goes_over(other);
        self.part(t, call);
        // A program may have put it there already.
        self.advance_if_legal(t, call, CallEvent::EnterProgram);
        let own = self.call_of_its_own(t, other, call);
        if let Some(it) = self.calls.get_mut(call) {
            (it.a, it.adopted) = (leg, true);
        }
        for each in [leg, other] {
            self.talk_to_us(t, each);
        }
        Ok((own, other))
    }

    /// Moves a leg from its call into a new one.
    fn call_of_its_own(&mut self, t: &mut Turn<'_>, leg: LegId, from: CallId) -> CallId {
        let own = self.new_call(Call::new(t.now));
        self.open_history(t, own, |_| {});
        let inbound = self.calls.leg(leg).is_some_and(|it| it.inbound);
        self.advance_call(t, own, if inbound { CallEvent::Incoming } else { CallEvent::Originate });
        self.advance_call(t, own, CallEvent::EnterProgram);
        let answered_at = self.calls.leg(leg).and_then(|it| it.life.answered_at());
        let before = self.calls.get(from);
        let (linked, ends_at) = (before.and_then(|it| it.linked), before.and_then(|it| it.watch.ends_at));
        if let Some(it) = self.calls.get_mut(own) {
            (it.a, it.adopted) = (leg, true);
            (it.answered_at, it.watch.ends_at) = (answered_at, ends_at);
            it.linked = Some(linked.unwrap_or(from));
        }
        self.calls.move_leg(leg, own);
        self.pause_for_secrets(Subject::Call(from));
        self.history.move_leg(leg, from, own);
        self.move_capture(t, leg, from);
        self.hand_on_variables(from, own);
        self.arm(t.now, own);
        own
    }
}
