//! In-dialog requests of the remote party: re-INVITE, UPDATE, INFO.

use bytes::Bytes;

use super::session::{Unreadable, description};
use super::{Leg, LegOutput, OfferAnswer};
use crate::digits;
use crate::leg_fsm::LegState;
use b2b_sip::endpoint::{Body, Reply, ServerTransactionId};
use b2b_sip::msg::{Method, Request};

impl Leg {
    pub(super) fn reinvite(&mut self, request: &Request) {
        if self.ending || self.state != LegState::Answered {
            self.outputs.push_back(LegOutput::Reject { status: 481, reason: String::new() });
            return;
        }
        self.theirs_open = true;
        let refusal = match description(request, request.body()) {
            Ok(offer) => {
                self.offer_answer = offer.map_or(OfferAnswer::Wanted, OfferAnswer::Theirs);
                self.accept().err().map(|error| error.status())
            }
            Err(Unreadable) => Some((415, "Unsupported Media Type")),
        };
        if let Some((status, reason)) = refusal {
            // The session stays as it was (RFC 3261 §14.2).
            self.offer_answer = OfferAnswer::Stable;
            self.theirs_open = false;
            self.outputs.push_back(LegOutput::Reject { status, reason: reason.to_owned() });
        }
    }

    pub(super) fn update(&mut self, transaction: ServerTransactionId, request: &Request) {
        let reply = match description(request, request.body()) {
            // Nothing is negotiated any more.
            _ if self.ending => Reply::status(481),
            Ok(None) => Reply::status(200),
            // RFC 3311 §5.2: an offer is still waiting for its answer.
            Ok(Some(_)) if !matches!(self.offer_answer, OfferAnswer::Stable) => Reply {
                status: 500,
                headers: vec![(Bytes::from_static(b"Retry-After"), Bytes::from_static(b"5"))],
                ..Reply::default()
            },
            Ok(Some(offer)) => match self.make_answer(&offer) {
                Ok((sdp, params)) => {
                    self.configure(params);
                    Reply { status: 200, body: Some(Body::sdp(sdp)), ..Reply::default() }
                }
                Err(error) => refusal(error.status()),
            },
            Err(Unreadable) => Reply::status(415),
        };
        self.outputs.push_back(LegOutput::Respond { transaction, reply });
    }

    pub(super) fn request(&mut self, request: &Request) -> Reply {
        if *request.method() != Method::Info {
            return Reply::status(405);
        }
        let body = request.body();
        let Some(content_type) = request.content_type() else {
            // RFC 2976: an INFO without a body only checks that we are there.
            return Reply::status(if body.is_empty() { 200 } else { 415 });
        };
        match digits::from_info(content_type, &body) {
            Some((digit, duration_ms)) => {
                self.outputs.push_back(LegOutput::Digit { digit, duration_ms });
                Reply::status(200)
            }
            None => Reply::status(415),
        }
    }
}

fn refusal((status, reason): (u16, &str)) -> Reply {
    Reply { status, reason: reason.to_owned(), ..Reply::default() }
}
