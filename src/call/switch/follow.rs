//! What follows from a step within the same turn, or from an awaited answer, as values: the modules of the
//! switch do not call each other in circles; each step queues what is to be done next, and the turn runs the
//! queue until it is empty.
//!
//! What a step queues runs before what was queued already, in the order of queuing, as if the step had called
//! it at its end. So messages, events and records have the order of plain calls.

use bytes::Bytes;

use super::across::Crossing;
use super::exchange::Origin;
use super::handing::Handing;
use super::history::OfBridge;
use super::news::failed;
use super::reliable::Provisional;
use super::tasks::Panicked;
use super::transfer::Arrival;
use super::waiting::{Concerns, Found, MediaAnswer, OnApplied, OnDescription, OnEndpoint, OnFound, OnMedia};
use super::{CallStep, Common, Switch, Turn};
use crate::bridge_fsm::BridgeMode;
use crate::controller::{EndpointId, MediaError};
use crate::failure::DialFailure;
use crate::handler::HandlerAction;
use crate::leg_fsm::TerminationCause;
use crate::leg_life::OnAck;
use crate::service::DialError;
use crate::{CallId, LegId};
use b2b_sip::endpoint::Reply;

/// The next thing to do in this turn.
pub(super) enum Follow {
    /// Media has answered.
    Media { then: OnMedia, result: Result<MediaAnswer, MediaError> },
    /// A resolver or a handler has answered.
    Found { then: OnFound, found: Result<Found, Panicked> },
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

/// The queue of a turn.
#[derive(Default)]
pub(super) struct Follows {
    /// What the current step has queued, in order.
    left: Vec<Follow>,
    /// What was queued before it, next one last.
    before: Vec<Follow>,
}

impl Follows {
    /// Queues what is done next, after what the current step has queued already.
    pub fn push(&mut self, next: Follow) {
        self.left.push(next);
    }

    fn next(&mut self) -> Option<Follow> {
        // Most steps queue one thing or none.
        if self.left.len() > 1 {
            self.before.extend(self.left.drain(..).rev());
        }
        self.left.pop().or_else(|| self.before.pop())
    }

    /// Whether the queue is empty, as it is between turns.
    pub fn is_empty(&self) -> bool {
        self.left.is_empty() && self.before.is_empty()
    }
}

/// Extracts an answer of the expected kind. No controller of this version returns another kind.
macro_rules! of_kind {
    ($result:expr, $kind:ident) => {
        $result.and_then(|answer| match answer {
            MediaAnswer::$kind(it) => Ok(it),
            _ => Err(MediaError::Stopped),
        })
    };
}

impl Switch {
    /// Runs the queue until it is empty.
    pub(super) fn carry_out(&mut self, t: &mut Turn<'_>) {
        while let Some(next) = self.common.follows.next() {
            self.follow(t, next);
        }
    }

    /// Clears the queue after a panic: what a broken step left behind is of no use.
    pub(super) fn forget_follows(&mut self) {
        self.common.follows = Follows::default();
    }

    /// A step of the call that an answer concerns; `None`: it is over.
    fn step_for(&mut self, concerns: Concerns) -> Option<CallStep<'_>> {
        let of_leg = concerns.leg.and_then(|leg| self.calls.leg(leg)).map(|leg| leg.call);
        self.step(of_leg.or(concerns.call)?)
    }

    /// Media has answered a request.
    pub(super) fn media_came(
        &mut self,
        t: &mut Turn<'_>,
        then: OnMedia,
        result: Result<MediaAnswer, MediaError>,
    ) {
        match self.step_for(then.concerns()) {
            Some(mut step) => step.media_answered(t, then, result),
            None => self.common.media_for_nobody(t, then, result),
        }
    }

