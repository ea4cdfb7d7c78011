//! Transcodes the audio of one leg for another: decoded on arrival, encoded as soon as a packet is
//! full.
//!
//! - `codec`: the decoders of one direction
//! - `early`: packets that wait for an earlier one
//! - `stream`: packets in, packets out, on the other leg's timeline
//! - `event`: `telephone-event` in addition to transcoded audio
//!
//! There is no jitter buffer here, as the far end has one. What arrives in order leaves at once. Only
//! behind a missing packet the next one waits for it, and more of them after packets were later than that; then the missing one is
//! recovered from what Opus carries of it, or concealed, and dropped if it arrives later. Opus is decoded
//! and encoded at the other side's rate, so that only PCM and G.722 need a resampler.

mod codec;
mod early;
mod event;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use stream::tuning;
pub use stream::{Heard, Transcoder};

use super::codec::Codec;
use super::remote::{MOST_EVENTS, MOST_FORMATS, SendFormat};

/// `telephone-event` in addition to transcoded audio: payload types and clock rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events {
    pub from: [Option<(u8, u32)>; MOST_EVENTS],
    pub to: (u8, u32),
}

/// How one direction between legs without a common codec is transcoded, as plain data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// Received codecs, by payload type.
    pub from: [Option<(u8, Codec)>; MOST_FORMATS],
    pub to: SendFormat,
    pub events: Option<Events>,
    /// Whether DTMF tones are removed, which delays the audio by 60 ms.
    pub cuts_tones: bool,
}

impl Plan {
    /// The codec of a payload type.
    pub fn codec(&self, payload_type: u8) -> Option<Codec> {
        self.from.iter().flatten().find(|from| from.0 == payload_type).map(|from| from.1)
    }

    /// The clock rate of a `telephone-event` payload type.
    pub fn event_rate(&self, payload_type: u8) -> Option<u32> {
        let events = self.events.as_ref()?;
        events.from.iter().flatten().find(|from| from.0 == payload_type).map(|from| from.1)
    }

    /// The sampling rate between decoder and encoder: no higher than either side's useful rate.
    fn rate_hz(&self) -> u32 {
        let from = self.from.iter().flatten().map(|from| from.1.native_rate_hz()).max().unwrap_or(8_000);
        match self.to.codec {
            Codec::Opus => from,
            to => to.native_rate_hz(),
        }
    }
}

/// Counters of a transcoder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TranscodeStats {
    /// Packets decoded.
    pub decoded: u64,
    /// Packets encoded.
    pub encoded: u64,
    /// Audio concealed, ms.
    pub concealed_ms: u64,
}

impl TranscodeStats {
    /// The sum of both.
    pub fn plus(&self, other: &TranscodeStats) -> TranscodeStats {
        TranscodeStats {
            decoded: self.decoded + other.decoded,
            encoded: self.encoded + other.encoded,
            concealed_ms: self.concealed_ms + other.concealed_ms,
        }
    }
}
