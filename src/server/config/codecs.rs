//! Codecs by name: what b2b may offer, and what parties may be offered.

use b2b_config::section::Section;
use b2b_config::table::Named;

use super::ConfigError;

/// A codec that b2b can put into an offer by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    Opus,
    G722,
    Pcmu,
    Pcma,
}

impl Codec {
    /// As the configuration writes them.
    pub(super) const NAMED: Named<Codec> = Named {
        refusal: "no such codec; choose from",
        values: &[("opus", Codec::Opus), ("g722", Codec::G722), ("pcmu", Codec::Pcmu), ("pcma", Codec::Pcma)],
    };

    /// As the configuration writes it.
    pub fn as_str(self) -> &'static str {
        Self::NAMED.name(&self)
    }
}

/// A table's `codecs`, best first.
pub(super) fn codecs(section: &Section<'_>) -> Result<Vec<Codec>, ConfigError> {
    let codecs = section.choices("codecs", &Codec::NAMED)?;
    match codecs.iter().enumerate().find(|(index, codec)| codecs[..*index].contains(codec)) {
        Some((_, codec)) => {
            Err(section.bad("codecs", section.place("codecs"), codec.as_str(), "listed twice; keep one"))
        }
        None => Ok(codecs),
    }
}