    fn follow(&mut self, t: &mut Turn<'_>, next: Follow) {
        match next {
            Follow::Media { then, result } => match self.step_for(then.concerns()) {
                Some(mut step) => step.resume(t, then, result),
                None => self.common.media_for_nobody(t, then, result),
            },
            Follow::Found { then, found } => {
                self.common.counters.panics += u64::from(found.is_err());
                match self.step_for(then.concerns()) {
                    Some(mut step) => step.answered_by(t, then, found),
                    None => self.common.found_for_nobody(t, then, found),
                }
            }
            Follow::Dial { call } => {
                // A dialling often ends with its call.
                if let Some(mut step) = self.step(call) {
                    step.perform_dial(t);
                }
            }
            Follow::DialOver { call, error } => self.in_call(call, |step| step.dial_over(t, error)),
            Follow::Refused { call, leg, failure } => {
                // A call of which it was the last branch is over by now.
                match self.step(call) {
                    Some(mut step) => step.tell_refused(t, leg, failure),
                    None => self.common.publish(t, failed(call, leg, failure, false)),
                }
            }
            Follow::Hand { call, asked, name } => self.in_call(call, |step| {
                drop(step.end_dialling());
                step.hand_to(t, *asked, &name);
            }),
            Follow::HangUp { leg, status } => {
                self.in_call_of(leg, |step| step.hang_up_with(t, leg, status, ""))
            }
            Follow::LegOver { leg, cause, reason } => {
                self.in_call_of(leg, |step| step.forget_leg(t, leg, cause, reason))
            }
            Follow::Unsent { leg } => self.in_call_of(leg, |step| step.forget_unsent(t, leg)),
            Follow::BridgeLeft { call, leg, cause, reason, by } => {
                self.in_call(call, |step| step.leave_bridge(t, leg, &cause, reason, by));
            }
            Follow::AnswerInstead { leg } => self.in_call_of(leg, |step| step.answer_instead(t, leg)),
            Follow::CallEmpty { call } => self.drop_if_empty(t, call),
            Follow::TooLong { call } => self.in_call(call, |step| step.call_too_long(t)),
            Follow::Lead { call } => self.in_call(call, |step| step.lead(t)),
            Follow::CountPackets { call } => self.in_call(call, |step| step.count_packets(t)),
            Follow::Answered { leg, origin, answer } => {
                // Of a newcomer that has gone, the call of the old parties.
                let concerns = match origin {
                    Origin::Replacing(replaced) if self.calls.leg(leg).is_none() => replaced,
                    _ => leg,
                };
                match (self.step_of(concerns), origin) {
                    (Some(mut step), _) => match answer {
                        Ok(session) => step.answer_exchange(t, leg, origin, session),
                        Err(reply) => step.refuse_exchange(t, leg, origin, reply),
                    },
                    (None, Origin::Update(transaction)) => {
                        t.respond(transaction, answer.err().unwrap_or(Reply::status(481)));
                    }
                    (None, _) => self.common.counters.late(),
                }
            }
            Follow::Bridge { leg, other } => {
                if let Err(error) = self.bridge_legs(t, leg, other, BridgeMode::default(), true) {
                    tracing::info!("leg {}: cannot be joined with leg {}: {error}", leg.0, other.0);
                    self.in_call_of(leg, |step| step.hang_up_with(t, leg, 480, ""));
                }
            }
            Follow::PendingOffers { call } => {
                if let Some(mut step) = self.step(call) {
                    step.offer_pending(t);
                }
            }
            Follow::PendingOffersTo { leg } => {
                if let Some(mut step) = self.step_of(leg) {
                    step.offer_pending(t);
                }
            }
        }
    }
}

