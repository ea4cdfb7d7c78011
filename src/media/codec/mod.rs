//! Audio codecs: samples at any supported rate to RTP payloads and back.
//!
//! - `decoder`, `encoder`: the state of one direction; shared by sinks, sources and transcoding
//! - `g711`: µ-law and A-law (ITU-T G.711)
//! - `opus_packet`: the length of an Opus packet, without decoding it
//! - `rates`: conversion between sampling rates

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

/// Maximum octets of a payload that we encode: 60 ms of G.711 or G.722. Opus stays below it.
pub const MAX_PAYLOAD: usize = 480;
/// Maximum length of a decoded packet, ms: the longest that Opus allows.
pub const LONGEST_MS: u32 = 120;

/// The supported codecs.
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

    /// The static payload type, or the dynamic one that we offer.
    pub const fn payload_type(self) -> u8 {
        match self.static_payload_type() {
            Some(payload_type) => payload_type,
            None => 111,
        }
    }

    /// RTP clock rate, Hz. G.722 counts as if it had 8,000 samples a second (RFC 3551 §4.5.2).
    pub const fn clock_rate(self) -> u32 {
        match self {
            Codec::Opus => 48_000,
            _ => 8_000,
        }
    }

    /// Channels in the rtpmap attribute: always two for Opus (RFC 7587 §7).
    pub const fn channels(self) -> u8 {
        match self {
            Codec::Opus => 2,
            _ => 1,
        }
    }

    /// Our fmtp attribute: we accept redundancy for lost packets (RFC 7587 §6.1).
    pub const fn fmtp(self) -> Option<&'static str> {
        match self {
            Codec::Opus => Some("useinbandfec=1"),
            _ => None,
        }
    }

    /// The highest useful sampling rate, Hz. Opus supports any rate that we use.
    pub const fn native_rate_hz(self) -> u32 {
        match self {
            Codec::Pcmu | Codec::Pcma => 8_000,
            Codec::G722 | Codec::Opus => 16_000,
        }
    }

    /// The G.711 law, if it is G.711.
    pub const fn law(self) -> Option<Law> {
        match self {
            Codec::Pcmu => Some(Law::Mu),
            Codec::Pcma => Some(Law::A),
            Codec::G722 | Codec::Opus => None,
        }
    }

    /// The effect of loss on its quality. Opus at 8 kHz counts as wideband, too: a packet does not
    /// tell its bandwidth before it is decoded.
    pub const fn curve(self) -> Curve {
        match self {
            Codec::Pcmu | Codec::Pcma => Curve::G711,
            Codec::G722 => Curve::G722,
            Codec::Opus => Curve::OPUS,
        }
    }

    /// The packet time for `wanted_ms`: rounded down to 10 ms, from 10 to 60 ms; for Opus `wanted_ms` if
    /// supported, otherwise 20 ms.
    pub fn ptime_ms(self, wanted_ms: u32) -> u32 {
        match (self, wanted_ms) {
            (Codec::Opus, 10 | 20 | 40 | 60) => wanted_ms,
            (Codec::Opus, _) => 20,
            (_, wanted_ms) => (wanted_ms / 10 * 10).clamp(10, 60),
        }
    }

    /// A payload in parts of at most [`LONGEST_MS`], since some senders put more into a packet; one of Opus is whole.
    pub fn parts(self, payload: &[u8]) -> std::slice::Chunks<'_, u8> {
        let most = if self == Codec::Opus { payload.len().max(1) } else { 8 * LONGEST_MS as usize };
        payload.chunks(most)
    }

    /// The number of samples at this rate in a payload; `None` if it is invalid, or longer than
    /// [`LONGEST_MS`].
    pub fn samples(self, payload: &[u8], rate_hz: u32) -> Option<usize> {
        match self {
            Codec::Opus => opus_packet::samples(payload, rate_hz),
            // An octet is 125 us of audio in all of them.
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

    /// Parses an encoding name, ignoring case (RFC 8866 §6.6).
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Codec::ALL
            .into_iter()
            .find(|codec| codec.name().eq_ignore_ascii_case(text))
            .ok_or_else(|| UnknownCodec(text.to_string()))
    }
}
