//! Digits to send, one after the other: as telephone events (RFC 4733) in place of audio packets,
//! or as tones in place of the audio. No I/O; time is counted in packets.

use std::collections::VecDeque;

use super::params::DigitMode;
use crate::dtmf::Tone;
use crate::rtp::telephone_event::{ENDS, EventPacket, SentEvent, code};

/// Maximum number of queued digits.
const QUEUE: usize = 64;
/// Limits of a digit's length, ms: shorter ones are missed, longer ones are a mistake.
const LENGTH_MS: (u32, u32) = (50, 6_000);
/// Minimum pause between two digits, ms, so that receivers tell them apart.
const PAUSE_MS: u32 = 60;
/// RMS of each tone of an in-band digit: together -13 dBov.
const RMS: f32 = 7_300.0;

/// The contents of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    /// Audio from the source.
    Source,
    /// A digit's tone, or the silence after it.
    Sound,
    /// An event in place of audio.
    Event { payload_type: u8, timestamp: u32, payload: [u8; 4], first: bool },
}

/// The position of a packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place {
    /// Timestamp of its first sample.
    pub timestamp: u32,
    pub ptime_ms: u32,
    pub rate_hz: u32,
    /// Payload type and clock rate of events that the far end accepts.
    pub events: Option<(u8, u32)>,
}

/// The queue of digits; see the module documentation.
#[derive(Debug, Default)]
pub(crate) struct Digits {
    queue: VecDeque<(char, u32, DigitMode)>,
    current: Option<Current>,
    /// Remaining pause, ms.
    rest_ms: u32,
    /// Invalid digits, and digits beyond the limit.
    pub refused: u64,
}

#[derive(Debug)]
enum Current {
    Event { payload_type: u8, start: u32, event: SentEvent },
    Sound { tone: Box<Tone>, left: usize },
}

impl Digits {
    /// Queues a digit.
    pub fn push(&mut self, digit: char, duration_ms: u32, mode: DigitMode) {
        if code(digit).is_none() || self.queue.len() >= QUEUE {
            self.refused += 1;
            return;
        }
        self.queue.push_back((digit, duration_ms.clamp(LENGTH_MS.0, LENGTH_MS.1), mode));
    }

    /// Discards everything, as nothing is sent any more and digits would come too late.
    pub fn clear(&mut self) {
        self.queue.clear();
        (self.current, self.rest_ms) = (None, 0);
    }

