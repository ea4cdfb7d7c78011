//! The state of a leg's packets, to be written and read back.
//!
//! The rule is not included: its source comes from the lock, its stream is in the state, and the
//! rest is set by the repeated join. Neither are offsets: the feeder is anchored anew, and the leg
//! still receives a single stream.

use super::{ForwardState, OutSpace, ticks};
use crate::rtp::sequence::Sequence;
use crate::snapshot::{self, Back, MARGIN, RestoreError, age, holds};

/// A [`ForwardState`], with ages in place of times. Forwarded packets are counted in the other leg's space.
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
    /// The state as of `at`.
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

    /// Checks that packets can be counted from this state on.
    pub fn check(&self) -> Result<(), RestoreError> {
        self.numbers.check()?;
        // 16 times the longest difference that is counted, in another clock rate.
        holds(self.jitter <= 1 << 28, "jitter")?;
        holds(self.payload_type < 128 && self.sound.is_none_or(|sound| sound < 128), "payload type")?;
        snapshot::counters([self.packets, self.bytes])?;
        snapshot::ages([self.highest_age, self.first_age, self.last_age])
    }

    /// The state; it must have been checked. Transit times of another machine do not carry over:
    /// the first packet must be examined ([`ForwardState::resume`]).
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

/// An [`OutSpace`] that includes what its feeder has sent, with ages in place of times.
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
    /// Clock rate of the timestamp, Hz.
    clock_rate: u32,
}

impl SpaceSnapshot {
    /// The space as of `at`; its timestamps have this clock rate.
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

    /// Checks that the space can be continued.
    pub fn check(&self) -> Result<(), RestoreError> {
        snapshot::clock_rate(self.clock_rate)?;
        snapshot::counters([self.packets, self.bytes, self.payload])?;
        snapshot::ages([self.age, self.first_age])
    }

    /// The SSRC and the sequence number of its last packet at the time of the snapshot.
    pub fn last(&self) -> (u32, u16) {
        (self.ssrc, self.sequence)
    }

    /// The space, which must have been checked, advanced by the elapsed time; with SRTP its numbers are ahead of
    /// everything that may have been sent since.
    pub fn restored(&self, back: Back, is_protected: bool) -> OutSpace {
        let ahead = if is_protected { MARGIN } else { self.sent_in(back.away) };
        let mut space = OutSpace {
            ssrc: self.ssrc,
            sequence: self.sequence.wrapping_add(ahead),
            timestamp: self.timestamp,
            at: back.moment(self.age),
            first_at: back.moment(self.first_age),
            packets: self.packets,
            bytes: self.bytes,
            payload: self.payload,
        };
        // Nothing was sent before the snapshot, though it may have been since; or it was sent
        // before this machine's epoch.
        let elapsed = back.since(self.age.unwrap_or(0));
        if self.age.is_none() || elapsed >= back.at {
            space.timestamp = space.timestamp.wrapping_add(ticks(elapsed, self.clock_rate));
            space.at = self.age.map_or(0, |_| back.at);
        }
        space
    }

    /// How many packets may have been sent in this time, ns: as many as before, and at least one each 20 ms, each 10 ms
    /// where it is too early to say; a sixteenth more for digits. A number that is sent again is dropped by receivers,
    /// one that is left out is only counted as lost.
    fn sent_in(&self, away: u64) -> u16 {
        let lasted = self.first_age.unwrap_or(0).saturating_sub(self.age.unwrap_or(0));
        let apart = match lasted {
            ..1_000_000_000 => 10_000_000,
            _ => (lasted / self.packets.max(1)).clamp(1, 20_000_000),
        };
        let sent = away / apart;
        u16::try_from(sent + sent / 16 + 2).unwrap_or(MARGIN).min(MARGIN)
    }
}
