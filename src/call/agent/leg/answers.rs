//! The progress of an INVITE in either direction: provisional responses, 2xx, ACK.

use super::{Leg, LegOutput, OfferAnswer};
use crate::leg_fsm::LegEvent;
use b2b_sip::msg::{Request, Response};

impl Leg {
    pub(super) fn provisional(&mut self, response: &Response) {
        let early = response.session().and_then(|answer| self.apply_answer(&answer).ok());
        match early {
            Some(params) if !self.ending => {
                self.advance(LegEvent::EarlyMedia);
                self.configure(params);
            }
            _ => self.advance(LegEvent::Ring),
        }
        let reason = String::from_utf8_lossy(response.reason()).into_owned();
        self.outputs.push_back(LegOutput::Progress { status: response.status(), reason });
    }

    pub(super) fn answered(&mut self, response: &Response, ack_wanted: bool) {
        self.advance(LegEvent::Answer);
        let settled = match (response.session(), ack_wanted) {
            (Some(offer), true) => match self.make_answer(&offer) {
                Ok((sdp, params)) => {
                    self.outputs.push_back(LegOutput::Ack { sdp });
                    Ok(params)
                }
                Err(error) => Err(error.to_string()),
            },
            (Some(answer), false) => self.apply_answer(&answer).map_err(|error| error.to_string()),
            // The answer may have come in a reliable provisional response.
            (None, false) => self.media.clone().ok_or_else(|| "200 without an answer".to_owned()),
            (None, true) => Err("200 without an offer".to_owned()),
        };
        self.offer_answer = OfferAnswer::Stable;
        if self.ending {
            // The 2xx crossed our CANCEL.
            self.outputs.push_back(LegOutput::Bye);
            return;
        }
        match settled {
            Ok(params) => self.confirm(params),
            Err(message) => self.give_up(message),
        }
    }

    pub(super) fn acknowledged(&mut self, ack: &Request) {
        self.theirs_open = false;
        if let OfferAnswer::Ours = self.offer_answer {
            self.offer_answer = OfferAnswer::Stable;
            let settled = match ack.session() {
                Some(answer) => self.apply_answer(&answer).map_err(|error| error.to_string()),
                None => Err("ACK without an answer to our offer".to_owned()),
            };
            match settled {
                Ok(params) if !self.ending => self.configure(params),
                Err(message) if !self.ending => return self.give_up(message),
                _ => {}
            }
        }
        match self.media.clone() {
            Some(params) if !self.confirmed && !self.ending => self.confirm(params),
            _ => {}
        }
    }
}
