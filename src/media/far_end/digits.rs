//! Digits that a far end presses: by events (RFC 4733) or, as somebody else finds out, as tones; counted, and no
//! faster than anybody presses them.

use std::time::Instant;

use super::digit_gate::DigitGate;
use crate::rtp::telephone_event::{Digit, EventReceiver, EventSnapshot};

/// See the module's text.
#[derive(Debug)]
pub struct Digits {
    events: EventReceiver,
    gate: DigitGate,
    /// Those that were let through.
    pub count: u32,
}

impl Digits {
    /// None yet. `epoch` is any moment before the first.
    pub fn new(epoch: Instant) -> Self {
        Digits { events: EventReceiver::default(), gate: DigitGate::new(epoch), count: 0 }
    }

    /// Takes the payload of an event's packet, in whose clock a second has so many ticks.
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

    /// An event whose packets have stopped.
    pub fn expire(&mut self, now: Instant) -> Option<Digit> {
        let digit = self.events.expire(now);
        self.admit(digit, now)
    }

    /// Its stream is another one: its clock says nothing of events before. The digit of a key that was down.
    pub fn new_source(&mut self, now: Instant) -> Option<Digit> {
        let digit = self.events.new_source();
        self.admit(digit, now)
    }

    /// A digit that is no flood.
    pub fn admit(&mut self, digit: Option<Digit>, now: Instant) -> Option<Digit> {
        let digit = digit.filter(|_| self.gate.admit(now))?;
        self.count += 1;
        Some(digit)
    }

    /// What is under way, to be written.
    pub fn snapshot(&self, now: Instant) -> EventSnapshot {
        EventSnapshot::new(&self.events, now)
    }

    /// Goes on with this, after so many digits.
    pub fn restore(&mut self, events: EventReceiver, count: u32) {
        (self.events, self.count) = (events, count);
    }

    /// Whether a key is down.
    pub fn is_pressed(&self) -> bool {
        self.events.is_pressed()
    }

    /// Whether it has ever sent a digit by an event.
    pub fn has_heard(&self) -> bool {
        self.events.has_heard()
    }

    /// Digits beyond what anybody can press.
    pub fn refused(&self) -> u64 {
        self.gate.refused.into()
    }
}
