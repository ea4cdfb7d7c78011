//! An incoming call before it is answered: ringing, and early media (RFC 3261 §13.3.1.1, RFC 3960).

use super::{Leg, LegOutput, OfferAnswer, WrongState};
use crate::leg_fsm::LegEvent;

impl Leg {
    /// Sends a 180.
    ///
    /// # Errors
    /// There is no incoming call that waits for an answer.
    pub fn ring(&mut self) -> Result<(), WrongState> {
        if !self.is_waiting() {
            return Err(WrongState(self.state));
        }
        self.advance(LegEvent::Ring);
        if !self.no_provisional {
            self.outputs.push_back(LegOutput::Provisional { status: 180, sdp: None });
        }
        Ok(())
    }

    /// Begins early media: 183 with our answer. `rtp_port` is where we receive.
    ///
    /// # Errors
    /// There is no incoming call that waits for an answer, it has early media already, or it came without an
    /// offer, in which case only our 2xx can begin the session.
    pub fn early(&mut self, rtp_port: u16) -> Result<(), WrongState> {
        let wrong = Err(WrongState(self.state));
        let OfferAnswer::Theirs(offer) = &self.offer_answer else { return wrong };
        if !self.is_waiting() {
            return wrong;
        }
        let offer = offer.clone();
        self.set_rtp_port(rtp_port);
        // The offer was checked when it came.
        let Ok((sdp, params)) = self.make_answer(&offer) else { return wrong };
        self.offer_answer = OfferAnswer::Stable;
        self.given = Some(sdp.clone());
        self.advance(LegEvent::EarlyMedia);
        self.outputs.push_back(LegOutput::Provisional { status: 183, sdp: Some(sdp) });
        self.configure(params);
        Ok(())
    }

    /// The port where we receive; 0: not yet known.
    pub fn rtp_port(&self) -> u16 {
        self.side.rtp().port()
    }

    /// Whether early media could begin now.
    pub fn may_be_early(&self) -> bool {
        self.is_waiting() && matches!(self.offer_answer, OfferAnswer::Theirs(_))
    }

    /// Whether the incoming call has early media.
    pub fn has_early_media(&self) -> bool {
        self.given.is_some()
    }
}
