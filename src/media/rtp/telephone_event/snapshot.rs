//! The state of a received event, to be written and read back, so that its remaining packets do not
//! count as another digit.

use std::time::{Duration, Instant};

use super::{Event, EventReceiver, EventUpdate, Press};
use crate::snapshot::{self, Back, RestoreError};

/// An [`EventReceiver`], with an age in place of a time.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub(crate) struct EventSnapshot {
    current: Option<Current>,
    heard: bool,
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Current {
    #[serde(default)]
    sequence: u16,
    timestamp: u32,
    code: u8,
    segments: u32,
    duration: u16,
    clock_rate: u32,
    age: u64,
    reported: bool,
    #[serde(default)]
    ended: bool,
}

impl EventSnapshot {
    /// The state as of `now`.
    pub fn new(receiver: &EventReceiver, now: Instant) -> Self {
        let current = receiver.current.map(|event| Current {
            sequence: event.press.last.sequence,
            timestamp: event.press.last.timestamp,
            code: event.press.last.code,
            segments: event.press.segments,
            duration: event.press.last.duration,
            clock_rate: event.press.last.clock_rate,
            age: now.saturating_duration_since(event.last_arrival).as_nanos() as u64,
            reported: event.reported,
            ended: event.press.has_ended(),
        });
        EventSnapshot { current, heard: receiver.heard }
    }

    /// Checks that the event can be continued.
    pub fn check(&self) -> Result<(), RestoreError> {
        let Some(current) = &self.current else { return Ok(()) };
        snapshot::counters_32([current.segments])?;
        snapshot::ages([Some(current.age)])
    }

    /// The receiver, which must have been checked.
    pub fn restored(&self, back: Back, now: Instant) -> EventReceiver {
        let moment = |age| now.checked_sub(Duration::from_nanos(back.since(age))).unwrap_or(now);
        let current = self.current.as_ref().map(|current| {
            let last = EventUpdate {
                sequence: current.sequence,
                timestamp: current.timestamp,
                marker: false,
                code: current.code,
                flags: if current.ended { super::END } else { 0 },
                duration: current.duration,
                clock_rate: current.clock_rate.max(1),
            };
            let press = Press { last, segments: current.segments };
            Event { press, last_arrival: moment(current.age), reported: current.reported }
        });
        EventReceiver { current, heard: self.heard, ..EventReceiver::default() }
    }
}
