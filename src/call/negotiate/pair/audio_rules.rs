//! How a party's audio is to be, beside its codecs, as the configuration has it.

use super::Side;
use b2b_sdp::{AudioMedia, Format};

/// What holds for one party, whoever it is joined with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct AudioRules {
    /// How digits go to it and come from it.
    pub digits: Digits,
}

impl AudioRules {
    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == AudioRules::default()
    }
}

/// How digits go to a party and come from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Digits {
    /// As telephone events (RFC 4733), and INFO where it has none.
    #[default]
    Events,
    /// As tones in the audio (ITU-T Q.23). It is offered no events, and gets none.
    Tones,
    /// As events where it takes them, else as tones.
    Either,
    /// As INFO. It is offered no events, and gets none.
    Info,
}

impl Digits {
    /// Whether its party is told of events.
    pub fn has_events(self) -> bool {
        matches!(self, Digits::Events | Digits::Either)
    }

    /// Whether tones in its party's audio may be digits, and digits may go to it as tones.
    pub fn has_tones(self) -> bool {
        matches!(self, Digits::Tones | Digits::Either)
    }
}

impl Side {
    /// The same with these rules.
    pub fn with_audio(mut self, rules: AudioRules) -> Self {
        self.audio = rules;
        self.takes_info |= rules.digits == Digits::Info;
        self
    }

    /// Whether tones in its party's audio are digits now: not where it may send events instead.
    pub fn hears_tones(&self) -> bool {
        self.tones && self.settled().is_none_or(|leg| leg.tones)
    }

    /// The same, where it was told this and has said that.
    pub(super) fn tones_of(&self, told: &AudioMedia, own: &AudioMedia) -> bool {
        let has = |audio: &AudioMedia| audio.formats.iter().any(Format::is_telephone_event);
        self.tones && !(self.audio.digits == Digits::Either && has(told) && has(own))
    }

    /// Leaves events out that this party is not to be told of.
    pub(super) fn without_events(&self, formats: &mut Vec<Format>) {
        if !self.audio.digits.has_events() {
            formats.retain(|format| !format.is_telephone_event());
        }
    }

    /// Whether who is joined with it may send events, whatever it takes itself: they become
    /// something else for it, or what it sends becomes events.
    pub(super) fn turns_digits(&self) -> bool {
        self.tones || self.takes_info
    }
}
