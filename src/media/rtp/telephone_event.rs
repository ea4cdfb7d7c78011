//! Telephone events (RFC 4733): received, one digit per event however many of its packets are
//! repeated or lost; and sent, packet by packet.

mod press;
mod snapshot;
#[cfg(test)]
mod streams_tests;

use std::time::{Duration, Instant};

pub use press::{EventUpdate, Part, Press};
pub(crate) use snapshot::EventSnapshot;

/// An event whose packets stop without an end bit ends after this time.
const LOST_END: Duration = Duration::from_millis(press::GAP_MS as u64);

/// How often an end packet is sent (§2.5.1.4).
pub const ENDS: u8 = 3;
/// E bit, and volume of the payloads that we send: -10 dBm0.
const END: u8 = 0x80;
const VOLUME: u8 = 10;
/// Timestamp units of a segment of a long event.
const SEGMENT: u64 = press::SEGMENT as u64;

/// A digit that was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digit {
    /// `0`–`9`, `*`, `#`, `A`–`D`.
    pub digit: char,
    /// Its duration as far as known: complete if an end packet arrived.
    pub duration_ms: u32,
}

/// Assembles presses from packets.
#[derive(Debug, Clone, Default)]
pub struct EventReceiver {
    current: Option<Event>,
    heard: bool,
    /// Number of presses begun; wraps.
    begun: u32,
}

#[derive(Debug, Clone, Copy)]
struct Event {
    press: Press,
    last_arrival: Instant,
    reported: bool,
}

impl EventReceiver {
    /// Processes a packet. A digit is returned with the first end packet, or with the next press if every
    /// end packet was lost.
    pub fn packet(&mut self, update: &EventUpdate, arrival: Instant) -> Option<Digit> {
        let since = |event: &Event| arrival.saturating_duration_since(event.last_arrival);
        let part = self.current.as_ref().map_or(Part::New, |event| event.press.part(update, since(event)));
        let mut unfinished = None;
        match (part, &mut self.current) {
            (Part::Late, _) => return None,
            (Part::Same, Some(event)) => {
                event.press.add(update);
                event.last_arrival = arrival;
            }
            (Part::New | Part::Same, _) => {
                unfinished = self.report();
                self.begun = self.begun.wrapping_add(1);
                let press = Press::new(*update);
                self.current = Some(Event { press, last_arrival: arrival, reported: false });
            }
        }
        // If an unfinished press precedes one whose only packet so far is its end, the latter is
        // reported with the repeated end packet, or else by `expire`.
        if unfinished.is_none() && update.end() { self.report() } else { unfinished }
    }

    /// Reports an event whose packets have stopped.
    pub fn expire(&mut self, now: Instant) -> Option<Digit> {
        let event = self.current.as_ref()?;
        if now.saturating_duration_since(event.last_arrival) < LOST_END { None } else { self.report() }
    }

    /// Whether an event has started that was not reported yet.
    pub fn is_pressed(&self) -> bool {
        self.current.as_ref().is_some_and(|event| !event.reported)
    }

    /// The number of the last press; wraps.
    pub fn last(&self) -> Option<u32> {
        self.current.as_ref().map(|_| self.begun)
    }

    /// The digit of the event that has started and was not reported yet.
    pub fn pressed(&self) -> Option<char> {
        self.current.as_ref().filter(|event| !event.reported).and_then(|event| digit(event.press.last.code))
    }

    /// Makes the last event report no digit any more. Returns whether it had reported one.
    pub fn cancel(&mut self) -> bool {
        self.heard |= self.current.is_some();
        self.current.as_mut().is_some_and(|event| std::mem::replace(&mut event.reported, true))
    }

    /// Whether a packet of the last event may still be in flight.
    pub fn is_under_way(&self, now: Instant) -> bool {
        let since = |event: &Event| now.saturating_duration_since(event.last_arrival);
        self.current.as_ref().is_some_and(|event| since(event) < press::UNDER_WAY)
    }

    /// Whether the far end has ever sent an event.
    pub fn has_heard(&self) -> bool {
        self.heard
    }

    /// Resets the timestamp origin, and reports a pending event.
    pub fn new_source(&mut self) -> Option<Digit> {
        let digit = self.report();
        self.current = None;
        digit
    }

    fn report(&mut self) -> Option<Digit> {
        let event = self.current.as_mut().filter(|event| !event.reported)?;
        event.reported = true;
        self.heard = true;
        let last = &event.press.last;
        let duration_ms = (event.press.ticks() * 1_000 / u64::from(last.clock_rate)) as u32;
        digit(last.code).map(|digit| Digit { digit, duration_ms })
    }
}

/// The DTMF event code of a digit (RFC 4733 table 3).
pub fn code(digit: char) -> Option<u8> {
    let digit = digit.to_ascii_uppercase();
    b"0123456789*#ABCD".iter().position(|&byte| char::from(byte) == digit).map(|code| code as u8)
}

/// The digit of a DTMF event code.
pub fn digit(code: u8) -> Option<char> {
    b"0123456789*#ABCD".get(usize::from(code)).map(|&byte| char::from(byte))
}

/// An event being sent.
#[derive(Debug, Clone, Copy)]
pub struct SentEvent {
    code: u8,
    clock_rate: u32,
    ticks: u64,
    sent: u64,
    ends: u8,
}

/// One packet of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPacket {
    /// The payload.
    pub payload: [u8; 4],
    /// Whether this packet starts the event and has the marker bit.
    pub first: bool,
    /// Timestamp units between the event's first timestamp and this packet's, if it belongs to a later segment.
    pub segment: u32,
}

impl SentEvent {
    /// An event of this code and duration at this clock rate.
    pub fn new(code: u8, duration_ms: u32, clock_rate: u32) -> Self {
        let ticks = u64::from(duration_ms) * u64::from(clock_rate) / 1_000;
        SentEvent { code, clock_rate, ticks, sent: 0, ends: 0 }
    }

    /// The next packet, sent `step_ms` after the previous one.
    pub fn packet(&mut self, step_ms: u32) -> EventPacket {
        let first = self.sent == 0;
        let step = u64::from(step_ms) * u64::from(self.clock_rate) / 1_000;
        self.sent = (self.sent + step).min(self.ticks);
        let end = self.sent == self.ticks;
        self.ends += u8::from(end);
        let segment = self.sent.saturating_sub(1) / SEGMENT * SEGMENT;
        let [d0, d1] = ((self.sent - segment) as u16).to_be_bytes();
        let payload = [self.code, if end { END | VOLUME } else { VOLUME }, d0, d1];
        EventPacket { payload, first, segment: segment as u32 }
    }

    /// Whether the last end packet was sent.
    pub fn is_over(&self) -> bool {
        self.ends >= ENDS
    }
}
