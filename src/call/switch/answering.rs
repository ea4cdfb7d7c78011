//! A caller that we answer ourselves, with media of our own.

use bytes::Bytes;

use super::command::Reply;
use super::waiting::{OnApplied, OnDescription, OnEndpoint};
use super::{Switch, Turn};
use crate::LegId;
use crate::controller::MediaError;
use crate::leg_fsm::TerminationCause;
use crate::leg_life::OnAck;
use crate::service::CallError;

impl Switch {
    /// Answers a caller with media of our own.
    pub(super) fn answer_here_and_now(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        reply: Reply<Result<(), CallError>>,
    ) {
        let Some(it) = self.calls.leg(leg).filter(|it| !it.life.is_ending()) else {
            return drop(reply.send(Err(CallError::Gone)));
        };
        // Whoever had him before has answered.
        if it.is_up() {
            return drop(reply.send(Ok(())));
        }
        if !it.is_waiting() {
            return drop(reply.send(Err(CallError::WrongState("the leg does not wait for an answer"))));
        }
        let then = match it.life.open_offer() {
            Some(offer) => OnEndpoint::LocalAnswer { leg, offer, then: OnDescription::Answer { leg, reply } },
            // Ours goes into the 2xx, and the answer comes with the ACK (RFC 3261 §13.2.1). Until then nothing
            // can be played.
            None => {
                let then = OnDescription::AnswerWithOffer { leg, reply };
                OnEndpoint::LocalOffer { leg, like: None, then }
            }
        };
        self.with_endpoint(t, leg, None, then);
    }

    /// Our offer is there, or is not.
    pub(super) fn answer_offers(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        offer: Result<Bytes, MediaError>,
        reply: Reply<Result<(), CallError>>,
    ) {
        match offer.and_then(|offer| self.accept(t, leg, Some(offer))) {
            Ok(()) => {
                if let Some(it) = self.calls.leg_mut(leg) {
                    it.life.expect_on_ack(OnAck::Answer);
                    it.answering = Some(reply);
                }
            }
            Err(error) => drop(reply.send(Err(CallError::Media(error.to_string())))),
        }
    }

    /// The ACK to a 2xx of ours with an offer, of a leg that is in no bridge.
    pub(super) fn answered_alone(&mut self, t: &mut Turn<'_>, leg: LegId, answer: Bytes) {
        if answer.is_empty() {
            tracing::info!("leg {}: its ACK owes an answer", leg.0);
            return self.useless(t, leg, "ACK without an answer to our offer");
        }
        self.apply(t, leg, answer, OnApplied::AnsweredAlone { leg });
    }

    /// Its answer is taken, or is of no use.
    pub(super) fn is_answered_alone(&mut self, t: &mut Turn<'_>, leg: LegId, taken: Result<(), MediaError>) {
        match taken {
            Ok(()) => self.tell_answering(leg, Ok(())),
            Err(error) => {
                tracing::info!("leg {}: {error}", leg.0);
                self.useless(t, leg, "an answer that is of no use");
            }
        }
    }

    fn useless(&mut self, t: &mut Turn<'_>, leg: LegId, why: &str) {
        if let Some(it) = self.calls.leg_mut(leg) {
            it.why.cause = Some(TerminationCause::Protocol { message: why.to_owned() });
        }
        self.tell_answering(leg, Err(CallError::Media(why.to_owned())));
        self.hang_up(t, leg);
    }

    /// Tells who has answered a leg what became of it.
    pub(super) fn tell_answering(&mut self, leg: LegId, result: Result<(), CallError>) {
        if let Some(answering) = self.calls.leg_mut(leg).and_then(|it| it.answering.take()) {
            // Who does not wait any more has lost interest.
            let _ = answering.send(result);
        }
    }
}
