//! Operations on an answered call: hold, digits, volume, codecs.

use std::sync::PoisonError;

use super::driver::{Command, Control};
use super::{Call, CallError, Codec, DtmfMode, Sound};
use b2b_call::agent::Change;

/// Maximum number of digits in one request.
const DIGITS: usize = 64;

impl Call {
    /// Puts the far end on hold and waits until it agrees (RFC 3264 §8.4). From now on it hears what this
    /// call plays and what the program writes, but no microphone, file or other source, and its audio goes to
    /// no loudspeaker or other sink. A call on hold is left out of its conference until [`Call::resume`].
    /// Devices close once no call has needed them for two seconds.
    ///
    /// # Errors
    /// The call is not answered or is over, or the far end refuses.
    pub async fn hold(&self) -> Result<(), CallError> {
        self.change(Change::Hold, Vec::new()).await
    }

    /// Puts the far end on hold and plays this sound to it, music or `Sound::silence`, replacing the current
    /// one. [`Call::resume`] ends the sound.
    ///
    /// # Errors
    /// As for [`Call::hold`], or the sound cannot be played.
    pub async fn hold_with(&self, sound: Sound) -> Result<(), CallError> {
        self.hold().await?;
        let playing = self.play(sound).await?;
        // Replaces the previous sound of a call that is already on hold.
        self.0.hold_sound.lock().unwrap_or_else(PoisonError::into_inner).replace(playing);
        Ok(())
    }

    /// Takes the far end off hold.
    ///
    /// # Errors
    /// As for [`Call::hold`].
    pub async fn resume(&self) -> Result<(), CallError> {
        self.change(Change::Resume, Vec::new()).await?;
        let playing = self.0.hold_sound.lock().unwrap_or_else(PoisonError::into_inner).take();
        playing.iter().for_each(super::Playback::stop);
        Ok(())
    }

    /// Offers these codecs from now on, in this order, and waits for the answer; [`Call::agreed`] has the
    /// chosen codec. The sample rate of the call's audio is unchanged.
    ///
    /// # Errors
    /// As for [`Call::hold`], or the list is empty.
    pub async fn change_codecs(&self, codecs: &[Codec]) -> Result<(), CallError> {
        if codecs.is_empty() {
            return Err(CallError::NoCodec);
        }
        self.change(Change::Codecs, codecs.to_vec()).await
    }

    async fn change(&self, change: Change, codecs: Vec<Codec>) -> Result<(), CallError> {
        let leg = self.0.leg;
        let asked = self.0.ask(|reply| Command::Change { leg, change, codecs, reply });
        asked.await.unwrap_or_else(|| Err(self.gone()))
    }

    /// Queues digits (`0-9 * # A-D`) behind those already waiting; with a `mode` of `None` they are sent as
    /// the builder says. Digits replace the audio sent meanwhile, except by INFO. It does not wait until they
    /// are sent.
    ///
    /// # Errors
    /// The digits are invalid, or the call is not answered.
    pub async fn send_digits(
        &self,
        digits: &str,
        mode: impl Into<Option<DtmfMode>>,
    ) -> Result<(), CallError> {
        let mode = mode.into().unwrap_or(self.0.dtmf);
        let wanted: Vec<char> = digits.chars().map(|digit| digit.to_ascii_uppercase()).collect();
        let known = |digit: &char| matches!(digit, '0'..='9' | '*' | '#' | 'A'..='D');
        if wanted.is_empty() || wanted.len() > DIGITS || !wanted.iter().all(known) {
            return Err(CallError::Digits(digits.to_owned()));
        }
        self.control(Control::Digits { digits: wanted, ms: self.0.digit_ms, mode }).await
    }

    /// Starts or stops sending silence in place of all audio. Digits are still sent. In a conference with
    /// devices, one muted call silences the microphone for all calls.
    ///
    /// # Errors
    /// The call is over, or has no media yet.
    pub async fn mute(&self, muted: bool) -> Result<(), CallError> {
        self.control(Control::Mute(muted)).await
    }

    /// Sets the gain of received audio: 1.0 is unchanged, 0.5 is half the amplitude (-6 dB). Samples beyond
    /// full scale are clipped.
    ///
    /// # Errors
    /// As for [`Call::mute`], or the factor is negative or not a number.
    pub async fn set_volume_in(&self, factor: f32) -> Result<(), CallError> {
        self.control(Control::Volume { sent: None, heard: Some(factor) }).await
    }

    /// Sets the gain of sent audio, like [`Call::set_volume_in`].
    ///
    /// # Errors
    /// As for [`Call::set_volume_in`].
    pub async fn set_volume_out(&self, factor: f32) -> Result<(), CallError> {
        self.control(Control::Volume { sent: Some(factor), heard: None }).await
    }

    pub(super) async fn control(&self, control: Control) -> Result<(), CallError> {
        let leg = self.0.leg;
        let done = self.0.ask(|reply| Command::Control { leg, control, reply }).await;
        match (done, self.0.end()) {
            (Some(Ok(())), _) => Ok(()),
            (_, Some(cause)) => Err(CallError::Ended(cause)),
            (done, None) => done.unwrap_or(Err(CallError::Stopped)),
        }
    }

    pub(super) fn gone(&self) -> CallError {
        self.0.end().map_or(CallError::Stopped, CallError::Ended)
    }
}