impl CallStep<'_> {
    /// A media answer: what continues a procedure is queued, what is only noted is noted at once.
    pub(super) fn media_answered(
        &mut self,
        t: &mut Turn<'_>,
        then: OnMedia,
        result: Result<MediaAnswer, MediaError>,
    ) {
        match then {
            OnMedia::Endpoint { .. }
            | OnMedia::Described(_)
            | OnMedia::Applied(_)
            | OnMedia::Digit(_)
            | OnMedia::Packets { .. } => {
                self.common.follows.push(Follow::Media { then, result });
            }
            OnMedia::Nothing => {}
            OnMedia::Joined { a, b } => self.media_joined(t, a, b, &of_kind!(result, Joined)),
            OnMedia::Counted { call, bridge, leg } => {
                let goes_on_in = self.call.leg(leg).map(|it| it.call);
                self.common.counted(t, OfBridge { call, bridge, leg }, goes_on_in, of_kind!(result, Stats));
            }
            OnMedia::Recording { subject, reply, .. } => {
                self.recording_begun(t, subject, of_kind!(result, Recording), reply);
            }
            OnMedia::Recorded { id, reply, .. } => {
                self.recording_finished(t, id, of_kind!(result, Recorded), reply)
            }
        }
    }

    /// Continues a procedure that has waited for media.
    fn resume(&mut self, t: &mut Turn<'_>, then: OnMedia, result: Result<MediaAnswer, MediaError>) {
        match then {
            OnMedia::Endpoint { leg, no_reinvites, then } => {
                self.endpoint_opened(t, leg, no_reinvites, then, of_kind!(result, Endpoint));
            }
            OnMedia::Described(then) => self.described(t, then, of_kind!(result, Description)),
            OnMedia::Applied(then) => self.applied(t, then, result.map(|_| ())),
            OnMedia::Packets { .. } => self.counted_again(t, of_kind!(result, Packets)),
            // Where media cannot tell, every digit counts.
            OnMedia::Digit(digit) => {
                let counts = of_kind!(result, Counts).unwrap_or(true);
                self.info_digit(t, *digit, counts);
            }
            _ => self.common.counters.impossible("resume"),
        }
    }

    /// A leg has an endpoint, or could not get one.
    pub(super) fn with_opened(
        &mut self,
        t: &mut Turn<'_>,
        then: OnEndpoint,
        result: Result<EndpointId, MediaError>,
    ) {
        match then {
            OnEndpoint::LocalAnswer { leg, offer, then } => {
                let answer = result.map(|it| {
                    self.common.parts.controller.local_answer(it, offer, &self.policy_towards(leg))
                });
                self.describe(t, answer, then);
            }
            OnEndpoint::LocalOffer { leg, like, then } => {
                let offer = result
                    .map(|it| self.common.parts.controller.local_offer(it, like, &self.policy_towards(leg)));
                self.describe(t, offer, then);
            }
            OnEndpoint::OfferFrom { from, to, offer, then } => match result {
                Ok(near) => {
                    let then = OnEndpoint::OfferTo { near, from, to, offer, then };
                    self.with_endpoint(t, to, Some(near), then);
                }
                Err(error) => self.describe(t, Err(error), then),
            },
            OnEndpoint::OfferTo { near, from, to, offer, then } => {
                if result.is_ok() && then.is_invite() {
                    self.may_send_events(from);
                }
                let offer = result.map(|it| {
                    self.common.parts.controller.pair_offer(near, it, offer, &self.policy_towards(to))
                });
                self.describe(t, offer, then);
            }
            OnEndpoint::Replace { leg, stays, replaced, offer, .. } => match result {
                Ok(_) => {
                    let origin = Origin::Replacing(replaced);
                    self.ask_across(t, Crossing { from: leg, to: stays }, origin, Some(offer), None);
                }
                Err(_) => self.not_replaced(t, leg),
            },
        }
    }

    /// A description for a party is ready, or has failed.
    pub(super) fn described(
        &mut self,
        t: &mut Turn<'_>,
        then: OnDescription,
        result: Result<Bytes, MediaError>,
    ) {
        match then {
            OnDescription::Answer { leg, offers, reply } => {
                self.answered_by_us(t, leg, offers, result, reply);
            }
            OnDescription::Invite { branch } => self.invite(t, branch, result.map(Some)),
            OnDescription::Progress { caller, branch, status, reliable } => {
                self.early_session(t, caller, branch, Provisional { status, reliable }, result);
            }
            OnDescription::EarlyOffer { caller, branch, status } => {
                self.early_offer_across(t, caller, branch, status, result);
            }
            OnDescription::AnswerEarly { branch } => {
                let answer = result.inspect_err(|error| tracing::info!("leg {}: {error}", branch.0));
                self.prack(t, branch, answer.ok());
            }
            OnDescription::Prack { caller, branch } => self.prack_across(t, caller, branch, result),
            OnDescription::Accept { won } => self.accept_with_answer(t, won, result),
            OnDescription::AcceptWithOffer { won, on_ack } => {
                self.accept_for(t, won, result.map(Some), on_ack);
            }
            OnDescription::AckAndAccept { won } => {
                let (acked, callee) = (result.map(|answer| self.ack(t, won.callee, answer)), won.callee);
                self.accept_for(t, won, acked.map(|()| None), OnAck::Refresh(callee));
            }
            OnDescription::Ack { caller, callee } => self.ack_across(t, caller, callee, result),
            OnDescription::AnswerHere { leg, origin, what } => {
                self.answered_here(t, leg, origin, what, result);
            }
            OnDescription::Offer { exchange, .. } => self.offered(t, exchange, result),
            OnDescription::AnswerAcross { call, exchange, to, offers } => {
                // A leg that has moved has left its exchange behind.
                let exchange = Some(exchange).filter(|_| call == self.id);
                self.answered_across(t, exchange, to, offers, result);
            }
        }
    }

    /// A party's answer to an offer of ours has been applied, or cannot be used.
    pub(super) fn applied(&mut self, t: &mut Turn<'_>, then: OnApplied, result: Result<(), MediaError>) {
        match then {
            OnApplied::Nothing => {}
            OnApplied::EarlySession { caller, branch } => match result {
                Ok(()) => self.early_session_heard(t, caller, branch),
                Err(error) => tracing::info!("leg {}: early media cannot be used: {error}", branch.0),
            },
            OnApplied::EarlyMedia { leg } => match result {
                Ok(()) => self.early_media_heard(leg),
                Err(error) => tracing::info!("leg {}: early media cannot be used: {error}", leg.0),
            },
            OnApplied::Won(won) => self.both_described(t, won, result),
            OnApplied::Originated { leg, reply } => self.originated(t, leg, result, reply),
            OnApplied::Transferred { legs, referrer, arrived, direct, .. } => match result {
                Ok(()) => {
                    self.transfer_answered(t, legs, referrer, Arrival { leg: arrived, direct, back: false })
                }
                Err(error) => {
                    self.hang_up(t, arrived);
                    let failure = DialFailure::new(error.status_of_answer(), "");
                    self.transfer_failed(t, legs, referrer, &failure);
                }
            },
            OnApplied::Acknowledged { leg, other } => match result {
                Ok(()) => {
                    self.tell_answering(leg, Ok(()));
                    if let Some(other) = other {
                        self.join_media(t, leg, other);
                    }
                }
                Err(error) => self.ack_of_no_use(t, leg, other, &error),
            },
            OnApplied::AcknowledgedApart { leg, .. } => {
                if let Err(error) = result {
                    self.answer_of_no_use(leg, &error);
                }
                self.offer_pending(t);
            }
            OnApplied::Renewed { leg, .. } => self.renewed(t, leg, result),
            OnApplied::Agreed { exchange, .. } => self.offer_agreed(t, exchange, result),
        }
    }

    /// A resolver or a handler has answered, or has panicked.
    pub(super) fn answered_by(&mut self, t: &mut Turn<'_>, then: OnFound, result: Result<Found, Panicked>) {
        match then {
            OnFound::Dial { .. } => match result {
                Ok(Found::Contacts(Ok(found))) => self.dial_stages(t, vec![found.into()]),
                Ok(Found::Contacts(Err(error))) => self.dial_over(t, DialError::Lookup(error)),
                _ => {
                    let error = DialError::Invalid("the resolver panicked".to_owned());
                    self.dial_over(t, error);
                }
            },
            OnFound::Decide(asked) => self.decided(t, *asked, action(result)),
            OnFound::Referral { referral, asked_by, next } => {
                self.led_by_handler(t, *referral, asked_by, next, action(result));
            }
            OnFound::Redirect(redirected) => {
                let named = if let Ok(Found::Named(named)) = result { named } else { Vec::new() };
                self.redirected(t, *redirected, named);
            }
            OnFound::Listened { .. } => {
                if result.is_err() {
                    self.deaf(t);
                }
            }
            OnFound::LookUp { .. } | OnFound::Outside { .. } => {
                self.common.counters.impossible("answered_by");
            }
        }
    }
}

