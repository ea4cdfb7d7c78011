//! Digits sent to a leg as telephone events (RFC 4733), one after the other: what to send when. No
//! I/O; time is an argument.

use std::collections::VecDeque;

use crate::rtp::telephone_event::{EventPacket, SentEvent};

/// Interval between two packets of an event, ms; timers are not checked more often.
const STEP_MS: u32 = 20;
/// Pause between two events, ns, so that receivers tell them apart.
const PAUSE: u64 = 60_000_000;
/// Maximum number of queued digits.
const QUEUE: usize = 32;
/// Limits of a digit's length, ms: shorter ones are missed, longer ones are a mistake.
const LENGTH: (u32, u32) = (80, 6_000);

/// Digits being sent to one leg.
#[derive(Debug, Default)]
pub(super) struct Inserted {
    queue: VecDeque<(u8, u32)>,
    /// The event being sent, with the timestamp of its first packet once that is sent.
    current: Option<(SentEvent, Option<u32>)>,
    /// When the next packet is due, ns; 0 if none is left.
    pub due: u64,
}

impl Inserted {
    /// Queues a digit; digits beyond the limit are dropped.
    pub fn push(&mut self, at: u64, code: u8, duration_ms: u32) {
        if self.queue.len() < QUEUE {
            self.queue.push_back((code, duration_ms.clamp(LENGTH.0, LENGTH.1)));
        }
        if self.due == 0 {
            self.due = at;
        }
    }

    /// The packet that is due, and its timestamp; `None` for the first packet, which takes the
    /// current one. `clock_rate` is that of the events.
    pub fn packet(&mut self, at: u64, clock_rate: u32) -> Option<(EventPacket, Option<u32>)> {
        if self.current.is_none() {
            let (code, duration_ms) = self.queue.pop_front()?;
            self.current = Some((SentEvent::new(code, duration_ms, clock_rate), None));
        }
        let (event, begun) = self.current.as_mut()?;
        let packet = event.packet(STEP_MS);
        let timestamp = begun.map(|begun| begun.wrapping_add(packet.segment));
        self.due = at + u64::from(STEP_MS) * 1_000_000;
        if event.is_over() {
            self.current = None;
            self.due = if self.queue.is_empty() { 0 } else { at + PAUSE };
        }
        Some((packet, timestamp))
    }

    /// Records the timestamp with which the event's first packet was sent.
    pub fn begun(&mut self, timestamp: u32) {
        if let Some((_, begun)) = &mut self.current {
            begun.get_or_insert(timestamp);
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
            let (packet, _) = inserted.packet(at, 8_000).expect("a packet");
            inserted.begun(77);
            let [code, flags, d0, d1] = packet.payload;
            seen.push((at - 1_000, code, flags >= 0x80, u16::from_be_bytes([d0, d1]), packet.first));
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
    fn digits_do_not_pile_up_and_one_that_is_long_goes_on_in_segments() {
        let mut inserted = Inserted::default();
        for _ in 0..1_000 {
            inserted.push(1, 1, u32::MAX);
        }
        assert_eq!(inserted.queue.len(), QUEUE);
        let mut timestamps = Vec::new();
        for _ in 0..6_000 / 20 + 2 {
            let (packet, timestamp) = inserted.packet(1, 48_000).expect("a packet");
            inserted.begun(77);
            timestamps.extend(timestamp);
            assert_eq!(packet.first, timestamp.is_none());
        }
        timestamps.dedup();
        assert_eq!(timestamps, [0, 1, 2, 3, 4].map(|segment| 77 + segment * 65_535), "288,000 ticks");
        assert_eq!(inserted.queue.len(), QUEUE - 1);
        assert!(inserted.packet(1, 48_000).expect("the next one").0.first);
    }
}
