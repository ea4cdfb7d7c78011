//! The audio codecs that b2b encodes and decodes; the configuration takes their names from here.

use std::fmt;
use std::str::FromStr;

use crate::metrics::quality::Curve;

/// Maximum length of a decoded packet, ms: the longest that Opus allows.
pub const LONGEST_MS: u32 = 120;

/// A codec that b2b encodes and decodes.
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

    /// The name in configurations and flags: the encoding name in lower case.
    pub const fn key(self) -> &'static str {
        match self {
            Codec::Pcmu => "pcmu",
            Codec::Pcma => "pcma",
            Codec::G722 => "g722",
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

    /// Whether it is G.711.
    pub const fn is_g711(self) -> bool {
        matches!(self, Codec::Pcmu | Codec::Pcma)
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
