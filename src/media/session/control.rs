//! What may be asked of a session in mid-call, beside what offer and answer settle.

use super::{Adapt, DigitMode};
use super::{Levels, Session};
use crate::conference::Participant;

impl Session {
    /// Sends a digit (`0-9 * # A-D`) behind those that wait. One that cannot be sent (nothing
    /// is sent now, too many wait) is counted and lost.
    pub fn digit(&mut self, digit: char, duration_ms: u32, mode: DigitMode) {
        if self.sender.sends() {
            self.sender.digits.push(digit, duration_ms, mode);
        } else {
            self.sender.digits.refused += 1;
        }
    }

    /// Sends silence instead of what the source gives; digits are sent all the same.
    pub fn mute(&mut self, muted: bool) {
        self.sender.muted = muted;
    }

    /// Multiplies what the source gives, and what is played; `None`: as before. Beyond full
    /// scale it stays at the rail. Digits of ours keep their level, and those of the far end's
    /// are looked for at theirs.
    pub fn volume(&mut self, sent: Option<f32>, heard: Option<f32>) {
        self.sender.gain = sent.unwrap_or(self.sender.gain);
        self.playout.gain = heard.unwrap_or(self.playout.gain);
    }

    /// A place in a conference of sessions of this rate and thread; `None`: none any more. The
    /// one before is dropped here.
    pub fn participant(&mut self, participant: Option<Box<Participant>>) {
        self.sender.participant = participant;
    }

    /// How robust Opus is sent from now on.
    pub fn adapt(&mut self, adapt: Adapt) {
        self.sender.adapt(adapt);
    }

    /// How loud both directions are.
    pub fn levels(&self) -> Levels {
        Levels { sent: self.sender.meter.level, heard: self.playout.heard.level }
    }
}