impl Common {
    /// An answer of media for a call that is over.
    fn media_for_nobody(&mut self, t: &mut Turn<'_>, then: OnMedia, result: Result<MediaAnswer, MediaError>) {
        match then {
            OnMedia::Nothing => {}
            OnMedia::Endpoint { .. } => {
                self.counters.late();
                if let Ok(MediaAnswer::Endpoint(endpoint)) = result {
                    self.parts.controller.release_endpoint(endpoint);
                }
            }
            // Dropped replies say that it is over.
            OnMedia::Described(_) | OnMedia::Applied(_) => {}
            OnMedia::Counted { call, bridge, leg } => {
                self.counted(t, OfBridge { call, bridge, leg }, None, of_kind!(result, Stats));
            }
            OnMedia::Recording { call, subject, reply } => {
                self.recording_for_nobody(t, call, subject, of_kind!(result, Recording), reply);
            }
            OnMedia::Recorded { id, reply, .. } => {
                self.recorded_for_nobody(t, id, of_kind!(result, Recorded), reply);
            }
            OnMedia::Digit(digit) => digit.tell_gone(t),
            OnMedia::Joined { .. } | OnMedia::Packets { .. } => self.counters.late(),
        }
    }

    /// An answer of a resolver or a handler for no call, or one that is over.
    fn found_for_nobody(&mut self, t: &mut Turn<'_>, then: OnFound, result: Result<Found, Panicked>) {
        match then {
            // the dropped reply tells the sender that there is no answer
            OnFound::LookUp { reply } => {
                if let Ok(Found::Contacts(found)) = result {
                    let _ = reply.send(found);
                }
            }
            OnFound::Outside { transaction } => {
                let reply = if let Ok(Found::Reply(reply)) = result { reply } else { Reply::status(500) };
                t.respond(transaction, reply);
            }
            // The call has ended, and so has its listener.
            OnFound::Listened { .. } if result.is_ok() => {}
            _ => self.counters.late(),
        }
    }
}

/// The decision of a handler.
fn action(result: Result<Found, Panicked>) -> Result<HandlerAction, Panicked> {
    match result {
        Ok(Found::Action(action)) => Ok(action),
        // handlers return nothing else
        _ => Err(Panicked),
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
