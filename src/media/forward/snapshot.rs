//! What is remembered of a leg's packets, to be written and read back.
//!
//! A rule is not: its source is that of the lock, its stream is in here, and the rest of it comes with the join that is
//! given again. Nor are offsets: the feeder is anchored anew, and the leg hears one stream all the same.

use super::{ForwardState, OutSpace, ticks};
use crate::rtp::sequence::Sequence;
use crate::snapshot::{self, Back, MARGIN, RestoreError, age, holds};

/// A [`ForwardState`], with ages in the place of moments. What was forwarded is counted in the other leg's space.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct StateSnapshot {
    numbers: Sequence,
    highest_timestamp: u32,
    highest_age: Option<u64>,
    jitter: u32,
    packets: u64,
    bytes: u64,
    first_age: Option<u64>,
    last_age: Option<u64>,
    payload_type: u8,
    sound: Option<u8>,
}

impl StateSnapshot {
    /// As it stands at `at`.
    pub fn new(state: &ForwardState, at: u64) -> Self {
        StateSnapshot {
            numbers: state.numbers,
            highest_timestamp: state.highest_timestamp,
            highest_age: age(at, state.highest_at),
            jitter: state.jitter,
            packets: state.packets,
            bytes: state.bytes,
            first_age: age(at, state.first_at),
            last_age: age(at, state.last_at),
            payload_type: state.payload_type,
            sound: state.sound,
        }
    }

    /// Whether packets can be counted from there on.
    pub fn check(&self) -> Result<(), RestoreError> {
        self.numbers.check()?;
        // 16 times the longest difference that is counted, in another clock.
        holds(self.jitter <= 1 << 28, "jitter")?;
        holds(self.payload_type < 128 && self.sound.is_none_or(|sound| sound < 128), "payload type")?;
        snapshot::counters([self.packets, self.bytes])?;
        snapshot::ages([self.highest_age, self.first_age, self.last_age])
    }

    /// The state, once it was checked. The next packet's transit time is another machine's: the first packet is to be
    /// looked at ([`ForwardState::resume`]).
    pub fn restored(&self, back: Back) -> ForwardState {
        ForwardState {
            numbers: self.numbers,
            highest_timestamp: self.highest_timestamp,
            highest_at: back.moment(self.highest_age),
            jitter: self.jitter,
            packets: self.packets,
            bytes: self.bytes,
            first_at: back.moment(self.first_age),
            last_at: back.moment(self.last_age),
            payload_type: self.payload_type,
            sound: self.sound,
            ..ForwardState::default()
        }
    }
}

/// An [`OutSpace`], with what its feeder has sent, and ages in the place of moments.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct SpaceSnapshot {
    ssrc: u32,
    sequence: u16,
    timestamp: u32,
    age: Option<u64>,
    first_age: Option<u64>,
    packets: u64,
    bytes: u64,
    payload: u64,
    /// Ticks a second of the timestamp.
    clock_rate: u32,
}

impl SpaceSnapshot {
    /// As it stands at `at`; its timestamps tick at this rate.
    pub fn new(space: &OutSpace, clock_rate: u32, at: u64) -> Self {
        SpaceSnapshot {
            ssrc: space.ssrc,
            sequence: space.sequence,
            timestamp: space.timestamp,
            age: age(at, space.at),
            first_age: age(at, space.first_at),
            packets: space.packets,
            bytes: space.bytes,
            payload: space.payload,
            clock_rate,
        }
    }

    /// Whether it can go on from there.
    pub fn check(&self) -> Result<(), RestoreError> {
        snapshot::clock_rate(self.clock_rate)?;
        snapshot::counters([self.packets, self.bytes, self.payload])?;
        snapshot::ages([self.age, self.first_age])
    }

    /// The stream and the number of its last packet, as they were when this was written.
    pub fn last(&self) -> (u32, u16) {
        (self.ssrc, self.sequence)
    }

    /// The space, once it was checked: ahead of all that may have been sent since, and as much later as time has gone
    /// on.
    pub fn restored(&self, back: Back) -> OutSpace {
        let mut space = OutSpace {
            ssrc: self.ssrc,
            sequence: self.sequence.wrapping_add(MARGIN),
            timestamp: self.timestamp,
            at: back.moment(self.age),
            first_at: back.moment(self.first_age),
            packets: self.packets,
            bytes: self.bytes,
            payload: self.payload,
        };
        // Nothing was sent, though it may have been since; or it was before this machine counts.
        let elapsed = back.since(self.age.unwrap_or(0));
        if self.age.is_none() || elapsed >= back.at {
            space.timestamp = space.timestamp.wrapping_add(ticks(elapsed, self.clock_rate));
            space.at = self.age.map_or(0, |_| back.at);
        }
        space
    }
}
