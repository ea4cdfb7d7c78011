//! Callers that we answer ourselves, with media of our own.

use bytes::Bytes;

use super::waiting::{OnDescription, OnEndpoint};
use super::{CallStep, Turn};
use crate::LegId;
use crate::controller::MediaError;
use crate::leg_life::OnAck;
use crate::service::CallError;
use crate::service::command::Reply;

impl CallStep<'_> {
    /// Answers a caller with media of our own.
    pub(super) fn answer_here_and_now(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        reply: Reply<Result<(), CallError>>,
    ) {
        let Some(it) = self.call.leg(leg).filter(|it| !it.life.is_ending()) else {
            return drop(reply.send(Err(CallError::Gone)));
        };
        // The previous owner of the caller has answered.
        if it.is_up() {
            return drop(reply.send(Ok(())));
        }
        if !it.is_waiting() {
            return drop(reply.send(Err(CallError::WrongState("the leg does not wait for an answer"))));
        }
        let offer = it.life.open_offer();
        // Our offer goes into the 2xx, and the answer comes with the ACK (RFC 3261 §13.2.1). Until then
        // nothing can be played.
        let then = OnDescription::Answer { leg, offers: offer.is_none(), reply };
        let then = match offer {
            Some(offer) => OnEndpoint::LocalAnswer { leg, offer, then },
            None => OnEndpoint::LocalOffer { leg, like: None, then },
        };
        self.with_endpoint(t, leg, None, then);
    }

    /// The description for our 2xx is ready, or has failed. `offers`: its ACK brings the answer.
    pub(super) fn answered_by_us(
        &mut self,
        t: &mut Turn<'_>,
        leg: LegId,
        offers: bool,
        description: Result<Bytes, MediaError>,
        reply: Reply<Result<(), CallError>>,
    ) {
        if let (Err(MediaError::Description(error)), Some(it)) = (&description, self.call.leg_mut(leg)) {
            it.why.offer = Some(error.status());
        }
        let accepted = description.and_then(|it| self.accept(t, leg, Some(it)));
        if let (true, Ok(()), Some(it)) = (offers, &accepted, self.call.leg_mut(leg)) {
            it.life.expect_on_ack(OnAck::Answer);
            it.answering = Some(reply);
            return;
        }
        // A closed receiver is no error.
        let _ = reply.send(accepted.map_err(|error| CallError::Media(error.to_string())));
    }

    /// Reports the outcome to the command that answered the leg.
    pub(super) fn tell_answering(&mut self, leg: LegId, result: Result<(), CallError>) {
        if let Some(answering) = self.call.leg_mut(leg).and_then(|it| it.answering.take()) {
            // A closed receiver is no error.
            let _ = answering.send(result);
        }
    }
}
