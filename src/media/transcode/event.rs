//! `telephone-event` (RFC 4733) between streams of different clock rates. However a press comes, it is sent on as
//! one event: one timestamp, one marker, rising durations, three ends.

use std::time::Duration;

use crate::rtp::telephone_event::{ENDS, EventUpdate, Part, Press};

/// Maximum duration in a packet; a longer event continues in a new segment that begins where the
/// previous one ends (RFC 4733 §2.5.1.3).
const LONGEST: u64 = u16::MAX as u64;

/// The last press: as it was received, its timestamp on our timeline, and when its last packet arrived, ns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    press: Press,
    ours: u32,
    at: u64,
}

/// A rewritten event packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub timestamp: u32,
    pub payload: [u8; 4],
    /// It is the first packet of its event.
    pub first: bool,
    /// How often it is sent: an end three times at once, as its repeats may be lost.
    pub copies: u8,
}

impl Event {
    /// Duration so far at this clock rate.
    fn ticks(&self, rate: u32) -> u64 {
        self.press.ticks() * u64::from(rate) / u64::from(self.press.clock_rate())
    }
}

/// Rewrites a packet that arrives at `at` (ns) for a clock of `rate`; `None` if nothing is to be sent for it.
/// `current` is the last press, `begins` the position on our timeline of one that starts now.
pub(super) fn write(
    current: &mut Option<Event>,
    rate: u32,
    update: &EventUpdate,
    at: u64,
    begins: u32,
) -> Option<Written> {
    let since = |event: &Event| Duration::from_nanos(at.saturating_sub(event.at));
    let part = current.as_ref().map_or(Part::New, |event| event.press.part(update, since(event)));
    let (event, first) = match (part, *current) {
        (Part::Late, _) => return None,
        (Part::Same, Some(mut event)) => {
            let has_ended = event.press.has_ended();
            event.press.add(update);
            event.at = at;
            if has_ended {
                *current = Some(event);
                return None;
            }
            (event, false)
        }
        (Part::New | Part::Same, last) => {
            // Two presses that the sender gives one timestamp get two.
            let free = last.map_or(begins, |last| last.ours.wrapping_add(last.ticks(rate).max(1) as u32));
            let ours = if (begins.wrapping_sub(free) as i32) < 0 { free } else { begins };
            (Event { press: Press::new(*update), ours, at }, true)
        }
    };
    *current = Some(event);
    let ticks = event.ticks(rate);
    let segments = ticks.saturating_sub(1) / LONGEST;
    let [d0, d1] = ((ticks - segments * LONGEST) as u16).to_be_bytes();
    let timestamp = event.ours.wrapping_add((segments * LONGEST) as u32);
    let payload = [update.code, update.flags, d0, d1];
    Some(Written { timestamp, payload, first, copies: if update.end() { ENDS } else { 1 } })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: u64 = 20_000_000;

    /// A packet of the key 5 at 8,000 Hz, the n-th one of its stream.
    fn update(sequence: u16, timestamp: u32, end: bool, duration: u16) -> EventUpdate {
        let flags = if end { 0x8A } else { 0x0A };
        EventUpdate { sequence, timestamp, marker: false, code: 5, flags, duration, clock_rate: 8_000 }
    }

    fn payload(end: bool, duration: u16) -> [u8; 4] {
        let [d0, d1] = duration.to_be_bytes();
        [5, if end { 0x8A } else { 0x0A }, d0, d1]
    }

    #[test]
    fn an_event_keeps_one_timestamp_and_its_duration_in_the_other_clock() {
        let mut current = None;
        let mut put = |n: u16, timestamp, end, duration, begins| {
            write(&mut current, 48_000, &update(n, timestamp, end, duration), u64::from(n) * FRAME, begins)
        };
        for n in 1..=3 {
            let written = put(n, 77, n == 3, n * 160, 1_000 + u32::from(n - 1) * 7_777).unwrap();
            assert_eq!(written.timestamp, 1_000);
            assert_eq!(written.payload, payload(n == 3, n * 960));
            assert_eq!((written.first, written.copies), (n == 1, if n == 3 { 3 } else { 1 }));
        }
        assert_eq!(put(4, 77, true, 480, 9_999), None, "three ends were sent");
        let next = put(20, 9_077, false, 160, 5_000).unwrap();
        assert_eq!((next.timestamp, next.first), (5_000, true));
    }

    #[test]
    fn two_presses_under_one_timestamp_get_two_and_a_timestamp_a_packet_becomes_one() {
        let mut current = None;
        let mut put = |n: u16, timestamp, end, duration| {
            let written =
                write(&mut current, 8_000, &update(n, timestamp, end, duration), u64::from(n) * FRAME, 9);
            written.map(|written| (written.timestamp, written.first, written.copies))
        };
        assert_eq!(put(1, 500, false, 160), Some((9, true, 1)));
        assert_eq!(put(2, 500, true, 320), Some((9, false, 3)));
        assert_eq!(put(8, 500, false, 160), Some((9 + 320, true, 1)));
        assert_eq!(put(9, 660, false, 320), Some((9 + 320, false, 1)));
        assert_eq!(put(10, 820, true, 480), Some((9 + 320, false, 3)));
        assert_eq!(put(11, 980, true, 480), None);
    }

    #[test]
    fn what_lasts_longer_than_a_packet_can_say_goes_on_in_a_segment() {
        // Two seconds: 96,000 units at 48 kHz.
        let written = write(&mut None, 48_000, &update(1, 1, false, 16_000), 0, 0).unwrap();
        assert_eq!(written.timestamp, 65_535);
        assert_eq!(written.payload, payload(false, (96_000u32 - 65_535) as u16));
        let mut current = None;
        let exact = write(&mut current, 8_000, &update(1, 1, false, 65_535), 0, 0).unwrap();
        assert_eq!((exact.timestamp, exact.payload), (0, payload(false, 65_535)));
        let further = write(&mut current, 8_000, &update(2, 65_536, false, 160), FRAME, 70_000).unwrap();
        assert_eq!((further.timestamp, further.first), (65_535, false), "a segment of theirs is one of ours");
        assert_eq!(further.payload, payload(false, 160));
    }
}
