//! What follows from a step within the same turn, or from an awaited answer, as values: the modules of the
//! switch do not call each other in circles; each step queues what is to be done next, and the turn runs the
//! queue until it is empty.
//!
//! What a step queues runs before what was queued already, in the order of queuing, as if the step had called
//! it at its end. So messages, events and records have the order of plain calls.

use bytes::Bytes;

use crate::controller::MediaError;
use crate::event::Event;
use crate::failure::DialFailure;
use crate::leg_fsm::TerminationCause;
use crate::service::DialError;
use crate::switch::counters::{Rows, SwitchCounters};
use crate::switch::state::effect::{Effect, OnInvited, Referring};
use crate::switch::state::exchange::{ExchangeNo, Origin};
use crate::switch::state::handing::Handing;
use crate::switch::state::leg::Passed;
use crate::switch::state::waits::{Concerns, Found, MediaAnswer, OnAccepted, OnFound, OnMedia};
use crate::switch::work::slots::Key;
use crate::switch::work::tasks::Panicked;
use crate::{CallId, LegId};
use b2b_sip::endpoint::{CommandError, InviteError, ReferId, Reply, UsageId};

/// The next thing to do in this turn.
pub(crate) enum Follow {
    /// Media has answered.
    Media { then: OnMedia, result: Result<MediaAnswer, MediaError> },
    /// A resolver or a handler has answered.
    Found { then: OnFound, found: Result<Found, Panicked> },
    /// The INVITE of a branch is sent, or could not be.
    Invited { leg: LegId, then: OnInvited, sent: Result<Dialog, InviteError> },
    /// The 2xx to a caller is sent, or could not be.
    Accepted { leg: LegId, then: Box<OnAccepted>, sent: Result<(), CommandError> },
    /// The target of a call's dialling is being looked up.
    LookingUp { call: CallId, request: Key },
    /// A request was passed on to a leg.
    Passed { to: LegId, passed: Passed },
    /// A REFER of ours is sent, or could not be.
    ReferSent { referring: Box<Referring>, sent: Result<ReferId, CommandError> },
    /// A re-INVITE or an UPDATE could not be sent.
    NotOffered { leg: LegId, exchange: ExchangeNo },
    /// A re-INVITE could not be answered.
    NotReplied { leg: LegId },
    /// A challenge to our INVITE or BYE could not be answered.
    NotAuthorized { leg: LegId },
    /// The dial machine of a call may have an output.
    Dial { call: CallId },
    /// A dialling has ended without an answer.
    DialOver { call: CallId, error: DialError },
    /// A branch has failed, and the dial machine has moved on.
    Refused { call: CallId, leg: LegId, failure: DialFailure },
    /// A call whose dialling is to end goes to the application of this name.
    Hand { call: CallId, asked: Box<Handing>, name: String },
    /// Hang up a leg; `status`: of the refusal, for a caller who is not answered.
    HangUp { leg: LegId, status: u16 },
    /// A leg's dialog is over.
    LegOver { leg: LegId, cause: TerminationCause, reason: Option<Bytes> },
    /// A branch whose INVITE was not sent is over.
    Unsent { leg: LegId },
    /// A leg is over and leaves its bridge.
    BridgeLeft { call: CallId, leg: LegId, cause: TerminationCause, reason: Option<Bytes>, by: Option<LegId> },
    /// The leg whose ACK was to answer the offer of this one has gone.
    AnswerInstead { leg: LegId },
    /// A leg has left a call, which may be empty now.
    CallEmpty { call: CallId },
    /// A call has reached its maximum duration.
    TooLong { call: CallId },
    /// A change after which the media of a bridge may go direct, or has to return.
    Lead { call: CallId },
    /// The packets of an emergency call are to be counted again.
    CountPackets { call: CallId },
    /// The answer for the party that asked for another session.
    Answered { leg: LegId, origin: Origin, answer: Result<Bytes, Reply> },
    /// The pending offers of a call whose exchange is over.
    PendingOffers { call: CallId },
    /// Those to a leg, which may be in another call than the one that says so.
    PendingOffersTo { leg: LegId },
    /// A handler joins its caller with a leg, which may be in another call.
    Bridge { leg: LegId, other: LegId },
}

