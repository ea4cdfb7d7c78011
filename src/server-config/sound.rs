//! The audio of a user or a gateway: codecs, digits, packet time, Opus parameters, and the handling of audio
//! before the answer.

use b2b_config::section::Section;
use b2b_config::table::Named;

use super::{ConfigError, codecs};

/// Audio settings beside `srtp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartySound {
    /// The codecs that may be offered to it, best first; empty: as the route says.
    pub codecs: Vec<&'static str>,
    /// How digits are sent to it and received from it.
    pub dtmf: Dtmf,
    /// The packet time that it is asked to send and is sent, ms; `None`: that of the other party.
    pub ptime: Option<u8>,
    /// Whether it may send FEC in Opus.
    pub opus_fec: bool,
    /// Maximum Opus bit rate to request of it, kbit/s; `None`: no limit.
    pub opus_kbps: Option<u16>,
    /// Whether comfort noise is offered and accepted.
    pub comfort_noise: bool,
    /// Whether the AVPF profile is offered.
    pub avpf: bool,
    /// The handling of its audio before it answers.
    pub early_media: EarlyMedia,
    /// Ringing after early media is not passed on.
    pub drops_ringing: bool,
}

impl Default for PartySound {
    fn default() -> Self {
        PartySound {
            codecs: Vec::new(),
            dtmf: Dtmf::default(),
            ptime: None,
            opus_fec: true,
            opus_kbps: None,
            comfort_noise: false,
            avpf: false,
            early_media: EarlyMedia::default(),
            drops_ringing: false,
        }
    }
}

/// The handling of a session description in a provisional response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EarlyMedia {
    /// The caller hears it.
    #[default]
    Pass,
    /// The caller only gets a ringing indication.
    Ringing,
    /// The caller gets nothing.
    Ignore,
}

/// As `progressinband` of Asterisk and `ignore_early_media` of FreeSWITCH.
pub(super) const EARLY_MEDIA: Named<EarlyMedia> = Named {
    refusal: "no such choice; choose",
    values: &[("pass", EarlyMedia::Pass), ("ringing", EarlyMedia::Ringing), ("ignore", EarlyMedia::Ignore)],
};

/// Whether ringing after early media is dropped.
pub(super) const RINGING_AFTER_EARLY: Named<bool> =
    Named { refusal: "no such choice; choose", values: &[("pass", false), ("drop", true)] };

/// Bit rates that may be requested of Opus, kbit/s (RFC 7587 §6.1).
pub(super) const OPUS_KBPS: [u64; 9] = [8, 12, 16, 24, 32, 48, 64, 96, 128];

/// Packet times, ms: those that every codec of b2b supports, and the further ones of G.711 and G.722.
pub(super) const PTIMES: [u64; 6] = [10, 20, 30, 40, 50, 60];

/// How digits are sent to a party and received from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dtmf {
    /// As telephone events (RFC 4733).
    #[default]
    Events,
    /// As tones in the audio.
    Inband,
    /// As events where it supports them, else as tones.
    Auto,
    /// As INFO.
    Info,
}

/// `rfc4733` is an alias of `events`, as in Asterisk's `dtmf_mode`.
pub(super) const DTMF: Named<Dtmf> = Named {
    refusal: "no such choice; choose",
    values: &[
        ("events", Dtmf::Events),
        ("rfc4733", Dtmf::Events),
        ("inband", Dtmf::Inband),
        ("info", Dtmf::Info),
        ("auto", Dtmf::Auto),
    ],
};

/// The values that require digit events from the media controller.
pub(super) const ASKING: [&str; 3] = ["inband", "info", "auto"];

/// Reads these keys of a party's table.
pub(super) fn of_party(section: &Section<'_>) -> Result<PartySound, ConfigError> {
    Ok(PartySound {
        codecs: codecs::codecs(section)?,
        dtmf: section.choice("dtmf", &DTMF)?,
        ptime: section.whole_if_set("ptime")?,
        opus_fec: section.switch("opus_fec")?,
        opus_kbps: section.whole_if_set("opus_kbps")?,
        comfort_noise: section.switch("comfort_noise")?,
        avpf: section.switch("avpf")?,
        early_media: section.choice("early_media", &EARLY_MEDIA)?,
        drops_ringing: section.choice("ringing_after_early", &RINGING_AFTER_EARLY)?,
    })
}
