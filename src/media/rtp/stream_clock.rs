//! A stream's clock: where each packet stands on one line that is measured by the payloads' own
//! lengths. No I/O, no clock.
//!
//! A packet stands behind the one with the previous sequence number. Timestamps tell pauses only: a
//! jump ahead that the time of arrival does not contradict is silence. Timestamps in other steps than
//! the payloads' lengths (another clock rate, a clock that stands still or was reset) move nothing; if
//! they do so steadily, their ratio is learned, so that pauses in that clock keep their lengths as well.

use super::header::Header;
use crate::codec::{self, Codec};

/// Ticks a second of positions and lengths: a multiple of every clock rate in use.
pub(crate) const TICKS_HZ: u32 = 48_000;

const MS: i64 = TICKS_HZ as i64 / 1_000;
/// How far a timestamp may be ahead of the time of arrival.
const TOLERANCE: i64 = 100 * MS;
/// Deviations of a timestamp below this one are not obeyed before they add up to it.
const SMALL: i64 = 10 * MS;
/// Maximum distance from the arrival at a change of the clock rate.
const ASTRAY: i64 = 300 * MS;
/// Steps in a steady ratio from which another clock is concluded.
const STEADY: u32 = 25;
/// The undisturbed transit is the lowest one of the last one to two windows.
const WINDOW: i64 = 2_000 * MS;

/// A received packet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrived {
    pub sequence: u16,
    pub timestamp: u32,
    /// The codec's clock rate, Hz.
    pub clock_hz: u32,
    /// Length of the payload, ticks.
    pub length: i64,
    /// Time of arrival, ns since any fixed time.
    pub at: u64,
}

impl Arrived {
    /// A packet with this header and payload.
    pub fn new(header: &Header, codec: Codec, payload: &[u8], at: u64) -> Self {
        let Header { sequence, timestamp, .. } = *header;
        Arrived { sequence, timestamp, clock_hz: codec.clock_rate(), length: length(codec, payload), at }
    }
}

/// The length of a payload, ticks; 0 if it has none.
pub(crate) fn length(codec: Codec, payload: &[u8]) -> i64 {
    match codec {
        Codec::Opus => codec::samples(codec, payload, TICKS_HZ).unwrap_or(0) as i64,
        // An octet is 125 us in all others.
        _ => payload.len() as i64 * 6,
    }
}

/// A time of arrival, ticks.
fn arrival(at: u64) -> i64 {
    (at / 1_000) as i64 * MS / 1_000
}

/// The newest packet and its position.
#[derive(Debug, Clone, Copy)]
struct Newest {
    packet: Arrived,
    place: i64,
}

/// Consecutive steps whose timestamps have one ratio to the payloads' lengths, and not the right one.
#[derive(Debug, Clone, Copy)]
struct Run {
    ratio: Ratio,
    steps: u32,
    /// When it began, ticks; and its sums since.
    since: i64,
    stamped: i64,
    due: i64,
}

/// Ticks by timestamps for ticks by payload lengths.
#[derive(Debug, Clone, Copy)]
struct Ratio {
    stamped: i64,
    due: i64,
}

impl Ratio {
    fn is(self, stamped: i64, due: i64) -> bool {
        stamped * self.due == self.stamped * due
    }

    /// The true length of a timestamps' step; `None` if they stand still.
    fn true_length(self, stamped: i64) -> Option<i64> {
        (self.stamped > 0).then(|| stamped * self.due / self.stamped)
    }
}

/// The clock of one stream; see the module documentation.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct StreamClock {
    newest: Option<Newest>,
    /// The lowest arrival minus position of this window and of the one before, ticks; and when this one
    /// began.
    lowest: [i64; 2],
    since: i64,
    /// Small deviations of the timestamps so far.
    carry: i64,
    run: Option<Run>,
    learned: Option<Ratio>,
    /// Steps in the codec's clock since another one was learned.
    regular: u32,
}

impl StreamClock {
    /// The position of a packet, ticks since the first one, which is at 0. A reordered packet stands
    /// before the newest one.
    pub fn place(&mut self, packet: &Arrived) -> i64 {
        let arrival = arrival(packet.at);
        let Some(Newest { packet: newest, place }) = self.newest else {
            self.newest = Some(Newest { packet: *packet, place: 0 });
            (self.lowest, self.since) = ([arrival; 2], arrival);
            return 0;
        };
        let ticks = i64::from(packet.timestamp.wrapping_sub(newest.timestamp) as i32);
        let by = |clock_hz: u32| ticks * i64::from(TICKS_HZ / clock_hz.clamp(1, TICKS_HZ));
        let ahead = i64::from(packet.sequence.wrapping_sub(newest.sequence) as i16);
        if ahead <= 0 {
            let is_other = self.learned.is_some() || self.run.is_some_and(|run| run.steps > 1);
            return place + if is_other { ahead * packet.length } else { by(packet.clock_hz) };
        }
        // Where the sequence and the time of arrival put it.
        let reach = arrival - self.lowest[0].min(self.lowest[1]) - place;
        let due = (newest.length * ahead).min(newest.length.max(reach + TOLERANCE));
        let stamped = by(newest.clock_hz);
        let advance = if newest.clock_hz == packet.clock_hz {
            self.step(stamped, due, reach, newest.length, arrival)
        } else {
            // The step counts in the previous clock rate (RFC 7160 §4.2); some senders count it in the
            // new one, some start anew.
            self.run = None;
            let astray = |step: &i64| (step - reach).abs();
            let nearer = [stamped, by(packet.clock_hz)].into_iter().min_by_key(astray).unwrap_or(due);
            if astray(&nearer) <= ASTRAY { nearer.max(newest.length) } else { due.max(reach) }
        };
        let place = place + advance;
        self.newest = Some(Newest { packet: *packet, place });
        if arrival - self.since >= WINDOW && self.lowest[0] != i64::MAX {
            (self.lowest, self.since) = ([i64::MAX, self.lowest[0]], arrival);
        }
        // A pause that seems to arrive early says nothing about the network.
        if advance <= due || advance <= reach {
            self.lowest[0] = self.lowest[0].min(arrival - place);
        }
        place
    }

