//! Codecs by name: those that b2b may offer, and those that parties may be offered.

use b2b_config::section::Section;
use b2b_config::table::Named;

use super::ConfigError;

/// A codec by its encoding name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    Opus,
    G722,
    Pcmu,
    Pcma,
    G729,
    G726,
    Gsm,
    Amr,
    AmrWb,
    Ilbc,
    Speex,
}

impl Codec {
    /// The codecs that b2b can decode and encode, and may add to an offer.
    pub(super) const OWN: Named<Codec> = Named {
        refusal: "no such codec that b2b can encode; choose from",
        values: &[("opus", Codec::Opus), ("g722", Codec::G722), ("pcmu", Codec::Pcmu), ("pcma", Codec::Pcma)],
    };

    /// The names in the configuration: encoding names of SDP (RFC 3551 §6, RFC 4867, RFC 3952, RFC 5574), in
    /// lower case.
    pub(super) const NAMED: Named<Codec> = Named {
        refusal: "no such codec; choose from",
        values: &[
            ("opus", Codec::Opus),
            ("g722", Codec::G722),
            ("pcmu", Codec::Pcmu),
            ("pcma", Codec::Pcma),
            ("g729", Codec::G729),
            ("g726-32", Codec::G726),
            ("gsm", Codec::Gsm),
            ("amr", Codec::Amr),
            ("amr-wb", Codec::AmrWb),
            ("ilbc", Codec::Ilbc),
            ("speex", Codec::Speex),
        ],
    };

    /// The name in the configuration.
    pub fn as_str(self) -> &'static str {
        Self::NAMED.name(&self)
    }
}

/// The `codecs` of a party or a route, best first.
pub(super) fn codecs(section: &Section<'_>) -> Result<Vec<Codec>, ConfigError> {
    once_each(section, section.choices("codecs", &Codec::NAMED)?)
}

/// The same for the codecs that b2b adds.
pub(super) fn own(section: &Section<'_>) -> Result<Vec<Codec>, ConfigError> {
    once_each(section, section.choices("codecs", &Codec::OWN)?)
}

fn once_each(section: &Section<'_>, codecs: Vec<Codec>) -> Result<Vec<Codec>, ConfigError> {
    match codecs.iter().enumerate().find(|(index, codec)| codecs[..*index].contains(codec)) {
        Some((_, codec)) => {
            Err(section.bad("codecs", section.place("codecs"), codec.as_str(), "listed twice; keep one"))
        }
        None => Ok(codecs),
    }
}
