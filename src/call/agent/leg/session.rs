//! A leg's side of offer and answer: its session descriptions, and their effect on its media.

use bytes::Bytes;

use super::{Leg, LegOutput, OfferAnswer};
use crate::negotiate::NegotiateError;
use crate::negotiate::pair::{Hold, PairError, PairPolicy};
use b2b_media::local::MediaParams;

impl Leg {
    /// Our 2xx to the peer's INVITE or re-INVITE, with an answer or, if there was no offer, with an offer.
    pub(super) fn accept(&mut self) -> Result<(), NegotiateError> {
        match std::mem::replace(&mut self.offer_answer, OfferAnswer::Stable) {
            OfferAnswer::Theirs(offer) => {
                let (sdp, params) = self.make_answer(&offer)?;
                self.outputs.push_back(LegOutput::Accept { sdp });
                self.configure(params);
            }
            OfferAnswer::Wanted | OfferAnswer::Stable | OfferAnswer::Ours => {
                let sdp = self.offer()?;
                self.offer_answer = OfferAnswer::Ours;
                self.outputs.push_back(LegOutput::Accept { sdp });
            }
        }
        Ok(())
    }

    pub(super) fn offer(&mut self) -> Result<Bytes, NegotiateError> {
        let hold = match (self.holds, self.held) {
            (false, _) => Hold::No,
            (true, false) => Hold::Playing,
            // The remote party continues to hold us.
            (true, true) => Hold::Silent,
        };
        self.side.own_offer(&policy(hold)).map(|offer| offer.into_vec().into())
    }

    pub(super) fn make_answer(&mut self, offer: &[u8]) -> Result<(Bytes, MediaParams), NegotiateError> {
        let hold = if self.holds { Hold::Playing } else { Hold::No };
        let (answer, params) = self.side.own_answer(offer, &policy(hold))?;
        Ok((answer.into_vec().into(), params))
    }

    pub(super) fn apply_answer(&mut self, answer: &[u8]) -> Result<MediaParams, PairError> {
        self.side.own_settled(answer)
    }

    /// The last descriptions sent to the remote party and received from it, a pending offer included.
    pub fn descriptions(&self) -> (Option<&[u8]>, Option<&[u8]>) {
        let waiting = match &self.offer_answer {
            OfferAnswer::Theirs(offer) => Some(&offer[..]),
            _ => None,
        };
        (self.side.told(), waiting.or_else(|| self.side.said()))
    }

    pub(super) fn configure(&mut self, params: MediaParams) {
        let held = !params.remote.receives;
        self.configure_as(params, held);
    }

    /// As [`Leg::configure`], where the description does not tell whether the remote party holds us.
    pub(super) fn configure_as(&mut self, mut params: MediaParams, held: bool) {
        let now = &mut params.remote;
        // The old form of hold gives no address: RTCP still goes to the previous one.
        if let Some(before) = self.media.as_ref().map(|media| media.remote)
            && now.rtp.ip().is_unspecified()
        {
            (now.rtp, now.rtcp) = (before.rtp, before.rtcp);
        }
        self.media = Some(params.clone());
        self.outputs.push_back(LegOutput::ConfigureMedia(Box::new(params)));
        if self.confirmed {
            self.tell_hold(held);
        }
    }

    pub(super) fn confirm(&mut self, params: MediaParams) {
        // Configured again even if early media had the same parameters: the time-out starts here.
        if !self.inbound || self.has_early_media() || self.media.as_ref() != Some(&params) {
            self.configure(params.clone());
        }
        self.confirmed = true;
        let held = !params.remote.receives;
        self.outputs.push_back(LegOutput::Answered(Box::new(params)));
        self.tell_hold(held);
    }

    pub(super) fn tell_hold(&mut self, held: bool) {
        if self.held != held {
            self.held = held;
            self.outputs.push_back(LegOutput::Hold { held });
        }
    }
}

/// The policy for descriptions, beside the side's [`OwnAudio`](crate::negotiate::pair::OwnAudio).
fn policy(hold: Hold) -> PairPolicy {
    PairPolicy { transcode: false, hold, ..PairPolicy::default() }
}
