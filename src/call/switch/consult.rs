//! A transfer to a consultation call that still rings: the party that stays takes over the waiting.

use super::table::Purpose;
use super::transfer::{PartyRefer, TransferLegs};
use super::{CallStep, Switch, Turn};
use crate::call_fsm::CallEvent;
use crate::event::{Event, TransferKind};
use crate::leg_fsm::TerminationCause;
use crate::service::DialError;
use crate::{CallId, LegId};

impl Switch {
    /// `caller` is the referrer's leg in the consultation call, and unanswered. Its dialling continues for
    /// the party that stays; the old parties keep talking until it is answered, and stay connected if it is
    /// not.
    pub(super) fn attended_early(
        &mut self,
        t: &mut Turn<'_>,
        call: CallId,
        legs: TransferLegs,
        caller: LegId,
        refer: PartyRefer,
    ) {
        let TransferLegs { leaves, stays } = legs;
        let consultation = self.calls.leg(caller).and_then(|leg| Some((leg, self.calls.get(leg.call)?)));
        let Some((leg, of_leg)) = consultation else {
            self.common.counters.impossible("attended_early");
            return t.answer_refer(refer, 603);
        };
        let (second, offers) = (leg.call, leg.life.open_offer().is_some());
        let dials =
            |purpose: &Purpose| matches!(purpose, Purpose::Caller { caller: it, .. } if *it == caller);
        // A dialling that is still looked up will ring in a moment. Without an offer in our INVITE, the
        // party that stays could not be described to the callee.
        let ready =
            offers && of_leg.dialling.as_ref().is_some_and(|it| dials(&it.purpose) && it.dial.is_some());
        if !ready || second == call {
            return t.answer_refer(refer, 603);
        }
        let takes =
            |mut step: CallStep<'_>| !step.call.is_busy() && step.advance_if_legal(t, CallEvent::Transfer);
        if !self.step(call).is_some_and(takes) {
            return t.answer_refer(refer, 491);
        }
        let Some(mut dialling) = self.calls.get_mut(second).and_then(|it| it.dialling.take()) else {
            self.common.counters.impossible("attended_early");
            return t.answer_refer(refer, 603);
        };
        let target = format!("call {}", second.0);
        self.tell(t, Event::TransferRequested { call, leg: leaves, kind: TransferKind::Attended, target });
        t.answer_refer(refer, 202);
        let purpose = Purpose::Transfer { leaves, stays, referrer: Some(refer) };
        if let Purpose::Caller { reply: Some(reply), .. } = std::mem::replace(&mut dialling.purpose, purpose)
        {
            let _ = reply.send(Err(DialError::CallerGone));
        }
        let branches = dialling.branches.clone();
        if let Some(it) = self.calls.get_mut(call) {
            it.dialling = Some(dialling);
        }
        for branch in branches {
            if let Some(it) = self.calls.leg_mut(branch) {
                it.media.joined = None;
                self.move_leg(t, branch, call);
            }
        }
        self.in_call(call, |step| step.arm(t.now));
        self.in_call_of(caller, |step| {
            if let Some(it) = step.call.leg_mut(caller) {
                it.why.cause = Some(TerminationCause::LocalHangup);
            }
            step.hang_up_with(t, caller, 487, "");
        });
        self.in_call(call, |step| step.transfer_progress(t, 180));
    }
}
