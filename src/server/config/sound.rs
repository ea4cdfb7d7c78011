//! How the audio of a gateway is to be: its digits.

use b2b_config::section::Section;
use b2b_config::table::Named;

use super::ConfigError;

/// Beside `codecs` and `srtp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewaySound {
    /// How digits go to it and come from it.
    pub dtmf: Dtmf,
}

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

/// Of a gateway's table.
pub(super) fn of_gateway(section: &Section<'_>) -> Result<GatewaySound, ConfigError> {
    Ok(GatewaySound { dtmf: section.choice("dtmf", &DTMF)? })
}
