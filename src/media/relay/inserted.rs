//! Digits that we send to a leg as telephone events (RFC 4733), one after the other: what
//! to send when. No I/O, and time is an argument.

use std::collections::VecDeque;

/// Between two packets of an event, ns; timers are not looked at more often.
const STEP: u64 = 20_000_000;
/// Between two events, ns: receivers tell them apart.
const PAUSE: u64 = 60_000_000;
/// An end is sent so often (RFC 4733 §2.5.1.4).
const ENDS: u8 = 3;
/// Digits that wait at most.
const QUEUE: usize = 32;
/// How long a digit may be, ms: what is shorter is missed, what is longer is a mistake.
const LENGTH: (u32, u32) = (80, 6_000);
/// E bit and volume of the payload: -10 dBm0.
const END: u8 = 0x80;
const VOLUME: u8 = 10;

/// Digits on their way to one leg.
#[derive(Debug, Default)]
pub(super) struct Inserted {
    queue: VecDeque<(u8, u32)>,
    current: Option<Event>,
    /// When the next packet goes, ns; 0: nothing is left.
    pub due: u64,
}

#[derive(Debug)]
struct Event {
    code: u8,
    /// Ticks.
    length: u16,
    sent: u16,
    ends: u8,
    /// None: its first packet has not gone.
    timestamp: Option<u32>,
}

/// One packet's payload, and the part of its header that is its event's.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct EventPacket {
    pub payload: [u8; 4],
    pub marker: bool,
    /// None: this is the first one, and takes the moment's.
    pub timestamp: Option<u32>,
}

impl Inserted {
    /// Puts a digit behind those that wait. Too many are lost.
    pub fn push(&mut self, at: u64, code: u8, duration_ms: u32) {
        if self.queue.len() < QUEUE {
            self.queue.push_back((code, duration_ms.clamp(LENGTH.0, LENGTH.1)));
        }
        if self.due == 0 {
            self.due = at;
        }
    }

    /// The packet that is due. `clock_rate` is that of the events.
    pub fn packet(&mut self, at: u64, clock_rate: u32) -> Option<EventPacket> {
        if self.current.is_none() {
            let (code, duration_ms) = self.queue.pop_front()?;
            let ticks = u64::from(duration_ms) * u64::from(clock_rate) / 1_000;
            let length = u16::try_from(ticks).unwrap_or(u16::MAX);
            self.current = Some(Event { code, length, sent: 0, ends: 0, timestamp: None });
        }
        let event = self.current.as_mut()?;
        let step = u16::try_from(clock_rate / 50).unwrap_or(u16::MAX);
        event.sent = event.sent.saturating_add(step).min(event.length);
        let end = event.sent == event.length;
        event.ends += u8::from(end);
        let [d0, d1] = event.sent.to_be_bytes();
        let payload = [event.code, if end { END | VOLUME } else { VOLUME }, d0, d1];
        let packet = EventPacket { payload, marker: event.timestamp.is_none(), timestamp: event.timestamp };
        self.due = at + STEP;
        if event.ends >= ENDS {
            self.current = None;
            self.due = if self.queue.is_empty() { 0 } else { at + PAUSE };
        }
        Some(packet)
    }

    /// The timestamp that the event's first packet was sent with.
    pub fn begun(&mut self, timestamp: u32) {
        if let Some(event) = &mut self.current {
            event.timestamp.get_or_insert(timestamp);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_grows_ends_three_times_and_the_next_one_waits() {
        let mut inserted = Inserted::default();
        inserted.push(1_000, 5, 100);
        inserted.push(1_000, 11, 1);
        assert_eq!(inserted.due, 1_000);
        let mut seen = Vec::new();
        while inserted.due != 0 {
            let at = inserted.due;
            let packet = inserted.packet(at, 8_000).expect("a packet");
            inserted.begun(77);
            let [code, flags, d0, d1] = packet.payload;
            seen.push((at - 1_000, code, flags >= END, u16::from_be_bytes([d0, d1]), packet.marker));
        }
        let ms = 1_000_000;
        assert_eq!(
            seen[..7],
            [
                (0, 5, false, 160, true),
                (20 * ms, 5, false, 320, false),
                (40 * ms, 5, false, 480, false),
                (60 * ms, 5, false, 640, false),
                (80 * ms, 5, true, 800, false),
                (100 * ms, 5, true, 800, false),
                (120 * ms, 5, true, 800, false),
            ]
        );
        assert_eq!(seen[7], (180 * ms, 11, false, 160, true), "a press that is too short is made longer");
        assert_eq!(inserted.packet(0, 8_000), None);
    }

    #[test]
    fn digits_do_not_pile_up_and_none_is_longer_than_a_packet_can_say() {
        let mut inserted = Inserted::default();
        for _ in 0..1_000 {
            inserted.push(1, 1, u32::MAX);
        }
        assert_eq!(inserted.queue.len(), QUEUE);
        let packets = std::iter::from_fn(|| inserted.packet(1, 48_000)).take(200);
        assert!(packets.last().is_some());
    }
}
