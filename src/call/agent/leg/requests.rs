//! In-dialog requests of the remote party: re-INVITE, UPDATE, INFO.

use bytes::Bytes;

use super::{Leg, LegOutput, OfferAnswer};
use crate::body::understood;
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
        let refusal = match understood(request, false) {
            Ok(content) => {
                self.offer_answer = content.session.map_or(OfferAnswer::Wanted, OfferAnswer::Theirs);
                self.accept().err().map(|error| error.status())
            }
            Err((status, reason)) => Some((status, reason.to_owned())),
        };
        if let Some((status, reason)) = refusal {
            // The session stays as it was (RFC 3261 §14.2).
            self.offer_answer = OfferAnswer::Stable;
            self.theirs_open = false;
            self.outputs.push_back(LegOutput::Reject { status, reason });
        }
    }

    pub(super) fn update(&mut self, transaction: ServerTransactionId, request: &Request) {
        let reply = match understood(request, false).map(|content| content.session) {
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
                Err(error) => {
                    let (status, reason) = error.status();
                    refusal(status, reason)
                }
            },
            Err((status, reason)) => refusal(status, reason.to_owned()),
        };
        self.outputs.push_back(LegOutput::Respond { transaction, reply });
    }

    pub(super) fn request(&mut self, request: &Request) -> Reply {
        if *request.method() != Method::Info {
            return Reply::status(405);
        }
        if let Some((digit, duration_ms)) = digits::of_info(request) {
            self.outputs.push_back(LegOutput::Digit { digit, duration_ms });
            return Reply::status(200);
        }
        match understood(request, false) {
            // RFC 2976: an INFO without a body only checks that we are there.
            Ok(content) if content.session.is_none() => Reply::status(200),
            Ok(_) | Err((415, _)) => digits::unsupported(),
            Err((status, reason)) => refusal(status, reason.to_owned()),
        }
    }
}

fn refusal(status: u16, reason: String) -> Reply {
    Reply { status, reason, ..Reply::default() }
}
