//! What follows from a step within the same turn, as values: rooms of the switch do not call each other in a circle,
//! each leaves behind what is to be done next, and the turn carries it out until nothing is left.
//!
//! What a step leaves behind comes before what was there already, in the order in which it was left: as if the step
//! had called it as its last words. So the order of messages, events and records is that of plain calls.

use bytes::Bytes;

use super::dial::DialFailure;
use super::exchange::Origin;
use super::handing::Asked;
use super::tasks::Panicked;
use super::waiting::{Found, OnApplied, OnDescription, OnEndpoint, OnFound};
use super::{Switch, Turn};
use crate::controller::{EndpointId, MediaError};
use crate::leg_fsm::TerminationCause;
use crate::service::DialError;
use crate::{CallId, LegId};
use b2b_sip::endpoint::Reply;

/// What is done next in this turn.
pub(super) enum Follow {
    /// Media has answered at once: an endpoint was made for a leg, or could not be.
    Opened { leg: LegId, no_reinvites: bool, then: OnEndpoint, opened: Result<EndpointId, MediaError> },
    /// There is a description for a party, or none.
    Described { then: OnDescription, description: Result<Bytes, MediaError> },
    /// A party's answer to an offer of ours is taken, or is of no use.
    Applied { then: OnApplied, taken: Result<(), MediaError> },
    /// A resolver or a handler has answered at once.
    Found { then: OnFound, found: Result<Found, Panicked> },
    /// The dial machine of a call may want something.
    Dial { call: CallId },
    /// A dialling is over without an answer.
    DialOver { call: CallId, error: DialError },
    /// A branch came to nothing, and the dial machine has gone on.
    Refused { call: CallId, leg: LegId, failure: DialFailure },
    /// A call that nobody is dialled for any more is given to the application of this name.
    Hand { call: CallId, asked: Box<Asked>, name: String },
    /// A leg is to be hung up.
    HangUp { leg: LegId },
    /// Nothing is left of a leg's dialog.
    LegOver { leg: LegId, cause: TerminationCause, reason: Option<Bytes> },
    /// A leg is over, and its bridge without it.
    BridgeLeft { call: CallId, leg: LegId, cause: TerminationCause, reason: Option<Bytes> },
    /// Whose ACK was to bring the answer to this one's offer has gone without it.
    AnswerInstead { leg: LegId },
    /// A leg has left a call, which may have no other one.
    CallEmpty { call: CallId },
    /// A call has lasted for as long as it may.
    TooLong { call: CallId },
    /// Something has changed by which media of a bridge may go past b2b, or is to come back.
    Lead { call: CallId },
    /// Who has asked for another session has its answer.
    Answered { leg: LegId, origin: Origin, answer: Result<Bytes, Reply> },
    /// What had to wait for the exchange of a call that is over is done.
    PendingOffers { call: CallId },
}

/// What is left to be done in this turn.
#[derive(Default)]
pub(super) struct Follows {
    /// What the step at work has left behind, in order.
    left: Vec<Follow>,
    /// What was there before it, the next one last.
    before: Vec<Follow>,
}

impl Follows {
    /// This is done next, after what the step at work has left behind already.
    pub fn push(&mut self, next: Follow) {
        self.left.push(next);
    }

    fn next(&mut self) -> Option<Follow> {
        // Most steps leave one thing behind, or nothing.
        if self.left.len() > 1 {
            self.before.extend(self.left.drain(..).rev());
        }
        self.left.pop().or_else(|| self.before.pop())
    }

    /// Whether nothing is left: so it is between turns.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty() && self.before.is_empty()
    }
}

impl Switch {
    /// Carries out what has followed, and what follows from that.
    pub(super) fn carry_out(&mut self, t: &mut Turn<'_>) {
        while let Some(next) = self.follows.next() {
            self.follow(t, next);
        }
    }

    /// A step has panicked: what was to follow is of no use any more.
    pub(super) fn forget_follows(&mut self) {
        self.follows = Follows::default();
    }

    fn follow(&mut self, t: &mut Turn<'_>, next: Follow) {
        match next {
            Follow::Opened { leg, no_reinvites, then, opened } => {
                self.endpoint_opened(t, (leg, no_reinvites), then, opened);
            }
            Follow::Described { then, description } => self.described(t, then, description),
            Follow::Applied { then, taken } => self.applied(t, then, taken),
            Follow::Found { then, found } => self.answered_by(t, then, found),
            Follow::Dial { call } => self.perform_dial(t, call),
            Follow::DialOver { call, error } => self.dial_over(t, call, error),
            Follow::Refused { call, leg, failure } => self.tell_refused(t, call, leg, failure),
            Follow::Hand { call, asked, name } => {
                drop(self.end_dialling(call));
                self.hand_to(t, *asked, &name);
            }
            Follow::HangUp { leg } => self.hang_up(t, leg),
            Follow::LegOver { leg, cause, reason } => self.forget_leg(t, leg, cause, reason),
            Follow::BridgeLeft { call, leg, cause, reason } => {
                self.leave_bridge(t, call, leg, &cause, reason);
            }
            Follow::AnswerInstead { leg } => self.answer_instead(t, leg),
            Follow::CallEmpty { call } => self.drop_if_empty(t, call),
            Follow::TooLong { call } => self.call_too_long(t, call),
            Follow::Lead { call } => self.lead(t, call),
            Follow::Answered { leg, origin, answer } => self.answer_exchange(t, leg, origin, answer),
            Follow::PendingOffers { call } => self.offer_pending(t, call),
        }
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
        let mut follows = Follows::default();
        [1, 2, 3].into_iter().for_each(|it| follows.push(call(it)));
        assert_eq!(number(follows.next()), Some(1));
        [11, 12].into_iter().for_each(|it| follows.push(call(it)));
        assert_eq!(number(follows.next()), Some(11));
        follows.push(call(111));
        let rest: Vec<_> = std::iter::from_fn(|| number(follows.next())).collect();
        assert_eq!(rest, [111, 12, 2, 3]);
        assert!(follows.is_empty());
    }
}
