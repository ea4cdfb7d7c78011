//! `telephone-event` (RFC 4733) between streams of different clock rates: an event is identified by
//! its timestamp, so all of its packets must keep one; durations are converted.

use super::Events;

/// Maximum duration in a packet; a longer event continues in a new segment that begins where the
/// previous one ends (RFC 4733 §2.5.1.3).
const LONGEST: u64 = u16::MAX as u64;

/// An event in progress: its timestamp on the sender's timeline and on ours.
#[derive(Debug, Clone, Copy)]
pub(super) struct Event {
    theirs: u32,
    ours: u32,
}

/// A rewritten event packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Written {
    pub timestamp: u32,
    pub payload: [u8; 4],
    /// It is the first packet of its event.
    pub first: bool,
}

/// Rewrites an event's payload. `current` is the event in progress, `begins` the position on our
/// timeline of an event that starts now.
pub(super) fn write(
    current: &mut Option<Event>,
    plan: &Events,
    rate: u32,
    timestamp: u32,
    payload: &[u8],
    begins: u32,
) -> Option<Written> {
    let &[code, flags, d0, d1] = payload.first_chunk::<4>()?;
    let known = current.filter(|event| event.theirs == timestamp);
    let event = known.unwrap_or(Event { theirs: timestamp, ours: begins });
    *current = Some(event);
    let theirs = u64::from(u16::from_be_bytes([d0, d1]));
    let ours = theirs * u64::from(plan.to.1) / u64::from(rate.max(1));
    let segments = ours.saturating_sub(1) / LONGEST;
    let duration = (ours - segments * LONGEST) as u16;
    let [d0, d1] = duration.to_be_bytes();
    let timestamp = event.ours.wrapping_add((segments * LONGEST) as u32);
    Some(Written { timestamp, payload: [code, flags, d0, d1], first: known.is_none() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const UP: Events = Events { from: [Some((101, 8_000)), None, None, None], to: (110, 48_000) };

    fn payload(end: bool, duration: u16) -> [u8; 4] {
        let [d0, d1] = duration.to_be_bytes();
        [5, if end { 0x8A } else { 0x0A }, d0, d1]
    }

    #[test]
    fn an_event_keeps_one_timestamp_and_its_duration_in_the_other_clock() {
        let mut current = None;
        for (n, begins) in [(1, 1_000), (2, 9_999), (3, 9_999)] {
            let written = write(&mut current, &UP, 8_000, 77, &payload(n == 3, n * 160), begins).unwrap();
            assert_eq!(written.timestamp, 1_000);
            assert_eq!(written.payload, payload(n == 3, n * 960));
            assert_eq!(written.first, n == 1);
        }
        let next = write(&mut current, &UP, 8_000, 9_077, &payload(false, 160), 5_000).unwrap();
        assert_eq!((next.timestamp, next.first), (5_000, true));
    }

    #[test]
    fn what_lasts_longer_than_a_packet_can_say_goes_on_in_a_segment() {
        let mut current = None;
        // Two seconds: 96,000 units at 48 kHz.
        let written = write(&mut current, &UP, 8_000, 1, &payload(false, 16_000), 0).unwrap();
        assert_eq!(written.timestamp, 65_535);
        assert_eq!(written.payload, payload(false, (96_000u32 - 65_535) as u16));
        let exact =
            write(&mut current, &Events { to: (0, 8_000), ..UP }, 8_000, 1, &payload(true, 65_535), 0);
        assert_eq!(exact.unwrap().payload, payload(true, 65_535));
    }

    #[test]
    fn a_payload_that_is_too_short_is_no_event() {
        assert_eq!(write(&mut None, &UP, 8_000, 1, &[5, 0, 0], 0), None);
    }
}
