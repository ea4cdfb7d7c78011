//! Audio of one leg into what another leg can hear: decoded when it comes, encoded as
//! soon as a packet is full.
//!
//! - `codec`: payloads to samples and back, each codec at the rate that both sides share
//! - `halfband`: between 8 and 16 kHz
//! - `stream`: packets in, packets out, on the other leg's timeline
//! - `event`: `telephone-event` beside transcoded audio
//!
//! Nothing is held back: there is no jitter buffer here, the far end has one. What did
//! not come is concealed when the next packet shows it; what comes later than that is
//! dropped. Opus is decoded and encoded at the other side's rate, so that only PCM and
//! G.722 meet at a rate converter.

mod codec;
mod event;
mod halfband;
mod stream;
#[cfg(test)]
mod tests;

pub use stream::{Heard, Transcoder};

/// Formats that a leg may change between within a direction.
pub const MOST_FORMATS: usize = 4;

/// What can be decoded and encoded here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Coding {
    /// G.711 µ-law.
    Pcmu,
    /// G.711 A-law.
    Pcma,
    /// G.722 at 64 kbit/s.
    G722,
    /// Opus (RFC 6716, RFC 7587), one channel.
    Opus,
}

impl Coding {
    /// Every one.
    pub const ALL: [Coding; 4] = [Coding::Opus, Coding::G722, Coding::Pcmu, Coding::Pcma];

    /// The encoding name of the rtpmap attribute.
    pub const fn name(self) -> &'static str {
        match self {
            Coding::Pcmu => "PCMU",
            Coding::Pcma => "PCMA",
            Coding::G722 => "G722",
            Coding::Opus => "opus",
        }
    }

    /// RTP ticks a second. G.722 counts as if it had 8,000 samples (RFC 3551 §4.5.2).
    pub const fn clock_rate(self) -> u32 {
        match self {
            Coding::Opus => 48_000,
            _ => 8_000,
        }
    }

    /// Channels in the rtpmap attribute: Opus always says two (RFC 7587 §7).
    pub const fn channels(self) -> u8 {
        match self {
            Coding::Opus => 2,
            _ => 1,
        }
    }

    /// The static payload type, or the one that we propose.
    pub const fn payload_type(self) -> u8 {
        match self {
            Coding::Pcmu => 0,
            Coding::Pcma => 8,
            Coding::G722 => 9,
            Coding::Opus => 111,
        }
    }

    /// Samples a second that are worth having of it.
    const fn rate_hz(self) -> u32 {
        match self {
            Coding::Pcmu | Coding::Pcma => 8_000,
            Coding::G722 | Coding::Opus => 16_000,
        }
    }
}

/// What is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub payload_type: u8,
    pub coding: Coding,
    /// Audio of a packet, ms.
    pub ptime_ms: u32,
    /// Opus: the far end makes use of redundancy for lost packets (`useinbandfec`).
    pub fec: bool,
    /// Opus: bits a second at most (`maxaveragebitrate`).
    pub bitrate: u32,
}

impl Target {
    /// Bits a second of speech, where the far end does not want less.
    pub const BITRATE: u32 = 24_000;

    /// The packet time next to `wanted_ms` that a coding can have, at most 60 ms.
    pub fn ptime_ms(coding: Coding, wanted_ms: u32) -> u32 {
        match (coding, wanted_ms) {
            (Coding::Opus, 10 | 20 | 40 | 60) => wanted_ms,
            (Coding::Opus, _) => 20,
            (_, wanted_ms) => (wanted_ms / 10 * 10).clamp(10, 60),
        }
    }
}

/// `telephone-event` beside transcoded audio: payload types and clock rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Events {
    pub from: [Option<(u8, u32)>; 2],
    pub to: (u8, u32),
}

/// What becomes of a direction whose legs share no codec: plain data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// What comes in, by payload type.
    pub from: [Option<(u8, Coding)>; MOST_FORMATS],
    pub to: Target,
    pub events: Option<Events>,
}

impl Plan {
    /// What a payload type is.
    pub fn coding(&self, payload_type: u8) -> Option<Coding> {
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
        let from = self.from.iter().flatten().map(|from| from.1.rate_hz()).max().unwrap_or(8_000);
        match self.to.coding {
            Coding::Opus => from,
            to => to.rate_hz(),
        }
    }
}

/// What was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
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
