//! How the audio of a party is to be, who is a user or a gateway: its codecs, digits, packet time, what it
//! is told of Opus, and what becomes of it before the answer.

use b2b_config::section::Section;
use b2b_config::table::Named;

use super::{Codec, ConfigError, codecs};

/// Beside `srtp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartySound {
    /// What may be offered to it, best first; empty: as the route says.
    pub codecs: Vec<Codec>,
    /// How digits go to it and come from it.
    pub dtmf: Dtmf,
    /// The packet time that it is asked for and gets, ms; none: as the other party has it.
    pub ptime: Option<u8>,
    /// It may send redundancy in Opus.
    pub opus_fec: bool,
    /// Kbit/s of its Opus at most; none: as it likes.
    pub opus_kbps: Option<u16>,
    /// It is offered and answered comfort noise.
    pub comfort_noise: bool,
    /// It is offered the profile with feedback.
    pub avpf: bool,
    /// What becomes of its audio before it answers.
    pub early_media: EarlyMedia,
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
        }
    }
}

/// What becomes of a session in a provisional response.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EarlyMedia {
    /// The caller hears it.
    #[default]
    Pass,
    /// The caller is told that it rings.
    Ringing,
    /// The caller is told nothing.
    Ignore,
}

/// Asterisk and FreeSWITCH: `progressinband`, `ignore_early_media`.
pub(super) const EARLY_MEDIA: Named<EarlyMedia> = Named {
    refusal: "no such choice; choose",
    values: &[("pass", EarlyMedia::Pass), ("ringing", EarlyMedia::Ringing), ("ignore", EarlyMedia::Ignore)],
};

/// What Opus may be asked for, kbit/s (RFC 7587 §6.1).
pub(super) const OPUS_KBPS: [u64; 9] = [8, 12, 16, 24, 32, 48, 64, 96, 128];

/// Packet times that every codec of b2b's can have, and those of G.711 and G.722, ms.
pub(super) const PTIMES: [u64; 6] = [10, 20, 30, 40, 50, 60];

/// How digits go to a party and come from it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Dtmf {
    /// As telephone events (RFC 4733).
    #[default]
    Events,
    /// As tones in the audio.
    Inband,
    /// As events where it takes them, else as tones.
    Auto,
    /// As INFO.
    Info,
}

/// `events` is `rfc4733`, as Asterisk's `dtmf_mode` has it.
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

/// Those that need events told by the media controller.
pub(super) const ASKING: [&str; 3] = ["inband", "info", "auto"];

/// Of a table with these keys.
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
    })
}
