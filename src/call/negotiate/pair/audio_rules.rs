//! How a party's audio is to be, beside its codecs, as the configuration has it.

use std::borrow::Cow;
use std::num::NonZeroU8;

use super::{Side, formats};
use b2b_media::codec::Codec;
use b2b_sdp::{Attribute, AudioMedia, Format};

/// What holds for one party, whoever it is joined with. A few octets: it goes about with verbs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct AudioRules {
    /// How digits go to it and come from it.
    pub digits: DtmfMode,
    /// The packet time that it is told, and that it gets in audio of our making where it names
    /// none itself, ms.
    pub ptime_ms: Option<NonZeroU8>,
    /// It is offered comfort noise (RFC 3389), and answered with it.
    pub comfort_noise: bool,
    /// What it is told of Opus that b2b decodes.
    pub opus: OpusRules,
    /// It is offered the profile with feedback (RFC 4585).
    pub avpf: bool,
}

/// What of Opus is welcome (RFC 7587 §6.1), in one octet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct OpusRules(u8);

impl OpusRules {
    /// No redundancy for lost packets.
    const NO_FEC: u8 = 0x80;
    /// kbit/s that the rest counts.
    const STEP: u16 = 4;

    /// Whether redundancy for lost packets is welcome; how many kbit/s there may be at most, down
    /// to a multiple of 4, of 508 at most.
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

/// Regular RTCP comes every four seconds, give or take half of that (§3.5.3), of every format.
const FEEDBACK: &str = "* trr-int 4000";

impl AudioRules {
    /// The parameters of a codec of ours, as this party is told them.
    pub(super) fn fmtp(&self, codec: Codec) -> Option<String> {
        if codec != Codec::Opus || self.opus == OpusRules::default() {
            return codec.fmtp().map(str::to_owned);
        }
        Some(self.opus.fmtp())
    }

    /// The packet time, ms.
    pub(super) fn ptime_ms(&self) -> Option<u32> {
        self.ptime_ms.map(|ms| ms.get().into())
    }

    /// Puts the parameters of codecs of ours into an answer of ours, where something is said of
    /// them.
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

    /// Adds comfort noise beside speech of its clock, where this party is to have it: to an offer,
    /// or to the answer to this one.
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

    /// Makes an offer of ours one of `RTP/AVPF` or `RTP/SAVPF` (RFC 4585 §4.1, RFC 5124), where this party is
    /// to have that. b2b asks for no feedback and acts on none, and says no more than how often its
    /// regular RTCP comes at most (§4.2, `trr-int`).
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

    /// Whether nothing is said.
    pub fn is_default(&self) -> bool {
        *self == AudioRules::default()
    }
}

/// How digits go to a party and come from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DtmfMode {
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

impl DtmfMode {
    /// Whether its party is told of events.
    pub fn has_events(self) -> bool {
        matches!(self, DtmfMode::Events | DtmfMode::Either)
    }

    /// Whether tones in its party's audio may be digits, and digits may go to it as tones.
    pub fn has_tones(self) -> bool {
        matches!(self, DtmfMode::Tones | DtmfMode::Either)
    }
}

impl Side {
    /// The same with these rules.
    pub fn with_audio(mut self, rules: AudioRules) -> Self {
        self.audio = rules;
        self.takes_info |= rules.digits == DtmfMode::Info;
        self
    }

    /// Whether tones in its party's audio are digits now: not where it may send events instead.
    pub fn hears_tones(&self) -> bool {
        self.tones && self.settled().is_none_or(|leg| leg.tones)
    }

    /// The same, where it was told this and has said that.
    pub(super) fn tones_of(&self, told: &AudioMedia, own: &AudioMedia) -> bool {
        let has = |audio: &AudioMedia| audio.formats.iter().any(Format::is_telephone_event);
        self.tones && !(self.audio.digits == DtmfMode::Either && has(told) && has(own))
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
