//! SRTP of a relayed leg: it ends at b2b, with b2b's own keys. Keys are never passed from one leg to the
//! other.

use std::borrow::Cow;

use super::super::NegotiateError;
use super::super::crypto::{LocalCrypto, agreed};
use super::{Line, Side};
use b2b_media::transport::protection::Keys;
use b2b_sdp::AudioMedia;

impl Side {
    /// Has a side go on as it was written some time ago. Since then it may have told keys that were not in use, and a
    /// version of its session.
    pub fn resume(&mut self) {
        self.crypto.renew_unused();
        self.version += 1;
    }

    /// Sets the encryption policy and these keys.
    pub fn with_crypto(mut self, crypto: LocalCrypto) -> Self {
        self.crypto = crypto;
        self
    }

    /// Whether keys are possible.
    pub fn encrypts(&self) -> bool {
        self.crypto.encrypts()
    }

    /// The keys settled by the last descriptions; `None`: plain RTP.
    pub fn keys(&self) -> Option<Keys> {
        let leg = self.settled()?;
        agreed(&leg.told.crypto, &leg.own.crypto)
    }

    /// Puts our keys into an offer to the party, but not into one for direct media.
    pub(super) fn encrypt_offer<'a>(&self, audio: &'a AudioMedia) -> Cow<'a, AudioMedia> {
        let mut audio = Cow::Borrowed(audio);
        if self.encrypts() && audio.rtp() == self.rtp {
            let before = self.sent.as_deref().and_then(Line::known);
            self.crypto.offer(audio.to_mut(), before.as_ref().map(|line| &*line.audio));
        }
        audio
    }

    /// Puts our key into the answer to the party's offer.
    pub(super) fn encrypt_answer(
        &self,
        offer: &AudioMedia,
        audio: &mut AudioMedia,
    ) -> Result<(), NegotiateError> {
        let chosen = self.crypto.choose(offer)?;
        audio.crypto = chosen.map(|chosen| chosen.line()).into_iter().collect();
        Ok(())
    }

    /// Checks that the party's answer has the required keys.
    pub(super) fn check_answer(&self, offer: &AudioMedia, answer: &AudioMedia) -> Result<(), NegotiateError> {
        self.crypto.apply(&offer.crypto, answer).map(drop)
    }

    /// Offer and answer are complete: keys that are no longer in use are never used again.
    pub(super) fn settle_crypto(&mut self) {
        if self.encrypts() {
            let keys = self.keys();
            self.crypto.settled(keys.as_ref());
        }
    }
}