    /// The position of the timestamp of an event that arrived at `at`; `None` if it is before the newest
    /// packet, or ahead of the time of arrival.
    pub fn position(&self, timestamp: u32, at: u64) -> Option<i64> {
        let Newest { packet, place } = self.newest?;
        let ticks = i64::from(timestamp.wrapping_sub(packet.timestamp) as i32);
        let stamped = ticks * i64::from(TICKS_HZ / packet.clock_hz.clamp(1, TICKS_HZ));
        let length = self.learned.and_then(|ratio| ratio.true_length(stamped)).unwrap_or(stamped);
        let reach = arrival(at) - self.lowest[0].min(self.lowest[1]) - place;
        (0..=reach + TOLERANCE).contains(&length).then_some(place + length)
    }

    /// How far a packet of this arrival stands behind the newest one of this length: `stamped` by their
    /// timestamps, `due` by the payloads' lengths, `reach` by the arrival.
    fn step(&mut self, stamped: i64, due: i64, reach: i64, length: i64, arrival: i64) -> i64 {
        let off = stamped + self.carry - due;
        if off == 0 || off.abs() < SMALL.min(due / 2) {
            (self.carry, self.run) = (off, None);
            self.regular = self.regular.saturating_add(1);
            self.learned = self.learned.filter(|_| self.regular < STEADY);
            return due;
        }
        self.carry = 0;
        // A step that says nothing: only a longer time without packets is a pause.
        let unsaid = if reach > due + TOLERANCE { reach } else { due };
        if let Some(ratio) = self.learned {
            match ratio.true_length(stamped) {
                Some(step) if (step - due).abs() < SMALL.min(due / 2) => {
                    self.regular = 0;
                    return due;
                }
                Some(step) if (due..=reach + TOLERANCE).contains(&step) => return step,
                None if stamped == 0 => {
                    self.regular = 0;
                    return unsaid;
                }
                _ => {}
            }
        }
        if let Some(run) = self.run.as_mut().filter(|run| run.ratio.is(stamped, due)) {
            run.steps += 1;
            run.stamped += stamped;
            run.due += due;
            let took = arrival - run.since;
            let is_other = (took - run.due).abs() < (took - run.stamped).abs();
            if run.steps >= STEADY && is_other {
                (self.learned, self.regular) = (Some(run.ratio), 0);
            }
            return match stamped {
                0 => unsaid,
                // The same pause again and again (DTX) arrives when it says.
                _ if stamped > due && (reach - stamped).abs() < (reach - due).abs() => stamped,
                _ => due,
            };
        }
        let ratio = Ratio { stamped, due };
        self.run = Some(Run { ratio, steps: 1, since: arrival, stamped: 0, due: 0 });
        // Packets that are missing may have been shorter, or events.
        if (length.max(1)..=reach + TOLERANCE).contains(&stamped) { stamped } else { unsaid }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: i64 = 20 * MS;
    const FRAME_NS: u64 = 20_000_000;

    /// A sender of 20 ms packets, one each 20 ms.
    struct Sender {
        clock: StreamClock,
        packet: Arrived,
    }

    impl Sender {
        fn new(clock_hz: u32) -> Self {
            let packet = Arrived {
                sequence: 65_500,
                timestamp: u32::MAX - 999,
                clock_hz,
                length: FRAME,
                at: FRAME_NS,
            };
            let mut sender = Sender { clock: StreamClock::default(), packet };
            assert_eq!(sender.clock.place(&packet), 0);
            sender
        }

        fn talk(&mut self, packets: u32, step: i64) {
            for _ in 0..packets {
                self.next(step, 1);
            }
        }

        /// The next packet, `frames` later, with this step of its timestamp.
        fn next(&mut self, step: i64, frames: u64) -> i64 {
            self.packet.sequence = self.packet.sequence.wrapping_add(1);
            self.packet.timestamp = self.packet.timestamp.wrapping_add(step as u32);
            self.packet.at += frames * FRAME_NS;
            self.clock.place(&self.packet)
        }
    }

    #[test]
    fn steps_of_another_clock_move_nothing() {
        for (clock_hz, step) in
            [(48_000, 480), (48_000, 320), (48_000, 160), (48_000, 0), (8_000, 80), (8_000, 0), (8_000, -160)]
        {
            let mut sender = Sender::new(clock_hz);
            for n in 1..500 {
                assert_eq!(sender.next(step, 1), n * FRAME, "{step} at {clock_hz} Hz");
            }
        }
        // The first long step cannot be told from a pause.
        for (clock_hz, step) in [(8_000, 320), (8_000, 960), (48_000, 1_920)] {
            let mut sender = Sender::new(clock_hz);
            let first = sender.next(step, 1);
            for n in 1..500 {
                assert_eq!(sender.next(step, 1), first + n * FRAME, "{step} at {clock_hz} Hz");
            }
        }
    }

    #[test]
    fn silence_keeps_its_length() {
        for pause in [2, 3, 20, 50, 1_500] {
            let mut sender = Sender::new(8_000);
            let mut at = 0;
            for _ in 0..60 {
                at += FRAME;
                assert_eq!(sender.next(160, 1), at);
                at += pause * FRAME;
                assert_eq!(sender.next(160 * pause, pause as u64), at, "{pause}");
            }
        }
        // DTX: each packet of a long silence ends the same pause.
        let mut sender = Sender::new(48_000);
        for n in 1..100 {
            assert_eq!(sender.next(19_200, 20), n * 20 * FRAME);
        }
        assert!(sender.clock.learned.is_none());
    }

    #[test]
    fn a_pause_in_a_learned_clock_keeps_its_length() {
        for (step, pause) in [(480, 480 * 50), (160, 160 * 50), (1_920, 1_920 * 50), (0, 0)] {
            let mut sender = Sender::new(48_000);
            let mut before = 0;
            for _ in 0..40 {
                before = sender.next(step, 1);
            }
            let after = sender.next(pause, 50) - before;
            assert!((after - 50 * FRAME).abs() <= FRAME, "{step}: {after}");
            let next = sender.next(step, 1);
            assert_eq!(sender.next(step, 1) - next, FRAME);
        }
    }

    #[test]
    fn another_clock_is_not_concluded_early_and_is_given_up() {
        let mut sender = Sender::new(48_000);
        sender.talk(24, 480);
        assert!(sender.clock.learned.is_none());
        sender.talk(2, 480);
        assert!(sender.clock.learned.is_some());
        sender.talk(25, 960);
        assert!(sender.clock.learned.is_none());
    }

    #[test]
    fn a_burst_after_a_stall_does_not_move_the_line() {
        for step in [160, 80, 320] {
            let mut sender = Sender::new(8_000);
            let first = sender.next(step, 1) - FRAME;
            for n in 2..400 {
                let frames = match n {
                    100 => 16,
                    101..=115 => 0,
                    _ => 1,
                };
                assert_eq!(sender.next(step, frames), first + n * FRAME, "{step}, {n}");
            }
        }
    }

    #[test]
    fn a_loss_and_a_reset_are_told_apart_from_pauses() {
        let mut sender = Sender::new(8_000);
        sender.next(160, 1);
        sender.packet.sequence = sender.packet.sequence.wrapping_add(4);
        assert_eq!(sender.next(800, 5), 6 * FRAME, "four are lost");
        assert_eq!(sender.next(1_000_000_000, 1), 7 * FRAME, "a reset");
        assert_eq!(sender.next(-700_000_000, 50), 57 * FRAME, "a reset after a second");
        assert_eq!(sender.next(160, 1), 58 * FRAME);
        let late = Arrived {
            sequence: sender.packet.sequence.wrapping_sub(1),
            timestamp: sender.packet.timestamp.wrapping_sub(160),
            ..sender.packet
        };
        assert_eq!(sender.clock.place(&late), 57 * FRAME);
        assert_eq!(sender.next(160, 1), 59 * FRAME, "a late packet moves nothing");
    }

    #[test]
    fn stamps_by_the_time_of_day_move_nothing() {
        let mut sender = Sender::new(8_000);
        for n in 1..300 {
            assert_eq!(sender.next([168, 152, 160, 144, 176][n as usize % 5], 1), n * FRAME);
        }
    }

    #[test]
    fn a_stream_goes_on_through_a_change_of_the_clock_rate() {
        for step in [160, 960, 77_777_777] {
            let mut sender = Sender::new(8_000);
            sender.next(160, 1);
            sender.packet.clock_hz = 48_000;
            assert_eq!(sender.next(step, 1), 2 * FRAME);
            assert_eq!(sender.next(960, 1), 3 * FRAME);
        }
    }

    #[test]
    fn an_event_stands_where_its_timestamp_says_if_that_can_be() {
        let mut sender = Sender::new(8_000);
        sender.talk(10, 160);
        let Arrived { timestamp, at, .. } = sender.packet;
        let position =
            |ticks: i64| sender.clock.position(timestamp.wrapping_add(ticks as u32), at + FRAME_NS);
        assert_eq!(position(160), Some(11 * FRAME));
        assert_eq!((position(-160), position(1_000_000), position(-1_000_000)), (None, None, None));
    }
}
