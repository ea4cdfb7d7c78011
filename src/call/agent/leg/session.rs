//! A leg's side of offer and answer: its descriptions, and what they do to its
//! media.

use bytes::Bytes;

use super::{Leg, LegOutput, OfferAnswer};
use crate::negotiate::{self, NegotiateError};
use b2b_media::local::MediaParams;
use b2b_media::remote::EventTypes;
use b2b_sdp::SessionDescription;
use b2b_sip::msg::{Headers, Name};

impl Leg {
    /// Our 2xx to their INVITE, with an answer or, if they did not offer, an offer.
    pub(super) fn accept(&mut self) -> Result<(), NegotiateError> {
        match std::mem::replace(&mut self.offer_answer, OfferAnswer::Stable) {
            OfferAnswer::Theirs(offer) => {
                let (sdp, params) = self.make_answer(&negotiate::parse(&offer)?, &offer)?;
                self.outputs.push_back(LegOutput::Accept { sdp });
                self.configure(params);
            }
            OfferAnswer::Wanted | OfferAnswer::Stable | OfferAnswer::Ours => {
                let sdp = self.offer();
                self.offer_answer = OfferAnswer::Ours;
                self.outputs.push_back(LegOutput::Accept { sdp });
            }
        }
        Ok(())
    }

    pub(super) fn offer(&mut self) -> Bytes {
        self.version += 1;
        let offer = negotiate::make_offer(&self.local, self.version, self.last.as_ref());
        let sdp = offer.description.to_bytes().into();
        self.last = Some(offer);
        sdp
    }

    pub(super) fn make_answer(
        &mut self,
        offer: &SessionDescription,
        body: &[u8],
    ) -> Result<(Bytes, MediaParams), NegotiateError> {
        let (answer, params) = negotiate::make_answer(&self.local, self.version + 1, offer)?;
        self.said = Some(Bytes::copy_from_slice(body));
        self.version += 1;
        let sdp = answer.description.to_bytes().into();
        self.last = Some(answer);
        Ok((sdp, params))
    }

    pub(super) fn apply_answer(
        &mut self,
        answer: &SessionDescription,
        body: &[u8],
    ) -> Result<MediaParams, NegotiateError> {
        let offer = self.last.as_ref().ok_or(NegotiateError::NoAudio)?;
        let params = negotiate::apply_answer(&self.local, offer, answer)?;
        self.said = Some(Bytes::copy_from_slice(body));
        Ok(params)
    }

    /// What we have told the far end last, and what it has said last; a waiting offer, too.
    pub fn descriptions(&self) -> (Option<Vec<u8>>, Option<Bytes>) {
        let told = self.last.as_ref().map(|last| last.description.to_bytes());
        let waiting = match &self.offer_answer {
            OfferAnswer::Theirs(offer) => Some(offer.clone()),
            _ => None,
        };
        (told, waiting.or_else(|| self.said.clone()))
    }

    pub(super) fn configure(&mut self, params: MediaParams) {
        let held = !params.remote.receives;
        self.configure_as(params, held);
    }

    /// The same, when whether they hold us does not follow from it.
    pub(super) fn configure_as(&mut self, mut params: MediaParams, held: bool) {
        let now = &mut params.remote;
        if let Some(before) = self.media.as_ref().map(|media| media.remote) {
            // A number that was an event stays one (RFC 3264 §8.3.2): far ends send under one of before.
            let is_free = |event: &(u8, u32)| {
                now.telephone_events.rate(event.0).is_none() && now.voice.codec(event.0).is_none()
            };
            let known: Vec<_> = before.telephone_events.iter().filter(is_free).collect();
            now.telephone_events = EventTypes::new(now.telephone_events.iter().chain(known));
            // The old hold gives no address: RTCP goes on to the one before.
            if now.rtp.ip().is_unspecified() {
                (now.rtp, now.rtcp) = (before.rtp, before.rtcp);
            }
        }
        self.local.crypto.settled(params.protection.as_ref());
        self.media = Some(params.clone());
        self.outputs.push_back(LegOutput::ConfigureMedia(Box::new(params)));
        if self.confirmed {
            self.tell_hold(held);
        }
    }

    pub(super) fn confirm(&mut self, params: MediaParams) {
        // Again even if early media had the same: silence is counted from here.
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

/// Why a body is of no use to us.
pub(super) enum Unreadable {
    /// A body, but no session description.
    MediaType,
    Sdp(NegotiateError),
}

/// The session description of a message; None: it has no body.
pub(super) fn description(headers: &Headers, body: Bytes) -> Result<Option<SessionDescription>, Unreadable> {
    if body.is_empty() {
        return Ok(None);
    }
    let plain = |encoding: &[u8]| encoding.eq_ignore_ascii_case(b"identity");
    match headers.content_type() {
        _ if !headers.headers(Name::ContentEncoding).all(plain) => Err(Unreadable::MediaType),
        Some(media_type) if media_type.eq_ignore_ascii_case(b2b_sdp::CONTENT_TYPE.as_bytes()) => {
            negotiate::parse(&body).map(Some).map_err(Unreadable::Sdp)
        }
        _ => Err(Unreadable::MediaType),
    }
}
