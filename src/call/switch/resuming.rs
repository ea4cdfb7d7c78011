//! Goes on with what has waited for an answer: which of the call's subjects is told what.

use bytes::Bytes;

use super::dial::DialFailure;
use super::exchange::Origin;
use super::follow::Follow;
use super::tasks::Panicked;
use super::waiting::{Found, MediaAnswer, OnApplied, OnDescription, OnEndpoint, OnFound, OnMedia};
use super::{Switch, Turn};
use crate::controller::{EndpointId, MediaError};
use crate::handler::HandlerAction;
use crate::leg_life::OnAck;
use crate::service::{CallError, DialError};
use b2b_sip::endpoint::Reply as Response;

/// Reads an answer as one of its kinds. Another one than was asked for is of no controller of this version.
macro_rules! of_kind {
    ($result:expr, $kind:ident) => {
        $result.and_then(|answer| match answer {
            MediaAnswer::$kind(it) => Ok(it),
            _ => Err(MediaError::Stopped),
        })
    };
}

impl Switch {
    /// Media has answered: what leads on follows, what is only noted is noted at once.
    pub(super) fn media_answered(
        &mut self,
        t: &mut Turn<'_>,
        then: OnMedia,
        result: Result<MediaAnswer, MediaError>,
    ) {
        match then {
            OnMedia::Nothing => {}
            OnMedia::Endpoint { leg, no_reinvites, then } => {
                let opened = of_kind!(result, Endpoint);
                self.follows.push(Follow::Opened { leg, no_reinvites, then, opened });
            }
            OnMedia::Described(then) => {
                let description = of_kind!(result, Description);
                self.follows.push(Follow::Described { then, description });
            }
            OnMedia::Applied(then) => {
                self.follows.push(Follow::Applied { then, taken: result.map(|_| ()) });
            }
            OnMedia::Joined { a, b } => self.media_joined(t, (a, b), &of_kind!(result, Joined)),
            OnMedia::Counted { call, bridge, leg } => {
                self.counted(t, (call, bridge, leg), of_kind!(result, Stats));
            }
            OnMedia::Recording { call, subject, reply } => {
                self.recording_begun(t, (call, subject), of_kind!(result, Recording), reply);
            }
            OnMedia::Recorded { call, reply } => {
                self.recording_finished(call, of_kind!(result, Recorded), reply)
            }
        }
    }

    /// A leg has an endpoint, or could get none.
    pub(super) fn with_opened(
        &mut self,
        t: &mut Turn<'_>,
        then: OnEndpoint,
        result: Result<EndpointId, MediaError>,
    ) {
        match then {
            OnEndpoint::LocalAnswer { leg, offer, then } => {
                let answer =
                    result.map(|it| self.parts.controller.local_answer(it, offer, &self.policy_towards(leg)));
                self.describe(t, answer, then);
            }
            OnEndpoint::LocalOffer { leg, like, then } => {
                let offer =
                    result.map(|it| self.parts.controller.local_offer(it, like, &self.policy_towards(leg)));
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
                if result.is_ok() && matches!(then, OnDescription::Invite { .. }) {
                    self.may_send_events(from);
                }
                let offer = result
                    .map(|it| self.parts.controller.pair_offer(near, it, offer, &self.policy_towards(to)));
                self.describe(t, offer, then);
            }
            OnEndpoint::Replace { call, leg, stays, replaced, offer } => match result {
                Ok(_) => {
                    let origin = Origin::Replacing(replaced);
                    self.ask_across(t, call, (leg, stays), origin, Some(offer));
                }
                Err(_) => self.not_replaced(t, call, leg),
            },
        }
    }

    /// There is a description for a party, or none.
    pub(super) fn described(
        &mut self,
        t: &mut Turn<'_>,
        then: OnDescription,
        result: Result<Bytes, MediaError>,
    ) {
        match then {
            OnDescription::Answer { leg, reply } => {
                let result = result.and_then(|answer| self.accept(t, leg, Some(answer)));
                // An answer that nobody waits for is no fault.
                let _ = reply.send(result.map_err(|error| CallError::Media(error.to_string())));
            }
            OnDescription::AnswerWithOffer { leg, reply } => self.answer_offers(t, leg, result, reply),
            OnDescription::Invite { branch } => self.invite(t, branch, result.map(Some)),
            OnDescription::Progress { caller, branch, status, reliable } => {
                self.early_session(t, (caller, branch), (status, reliable), result);
            }
            OnDescription::EarlyOffer { caller, branch, status } => {
                self.early_offer_across(t, (caller, branch), status, result);
            }
            OnDescription::AnswerEarly { branch } => self.answered_early(t, branch, result),
            OnDescription::Prack { caller, branch } => self.prack_across(t, (caller, branch), result),
            OnDescription::Accept { won } => self.accept_with_answer(t, won, result),
            OnDescription::AcceptWithOffer { won } => {
                let on_ack = OnAck::AnswerTo(won.callee);
                self.accept_for(t, won, result.map(Some), on_ack);
            }
            OnDescription::AcceptWithOwnOffer { won } => {
                self.accept_for(t, won, result.map(Some), OnAck::Answer);
            }
            OnDescription::AckAndAccept { won } => {
                let (acked, callee) = (result.map(|answer| self.ack(t, won.callee, answer)), won.callee);
                self.accept_for(t, won, acked.map(|()| None), OnAck::Refresh(callee));
            }
            OnDescription::Ack { caller, callee } => self.ack_across(t, (caller, callee), result),
            OnDescription::AnswerHere { leg, origin, repeats } => {
                self.answered_here(t, leg, (origin, repeats), result);
            }
            OnDescription::Offer { call, exchange } => self.offered(t, (call, exchange), result),
            OnDescription::AnswerAcross { call, exchange, to, offers } => {
                self.answered_across(t, (call, exchange), (to, offers), result);
            }
        }
    }

