//! Audio that begins and ends here: a source of ours is sent to the party, and a sink receives its audio.

use super::{
    AudioMedia, Line, NegotiateError, PairError, PairPolicy, Side, apply, local_answer, local_offer,
};
use super::{formats, ways};
use crate::negotiate::ABS_CAPTURE_TIME;
use b2b_media::codec::Codec;
use b2b_media::local::MediaParams;
use b2b_sdp::{Attribute, ExtMap, Format};

/// The description of such audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnAudio {
    /// For offers, in order of priority; no others are accepted.
    pub codecs: Vec<Codec>,
    /// The packet time that we request, and send unless the party requests another, in ms.
    pub ptime_ms: u32,
    /// Further attributes of the audio line, as they are written.
    pub attributes: Vec<Attribute>,
}

/// Our identifier of the capture time in the first offer; a session keeps the one that it has.
const CAPTURE_TIME_ID: u8 = 1;

impl Side {
    /// Sets the audio that begins and ends here.
    pub fn with_own(mut self, own: OwnAudio) -> Self {
        self.own = Some(Box::new(own));
        self
    }

    /// Offers and accepts these codecs from now on; returns the previous ones.
    pub fn set_codecs(&mut self, codecs: Vec<Codec>) -> Vec<Codec> {
        self.own.as_mut().map(|own| std::mem::replace(&mut own.codecs, codecs)).unwrap_or_default()
    }

    /// Checks whether an offer has anything for us; otherwise [`local_answer`] would fail with the same
    /// error.
    ///
    /// # Errors
    /// It has nothing: refuse it.
    pub fn check(&self, offer: &[u8]) -> Result<(), NegotiateError> {
        Line::offered(offer, self).map(drop)
    }

    /// Whether a format can be accepted where audio ends here; with a joined party the other leg decides.
    pub(super) fn may_take(&self, format: &Format) -> bool {
        let takes = |own: &OwnAudio| formats::codec(format).is_some_and(|it| own.codecs.contains(&it));
        self.own.as_deref().is_none_or(takes)
    }

    /// Our offer, as [`local_offer`].
    ///
    /// # Errors
    /// There is no codec.
    pub fn own_offer(&mut self, policy: &PairPolicy) -> Result<Box<[u8]>, NegotiateError> {
        local_offer(self, None, policy)
    }

    /// Our answer to an offer, and the resulting parameters, as [`local_answer`].
    ///
    /// # Errors
    /// The offer has nothing for us: refuse it.
    pub fn own_answer(
        &mut self,
        offer: &[u8],
        policy: &PairPolicy,
    ) -> Result<(Box<[u8]>, MediaParams), NegotiateError> {
        let answer = local_answer(self, offer, policy)?;
        Ok((answer, self.params()?))
    }

    /// The parameters after the answer to our offer, as [`apply`].
    ///
    /// # Errors
    /// The call cannot continue: end it.
    pub fn own_settled(&mut self, answer: &[u8]) -> Result<MediaParams, PairError> {
        apply(self, answer)?;
        Ok(self.params()?)
    }

    fn params(&self) -> Result<MediaParams, NegotiateError> {
        let remote = self.remote().ok_or(NegotiateError::NoCommonCodec)?;
        Ok(MediaParams { remote, abs_capture_time_id: self.capture_time(), protection: self.keys() })
    }

    /// The identifier of the capture time extension towards the party, in the one-byte form (RFC 8285 §4.2).
    fn capture_time(&self) -> Option<u8> {
        let leg = self.settled()?;
        let id = leg.own.extension_id(ABS_CAPTURE_TIME).filter(is_one_byte)?;
        leg.told.extension_id(ABS_CAPTURE_TIME).map(|_| id)
    }

    /// Adds our attributes beside the formats to an audio line, in an offer or in the answer to `offer`.
    pub(super) fn add_own(&self, audio: &mut AudioMedia, offer: Option<&AudioMedia>) {
        let Some(own) = &self.own else { return };
        let id = match offer {
            Some(offer) => offer.extension_id(ABS_CAPTURE_TIME).filter(is_one_byte),
            None => self.capture_time().or(Some(CAPTURE_TIME_ID)),
        };
        audio.extensions = id.map(|id| ExtMap::new(id, ABS_CAPTURE_TIME)).into_iter().collect();
        audio.others.clone_from(&own.attributes);
        audio.ptime_ms = match (offer, audio.formats.first().and_then(formats::codec)) {
            (Some(offer), Some(codec)) => Some(codec.ptime_ms(ways::ptime_for(offer, Some(own.ptime_ms)))),
            _ => Some(own.ptime_ms),
        };
    }
}

fn is_one_byte(id: &u8) -> bool {
    (1..=14).contains(id)
}
