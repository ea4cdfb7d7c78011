//! Telephone events (RFC 4733): received, one digit per event however many of its packets are
//! repeated or lost; and sent, packet by packet.

mod snapshot;

use std::time::{Duration, Instant};

pub(crate) use snapshot::EventSnapshot;

/// An event whose packets stop without an end bit ends after this time.
const LOST_END: Duration = Duration::from_millis(120);

/// Maximum time between a packet and a late packet of an earlier event.
const UNDER_WAY: Duration = Duration::from_secs(2);

/// How often an end packet is sent (§2.5.1.4).
pub const ENDS: u8 = 3;
/// E bit, and volume of the payloads that we send: -10 dBm0.
const END: u8 = 0x80;
const VOLUME: u8 = 10;
/// Timestamp units of a segment of a long event (§2.5.1.3).
const SEGMENT: u64 = u16::MAX as u64;

/// A digit that was pressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Digit {
    /// `0`–`9`, `*`, `#`, `A`–`D`.
    pub digit: char,
    /// Its duration as far as known: complete if an end packet arrived.
    pub duration_ms: u32,
}

/// Assembles events from packets. An event is identified by its RTP timestamp.
#[derive(Debug, Clone, Default)]
pub struct EventReceiver {
    current: Option<Event>,
    heard: bool,
    /// Number of events begun; wraps.
    begun: u32,
}

#[derive(Debug, Clone, Copy)]
struct Event {
    timestamp: u32,
    code: u8,
    /// Timestamp units of earlier segments (RFC 4733 §2.5.1.3).
    segments: u32,
    duration: u16,
    /// Clock rate, Hz.
    clock_rate: u32,
    last_arrival: Instant,
    reported: bool,
}