    /// Decides the contents of the next packet; `samples` holds the source's audio, which a digit's
    /// tone overwrites.
    pub fn next(&mut self, place: Place, samples: &mut [i16]) -> Slot {
        if self.current.is_none() && self.rest_ms > 0 {
            self.rest_ms = self.rest_ms.saturating_sub(place.ptime_ms);
            return Slot::Source;
        }
        if self.current.is_none() {
            let Some((digit, duration_ms, mode)) = self.queue.pop_front() else { return Slot::Source };
            self.current = Some(match place.events.filter(|_| mode == DigitMode::Event) {
                Some((payload_type, clock_rate)) => Current::Event {
                    payload_type,
                    start: place.timestamp,
                    event: SentEvent::new(code(digit).unwrap_or(0), duration_ms, clock_rate),
                },
                None => {
                    let ms = place.rate_hz as usize / 1_000;
                    let tone = Box::new(Tone::new(digit, duration_ms, place.rate_hz));
                    Current::Sound { tone, left: (duration_ms + PAUSE_MS) as usize * ms }
                }
            });
        }
        match &mut self.current {
            Some(Current::Event { payload_type, start, event }) => {
                let EventPacket { payload, first, segment } = event.packet(place.ptime_ms);
                let (payload_type, timestamp) = (*payload_type, start.wrapping_add(segment));
                if event.is_over() {
                    // The repeated end packets are part of the pause.
                    let past = u32::from(ENDS - 1) * place.ptime_ms;
                    (self.current, self.rest_ms) = (None, PAUSE_MS.saturating_sub(past));
                }
                Slot::Event { payload_type, timestamp, payload, first }
            }
            Some(Current::Sound { tone, left }) => {
                tone.fill(samples, RMS);
                *left = left.saturating_sub(samples.len());
                if *left == 0 {
                    self.current = None;
                }
                Slot::Sound
            }
            None => Slot::Source,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVENTS: (u8, u32) = (101, 8_000);

    fn place(n: u32, events: Option<(u8, u32)>) -> Place {
        let ticks = events.map_or(160, |(_, clock_rate)| clock_rate / 50);
        Place { timestamp: 1_000 + n * ticks, ptime_ms: 20, rate_hz: 8_000, events }
    }

    #[test]
    fn an_event_keeps_its_timestamp_grows_and_ends_three_times() {
        let mut digits = Digits::default();
        digits.push('5', 90, DigitMode::Event);
        digits.push('#', 10, DigitMode::Event);
        let mut seen = Vec::new();
        for n in 0..14 {
            if let Slot::Event { timestamp, payload: [code, flags, d0, d1], first, .. } =
                digits.next(place(n, Some(EVENTS)), &mut [0; 160])
            {
                seen.push((n, timestamp, code, flags >= 0x80, u16::from_be_bytes([d0, d1]), first));
            }
        }
        assert_eq!(
            seen,
            [
                (0, 1_000, 5, false, 160, true),
                (1, 1_000, 5, false, 320, false),
                (2, 1_000, 5, false, 480, false),
                (3, 1_000, 5, false, 640, false),
                (4, 1_000, 5, true, 720, false),
                (5, 1_000, 5, true, 720, false),
                (6, 1_000, 5, true, 720, false),
                (8, 2_280, 11, false, 160, true),
                (9, 2_280, 11, false, 320, false),
                (10, 2_280, 11, true, 400, false),
                (11, 2_280, 11, true, 400, false),
                (12, 2_280, 11, true, 400, false),
            ]
        );
    }

    #[test]
    fn what_lasts_longer_than_a_packet_can_say_goes_on_in_a_segment() {
        let wide = (110, 48_000);
        let mut digits = Digits::default();
        digits.push('1', 2_000, DigitMode::Event);
        let mut last = None;
        for n in 0..102 {
            last = Some(digits.next(place(n, Some(wide)), &mut [0; 160]));
        }
        let [d0, d1] = (96_000 - u32::from(u16::MAX)).to_be_bytes()[2..] else { unreachable!() };
        let payload = [1, 0x8A, d0, d1];
        assert_eq!(last, Some(Slot::Event { payload_type: 110, timestamp: 66_535, payload, first: false }));
    }

    #[test]
    fn where_no_events_are_taken_a_digit_is_a_sound() {
        let mut digits = Digits::default();
        digits.push('5', 100, DigitMode::Event);
        digits.push('6', 100, DigitMode::InBand);
        let mut heard = Vec::new();
        for n in 0..20 {
            let mut samples = [77; 160];
            let slot = digits.next(place(n, None), &mut samples);
            assert_eq!(slot, if n < 16 { Slot::Sound } else { Slot::Source });
            heard.extend(samples);
        }
        let found: String =
            crate::dtmf::LineDetector::decode(&heard).iter().map(|heard| heard.digit).collect();
        assert_eq!(found, "56");
    }

    #[test]
    fn no_digits_and_too_many_are_refused() {
        let mut digits = Digits::default();
        digits.push('x', 100, DigitMode::Event);
        (0..1_000).for_each(|_| digits.push('1', 100, DigitMode::Event));
        assert_eq!(digits.refused, 1 + 1_000 - QUEUE as u64);
        digits.clear();
        assert_eq!(digits.next(place(0, Some(EVENTS)), &mut [0; 160]), Slot::Source);
    }
}
