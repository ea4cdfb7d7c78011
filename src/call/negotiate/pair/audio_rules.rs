//! The configured rules for a party's audio, beside its codecs.

use std::borrow::Cow;
use std::num::NonZeroU8;

use super::{Side, formats};
use b2b_media::codec::Codec;
use b2b_sdp::{Attribute, AudioMedia, Format};

/// The rules for one party, whatever it is joined with. A few bytes, since they are copied with media
/// requests.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct AudioRules {
    /// How digits are sent to it and received from it.
    pub digits: DtmfMode,
    /// The packet time in our descriptions for it, in ms; also that of the audio we make for it if it
    /// requests none.
    pub ptime_ms: Option<NonZeroU8>,
    /// Comfort noise (RFC 3389) is offered and answered.
    pub comfort_noise: bool,
    /// What is declared for Opus that b2b decodes.
    pub opus: OpusRules,
    /// The profile with feedback (RFC 4585) is offered.
    pub avpf: bool,
}

/// The accepted Opus parameters (RFC 7587 §6.1), in one byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OpusRules(u8);

impl OpusRules {
    /// No forward error correction.
    const NO_FEC: u8 = 0x80;
    /// Unit of the bit rate in the other bits, in kbit/s.
    const STEP: u16 = 4;

    /// Whether forward error correction is accepted, and the maximum bit rate in kbit/s, rounded down to a
    /// multiple of 4 and limited to 508.
    pub fn new(fec: bool, kbps: Option<u16>) -> Self {
        let steps = kbps.map_or(0, |kbps| (kbps / OpusRules::STEP).clamp(1, 127)) as u8;
        OpusRules(steps | if fec { 0 } else { OpusRules::NO_FEC })
    }

    fn fmtp(self) -> String {
        let fec = u8::from(self.0 & OpusRules::NO_FEC == 0);
        match u16::from(self.0 & !OpusRules::NO_FEC) * OpusRules::STEP {
            0 => format!("useinbandfec={fec}"),
            kbps => format!("maxaveragebitrate={kbps}000;useinbandfec={fec}"),
        }
    }
}

/// The static payload type of CN (RFC 3389 §4).
const NOISE: u8 = 13;

/// Regular RTCP is sent every four seconds, give or take half of that (§3.5.3), for every format.
const FEEDBACK: &str = "* trr-int 4000";

impl AudioRules {
    /// The parameters of a codec of ours as declared to this party.
    pub(super) fn fmtp(&self, codec: Codec) -> Option<String> {
        if codec != Codec::Opus || self.opus == OpusRules::default() {
            return codec.fmtp().map(str::to_owned);
        }
        Some(self.opus.fmtp())
    }

    /// The packet time, in ms.
    pub(super) fn ptime_ms(&self) -> Option<u32> {
        self.ptime_ms.map(|ms| ms.get().into())
    }

    /// Sets the parameters of our codecs in an answer of ours, if rules are configured for them.
    pub(super) fn rewrite_fmtp(&self, formats: &mut [Format]) {
        if self.opus == OpusRules::default() {
            return;
        }
        for format in formats {
            if let Some(codec) = formats::codec(format) {
                format.fmtp = self.fmtp(codec);
            }
        }
    }

    /// Adds comfort noise beside speech of the same clock rate, if the rules want it: to an offer, or to the
    /// answer to `offered`.
    pub(super) fn add_noise(&self, formats: &mut Vec<Format>, offered: Option<&AudioMedia>) {
        if !self.comfort_noise || formats.iter().any(formats::is_noise) {
            return;
        }
        let noise = match offered {
            Some(offer) => offer.formats.iter().find(|format| formats::is_noise(format)).cloned(),
            None => Format::from_static(NOISE),
        };
        let beside = |noise: &Format| {
            let clock = |format: &Format| formats::is_speech(format) && format.clock_rate == noise.clock_rate;
            formats.iter().any(clock) && !formats.iter().any(|it| it.payload_type == noise.payload_type)
        };
        formats.extend(noise.filter(beside));
    }

    /// Makes an offer of ours `RTP/AVPF` or `RTP/SAVPF` (RFC 4585 §4.1, RFC 5124), if the rules want it. b2b
    /// requests no feedback and acts on none; it only declares the minimum interval of its regular RTCP
    /// (§4.2, `trr-int`).
    pub(super) fn with_feedback<'a>(&self, audio: Cow<'a, AudioMedia>) -> Cow<'a, AudioMedia> {
        let profile = match &*audio.protocol {
            "RTP/AVP" => "RTP/AVPF",
            "RTP/SAVP" => "RTP/SAVPF",
            _ => return audio,
        };
        if !self.avpf {
            return audio;
        }
        let mut audio = audio.into_owned();
        audio.protocol = profile.to_owned();
        audio.others.push(Attribute { attribute: "rtcp-fb".to_owned(), value: Some(FEEDBACK.to_owned()) });
        Cow::Owned(audio)
    }

    /// Whether the rules are the default ones.
    pub fn is_default(&self) -> bool {
        *self == AudioRules::default()
    }
}

/// How digits are sent to a party and received from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DtmfMode {
    /// As telephone events (RFC 4733), and by INFO if the party has none.
    #[default]
    Events,
    /// As tones in the audio (ITU-T Q.23). No events are offered or sent.
    Tones,
    /// As events if the party takes them, otherwise as tones.
    Either,
    /// By INFO. No events are offered or sent.
    Info,
}

impl DtmfMode {
    /// Whether events are offered to the party.
    pub fn has_events(self) -> bool {
        matches!(self, DtmfMode::Events | DtmfMode::Either)
    }

    /// Whether tones in the party's audio may be digits, and digits may be sent to it as tones.
    pub fn has_tones(self) -> bool {
        matches!(self, DtmfMode::Tones | DtmfMode::Either)
    }
}

impl Side {
    /// Sets these rules.
    pub fn with_audio(mut self, rules: AudioRules) -> Self {
        self.audio = rules;
        self.set_tones(None);
        self.takes_info |= rules.digits == DtmfMode::Info;
        self
    }

    /// Whether tones in the party's audio count as digits now: not if it may send events instead.
    pub fn hears_tones(&self) -> bool {
        self.tones && self.settled().is_none_or(|leg| leg.tones)
    }

    /// The same for these descriptions, sent and received.
    pub(super) fn tones_of(&self, told: &AudioMedia, own: &AudioMedia) -> bool {
        let has = |audio: &AudioMedia| audio.formats.iter().any(Format::is_telephone_event);
        self.tones && !(self.audio.digits == DtmfMode::Either && has(told) && has(own))
    }

    /// Removes events if they are not offered to this party.
    pub(super) fn without_events(&self, formats: &mut Vec<Format>) {
        if !self.audio.digits.has_events() {
            formats.retain(|format| !format.is_telephone_event());
        }
    }

    /// Whether a party joined with this one may send events, whatever this one takes itself: they are
    /// converted for it, or its digits are converted to events.
    pub(super) fn turns_digits(&self) -> bool {
        self.tones || self.takes_info
    }
}
