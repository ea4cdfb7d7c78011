//! Audio codecs: linear samples at 8 kHz to RTP payload bytes and back.
//!
//! - `g711`: µ-law and A-law (ITU-T G.711)

pub mod g711;

use std::fmt;
use std::str::FromStr;

/// A codec with a static payload type (RFC 3551 §6). One byte of payload is one
/// sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
}

/// Why a codec name was refused.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown codec {0:?}; use pcmu or pcma")]
pub struct UnknownCodec(pub String);

impl Codec {
    /// Every codec, in the order in which we offer them.
    pub const ALL: [Codec; 2] = [Codec::Pcmu, Codec::Pcma];

    /// The encoding name of the rtpmap attribute (RFC 3551 §6).
    pub const fn name(self) -> &'static str {
        match self {
            Codec::Pcmu => "PCMU",
            Codec::Pcma => "PCMA",
        }
    }

    /// The static payload type (RFC 3551 table 4).
    pub const fn payload_type(self) -> u8 {
        match self {
            Codec::Pcmu => 0,
            Codec::Pcma => 8,
        }
    }

    /// RTP ticks a second.
    pub const fn clock_rate(self) -> u32 {
        8_000
    }

    /// The codec of a static payload type.
    pub const fn from_payload_type(payload_type: u8) -> Option<Codec> {
        match payload_type {
            0 => Some(Codec::Pcmu),
            8 => Some(Codec::Pcma),
            _ => None,
        }
    }

    /// Encodes as many samples as both slices hold, and says how many.
    pub fn encode(self, samples: &[i16], payload: &mut [u8]) -> usize {
        let pairs = payload.iter_mut().zip(samples);
        match self {
            Codec::Pcmu => pairs.for_each(|(byte, &sample)| *byte = g711::ulaw_encode(sample)),
            Codec::Pcma => pairs.for_each(|(byte, &sample)| *byte = g711::alaw_encode(sample)),
        }
        samples.len().min(payload.len())
    }

    /// Decodes as many bytes as both slices hold, and says how many.
    pub fn decode(self, payload: &[u8], samples: &mut [i16]) -> usize {
        let pairs = samples.iter_mut().zip(payload);
        match self {
            Codec::Pcmu => pairs.for_each(|(sample, &byte)| *sample = g711::ulaw_decode(byte)),
            Codec::Pcma => pairs.for_each(|(sample, &byte)| *sample = g711::alaw_decode(byte)),
        }
        samples.len().min(payload.len())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_and_payload_type_lead_back_to_the_codec() {
        for codec in Codec::ALL {
            assert_eq!(codec.name().to_lowercase().parse(), Ok(codec));
            assert_eq!(Codec::from_payload_type(codec.payload_type()), Some(codec));
        }
        assert_eq!("opus".parse::<Codec>(), Err(UnknownCodec("opus".into())));
        assert_eq!(Codec::from_payload_type(101), None);
    }

    #[test]
    fn stops_at_the_shorter_slice() {
        let mut payload = [0xAAu8; 4];
        assert_eq!(Codec::Pcmu.encode(&[0, 0], &mut payload), 2);
        assert_eq!(payload, [0xFF, 0xFF, 0xAA, 0xAA]);
        let mut samples = [7i16; 3];
        assert_eq!(Codec::Pcma.decode(&[0xD5; 2], &mut samples), 2);
        assert_eq!(samples, [8, 8, 7]);
        assert_eq!(Codec::Pcma.decode(&[], &mut samples), 0);
    }
}
