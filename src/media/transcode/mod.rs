//! Audio of one leg into what another leg can hear: decoded when it comes, encoded as
//! soon as a packet is full.
//!
//! - `codec`: the decoders of one direction
//! - `stream`: packets in, packets out, on the other leg's timeline
//! - `event`: `telephone-event` beside transcoded audio
//!
//! Nothing is held back: there is no jitter buffer here, the far end has one. What did
//! not come is concealed when the next packet shows it; what comes later than that is
//! dropped. Opus is decoded and encoded at the other side's rate, so that only PCM and
//! G.722 meet at a rate converter.

mod codec;
mod event;
mod stream;
#[cfg(test)]
mod tests;

pub(crate) use stream::tuning;
pub use stream::{Heard, Transcoder};

use super::codec::Codec;
use super::remote::{MOST_EVENTS, MOST_FORMATS, SendFormat};

/// `telephone-event` beside transcoded audio: payload types and clock rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events {
    pub from: [Option<(u8, u32)>; MOST_EVENTS],
    pub to: (u8, u32),
}

/// What becomes of a direction whose legs share no codec: plain data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// What comes in, by payload type.
    pub from: [Option<(u8, Codec)>; MOST_FORMATS],
    pub to: SendFormat,
    pub events: Option<Events>,
    /// Tones of digits are taken out, and sound is 60 ms later for it.
    pub cuts_tones: bool,
}

impl Plan {
    /// What a payload type is.
    pub fn codec(&self, payload_type: u8) -> Option<Codec> {
        self.from.iter().flatten().find(|from| from.0 == payload_type).map(|from| from.1)
    }

    /// The clock rate of a payload type that is `telephone-event`.
    pub fn event_rate(&self, payload_type: u8) -> Option<u32> {
        let events = self.events.as_ref()?;
        events.from.iter().flatten().find(|from| from.0 == payload_type).map(|from| from.1)
    }

    /// The rate at which samples pass from decoder to encoder: no more than the better of
    /// the two sides has.
    fn rate_hz(&self) -> u32 {
        let from = self.from.iter().flatten().map(|from| from.1.native_rate_hz()).max().unwrap_or(8_000);
        match self.to.codec {
            Codec::Opus => from,
            to => to.native_rate_hz(),
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct TranscodeStats {
    /// Packets decoded.
    pub decoded: u64,
    /// Packets encoded.
    pub encoded: u64,
    /// Audio made up for what did not come, ms.
    pub concealed_ms: u64,
}

impl TranscodeStats {
    /// Both together.
    pub fn plus(&self, other: &TranscodeStats) -> TranscodeStats {
        TranscodeStats {
            decoded: self.decoded + other.decoded,
            encoded: self.encoded + other.encoded,
            concealed_ms: self.concealed_ms + other.concealed_ms,
        }
    }
}
