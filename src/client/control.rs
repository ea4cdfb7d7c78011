//! Operations on an answered call: hold, digits, volume, codecs.

use std::sync::PoisonError;

use super::driver::{Command, Control};
use super::{Call, CallError, Codec, DtmfMode, Sound};
use b2b_call::agent::Change;

/// Digits that wait at most.
const DIGITS: usize = 64;

impl Call {
    /// Holds the far end: it hears what this call plays and what the program writes, but no
    /// microphone, file or other source, from now on; what it says goes to no loudspeaker or other
    /// sink. Waits until it has agreed (RFC 3264 §8.4). In a conference it is out until
    /// [`Call::resume`]. Devices are closed when no call has needed them for two seconds.
    ///
    /// # Errors
    /// The call is not answered, or is over, or the far end refuses.
    pub async fn hold(&self) -> Result<(), CallError> {
        self.change(Change::Hold, Vec::new()).await
    }

    /// Holds the far end, and plays this to it in place of what is played: music, or
    /// `Sound::silence`. [`Call::resume`] ends the sound.
    ///
    /// # Errors
    /// As for [`Call::hold`], or the sound cannot be played.
    pub async fn hold_with(&self, sound: Sound) -> Result<(), CallError> {
        self.hold().await?;
        let playing = self.play(sound).await?;
        // The one before, if it is held already, is replaced by this one.
        self.0.hold_sound.lock().unwrap_or_else(PoisonError::into_inner).replace(playing);
        Ok(())
    }

    /// Takes the far end back.
    ///
    /// # Errors
    /// As for [`Call::hold`].
    pub async fn resume(&self) -> Result<(), CallError> {
        self.change(Change::Resume, Vec::new()).await?;
        let playing = self.0.hold_sound.lock().unwrap_or_else(PoisonError::into_inner).take();
        playing.iter().for_each(super::Playback::stop);
        Ok(())
    }

    /// Offers these codecs, in this order, from now on, and waits until the far end has chosen;
    /// [`Call::agreed`] says which. The sound of the call keeps its rate.
    ///
    /// # Errors
    /// As for [`Call::hold`], or there is none to offer.
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

    /// Sends digits (`0-9 * # A-D`), one after the other behind those that wait; `None`: as the
    /// builder says. What is played or said meanwhile gives way to them, but by INFO. It does
    /// not wait until they are sent.
    ///
    /// # Errors
    /// That cannot be sent, or the call is not answered.
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

    /// Sends silence in place of everything that is said or played, or no longer. Digits are
    /// sent all the same. In a conference with devices the microphone is silent for all while one
    /// of its calls is muted.
    ///
    /// # Errors
    /// The call is over, or has no media yet.
    pub async fn mute(&self, muted: bool) -> Result<(), CallError> {
        self.control(Control::Mute(muted)).await
    }

    /// Multiplies what is heard of the far end: 1.0 as it is, 0.5 half as loud (-6 dB). What gets
    /// louder than full scale stays there.
    ///
    /// # Errors
    /// As for [`Call::mute`], or the factor is negative or no number.
    pub async fn set_volume_in(&self, factor: f32) -> Result<(), CallError> {
        self.control(Control::Volume { sent: None, heard: Some(factor) }).await
    }

    /// Multiplies what the far end hears, as [`Call::set_volume_in`].
    ///
    /// # Errors
    /// The same.
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
