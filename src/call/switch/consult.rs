//! A transfer to a consultation call that still rings: the party that stays takes over the waiting.

use super::table::Purpose;
use super::transfer::{PartyRefer, TransferLegs};
use super::{Switch, Turn};
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
        let Some(second) = self.calls.leg(caller).map(|it| it.call) else {
            self.counters.impossible("attended_early");
            return t.answer_refer(refer, 603);
        };
        let offers = self.calls.leg(caller).is_some_and(|it| it.life.open_offer().is_some());
        let dials =
            |purpose: &Purpose| matches!(purpose, Purpose::Caller { caller: it, .. } if *it == caller);
        let dialling = self.calls.get(second).and_then(|it| it.dialling.as_ref());
        // A dialling that is still looked up will ring in a moment. Without an offer in our INVITE, the
        // party that stays could not be described to the callee.
        let ready = offers && dialling.is_some_and(|it| dials(&it.purpose) && it.dial.is_some());
        if !ready || second == call {
            return t.answer_refer(refer, 603);
        }
        if self.is_busy(call) || !self.advance_if_legal(t, call, CallEvent::Transfer) {
            return t.answer_refer(refer, 491);
        }
        let Some(mut dialling) = self.calls.get_mut(second).and_then(|it| it.dialling.take()) else {
            self.counters.impossible("attended_early");
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
        self.arm(t.now, call);
        if let Some(it) = self.calls.leg_mut(caller) {
            it.why.cause = Some(TerminationCause::LocalHangup);
        }
        self.hang_up_with(t, caller, 487, "");
        self.transfer_progress(t, call, 180);
    }
}