impl EventReceiver {
    /// Processes the payload of an event packet with this clock rate. A digit is returned with the
    /// first end packet, or with the next event if every end packet was lost.
    pub fn packet(
        &mut self,
        timestamp: u32,
        payload: &[u8],
        clock_rate: u32,
        arrival: Instant,
    ) -> Option<Digit> {
        let &[code, flags, d0, d1] = payload.first_chunk::<4>()?;
        let duration = u16::from_be_bytes([d0, d1]);
        let end = flags & 0x80 != 0;
        let mut unfinished = None;
        match &mut self.current {
            Some(event) if event.timestamp == timestamp => {
                event.duration = event.duration.max(duration);
                event.last_arrival = arrival;
            }
            // After this long no packet is still in flight: the timestamp is from another clock,
            // which a far end may switch to.
            Some(event)
                if (timestamp.wrapping_sub(event.timestamp) as i32) < 0
                    && arrival.saturating_duration_since(event.last_arrival) < UNDER_WAY =>
            {
                return None;
            }
            // A long event continues in a new segment where the last one ended.
            Some(event)
                if event.code == code
                    && !event.reported
                    && timestamp == event.timestamp.wrapping_add(u32::from(u16::MAX)) =>
            {
                event.segments += u32::from(u16::MAX);
                event.timestamp = timestamp;
                event.duration = duration;
                event.last_arrival = arrival;
            }
            _ => {
                unfinished = self.report();
                self.begun = self.begun.wrapping_add(1);
                self.current = Some(Event {
                    timestamp,
                    code,
                    segments: 0,
                    duration,
                    clock_rate,
                    last_arrival: arrival,
                    reported: false,
                });
            }
        }
        // If an unfinished event precedes one whose only packet so far is its end, the latter is
        // reported with the repeated end packet, or else by `expire`.
        if unfinished.is_none() && end { self.report() } else { unfinished }
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

    /// Number of events begun, and the timestamp of the last one; the number wraps.
    pub fn last(&self) -> Option<(u32, u32)> {
        self.current.as_ref().map(|event| (self.begun, event.timestamp))
    }

    /// The digit of the event that has started and was not reported yet.
    pub fn pressed(&self) -> Option<char> {
        self.current.as_ref().filter(|event| !event.reported).and_then(|event| digit(event.code))
    }

    /// Makes the last event report no digit any more. Returns whether it had reported one.
    pub fn cancel(&mut self) -> bool {
        self.heard |= self.current.is_some();
        self.current.as_mut().is_some_and(|event| std::mem::replace(&mut event.reported, true))
    }

    /// Whether a packet of the last event may still be in flight.
    pub fn is_under_way(&self, now: Instant) -> bool {
        let since = |event: &Event| now.saturating_duration_since(event.last_arrival);
        self.current.as_ref().is_some_and(|event| since(event) < UNDER_WAY)
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
        let ticks = u64::from(event.segments) + u64::from(event.duration);
        let duration_ms = (ticks * 1_000 / u64::from(event.clock_rate.max(1))) as u32;
        digit(event.code).map(|digit| Digit { digit, duration_ms })
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

#[cfg(test)]
mod tests {
    use super::*;

    fn payload(code: u8, end: bool, duration: u16) -> [u8; 4] {
        let [d0, d1] = duration.to_be_bytes();
        [code, if end { 0x8A } else { 0x0A }, d0, d1]
    }

    #[test]
    fn one_digit_per_event_with_repeated_ends() {
        let now = Instant::now();
        let mut receiver = EventReceiver::default();
        assert_eq!(receiver.packet(1_000, &payload(5, false, 160), 8_000, now), None);
        assert_eq!(receiver.packet(1_000, &payload(5, false, 320), 8_000, now), None);
        let digit = receiver.packet(1_000, &payload(5, true, 800), 8_000, now);
        assert_eq!(digit, Some(Digit { digit: '5', duration_ms: 100 }));
        assert_eq!(receiver.packet(1_000, &payload(5, true, 800), 8_000, now), None);
        assert_eq!(receiver.packet(1_000, &payload(5, true, 800), 8_000, now), None);
        assert_eq!(receiver.expire(now + Duration::from_secs(1)), None);
        assert!(receiver.packet(2_000, &payload(5, true, 400), 8_000, now).is_some(), "pressed again");
    }

    #[test]
    fn a_lost_end_is_noticed_by_the_next_event_or_by_time() {
        let now = Instant::now();
        let mut receiver = EventReceiver::default();
        receiver.packet(u32::MAX - 100, &payload(10, false, 480), 8_000, now);
        let digit = receiver.packet(1_000, &payload(11, false, 160), 8_000, now);
        assert_eq!(digit, Some(Digit { digit: '*', duration_ms: 60 }), "timestamps wrap");
        assert_eq!(receiver.expire(now + Duration::from_millis(50)), None);
        let digit = receiver.expire(now + Duration::from_millis(200));
        assert_eq!(digit, Some(Digit { digit: '#', duration_ms: 20 }));
        assert_eq!(receiver.expire(now + Duration::from_millis(400)), None);
    }

    #[test]
    fn an_older_event_does_not_come_back() {
        let now = Instant::now();
        let mut receiver = EventReceiver::default();
        assert!(receiver.packet(5_000, &payload(1, true, 160), 8_000, now).is_some());
        assert_eq!(receiver.packet(4_000, &payload(2, true, 160), 8_000, now), None);
        let later = now + Duration::from_secs(3);
        assert!(receiver.packet(4_000, &payload(1, true, 160), 8_000, later).is_some(), "of another clock");
    }

    #[test]
    fn a_long_event_in_segments_is_one_digit() {
        let now = Instant::now();
        let mut receiver = EventReceiver::default();
        assert_eq!(receiver.packet(0, &payload(15, false, u16::MAX), 8_000, now), None);
        assert_eq!(receiver.packet(65_535, &payload(15, false, 160), 8_000, now), None);
        let digit = receiver.packet(65_535, &payload(15, true, 8_065), 8_000, now);
        assert_eq!(digit, Some(Digit { digit: 'D', duration_ms: 9_200 }));
    }

    #[test]
    fn the_length_counts_in_the_clock_of_the_event() {
        let now = Instant::now();
        let mut receiver = EventReceiver::default();
        let digit = receiver.packet(7, &payload(5, true, 4_800), 48_000, now);
        assert_eq!(digit, Some(Digit { digit: '5', duration_ms: 100 }));
        assert_eq!((code('5'), code('#'), code('d'), code('E')), (Some(5), Some(11), Some(15), None));
    }

    #[test]
    fn other_events_and_short_payloads_are_no_digits() {
        let now = Instant::now();
        let mut receiver = EventReceiver::default();
        assert_eq!(receiver.packet(0, &payload(16, true, 160), 8_000, now), None, "flash");
        assert_eq!(receiver.packet(900, &[1, 0x80, 0], 8_000, now), None);
    }
}