    /// A party's answer to an offer of ours is taken, or is of no use.
    pub(super) fn applied(&mut self, t: &mut Turn<'_>, then: OnApplied, result: Result<(), MediaError>) {
        match then {
            OnApplied::Nothing => {}
            OnApplied::EarlySession { caller, branch } => match result {
                Ok(()) => self.join_media(t, caller, branch),
                Err(error) => tracing::info!("leg {}: early media is of no use: {error}", branch.0),
            },
            OnApplied::Won(won) => self.both_described(t, won, result),
            OnApplied::Originated { leg, reply } => self.originated(t, leg, result, reply),
            OnApplied::Transferred { call, legs, referrer, arrived, direct } => match result {
                Ok(()) => self.transfer_answered(t, call, legs, referrer, (arrived, direct)),
                Err(error) => {
                    self.hang_up(t, arrived);
                    let (status, reason) = error.status();
                    self.transfer_failed(t, call, legs, referrer, &DialFailure::new(status, reason));
                }
            },
            OnApplied::Acknowledged { leg, other } => match result {
                Ok(()) => {
                    self.tell_answering(leg, Ok(()));
                    self.join_media(t, leg, other);
                }
                Err(error) => self.ack_of_no_use(t, leg, other, &error),
            },
            OnApplied::AnsweredAlone { leg } => self.is_answered_alone(t, leg, result),
            OnApplied::AcknowledgedApart { call, leg } => {
                if let Err(error) = result {
                    self.answer_of_no_use(leg, &error);
                }
                self.offer_pending(t, call);
            }
            OnApplied::Agreed { call, exchange } => self.offer_agreed(t, (call, exchange), result),
        }
    }

    /// A resolver or a handler has answered, or has panicked.
    pub(super) fn answered_by(&mut self, t: &mut Turn<'_>, then: OnFound, result: Result<Found, Panicked>) {
        self.counters.panics += u64::from(result.is_err());
        match (then, result) {
            (OnFound::Dial { call }, Ok(Found::Contacts(found))) => self.looked_up(t, call, found),
            (OnFound::Dial { call }, _) => {
                let error = DialError::Invalid("the resolver panicked".to_owned());
                self.dial_over(t, call, error);
            }
            (OnFound::Decide(asked), result) => self.decided(t, *asked, action(result)),
            (OnFound::Referral { referral, replaces, next }, result) => {
                self.led_by_refer(t, *referral, (replaces, next), action(result));
            }
            (OnFound::Number { referral, next, reply }, result) => {
                self.number_is(t, *referral, next, action(result), reply);
            }
            (OnFound::Redirect { call, leg, branch, failure, by, reason }, result) => {
                let named = if let Ok(Found::Named(named)) = result { named } else { Vec::new() };
                self.redirected_by(t, (call, leg, branch), (*failure, &by, reason), named);
            }
            (OnFound::Listened { call }, Err(Panicked)) => self.deaf(t, call),
            (OnFound::Listened { .. }, Ok(_)) => {}
            // who asks is told by the drop of the reply that there is no answer
            (OnFound::LookUp { reply }, Ok(Found::Contacts(found))) => drop(reply.send(found)),
            (OnFound::LookUp { .. }, _) => {}
            (OnFound::Outside { transaction }, Ok(Found::Reply(reply))) => {
                self.respond(t, transaction, reply)
            }
            (OnFound::Outside { transaction }, _) => self.respond(t, transaction, Response::status(500)),
        }
    }
}

/// What a handler has decided.
fn action(result: Result<Found, Panicked>) -> Result<HandlerAction, Panicked> {
    match result {
        Ok(Found::Action(action)) => Ok(action),
        // nothing else is asked of handlers
        _ => Err(Panicked),
    }
}