impl Follow {
    /// The call that it concerns.
    pub fn concerns(&self) -> Concerns {
        match self {
            Follow::Media { then, .. } => then.concerns(),
            Follow::Found { then, .. } => then.concerns(),
            Follow::ReferSent { referring, .. } => Concerns::leg(referring.leg),
            // Of a newcomer that has gone, the call of the old parties.
            Follow::Answered { leg, origin: Origin::Replacing(replaced), .. } => {
                Concerns { legs: [Some(*leg), Some(*replaced)], call: None }
            }
            Follow::Invited { leg, .. }
            | Follow::Accepted { leg, .. }
            | Follow::Passed { to: leg, .. }
            | Follow::NotOffered { leg, .. }
            | Follow::NotReplied { leg }
            | Follow::NotAuthorized { leg }
            | Follow::HangUp { leg, .. }
            | Follow::LegOver { leg, .. }
            | Follow::Unsent { leg }
            | Follow::AnswerInstead { leg }
            | Follow::Answered { leg, .. }
            | Follow::PendingOffersTo { leg }
            | Follow::Bridge { leg, .. } => Concerns::leg(*leg),
            Follow::LookingUp { call, .. }
            | Follow::Dial { call }
            | Follow::DialOver { call, .. }
            | Follow::Refused { call, .. }
            | Follow::Hand { call, .. }
            | Follow::BridgeLeft { call, .. }
            | Follow::CallEmpty { call }
            | Follow::TooLong { call }
            | Follow::Lead { call }
            | Follow::CountPackets { call }
            | Follow::PendingOffers { call } => Concerns::call(*call),
        }
    }
}

/// The dialog of an INVITE of ours.
pub(crate) struct Dialog {
    pub usage: UsageId,
    pub call_id: Bytes,
}

/// What the steps of a turn leave behind: effects, what is to be done next, and counts.
#[derive(Default)]
pub(crate) struct Outcome {
    pub counters: SwitchCounters,
    /// What `b2b-testkit` counts.
    pub rows: Option<Box<Rows>>,
    /// The effects of the current step, each with the number of consequences that it had queued before.
    pub effects: Vec<(usize, Effect)>,
    /// What the current step has queued, in order.
    pub left: Vec<Follow>,
    /// What was queued before it, next one last.
    pub before: Vec<Follow>,
}

impl Outcome {
    /// Queues what is done next, after what the current step has queued already.
    pub fn push(&mut self, next: Follow) {
        self.left.push(next);
    }

    pub(crate) fn next(&mut self) -> Option<Follow> {
        // Most steps queue one thing or none.
        if self.left.len() > 1 {
            self.before.extend(self.left.drain(..).rev());
        }
        self.left.pop().or_else(|| self.before.pop())
    }

    /// Queues an effect of the current step.
    pub fn effect(&mut self, effect: Effect) {
        self.effects.push((self.left.len(), effect));
    }

    /// Moves what was queued last, from `end` on, to the place of the effect that it follows from; returns its number.
    /// `place` counts what was put back before it.
    pub fn put_back(&mut self, end: usize, place: usize) -> usize {
        let results = self.left.len().saturating_sub(end);
        if let Some(behind) = self.left.get_mut(place..) {
            behind.rotate_right(results);
        }
        results
    }

    /// Queues an event of a call, or of none.
    pub fn tell(&mut self, event: Event) {
        self.effect(Effect::Tell(event));
    }

    /// Forgets what a broken step has left behind.
    pub fn forget(&mut self) {
        (self.effects, self.left, self.before) = (Vec::new(), Vec::new(), Vec::new());
    }

    /// Whether the queue is empty, as it is between turns.
    pub fn is_empty(&self) -> bool {
        self.effects.is_empty() && self.left.is_empty() && self.before.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_step_leaves_behind_comes_in_its_order_and_before_what_was_there() {
        let call = |it: u64| Follow::Dial { call: CallId(it) };
        let number = |it: Option<Follow>| match it {
            Some(Follow::Dial { call }) => Some(call.0),
            _ => None,
        };
        let mut outcome = Outcome::default();
        [1, 2, 3].into_iter().for_each(|it| outcome.push(call(it)));
        assert_eq!(number(outcome.next()), Some(1));
        [11, 12].into_iter().for_each(|it| outcome.push(call(it)));
        assert_eq!(number(outcome.next()), Some(11));
        outcome.push(call(111));
        let rest: Vec<_> = std::iter::from_fn(|| number(outcome.next())).collect();
        assert_eq!(rest, [111, 12, 2, 3]);
        assert!(outcome.is_empty());
    }
}
