//! Audio that begins and ends here: a source of ours speaks to the party, and a sink hears it.

use super::{
    AudioMedia, Line, NegotiateError, PairError, PairPolicy, Side, apply, local_answer, local_offer,
};
use super::{formats, ways};
use crate::negotiate::ABS_CAPTURE_TIME;
use b2b_media::codec::Codec;
use b2b_media::local::MediaParams;
use b2b_sdp::{Attribute, ExtMap, Format};

/// What such audio is to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnAudio {
    /// In order of priority, for offers; no others are taken.
    pub codecs: Vec<Codec>,
    /// The packet time that we ask for, and send unless the party asks for another, ms.
    pub ptime_ms: u32,
    /// More attributes of the audio line, as they are to be written.
    pub attributes: Vec<Attribute>,
}

/// Our local number of the capture time in the first offer; a session keeps the one that it has.
const CAPTURE_TIME_ID: u8 = 1;

impl Side {
    /// The same for audio that begins and ends here.
    pub fn with_own(mut self, own: OwnAudio) -> Self {
        self.own = Some(Box::new(own));
        self
    }

    /// Offers and takes these from now on; those of before.
    pub fn set_codecs(&mut self, codecs: Vec<Codec>) -> Vec<Codec> {
        self.own.as_mut().map(|own| std::mem::replace(&mut own.codecs, codecs)).unwrap_or_default()
    }

    /// Whether there is anything in an offer for us, which [`local_answer`] would fail with.
    ///
    /// # Errors
    /// There is not: refuse it.
    pub fn check(&self, offer: &[u8]) -> Result<(), NegotiateError> {
        Line::offered(offer, self).map(drop)
    }

    /// Whether this is of use where audio ends here; what is joined with another party decides itself.
    pub(super) fn may_take(&self, format: &Format) -> bool {
        let takes = |own: &OwnAudio| formats::codec(format).is_some_and(|it| own.codecs.contains(&it));
        self.own.as_deref().is_none_or(takes)
    }

    /// An offer of ours, as [`local_offer`].
    ///
    /// # Errors
    /// There is no codec.
    pub fn own_offer(&mut self, policy: &PairPolicy) -> Result<Box<[u8]>, NegotiateError> {
        local_offer(self, None, policy)
    }

    /// Our answer to an offer, and what that settles, as [`local_answer`].
    ///
    /// # Errors
    /// There is nothing in it for us: refuse it.
    pub fn own_answer(
        &mut self,
        offer: &[u8],
        policy: &PairPolicy,
    ) -> Result<(Box<[u8]>, MediaParams), NegotiateError> {
        let answer = local_answer(self, offer, policy)?;
        Ok((answer, self.params()?))
    }

    /// What the answer to our offer settles, as [`apply`].
    ///
    /// # Errors
    /// The call cannot go on: end it.
    pub fn own_settled(&mut self, answer: &[u8]) -> Result<MediaParams, PairError> {
        apply(self, answer)?;
        Ok(self.params()?)
    }

    fn params(&self) -> Result<MediaParams, NegotiateError> {
        let remote = self.remote().ok_or(NegotiateError::NoCommonCodec)?;
        Ok(MediaParams { remote, abs_capture_time_id: self.capture_time(), protection: self.keys() })
    }

    /// Under which number the party takes capture times, in the one-byte form (RFC 8285 §4.2).
    fn capture_time(&self) -> Option<u8> {
        let leg = self.settled()?;
        let id = leg.own.extension_id(ABS_CAPTURE_TIME).filter(is_one_byte)?;
        leg.told.extension_id(ABS_CAPTURE_TIME).map(|_| id)
    }

    /// What our audio line has beside formats, in an offer or in the answer to this one.
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
