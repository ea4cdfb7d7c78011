//! SRTP of a leg that is relayed: it ends at b2b, with keys of b2b's own. Keys never go
//! from one leg to the other.

use std::borrow::Cow;

use super::super::NegotiateError;
use super::super::crypto::{LocalCrypto, agreed};
use super::{Line, Side};
use b2b_media::transport::protection::Keys;
use b2b_sdp::AudioMedia;

impl Side {
    /// The same with this policy of encryption, and these keys.
    pub fn with_crypto(mut self, crypto: LocalCrypto) -> Self {
        self.crypto = crypto;
        self
    }

    /// Whether there may be keys.
    pub fn encrypts(&self) -> bool {
        self.crypto.encrypts()
    }

    /// The keys that what it was told and what it has said settle on; `None`: plain RTP.
    pub fn keys(&self) -> Option<Keys> {
        let leg = self.settled()?;
        agreed(&leg.told.crypto, &leg.own.crypto)
    }

    /// Puts our keys into an offer to it; none into one that leads its media past us.
    pub(super) fn encrypt_offer<'a>(&self, audio: &'a AudioMedia) -> Cow<'a, AudioMedia> {
        let mut audio = Cow::Borrowed(audio);
        if self.encrypts() && audio.rtp() == self.rtp {
            let before = self.sent.as_deref().and_then(Line::known);
            self.crypto.offer(audio.to_mut(), before.as_ref().map(|line| &*line.audio));
        }
        audio
    }

    /// Puts our key into the answer to an offer of its.
    pub(super) fn encrypt_answer(
        &self,
        offer: &AudioMedia,
        audio: &mut AudioMedia,
    ) -> Result<(), NegotiateError> {
        let chosen = self.crypto.choose(offer.is_secure_rtp(), &offer.crypto)?;
        audio.crypto = chosen.map(|chosen| chosen.line()).into_iter().collect();
        Ok(())
    }

    /// Whether its answer has the keys that it needs.
    pub(super) fn check_answer(&self, offer: &AudioMedia, answer: &AudioMedia) -> Result<(), NegotiateError> {
        self.crypto.apply(&offer.crypto, answer.is_secure_rtp(), &answer.crypto).map(drop)
    }

    /// Offer and answer have passed: keys that are not in use any more never come back.
    pub(super) fn settle_crypto(&mut self) {
        if self.encrypts() {
            let keys = self.keys();
            self.crypto.settled(keys.as_ref());
        }
    }
}
