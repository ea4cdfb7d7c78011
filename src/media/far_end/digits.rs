//! Digits of a far end: by events (RFC 4733), or by tones detected elsewhere; counted, and limited
//! in rate.

use std::time::Instant;

use super::digit_gate::DigitGate;
use crate::rtp::telephone_event::{Digit, EventReceiver, EventSnapshot};

/// The digits of one far end.
#[derive(Debug)]
pub struct Digits {
    events: EventReceiver,
    gate: DigitGate,
    /// Digits let through.
    pub count: u32,
}

impl Digits {
    /// No digits yet. `epoch` is any time before the first digit.
    pub fn new(epoch: Instant) -> Self {
        Digits { events: EventReceiver::default(), gate: DigitGate::new(epoch), count: 0 }
    }

    /// Processes the payload of an event packet with this clock rate.
    pub fn packet(
        &mut self,
        timestamp: u32,
        payload: &[u8],
        clock_rate: u32,
        arrival: Instant,
    ) -> Option<Digit> {
        let digit = self.events.packet(timestamp, payload, clock_rate, arrival);
        self.admit(digit, arrival)
    }

    /// Ends an event whose packets have stopped.
    pub fn expire(&mut self, now: Instant) -> Option<Digit> {
        let digit = self.events.expire(now);
        self.admit(digit, now)
    }

    /// Starts another stream, whose clock says nothing about earlier events. Returns the digit of a
    /// key that was pressed.
    pub fn new_source(&mut self, now: Instant) -> Option<Digit> {
        let digit = self.events.new_source();
        self.admit(digit, now)
    }

    /// Lets a digit through, unless it is part of a flood.
    pub fn admit(&mut self, digit: Option<Digit>, now: Instant) -> Option<Digit> {
        let digit = digit.filter(|_| self.gate.admit(now))?;
        self.count += 1;
        Some(digit)
    }

    /// The state of the current event, for a snapshot.
    pub fn snapshot(&self, now: Instant) -> EventSnapshot {
        EventSnapshot::new(&self.events, now)
    }

    /// Restores the event state and the number of digits.
    pub fn restore(&mut self, events: EventReceiver, count: u32) {
        (self.events, self.count) = (events, count);
    }

    /// Whether a key is pressed.
    pub fn is_pressed(&self) -> bool {
        self.events.is_pressed()
    }

    /// Whether it has ever sent a digit as an event.
    pub fn has_heard(&self) -> bool {
        self.events.has_heard()
    }

    /// Digits faster than can be pressed.
    pub fn refused(&self) -> u64 {
        self.gate.refused.into()
    }
}
