//! Audio codecs: samples at a rate of the user's to RTP payloads and back.
//!
//! - `decoder`, `encoder`: the state of one direction; shared by sinks, sources and transcoding
//! - `g711`: µ-law and A-law (ITU-T G.711)
//! - `opus_packet`: how long an Opus packet is, without decoding it
//! - `rates`: between sampling rates

mod decoder;
mod encoder;
pub mod g711;
pub mod opus_packet;
pub mod rates;
#[cfg(test)]
mod tests;

pub use decoder::{Decoder, Undecodable};
pub use encoder::{Encoder, OpusTuning};
pub use g711::Law;

use std::fmt;
use std::str::FromStr;

use b2b_base::metrics::quality::Curve;

/// Octets of the longest payload that we make: 60 ms of G.711 or G.722. Opus stays below it.
pub const MAX_PAYLOAD: usize = 480;
/// The longest packet that is decoded, ms: what Opus can have at most.
pub const LONGEST_MS: u32 = 120;

/// What can be decoded and encoded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722 at 64 kbit/s.
    G722,
    /// Opus (RFC 6716, RFC 7587), one channel.
    Opus,
}

/// Why a codec name was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown codec {0:?}; use opus, g722, pcmu or pcma")]
pub struct UnknownCodec(pub String);

impl Codec {
    /// Every codec, best first.
    pub const ALL: [Codec; 4] = [Codec::Opus, Codec::G722, Codec::Pcmu, Codec::Pcma];

    /// The encoding name of the rtpmap attribute (RFC 3551 §6, RFC 7587 §7).
    pub const fn name(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
            Codec::G722 => "G722",
            Codec::Opus => "opus",
        }
    }

    /// The static payload type (RFC 3551 table 4), if it has one.
    pub const fn static_payload_type(self) -> Option<u8> {
        match self {
            Codec::Pcmu => Some(0),
            Codec::Pcma => Some(8),
            Codec::G722 => Some(9),
            Codec::Opus => None,
        }
    }

    /// The static payload type, or the dynamic one that we propose.
    pub const fn payload_type(self) -> u8 {
        match self.static_payload_type() {
            Some(payload_type) => payload_type,
            None => 111,
        }
    }

    /// RTP ticks a second. G.722 counts as if it had 8,000 samples (RFC 3551 §4.5.2).
    pub const fn clock_rate(self) -> u32 {
        match self {
            Codec::Opus => 48_000,
            _ => 8_000,
        }
    }

    /// Channels in the rtpmap attribute: Opus always says two (RFC 7587 §7).
    pub const fn channels(self) -> u8 {
        match self {
            Codec::Opus => 2,
            _ => 1,
        }
    }

    /// What we say of ourselves in the fmtp attribute: redundancy for lost packets is welcome
    /// (RFC 7587 §6.1).
    pub const fn fmtp(self) -> Option<&'static str> {
        match self {
            Codec::Opus => Some("useinbandfec=1"),
            _ => None,
        }
    }

    /// Samples a second that are worth having of it. Opus gives any rate that we use.
    pub const fn native_rate_hz(self) -> u32 {
        match self {
            Codec::Pcmu | Codec::Pcma => 8_000,
            Codec::G722 | Codec::Opus => 16_000,
        }
    }

    /// Which law of G.711 it is.
    pub const fn law(self) -> Option<Law> {
        match self {
            Codec::Pcmu => Some(Law::Mu),
            Codec::Pcma => Some(Law::A),
            Codec::G722 | Codec::Opus => None,
        }
    }

    /// What loss does to its quality. Opus at 8 kHz counts as wide band, too: what comes says
    /// nothing of its bandwidth before it is decoded.
    pub const fn curve(self) -> Curve {
        match self {
            Codec::Pcmu | Codec::Pcma => Curve::G711,
            Codec::G722 => Curve::G722,
            Codec::Opus => Curve::OPUS,
        }
    }

    /// The packet time next to `wanted_ms` that it can have, at most 60 ms.
    pub fn ptime_ms(self, wanted_ms: u32) -> u32 {
        match (self, wanted_ms) {
            (Codec::Opus, 10 | 20 | 40 | 60) => wanted_ms,
            (Codec::Opus, _) => 20,
            (_, wanted_ms) => (wanted_ms / 10 * 10).clamp(10, 60),
        }
    }

    /// How many samples at this rate a payload holds; `None` if it cannot be one, or holds
    /// more than [`LONGEST_MS`].
    pub fn samples(self, payload: &[u8], rate_hz: u32) -> Option<usize> {
        match self {
            Codec::Opus => opus_packet::samples(payload, rate_hz),
            // An octet is 125 us of sound in all of them.
            _ => {
                let samples = payload.len() * rate_hz as usize / 8_000;
                (samples <= (rate_hz * LONGEST_MS / 1_000) as usize).then_some(samples)
            }
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Codec {
    type Err = UnknownCodec;

    /// Reads an encoding name; case does not matter (RFC 8866 §6.6).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Codec::ALL
            .into_iter()
            .find(|codec| codec.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownCodec(text.to_string()))
    }
}
